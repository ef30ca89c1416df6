"""Reliefs for the worker: a picture and its depth become a mesh that carries the picture, and the camera it shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gp3d_core.atomic import transaction
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.decoding import PictureError
from gp3d_core.distributed import pick_device
from gp3d_core.lifting.files import relief_files, write_relief
from gp3d_core.lifting.making import MaskError, lift_picture
from gp3d_core.lifting.options import LiftOptions
from gp3d_core.lifting.relief import Relief
from gp3d_core.networks.foreign_weights import WeightsError
from gp3d_core.preparation.depth.models import ModelError
from gp3d_core.signals import Progress
from gp3d_core.worker.model_session import Publish
from gp3d_core.worker.protocol import LiftRequest, Problem

_ADVICE = (
    "Name a file of TCMonoDepth small, or the folder of a transformers model; docs/photographs.md says more."
)


def make_relief(request: LiftRequest, device: str, progress: Progress, publish: Publish) -> None:
    """Makes and writes a relief, then calls `publish` as `ModelSession.mesh` does.

    Raises PictureError for a picture that cannot be used, Problem for its depth, a mask or a network that cannot.
    """
    path = Path(request["picture"])
    if not path.is_file():
        raise PictureError(f"there is no picture at {path}")
    options, remarks = _options(request), list[str]()
    try:
        relief, recipe = lift_picture(
            path, options, device=pick_device(device), say=remarks.append, progress=progress
        )
    except MaskError as error:
        raise Problem("E_PICTURE", str(error), "Choose another mask.") from error
    except DatasetError as error:
        raise Problem("E_PICTURE", str(error), "Choose another depth map.") from error
    except (ModelError, WeightsError) as error:
        raise Problem("E_BAD_WEIGHTS", str(error), _ADVICE) from error
    folder, formats = request["dir"], list(dict.fromkeys(request["formats"]))
    stem = request["stem"] or path.stem
    folder.mkdir(parents=True, exist_ok=True)
    progress("write", 0, 1)
    with transaction(folder) as files:
        write_relief(relief, files.path, stem, formats, recipe)
        progress("write", 1, 1)
        names = {kind: str(folder / name) for kind, name in relief_files(relief, stem, formats).items()}
        result = {
            "files": {kind: names[kind] for kind in formats},
            "filled": {"npz": names["filled"]} if "filled" in names else None,
            "texture": names.get("texture"),
            "recipe_path": names["recipe"],
            "recipe": recipe,
            "camera": _camera(relief),
            "vertices": len(relief.seen.vertices)
            + (0 if relief.filled is None else len(relief.filled.vertices)),
            "faces": relief.faces,
            "remarks": remarks,
        }
        publish(files.publish, result)


def _options(request: LiftRequest) -> LiftOptions:
    """The choices of a request. Raises Problem where depth has no source or two, and for a network that is not here."""
    depth, model = request["depth"], request["depth_model"]
    if (depth is None) == (model is None):
        message = "expected the depth of the picture: either `depth` or `depth_model`"
        raise Problem("E_PROTOCOL", message, "Choose a depth map, or a depth model.")
    if request["kind"] == "metric" and (model is not None or request["ratio"] is not None):
        what = "`ratio` with it" if model is None else "`depth_model`"
        message = f"`kind` metric is for files that know the distances, found {what}"
        raise Problem("E_PROTOCOL", message, "Choose depth or disparity.")
    if model is not None and not Path(model).exists():  # never an id: nothing is fetched
        raise Problem("E_NO_WEIGHTS", f"there is no depth model at {model}", _ADVICE)
    mask = request["mask"]
    return LiftOptions(
        depth=None if depth is None else Path(depth),
        model=model,
        kind=request["kind"],
        ratio=request["ratio"],
        fov=request["fov"],
        grid=request["grid"],
        border=request["border"],
        mask=None if mask is None else Path(mask),
    )


def _camera(relief: Relief) -> dict[str, float]:
    """Where the camera stood on +z, the angle of the picture's longer side, the picture's pixels, and what it sees."""
    depths = relief.distance - np.concatenate(
        [part.vertices[:, 2] for part in (relief.seen, relief.filled) if part is not None]
    )
    width, height = relief.size
    return {
        "distance": relief.distance,
        "fov": relief.fov,
        "width": width,
        "height": height,
        "near": float(depths.min()),
        "far": float(depths.max()),
    }

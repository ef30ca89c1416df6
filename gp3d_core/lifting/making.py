"""From the files that a person names to a relief: picture, depth map or network, mask; and what it keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.errors import GP3DError
from gp3d_core.hashing import digest
from gp3d_core.lifting.distances import Distances, distances_of_file, distances_of_model, usual_ratio
from gp3d_core.lifting.options import LiftOptions
from gp3d_core.lifting.photograph import Photograph, read_photograph
from gp3d_core.lifting.relief import Relief, grid_of, lift
from gp3d_core.preparation.depth.kinds import Meaning
from gp3d_core.preparation.depth.monocular import MonocularDepth, open_model
from gp3d_core.preparation.maps.masks import SUBJECT, of_picture, read_mask
from gp3d_core.signals import Progress, no_progress

_PLAIN = (
    "the picture has a plain background: of objects on white this network knows no depth; a mask of the subject helps "
    "a little, another depth map more"
)


class MaskError(GP3DError):
    """A mask that cannot be used; the message says what was expected."""


def lift_picture(
    picture: Path,
    options: LiftOptions,
    *,
    device: torch.device,
    say: Callable[[str], object],
    progress: Progress = no_progress,
) -> tuple[Relief, dict[str, Any]]:
    """The relief of the picture at that path, and what it was made of, in JSON values.

    `say` hears, in sentences, what the picture and its depth turned out to be. `progress` hears of the stages depth,
    edges, filling and triangles. Raises PictureError, MaskError or DatasetError for files that cannot be
    used, ModelError or WeightsError for a network that cannot, GP3DError for options that contradict each other.
    """
    if (options.depth is None) == (options.model is None):
        raise GP3DError("expected the depth of the picture: either `depth` FILE or `model` MODEL")
    if options.kind == "metric" and options.model is not None:
        raise GP3DError("`kind` metric is for `depth`; of what a network says the scale is not kept")
    if options.kind == "metric" and options.ratio is not None:
        raise GP3DError("`ratio` is for maps of any scale, and `kind` metric knows the distances")
    progress("depth", 0, 1)
    photograph = read_photograph(picture, options.fov)
    say(f"field of view {photograph.fov:.4g}°, {photograph.fov_source}")
    height, width = photograph.rgb.shape[:2]
    grid = grid_of(width, height, options.grid)
    keep = None if options.mask is None else subject_cells(options.mask, (width, height), grid)
    distances, origin = _distances(photograph, picture.name, grid, options, device, say)
    progress("depth", 1, 1)
    relief = lift(photograph, distances, border=options.border, keep=keep, progress=progress)
    recipe = {
        "picture": picture.name,
        "picture_sha256": digest(picture),
        "fov": photograph.fov,
        **origin,
        "grid": options.grid,
        **({"border": options.border} if options.mask is None else {"mask_sha256": digest(options.mask)}),
        "revealed": round(relief.revealed, 6),
    }
    say(f"behind {relief.revealed:.1%} of the picture something hidden was filled in")
    return relief, recipe


def subject_cells(file: Path, picture: tuple[int, int], grid: tuple[int, int]) -> NDArray[Any]:
    """The cells, bool [h,w] of `grid`, that the mask in `file`, of a picture of (width, height), has at least half of.

    Raises MaskError for a mask that cannot be used, or shows no subject.
    """
    if not file.is_file():
        raise MaskError(f"there is no mask at {file}")
    try:
        mask = of_picture(read_mask(file), file, picture)
    except DatasetError as error:
        raise MaskError(str(error)) from error
    cells = np.asarray(mask.resize((grid[1], grid[0]), Image.Resampling.BOX)) >= SUBJECT
    if not cells.any():
        raise MaskError(f"mask {file} shows no subject: nothing in it is above one half")
    return cells


def _distances(
    photograph: Photograph,
    name: str,
    grid: tuple[int, int],
    options: LiftOptions,
    device: torch.device,
    say: Callable[[str], object],
) -> tuple[Distances, dict[str, Any]]:
    """The distances of the picture called `name`, and what the relief keeps of their making."""
    ratio = options.ratio or usual_ratio(photograph.fov)
    if options.model is not None:
        kind = None if options.kind == "metric" else options.kind
        source = open_model(options.model, None, kind=kind, ratio=ratio, device=device)
        distances = distances_of_model(source, photograph.rgb, name, grid, ratio)
        if isinstance(source, MonocularDepth) and source.plain:
            say(_PLAIN)
        return distances, _origin(source.record, Path(options.model), ratio)
    if options.depth is None:
        raise ValueError("expected a depth map or a model")
    meaning: Meaning = options.kind or "depth"
    height, width = photograph.rgb.shape[:2]
    distances = distances_of_file(options.depth, (height, width), grid, meaning, ratio)
    if distances.missing:
        say(f"{distances.missing:.1%} of the depth map holds no distance; the nearest that does was taken")
    scale = {} if meaning == "metric" else {"ratio": ratio}
    made = {"depth": options.depth.name, "depth_sha256": digest(options.depth), "kind": meaning}
    return distances, made | scale


def _origin(record: Mapping[str, Any], path: Path, ratio: float) -> dict[str, Any]:
    """What a relief keeps of the network at `path` that gave its depth."""
    hashed = {"depth_sha256": digest(path)} if path.is_file() else {}
    terms = {f"depth_{name}": record[name] for name in ("revision", "license") if name in record}
    return {"depth_model": record["model"], **terms, **hashed, "kind": record["kind"], "ratio": ratio}

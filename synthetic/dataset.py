"""The dataset folder: names, depth code, cameras and index, as docs/dataset.md describes them.

A view is four files, `<wnid>/<model>_<view>` + `.png`, `_depth.png`, `_geometry.npz` and `_camera.json`.
Each appears whole (written beside its place, then moved), the camera record last: a view is there when all four
are. The index, dataset.json and cameras.json, is built from the camera records alone and can be made again at any
time.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.shapenet import Model, ObjectClass
from synthetic.viewpoints import ViewDistribution, Viewpoint, intrinsics, ray_lengths

FORMAT = "gp3d-dataset"
VERSION = 1
CAMERA_CONVENTION = "gp3d-1"
_DEPTH_STEPS = 65536
_VIEW_FILES = (".png", "_depth.png", "_geometry.npz", "_camera.json")


class DatasetError(ValueError):
    """A folder that cannot take the views asked for; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides what a picture looks like; the same for all views of a dataset."""

    resolution: int = 64
    samples: int = 16
    seed: int = 0
    cameras: ViewDistribution = field(default_factory=ViewDistribution)

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not 4 <= self.resolution <= 4096:
            raise ValueError(f"the resolution must lie between 4 and 4096, found {self.resolution}")
        if self.samples < 1:
            raise ValueError(f"at least one sample a pixel is needed, found {self.samples}")

    def as_json(self) -> dict[str, Any]:
        """The settings as they stand in dataset.json."""
        flat: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return flat


@dataclass(frozen=True)
class Picture:
    """What one camera saw: `color` [H,W,3] RGB on white, `z_depth` [H,W] (inf: nothing hit), `mask` [H,W]."""

    color: npt.NDArray[np.uint8]
    z_depth: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


def encode_depth(distance: npt.NDArray[Any], t_near: float, t_far: float) -> npt.NDArray[np.uint16]:
    """16-bit code of ray distances: linear from `t_near` (0) to `t_far` (65536, cut to 65535); inf is far."""
    share = (distance.astype(np.float64) - t_near) / (t_far - t_near)
    return np.clip(np.round(share * _DEPTH_STEPS), 0, _DEPTH_STEPS - 1).astype(np.uint16)


def decode_depth(code: npt.NDArray[Any], t_near: float, t_far: float) -> npt.NDArray[np.float64]:
    """Ray distances from their 16-bit code, exact to half a step: (t_far - t_near) / 131072."""
    return t_near + code.astype(np.float64) / _DEPTH_STEPS * (t_far - t_near)


def view_name(model: Model, view: int) -> str:
    """Path of a view below the dataset folder, without ending: "<wnid>/<model>_<view>"."""
    return f"{model.object_class.wnid}/{model.identifier}_{view:03d}"


def has_view(folder: Path, name: str) -> bool:
    """Whether all files of a view are there."""
    return all((folder / f"{name}{ending}").exists() for ending in _VIEW_FILES)


def write_view(folder: Path, model: Model, view: int, viewpoint: Viewpoint, picture: Picture,
               settings: Settings) -> None:
    """Writes the four files of a view. Raises OSError where the disk refuses."""
    name = view_name(model, view)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    matrix = intrinsics(viewpoint.fov, settings.resolution)
    distance = (picture.z_depth * ray_lengths(matrix, settings.resolution)).astype(np.float32)
    code = encode_depth(distance, settings.cameras.t_near, settings.cameras.t_far)
    geometry = io.BytesIO()
    np.savez_compressed(geometry, z_depth=picture.z_depth, ray_distance=distance, mask=picture.mask)
    record = {
        "class": asdict(model.object_class), "model": model.key,
        "yaw": viewpoint.yaw, "pitch": viewpoint.pitch, "roll": 0.0, "fov": viewpoint.fov,
        "radius": viewpoint.radius, "look_at": viewpoint.look_at,
        "cam2world": viewpoint.cam2world().tolist(), "intrinsics": matrix.tolist(),
    }
    contents = (_png(picture.color), _png(code), geometry.getvalue(), _json(record))
    for ending, content in zip(_VIEW_FILES, contents, strict=True):
        write_whole(folder / f"{name}{ending}", content)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that other readers see either complete or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _png(pixels: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def open_dataset(folder: Path, settings: Settings) -> dict[str, str]:
    """Makes sure that `folder` can take views of these settings; the failures it remembers, model to reason.

    Raises DatasetError where the folder cannot be written, or where it holds views of other settings.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    index_path = folder / "dataset.json"
    if not index_path.exists():
        return {}
    index = _read_index(index_path)
    if index["labels"]:
        _compare_settings(folder, index["generator"]["settings"], settings.as_json())
    return {failure["model"]: failure["reason"] for failure in index["failures"]}


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        found = index["format"], index["version"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise DatasetError(f"{path}: is not the index of a {FORMAT}; choose another folder") from None
    if found != (FORMAT, VERSION):
        raise DatasetError(f"{path}: expected {FORMAT} version {VERSION}, "
                           f"found {found[0]} version {found[1]}; choose another folder")
    if not ({"labels", "failures"} <= index.keys() and "cameras" in index.get("generator", {}).get("settings", {})):
        raise DatasetError(f"{path}: was not made by this program; choose another folder")
    return dict(index)


def _compare_settings(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    old, new = {**found, **found["cameras"]}, {**wanted, **wanted["cameras"]}
    different = [f"{key} {old.get(key)} (asked for: {new[key]})" for key in new
                 if key != "cameras" and old.get(key) != new[key]]
    if different:
        raise DatasetError(f"{folder}: holds views with {', '.join(different)}; "
                           "ask for the same or choose another folder")


def write_index(folder: Path, settings: Settings, failures: Mapping[str, str], generator: Mapping[str, Any],
                license_text: str) -> int:
    """Writes cameras.json and dataset.json from the camera records; the number of views they list."""
    names = sorted(path.relative_to(folder).as_posix().removesuffix("_camera.json")
                   for path in folder.glob("*/*_camera.json"))
    views = {f"{name}.png": json.loads((folder / f"{name}_camera.json").read_bytes())
             for name in names if has_view(folder, name)}
    view_classes = {name: ObjectClass(**record.pop("class")) for name, record in views.items()}
    classes = {object_class.wnid: object_class for object_class in view_classes.values()}
    labels = {wnid: label for label, wnid in enumerate(sorted(classes))}
    write_whole(folder / "cameras.json", _json({"convention": CAMERA_CONVENTION, "views": views}))
    write_whole(folder / "dataset.json", _json({
        "format": FORMAT, "version": VERSION, "resolution": settings.resolution,
        "classes": [{"label": label, **asdict(classes[wnid])} for wnid, label in labels.items()],
        "labels": [[name, labels[object_class.wnid]] for name, object_class in view_classes.items()],
        "camera_angles": [[name, [view["yaw"], view["pitch"], 0.0]] for name, view in views.items()],
        "t_near": settings.cameras.t_near, "t_far": settings.cameras.t_far, "license": license_text,
        "generator": {**generator, "seed": settings.seed, "settings": settings.as_json()},
        "failures": [{"model": model, "reason": reason} for model, reason in sorted(failures.items())],
    }))
    return len(views)

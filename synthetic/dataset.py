"""The views of a dataset folder: settings, names, depth code, camera records, as docs/dataset.md describes them.

A view is four files, `<wnid>/<model>_<view>` + `.png`, `_depth.png`, `_geometry.npz` and `_camera.json`.
Each appears whole (written beside its place, then moved), the camera record last: a view is there when all four
are.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.atomic import write_whole
from synthetic.layouts.licences import CreditRecord
from synthetic.layouts.shapenet import ClassRecord, Model
from synthetic.staging.treatment import Treatment
from synthetic.surroundings.settings import AroundRecord, Surroundings
from synthetic.viewpoints import ViewDistribution, Viewpoint, intrinsics, ray_lengths

_DEPTH_STEPS = 65536
_RUNS = zlib.Z_RLE  # of PNG: after its filters other matches are not worth looking for
PASSES = ("roughness", "metallic", "position", "instance")  # besides normals and albedo
CAMERA_RECORD = "_camera.json"  # ends the name of the file that is written last
_VIEW_FILES = (".png", "_depth.png", "_geometry.npz", CAMERA_RECORD)


class DatasetError(ValueError):
    """A folder that cannot take the views asked for; the message says why and what to do."""


class CamerasRecord(TypedDict):
    """A ViewDistribution as JSON."""

    kind: Literal["normal", "turntable", "sphere"]
    yaw: list[float]
    pitch: list[float]
    turn: int
    radius: float
    fov: float
    t_near: float
    t_far: float


class TreatmentRecord(TypedDict):
    """A Treatment as JSON."""

    transparent: Literal["remove", "opaque"]
    missing_textures: Literal["fail", "color"]
    cutouts: NotRequired[Literal["cut", "solid"]]  # not in data sets of older versions


class SettingsRecord(TypedDict):
    """Settings as they stand in dataset.json."""

    resolution: int
    samples: int
    seed: int
    normals: bool
    albedo: NotRequired[bool]  # not in data sets of older versions
    passes: NotRequired[list[str]]  # the same
    surroundings: NotRequired[dict[str, Any]]  # the same
    stage: Literal["none", "room"]
    treatment: TreatmentRecord
    cameras: CamerasRecord


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides what a picture looks like; the same for all views of a dataset."""

    resolution: int = 64
    samples: int = 16
    seed: int = 0
    normals: bool = False
    albedo: bool = False
    passes: tuple[str, ...] = ()  # of PASSES, in their order
    stage: Literal["none", "room"] = "none"
    surroundings: Surroundings = field(default_factory=Surroundings)
    treatment: Treatment = field(default_factory=Treatment)
    cameras: ViewDistribution = field(default_factory=ViewDistribution)

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not 4 <= self.resolution <= 4096:
            raise ValueError(f"the resolution must lie between 4 and 4096, found {self.resolution}")
        if self.samples < 1:
            raise ValueError(f"at least one sample a pixel is needed, found {self.samples}")
        if self.passes != tuple(name for name in PASSES if name in self.passes):
            raise ValueError(f"expected passes among {', '.join(PASSES)}, in this order; found {self.passes}")
        around = self.surroundings
        if self.stage == "room" and (around.ground != "none" or around.background != "white"):
            raise ValueError("a room has a ground and walls of its own; leave --ground and --background away")

    def as_json(self) -> SettingsRecord:
        """The settings as they stand in dataset.json."""
        record: SettingsRecord = json.loads(json.dumps(asdict(self)))
        return record

    @classmethod
    def from_json(cls, content: SettingsRecord) -> Settings:
        """The settings that `as_json` wrote."""
        cameras, treatment = content["cameras"], content["treatment"]
        return cls(
            resolution=content["resolution"],
            samples=content["samples"],
            seed=content["seed"],
            normals=content["normals"],
            albedo=content.get("albedo", False),
            passes=tuple(content.get("passes", ())),
            stage=content["stage"],
            surroundings=Surroundings.from_json(content.get("surroundings", {})),
            treatment=Treatment(**treatment),
            cameras=ViewDistribution(
                kind=cameras["kind"],
                yaw=(cameras["yaw"][0], cameras["yaw"][1]),
                pitch=(cameras["pitch"][0], cameras["pitch"][1]),
                turn=cameras["turn"],
                radius=cameras["radius"],
                fov=cameras["fov"],
                t_near=cameras["t_near"],
                t_far=cameras["t_far"],
            ),
        )


@dataclass(frozen=True)
class RenderedView:
    """What one camera saw: `color` [H,W,3] RGB, `z_depth` [H,W] (inf: nothing hit), `mask` [H,W] of the object.

    If asked for, of what the ray through a pixel's centre hits: `normals` [H,W,3], unit vectors in the world frame
    towards the camera's side, 0 where nothing is hit; `albedo` [H,W,3], its base colour without any light, sRGB, white
    there; `passes`, by name one of PASSES: `roughness` and `metallic` [H,W] in [0, 1], `position` [H,W,3] in the world
    frame, `instance` [H,W] from 1 on; all of them are 0 there.
    """

    color: npt.NDArray[np.uint8]
    z_depth: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    normals: npt.NDArray[np.float32] | None = None
    albedo: npt.NDArray[np.uint8] | None = None
    passes: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


class SourceRecord(TypedDict):
    """A ModelSource as JSON."""

    sha256: dict[str, str]
    faces: int
    to_world: list[list[float]]
    notes: NotRequired[dict[str, int]]  # only if there are any
    licence: NotRequired[CreditRecord]  # only where the library states licences
    parent: NotRequired[str]  # only of variants
    instances: NotRequired[list[str]]  # only with the pass of that name


@dataclass(frozen=True)
class ModelSource:
    """What a view was made of: SHA-256 by file name, faces, the [4,4] matrix from the file to the world, notes.

    `notes` count by phrase what of the model was left out or changed. `instances` are the names of the model's
    instances, the first of which has the number 1; None where nobody asks for them.
    """

    sha256: Mapping[str, str]
    faces: int
    to_world: npt.NDArray[np.float64]
    notes: Mapping[str, int] = field(default_factory=dict)
    instances: tuple[str, ...] | None = None

    def as_json(self) -> SourceRecord:
        """The source as it stands in camera records and in manifest.json."""
        record: SourceRecord = {
            "sha256": dict(self.sha256),
            "faces": self.faces,
            "to_world": self.to_world.tolist(),
        }
        if self.notes:
            record["notes"] = dict(sorted(self.notes.items()))
        if self.instances is not None:
            record["instances"] = list(self.instances)
        return record


class ViewRecord(AroundRecord):
    """A view in cameras.json; angles in radians, `fov` in degrees, matrices by rows."""

    model: str
    yaw: float
    pitch: float
    roll: float
    fov: float
    radius: float
    look_at: list[float]
    cam2world: list[list[float]]
    intrinsics: list[list[float]]


# A view's own camera record; "class" is a keyword of Python.
_ClassOfView = TypedDict("_ClassOfView", {"class": ClassRecord})


class CameraRecord(_ClassOfView, ViewRecord):
    """A view's own file, from which the index is built."""

    source: SourceRecord


def encode_depth(distance: npt.NDArray[Any], t_near: float, t_far: float) -> npt.NDArray[np.uint16]:
    """16-bit code of ray distances: linear from `t_near` (0) to `t_far` (65536, cut to 65535); inf is far."""
    share = (distance.astype(np.float64) - t_near) / (t_far - t_near)
    return np.clip(np.round(share * _DEPTH_STEPS), 0, _DEPTH_STEPS - 1).astype(np.uint16)


def view_name(model: Model, view: int) -> str:
    """Path of a view below the dataset folder, without ending: "<wnid>/<model>_<view>"."""
    return f"{model.object_class.wnid}/{model.identifier}_{view:03d}"


def views_in(folder: Path) -> set[str]:
    """Names of the views in a dataset folder of which all files are there."""
    found: set[str] = set()
    for place in folder.iterdir() if folder.is_dir() else ():
        if place.is_dir():
            files = {entry.name for entry in os.scandir(place)}
            records = (file.removesuffix(CAMERA_RECORD) for file in files if file.endswith(CAMERA_RECORD))
            found.update(
                f"{place.name}/{name}"
                for name in records
                if all(f"{name}{ending}" in files for ending in _VIEW_FILES)
            )
    return found


def write_view(
    folder: Path,
    model: Model,
    view: int,
    viewpoint: Viewpoint,
    picture: RenderedView,
    settings: Settings,
    source: ModelSource,
    around: AroundRecord | None = None,
) -> None:
    """Writes the four files of a view, with what its record says of light, ground and background.

    Raises OSError where the disk refuses.
    """
    path = os.path.join(folder, view_name(model, view))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    matrix = intrinsics(viewpoint.fov, settings.resolution)
    distance = (picture.z_depth * _ray_lengths(viewpoint.fov, settings.resolution)).astype(np.float32)
    code = encode_depth(distance, settings.cameras.t_near, settings.cameras.t_far)
    arrays: dict[str, npt.NDArray[Any] | None] = {
        "z_depth": picture.z_depth,
        "ray_distance": distance,
        "mask": picture.mask,
        "normals": picture.normals,
        "albedo": picture.albedo,
        **picture.passes,
    }
    given = {key: array for key, array in arrays.items() if array is not None}
    record: CameraRecord = {
        "class": model.object_class.as_json(),
        "model": model.key,
        "source": _source_record(model, source),
        "yaw": viewpoint.yaw,
        "pitch": viewpoint.pitch,
        "roll": 0.0,
        "fov": viewpoint.fov,
        "radius": viewpoint.radius,
        "look_at": list(viewpoint.look_at),
        "cam2world": viewpoint.cam2world().tolist(),
        "intrinsics": matrix.tolist(),
        **(around or AroundRecord()),
    }
    line = (json.dumps(record) + "\n").encode()
    contents = (_png(picture.color), _png(code), _npz(given), line)
    for ending, content in zip(_VIEW_FILES, contents, strict=True):
        write_whole(Path(path + ending), content)


@lru_cache
def _ray_lengths(fov: float, resolution: int) -> npt.NDArray[np.float64]:
    """`ray_lengths` of the pinhole with that field of view, which hardly ever changes."""
    return ray_lengths(intrinsics(fov, resolution), resolution)


def _source_record(model: Model, source: ModelSource) -> SourceRecord:
    """What a view was made of, whose it is, and what the model is a variant of."""
    record = source.as_json()
    if model.credit:
        record["licence"] = model.credit.as_json()
    if model.parent:
        record["parent"] = model.parent
    return record


def _png(pixels: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1, compress_type=_RUNS)
    return stream.getvalue()


def _npz(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """What `numpy.savez_compressed` writes, with less effort for the last hundredths of its size."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            content = _npy_header(array.dtype, array.shape) + array.tobytes()
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content, zipfile.ZIP_DEFLATED, 1)
    return stream.getvalue()


@lru_cache
def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What stands in an npy file before the numbers; NumPy takes longer for it than for those of a small picture."""
    stream, numbers = io.BytesIO(), np.zeros(shape, dtype)
    np.save(stream, numbers, allow_pickle=False)
    return stream.getvalue()[: stream.tell() - numbers.nbytes]


def as_bytes(content: object) -> bytes:
    """Indented JSON."""
    return (json.dumps(content, indent=1) + "\n").encode()


def make_folder(folder: Path) -> None:
    """Makes sure that `folder` exists and can be written. Raises DatasetError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DatasetError(f"{folder}: cannot be written (no permission); choose another folder")

"""The dataset folder: names, depth code, cameras, index and manifest, as docs/dataset.md describes them.

A view is four files, `<wnid>/<model>_<view>` + `.png`, `_depth.png`, `_geometry.npz` and `_camera.json`.
Each appears whole (written beside its place, then moved), the camera record last: a view is there when all four
are. The index (dataset.json, cameras.json, manifest.json, failures.jsonl) is built from the camera records and the
failures alone and can be made again at any time.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.library.shapenet import Model, ObjectClass, split_of
from synthetic.library.staging import Treatment
from synthetic.viewpoints import ViewDistribution, Viewpoint, intrinsics, ray_lengths

FORMAT = "gp3d-dataset"
VERSION = 1
CAMERA_CONVENTION = "gp3d-1"
_DEPTH_STEPS = 65536
_VIEW_FILES = (".png", "_depth.png", "_geometry.npz", "_camera.json")


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


class SettingsRecord(TypedDict):
    """Settings as they stand in dataset.json."""

    resolution: int
    samples: int
    seed: int
    normals: bool
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
    stage: Literal["none", "room"] = "none"
    treatment: Treatment = field(default_factory=Treatment)
    cameras: ViewDistribution = field(default_factory=ViewDistribution)

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not 4 <= self.resolution <= 4096:
            raise ValueError(f"the resolution must lie between 4 and 4096, found {self.resolution}")
        if self.samples < 1:
            raise ValueError(f"at least one sample a pixel is needed, found {self.samples}")

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
            stage=content["stage"],
            treatment=Treatment(treatment["transparent"], treatment["missing_textures"]),
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
    """What one camera saw: `color` [H,W,3] RGB on white, `z_depth` [H,W] (inf: nothing hit), `mask` [H,W].

    `normals` [H,W,3], if asked for: unit vectors in the world frame towards the camera's side, 0 off the mask.
    """

    color: npt.NDArray[np.uint8]
    z_depth: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    normals: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ModelSource:
    """What a view was made of: SHA-256 by file name, faces, and the [4,4] matrix from the file to the world."""

    sha256: Mapping[str, str]
    faces: int
    to_world: npt.NDArray[np.float64]


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


def views_in(folder: Path) -> set[str]:
    """Names of the views in a dataset folder of which all files are there."""
    found: set[str] = set()
    for place in folder.iterdir() if folder.is_dir() else ():
        if place.is_dir():
            files = {entry.name for entry in os.scandir(place)}
            records = (file.removesuffix(_VIEW_FILES[-1]) for file in files if file.endswith(_VIEW_FILES[-1]))
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
) -> None:
    """Writes the four files of a view. Raises OSError where the disk refuses."""
    name = view_name(model, view)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    matrix = intrinsics(viewpoint.fov, settings.resolution)
    distance = (picture.z_depth * ray_lengths(matrix, settings.resolution)).astype(np.float32)
    code = encode_depth(distance, settings.cameras.t_near, settings.cameras.t_far)
    geometry, depth, mask, normals = io.BytesIO(), picture.z_depth, picture.mask, picture.normals
    if normals is None:
        np.savez_compressed(geometry, z_depth=depth, ray_distance=distance, mask=mask)
    else:
        np.savez_compressed(geometry, z_depth=depth, ray_distance=distance, mask=mask, normals=normals)
    record = {
        "class": asdict(model.object_class),
        "model": model.key,
        "source": {
            "sha256": dict(source.sha256),
            "faces": source.faces,
            "to_world": source.to_world.tolist(),
        },
        "yaw": viewpoint.yaw,
        "pitch": viewpoint.pitch,
        "roll": 0.0,
        "fov": viewpoint.fov,
        "radius": viewpoint.radius,
        "look_at": viewpoint.look_at,
        "cam2world": viewpoint.cam2world().tolist(),
        "intrinsics": matrix.tolist(),
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


@contextmanager
def _writing_whole(path: Path) -> Iterator[IO[bytes]]:
    """The same for a file written piece by piece inside `with`."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _png(pixels: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def make_folder(folder: Path) -> None:
    """Makes sure that `folder` exists and can be written. Raises DatasetError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DatasetError(f"{folder}: cannot be written (no permission); choose another folder")


def open_dataset(folder: Path, settings: Settings, shared: bool = False) -> dict[str, str]:
    """Makes sure that `folder` can take views of these settings; the failures it remembers, model to reason.

    A folder without a view may change its settings, unless it is `shared` with other processes. Raises DatasetError
    where the folder cannot be written, or where it holds views of other settings.
    """
    if (folder / "taxonomy.json").exists():
        raise DatasetError(f"{folder}: is a model library; choose another folder for the views")
    make_folder(folder)
    index_path = folder / "dataset.json"
    if not index_path.exists():
        return read_failures(folder)
    index = _read_index(index_path)
    if shared or index["labels"] or views_in(folder):
        _compare_settings(folder, index["generator"]["settings"], settings.as_json())
    return read_failures(folder) or {failure["model"]: failure["reason"] for failure in index["failures"]}


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        found = index["format"], index["version"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise DatasetError(f"{path}: is not the index of a {FORMAT}; choose another folder") from None
    if found != (FORMAT, VERSION):
        raise DatasetError(
            f"{path}: expected {FORMAT} version {VERSION}, "
            f"found {found[0]} version {found[1]}; choose another folder"
        )
    if not (
        {"labels", "failures"} <= index.keys() and "cameras" in index.get("generator", {}).get("settings", {})
    ):
        raise DatasetError(f"{path}: was not made by this program; choose another folder")
    return dict(index)


def _compare_settings(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    usual = Settings().as_json()  # for fields that an older version did not write
    old, new = _flat({**usual, **found, "cameras": {**usual["cameras"], **found["cameras"]}}), _flat(wanted)
    different = [f"{key} {old.get(key)} (asked for: {new[key]})" for key in new if old.get(key) != new[key]]
    if different:
        raise DatasetError(
            f"{folder}: holds views with {', '.join(different)}; ask for the same or choose another folder"
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    inner = [value for value in settings.values() if isinstance(value, Mapping)]
    return {
        **{key: value for key, value in settings.items() if not isinstance(value, Mapping)},
        **{key: value for mapping in inner for key, value in mapping.items()},
    }


def read_failures(folder: Path) -> dict[str, str]:
    """The failures that a dataset folder remembers, model to reason, sorted."""
    path = folder / "failures.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(sorted((entry["model"], entry["reason"]) for entry in map(json.loads, lines)))


def write_index(
    folder: Path,
    settings: Settings,
    failures: Mapping[str, str],
    generator: Mapping[str, Any],
    license_text: str,
) -> int:
    """Writes dataset.json, cameras.json, manifest.json and failures.jsonl; the number of views they list.

    Memory holds the names, classes and angles of all views, but of their records one at a time.
    """
    names = sorted(views_in(folder))
    angles: list[tuple[float, float]] = []
    wnids: list[str] = []
    classes: dict[str, ObjectClass] = {}
    sources: dict[str, dict[str, Any]] = {}
    with _writing_whole(folder / "cameras.json") as cameras:
        cameras.write(f'{{\n "convention": "{CAMERA_CONVENTION}",\n "views": {{'.encode())
        for number, name in enumerate(names):
            record = json.loads((folder / f"{name}{_VIEW_FILES[-1]}").read_bytes())
            object_class = ObjectClass(**record.pop("class"))
            source = record.pop("source", None)
            if source:
                sources[record["model"]] = {**source, "split": split_of(record["model"])}
            classes[object_class.wnid] = object_class
            wnids.append(object_class.wnid)
            angles.append((record["yaw"], record["pitch"]))
            entry = f"{json.dumps(f'{name}.png')}: {json.dumps(record)}"
            cameras.write(f"{',' if number else ''}\n  {entry}".encode())
        cameras.write(b"\n }\n}\n")
    labels = {wnid: label for label, wnid in enumerate(sorted(classes))}
    made = {**generator, "seed": settings.seed, "settings": settings.as_json()}
    _write_manifest(folder, made, sources)
    listed = [{"model": model, "reason": reason} for model, reason in sorted(failures.items())]
    _write_failures(folder, listed)
    write_whole(
        folder / "dataset.json",
        _json(
            {
                "format": FORMAT,
                "version": VERSION,
                "resolution": settings.resolution,
                "classes": [{"label": label, **asdict(classes[wnid])} for wnid, label in labels.items()],
                "labels": [[f"{name}.png", labels[wnid]] for name, wnid in zip(names, wnids, strict=True)],
                "camera_angles": [
                    [f"{name}.png", [*pair, 0.0]] for name, pair in zip(names, angles, strict=True)
                ],
                "t_near": settings.cameras.t_near,
                "t_far": settings.cameras.t_far,
                "license": license_text,
                "generator": made,
                "failures": listed,
            }
        ),
    )
    return len(names)


def _write_manifest(
    folder: Path, generator: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]
) -> None:
    """One line a model, so that it can be read with any tool while it is large."""
    entries: Iterable[str] = (
        f"{json.dumps(model)}: {json.dumps(sources[model])}" for model in sorted(sources)
    )
    text = ",\n  ".join(entries)
    head = json.dumps({"format": "gp3d-manifest", "version": 1, "generator": generator})[:-1]
    write_whole(folder / "manifest.json", f'{head},\n "models": {{\n  {text}\n }}\n}}\n'.encode())


def _write_failures(folder: Path, failures: Iterable[Mapping[str, str]]) -> None:
    text = "".join(json.dumps(failure) + "\n" for failure in failures)
    if text or (folder / "failures.jsonl").exists():
        write_whole(folder / "failures.jsonl", text.encode())

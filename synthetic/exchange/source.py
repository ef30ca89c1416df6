"""A data set as docs/dataset.md describes it, as somebody gives it: index, cameras, split, arrays of a view."""

from __future__ import annotations

import hashlib
import io
import math
import reprlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.dataset_index import CAMERA_CONVENTION, FORMAT, VERSION
from synthetic.exchange.files import MOST_BYTES, ExchangeError, Files, is_safe, parsed
from synthetic.viewpoints import ray_lengths

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
INDEX = ("dataset.json", "cameras.json", "manifest.json")
BESIDE = ("_depth.png", "_geometry.npz", "_camera.json")  # what a view may have beside its picture
_DAMAGE = (  # what numpy raises of a damaged npz
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_SIDES = (4, 4096)
_FARTHEST_CODE = 65535
_FARTHEST = 1e12  # what a matrix may say, so that no product of two overflows


@dataclass(frozen=True)
class Camera:
    """Where a view was taken from: its model, `cam2world` [4,4] (OpenGL axes), K [3,3], pixel centres at integers."""

    model: str
    cam2world: Floats
    intrinsics: Floats


@dataclass(frozen=True)
class View:
    """One picture: its path, its label (None in data without classes), its camera (None where none is known)."""

    name: str
    label: int | None
    camera: Camera | None

    @property
    def stem(self) -> str:
        """The path without its ending."""
        return str(PurePosixPath(self.name).with_suffix(""))

    @property
    def scene(self) -> str:
        """The path without the number of the view: all views of a model share it."""
        path = PurePosixPath(self.stem)
        return str(path.with_name(path.name.rpartition("_")[0] or path.name))


class DataSet:
    """A data set's index, right in itself. Raises ExchangeError for what contradicts the format."""

    def __init__(self, files: Files, index: Files | None = None) -> None:
        """`index` holds dataset.json and its neighbours where they do not lie among the `files` themselves."""
        self.files, self.index = files, index or files
        self.where = f"{self.index.path}/dataset.json"
        self.header = self._header()
        self.resolution: int = self.header["resolution"]
        self.classes: list[dict[str, Any]] = self.header["classes"]
        records = self._records()
        self.views = tuple(self._view(name, label, records) for name, label in self._labels())
        self.sources = self._sources()

    def _read(self, name: str) -> Any:
        return parsed(self.index.read(name), f"{self.index.path}/{name}")

    def _header(self) -> dict[str, Any]:
        header = self._read("dataset.json")
        if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (FORMAT, VERSION):
            raise ExchangeError(f"{self.where}: expected {FORMAT} version {VERSION}; see docs/dataset.md")
        side, classes = header.get("resolution"), header.get("classes")
        if type(side) is not int or not _SIDES[0] <= side <= _SIDES[1]:
            raise ExchangeError(
                f"{self.where}: expected a resolution of {_SIDES[0]} to {_SIDES[1]}, found {reprlib.repr(side)}"
            )
        if not isinstance(classes, list) or not all(
            isinstance(entry, dict) and entry.get("label") == number and isinstance(entry.get("name"), str)
            for number, entry in enumerate(classes)
        ):
            raise ExchangeError(f"{self.where}: expected classes with label 0, 1, … and name")
        return header

    def _labels(self) -> list[tuple[str, int | None]]:
        """Path and label of every picture, sorted; without classes all pictures that are there."""
        rows = self.header.get("labels")
        if rows == [] and not self.classes:
            suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
            paths = ((name, PurePosixPath(name)) for name in self.files.sizes)
            return sorted(
                (name, None)
                for name, path in paths
                if path.suffix.lower() in suffixes and not path.stem.endswith("_depth")
            )
        found: dict[str, int | None] = {}
        for row in rows if isinstance(rows, list) else [None]:
            if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)):
                raise ExchangeError(
                    f"{self.where}: labels: expected [path, label] rows, found {reprlib.repr(row)}"
                )
            name, label = row
            if type(label) is not int or not 0 <= label < len(self.classes):
                raise ExchangeError(
                    f"{self.where}: {name} has the label {reprlib.repr(label)}, which is no class"
                )
            if not is_safe(name) or PurePosixPath(name).suffix == "":
                raise ExchangeError(f"{self.where}: {name!r} is no path of a picture below the data set")
            found[name] = label
        stems: dict[str, str] = {}
        for name in found:
            other = stems.setdefault(str(PurePosixPath(name).with_suffix("")), name)
            if other != name:
                raise ExchangeError(f"{self.where}: {other} and {name} differ in nothing but their ending")
        if not found:
            raise ExchangeError(f"{self.where}: lists no picture")
        return sorted(found.items())

    def _records(self) -> Mapping[str, Any]:
        if "cameras.json" not in self.index.sizes:
            return {}
        cameras = self._read("cameras.json")
        views = cameras.get("views") if isinstance(cameras, dict) else None
        if not isinstance(views, dict) or cameras.get("convention") != CAMERA_CONVENTION:
            raise ExchangeError(
                f"{self.index.path}/cameras.json: expected views and the convention {CAMERA_CONVENTION}"
            )
        return views

    def _view(self, name: str, label: int | None, records: Mapping[str, Any]) -> View:
        record = records.get(name)
        if record is None:
            return View(name, label, None)
        where = f"{self.index.path}/cameras.json: {name}"
        if not isinstance(record, dict) or not isinstance(record.get("model"), str):
            raise ExchangeError(f"{where}: expected an object with a model")
        pose = matrix_of(record.get("cam2world"), 4, f"{where}: cam2world")
        inner = matrix_of(record.get("intrinsics"), 3, f"{where}: intrinsics")
        turn = pose[:3, :3]
        if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-6) or np.linalg.det(turn) < 0:
            raise ExchangeError(f"{where}: cam2world turns by no rotation")
        if inner[0, 0] <= 0 or inner[1, 1] <= 0:
            raise ExchangeError(f"{where}: expected focal lengths above 0")
        return View(name, label, Camera(record["model"], pose, inner))

    def _sources(self) -> dict[str, dict[str, Any]]:
        """What manifest.json says of the models, by key."""
        if "manifest.json" not in self.index.sizes:
            return {}
        manifest = self._read("manifest.json")
        models = manifest.get("models") if isinstance(manifest, dict) else None
        if not isinstance(models, dict) or not all(isinstance(entry, dict) for entry in models.values()):
            raise ExchangeError(f"{self.index.path}/manifest.json: expected models")
        return models

    def split_of(self, view: View) -> str:
        """What the manifest says of the view's model, "train" or "test"; "all" where it says nothing."""
        entry = self.sources.get(view.camera.model, {}) if view.camera else {}
        split = entry.get("split")
        return split if split in ("train", "test") else "all"

    def credit_of(self, model: str) -> dict[str, object]:
        """{"licence": author, SPDX identifier, source and changes of a model}, as the manifest has them; else empty."""
        credit = self.sources.get(model, {}).get("licence")
        return {"licence": credit} if credit else {}

    @cached_property
    def others(self) -> tuple[str, ...]:
        """The files of the data set that belong to no view: its index, notes, points."""
        mine = {view.name for view in self.views}
        mine.update(f"{view.stem}{ending}" for view in self.views for ending in BESIDE)
        return tuple(sorted(name for name in self.index.sizes if name not in mine))

    def files_of(self, view: View) -> list[str]:
        """The files that are there of a view, its picture first."""
        return [view.name, *(n for n in (f"{view.stem}{e}" for e in BESIDE) if n in self.files.sizes)]

    @property
    def settings(self) -> dict[str, Any]:
        """What dataset.json says of how its views were rendered; empty where it says nothing."""
        generator = self.header.get("generator")
        settings = generator.get("settings") if isinstance(generator, dict) else None
        return settings if isinstance(settings, dict) else {}

    def check_pictures(self) -> None:
        """Raises ExchangeError where pictures that dataset.json lists are not there."""
        missing = [view.name for view in self.views if view.name not in self.files.sizes]
        if missing or not self.views:
            such = f", such as {missing[0]}" if missing else ""
            raise ExchangeError(
                f"{self.files.path}: {len(missing) or 'all'} of its pictures are missing{such}"
            )

    def digest(self) -> str:
        """SHA-256 of the index and of the names and sizes of all files: that an export goes on with the same data."""
        state = hashlib.sha256()
        for name in INDEX:
            state.update(self.index.read(name) if name in self.index.sizes else b"-")
        state.update(repr(sorted(self.files.sizes.items())).encode())
        return state.hexdigest()

    def check_picture(self, name: str) -> bytes:
        """The bytes of a picture. Raises ExchangeError unless it is a whole one of the data set's size."""
        content = self.files.read(name)
        try:
            with Image.open(io.BytesIO(content)) as picture:
                size = picture.size
                if size == (self.resolution, self.resolution):
                    picture.load()
        except (OSError, ValueError, Image.DecompressionBombError, SyntaxError) as error:
            raise ExchangeError(f"{self.files.path}: {name} is no readable picture ({error})") from None
        if size != (self.resolution, self.resolution):
            raise ExchangeError(
                f"{self.files.path}: {name} has {size[0]} × {size[1]} pixels, expected {self.resolution} a side"
            )
        return content

    def checked(self, name: str) -> bytes:
        """The bytes of a file of a view. Raises ExchangeError where it is damaged."""
        where = f"{self.files.path}: {name}"
        if name.endswith(".json"):
            content = self.files.read(name)
            parsed(content, where)
        elif name.endswith(".npz"):
            content = self.files.read(name)
            arrays_of(content, self.resolution, where)
        else:
            content = self.check_picture(name)
        return content

    def shape_of(self, view: View, camera: Camera) -> tuple[Floats, Mask]:
        """[R,R] z-depth in world units (inf where nothing was hit), and [R,R] where the model is seen.

        Both are those of `_geometry.npz`. Without such a file depth is that of the 16-bit code, and the model is all
        that it knows. Raises ExchangeError where there is neither.
        """
        name = f"{view.stem}_geometry.npz"
        if name in self.files.sizes:
            arrays = arrays_of(self.files.read(name), self.resolution, f"{self.files.path}: {name}")
            return arrays["z_depth"].astype(np.float64), arrays["mask"].astype(np.bool_)
        bounds = [self.header.get(key) for key in ("t_near", "t_far")]
        name = f"{view.stem}_depth.png"
        if name not in self.files.sizes or not all(map(is_number, bounds)):
            raise ExchangeError(f"{self.files.path}: {view.name} has no depth; gp3d data depth estimates it")
        with Image.open(io.BytesIO(self.check_picture(name))) as picture:
            code = np.asarray(picture).astype(np.float64)
        if code.ndim != 2:
            raise ExchangeError(f"{self.files.path}: {name}: expected 16-bit grey")
        near, far = (float(bound) for bound in bounds if bound is not None)
        distance = np.where(code == _FARTHEST_CODE, np.inf, near + code / 65536 * (far - near))
        z_depth = distance / ray_lengths(camera.intrinsics, self.resolution)
        return z_depth, np.isfinite(z_depth)


def arrays_of(content: bytes, side: int, where: str) -> dict[str, npt.NDArray[Any]]:
    """[side,side] `z_depth` and `mask` of an npz. Raises ExchangeError for what is no such file."""
    kinds = {"z_depth": "f", "mask": "b"}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > MOST_BYTES:
            raise ExchangeError(f"{where} would unpack to {claimed} bytes, expected at most {MOST_BYTES}")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in kinds}
    except ExchangeError:
        raise
    except _DAMAGE as error:
        raise ExchangeError(f"{where} is no readable npz with {' and '.join(kinds)} ({error})") from None
    for key, array in found.items():
        if array.shape != (side, side) or array.dtype.kind != kinds[key]:
            raise ExchangeError(
                f"{where}: {key}: expected [{side}, {side}], found {array.shape} {array.dtype}"
            )
    return found


def matrix_of(value: object, side: int, where: str) -> Floats:
    """[side,side] a matrix by rows. Raises ExchangeError for anything else."""
    rows = value if isinstance(value, list) else []
    if len(rows) != side or not all(
        isinstance(row, list)
        and len(row) == side
        and all(map(is_number, row))
        and max(map(abs, row)) < _FARTHEST
        for row in rows
    ):
        raise ExchangeError(f"{where}: expected {side} rows of {side} finite numbers")
    return np.array(rows, np.float64)


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False

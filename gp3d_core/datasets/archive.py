"""What lies in a data set: its files, in a folder or a zip, and the facts of its dataset.json.

`__MACOSX/` and names of which a part begins with a dot belong to a desktop, not to the data set, and are not seen.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gp3d_core.datasets.imagenet import ClassRecord, class_records
from gp3d_core.errors import GP3DError
from gp3d_core.hashing import DAMAGE, ordinary
from gp3d_core.licences.parts import NONE, Licences, parse_licences, stated_or_unknown

FORMAT = "gp3d-dataset"
VERSION = 1
HEADER = "dataset.json"
UNFINISHED = "pack.json"  # what `gp3d data pack` does; without a dataset.json beside it, it has not ended
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class DatasetError(GP3DError):
    """A data set that cannot be trained on; the message names the file, what was expected and what was found."""


def check_path(path: Path) -> None:
    """Raises DatasetError unless something is at `path` that may be a data set: quick, for a first look.

    FileKindError for a pipe or a device.
    """
    ordinary(path)
    if not path.exists():
        raise DatasetError(f"no data set at {path}: expected a folder or a .zip with images and {HEADER}")
    if path.is_dir() and next(path.iterdir(), None) is None:
        raise DatasetError(f"{path} is empty: expected images ({', '.join(SUFFIXES)}) and {HEADER}")


class Archive:
    """Read-only view of a folder or a zip; `sizes` maps the relative posix path of each file to its bytes.

    Raises DatasetError where there is neither, OSError for a folder that the system does not let us list.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._prefix = ""
        check_path(path)
        self.sizes = _folder_sizes(path) if path.is_dir() else self._zip_sizes()

    def read(self, name: str) -> bytes:
        """Content of the file `name`; DatasetError for a damaged or encrypted entry, OSError for a refused file."""
        if self._zip is None:
            path = self.path / name
            if path.exists() and not path.is_file():  # reading a pipe would never end
                raise DatasetError(f"{self.path}: {name} is no regular file; remove it")
            return path.read_bytes()
        try:
            return self._zip.read(self._prefix + name)
        except DAMAGE as error:
            reason = str(error) or "ended early"
            raise DatasetError(
                f"{self.path}: {name} cannot be unpacked ({reason}); copy the zip again, without a password"
            ) from error

    def _zip_sizes(self) -> dict[str, int]:
        try:
            self._zip = zipfile.ZipFile(self.path)
            entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        except DAMAGE as error:
            raise DatasetError(f"{self.path} is neither a folder nor a readable zip ({error})") from error
        sizes = {e.filename: e.file_size for e in entries if not any(map(_hidden, e.filename.split("/")))}
        # An archive of a folder carries the folder's name in front of every entry.
        tops = {name.split("/", 1)[0] for name in sizes}
        self._prefix = f"{tops.pop()}/" if len(tops) == 1 and HEADER not in sizes else ""
        return {name.removeprefix(self._prefix): size for name, size in sizes.items()}


def _hidden(part: str) -> bool:
    return part == "__MACOSX" or part.startswith(".")


def _folder_sizes(root: Path) -> dict[str, int]:
    sizes = {}
    for folder, below, files in os.walk(root, onerror=_refuse):
        below[:] = [name for name in below if not _hidden(name)]
        for path in (Path(folder, name) for name in files if not _hidden(name)):
            sizes[path.relative_to(root).as_posix()] = path.stat().st_size
    return sizes


def _refuse(error: OSError) -> None:
    """Ends a walk that would otherwise leave out what it may not list."""
    raise error


def is_depth(name: str) -> bool:
    """Whether the file `name` is a depth map by its name."""
    return PurePosixPath(name).stem.endswith("_depth")


def depth_name(name: str) -> str:
    """Name of the depth map that belongs to the image `name`."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}_depth.png"))


def mask_name(name: str) -> str:
    """Name of the subject mask of the image `name`; without a picture's ending, so that older readers pass it by."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}_mask.npz"))


def maps_command(verb: str, path: Path) -> str:
    """The command line, for a shell, of `gp3d data` VERB, which writes beside images: a zip is unpacked first."""
    folder = path.with_suffix("") if path.suffix.lower() == ".zip" else path
    unpack = f"unzip {shlex.quote(str(path))} -d {shlex.quote(str(folder))} && " if folder != path else ""
    return f"{unpack}gp3d data {verb} {shlex.quote(str(folder))}"


def image_names(archive: Archive) -> list[str]:
    """Paths of the images in `archive`, sorted."""
    return sorted(
        name
        for name in archive.sizes
        if PurePosixPath(name).suffix.lower() in SUFFIXES and not is_depth(name)
    )


@dataclass(frozen=True)
class Header:
    """dataset.json, right in itself; None stands for what it does not say.

    `resolution` in pixels, `classes` records in the order of their labels, `labels` and `angles` (yaw, pitch) by the
    path of the image, `radius` (world units) and `fov` (degrees) of the cameras that rendered all of them, `t_near` and
    `t_far` the ray distances between which depth is coded, `license` in words, and `licences` who made what the images
    show.
    """

    resolution: int | None = None
    classes: list[ClassRecord] | None = None
    labels: dict[str, int] | None = None
    angles: dict[str, tuple[float, float]] | None = None
    radius: float | None = None
    fov: float | None = None
    t_near: float | None = None
    t_far: float | None = None
    license: str = ""
    licences: Licences = NONE

    def licences_of(self, name: str) -> Licences:
        """Who made what is shown; a data set called `name` that lists nobody is one credit, of what `license` says."""
        return stated_or_unknown(self.licences, self.license, f"data set {name}")


def read_header(archive: Archive) -> Header:
    """The facts of dataset.json, none where the archive has no such file; raises DatasetError for wrong ones."""
    if HEADER not in archive.sizes:
        if UNFINISHED in archive.sizes:
            raise DatasetError(
                f"{archive.path} has not been packed to the end; the same `gp3d data pack` command goes on"
            )
        return Header()
    where = f"{archive.path}/{HEADER}"
    try:
        facts = json.loads(archive.read(HEADER))
    except DatasetError:
        raise
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where} is not valid JSON ({error})") from error
    try:
        return _parse_header(facts)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from error


def _parse_header(facts: object) -> Header:
    if not isinstance(facts, dict):
        raise ValueError(f"expected an object, found {type(facts).__name__}")
    if facts.get("format", FORMAT) != FORMAT or facts.get("version", VERSION) != VERSION:
        raise ValueError(
            f"expected {FORMAT} version {VERSION}, found {reprlib.repr(facts.get('format'))} "
            f"version {reprlib.repr(facts.get('version'))}; use a matching gp3d version"
        )
    classes, labels, angles = (facts.get(key) for key in ("classes", "labels", "camera_angles"))
    unlabelled = classes == [] and labels == []  # explicitly: both lists are there, and empty
    if labels in (None, []) and (classes is not None or facts.get("format") == FORMAT) and not unlabelled:
        raise ValueError(f"expected a label for each image, found none; add labels or remove {HEADER}")
    t_near, t_far = _parse_bounds(facts.get("t_near"), facts.get("t_far"))
    return Header(
        resolution=_parse_resolution(facts["resolution"]) if "resolution" in facts else None,
        classes=None if classes is None or unlabelled else class_records(classes),
        labels=None if labels in (None, []) else _parse_labels(labels),
        angles=None if angles is None else _parse_angles(angles),
        radius=_rendered_with(facts, "radius"),
        fov=_rendered_with(facts, "fov"),
        t_near=t_near,
        t_far=t_far,
        license=words if isinstance(words := facts.get("license"), str) else "",
        licences=parse_licences(facts["licences"]) if "licences" in facts else NONE,
    )


def _rendered_with(facts: Mapping[str, Any], name: str) -> float | None:
    """A number that `synthetic.render` keeps of its cameras; None in data of others."""
    found: Any = facts
    for key in ("generator", "settings", "cameras", name):
        found = found.get(key) if isinstance(found, dict) else None
    positive = type(found) in (int, float) and math.isfinite(found) and found > 0
    return float(found) if positive else None


def _parse_resolution(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"resolution: expected a whole number of at least 1, found {reprlib.repr(value)}")
    return value


def _parse_labels(value: object) -> dict[str, int]:
    labels: dict[str, int] = {}
    for name, label in _rows(value, "labels", "integer"):
        if type(label) is not int:
            raise ValueError(f"labels: expected [path, integer] rows, found {reprlib.repr([name, label])}")
        if labels.setdefault(name, label) != label:
            raise ValueError(f"labels: {name} is there twice, as {labels[name]} and as {label}")
    return labels


def _parse_angles(value: object) -> dict[str, tuple[float, float]]:
    angles = {}
    for name, row in _rows(value, "camera_angles", "[yaw, pitch, roll]"):
        yaw, pitch, roll = (
            map(_number, row) if isinstance(row, list) and len(row) == 3 else (None, None, None)
        )
        if yaw is None or pitch is None or roll is None:
            raise ValueError(f"camera_angles: expected three numbers for {name}, found {reprlib.repr(row)}")
        angles[name] = (yaw, pitch)
    return angles


def _parse_bounds(t_near: object, t_far: object) -> tuple[float | None, float | None]:
    if t_near is None and t_far is None:
        return None, None
    near, far = _number(t_near), _number(t_far)
    if near is None or far is None or not 0 <= near < far:
        raise ValueError(
            f"expected distances t_near < t_far, found {reprlib.repr(t_near)} and {reprlib.repr(t_far)}"
        )
    return near, far


def _rows(value: object, key: str, second: str) -> Iterator[tuple[str, Any]]:
    """The [path, anything] rows of the list `value`."""
    if not isinstance(value, list):
        raise ValueError(f"{key}: expected [path, {second}] rows, found {reprlib.repr(value)}")
    for row in value:
        if not isinstance(row, list) or len(row) != 2 or not isinstance(row[0], str):
            raise ValueError(f"{key}: expected [path, {second}] rows, found {reprlib.repr(row)}")
        yield row[0], row[1]


def _number(value: object) -> float | None:
    """`value` as a float when it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None

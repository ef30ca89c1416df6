"""STL files, binary and text, with the colours that Magics and VisCAM write to the spare bytes of binary ones."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.files import ModelFiles
from synthetic.staging.numbers import Ints, check_positions, converted, runs
from synthetic.staging.surface import Floats, Material, Part, ReadModel
from synthetic.staging.treatment import Treatment
from synthetic.staging.vertex_colors import linear_colors

_HEADER = 84
_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("color", "<u2")])
_VERTEX = re.compile(rb"^[ \t]*vertex[ \t]+([^\r\n]*)", re.MULTILINE)
_FACET = re.compile(rb"^[ \t]*facet\b", re.MULTILINE)
_OWN_COLOR = 0x8000


def read_stl(files: ModelFiles, treatment: Treatment) -> ReadModel:
    """The surface of an STL file; its faces are flat, whatever normals it says. Raises BrokenModelError."""
    content, name, most = files.read(files.path), files.path.name, files.limits.max_faces
    count = int.from_bytes(content[80:_HEADER], "little") if len(content) >= _HEADER else 0
    is_text = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:5].lower() == b"solid"
    whole = len(content) == _HEADER + _FACE.itemsize * count
    binary = not is_text or whole or (b"\0" in content and not _FACET.search(content.lower()))
    colors, step, title = None, 0.0, ""
    corners: Floats
    if binary:
        if len(content) < _HEADER + _FACE.itemsize * count or len(content) < _HEADER:
            raise BrokenModelError(f"{name} claims {count} faces in {len(content)} bytes")
        _check_count(count, most, name)
        faces = np.frombuffer(content, _FACE, count, _HEADER)
        corners = faces["corners"].astype(np.float64).reshape(-1, 3)
        colors = _colors(content[:80], faces["color"].astype(np.int64))
    else:
        corners = _text_corners(content, name, most)
        title = content.lstrip().splitlines()[0][5:].strip().decode("utf-8", "replace")[:80]
    check_positions(corners, name)
    if binary:
        step = float(np.spacing(np.float32(np.abs(corners).max())))
    positions, triangles = _merged(corners)
    material = Material("") if colors is None else Material("", color=(1.0, 1.0, 1.0))
    part = Part(
        positions,
        triangles,
        np.zeros(len(triangles), np.int32),
        colors=None if colors is None else np.repeat(colors[:, None], 3, axis=1).astype(np.float32),
        step=step,
        object=title,
    )
    return ReadModel((part,), (material,), len(triangles), Counter())


def _check_count(count: int, most: int, name: str) -> None:
    if not count:
        raise BrokenModelError(f"{name} has no faces")
    if count > most:
        raise BrokenModelError(f"{name} has {count} faces, more than the {most} allowed")


def _text_corners(content: bytes, name: str, most: int) -> Floats:
    """[3F,3] corners of an STL text."""
    text = content.lower()
    count = len(_FACET.findall(text))
    _check_count(count, most, name)
    rows = b" " + b" ".join(_VERTEX.findall(text)) + b" "
    buffer = np.frombuffer(rows.translate(_BLANKS), np.uint8)
    numbers = converted(buffer, runs(buffer != 32), b" ")
    if numbers is None:
        raise BrokenModelError(f"{name} has a vertex that is not finite or no number")
    if len(numbers) != 9 * count:
        raise BrokenModelError(f"{name} has {count} faces but {len(numbers)} numbers at their corners")
    return np.asarray(numbers.reshape(-1, 3), np.float64)


def _merged(corners: Floats) -> tuple[Floats, Ints]:
    """Different positions [V,3], and [F,3] triangles of them; equal are those that are so to the last bit."""
    corners = corners + 0.0  # no -0
    keys = corners.view(np.uint64) * _ODD
    keys ^= keys >> np.uint64(32)  # the low bits of numbers that were float32 are all 0
    keys = (keys * _ODD[::-1]).sum(axis=1, dtype=np.uint64)
    place = np.asarray(pyarrow.array(keys).dictionary_encode().indices).astype(
        np.int64
    )  # hashed, in a tenth of the time
    first = np.zeros(place.max() + 1, np.int64)
    first[place[::-1]] = np.arange(len(place))[::-1]
    if not np.array_equal(corners[first][place], corners):  # two of one key
        first, place = np.unique(corners, axis=0, return_index=True, return_inverse=True)[1:]
    return corners[first], np.asarray(place.reshape(-1, 3), np.int64)


def _colors(header: bytes, codes: Ints) -> Floats | None:
    """[F,4] linear colours of faces from their spare bytes, five bits a channel; None where they say nothing.

    Magics names the colour of all faces in the header and sets the highest bit of those that have it; red is lowest.
    VisCAM sets the highest bit of faces with a colour of their own; blue is lowest.
    """
    found = re.search(rb"COLOR=(.{3})", header, re.DOTALL)
    low, middle, high = (codes >> shift & 31 for shift in (0, 5, 10))
    own: npt.NDArray[np.bool_] = codes & _OWN_COLOR != 0
    if found:
        raw = np.where(
            own[:, None], np.array(list(found[1])) / 255, np.stack([low, middle, high], axis=1) / 31
        )
        return linear_colors(raw)
    if not own.any():
        return None
    colors = linear_colors(np.stack([high, middle, low], axis=1) / 31)
    colors[~own, :3] = Material("").color
    return colors


_BLANKS = bytes(32 if code < 32 else code for code in range(256))
_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)

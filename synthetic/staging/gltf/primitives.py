"""Primitives of a glTF mesh as they are stored: triangles, and the values of the vertices that these use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.gltf.accessors import Accessor, Rows, as_numbers, read_accessor
from synthetic.staging.gltf.document import Document
from synthetic.staging.gltf.draco import DracoMesh, unpack
from synthetic.staging.gltf.fields import (
    Json,
    entries,
    entry,
    extension,
    garbled,
    integer,
    required_integer,
)
from synthetic.staging.surface import Floats

_LINES_AND_POINTS = {0: "points ignored", 1: "lines ignored", 2: "lines ignored", 3: "lines ignored"}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_SIZES = {
    "POSITION": (3,),
    "NORMAL": (3,),
    "TEXCOORD": (2,),
    "COLOR": (3, 4),
    "JOINTS": (4,),
    "WEIGHTS": (4,),
}
_FULL = 255  # what a colour channel of whole numbers has at most, where a writer forgot to scale it


@dataclass(frozen=True)
class Primitive:
    """Triangles [F,3] into `rows`, which are the vertices of the file's accessors that they use."""

    document: Document
    triangles: Rows
    rows: Rows
    columns: dict[str, Accessor]
    targets: tuple[dict[str, Accessor], ...]
    material: int | None

    def values(self, name: str, weights: Sequence[float] = ()) -> Floats | None:
        """[V,C]: an attribute, its morph targets added by `weights`; None where the file gives none."""
        column = self.columns.get(name)
        if column is None:
            return None
        color = name.startswith("COLOR")
        found = self._read(column, color)
        for target, weight in zip(self.targets, weights, strict=False):
            if weight and name in target:
                found = found + weight * self._read(target[name], color)
        return found

    def colors(self, weights: Sequence[float]) -> npt.NDArray[np.float32] | None:
        """[V,4] in linear light with straight alpha, in [0, 1]; None where the file gives none."""
        found = self.values("COLOR_0", weights)
        if found is None:
            return None
        notes = self.document.notes
        if not np.isfinite(found).all():
            self.document.miss("its vertex colours are not finite")
            return None
        if found.max(initial=0.0) > 1.01:  # more than rounding
            whole = bool((found == np.round(found)).all()) and found.max() <= _FULL
            notes["vertex colours of 0 to 255 scaled" if whole else "vertex colours above 1 cut"] += 1
            found = found / _FULL if whole else found
        alpha = found[:, 3:] if found.shape[1] == 4 else np.ones((len(found), 1))
        return np.clip(np.concatenate([found[:, :3], alpha], axis=1), 0, 1).astype(np.float32)

    def influences(self) -> tuple[Rows, Floats] | None:
        """The joints [V,K] that move each vertex and their shares [V,K], which sum to 1; None where there are none.

        A vertex without any share follows the first joint that it names.
        """
        sets = [number for number in range(len(self.columns)) if f"JOINTS_{number}" in self.columns]
        sets = [number for number in sets if f"WEIGHTS_{number}" in self.columns]
        if not sets:
            return None
        joints = np.concatenate([self.columns[f"JOINTS_{n}"].raw(self.rows) for n in sets], axis=1)
        shares = np.concatenate([self.columns[f"WEIGHTS_{n}"].rows(self.rows) for n in sets], axis=1)
        total = shares.sum(axis=1, keepdims=True)
        unmoved = ~(total[:, 0] > 0)
        shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        shares[unmoved, 0] = 1.0
        self.document.notes["vertices without weights"] += int(unmoved.sum())
        return joints.astype(np.int64), shares

    def _read(self, column: Accessor, color: bool) -> Floats:
        if color:  # whole numbers are colours of 0 to 255 or 65535, whether they are marked so or not
            return as_numbers(column.raw(self.rows), True)
        return column.rows(self.rows)


def count_triangles(document: Document, primitive: Json) -> int:
    """How many triangles a primitive claims, nothing being read; 0 where it is not one of triangles."""
    mode = _mode(primitive)
    position = integer(entry(primitive, "attributes") or {}, "POSITION")
    if position is None or mode in _LINES_AND_POINTS:
        return 0
    indices = integer(primitive, "indices")
    accessor = document.at("accessors", position if indices is None else indices)
    corners = required_integer(accessor, "count")
    packed = extension(primitive, "KHR_draco_mesh_compression") is not None
    return corners // 3 if mode == _TRIANGLES or packed else max(corners - 2, 0)


def note_left_out(document: Document, primitive: Json) -> None:
    """Counts a primitive that is not shown."""
    mode = _mode(primitive)
    if mode in _LINES_AND_POINTS:
        document.notes[_LINES_AND_POINTS[mode]] += 1
    elif "POSITION" not in (entry(primitive, "attributes") or {}):
        document.notes["primitives without positions ignored"] += 1


def read_primitive(document: Document, primitive: Json) -> Primitive:
    """A primitive of triangles. Raises BrokenModelError."""
    packed = extension(primitive, "KHR_draco_mesh_compression")
    mesh = None if packed is None else unpack(document, packed)
    columns = _columns(document, entry(primitive, "attributes") or {}, mesh)
    position = columns["POSITION"]
    triangles = _triangles(document, primitive, position.count) if mesh is None else mesh.triangles
    claimed = count_triangles(document, primitive)
    if len(triangles) > claimed:
        raise BrokenModelError(f"its Draco data has {len(triangles)} faces, but its glTF claims {claimed}")
    if len(triangles) and int(triangles.max()) >= position.count:
        raise BrokenModelError(
            f"its glTF has a face with vertex {int(triangles.max())} of {position.count} vertices"
        )
    rows, corners = _used(triangles, position.count)
    targets = tuple(_columns(document, target, None) for target in entries(primitive, "targets"))
    if any(name.startswith("COLOR_") and name != "COLOR_0" for name in columns):
        document.notes["further vertex colours ignored"] += 1
    return Primitive(document, corners.reshape(-1, 3), rows, columns, targets, integer(primitive, "material"))


def _used(triangles: Rows, vertices: int) -> tuple[Rows, Rows]:
    """The vertices that triangles use, in their order, and the triangles [F,3] by number among these."""
    if vertices > 2 * triangles.size:  # a file may claim any number of vertices that it does not use
        rows, corners = np.unique(triangles, return_inverse=True)
        return rows, corners.reshape(-1, 3)
    used = np.zeros(vertices, dtype=bool)
    used[triangles] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[triangles]


def _mode(primitive: Json) -> int:
    mode = integer(primitive, "mode")
    mode = _TRIANGLES if mode is None else mode
    if mode not in (*_LINES_AND_POINTS, _TRIANGLES, _STRIP, _FAN):
        raise garbled("mode", mode, "0 to 6")
    return mode


def _columns(document: Document, attributes: Json, mesh: DracoMesh | None) -> dict[str, Accessor]:
    columns = {}
    for name in attributes:
        sizes = _SIZES.get(name.partition("_")[0])
        if sizes is None:
            continue  # tangents, and what only a program of its own knows
        number = required_integer(attributes, name)
        if mesh is None or name not in mesh.attributes:
            columns[name] = read_accessor(document, number, name[:40], sizes)
            continue
        data = mesh.attributes[name]
        if data.shape[1] not in sizes:
            raise garbled(f"the type of {name[:40]}", data.shape[1], "another number of components")
        normalised = document.at("accessors", number).get("normalized") is True
        nothing = np.empty(0, np.int64)
        columns[name] = Accessor(
            name, len(data), data.shape[1], data.dtype, normalised, data, nothing, data[:0]
        )
    return columns


def _triangles(document: Document, primitive: Json, vertices: int) -> Rows:
    """[F,3] vertices of the accessors."""
    indices = integer(primitive, "indices")
    corners: Rows
    if indices is None:
        corners = np.arange(vertices)
    else:
        accessor = read_accessor(document, indices, "indices", (1,))
        if accessor.dtype.kind != "u":
            raise garbled("componentType of indices", str(accessor.dtype), "a type of index")
        corners = accessor.raw(np.arange(accessor.count))[:, 0].astype(np.int64)
    mode = _mode(primitive)
    if mode == _TRIANGLES:
        document.notes["corners of no triangle ignored"] += len(corners) % 3
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    if len(corners) < 3:
        return np.empty((0, 3), np.int64)
    first, second, third = corners[:-2], corners[1:-1], corners[2:]
    if mode == _FAN:
        return np.stack([second, third, np.full_like(first, corners[0])], axis=1)
    odd = np.arange(len(first)) % 2 == 1  # every other triangle of a strip runs the other way round
    return np.stack([first, np.where(odd, third, second), np.where(odd, second, third)], axis=1)

"""Accessors: the typed arrays of a glTF file, of which only the rows that are wanted are ever copied.

A row costs memory when it is asked for and not before, so a file gets no more than its triangles need, whatever sizes
it claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.gltf.document import Document, refuse_meshopt
from synthetic.staging.gltf.fields import Json, entry, garbled, integer, required_integer
from synthetic.staging.surface import Floats

Rows = npt.NDArray[np.int64]

_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_INDEX_TYPES = (5121, 5123, 5125)


@dataclass(frozen=True)
class Accessor:
    """An array [count, components] of the file. `base` is None where all is 0 but what `changed` rows say."""

    name: str
    count: int
    components: int
    dtype: np.dtype[Any]
    normalised: bool
    base: npt.NDArray[Any] | None
    changed: Rows  # sorted
    values: npt.NDArray[Any]  # of the rows that are changed

    @property
    def is_float(self) -> bool:
        """Whether the file holds it as float32."""
        return self.dtype.kind == "f"

    def raw(self, rows: Rows) -> npt.NDArray[Any]:
        """Rows [N, components] as the file holds them. Raises BrokenModelError where there are not so many."""
        if len(rows) and int(rows.max()) >= self.count:
            raise BrokenModelError(
                f"its glTF has {self.count} entries of {self.name}, but names entry {int(rows.max())}"
            )
        if self.base is None:
            found = np.zeros((len(rows), self.components), self.dtype)
        else:
            found = np.ascontiguousarray(self.base[rows])
        if len(self.changed) and len(rows):
            places = np.minimum(np.searchsorted(self.changed, rows), len(self.changed) - 1)
            hits = self.changed[places] == rows
            found[hits] = self.values[places[hits]]
        return found

    def rows(self, rows: Rows) -> Floats:
        """The same as numbers, in [0, 1] or [-1, 1] where the file says that they are normalised."""
        return as_numbers(self.raw(rows), self.normalised)


def as_numbers(raw: npt.NDArray[Any], normalised: bool) -> Floats:
    """Values in float64; normalised whole numbers are divided as glTF says (§3.11)."""
    values = raw.astype(np.float64)
    if normalised and raw.dtype.kind in "iu":
        values = np.maximum(values / np.iinfo(raw.dtype).max, -1.0)
    return values


def read_accessor(document: Document, number: int, name: str, components: tuple[int, ...]) -> Accessor:
    """Accessor `number`, of one of the numbers of components that are allowed. `name` says in errors what it is."""
    accessor = document.at("accessors", number)
    kind, code = accessor.get("type"), required_integer(accessor, "componentType")
    if not isinstance(kind, str) or _COMPONENTS.get(kind) not in components:
        raise garbled(f"the type of {name}", kind, f"one of {' or '.join(map(str, components))} components")
    if code not in _TYPES:
        raise garbled(f"componentType of {name}", code, "a type of glTF")
    dtype, count = np.dtype(_TYPES[code]), required_integer(accessor, "count")
    view, base = integer(accessor, "bufferView"), None
    if view is not None:
        base = _strided(
            document, view, integer(accessor, "byteOffset") or 0, count, _COMPONENTS[kind], dtype, name
        )
    changed, values = _sparse(document, entry(accessor, "sparse"), count, _COMPONENTS[kind], dtype, name)
    normalised = accessor.get("normalized") is True
    return Accessor(name, count, _COMPONENTS[kind], dtype, normalised, base, changed, values)


def _strided(
    document: Document, view: int, start: int, count: int, components: int, dtype: np.dtype[Any], name: str
) -> npt.NDArray[Any]:
    """A view [count, components] of the file's bytes, nothing copied."""
    content, stride = document.view(view)
    size = components * dtype.itemsize
    stride = stride or size
    if stride < size:
        raise BrokenModelError(f"its glTF packs {name} of {size} bytes every {stride} bytes")
    if count and start + stride * (count - 1) + size > len(content):
        refuse_meshopt(entry(document.at("bufferViews", view), "extensions") or {})
        raise BrokenModelError(
            f"its glTF claims {count} entries of {name}, more than the {len(content)} bytes of its view hold"
        )
    if not count:
        return np.empty((0, components), dtype)
    return np.ndarray((count, components), dtype, content, start, (stride, dtype.itemsize))


def _sparse(
    document: Document, sparse: Json | None, count: int, components: int, dtype: np.dtype[Any], name: str
) -> tuple[Rows, npt.NDArray[Any]]:
    """The rows that differ from the base, sorted, and what they are."""
    if sparse is None:
        return np.empty(0, np.int64), np.empty((0, components), dtype)
    changes = required_integer(sparse, "count")
    if changes > count:
        raise BrokenModelError(f"its glTF changes {changes} of {count} entries of {name}")
    indices, values = entry(sparse, "indices") or {}, entry(sparse, "values") or {}
    code = required_integer(indices, "componentType")
    if code not in _INDEX_TYPES:
        raise garbled(f"componentType of the sparse indices of {name}", code, "a type of index")
    where = _strided(
        document,
        required_integer(indices, "bufferView"),
        integer(indices, "byteOffset") or 0,
        changes,
        1,
        np.dtype(_TYPES[code]),
        f"the sparse indices of {name}",
    )[:, 0].astype(np.int64)
    what = _strided(
        document,
        required_integer(values, "bufferView"),
        integer(values, "byteOffset") or 0,
        changes,
        components,
        dtype,
        f"the sparse values of {name}",
    )
    if len(where) and int(where.max()) >= count:
        raise BrokenModelError(f"its glTF changes entry {int(where.max())} of {count} of {name}")
    order = np.argsort(where, kind="stable")
    return where[order], np.asarray(what)[order]

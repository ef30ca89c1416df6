"""What a model file shows, as arrays: triangles, their materials, and what was left out or changed on the way.

Readers make `Part`s in the file's own coordinates; `merge` makes them one `Surface`, whose attributes are alike for
all triangles. Everything downstream (renderer, checks, points) knows a `Surface` and no file format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Wrap = Literal["repeat", "clamp", "mirror"]


@dataclass(frozen=True)
class Texture:
    """An 8-bit PNG in the workspace (grey, grey with alpha, RGB or RGBA) and how it lies on the surface.

    `uv_layer` is the set of coordinates in Part.uvs it goes by, in which any transform of the file is applied already;
    v points up: (0, 0) is the lower left corner of the picture.
    """

    path: Path
    uv_layer: int = 0
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    nearest: bool = False


@dataclass(frozen=True)
class Material:
    """How triangles look: linear RGB factors in [0, 1] (emission may be more), multiplied by texture and vertex colour.

    `opacity` is the factor's alpha. `alpha` is what the file says of it: "opaque" ignores all alpha, "mask" cuts where
    opacity times the alpha of the colour texture (of `alpha_texture`, where there is one of its own) and of the
    vertices is below `cutoff`, "blend" lets light through by it; `transmission` in [0, 1] is glass. After staging only
    "opaque" and "mask" are left. `metallic_roughness_texture` holds roughness in green and metal in blue, as glTF does.
    `specular` is Blender's level: 0.5 for a usual dielectric, 0 for a matte material.
    """

    name: str
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    color_texture: Texture | None = None
    opacity: float = 1.0
    alpha: Literal["opaque", "mask", "blend"] = "opaque"
    alpha_texture: Texture | None = None
    cutoff: float = 0.5
    transmission: float = 0.0
    emission: tuple[float, float, float] = (0.0, 0.0, 0.0)
    emission_texture: Texture | None = None
    metallic: float = 0.0
    roughness: float = 1.0
    specular: float = 0.0
    metallic_roughness_texture: Texture | None = None

    @property
    def matte(self) -> bool:
        """Whether it is drawn by Lambert's law alone, whatever its roughness says."""
        return not (self.metallic or self.specular)


@dataclass(frozen=True)
class Part:
    """Triangles that a reader found, all corners in the file's coordinates after its scene was put together.

    `positions` [V,3]; `triangles` [F,3] into them; `material` [F] into the reader's list of materials; `uvs`, each
    [F,3,2]; `colors` [F,3,4] linear RGB with straight alpha, None where the file gives none (white); `normals` [F,3,3]
    unit vectors of smooth shading, None where faces are flat. `step` is the distance between neighbouring numbers that
    the file can hold so far from its origin, in the same units (0: of no account), `object` the file's own name of it.
    """

    positions: Floats
    triangles: npt.NDArray[np.int64]
    material: npt.NDArray[np.int32]
    uvs: tuple[npt.NDArray[np.float32], ...] = ()
    colors: npt.NDArray[np.float32] | None = None
    normals: npt.NDArray[np.float32] | None = None
    step: float = 0.0
    object: str = ""


@dataclass(frozen=True)
class Surface:
    """All triangles of a model. The fields are those of Part, with `material` into `materials`.

    `uvs` are as many layers as any part has, 0 where a part has fewer; `colors` and `normals` are None only where no
    part has any: else white, and the triangle's own normal, stand where a part has none. `part` [F] numbers the part
    that a triangle came from (-1: a ground, which is none of the model), `names` are those of all parts, none or empty
    where the file gives none.
    """

    positions: Floats
    triangles: npt.NDArray[np.int64]
    material: npt.NDArray[np.int32]
    materials: tuple[Material, ...]
    part: npt.NDArray[np.int32]
    uvs: tuple[npt.NDArray[np.float32], ...] = ()
    colors: npt.NDArray[np.float32] | None = None
    normals: npt.NDArray[np.float32] | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of triangles."""
        return len(self.triangles)

    def subset(self, keep: npt.NDArray[np.bool_]) -> Surface:
        """The same with the triangles of a mask [F] only; positions that none uses any more go, too."""
        kept = np.flatnonzero(keep)
        triangles = self.triangles.take(kept, axis=0)  # several times as fast as an index
        used: npt.NDArray[np.bool_] = np.zeros(len(self.positions), np.bool_)
        used[triangles.ravel()] = True
        if len(kept) == len(self) and used.all():
            return self
        return Surface(
            self.positions.take(np.flatnonzero(used), axis=0),
            (np.cumsum(used) - 1).take(triangles),
            self.material[kept],
            self.materials,
            self.part[kept],
            tuple(layer.take(kept, axis=0) for layer in self.uvs),
            None if self.colors is None else self.colors.take(kept, axis=0),
            None if self.normals is None else self.normals.take(kept, axis=0),
            self.names,
        )


@dataclass(frozen=True)
class ReadModel:
    """What a reader returns: parts, materials, the faces the file claims, and by phrase what it left out, counted."""

    parts: tuple[Part, ...]
    materials: tuple[Material, ...]
    faces: int
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class StagedModel:
    """A model ready to be drawn and measured.

    `surface` in our world frame (y up, front +z); `to_world` [4,4] from the file's coordinates, less any change of
    single faces; `faces` that were read; SHA-256 by name of the files read; and by phrase how much was left out.
    """

    surface: Surface
    to_world: Floats
    faces: int
    sha256: dict[str, str]
    notes: Counter[str]


def renumbered(
    numbers: npt.NDArray[np.integer],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The numbers from 0 on that occur, in order, and the place of each of `numbers` among them."""
    occurs = np.bincount(numbers) > 0  # twenty times as fast as np.unique
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1).take(numbers)


def area_vectors(positions: Floats, triangles: npt.NDArray[np.int64]) -> Floats:
    """[F,3] normals by the order of the corners, each as long as twice the area of its triangle."""
    return np.ascontiguousarray(_area_vectors(positions, triangles).T)


def double_areas(positions: Floats, triangles: npt.NDArray[np.int64]) -> Floats:
    """[F] twice the area of each triangle."""
    return _lengths(_area_vectors(positions, triangles))


def face_normals(positions: Floats, triangles: npt.NDArray[np.int64]) -> Floats:
    """[F,3] unit normals by the order of the corners, 0 where a triangle has no area."""
    normals = _area_vectors(positions, triangles)
    length = _lengths(normals)
    none = ~(length > 0)  # NaN, too
    if none.any():
        normals[:, none], length[none] = 0.0, 1.0
    return np.ascontiguousarray((normals / length).T)


def _area_vectors(positions: Floats, triangles: npt.NDArray[np.int64]) -> Floats:
    """[3,F]: NumPy goes along an axis of 3 several times as slowly as across it, and np.cross is slow."""
    x, y, z = np.ascontiguousarray(positions.T)
    a, b, c = np.ascontiguousarray(triangles.T)
    dx, dy, dz = x[b] - x[a], y[b] - y[a], z[b] - z[a]
    ex, ey, ez = x[c] - x[a], y[c] - y[a], z[c] - z[a]
    return np.stack([dy * ez - dz * ey, dz * ex - dx * ez, dx * ey - dy * ex])


def _lengths(vectors: Floats) -> Floats:
    """[F] of vectors [3,F]."""
    x, y, z = vectors
    return np.asarray(np.sqrt(x * x + y * y + z * z))


def merge(parts: Sequence[Part], materials: Sequence[Material]) -> Surface:
    """All parts as one surface, with attributes made alike. `parts` must not be empty."""
    offsets = np.cumsum([0, *(len(part.positions) for part in parts)])
    counts = [len(part.triangles) for part in parts]
    layers = max(len(part.uvs) for part in parts)
    smooth = any(part.normals is not None for part in parts)
    colored = any(part.colors is not None for part in parts)
    return Surface(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.triangles + start for part, start in zip(parts, offsets, strict=False)]),
        np.concatenate([part.material for part in parts]).astype(np.int32),
        tuple(materials),
        np.repeat(np.arange(len(parts), dtype=np.int32), counts),
        tuple(np.concatenate([_layer(part, number) for part in parts]) for number in range(layers)),
        np.concatenate([_colors(part) for part in parts]) if colored else None,
        np.concatenate([_normals(part) for part in parts]) if smooth else None,
        tuple(part.object for part in parts),
    )


def instances(surface: Surface) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """The number [F], from 1 on, of the instance that every triangle belongs to, and the names of all instances.

    Parts to which the file gives one name are one instance; a part without a name is one of its own. A ground has 0.
    """
    count = max(len(surface.names), int(surface.part.max(initial=-1)) + 1)
    names = (*surface.names, *("" for _ in range(count - len(surface.names))))
    keys = [name or number for number, name in enumerate(names)]
    numbers = {key: place + 1 for place, key in enumerate(dict.fromkeys(keys))}
    listed = tuple(key if isinstance(key, str) else "" for key in numbers)
    return np.array([*(numbers[key] for key in keys), 0], np.int64)[
        surface.part
    ], listed  # the last one of part -1


def components(count: int, first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> Indices:
    """[count] the component of each of `count` nodes, of which `first` and `second` [E] are joined.

    Components are numbered in the order of their first nodes. SciPy's function of that name takes as long, but its
    import takes a tenth of a second of every process that renders.
    """
    lowest = np.arange(count)  # of every node the lowest that it is known to be joined with
    while True:
        one, other = lowest[first], lowest[second]
        apart = np.flatnonzero(one != other)
        if not len(apart):
            return np.asarray((np.cumsum(lowest == np.arange(count)) - 1)[lowest])
        first, second, one, other = (ends[apart] for ends in (first, second, one, other))
        np.minimum.at(lowest, np.maximum(one, other), np.minimum(one, other))
        while ((lower := lowest[lowest]) != lowest).any():
            lowest = lower


def _layer(part: Part, number: int) -> npt.NDArray[np.float32]:
    if number < len(part.uvs):
        return part.uvs[number].astype(np.float32)
    return np.zeros((len(part.triangles), 3, 2), np.float32)


def _colors(part: Part) -> npt.NDArray[np.float32]:
    if part.colors is not None:
        return part.colors.astype(np.float32)
    return np.ones((len(part.triangles), 3, 4), np.float32)


def _normals(part: Part) -> npt.NDArray[np.float32]:
    if part.normals is not None:
        return part.normals.astype(np.float32)
    flat = face_normals(part.positions, part.triangles).astype(np.float32)
    return np.repeat(flat[:, None], 3, axis=1)

"""The mesh bundle (npz, docs/serve.md) as arrays that Blender wants. numpy only, no bpy.

Bundles are in the GP3D frame (y up, front +z); Blender has z up and its front views look along +y, so that a point
(x, y, z) becomes (x, -z, y): upright, front at -Y. A textured bundle repeats a vertex where a seam of the atlas runs;
Blender keeps texture coordinates at the corners of faces, so that every position stands once here.
"""

from __future__ import annotations

import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .recipe import JsonObject

FORMAT = "gp3d-mesh"
VERSION = 1
_DAMAGE = (  # what numpy raises of a damaged npz, as in synthetic/exchange/source.py
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
# unpacked; a volume of 256³ samples has 112 MiB, a mesh of 200,000 faces with textures less
_MOST_BYTES = 1 << 30

Array = npt.NDArray[Any]

# Four points of a triangle, by the weights of its corners: its middle, and one towards each corner
_WITHIN = np.array([[2, 2, 2], [4, 1, 1], [1, 4, 1], [1, 1, 4]], np.float32) / 6
_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)  # of every byte


class BundleError(Exception):
    """A bundle that cannot be used; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """vertices float32 [V,3] in Blender's frame, faces int32 [F,3]; with a texture uv float32 [3F,2] of the corners
    and texture uint8 [H,W,3] (sRGB, top row first); with vertex colours colors uint8 [V,3] (sRGB); the recipe.

    quads int32 [Q,2] are pairs of faces (a, b, c) and (a, c, d), the halves of quadrilaterals. slots int32 [F] is the
    number of each face's material, None: all have the first.
    """

    vertices: Array
    faces: Array
    recipe: JsonObject
    uv: Array | None = None
    texture: Array | None = None
    colors: Array | None = None
    thumbnail: Array | None = None
    quads: Array | None = None
    slots: Array | None = None


class Viewpoint(NamedTuple):
    """The camera of a photograph: `distance` before the origin, at −y, looking along +y; `fov` degrees of the longer
    of the sides `width` and `height`, pixels; what it sees lies between `near` and `far` along its axis.
    """

    distance: float
    fov: float
    width: int
    height: int
    near: float
    far: float


@dataclass(frozen=True, eq=False)
class Asset:
    """A mesh, its coarser levels of detail, from 1 on, and the convex parts of its collision hull."""

    mesh: Bundle
    lods: tuple[Bundle, ...] = ()
    hull: tuple[Bundle, ...] = ()


@dataclass(frozen=True, eq=False)
class Relief(Asset):
    """A photograph's relief: `mesh` is `seen`, whose texture is the picture `photograph`, and then `filled`, if there
    is any, with the second material.
    """

    seen: Bundle = field(kw_only=True)
    filled: Bundle | None = field(kw_only=True)
    photograph: Path = field(kw_only=True)
    camera: Viewpoint = field(kw_only=True)


class Polygons(NamedTuple):
    """Corners [L] of all polygons one after the other, as places in the 3F corners of the faces; of each polygon where
    they start [P] and how many there are [P].
    """

    corners: Array
    starts: Array
    counts: Array


def read_arrays(path: Path, wanted: str, version: int) -> dict[str, Array]:
    """The arrays of a file of the engine (npz) that says to be of the format `wanted` in that version.

    Raises BundleError if it is missing, damaged, gigantic, or another file.
    """
    name = Path(path).name
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > _MOST_BYTES:
                raise BundleError(f"{name} unpacks to more than {_MOST_BYTES >> 20} MiB")
            with np.load(file, allow_pickle=False) as data:
                arrays = {key: data[key] for key in data.files}
        found = str(arrays.get("format")), int(arrays.get("version", 0))
    except _DAMAGE as error:
        raise BundleError(f"{name} is no readable file of the engine ({type(error).__name__})") from None
    if found != (wanted, version):
        raise BundleError(f"{name} is no {wanted} of version {version}")
    return arrays


def read_bundle(path: Path) -> Bundle:
    """The bundle at `path`. Raises BundleError if it is missing, damaged, or inconsistent."""
    arrays = read_arrays(path, FORMAT, VERSION)
    try:
        recipe = json.loads(str(arrays.get("recipe", "{}")))
    except ValueError:
        raise BundleError(f"{Path(path).name} has no readable recipe") from None
    _check(arrays)
    vertices, faces = arrays["vertices"], np.ascontiguousarray(arrays["faces"], np.int32)
    uv = arrays["uv"][faces.reshape(-1)] if "uv" in arrays else None
    first, place = _distinct(vertices)
    colors = arrays["vertex_colors"][first] if "vertex_colors" in arrays else None
    welded = place[faces].astype(np.int32)
    texture, thumbnail = arrays.get("texture"), arrays.get("thumbnail")
    return Bundle(
        to_blender(vertices[first]), welded, recipe, uv, texture, colors, thumbnail, arrays.get("quads")
    )


def read_asset(result: Mapping[str, object]) -> Asset:
    """The meshes of a result of the engine. Raises BundleError if one is missing, damaged, or inconsistent."""
    lods, hull = result.get("lods"), result.get("collision")
    return Asset(
        _bundle_of(result.get("files")),
        tuple(map(_bundle_of, lods)) if isinstance(lods, list) else (),
        _parts(_bundle_of(hull)) if hull else (),
    )


def read_relief(result: Mapping[str, object]) -> Relief:
    """The parts of a result of the engine. Raises BundleError if one is missing, damaged, or inconsistent."""
    seen, filled, camera = _bundle_of(result.get("files")), result.get("filled"), result.get("camera")
    behind = _bundle_of(filled) if filled else None
    if not isinstance(camera, dict) or not set(Viewpoint._fields) <= camera.keys():
        raise BundleError("The relief has no camera")
    if seen.uv is None or (behind is not None and behind.uv is None):
        raise BundleError("The relief has no texture coordinates")
    view = Viewpoint(**{name: camera[name] for name in Viewpoint._fields})
    mesh = seen if behind is None else _joined(seen, behind)
    photograph = Path(str(result.get("texture")))
    return Relief(mesh, seen=seen, filled=behind, photograph=photograph, camera=view)


def _joined(first: Bundle, second: Bundle) -> Bundle:
    """Both meshes as one, the second's faces with the second material; nothing is welded between them."""
    numbers = np.repeat(np.array([0, 1], np.int32), [len(first.faces), len(second.faces)])
    return replace(
        first,
        vertices=np.concatenate([first.vertices, second.vertices]),
        faces=np.concatenate([first.faces, second.faces + np.int32(len(first.vertices))]),
        uv=None if first.uv is None or second.uv is None else np.concatenate([first.uv, second.uv]),
        slots=numbers,
    )


def _bundle_of(files: object) -> Bundle:
    """The bundle among files by format."""
    return read_bundle(Path(str(files.get("npz") if isinstance(files, dict) else None)))


def _parts(bundle: Bundle) -> tuple[Bundle, ...]:
    """The connected pieces of a mesh without colours, in the order of their first vertices."""
    piece = _pieces(bundle.faces, len(bundle.vertices))[bundle.faces[:, 0]]
    return tuple(_subset(bundle, piece == number) for number in np.unique(piece))


def polygons(bundle: Bundle) -> Polygons:
    """The faces, with the halves of quadrilaterals put together unless a seam of the atlas runs between them."""
    counts = np.full(len(bundle.faces), 3, np.int32)
    first, second = np.empty((2, 0), np.int32) if bundle.quads is None else bundle.quads.T
    if bundle.uv is not None:
        uv = bundle.uv.reshape(-1, 3, 2)
        whole = (uv[first][:, [0, 2]] == uv[second][:, [0, 1]]).all(axis=(1, 2))
        first, second = first[whole], second[whole]
    counts[first], counts[second] = 4, 0
    starts = np.cumsum(counts, dtype=np.int32) - counts
    kept = np.flatnonzero(counts)
    corners = np.empty(counts.sum(), np.int32)
    for corner in range(3):
        corners[starts[kept] + corner] = 3 * kept + corner
    corners[starts[first] + 3] = 3 * second + 2
    return Polygons(corners, starts[kept], counts[kept])


def crop(bundle: Bundle, share: float, keep_largest: bool) -> Bundle:
    """Only the faces within the middle `share` (0 to 1) of the bounding box in every direction, and of those, with
    `keep_largest`, only the piece with most faces. Raises BundleError if nothing is left.
    """
    if share >= 1:
        return bundle  # the engine has left one piece already
    low, high = bundle.vertices.min(axis=0), bundle.vertices.max(axis=0)
    inside = (np.abs(bundle.vertices - (low + high) / 2) <= (high - low) / 2 * share).all(axis=1)
    keep = inside[bundle.faces].all(axis=1)
    if keep_largest and keep.any():
        piece = _pieces(bundle.faces[keep], len(bundle.vertices))[bundle.faces[:, 0]]
        numbers, counts = np.unique(piece[keep], return_counts=True)
        keep &= piece == numbers[counts.argmax()]
    if not keep.any():
        raise BundleError("Nothing of the mesh is left: crop less")
    return _subset(bundle, keep)


class Placement(NamedTuple):
    """Where the vertices of a bundle go: (vertex − `centre`) · `scale`."""

    centre: Array
    scale: float

    def __call__(self, vertices: Array) -> Array:
        """Vertices float32 [V,3] in their place."""
        return np.asarray((vertices - self.centre) * self.scale, dtype=np.float32)


def placement(bundle: Bundle, size: float | None, on_ground: bool) -> Placement:
    """A longest side of `size`, None: as it is; the middle at the origin, with `on_ground` the middle of the foot."""
    low, high = bundle.vertices.min(axis=0), bundle.vertices.max(axis=0)
    longest = float((high - low).max())
    centre = (low + high) / 2
    if on_ground:
        centre[2] = low[2]
    return Placement(centre, 1.0 if size is None or longest <= 0 else size / longest)


def mean_color(bundle: Bundle) -> tuple[float, float, float]:
    """The mean colour over the surface in linear light, 0.8 where it has none.

    What a texture holds outside of its charts does not count: that is more than half of some textures.
    """
    corners = bundle.vertices[bundle.faces]  # [F,3,3]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not area.sum() > 0:
        area = np.ones(len(area))
    if bundle.texture is not None and bundle.uv is not None:
        height, width = bundle.texture.shape[:2]
        where = _WITHIN @ bundle.uv.reshape(-1, 3, 2)  # [F,4,2]
        columns = np.clip((where[..., 0] * width).astype(int), 0, width - 1)
        rows = np.clip(((1 - where[..., 1]) * height).astype(int), 0, height - 1)
        seen = bundle.texture[rows, columns, :3]
    elif bundle.colors is not None:
        seen = bundle.colors[bundle.faces]
    else:
        return 0.8, 0.8, 0.8
    red, green, blue = (area @ _LINEAR[seen].mean(axis=1) / area.sum()).tolist()
    return red, green, blue


def linear_mean(colors: Array) -> tuple[float, float, float]:
    """The mean in linear light of colours uint8 [N,3]."""
    red, green, blue = _LINEAR[colors].mean(axis=0).tolist()
    return red, green, blue


def _check(arrays: dict[str, Array]) -> None:
    vertices, faces = arrays.get("vertices"), arrays.get("faces")
    if vertices is None or faces is None or vertices.ndim != 2 or faces.ndim != 2:
        raise BundleError("The bundle has no mesh")
    if vertices.shape[1] != 3 or faces.shape[1] != 3 or faces.dtype.kind not in "iu" or not len(faces):
        raise BundleError("The mesh has no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise BundleError("The mesh has faces without vertices, or vertices that are nowhere")
    for name, columns, dtype in (("uv", 2, np.float32), ("vertex_colors", 3, np.uint8)):
        if name in arrays and (arrays[name].shape != (len(vertices), columns) or arrays[name].dtype != dtype):
            raise BundleError(f"The mesh's {name} do not belong to its vertices")
    quads = arrays.get("quads")
    if quads is not None and not (
        quads.shape[1:] == (2,) and quads.dtype.kind in "iu" and (quads.max(initial=0) < len(faces))
    ):
        raise BundleError("The mesh's quads do not belong to its faces")
    for name in ("texture", "thumbnail"):
        if name in arrays and (arrays[name].ndim != 3 or arrays[name].dtype != np.uint8):
            raise BundleError(f"The mesh's {name} is no picture")


def to_blender(vertices: Array) -> Array:
    """Vertices float32 [V,3] of the GP3D frame in Blender's."""
    return np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], axis=1).astype(np.float32)


def _distinct(vertices: Array) -> tuple[Array, Array]:
    """Indices [U] of the first vertex at each position, and for every vertex the place [V] of its position there.

    Positions are compared by a 64-bit mix of their bits, which is several times as fast as comparing rows; should two
    positions ever share one, rows are compared after all.
    """
    bits = (np.ascontiguousarray(vertices, np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)
    mixed = bits @ np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    if not np.array_equal(vertices[first][inverse], vertices):
        _, first, inverse = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.reshape(-1)]


def _pieces(faces: Array, count: int) -> Array:
    """For every vertex the smallest number of a vertex that it is connected with."""
    number = np.arange(count)
    corners = faces.reshape(-1)
    while True:
        smallest = np.repeat(number[faces].min(axis=1), 3)
        before = number.copy()
        np.minimum.at(number, corners, smallest)
        np.minimum.at(number, before[corners], smallest)  # and so do those that were joined to it before
        number = number[number]
        if np.array_equal(number, before):
            return np.asarray(number)


def _subset(bundle: Bundle, keep: Array) -> Bundle:
    used, faces = np.unique(bundle.faces[keep], return_inverse=True)
    quads, number = bundle.quads, np.cumsum(keep, dtype=np.int32) - 1
    if quads is not None:
        quads = number[quads[keep[quads].all(axis=1)]]
    return replace(
        bundle,
        vertices=bundle.vertices[used],
        faces=faces.reshape(-1, 3).astype(np.int32),
        uv=None if bundle.uv is None else bundle.uv[np.repeat(keep, 3)],
        colors=None if bundle.colors is None else bundle.colors[used],
        quads=quads,
    )

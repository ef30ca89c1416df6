"""Colours of a file's parts as one mesh can hold them: of its vertices, or one texture of all the parts' pictures.

trimesh 5.2.0 joins materials, too, but loses colours of vertices beside them, wraps corners of a face that crosses the
edge of its picture one by one, and puts up to a texel between a picture and its coordinates.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.meshing.colors import linear_to_srgb, srgb_to_linear, unit_to_bytes

_BLOCK = 3  # texels along an edge of a face's picture: corners lie in the middle of texels, two apart
_MOST = 2**26  # texels of the texture, and of all repetitions
_ROUNDING = 1e-5  # coordinates so little beyond the edge of a picture lie on it


@dataclass(frozen=True)
class _Pictured:
    """A part's vertices (numbers of them, [N]), faces of these [F,3], and a picture [H,W,3] that `uv` [N,2] lie in."""

    vertices: NDArray[Any]
    faces: NDArray[Any]
    uv: NDArray[Any]
    picture: NDArray[Any]


def picture_of(part: Any, linear: bool) -> Any:
    """The PIL image on the trimesh part, of RGB, in the colour that its material multiplies it by (that of GLB files,
    which are `linear`); None if it has none, or no coordinates.
    """
    uv, material = getattr(part.visual, "uv", None), getattr(part.visual, "material", None)
    if uv is None or len(uv) != len(part.vertices):
        return None
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if _is_stand_in(material):
        return None
    factor = getattr(material, "baseColorFactor", None) if linear else None
    if image is None or factor is None or np.all(np.asarray(factor)[:3] == 255):
        return None if image is None else image.convert("RGB")
    light = srgb_to_linear(np.asarray(image.convert("RGB")) / 255) * (np.asarray(factor)[:3] / 255)
    return Image.fromarray(unit_to_bytes(linear_to_srgb(light)))


def linear_colors(part: Any) -> NDArray[Any] | None:
    """Colours [V,3] of the vertices of a GLB file's part, linear light, None if it has none."""
    colors = getattr(part.visual, "vertex_attributes", {}).get("color")
    return None if colors is None else np.asarray(colors, np.float64)[:, :3]


def plain_color(part: Any) -> NDArray[Any] | None:
    """The one colour [3], linear light, that an OBJ file's material gives the part; None without, and for white."""
    known = getattr(getattr(part.visual, "material", None), "kwargs", {}).get("kd")
    if not isinstance(known, list) or len(known) != 3:
        return None
    color = np.asarray(known, np.float64)
    color = np.clip(color / (255 if color.max() > 1 else 1), 0, 1)  # some write bytes
    return None if (color == 1).all() else color


def _is_stand_in(material: Any) -> bool:
    """Whether trimesh made the material up, four grey texels, as the file has coordinates and names none."""
    image = getattr(material, "image", None)
    return image is not None and image.size == (2, 2) and not material.kwargs and len(image.getcolors()) == 1


def with_one_texture(parts: list[Any], linear: bool) -> tuple[list[Any], NDArray[Any], NDArray[Any]]:
    """The trimesh parts without colours, coordinates float32 [V,2] of all their vertices and the texture uint8 [H,W,3]
    that shows them all. Vertices are repeated where faces show other repetitions of a picture.
    """
    most = math.isqrt(_MOST // len(parts))
    known: dict[Any, NDArray[Any] | None] = {}
    pictured = [_pictured(part, linear, most, known) for part in parts]
    places, texture = _packed([some.picture for some in pictured])
    size = np.array(texture.shape[1::-1])
    uv = [(some.uv * own + place) / size for some, (place, own) in zip(pictured, places, strict=True)]
    bare = [_bare(part, some) for part, some in zip(parts, pictured, strict=True)]
    return bare, np.concatenate(uv).astype(np.float32), texture


def _bare(part: Any, pictured: _Pictured) -> Any:
    import trimesh

    normals = None
    if "vertex_normals" in part._cache:  # they came with the file
        normals = np.asarray(part.vertex_normals)[pictured.vertices]
    vertices = np.asarray(part.vertices)[pictured.vertices]
    return trimesh.Trimesh(vertices, pictured.faces, vertex_normals=normals, process=False)


def _pictured(part: Any, linear: bool, most: int, known: dict[Any, NDArray[Any] | None]) -> _Pictured:
    """The part's picture, repeated to at most so many texels along an edge; `known` holds those of other parts."""
    faces, uv = np.asarray(part.faces), getattr(part.visual, "uv", None)
    shown = uv is not None and len(uv) == len(part.vertices)
    key = id(part.visual.material) if shown else None
    if key not in known:
        image = picture_of(part, linear)
        known[key] = None if image is None else np.asarray(image)
    picture = known[key]
    if picture is not None:
        return _repeated(faces, np.nan_to_num(np.asarray(uv, np.float64)), picture, most)
    colors = linear_colors(part)
    if colors is not None and len(np.unique(colors, axis=0)) > 1:
        return _in_blocks(faces, colors)
    color = [255, 255, 255]
    if colors is not None:
        color = unit_to_bytes(linear_to_srgb(colors[:1])).tolist()[0]
    elif not linear and (plain := plain_color(part)) is not None:
        color = unit_to_bytes(linear_to_srgb(plain)).tolist()
    everything = np.arange(len(part.vertices))
    return _Pictured(
        everything, faces, np.full((len(everything), 2), 0.5), np.array(color, np.uint8).reshape(1, 1, 3)
    )


def _repeated(faces: NDArray[Any], uv: NDArray[Any], picture: NDArray[Any], most: int) -> _Pictured:
    """A picture of as many repetitions as a face crosses."""
    vertices = np.arange(len(uv))
    shifts = np.floor(uv[faces].min(axis=1) + _ROUNDING).repeat(3, axis=0)  # of each face's corners
    if len(np.unique(shifts, axis=0)) > 1:
        corners = np.column_stack([faces.reshape(-1), shifts])
        corners, places = np.unique(corners, axis=0, return_inverse=True)
        vertices, shifts, faces = corners[:, 0].astype(np.int64), corners[:, 1:], places.reshape(-1, 3)
    else:
        shifts = shifts[:1]
    uv = uv[vertices] - shifts
    tiles = np.clip(np.ceil(uv[faces].max(axis=(0, 1)) - _ROUNDING), 1, most).astype(int)
    if (tiles > 1).any():
        size = np.minimum(picture.shape[1::-1], np.maximum(1, most // tiles))
        picture = np.tile(_resized(picture, size), (tiles[1], tiles[0], 1))
    return _Pictured(vertices, faces, np.clip(uv / tiles, 0, 1), picture)


def _in_blocks(faces: NDArray[Any], colors: NDArray[Any]) -> _Pictured:
    """A picture of a block for each face, in place of linear `colors` [V,3] of the vertices."""
    side = math.ceil(math.sqrt(len(faces)))  # blocks along an edge
    row, column = np.divmod(np.arange(len(faces)), side)
    down, right = np.divmod(np.arange(_BLOCK**2), _BLOCK)
    shares = np.stack([2 - down - right, right, down], axis=1) / (_BLOCK - 1)  # of the corners, in each texel
    light = np.clip(np.einsum("tc,fcx->ftx", shares, colors[faces]), 0, 1)
    picture = np.zeros((side * _BLOCK, side * _BLOCK, 3), np.uint8)
    picture[row[:, None] * _BLOCK + down, column[:, None] * _BLOCK + right] = unit_to_bytes(
        linear_to_srgb(light)
    )
    corners = np.array([[0, 0], [_BLOCK - 1, 0], [0, _BLOCK - 1]]) + 0.5
    uv = (np.stack([column, row], axis=1)[:, None] * _BLOCK + corners).reshape(-1, 2) / (side * _BLOCK)
    own = np.arange(3 * len(faces)).reshape(-1, 3)
    return _Pictured(faces.reshape(-1), own, uv * [1, -1] + [0, 1], picture)


def _packed(
    pictures: list[NDArray[Any]],
) -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], NDArray[Any]]:
    """Where each picture's lower left corner lies in the texture of all, in texels from its own, its width and height
    there, and the texture.

    Around each is a texel of its opposite edge, as if it were repeated; pictures that are the same lie in one place.
    """
    from trimesh.path import packing

    distinct = {id(picture): picture for picture in pictures}
    texels = sum(picture.size // 3 for picture in distinct.values())
    scale = min(1.0, math.sqrt(_MOST / texels))
    framed: dict[Any, Any] = {}
    digests: dict[int, Any] = {}
    sizes: dict[int, NDArray[Any]] = {}
    for key, picture in distinct.items():
        sizes[key] = np.maximum(1, np.array(picture.shape[1::-1]) * scale).astype(int)
        small = np.pad(_resized(picture, sizes[key]), ((1, 1), (1, 1), (0, 0)), mode="wrap")
        digests[key] = (small.shape, hashlib.sha256(small.tobytes()).hexdigest())
        framed.setdefault(digests[key], Image.fromarray(small))
    texture, corners = packing.images(list(framed.values()), power_resize=True, iterations=10, seed=0)
    places = dict(zip(framed, np.asarray(corners) + 1, strict=True))
    return [(places[digests[id(picture)]], sizes[id(picture)]) for picture in pictures], np.asarray(texture)


def _resized(picture: NDArray[Any], size: NDArray[Any]) -> NDArray[Any]:
    """The picture with that width and height."""
    width, height = (int(side) for side in size)
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height)))

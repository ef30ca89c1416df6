"""Colours of surfaces, read from the field that made them: per vertex, or baked into a texture.

Conventions. A field takes world points [1,N,3] and returns rgb [1,N,3], whose [-1, 1] stands for the
sRGB-encoded [0, 1], and raw density. Texel (row, column) of a texture [S,S,3] has its centre at u = (column +
1/2) / S, v = 1 - (row + 1/2) / S. F faces, S texture size, C candidates (face, texel).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from gp3d_core.colors import unit_to_bytes
from gp3d_core.meshfile import Mesh, MeshError
from gp3d_core.rendering import Field
from gp3d_core.unwrapping import UnwrapError, unwrap

_BLEED = 1.5  # texels outside a chart whose colour is read from the face extended: what bilinear lookup needs
_DILATE = 8  # texels around that which repeat the nearest colour: what a renderer's coarser mip levels need
_CANDIDATES = 2**21  # at a time


def vertex_colors(
    mesh: Mesh, field: Field, *, chunk: int = 2**18, device: torch.device | str = "cpu"
) -> Mesh:
    """`mesh` with the colour of `field` at each vertex. Raises MeshError if the field returns NaN."""
    return replace(mesh, vertex_colors=_field_colors(field, mesh.vertices, chunk, device))


def bake_texture(
    mesh: Mesh,
    field: Field,
    *,
    size: int = 1024,
    seconds: float = 60.0,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
) -> Mesh:
    """`mesh` with an atlas and a texture uint8 [size,size,3] of the colours of `field` on its surface.

    Vertices are repeated along the seams of the atlas. Charts bleed over their borders; what no chart uses
    has the mean colour. If the atlas takes more than `seconds` or fails, a warning tells why and the result
    is `vertex_colors` instead. Raises ValueError for a size below 16, MeshError if the field returns NaN.
    """
    if size < 16:
        raise ValueError(f"expected a texture size of at least 16, found {size}")
    try:
        source, faces, uv = unwrap(mesh.vertices, mesh.faces, size=size, seconds=seconds)
    except UnwrapError as error:
        warnings.warn(f"no texture: {error}; the mesh gets vertex colours instead", stacklevel=2)
        return vertex_colors(mesh, field, chunk=chunk, device=device)
    optional = {"vertex_colors": mesh.vertex_colors, "normals": mesh.normals}
    kept = {name: array[source] for name, array in optional.items() if array is not None}
    mesh = Mesh(mesh.vertices[source], faces, uv=uv, **kept)
    texels, points = surface_texels(mesh, size)
    colors = _field_colors(field, points, chunk, device)
    return replace(mesh, texture=_fill(texels, colors, size))


def surface_texels(mesh: Mesh, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The texels a texture of `size` needs, as indices row * size + column [T], and their surface points
    [T,3].

    A texel belongs to the face that contains its centre; within 1.5 texels outside all faces, to the nearest
    one, whose plane then gives the point.
    """
    if mesh.uv is None:
        raise ValueError("texels need uv coordinates, found none")
    pixel = np.stack([mesh.uv[:, 0] * size - 0.5, (1 - mesh.uv[:, 1]) * size - 0.5], axis=1).astype(
        np.float64
    )
    depth = np.full(size * size, -_BLEED)
    points = np.zeros((size * size, 3), np.float32)
    for faces in _face_batches(pixel[mesh.faces], size):
        face, texel = _candidates(pixel[mesh.faces[faces]], size)
        corners = mesh.faces[faces[face]]
        weights, inside = _barycentric(np.stack([texel % size, texel // size], axis=1), pixel[corners])
        chosen = np.flatnonzero(inside >= depth[texel])
        chosen = chosen[np.argsort(inside[chosen], kind="stable")]  # of several, the deepest is written last
        depth[texel[chosen]] = inside[chosen]
        points[texel[chosen]] = np.einsum("ck,ckd->cd", weights[chosen], mesh.vertices[corners[chosen]])
    texels = np.flatnonzero(depth > -_BLEED)
    return texels, points[texels]


@torch.no_grad()
def _field_colors(field: Field, points: np.ndarray, chunk: int, device: torch.device | str) -> np.ndarray:
    """Bytes [N,3] of the field's rgb at `points` [N,3]."""
    parts = torch.from_numpy(points).split(chunk)
    rgb = torch.cat([field(part[None].to(device))[0][0].float().cpu() for part in parts])
    if torch.isnan(rgb).any():
        raise MeshError(
            f"the field's colour is NaN at {int(torch.isnan(rgb).any(1).sum())} of {len(rgb)} points"
        )
    return unit_to_bytes((rgb.numpy() + 1) / 2)


def _bounding_boxes(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First texel [F,2] and extent [F,2] of the texels that faces with `corners` [F,3,2] touch, bleed
    included.
    """
    first = np.clip(np.floor(corners.min(axis=1) - _BLEED), 0, size - 1).astype(np.int64)
    last = np.clip(np.ceil(corners.max(axis=1) + _BLEED), 0, size - 1).astype(np.int64)
    return first, last - first + 1


def _face_batches(corners: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Indices of the faces that have an area in the atlas, in batches of about `_CANDIDATES` texels."""
    edges = corners[:, 1:] - corners[:, :1]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    faces = np.flatnonzero(np.abs(area) > 1e-9)
    _, extent = _bounding_boxes(corners[faces], size)
    batch = np.cumsum(extent.prod(axis=1)) // _CANDIDATES
    yield from np.split(faces, np.flatnonzero(np.diff(batch)) + 1)


def _candidates(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of a face and a texel of its bounding box: face [C] in the batch, texel [C] = row * size +
    column.
    """
    first, extent = _bounding_boxes(corners, size)
    counts = extent.prod(axis=1)
    face = np.repeat(np.arange(len(corners)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    column = first[face, 0] + place % extent[face, 0]
    row = first[face, 1] + place // extent[face, 0]
    return face, row * size + column


def _barycentric(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric weights [C,3] of `points` [C,2] in `corners` [C,3,2], and how deep inside they lie [C], in
    texels.

    Depth is the distance to the nearest edge line, negative outside.
    """
    opposite = (
        np.roll(corners, -1, axis=1),
        np.roll(corners, -2, axis=1),
    )  # the edge that does not touch corner k
    edge = opposite[1] - opposite[0]
    to_point = points[:, None] - opposite[0]
    twice = edge[..., 0] * to_point[..., 1] - edge[..., 1] * to_point[..., 0]  # [C,3] signed doubled areas
    total = twice.sum(axis=1, keepdims=True)
    inside = twice * np.sign(total) / np.maximum(np.linalg.norm(edge, axis=2), 1e-12)
    return twice / total, inside.min(axis=1)


def _fill(texels: np.ndarray, colors: np.ndarray, size: int) -> np.ndarray:
    """The texture [size,size,3]: `colors` [T,3] at `texels` [T], the nearest of them around, their mean
    elsewhere.
    """
    flat = np.empty((size * size, 3), np.uint8)
    flat[:] = np.round(colors.mean(axis=0)).astype(np.uint8)
    flat[texels] = colors
    missing = np.ones(size * size, bool)
    missing[texels] = False
    distance, nearest = distance_transform_edt(missing.reshape(size, size), return_indices=True)
    around = (distance > 0) & (distance <= _DILATE)
    texture = flat.reshape(size, size, 3)
    texture[around] = texture[nearest[0][around], nearest[1][around]]
    return texture

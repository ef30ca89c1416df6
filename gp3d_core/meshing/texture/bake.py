"""Colours of surfaces, read from the field that made them: per vertex, or baked into a texture.

Conventions. A field takes world points [1,N,3] and returns rgb [1,N,3], whose [-1, 1] stands for the
sRGB-encoded [0, 1], and raw density. T texels, N points.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

from gp3d_core.meshing.colors import unit_to_bytes
from gp3d_core.meshing.components import face_areas
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.meshing.texture.texels import surface_texels
from gp3d_core.meshing.texture.unwrap import UnwrapError, unwrap
from gp3d_core.rendering.volume import Field
from gp3d_core.signals import Progress, no_progress

_TEXELS_PER_STEP = 10 / 3  # of what holds the colours; more add less than the rounding to bytes takes
_TEXELS_PER_PIXEL = 2**0.5  # of a photograph: rounded to a power of two at least one
_USED = 0.55  # of the texels: what charts of objects fill
_SMALLEST, _LARGEST = 64, 4096  # texels along an edge that are chosen without being asked for


def fitting_size(mesh: Mesh, step: float, photograph: float = math.inf) -> int:
    """The power of two of texels along an edge at which a texture shows all that colours hold.

    `step` is the distance between the samples that the colours are interpolated from: the texels of tri-planes, or the
    pixels of a picture; `photograph` that between pixels that are to be told apart. Figures: docs/meshing.md.
    """
    edge = max(_TEXELS_PER_STEP / step, _TEXELS_PER_PIXEL / photograph) * _edge(mesh)
    return int(np.clip(2 ** round(math.log2(max(edge, 1.0))), _SMALLEST, _LARGEST))


def texel_width(mesh: Mesh, size: int) -> float:
    """About how wide on the surface a texel of a texture of this `size` is going to be."""
    return _edge(mesh) / size


def _edge(mesh: Mesh) -> float:
    """The edge of a square that the surface fills as far as charts do."""
    return float((float(face_areas(mesh.vertices, mesh.faces).sum()) / _USED) ** 0.5)


def atlas_use(mesh: Mesh) -> float | None:
    """The share of the texture that faces cover; None without an atlas."""
    if mesh.uv is None:
        return None
    first, second, third = (mesh.uv[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    (ax, ay), (bx, by) = (second - first).T, (third - first).T
    return float(np.abs(ax * by - ay * bx).sum() / 2)


def vertex_colors(
    mesh: Mesh,
    field: Field,
    *,
    places: NDArray[Any] | None = None,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
    progress: Progress = no_progress,
) -> Mesh:
    """`mesh` with the colour of `field` at each vertex, which the field has at `places` [V,3], None: where it is.

    Raises MeshError if the field returns NaN.
    """
    points = mesh.vertices if places is None else places
    return replace(mesh, vertex_colors=_field_colors(field, points, chunk, device, progress))


def bake_texture(
    mesh: Mesh,
    field: Field,
    *,
    size: int = 1024,
    places: NDArray[Any] | None = None,
    seconds: float = 60.0,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
    progress: Progress = no_progress,
) -> Mesh:
    """`mesh` with an atlas and a texture uint8 [size,size,3] of the colours of `field` on its surface.

    Vertices are repeated along the seams of the atlas. `places` [V,3] is where the field has the vertices, None: where
    they are; the atlas is made for the mesh as it is, and colours are read between the places. What no chart uses has
    the colour of the nearest one. If the atlas takes more than `seconds` or fails, a warning tells why and the result
    is `vertex_colors` instead. Raises ValueError for a size below 16, MeshError if the field returns NaN.
    """
    if size < 16:
        raise ValueError(f"expected a texture size of at least 16, found {size}")
    try:
        source, faces, uv = unwrap(
            mesh.vertices, mesh.faces, size=size, seconds=seconds, quads=mesh.quads, progress=progress
        )
    except UnwrapError as error:
        warnings.warn(f"no texture: {error}; the mesh gets vertex colours instead", stacklevel=2)
        return vertex_colors(mesh, field, places=places, chunk=chunk, device=device, progress=progress)
    optional = {"vertex_colors": mesh.vertex_colors, "normals": mesh.normals, "seen": mesh.seen}
    kept = {name: array[source] for name, array in optional.items() if array is not None}
    mesh = Mesh(mesh.vertices[source], faces, uv=uv, quads=mesh.quads, **kept)
    placed = mesh if places is None else replace(mesh, vertices=places[source])
    texels, points = surface_texels(placed, size, progress)
    colors = _field_colors(field, points, chunk, device, progress)
    return replace(mesh, texture=_fill(texels, colors, size))


@torch.no_grad()
def _field_colors(
    field: Field, points: NDArray[Any], chunk: int, device: torch.device | str, progress: Progress
) -> NDArray[Any]:
    """Bytes [N,3] of the field's rgb at `points` [N,3]."""
    colors: list[torch.Tensor] = []
    for part in torch.from_numpy(points).split(chunk):
        progress("color", chunk * len(colors), len(points))
        colors.append(field(part[None].to(device))[0][0].float().cpu())
    rgb = torch.cat(colors)
    progress("color", len(points), len(points))
    if torch.isnan(rgb).any():
        raise MeshError(
            f"the field's colour is NaN at {int(torch.isnan(rgb).any(1).sum())} of {len(rgb)} points"
        )
    return unit_to_bytes((rgb.numpy() + 1) / 2)


def _fill(texels: NDArray[Any], colors: NDArray[Any], size: int) -> NDArray[Any]:
    """The texture [size,size,3]: `colors` [T,3] at `texels` [T], and everywhere else that of the nearest of them.

    So there is no background that coarser mip levels could mix into a chart.
    """
    flat = np.zeros((size * size, 3), np.uint8)
    flat[texels] = colors
    missing = np.ones(size * size, bool)
    missing[texels] = False
    row, column = scipy.ndimage.distance_transform_edt(
        missing.reshape(size, size), return_distances=False, return_indices=True
    )
    return flat.reshape(size, size, 3)[row, column]

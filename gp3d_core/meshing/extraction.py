"""Surfaces of fields: level -> closed triangle surface -> clean -> simplify -> normals.

Conventions. A field takes world points [1,N,3] and returns rgb [1,N,3] and raw density [1,N,1]. Grids are
[N,N,N] with axes x, y, z; sample 0 lies at -box and sample N-1 at +box. The surface encloses what is denser
than the level; beyond the box there is nothing, so that it is always closed. Faces are counter-clockwise seen
from outside. Surfaces are drawn at a level of the raw density, which is closer to linear than the activated one,
so that interpolation between samples errs less; the two levels name the same surface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gp3d_core.meshing.cleaning import simplify, vertex_normals
from gp3d_core.meshing.components import Opacity, keep_components, signed_volumes
from gp3d_core.meshing.isosurface import SignedDistance, check_memory, field_surface
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.rendering.normals import gradient_normals
from gp3d_core.rendering.triplane_density import HasSeparableDensity, point_grid
from gp3d_core.rendering.volume import Field
from gp3d_core.signals import Progress, no_progress

SURVEY_GRID = 64  # samples per axis of the grid that a level is chosen on
SMALLEST_SHARE = 1e-4  # of the grid's samples that an automatic level may leave inside
LARGEST_SHARE = 0.5


class EmptyMeshError(MeshError):
    """No surface; the message says the level and the density that was found."""


class NoSurfaceError(EmptyMeshError):
    """No surface at `level`, while the density lies between `low` and `high`."""

    def __init__(self, level: float, low: float, high: float) -> None:
        advice = f"; try `level` auto or a level near {low + (high - low) / 3:.3g}" if high > low else ""
        super().__init__(
            f"no surface at level {level:.4g}: the density lies between {low:.4g} and {high:.4g}{advice}"
        )
        self.level, self.low, self.high = level, low, high


@dataclass(frozen=True, eq=False)
class Extraction:
    """A surface, the level it was taken at and the range of the density on a grid of up to 64³ samples.

    Level and range are of the raw density. `dropped` is how many pieces are no part of the surface, `dropped_area` the
    share of the whole surface that they had.
    """

    mesh: Mesh
    level: float
    density_min: float
    density_max: float
    dropped: int = 0
    dropped_area: float = 0.0


@torch.no_grad()
def density_grid(
    field: Field, *, box: float, grid: int, chunk: int = 2**18, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Raw density float32 [N,N,N] on the CPU, of `field` at the N = `grid` samples per axis of [-box, box]³.

    A field with `separable_density` is evaluated without points; any other gets at most `chunk` points at a time, on
    `device`. Raises ValueError for a grid below 2 or a box that is not positive, MeshError if the field returns NaN
    or infinity.
    """
    if grid < 2 or box <= 0 or chunk < 1:
        raise ValueError(f"expected grid >= 2, box > 0, chunk >= 1, found {grid}, {box}, {chunk}")
    axis = torch.linspace(-box, box, grid)
    if isinstance(field, HasSeparableDensity):
        raw = field.separable_density().grid(axis, axis, axis)
    else:
        raw = point_grid(field, axis, axis, axis, chunk=chunk, device=device)
    broken = int((~torch.isfinite(raw)).sum())
    if broken:
        raise MeshError(f"the field's density is NaN or infinite at {broken} of {grid**3} samples")
    return raw


def auto_level(sigma: NDArray[Any], box: float) -> float:
    """The level at which `sigma` [N,N,N], density after activation, splits into object and emptiness.

    1. Opaque: a layer of a 32nd of the box that lets half of the light through, sigma = 32 ln 2 / (2 box).
       That is 22 in the box of photographs (0.5) and 9.2 in that of ShapeNet (1.2; the paper uses 10),
       whatever the grid.
    2. If the densest sample has not twice that, or if less than 1e-4 or more than half of the samples are
       denser, the field is too weak or too foggy for 1: Otsu's threshold, the split with the largest
       variance between its two sides.
    3. If that fails the same test: the level that leaves the densest tenth inside.
    Raises EmptyMeshError if the density is the same everywhere or nowhere positive.
    """
    low, high = float(sigma.min()), float(sigma.max())
    if not high > max(low, 0.0):
        raise EmptyMeshError(f"no surface: the density is {high:.4g} everywhere or nowhere positive")
    opaque = 32 * math.log(2) / (2 * box)
    for level in (opaque, _otsu_level(sigma)) if high >= 2 * opaque else (_otsu_level(sigma),):
        if low < level < high and SMALLEST_SHARE <= float((sigma > level).mean()) <= LARGEST_SHARE:
            return level
    return float(np.clip(np.quantile(sigma, 0.9), np.nextafter(low, high), np.nextafter(high, low)))


def extract_mesh(
    field: Field,
    *,
    box: float,
    grid: int = 128,
    level: float | Literal["auto"] = "auto",
    faces: int | None = None,
    components: int | Literal["auto"] | None = "auto",
    fill_holes: bool = True,
    opacity: Opacity | None = None,
    crop: SignedDistance | None = None,
    survey: torch.Tensor | None = None,
    max_bytes: int | None = None,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
    progress: Progress = no_progress,
) -> Extraction:
    """The surface of `field` in [-box, box]³, with normals of the field and no colours, and the level it was taken at.

    `level` is one of the raw density; `auto_level` says what "auto" chooses, for fields whose raw density is that of
    light. `components` is how many stay, by volume, without their cavities (None: all, "auto": those that belong to the
    object, as `components.belonging` has it, by what `opacity` says of light along paths in the field, if it is known);
    `fill_holes` fills cavities in any case. `faces` is the most that are wanted: decimation
    stops there, and is given up with a warning if it tears a closed surface. `crop` cuts away where it is negative.
    `survey` is what `density_grid` says of the field on a coarse grid, if that is known. `progress` hears of the stages
    density and surface, and may raise to stop.
    Raises EmptyMeshError if there is no surface, MemoryLimitError for a grid that needs more than `max_bytes`,
    ValueError for arguments out of range, MeshError for NaNs.
    """
    if faces is not None and faces < 4:
        raise ValueError(f"a closed surface needs at least 4 faces, found a budget of {faces}")
    if isinstance(components, int) and components < 1:
        raise ValueError(f"expected at least 1 component to keep, found {components}")
    if max_bytes is not None:
        check_memory(field, grid, max_bytes)
    progress("density", 0, 1)
    if survey is None:
        survey = density_grid(field, box=box, grid=min(grid, SURVEY_GRID), chunk=chunk, device=device)
    used = auto_level(survey.numpy(), box) if level == "auto" else float(level)
    vertices, triangles = field_surface(
        field, box=box, grid=grid, level=used, crop=crop, chunk=chunk, device=device, progress=progress
    )
    low, high = float(survey.min()), float(survey.max())
    if len(triangles) == 0 or used < low:
        raise NoSurfaceError(used, low, high)
    mesh = _outwards(vertices, triangles)
    kept = [keep_components(mesh, components, opacity, fill=fill_holes)]
    progress("surface", 0, 1)
    if faces is not None:  # which may tear crumbs off
        kept.append(keep_components(simplify(kept[0].mesh, faces), components, opacity))
    mesh = kept[-1].mesh
    normals = field_normals(mesh, field, step=2 * box / (grid - 1), chunk=chunk, device=device)
    cut = _on_cut(mesh.vertices, box, 2 * box / (grid - 1), crop)
    normals[cut] = vertex_normals(mesh)[cut]
    dropped, area = sum(part.dropped for part in kept), sum(part.area for part in kept)
    return Extraction(replace(mesh, normals=normals), used, low, high, dropped, area)


def _on_cut(vertices: NDArray[Any], box: float, step: float, crop: SignedDistance | None) -> NDArray[Any]:
    """Which vertices [V] lie where the box or `crop`, not the field, ends the surface."""
    cut: NDArray[Any] = (np.abs(vertices) >= box * (1 - 1e-6)).any(axis=1)
    return cut if crop is None else cut | (np.abs(crop(vertices)) < step / 4)


def field_normals(
    mesh: Mesh,
    field: Field,
    *,
    step: float,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
) -> NDArray[Any]:
    """Unit normals float32 [V,3]: against the gradient of the density, by central differences over ±`step`.

    Where they differ by more than 60° from the faces around, as on features smaller than the step, the faces' normals
    stay.
    """
    points = torch.from_numpy(mesh.vertices)
    return gradient_normals(field, points, vertex_normals(mesh), step=step, chunk=chunk, device=device)


def _outwards(vertices: NDArray[Any], faces: NDArray[Any]) -> Mesh:
    faces = faces.astype(np.int32)
    return Mesh(vertices, faces if signed_volumes(vertices, faces).sum() > 0 else faces[:, ::-1].copy())


def _otsu_level(sigma: NDArray[Any]) -> float:
    """The split of the densities with the largest variance between its sides; the few densest do not stretch
    it.
    """
    values = np.minimum(sigma, np.quantile(sigma, 1 - SMALLEST_SHARE))
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    gap = mass / np.maximum(below, 1) - (mass[-1] - mass) / np.maximum(above, 1)
    return float(edges[1 + np.argmax(below * above * gap**2)])

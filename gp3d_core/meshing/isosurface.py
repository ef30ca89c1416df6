"""Surfaces of densities on grids, block by block: fine where the surface can be, nothing where it cannot.

Conventions. A grid has N samples per axis over [-box, box]; beyond the box there is nothing, so surfaces are closed
there, by faces in the box's faces. Inside is what is denser than the level. Faces are counter-clockwise seen from
outside.

The guarantee. A block of cells is left out only if bounds on its density show that all its samples, corners and
edges included, lie on the same side of the level. Marching cubes makes no face in such a block, and no other block
needs its samples beyond those it shares. So the surface is, vertex by vertex, the one of the full grid: no component
is lost, however small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gp3d_core.meshing.mesh import MeshError, unique_rows
from gp3d_core.rendering.density_blocks import Blocks, PointBlocks, SeparableBlocks
from gp3d_core.rendering.triplane_density import HasSeparableDensity
from gp3d_core.rendering.volume import Field
from gp3d_core.signals import Progress, no_progress

SignedDistance = Callable[[NDArray[Any]], NDArray[Any]]
"""Points [N,3] to distances [N] from a border, positive on the side that is kept; never growing faster than 1."""

Tile = tuple[tuple[int, int, int], NDArray[Any]]
"""Where a part of the grid begins, in blocks, and its density, float32."""

_TILE = 32  # cells along an edge of what marching cubes gets at a time
_DENSE = 0.2  # share of a slab's blocks from which on evaluating all of it is quicker
_SEPARABLE_CELLS = 4
_NEAR = 0.01  # of a step: far more than rounding, and less than half
_GIB = 2**30


def _marching_cubes() -> Callable[[NDArray[Any], float], tuple[NDArray[Any], NDArray[Any]]]:
    """PyMCubes' function alone: its package imports SciPy's image filters as well, which takes 0.3 s."""
    package = find_spec("mcubes")
    extension = package and PathFinder.find_spec("_mcubes", package.submodule_search_locations)
    if not extension or extension.loader is None:
        raise ModuleNotFoundError("No module named 'mcubes', which is PyMCubes; install it", name="mcubes")
    module = module_from_spec(extension)
    extension.loader.exec_module(module)
    found: Callable[[NDArray[Any], float], tuple[NDArray[Any], NDArray[Any]]] = module.marching_cubes
    return found


_marched = _marching_cubes()


class MemoryLimitError(MeshError):
    """A grid that does not fit into the memory allowed; the message says which would."""


def extraction_bytes(field: Field, grid: int) -> int:
    """About how much memory `field_surface` needs at the most, in bytes, besides the field itself."""
    lattices, bounds = 0, 0
    if isinstance(field, HasSeparableDensity):
        density = field.separable_density()
        units, features = len(density.hidden_weight) + 1, density.planes.shape[1]
        lattices = 4 * grid**2 * (units * 3 * 2 + features * 2)  # as they are, of blocks, and in the making
        bounds = 6 * 4 * (grid // _SEPARABLE_CELLS + 1) ** 3
    slab = 4 * 4 * (_TILE + 1) * (grid + 3) ** 2
    surface = (
        12 * grid**2 * 150
    )  # faces of a few crossings per column of samples, as they are collected and joined
    return lattices + bounds + slab + surface + 2**28


def check_memory(field: Field, grid: int, limit: int) -> None:
    """Raises MemoryLimitError if a grid of `grid`³ needs more than `limit` bytes."""
    needed = extraction_bytes(field, grid)
    if needed <= limit:
        return
    fitting = grid
    while fitting > 8 and extraction_bytes(field, fitting) > limit:
        fitting -= 8
    remedy = f"the largest that fits is {fitting}" if fitting > 8 else "no grid fits"
    raise MemoryLimitError(
        f"a grid of {grid} needs about {needed / _GIB:.1f} GiB, the limit is {limit / _GIB:.1f} GiB; {remedy}"
    )


def field_surface(
    field: Field,
    *,
    box: float,
    grid: int,
    level: float,
    crop: SignedDistance | None = None,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
    progress: Progress = no_progress,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vertices float32 [V,3] and faces int32 [F,3] of the surface of raw density `level` on a grid of `grid`³.

    `crop` says which side of a border stays; the surface is closed along it. [0,3] arrays mean that there is no
    surface. Raises MeshError if the density is NaN or infinite somewhere.
    `progress` hears of the stages density and surface.
    """
    blocks = _blocks(field, box, grid, chunk, device)
    spacing = 2 * box / (grid - 1)
    pieces = list(_pieces(blocks, grid, level, spacing, crop, progress))
    if not pieces:
        return np.empty((0, 3), np.float32), np.empty((0, 3), np.int32)
    progress("surface", 0, 1)
    counts = np.cumsum([0] + [len(corners) for corners, _ in pieces])
    corners = np.concatenate([corners for corners, _ in pieces])
    faces = np.concatenate([faces + first for (_, faces), first in zip(pieces, counts, strict=False)])
    return place_corners(corners, faces, box, grid, edge=max(1, _TILE // blocks.cells) * blocks.cells)


def place_corners(
    corners: NDArray[Any], faces: NDArray[Any], box: float, grid: int, edge: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    """World vertices and clean faces of corners [V,3] in samples, the first of which lies one outside the box.

    `edge` is the length of the tiles that the corners come from, each once a tile. They lie on lines between samples,
    so two can coincide, up to rounding, only where a sample is, where tiles meet, and where the box ends.
    """
    vertices = np.clip((corners - 1) * (2 * box / (grid - 1)) - box, -box, box)  # caps lie in the box's faces
    whole, doubtful = np.ones(len(corners), bool), np.zeros(len(corners), bool)
    for column in corners.T:
        close = np.rint(column)
        near = np.abs(column - close) < _NEAR
        whole &= near
        doubtful |= (near & (close % edge == 0)) | (column < 1 + _NEAR) | (column > grid - _NEAR)
    doubtful |= whole
    return drop_degenerate(vertices.astype(np.float32), faces.astype(np.int64), np.flatnonzero(doubtful))


def drop_degenerate(
    vertices: NDArray[Any], faces: NDArray[Any], doubtful: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vertices that coincide become one, faces that lose a corner by it and vertices without faces vanish.

    `doubtful` names those that may coincide, if that is known.
    """
    doubtful = np.arange(len(vertices)) if doubtful is None else doubtful
    first, inverse = unique_rows(vertices[doubtful])
    same = np.arange(len(vertices))
    same[doubtful] = doubtful[first[inverse]]
    faces = same[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    renumbered = np.cumsum(used) - 1
    return vertices[used], renumbered[faces].astype(np.int32)


def _blocks(field: Field, box: float, grid: int, chunk: int, device: torch.device | str) -> Blocks:
    """The field's density on the grid, one sample outside it on each side, and what fills the last block."""
    separable = isinstance(field, HasSeparableDensity)
    cells = _SEPARABLE_CELLS if separable else -(-(grid + 1) // -(-(grid + 1) // _TILE))
    count = -(-(grid + 1) // cells) * cells + 1
    inner = torch.linspace(-box, box, grid)
    line = inner[(torch.arange(count) - 1).clamp(0, grid - 1)]
    if isinstance(field, HasSeparableDensity):
        return SeparableBlocks(field.separable_density(), (line, line, line), cells)
    return PointBlocks(field, (line, line, line), cells, chunk, device)


def _pieces(
    blocks: Blocks,
    grid: int,
    level: float,
    spacing: float,
    crop: SignedDistance | None,
    progress: Progress,
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Corners and faces of all tiles that the surface crosses, in samples of the whole grid; corners repeat."""
    lower, upper = blocks.bounds(level)
    if not (np.isfinite(upper).all() and np.isfinite(lower).all()) and not isinstance(blocks, PointBlocks):
        raise MeshError("the field's density is NaN or infinite")
    cells, count = blocks.cells, lower.shape[0]
    outside = _outside(grid, cells, count)
    if crop is not None:
        lower, upper = _bounds_with(crop, blocks, lower, upper, level, spacing)
    active, inside = (lower <= level) & (upper >= level), lower > level
    border = np.zeros(count, bool)
    border[[0, -1]] = True
    border = border[:, None, None] | border[None, :, None] | border[None, None]
    active |= inside & border
    wide = max(1, _TILE // cells)
    for first in range(0, count, wide):
        progress("density", first, count)
        layer = slice(first, min(first + wide, count))
        if not active[layer].any():
            continue
        dense = active[layer].mean() >= _DENSE
        for (_, j, k), tile in (_cut_up if dense else _put_together)(blocks, active, inside, layer, wide):
            steps = tuple(
                slice(block * cells, block * cells + length)
                for block, length in zip((first, j, k), tile.shape, strict=True)
            )
            if crop is not None:
                _cut(tile, crop, blocks, steps, level, spacing)
            x, y, z = (outside[part] for part in steps)
            tile[x] = tile[:, y] = tile[:, :, z] = level - 1
            corners, faces = _marched(tile, level)
            if len(faces):
                yield corners + np.array([part.start for part in steps]), faces.astype(np.int64)


def _outside(grid: int, cells: int, count: int) -> NDArray[Any]:
    """Which of the samples along an axis lie outside the box."""
    place = np.arange(count * cells + 1)
    return (place == 0) | (place > grid)


def _cut_up(
    blocks: Blocks, active: NDArray[Any], inside: NDArray[Any], layer: slice, wide: int
) -> Iterator[Tile]:
    """The tiles of a layer that contain active blocks, all of whose samples are evaluated."""
    cells = blocks.cells
    slab = blocks.slab(layer.start, layer.stop)
    _check_finite(slab)
    for j in range(0, active.shape[1], wide):
        for k in range(0, active.shape[2], wide):
            if active[layer, j : j + wide, k : k + wide].any():
                y, z = (slice(first * cells, (first + wide) * cells + 1) for first in (j, k))
                yield (layer.start, j, k), slab[:, y, z].copy()


def _put_together(
    blocks: Blocks, active: NDArray[Any], inside: NDArray[Any], layer: slice, wide: int
) -> Iterator[Tile]:
    """The tiles of a layer that contain active blocks: density in these, ± a large number elsewhere.

    They end with the last active block along each axis; what lies behind it has no faces.
    """
    cells = blocks.cells
    index = np.argwhere(active[layer]) + np.array([layer.start, 0, 0])
    values = blocks.values(index)
    _check_finite(values)
    tile_of = index[:, 1] // wide * active.shape[2] + index[:, 2] // wide
    order = np.argsort(tile_of, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(tile_of[order])) + 1):
        j, k = index[own[0], 1:] // wide * wide
        place = index[own] - np.array([layer.start, j, k])
        ends = place.max(axis=0) + 1
        side = np.where(
            inside[layer, j:, k:][: ends[0], : ends[1], : ends[2]], np.float32(1e30), np.float32(-1e30)
        )
        of_sample = (np.minimum(np.arange(end * cells + 1) // cells, end - 1) for end in ends)
        tile = side[np.ix_(*of_sample)]
        x, y, z = (place[:, axis, None] * cells + np.arange(cells + 1) for axis in range(3))
        tile[x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]] = values[own]
        yield (layer.start, int(j), int(k)), tile


def _check_finite(values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        broken = int((~np.isfinite(values)).sum())
        raise MeshError(f"the field's density is NaN or infinite at {broken} of {values.size} samples")


def _bounds_with(
    crop: SignedDistance,
    blocks: Blocks,
    lower: NDArray[Any],
    upper: NDArray[Any],
    level: float,
    spacing: float,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Bounds of the density cut by `crop`, which over a block stays within its value at the centre ± the radius."""
    cells = blocks.cells
    lines = [line.numpy().astype(np.float64) for line in blocks.lines]
    centres = [(line[:-1:cells] + line[cells::cells]) / 2 for line in lines]
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)
    distance = crop(points.reshape(-1, 3)).reshape(lower.shape)
    radius = np.sqrt(3) * cells * spacing / 2 * 1.001
    return (
        np.minimum(lower, level + (distance - radius) / spacing),
        np.minimum(upper, level + (distance + radius) / spacing),
    )


def _cut(
    tile: NDArray[Any],
    crop: SignedDistance,
    blocks: Blocks,
    steps: Sequence[slice],
    level: float,
    spacing: float,
) -> None:
    """Lowers the density below the level beyond the border, linearly, so that the cut is flat."""
    lines = [line.numpy().astype(np.float64)[part] for line, part in zip(blocks.lines, steps, strict=True)]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    np.minimum(tile, level + crop(points.reshape(-1, 3)).reshape(tile.shape) / spacing, out=tile)

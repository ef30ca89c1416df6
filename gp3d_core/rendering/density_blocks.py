"""Density of a field on lines that are cut into blocks: bounds of every block, and the samples of some.

Bounds come in two steps. Over a block every hidden unit of a separable density lies between the sums of the smallest
and of the largest values that its three functions have there (interval arithmetic): quick, and wide, for units that
grow and units that shrink are bounded apart. Where that leaves open on which side of a level a block lies, the three
functions are replaced by planes through the corners of their blocks, in the sense of least squares, off by at most e.
A unit h is then linear up to e; relu(h) is convex, lies above g·h for any g from 0 to 1, and changes by no more than h:
    Σ₊ relu(h) − Σ₋ g·h + Σ e
is convex, so its largest value lies at a corner of the block, and bounds the density from above; likewise from below.
g is 1 where a unit is on at the block's centre: then only units that switch within the block widen the bounds.

Legend: C hidden units, U V samples of a lattice, n blocks along an axis, B blocks, s samples of a block along an axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.rendering.triplane_density import (
    ROUNDING,
    Lattices,
    SeparableDensity,
    combine,
    point_grid,
    samples_at_a_time,
    spread,
)
from gp3d_core.rendering.volume import Field

_COARSE = 2  # blocks along an edge of what is bounded first
_CLOSE = 8192  # blocks that are bounded closely at a time
_SPANNED = ((1, 1, 0), (1, 0, 1), (0, 1, 1))  # the axes x, y, z of the three functions
Bounds = tuple[NDArray[Any], NDArray[Any]]


class Blocks(Protocol):
    """Raw density on lines that are cut into blocks of `cells`³ cells; neighbours share their samples."""

    lines: tuple[Tensor, ...]
    cells: int

    def bounds(self, level: float) -> Bounds:
        """Lowest and highest density [n,n,n] that each block can hold, closest where `level` lies between them."""

    def values(self, index: NDArray[Any]) -> NDArray[Any]:
        """Density float32 [B, cells+1, cells+1, cells+1] of the blocks with `index` [B,3]."""

    def slab(self, first: int, last: int) -> NDArray[Any]:
        """Density of all blocks from `first` to before `last` along x, as one array."""


class SeparableBlocks:
    """A separable density on lines cut into blocks of `cells`³ cells; neighbours share their samples."""

    def __init__(self, density: SeparableDensity, lines: Sequence[Tensor], cells: int = 4) -> None:
        """`lines` holds the world coordinates along x, y, z, each a multiple of `cells`, plus 1, of them."""
        self.lines, self.cells = tuple(lines), cells
        self._parts = density.lattices(*(line.to(density.planes.device) for line in lines))

    @torch.no_grad()
    def bounds(self, level: float) -> Bounds:
        """Lowest and highest raw density [n,n,n] that blocks can hold, all their samples and rounding included."""
        faces = [_face(part, self.cells, self._parts.positive) for part in _three(self._parts)]
        rounding = ROUNDING * sum(
            float(torch.maximum(face.highest.abs(), face.lowest.abs()).amax(dim=(1, 2)).sum())
            for face in faces
        )
        lower = self._wide([face.lowest for face in faces], -1.0) - rounding
        upper = self._wide([face.highest for face in faces], 1.0) + rounding
        index = np.argwhere((lower <= level) & (upper >= level))
        if len(index):
            x, y, z = index.T
            low, high = self._close(faces, index)
            lower[x, y, z] = np.maximum(lower[x, y, z], low - 2 * rounding)
            upper[x, y, z] = np.minimum(upper[x, y, z], high + 2 * rounding)
        return lower, upper

    def _wide(self, extremes: Sequence[Tensor], sign: float) -> NDArray[Any]:
        """Densities [n,n,n] of the `extremes` of blocks, the same for all blocks of one of `_COARSE`³."""
        signs = torch.full((len(extremes[0]), 1, 1), sign, device=extremes[0].device)
        signs[self._parts.positive : -1] *= -1
        xy, xz, yz = (signs * F.max_pool2d(signs * part, _COARSE, ceil_mode=True) for part in extremes)
        coarse = Lattices(xy, xz, yz, self._parts.positive).grid().numpy()
        for axis, line in enumerate(self.lines):
            count = (len(line) - 1) // self.cells
            coarse = coarse.repeat(_COARSE, axis=axis).take(range(count), axis=axis)
        return coarse

    def _close(self, faces: Sequence[_Face], index: NDArray[Any]) -> Bounds:
        """Bounds [B] of the blocks with `index` [B,3] by planes, but for rounding."""
        corners = [face.corners.flatten(1) for face in faces]
        errors = [face.errors.flatten() for face in faces]

        def bound(some: Tensor) -> Tensor:
            places = self._places(some, 1)
            first = [torch.arange(4, device=some.device)[:, None] * len(error) for error in errors]
            at = [corner + place for corner, place in zip(first, places, strict=True)]
            xy, xz, yz = next(_picked([part[-1:] for part in corners], at, 2))
            lower = xy + xz + yz
            upper = lower.clone()
            for number, (xy, xz, yz) in enumerate(_picked([part[:-1] for part in corners], at, 2)):
                unit = xy + xz + yz
                tangent = unit * (unit[0, 0, 0] + unit[1, 1, 1] > 0)  # at the centre
                ramp = unit.clamp_(min=0)
                if number < self._parts.positive:
                    upper += ramp
                    lower += tangent
                else:
                    upper -= tangent
                    lower -= ramp
            off = torch.stack([error[place] for error, place in zip(errors, places, strict=True)]).sum(dim=0)
            return torch.stack([lower.amin(dim=(0, 1, 2)) - off, upper.amax(dim=(0, 1, 2)) + off])

        blocks = torch.from_numpy(index).to(self._parts.xy.device)
        low, high = torch.cat(spread(bound, blocks.split(_CLOSE), blocks.device), dim=1).cpu().numpy()
        return low, high

    @torch.no_grad()
    def values(self, index: NDArray[Any]) -> NDArray[Any]:
        """Raw density float32 [B, cells+1, cells+1, cells+1] of the blocks with `index` [B,3]."""
        size, parts = self.cells + 1, self._parts
        steps = torch.arange(size, device=parts.xy.device)
        lattices = [part.flatten(1) for part in _three(parts)]
        ends = [parts.plain.flatten()[None], lattices[1][-1:], lattices[2][-1:]]

        def evaluate(some: Tensor) -> Tensor:
            at = [
                ((steps[:, None] * part.shape[2] + steps).reshape(-1, 1) + place)
                for part, place in zip(_three(parts), self._places(some, self.cells), strict=True)
            ]
            linear = next(_picked(ends, at, size))
            units = (
                (xy.neg_(), xz, yz) for xy, xz, yz in _picked([part[:-1] for part in lattices], at, size)
            )
            return combine(linear, units, parts.positive).movedim(-1, 0).cpu()

        blocks = torch.from_numpy(index).to(parts.xy.device)
        batches = blocks.split(max(1, samples_at_a_time(blocks.device) // size**3))
        found = spread(evaluate, batches, blocks.device)
        return torch.cat(found).numpy() if len(index) else np.empty((0, size, size, size), np.float32)

    def slab(self, first: int, last: int) -> NDArray[Any]:
        """Raw density float32 [(last − first)·cells + 1, J, K] of all blocks from `first` to before `last` along x."""
        return self._parts.grid(slice(first * self.cells, last * self.cells + 1)).numpy()

    def _places(self, index: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Where blocks [B] begin in the three lattices as rows: of samples (`step` is `cells`), or of blocks (1)."""
        x, y, z = index.T * step
        extra = int(step > 1)
        _, wide, deep = ((len(line) - 1) // self.cells * step + extra for line in self.lines)
        return x * wide + y, x * deep + z, y * deep + z


def _three(parts: Lattices) -> tuple[Tensor, Tensor, Tensor]:
    return parts.xy, parts.xz, parts.yz


@dataclass(frozen=True, eq=False)
class _Face:
    """One of the three functions over all blocks: what makes the density largest and smallest, and a plane.

    highest, lowest [C+1,n,n], ends included; corners [C+1,4,n,n], the plane's values there; errors [n,n], the largest
    ones of a block's samples, summed over channels.
    """

    highest: Tensor
    lowest: Tensor
    corners: Tensor
    errors: Tensor


def _face(lattice: Tensor, cells: int, positive: int) -> _Face:
    """What is to be known of a lattice [C+1,U,V], of whose channels the first `positive` and the last are added."""
    size = cells + 1
    to_corners, away = (matrix.to(lattice) for matrix in _plane_through_corners(size))
    found: list[tuple[Tensor, ...]] = []
    for row in range(0, lattice.shape[1] - 1, cells):
        samples = lattice[:, row : row + size].unfold(2, size, cells).transpose(2, 3).flatten(1, 2)
        off = (away @ samples).abs_().amax(dim=1).sum(dim=0)
        found.append((samples.amax(dim=1), samples.amin(dim=1), to_corners @ samples, off))
    high, low, corners, errors = (torch.stack(part, dim=-2) for part in zip(*found, strict=True))
    subtracted = slice(positive, -1)
    high[subtracted], low[subtracted] = low[subtracted].clone(), high[subtracted].clone()
    return _Face(high, low, corners, errors)


def _plane_through_corners(size: int) -> tuple[Tensor, Tensor]:
    """From size² samples of a square to the values [4,size²] at its corners of the plane that fits those best, and
    to how far all samples are away from it [size²,size²].
    """
    share = torch.linspace(-0.5, 0.5, size, dtype=torch.float64)
    across, along = share.repeat_interleave(size), share.repeat(size)
    basis = torch.stack([torch.ones_like(across), across, along], dim=1)
    ends = [0, size - 1, size * size - size, size * size - 1]
    plane = torch.zeros(size * size, size * size, dtype=torch.float64)
    plane[:, ends] = basis @ torch.linalg.pinv(basis[ends])
    return plane[ends], torch.eye(size * size, dtype=torch.float64) - plane


def _picked(
    lattices: Sequence[Tensor], places: Sequence[Tensor], size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each channel of the three `lattices` [C,U·V] its values at the `places` [size²,B], as they are combined.

    That is as [size,size,1,B], [size,1,size,B], [1,size,size,B], in memory that the next channel uses again.
    """
    into = [torch.empty(place.shape, device=place.device) for place in places]
    shaped = [
        buffer.view(*(size if spanned else 1 for spanned in axes), -1)
        for buffer, axes in zip(into, _SPANNED, strict=True)
    ]
    if places[0].device.type != "cpu":
        for channel in zip(*lattices, strict=True):
            for lattice, place, buffer in zip(channel, places, into, strict=True):
                torch.take(lattice, place, out=buffer)
            yield shaped[0], shaped[1], shaped[2]
        return
    rows, indices = [lattice.numpy() for lattice in lattices], [place.numpy() for place in places]
    arrays = [buffer.numpy() for buffer in into]
    for number in range(len(lattices[0])):
        for row, index, array in zip(rows, indices, arrays, strict=True):
            row[number].take(index, out=array, mode="wrap")  # half the time of torch.take, and no check
        yield shaped[0], shaped[1], shaped[2]


class PointBlocks:
    """The density of any field on lines cut into blocks, point by point; nothing is known of it beforehand."""

    def __init__(
        self, field: Field, lines: Sequence[Tensor], cells: int, chunk: int, device: torch.device | str
    ) -> None:
        """`field` gets at most `chunk` points at a time, on `device`."""
        self.lines, self.cells = tuple(lines), cells
        self._field, self._chunk, self._device = field, chunk, device

    def bounds(self, level: float) -> Bounds:
        """Minus and plus infinity for every block."""
        shape = tuple((len(line) - 1) // self.cells for line in self.lines)
        return np.full(shape, -np.inf, np.float32), np.full(shape, np.inf, np.float32)

    def values(self, index: NDArray[Any]) -> NDArray[Any]:
        """Raw density float32 [B, cells+1, cells+1, cells+1] of the blocks with `index` [B,3]."""
        steps, size = np.arange(self.cells + 1), self.cells + 1
        found = np.empty((len(index), size, size, size), np.float32)
        for row, corner in enumerate(index * self.cells):
            lines = (line[first + steps] for line, first in zip(self.lines, corner, strict=True))
            found[row] = point_grid(self._field, *lines, chunk=self._chunk, device=self._device).numpy()
        return found

    def slab(self, first: int, last: int) -> NDArray[Any]:
        """Raw density float32 [(last − first)·cells + 1, J, K] of all blocks from `first` to before `last` along x."""
        xs = self.lines[0][first * self.cells : last * self.cells + 1]
        return point_grid(self._field, xs, *self.lines[1:], chunk=self._chunk, device=self._device).numpy()

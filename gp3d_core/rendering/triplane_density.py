"""Exact density of tri-plane fields on axis-aligned grids, without a list of points, and bounds on blocks of it.

A tri-plane field's raw density is linear after one hidden layer, so on a grid it comes apart into functions of pairs
of coordinates. With the hidden unit c before its leaky ReLU h_c(x,y,z) = a_c(x,y) + b_c(x,z) + d_c(y,z), slope s
and output weight w_c:
    raw = bias + Σ_c w_c lrelu(h_c) = linear(x,y,z) + Σ_c ± relu(|v_c| h_c),        v_c = (1 − s) w_c
where linear = bias + Σ_c s w_c h_c comes apart as well. Planes are projected once; the grid only adds, takes
maxima and sums: relu(a + b + d) = max(b + d, −a) + a. Each unit is monotone in h_c, hence largest (smallest) values
of the three functions over a block bound the block's density from above (below).

Legend: C hidden units, F features, T plane resolution, I J K samples along x, y, z, n blocks along an axis, B
blocks. Units with v_c ≥ 0 stand first. Plane order xy, xz, yz, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.rendering.volume import Field

_WORK = 2**15 - 1  # samples at a time on a CPU: in its cache, and too few for torch to split among threads
_WORK_CUDA = 2**24
T = TypeVar("T")
R = TypeVar("R")

_ROUNDING = (
    2e-6  # of the largest sum of absolute terms: how far rounding can carry a sum of a few hundred terms
)


class Blocks(Protocol):
    """Raw density on lines that are cut into blocks of `cells`³ cells; neighbours share their samples."""

    lines: tuple[Tensor, ...]
    cells: int

    def bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lowest and highest density [n,n,n] that each block can hold."""

    def values(self, index: NDArray[Any]) -> NDArray[Any]:
        """Density float32 [B, cells+1, cells+1, cells+1] of the blocks with `index` [B,3]."""

    def slab(self, first: int, last: int) -> NDArray[Any]:
        """Density of all blocks from `first` to before `last` along x, as one array."""


@runtime_checkable
class HasSeparableDensity(Protocol):
    """A field whose density comes apart on grids."""

    def separable_density(self) -> SeparableDensity:
        """Its density."""


@dataclass(frozen=True, eq=False)
class Lattices:
    """The three functions of two coordinates on given lines: xy [C+1,I,J], xz [C+1,I,K], yz [C+1,J,K].

    The last channel holds the linear part, the first `positive` of the others are added, the rest subtracted.
    """

    xy: Tensor
    xz: Tensor
    yz: Tensor
    positive: int

    @cached_property
    def folded(self) -> Tensor:
        """xy as `_combine` wants it."""
        return _folded(self.xy, self.positive)

    def pooled(self, cells: int, *, largest: bool) -> Lattices:
        """Per block of `cells`³ cells, ends included, what makes the density largest (or smallest)."""

        def extreme(lattice: Tensor) -> Tensor:
            sign = torch.ones(len(lattice), 1, 1, device=lattice.device)
            sign[self.positive : -1] = -1.0
            sign = sign if largest else -sign
            return sign * F.max_pool2d(sign * lattice, cells + 1, cells)

        return Lattices(extreme(self.xy), extreme(self.xz), extreme(self.yz), self.positive)

    @torch.no_grad()
    def grid(self, rows: slice = slice(None)) -> Tensor:
        """Raw density [I,J,K] on the CPU, of the `rows` along x."""
        xy, xz = self.folded[:, rows], self.xz[:, rows]
        count, device = xy.shape[1], xy.device
        raw = torch.empty(count, *self.yz.shape[1:])

        def fill(tile: tuple[slice, slice]) -> None:
            i, j = tile
            some = xy[:, i, j, None], xz[:, i, None, :], self.yz[:, None, j, :]
            raw[i, j] = _combine(*some, self.positive).cpu()

        _spread(fill, _tiles(count, raw.shape[1], raw.shape[2], _work(device)), device)
        return raw


@dataclass(frozen=True, eq=False)
class SeparableDensity:
    """Raw density of one object with planes [3,F,T,T] over [-box, box]³ and a perceptron with one hidden layer.

    hidden_weight [C,F], hidden_bias [C], `slope` of the leaky ReLU in [0, 1], output_weight [C] with every gain
    in it, output_bias a number. Raises ValueError for a slope outside [0, 1].
    """

    planes: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    slope: float
    output_weight: Tensor
    output_bias: Tensor
    box: float

    def __post_init__(self) -> None:
        """Checks the slope."""
        if not 0.0 <= self.slope <= 1.0:
            raise ValueError(f"expected a slope of the leaky ReLU from 0 to 1, found {self.slope}")

    @property
    def resolution(self) -> int:
        """Texels T along a plane's edge."""
        return self.planes.shape[-1]

    @torch.no_grad()
    def lattices(self, xs: Tensor, ys: Tensor, zs: Tensor) -> Lattices:
        """The density's parts on lines at world coordinates xs [I], ys [J], zs [K]."""
        order = torch.argsort(self.output_weight < 0, stable=True)
        weight, hidden, bias = self.output_weight[order], self.hidden_weight[order], self.hidden_bias[order]
        scale = ((1.0 - self.slope) * weight).abs()
        linear = self.slope * weight
        project = torch.cat([scale[:, None] * hidden, (linear @ hidden)[None]]) / 3.0
        constant = torch.cat([scale * bias, (linear @ bias + self.output_bias).reshape(1)])
        parts = []
        for plane, (us, vs) in zip(self.planes, ((xs, ys), (xs, zs), (ys, zs)), strict=True):
            at = torch.stack(torch.meshgrid(us, vs, indexing="ij"), dim=-1) / self.box
            features = F.grid_sample(plane[None], at[None].to(plane), align_corners=True)[0]
            parts.append(torch.einsum("cf,fuv->cuv", project, features))
        parts[0] += constant[:, None, None]
        return Lattices(parts[0], parts[1], parts[2], positive=int((weight >= 0).sum()))

    @torch.no_grad()
    def grid(self, xs: Tensor, ys: Tensor, zs: Tensor) -> Tensor:
        """Raw density [I,J,K] on the CPU at all combinations of world coordinates xs [I], ys [J], zs [K]."""
        return self.lattices(*(line.to(self.planes.device) for line in (xs, ys, zs))).grid()

    @torch.no_grad()
    def values(self, points: Tensor, chunk: int = 2**18) -> Tensor:
        """Raw density [N] at any points [N,3], one by one; for comparison."""
        pairs = ((0, 1), (0, 2), (1, 2))
        found = []
        for part in (points / self.box).split(chunk):
            at = torch.stack([part[:, pair] for pair in pairs])[:, None].to(self.planes)
            features = F.grid_sample(self.planes, at, align_corners=True)[:, :, 0].mean(dim=0)
            units = F.leaky_relu(self.hidden_weight @ features + self.hidden_bias[:, None], self.slope)
            found.append(self.output_weight @ units + self.output_bias)
        return torch.cat(found)


class SeparableBlocks:
    """A separable density on lines cut into blocks of `cells`³ cells; neighbours share their samples."""

    def __init__(self, density: SeparableDensity, lines: Sequence[Tensor], cells: int = 4) -> None:
        """`lines` holds the world coordinates along x, y, z, each a multiple of `cells`, plus 1, of them."""
        self.lines, self.cells = tuple(lines), cells
        self._parts = density.lattices(*(line.to(density.planes.device) for line in lines))
        self._unfolded: list[Tensor] = []

    @torch.no_grad()
    def bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lowest and highest raw density [n,n,n] that blocks can hold, all their samples and rounding included."""
        top, bottom = (self._parts.pooled(self.cells, largest=largest) for largest in (True, False))
        pairs = ((top.xy, bottom.xy), (top.xz, bottom.xz), (top.yz, bottom.yz))
        size = sum(float(torch.maximum(up.abs(), low.abs()).amax(dim=(1, 2)).sum()) for up, low in pairs)
        upper, lower = (
            _combine(
                _folded(part.xy, part.positive)[..., None],
                part.xz[:, :, None],
                part.yz[:, None],
                part.positive,
            )
            for part in (top, bottom)
        )
        return (lower - _ROUNDING * size).cpu().numpy(), (upper + _ROUNDING * size).cpu().numpy()

    @torch.no_grad()
    def values(self, index: NDArray[Any]) -> NDArray[Any]:
        """Raw density float32 [B, cells+1, cells+1, cells+1] of the blocks with `index` [B,3]."""
        size = self.cells + 1
        if not self._unfolded:
            parts = (self._parts.folded, self._parts.xz, self._parts.yz)
            self._unfolded = [_unfold(part, self.cells) for part in parts]
        counts = [(len(line) - 1) // self.cells for line in self.lines]
        places = torch.from_numpy(index).to(self._parts.xy.device)

        def evaluate(some: Tensor) -> Tensor:
            x, y, z = some.T
            xy, xz, yz = (
                part.gather(1, place.expand(len(part), -1)).view(-1, *shape, len(some))
                for part, place, shape in zip(
                    self._unfolded,
                    (x * counts[1] + y, x * counts[2] + z, y * counts[2] + z),
                    ((size, size, 1), (size, 1, size), (1, size, size)),
                    strict=True,
                )
            )
            return _combine(xy, xz, yz, self._parts.positive).movedim(-1, 0).cpu()

        batches = places.split(max(1, _work(places.device) // size**3))
        found = _spread(evaluate, batches, places.device)
        return torch.cat(found).numpy() if len(index) else np.empty((0, size, size, size), np.float32)

    def slab(self, first: int, last: int) -> NDArray[Any]:
        """Raw density float32 [(last − first)·cells + 1, J, K] of all blocks from `first` to before `last` along x."""
        return self._parts.grid(slice(first * self.cells, last * self.cells + 1)).numpy()


class PointBlocks:
    """The density of any field on lines cut into blocks, point by point; nothing is known of it beforehand."""

    def __init__(
        self, field: Field, lines: Sequence[Tensor], cells: int, chunk: int, device: torch.device | str
    ) -> None:
        """`field` gets at most `chunk` points at a time, on `device`."""
        self.lines, self.cells = tuple(lines), cells
        self._field, self._chunk, self._device = field, chunk, device

    def bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
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


@torch.no_grad()
def point_grid(
    field: Field,
    xs: Tensor,
    ys: Tensor,
    zs: Tensor,
    *,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Raw density [I,J,K] on the CPU of any `field` at all combinations of coordinates, `chunk` points at a time."""
    xs, ys, zs = (line.to(device) for line in (xs, ys, zs))
    raw = torch.empty(len(xs) * len(ys) * len(zs))
    for start in range(0, len(raw), chunk):
        index = torch.arange(start, min(start + chunk, len(raw)), device=device)
        x, y, z = index // (len(ys) * len(zs)), index // len(zs) % len(ys), index % len(zs)
        points = torch.stack([xs[x], ys[y], zs[z]], dim=1)
        raw[start : start + chunk] = field(points[None])[1].reshape(-1).float().cpu()
    return raw.reshape(len(xs), len(ys), len(zs))


def _folded(xy: Tensor, positive: int) -> Tensor:
    """`xy` [C+1,...] with the last channel ready for relu(a + b + d) = max(b + d, −a) + a: Σ ± a is in it."""
    plain = xy[-1] + xy[:positive].sum(dim=0) - xy[positive:-1].sum(dim=0)
    return torch.cat([xy[:-1], plain[None]])


def _unfold(lattice: Tensor, cells: int) -> Tensor:
    """Samples of all blocks of a lattice [C+1,U,V] as [(C+1)·(cells+1)², n·n], so that a block is a column."""
    blocks = lattice.unfold(1, cells + 1, cells).unfold(2, cells + 1, cells)
    return blocks.permute(0, 3, 4, 1, 2).reshape(len(lattice) * (cells + 1) ** 2, -1)


def _spread(work: Callable[[T], R], items: Iterable[T], device: torch.device) -> list[R]:
    """What `work` makes of all items, in order, by as many threads as torch may use."""
    if device.type != "cpu" or torch.get_num_threads() == 1:
        return [work(item) for item in items]

    def quietly(item: T) -> R:
        with torch.no_grad():  # a thread starts without
            return work(item)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(quietly, items))


def _work(device: torch.device) -> int:
    if device.type != "cpu":
        return _WORK_CUDA
    return _WORK if torch.get_num_threads() > 1 else 4 * _WORK


def _combine(xy: Tensor, xz: Tensor, yz: Tensor, positive: int) -> Tensor:
    """linear + Σ ± relu(xy + xz + yz), for operands [C+1, ...] that broadcast to a common shape; `xy` is folded.

    Every sample goes through the same additions whatever the shape, so that blocks agree where they meet, to the bit.
    """
    units, below = len(xy) - 1, -xy
    total = (xz[-1] + yz[-1]).add_(xy[-1])
    work = torch.empty_like(total)
    for c in range(units):
        torch.add(xz[c], yz[c], out=work)
        torch.maximum(work, below[c], out=work)
        total.add_(work, alpha=1.0 if c < positive else -1.0)
    return total


def _tiles(first: int, second: int, third: int, work: int) -> Iterator[tuple[slice, slice]]:
    """Slices along the first two axes whose product with the third has about `work` samples."""
    rows = max(1, min(second, work // third))
    slabs = max(1, min(first, work // (third * rows)))
    for i in range(0, first, slabs):
        for j in range(0, second, rows):
            yield slice(i, i + slabs), slice(j, j + rows)

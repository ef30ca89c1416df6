"""Exact density of tri-plane fields on axis-aligned grids, without a list of points.

A tri-plane field's raw density is linear after one hidden layer, so on a grid it comes apart into functions of pairs
of coordinates. With the hidden unit c before its leaky ReLU h_c(x,y,z) = a_c(x,y) + b_c(x,z) + d_c(y,z), slope s
and output weight w_c:
    raw = bias + Σ_c w_c lrelu(h_c) = linear(x,y,z) + Σ_c ± relu(|v_c| h_c),        v_c = (1 − s) w_c
where linear = bias + Σ_c s w_c h_c comes apart as well. Planes are projected once; the grid only adds, takes
maxima and sums: relu(a + b + d) = max(b + d, −a) + a.

Legend: C hidden units, F features, T plane resolution, I J K samples along x, y, z. Units with v_c ≥ 0 stand first.
Plane order xy, xz, yz, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.rendering.volume import Field

_WORK = 2**15 - 1  # samples at a time on a CPU: in its cache, and too few for torch to split among threads
_WORK_CUDA = 2**24
ROUNDING = (
    2e-6  # of the largest sum of absolute terms: how far rounding can carry a sum of a few hundred terms
)
Parts = tuple[Tensor, Tensor, Tensor]
T = TypeVar("T")
R = TypeVar("R")


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
    def plain(self) -> Tensor:
        """xy's linear part [I,J] for relu(a + b + d) = max(b + d, −a) + a: with Σ ± a in it."""
        added, subtracted = self.xy[: self.positive], self.xy[self.positive : -1]
        return self.xy[-1] + added.sum(dim=0) - subtracted.sum(dim=0)

    @torch.no_grad()
    def grid(self, rows: slice = slice(None)) -> Tensor:
        """Raw density [I,J,K] on the CPU, of the `rows` along x."""
        xy, xz, plain = self.xy[:-1, rows], self.xz[:, rows], self.plain[rows]
        count, device = xy.shape[1], xy.device
        raw = torch.empty(count, *self.yz.shape[1:])

        def fill(tile: tuple[slice, slice]) -> None:
            i, j = tile
            across, along = xz[:, i, None, :], self.yz[:, None, j, :]
            units = zip(-xy[:, i, j, None], across[:-1], along[:-1], strict=True)
            raw[i, j] = combine((plain[i, j, None], across[-1], along[-1]), units, self.positive).cpu()

        spread(fill, _tiles(count, raw.shape[1], raw.shape[2], samples_at_a_time(device)), device)
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


def spread(work: Callable[[T], R], items: Iterable[T], device: torch.device) -> list[R]:
    """What `work` makes of all items, in order, by as many threads as torch may use."""
    if device.type != "cpu" or torch.get_num_threads() == 1:
        return [work(item) for item in items]

    def quietly(item: T) -> R:
        with torch.no_grad():  # a thread starts without
            return work(item)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(quietly, items))


def samples_at_a_time(device: torch.device) -> int:
    """How many samples are evaluated at a time."""
    if device.type != "cpu":
        return _WORK_CUDA
    return _WORK if torch.get_num_threads() > 1 else 2 * (_WORK + 1)


def combine(linear: Parts, units: Iterable[Parts], positive: int) -> Tensor:
    """Raw density of parts that broadcast to a common shape: the `linear` ones of xy, plain, of xz and yz, and
    −xy, xz, yz of each hidden unit, of which the first `positive` are added.

    Every sample goes through the same additions whatever the shape, so that blocks agree where they meet, to the bit.
    """
    xy, xz, yz = linear
    total = (xz + yz).add_(xy)
    work = torch.empty_like(total)
    for number, (below, across, along) in enumerate(units):
        torch.add(across, along, out=work)
        torch.maximum(work, below, out=work)
        total.add_(work, alpha=1.0 if number < positive else -1.0)
    return total


def _tiles(first: int, second: int, third: int, work: int) -> Iterator[tuple[slice, slice]]:
    """Slices along the first two axes whose product with the third has about `work` samples.

    They are about as wide as high: so most samples share what is read of the three functions.
    """
    columns = max(1, work // third)
    rows = min(second, max(isqrt(columns), columns // first))
    slabs = max(1, min(first, columns // rows))
    for i in range(0, first, slabs):
        for j in range(0, second, rows):
            yield slice(i, i + slabs), slice(j, j + rows)

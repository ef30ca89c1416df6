"""The same field, answered faster: features gathered by rows, and nothing evaluated where there is nothing.

`FastField` equals the tri-plane field it stands for up to rounding, without gradients. `skip_empty` also leaves out
points in blocks of the box where a grid found the density below a threshold; they count as empty. Both are fields,
so that renderer, mesher and texture take them as they take any other.

Legend: F features, T plane resolution, N points, n blocks along an axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.rendering.triplane_density import SeparableDensity
from gp3d_core.rendering.volume import Field

Decoder = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Features [1,N,F] to rgb [1,N,3] and raw density [1,N,1]."""

_CHUNK = 2**14  # points at a time: what fits into a CPU's cache
_BLOCKS = 48  # along an axis
_EMPTY = -1e6  # raw density of what is left out


class FastField:
    """A tri-plane field for a CPU: features are read as rows of a table, in portions that fit into the cache."""

    def __init__(self, planes: Tensor, decoder: Decoder, box: float) -> None:
        """`planes` [3,F,T,T] span [-box, box]³; a border of zeros is what lies beyond."""
        self._edge = planes.shape[-1] + 2
        self._table = (
            F.pad(planes, (1, 1, 1, 1)).permute(0, 2, 3, 1).reshape(3 * self._edge**2, -1).contiguous()
        )
        self._decoder, self._box = decoder, box

    @torch.no_grad()
    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [1,N,3] and raw density [1,N,1] at points [1,N,3]; ValueError for a batch of several."""
        if points.shape[0] != 1:
            raise ValueError(f"a fast field is of one object, found a batch of {points.shape[0]}")
        parts = [self._decoder(self._features(part)[None]) for part in points[0].split(_CHUNK)]
        if not parts:
            return points.new_empty(1, 0, 3), points.new_empty(1, 0, 1)
        return torch.cat([rgb for rgb, _ in parts], dim=1), torch.cat([raw for _, raw in parts], dim=1)

    def _features(self, points: Tensor) -> Tensor:
        """Mean [N,F] of the bilinear look-ups in the three planes at points [N,3]."""
        edge = self._edge
        place = (points / self._box + 1) * ((edge - 3) / 2) + 1
        place = place.clamp(0, edge - 1)
        first = place.floor().clamp(max=edge - 2)
        above = place - first
        below, corner = 1 - above, first.int()
        rows, weights = [], []
        for plane, (across, down) in enumerate(((0, 1), (0, 2), (1, 2))):
            row = plane * edge**2 + corner[:, down] * edge + corner[:, across]
            rows += [row, row + 1, row + edge, row + edge + 1]
            left, right, top, bottom = below[:, across], above[:, across], below[:, down], above[:, down]
            weights += [left * top, right * top, left * bottom, right * bottom]
        return F.embedding_bag(
            torch.stack(rows, dim=1),
            self._table,
            per_sample_weights=torch.stack(weights, dim=1) / 3,
            mode="sum",
        )


@dataclass(frozen=True, eq=False)
class SkippingField:
    """A field that is asked only for points in `occupied` [n,n,n] blocks of [-box, box]³; the rest is empty.

    `edge` is a block's length. Points beyond the box are empty if `empty_outside`, and asked for otherwise.
    """

    field: Field
    occupied: Tensor
    box: float
    edge: float
    empty_outside: bool

    @torch.no_grad()
    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [1,N,3], 0 where nothing was asked, and raw density [1,N,1] at points [1,N,3]."""
        count = self.occupied.shape[0]
        block = ((points[0] + self.box) / self.edge).floor().long().clamp(0, count - 1)
        asked = self.occupied.flatten()[(block[:, 0] * count + block[:, 1]) * count + block[:, 2]]
        outside = points[0].abs().amax(dim=1) > self.box
        asked = asked & ~outside if self.empty_outside else asked | outside
        chosen = asked.nonzero()[:, 0]
        rgb, raw = torch.zeros_like(points), torch.full_like(points[..., :1], _EMPTY)
        rgb[0, chosen], raw[0, chosen] = (part[0] for part in self.field(points[:, chosen]))
        return rgb, raw


@torch.no_grad()
def skip_empty(
    field: Field, density: SeparableDensity, *, threshold: float, empty_outside: bool
) -> SkippingField:
    """`field`, whose raw density is `density`, empty where that stays below `threshold` in and next to a block.

    Blocks are of 2³ cells of a grid of 97³ samples, evaluated exactly; a block is looked at with one more sample on
    every side, so that what rises above the threshold between samples is missed only if it is thinner than a cell.
    """
    line = torch.linspace(-density.box, density.box, 2 * _BLOCKS + 1)
    raw = density.grid(line, line, line)
    highest = F.max_pool3d(raw[None, None], kernel_size=5, stride=2, padding=1)[0, 0]
    occupied = (highest >= threshold).to(density.planes.device)
    return SkippingField(field, occupied, density.box, density.box / (_BLOCKS / 2), empty_outside)

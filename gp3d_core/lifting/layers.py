"""The layered depth image of a photograph: what the camera saw, and behind its depth edges what nobody saw.

Two layers of cells lie over a canvas, which is the picture and a border around it. The seen layer is the picture. The
filled layer holds a strip under the near side of every depth edge, which carries on the far side, and the border, which
carries on the picture. Inverse depth and colour of it solve Laplace's equation, with the values of the far side (or of
the picture's rim) at the ends and a free end elsewhere; the near side has no part in it. q is inverse depth from 0 far
to 1 near, links are those of `edges`. h × w cells in the picture, H × W on the canvas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from gp3d_core.lifting.edges import THRESHOLD, Links, cut, sharpen

SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))  # of a cell: right, down, left, up
STRIP, BORDER = 0.25, 0.2  # of the longer side: what turns by 15° reveal, of a relief as deep as it is wide
_HOLD = 1e-3  # weight of the value that the nearest end gives: a strip that ends freely stays near it
_BLUR = 8  # cells over which the colour of the far side is averaged
_CLOSED = 9  # cells: gaps of a strip that are narrower are no gaps
_SPREAD = 20  # rounds in which first values of neighbours become alike
_BEHIND = THRESHOLD / 2  # how far a filled cell stays behind what is seen there


@dataclass(frozen=True, eq=False)
class Layer:
    """Cells of a canvas: mask bool [H,W] where there are any, q [H,W], rgb [H,W,3] in [0, 1], links."""

    mask: NDArray[Any]
    q: NDArray[Any]
    rgb: NDArray[Any]
    links: Links

    def colors_everywhere(self) -> NDArray[Any]:
        """rgb [H,W,3] where there are no cells, too: that of the nearest, so that a bilinear lookup finds no other."""
        nearest = ndimage.distance_transform_edt(~self.mask, return_distances=False, return_indices=True)
        return self.rgb[tuple(nearest)]


@dataclass(frozen=True, eq=False)
class LayeredDepth:
    """Both layers; `border` cells around the picture; joined bool [4,H,W]: filled cells that carry on the seen
    neighbour at each of SIDES; revealed bool [H,W]: filled cells that lie behind seen ones.
    """

    seen: Layer
    filled: Layer
    border: int
    joined: NDArray[Any]

    @property
    def revealed(self) -> NDArray[Any]:
        """Filled cells that lie behind the picture."""
        return self.filled.mask & self.seen.mask


def layer(
    q: NDArray[Any], rgb: NDArray[Any], *, border: float = BORDER, strip: float = STRIP
) -> LayeredDepth:
    """The layers of a picture, `rgb` [h,w,3] in [0, 1] by cell, and its `q` [h,w].

    `border` and `strip` say how wide the filled layer is around the picture and behind depth edges, in longer sides.
    """
    q, links = cut(sharpen(q))
    longer = max(q.shape)
    width = math.ceil(border * longer)
    pad = ((width, width), (width, width))
    mask = np.pad(np.ones(q.shape, bool), pad)
    q, rgb = np.pad(q, pad, mode="edge"), np.pad(rgb, (*pad, (0, 0)), mode="edge")
    links = Links(
        np.pad(links.right, pad, constant_values=True) & mask[:, 1:] & mask[:, :-1],
        np.pad(links.down, pad, constant_values=True) & mask[1:] & mask[:-1],
    )
    seen = Layer(mask, q, rgb, links)
    filled, joined = _filled(seen, math.ceil(strip * longer))
    return LayeredDepth(seen, filled, width, joined)


def shifted(values: NDArray[Any], side: tuple[int, int], outside: Any) -> NDArray[Any]:
    """For every cell the value [H,W,...] of its neighbour at `side`; `outside` beyond the canvas."""
    moved = np.full_like(values, outside)
    height, width = values.shape[:2]
    down, right = side
    moved[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)] = values[
        max(down, 0) : height - max(-down, 0), max(right, 0) : width - max(-right, 0)
    ]
    return moved


def linked(links: Links, side: tuple[int, int]) -> NDArray[Any]:
    """Whether each cell [H,W] has a link with its neighbour at `side`."""
    found = np.zeros((links.right.shape[0], links.down.shape[1]), bool)
    if side[0] == 0:
        found[:, :-1] = links.right
    else:
        found[:-1] = links.down
    return found if sum(side) > 0 else shifted(found, side, False)


def _filled(seen: Layer, strip: int) -> tuple[Layer, NDArray[Any]]:
    """The filled layer, strips of `strip` cells and the border, and where it is joined to the seen one."""
    values = np.concatenate([seen.q[..., None], _far_colors(seen)], axis=2)
    joined = np.zeros((4, *seen.q.shape), bool)
    ends, count = np.zeros_like(values), np.zeros(seen.q.shape)
    for number, side in enumerate(SIDES):
        there = shifted(seen.mask, side, False)
        behind = seen.mask & ~linked(seen.links, side) & (shifted(seen.q, side, np.inf) < seen.q)
        joined[number] = there & (behind | ~seen.mask)
        ends += np.where(joined[number][..., None], shifted(values, side, 0.0), 0)
        count += joined[number]
    start = np.where(count[..., None] > 0, ends / np.maximum(count, 1)[..., None], 0)
    guess, mask = _grown(start, count > 0, seen, strip)
    links = _same_layer(mask, guess[..., 0], seen.mask)
    solved = _harmonic(mask, links, ends, count, guess)
    front = np.where(seen.mask, seen.q - _BEHIND, np.inf)
    # inverse depth may go below 0 a little, where a far side slopes away; colours stay colours
    return Layer(mask, np.minimum(solved[..., 0], front), np.clip(solved[..., 1:], 0, 1), links), joined


def _far_colors(seen: Layer) -> NDArray[Any]:
    """Colours [H,W,3], the mean of a few linked cells, without those at a cut: pixels there mix both sides."""
    at_cut = np.zeros(seen.q.shape, bool)
    for side in SIDES:
        at_cut |= seen.mask & shifted(seen.mask, side, False) & ~linked(seen.links, side)
    weight = (seen.mask & ~at_cut).astype(np.float64)[..., None]
    total = np.concatenate([seen.rgb * weight, weight], axis=2)
    for _ in range(_BLUR):
        total = total + sum(
            np.where(linked(seen.links, side)[..., None], shifted(total, side, 0.0), 0) for side in SIDES
        )
        total = total / 5
    known = total[..., 3:] > 0
    colors: NDArray[Any] = np.where(known, total[..., :3] / np.where(known, total[..., 3:], 1), seen.rgb)
    return colors


def _grown(
    start: NDArray[Any], mask: NDArray[Any], seen: Layer, strip: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """First values [H,W,C] of the filled layer and its mask, grown cell by cell from where it is joined.

    Under the picture it grows as far as the strip is wide and as what is seen lies in front of it.
    """
    guess, mask = start.copy(), mask.copy()
    border = int((~seen.mask).any(axis=1).argmin()) if not seen.mask.all() else 0
    for step in range(max(strip, border) - 1):
        total, count = np.zeros_like(guess), np.zeros(mask.shape)
        for side in SIDES:
            # the border does not grow into the picture, nor a strip out of it
            near = shifted(mask, side, False) & (shifted(seen.mask, side, False) == seen.mask)
            total += np.where(near[..., None], shifted(guess, side, 0.0), 0)
            count += near
        mean = total / np.maximum(count, 1)[..., None]
        new = (count > 0) & ~mask & (~seen.mask | ((seen.q > mean[..., 0] + _BEHIND) & (step < strip - 1)))
        guess[new] = mean[new]
        mask |= new
    mask, guess = _closed(mask, guess, seen.mask)
    corners = ~seen.mask & ~mask  # those of the border, farther from the picture than it is wide
    if corners.any():
        nearest = ndimage.distance_transform_edt(
            ~(mask & ~seen.mask), return_distances=False, return_indices=True
        )
        guess[corners] = guess[tuple(nearest)][corners]
    return guess, mask | corners


def _closed(
    mask: NDArray[Any], guess: NDArray[Any], inside: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The strips without narrow gaps, and first values that change little from cell to cell."""
    strips = mask & inside
    # an edge of a picture is no edge of what is behind it
    padded = np.pad(strips, _CLOSED, mode="edge")
    wide = ndimage.binary_closing(padded, np.ones((_CLOSED, _CLOSED)))[_CLOSED:-_CLOSED, _CLOSED:-_CLOSED]
    wide &= inside
    if wide.any():
        nearest = ndimage.distance_transform_edt(~strips, return_distances=False, return_indices=True)
        guess = np.where((wide & ~strips)[..., None], guess[tuple(nearest)], guess)
    for _ in range(_SPREAD):
        weight = ndimage.uniform_filter(wide.astype(np.float64), 3)[..., None]
        mean = ndimage.uniform_filter(guess * wide[..., None], (3, 3, 1)) / np.maximum(weight, 1e-9)
        guess = np.where(wide[..., None], mean, guess)
    return mask | wide, guess


def _same_layer(mask: NDArray[Any], q: NDArray[Any], inside: NDArray[Any]) -> Links:
    """Links of filled cells: strips and the border apart, strips behind different surfaces apart."""

    def joins(here: Any, there: Any) -> NDArray[Any]:
        both: NDArray[Any] = mask[here] & mask[there] & (inside[here] == inside[there])
        return both & (~inside[here] | (np.abs(q[here] - q[there]) <= 4 * THRESHOLD))

    every = slice(None)
    return Links(
        joins((every, slice(None, -1)), (every, slice(1, None))), joins(slice(None, -1), slice(1, None))
    )


def _harmonic(
    mask: NDArray[Any], links: Links, ends: NDArray[Any], count: NDArray[Any], guess: NDArray[Any]
) -> NDArray[Any]:
    """Values [H,W,C] of the cells of `mask` that are the mean of what they are linked with.

    `ends` [H,W,C] is the sum of the given values beside a cell, `count` [H,W] their number.
    """
    solved = guess.copy()
    size = int(mask.sum())
    if size == 0:
        return solved
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(size)
    first = np.concatenate([index[:, :-1][links.right], index[:-1][links.down]])
    second = np.concatenate([index[:, 1:][links.right], index[1:][links.down]])
    ones = np.ones(len(first))
    graph = sparse.coo_matrix((ones, (first, second)), shape=(size, size))
    graph = graph + graph.T
    degree = np.asarray(graph.sum(axis=1)).ravel() + count[mask] + _HOLD
    matrix = (sparse.diags(degree) - graph).tocsc()
    solved[mask] = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(
        ends[mask] + _HOLD * guess[mask]
    )
    return solved

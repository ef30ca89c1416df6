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

from gp3d_core.lifting import released
from gp3d_core.lifting.edges import THRESHOLD, Links, cut, of_subject, sharpen
from gp3d_core.lifting.options import BORDER, Edges
from gp3d_core.signals import Progress, counted, no_progress

SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))  # of a cell: right, down, left, up
STRIP = 0.25  # of the longer side: what turns by 15° reveal, of a relief as deep as it is wide
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
    q: NDArray[Any],
    rgb: NDArray[Any],
    *,
    border: float = BORDER,
    strip: float = STRIP,
    keep: NDArray[Any] | None = None,
    edges: Edges = "sharpened",
    progress: Progress = no_progress,
) -> LayeredDepth:
    """The layers of a picture, `rgb` [h,w,3] in [0, 1] by cell, and its `q` [h,w].

    `border` and `strip` say how wide the filled layer is around the picture and behind depth edges, in longer sides.
    `keep` bool [h,w]: the cells of the subject, if there is to be nothing else; then there is no border. `edges` as
    the release makes them take `q` for a disparity, which comes back not below 1/60. `progress` hears of the stages
    edges and filling.
    """
    progress("edges", 0, 2)
    q = _released_q(q) if edges == "released" else sharpen(q)
    progress("edges", 1, 2)
    q, links = cut(q, _released_links if edges == "released" else None)
    if keep is not None:
        q, links = of_subject(q, links, keep)
    progress("edges", 2, 2)
    longer = max(q.shape)
    width = math.ceil(border * longer) if keep is None else 0
    pad = ((width, width), (width, width))
    inside = np.pad(np.ones(q.shape, bool), pad)
    mask = inside if keep is None else keep
    q, rgb = np.pad(q, pad, mode="edge"), np.pad(rgb, (*pad, (0, 0)), mode="edge")
    links = Links(
        np.pad(links.right, pad, constant_values=True) & mask[:, 1:] & mask[:, :-1],
        np.pad(links.down, pad, constant_values=True) & mask[1:] & mask[:-1],
    )
    seen = Layer(mask, q, rgb, links)
    filled, joined = _filled(seen, ~inside, math.ceil(strip * longer), progress)
    return LayeredDepth(seen, filled, width, joined)


def _released_q(q: NDArray[Any]) -> NDArray[Any]:
    depth: NDArray[Any] = released.filtered(released.depth_of(q)).astype(np.float64)
    return 1.0 / (released.LARGEST * depth)


def _released_links(q: NDArray[Any], shortest: int) -> Links:
    return released.links(1.0 / (released.LARGEST * q), shortest)


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


def _filled(seen: Layer, around: NDArray[Any], strip: int, progress: Progress) -> tuple[Layer, NDArray[Any]]:
    """The filled layer, strips of `strip` cells and the border, and where it is joined to the seen one.

    `around` bool [H,W]: the cells of the border.
    """
    values = np.concatenate([seen.q[..., None], _far_colors(seen)], axis=2)
    joined = np.zeros((4, *seen.q.shape), bool)
    ends, count = np.zeros_like(values), np.zeros(seen.q.shape)
    for number, side in enumerate(SIDES):
        there = shifted(seen.mask, side, False)
        behind = seen.mask & ~linked(seen.links, side) & (shifted(seen.q, side, np.inf) < seen.q)
        joined[number] = there & (behind | around)
        ends += np.where(joined[number][..., None], shifted(values, side, 0.0), 0)
        count += joined[number]
    start = np.where(count[..., None] > 0, ends / np.maximum(count, 1)[..., None], 0)
    guess, mask = _grown(start, count > 0, seen, around, strip, progress)
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
    start: NDArray[Any],
    mask: NDArray[Any],
    seen: Layer,
    around: NDArray[Any],
    strip: int,
    progress: Progress,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """First values [H,W,C] of the filled layer and its mask, grown cell by cell from where it is joined.

    Under the picture it grows as far as the strip is wide and as what is seen lies in front of it.
    """
    guess, mask = start.copy(), mask.copy()
    border = int(around.any(axis=1).argmin()) if around.any() else 0
    # the border does not grow into the picture, nor a strip out of it
    alike = [shifted(seen.mask, side, False) == seen.mask for side in SIDES]
    for step in counted(range(max(strip, border) - 1), "filling", progress):
        near = [shifted(mask, side, False) & same for side, same in zip(SIDES, alike, strict=True)]
        row, column = np.nonzero(np.logical_or.reduce(near) & ~mask)
        total, count = np.zeros((len(row), guess.shape[2])), np.zeros(len(row))
        for (down, right), beside in zip(SIDES, near, strict=True):
            there = beside[row, column]
            total[there] += guess[row[there] + down, column[there] + right]
            count += there
        mean = total / np.maximum(count, 1)[:, None]
        behind = seen.mask[row, column] & (seen.q[row, column] > mean[:, 0] + _BEHIND) & (step < strip - 1)
        new = around[row, column] | behind
        guess[row[new], column[new]] = mean[new]
        mask[row[new], column[new]] = True
    mask, guess = _closed(mask, guess, seen.mask)
    corners = around & ~mask  # those of the border, farther from the picture than it is wide
    if corners.any():
        nearest = ndimage.distance_transform_edt(
            ~(mask & around), return_distances=False, return_indices=True
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

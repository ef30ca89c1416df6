"""Where the surface that a camera sees is torn: depth edges of a grid of cells, made sharp and freed from specks.

Cells are square parts of a picture, h × w of them. q [h,w] is inverse depth, from 0 far to 1 near, so that what is flat
in space is affine in q. Links say which neighbours are one surface; constants are those of Shih et al. 2020 ("3D
photography using context-aware layered depth inpainting"), whose pictures are 960 pixels long, carried over to a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

THRESHOLD = (
    0.02  # of q: a step between neighbours that is an edge (0.04 of 3 at 960 pixels, cells of about 2)
)
_ROUNDS = 4
_RAMP = 0.025  # of the longer side: the widest ramp that is made a step, as networks draw edges
_LENGTH = 960
_SHORTEST, _SMALLEST = 12, 200  # pixels of a depth edge and of an island, at that length


@dataclass(frozen=True, eq=False)
class Links:
    """Which neighbours are one surface: right bool [h,w-1] of a cell and the next, down bool [h-1,w]."""

    right: NDArray[Any]
    down: NDArray[Any]

    def torn(self) -> NDArray[Any]:
        """The cells that lie at a cut, bool [h,w]."""
        found = np.zeros((self.right.shape[0], self.down.shape[1]), bool)
        found[:, :-1] |= ~self.right
        found[:, 1:] |= ~self.right
        found[:-1] |= ~self.down
        found[1:] |= ~self.down
        return found

    def components(self) -> NDArray[Any]:
        """The number of the surface that each cell belongs to, int [h,w]."""
        shape = (self.right.shape[0], self.down.shape[1])
        index = np.arange(shape[0] * shape[1]).reshape(shape)
        first = np.concatenate([index[:, :-1][self.right], index[:-1][self.down]])
        second = np.concatenate([index[:, 1:][self.right], index[1:][self.down]])
        pairs = (np.ones(len(first), bool), (first, second))
        graph = sparse.coo_matrix(pairs, shape=(index.size, index.size))
        labels: NDArray[Any] = csgraph.connected_components(graph, directed=False)[1]
        return labels.reshape(shape)


def sharpen(q: NDArray[Any]) -> NDArray[Any]:
    """`q` with ramps between two surfaces made steps, in rounds over the cells at depth edges.

    A cell at an edge takes, of the values in a window that are at none, the one nearest to its own. So the step comes
    where the ramp had its middle, and a step that is sharp already stays where it is (the medians of the release round
    the corners off). A window that is all edge leaves its cell as it is.
    """
    reach = max(2, round(_RAMP / 2 * max(q.shape)))
    window = 2 * reach + 1
    for _ in range(_ROUNDS):
        marked = Links(_smooth(q, 1), _smooth(q, 0)).torn()
        rows, columns = np.nonzero(marked)
        offset = np.arange(window)
        padded = np.pad(np.where(marked, np.inf, q), reach, mode="edge")
        around = padded[rows[:, None, None] + offset[:, None], columns[:, None, None] + offset]
        around = around.reshape(len(rows), window**2)
        own = q[rows, columns]
        nearest = np.take_along_axis(around, np.abs(around - own[:, None]).argmin(axis=1)[:, None], 1)[:, 0]
        q = q.copy()
        q[rows, columns] = np.where(np.isfinite(nearest), nearest, own)
    return q


def cut(
    q: NDArray[Any], find: Callable[[NDArray[Any], int], Links] | None = None
) -> tuple[NDArray[Any], Links]:
    """`q` without floating islands, and its links: a step beyond the slope of the surface is no link.

    A gap of one cell in an edge is closed; edges that are too short to be one are dropped. `find` says otherwise which
    links values have, and is told how short that is.
    """
    find, scale = find or _links, max(q.shape) / _LENGTH
    links = find(q, max(2, round(_SHORTEST * scale)))
    labels = links.components()
    small = np.bincount(labels.ravel()) < _SMALLEST * scale**2
    islands = small[labels]
    if islands.any() and not islands.all():
        nearest = ndimage.distance_transform_edt(islands, return_distances=False, return_indices=True)
        q = q[tuple(nearest)]
        links = find(q, max(2, round(_SHORTEST * scale)))
    return q, links


def of_subject(q: NDArray[Any], links: Links, keep: NDArray[Any]) -> tuple[NDArray[Any], Links]:
    """`q` and links of the cells of `keep` alone, bool [h,w].

    A depth edge runs beside the outline of a subject, seldom along it: a torn rim, no wider than a ramp, that lies on
    the outline has the depth of the surroundings. It takes that of the subject beside it.
    """
    inner = _among(links, keep)
    labels = inner.components()
    wide = ndimage.maximum(
        ndimage.distance_transform_edt(~inner.torn() & keep), labels, np.arange(labels.max() + 1)
    )
    outline = keep & ~ndimage.binary_erosion(keep, border_value=1)
    rim = (wide < max(2, round(_RAMP / 2 * max(q.shape)))) & np.isin(np.arange(len(wide)), labels[outline])
    body = keep & ~rim[labels]
    if not body.any():
        return q, inner
    nearest = ndimage.distance_transform_edt(~body, return_distances=False, return_indices=True)
    q = np.where(keep & ~body, q[tuple(nearest)], q)
    return q, _among(_links(q, max(2, round(_SHORTEST * max(q.shape) / _LENGTH))), keep)


def _among(links: Links, keep: NDArray[Any]) -> Links:
    """The links between cells of `keep`."""
    return Links(links.right & keep[:, 1:] & keep[:, :-1], links.down & keep[1:] & keep[:-1])


def _smooth(q: NDArray[Any], axis: int) -> NDArray[Any]:
    """Whether the steps along `axis` are those of a slope, bool, one shorter than `q` there."""
    if q.shape[axis] < 2:
        return np.ones_like(np.diff(q, axis=axis), dtype=bool)
    step = np.diff(q, axis=axis)
    # the median over more than twice a ramp is the slope of the surface that it stands on
    wide = 2 * max(2, round(_RAMP * max(q.shape))) + 1
    size = (wide, 1) if axis == 0 else (1, wide)
    smooth: NDArray[Any] = np.abs(step - ndimage.median_filter(step, size, mode="nearest")) <= THRESHOLD
    return smooth


def _links(q: NDArray[Any], shortest: int) -> Links:
    return closed(~_smooth(q, 1), ~_smooth(q, 0), shortest)


def closed(torn_right: NDArray[Any], torn_down: NDArray[Any], shortest: int) -> Links:
    """What is left between cuts bool [h,w-1] and [h-1,w]: a gap of one cell in an edge is closed, edges of less than
    `shortest` cells are dropped.
    """
    right, down = torn_right.copy(), torn_down.copy()
    right[1:-1] |= torn_right[:-2] & torn_right[2:]
    down[:, 1:-1] |= torn_down[:, :-2] & torn_down[:, 2:]
    edges, _ = ndimage.label(Links(~right, ~down).torn(), np.ones((3, 3)))
    long = np.bincount(edges.ravel()) >= 2 * shortest  # both sides of an edge are cells at a cut
    long[0] = False
    right &= long[edges[:, :-1]] & long[edges[:, 1:]]
    down &= long[edges[:-1]] & long[edges[1:]]
    return Links(~right, ~down)

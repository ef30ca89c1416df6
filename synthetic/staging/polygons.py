"""Polygons cut into triangles, and smooth normals for faces that ask for them."""

from __future__ import annotations

import mapbox_earcut
import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.numbers import Ints
from synthetic.staging.surface import Floats, components, face_normals

_MOST_WORK = 4e9  # squared corners, in which the time of cutting is linear at worst: about ten seconds
_QUAD = np.array([[[0, 1, 2], [0, 2, 3]], [[1, 2, 3], [1, 3, 0]]])


def triangulate(positions: Floats, corners: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """[T,3] places in `corners`, and [T] polygons, of the triangles of polygons, in the order of the polygons.

    `corners` [C] number the `positions` of all polygons one after the other, `counts` [F] says how many each has; those
    of fewer than three give no triangle. Quads are cut from their first corner to the third or, where that line lies
    outside, from the second to the fourth. Convex polygons become a fan, others are cut by ears on their best-fit
    plane. Raises BrokenModelError where that would take for ever.
    """
    if len(counts) and counts.min() == counts.max() == 3:
        return np.arange(3 * len(counts)).reshape(-1, 3), np.arange(len(counts))
    first, points = np.cumsum(counts) - counts, positions[corners]
    triangles: list[Ints] = [np.empty((0, 3), np.int64)]
    polygons: list[Ints] = [np.empty(0, np.int64)]
    work = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for size in np.unique(counts[counts >= 3]).tolist():
            those = np.flatnonzero(counts == size)
            local, owner, work = _cut(points, first[those][:, None] + np.arange(size), work)
            triangles.append(first[those][owner][:, None] + local)
            polygons.append(those[owner])
    order = np.argsort(np.concatenate(polygons), kind="stable")
    return np.concatenate(triangles)[order], np.concatenate(polygons)[order]


def _cut(points: Floats, corners: Ints, work: float) -> tuple[Ints, Ints, float]:
    """[T,3] corners from 0 and [T] rows of the triangles of polygons [N,K] of one size, and the work up to now."""
    count, size = corners.shape
    fan = np.stack([np.zeros(size - 2), np.arange(1, size - 1), np.arange(2, size)], axis=1).astype(np.int64)
    rows = np.arange(count)
    if size == 3:
        return np.tile(fan, (count, 1)), rows, work
    places = points[corners] - points[corners[:, :1]]
    if size == 4:
        one = np.cross(places[:, 1], places[:, 2])
        two = np.cross(places[:, 2], places[:, 3])
        outside = np.einsum("ij,ij->i", one, two) < 0
        return _QUAD[outside.astype(int)].reshape(-1, 3), np.repeat(rows, 2), work
    flat = _flattened(places)
    as_fan = _is_convex(flat) | ~np.isfinite(flat).all(axis=(1, 2))
    triangles, owners = [np.tile(fan, (int(as_fan.sum()), 1))], [np.repeat(rows[as_fan], size - 2)]
    intricate = rows[~as_fan]
    work += len(intricate) * size**2
    if work > _MOST_WORK:
        raise BrokenModelError(
            f"it has faces of {size} corners that are too intricate to be cut into triangles"
        )
    for row in intricate.tolist():
        ears = _by_ears(flat[row])
        triangles.append(ears if len(ears) else fan)
        owners.append(np.full(len(triangles[-1]), row))
    return np.concatenate(triangles), np.concatenate(owners), work


def _flattened(places: Floats) -> Floats:
    """[N,K,2] corners [N,K,3] of polygons on their best-fit planes, counter-clockwise, a polygon about 1 in size."""
    places = places / np.maximum(np.abs(places).max(axis=(1, 2), keepdims=True), np.finfo(float).tiny)
    normal = np.cross(places, np.roll(places, -1, axis=1)).sum(axis=1)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.finfo(float).tiny)
    aside = np.eye(3)[np.abs(normal).argmin(axis=1)]
    right = np.cross(aside, normal)
    right = right / np.maximum(np.linalg.norm(right, axis=1, keepdims=True), np.finfo(float).tiny)
    up = np.cross(normal, right)
    return np.stack([np.einsum("nkc,nc->nk", places, axis) for axis in (right, up)], axis=-1)


def _is_convex(flat: Floats) -> npt.NDArray[np.bool_]:
    """Whether polygons [N,K,2] turn left all the way, and once around only."""
    edges = np.roll(flat, -1, axis=1) - flat
    following = np.roll(edges, -1, axis=1)
    cross = edges[..., 0] * following[..., 1] - edges[..., 1] * following[..., 0]
    turn = np.arctan2(cross, (edges * following).sum(axis=-1)).sum(axis=1)
    return np.asarray((cross >= -1e-12).all(axis=1) & (np.abs(turn - 2 * np.pi) < 0.01))


def _by_ears(flat: Floats) -> Ints:
    ears = mapbox_earcut.triangulate_float64(flat, np.array([len(flat)], np.uint32))
    triangles = ears.reshape(-1, 3).astype(np.int64)
    one, two, three = flat[triangles].transpose(1, 0, 2)
    clockwise = (two - one)[:, 0] * (three - one)[:, 1] < (two - one)[:, 1] * (three - one)[:, 0]
    return np.where(clockwise[:, None], triangles[:, [0, 2, 1]], triangles)


def smooth_normals(positions: Floats, triangles: Ints, groups: Ints) -> npt.NDArray[np.float32]:
    """[T,3,3] unit normals at the corners: the mean of the triangles of one group around a vertex, by their angles.

    `groups` [T] number the smoothing groups; triangles of group 0 are flat. Neighbours that are wound against
    each other count as turned over, or their normals would cancel each other out.
    """
    flat = face_normals(positions, triangles)
    normals = np.repeat(flat[:, None], 3, axis=1)
    those = np.flatnonzero(groups)
    corners = triangles[those]
    keys = corners + groups[those][:, None] * len(positions)
    if len(those) and groups[those].min() != groups[those].max():
        keys = np.unique(keys, return_inverse=True)[1].reshape(-1, 3)
    else:
        keys = corners
    edges = positions[np.roll(corners, -1, axis=1)] - positions[corners]
    edges = edges / np.maximum(np.linalg.norm(edges, axis=-1, keepdims=True), np.finfo(float).tiny)
    cosine = -np.einsum("tkc,tkc->tk", edges, np.roll(edges, 1, axis=1))
    angles = np.arccos(np.clip(cosine, -1, 1))
    sides = winding_sides(keys)[:, None]
    upright = flat[those] * sides
    sums = (
        np.stack(
            [np.bincount(keys.ravel(), (angles * upright[:, axis, None]).ravel()) for axis in range(3)],
            axis=-1,
        )[keys]
        * sides[..., None]
    )
    length = np.linalg.norm(sums, axis=-1, keepdims=True)
    normals[those] = np.divide(sums, length, out=normals[those], where=length > 1e-9)
    return normals.astype(np.float32)


def winding_sides(triangles: Ints) -> npt.NDArray[np.float64]:
    """[T] 1, or -1 for triangles that have to be turned over for all that are joined by edges to be wound alike.

    Where more than two meet at an edge it joins none. What cannot be wound alike, such as a Moebius strip, is left.
    """
    sides = np.ones(len(triangles))
    start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    forward = start < end
    edge = np.where(forward, start, end) * (start.max(initial=0) + 1) + np.where(forward, end, start)
    order = np.argsort(edge)
    begins = np.flatnonzero(np.diff(edge[order], prepend=-1))
    pairs = begins[np.diff(np.append(begins, len(order))) == 2]
    one, other = order[pairs], order[pairs + 1]
    against = forward[one] == forward[other]
    if not against.any():
        return sides
    count, a, b = len(triangles), one // 3, other // 3
    # Every triangle twice, as it is and turned over; an edge joins those that are wound alike.
    ends = np.concatenate([a, a + count]), np.concatenate([b + count * against, b + count * ~against])
    component = components(2 * count, *ends)
    plain, turned = component[:count], component[count:]
    # Of the two components that a patch makes, the one with the first of its triangles as it is.
    sides[(turned < plain)] = -1
    return sides


def with_normals(
    positions: Floats, triangles: Ints, table: Floats, places: Ints, groups: Ints | None = None
) -> npt.NDArray[np.float32] | None:
    """[T,3,3] unit normals at the corners, None where all triangles are flat.

    They are those at rows `places` [T,3] of a table [N,3]; where one of a triangle's is outside or no direction, those
    of its smoothing group, of `groups` [T]; where it has none (0), that of its plane.
    """
    given, vectors = np.zeros(len(triangles), np.bool_), table
    if len(table):
        known = (places >= 0) & (places < len(table))
        with np.errstate(invalid="ignore", over="ignore"):
            length = np.sqrt(np.einsum("ni,ni->n", table, table))
            sane = (length > 1e-6) & (length < np.inf)
            vectors = (table / np.where(sane, length, 1)[:, None]).astype(np.float32)
        whole = bool(known.all())
        inside = places if whole else np.where(known, places, 0)
        given = (
            np.ones(len(triangles), np.bool_) if whole and sane.all() else (known & sane[inside]).all(axis=1)
        )
        vectors = vectors.take(inside, axis=0)
    if given.all():
        return np.asarray(vectors, np.float32)
    groups = np.zeros(len(triangles), np.int64) if groups is None else np.where(given, 0, groups)
    if not given.any() and not groups.any():
        return None
    normals = smooth_normals(positions, triangles, groups)
    if given.any():
        normals[given] = vectors[given]
    return normals

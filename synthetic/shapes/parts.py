"""Watertight parts: closed triangle surfaces with outward normals, made by revolving, sweeping, boxing and extruding.

Every builder returns a `Part` whose surface is a closed manifold with positive volume (each edge belongs to exactly two
faces, walked in opposite directions). Hard and soft edges are the writer's business (`normals.corner_normals`), texture
coordinates belong to face corners, so no vertex is ever doubled along a seam.

u runs to the right and v upwards for somebody who looks at the front (from -Z, where +X is on the left).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthetic.shapes.curves import Points, arc, arc_lengths, circle
from synthetic.shapes.material import Material

AXIS_EPSILON = 1e-6  # a profile point nearer than this to the axis is a pole


@dataclass(frozen=True, eq=False)
class Part:
    """One closed surface of one material."""

    material: Material
    vertices: NDArray[np.float64]  # [V, 3]
    faces: NDArray[np.int64]  # [F, 3], counter-clockwise seen from outside
    uv: NDArray[np.float64]  # [F, 3, 2], per face corner

    def volume(self) -> float:
        """Signed volume inside the surface; positive when normals point outwards."""
        a, b, c = np.moveaxis(self.vertices[self.faces], 1, 0)
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
        """The part shifted by (x, y, z)."""
        return replace(self, vertices=self.vertices + np.array([x, y, z]))

    def scaled(self, x: float, y: float, z: float) -> Part:
        """The part stretched about the origin by positive factors."""
        if min(x, y, z) <= 0:
            raise ValueError(f"scaled: factors must be positive, got {(x, y, z)}")
        return replace(self, vertices=self.vertices * np.array([x, y, z]))

    def turned(self, axis: str, angle: float) -> Part:
        """The part rotated about the x, y or z axis through the origin, right-handed, radians."""
        i = "xyz".index(axis)
        j, k = (i + 1) % 3, (i + 2) % 3
        rotation = np.eye(3)
        rotation[j, j] = rotation[k, k] = math.cos(angle)
        rotation[k, j] = math.sin(angle)
        rotation[j, k] = -math.sin(angle)
        return replace(self, vertices=self.vertices @ rotation.T)

    def warped(self, warp: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Part:
        """The part with its vertices [V, 3] moved by a continuous, orientation-keeping map of space."""
        return replace(self, vertices=warp(self.vertices.copy()))

    def draped(self) -> Part:
        """The part with its texture laid once over its outline as seen from the front, upright, and so on its back."""
        low, high = self.vertices.min(axis=0)[:2], self.vertices.max(axis=0)[:2]
        flat = (self.vertices[:, :2] - low) / (high - low)
        flat[:, 0] = 1 - flat[:, 0]
        return replace(self, uv=flat[self.faces])


def outward(part: Part) -> Part:
    """The part with all faces turned over if its volume is negative."""
    if part.volume() >= 0:
        return part
    return replace(part, faces=part.faces[:, ::-1], uv=part.uv[:, ::-1])


def _grid(rows: int, columns: int, wrap_rows: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangles of a grid of quads that wraps around its columns.

    Returns vertex indices into the rows x columns grid and into the rows x (columns + 1) grid of seam-opened texture
    coordinates (rows + 1 when rows wrap too), both [F, 3].
    """
    i, j = np.meshgrid(np.arange(rows if wrap_rows else rows - 1), np.arange(columns), indexing="ij")
    corners = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)]
    vertex = np.stack([(a % rows) * columns + b % columns for a, b in corners], axis=-1).reshape(-1, 4)
    seam = np.stack([a * (columns + 1) + b for a, b in corners], axis=-1).reshape(-1, 4)
    triangles = [[0, 1, 2], [0, 2, 3]]
    return vertex[:, triangles].reshape(-1, 3), seam[:, triangles].reshape(-1, 3)


def _fan(ring: NDArray[np.int64], centre: int, reverse: bool) -> NDArray[np.int64]:
    """Triangles [R, 3] from a ring of vertices to one centre."""
    following = np.roll(ring, -1)
    first, second = (following, ring) if reverse else (ring, following)
    return np.stack([np.full(len(ring), centre), first, second], axis=1)


def _fan_uv(count: int, centre: float, edge: float, reverse: bool) -> NDArray[np.float64]:
    """Texture coordinates [count, 3, 2] of a fan around a pole: u around, v from the edge to the centre."""
    first, second = np.arange(count) / count, (np.arange(count) + 1) / count
    if reverse:
        first, second = second, first
    u = np.stack([(first + second) / 2, first, second], axis=1)
    return np.stack([u, np.broadcast_to([centre, edge, edge], u.shape)], axis=-1)


def lathe(
    material: Material, profile: ArrayLike, segments: int = 40, v: ArrayLike | None = None, ring: bool = False
) -> Part:
    """Solid of revolution about the y axis.

    profile: [P, 2] of (radius, height). Without `ring` its two ends are joined to the axis (flat caps unless they lie
    on it); with `ring` the profile is a loop that stays away from the axis. v: [P] texture rows of the profile points,
    by default the share of the arc length. u is 0.5 in front and grows once around.
    """
    points = np.asarray(profile, dtype=np.float64)
    rows = arc_lengths(points) if v is None else np.asarray(v, dtype=np.float64)
    rows = rows / rows[-1] if v is None else rows
    tips = [] if ring else [(end, points[end, 1], rows[end]) for end in (0, -1)]
    off_axis = points[:, 0] > AXIS_EPSILON
    if off_axis.sum() < 2 + ring or not off_axis[0 if ring else 1 : len(points) if ring else -1].all():
        raise ValueError("lathe: only the ends of a profile may lie on the axis, no point of a ring")
    points, rows = points[off_axis], rows[off_axis]
    turn = 2 * np.pi * (np.arange(segments) / segments - 0.5)
    radius, height = points[:, :1], np.repeat(points[:, 1:], segments, axis=1)
    vertices: Points = np.stack([-radius * np.sin(turn), height, -radius * np.cos(turn)], axis=-1).reshape(
        -1, 3
    )
    faces, seam = _grid(len(points), segments, wrap_rows=ring)
    rows = np.append(rows, 1.0) if ring else rows
    u, grid_rows = np.meshgrid(np.arange(segments + 1) / segments, rows)
    uv = np.stack([u, grid_rows], axis=-1).reshape(-1, 2)[seam]
    for end, y, row in tips:
        ids = np.arange(segments) + (len(points) - 1) * segments * (end == -1)
        faces = np.concatenate([faces, _fan(ids, len(vertices), reverse=end == 0)])
        uv = np.concatenate([uv, _fan_uv(segments, row, rows[end], reverse=end == 0)])
        vertices = np.concatenate([vertices, [[0.0, y, 0.0]]])
    return outward(Part(material, vertices, faces, uv))


def sphere(material: Material, radius: float, segments: int = 24) -> Part:
    """Ball about the origin; stretch it with `scaled` for an ellipsoid."""
    return lathe(material, arc(radius, radius, -np.pi / 2, np.pi / 2, segments // 2 + 1), segments)


def cylinder(
    material: Material, radius: float, height: float, bevel: float = 0.0, segments: int = 32
) -> Part:
    """Upright cylinder standing on y = 0, its rims cut by `bevel`."""
    return frustum(material, radius, radius, height, bevel, segments)


def frustum(
    material: Material, bottom: float, top: float, height: float, bevel: float = 0.0, segments: int = 32
) -> Part:
    """Upright cone with its tip cut off, standing on y = 0, its rims cut by `bevel`."""
    outline = [(bottom, 0.0), (top, height)]
    if bevel > 0:
        outline = [(bottom - bevel, 0.0), (bottom, bevel), (top, height - bevel), (top - bevel, height)]
    return lathe(material, outline, segments)


def torus(material: Material, radius: float, tube_radius: float, segments: int = 40, sides: int = 10) -> Part:
    """Ring of round section lying flat about the origin."""
    return lathe(material, circle(tube_radius, sides) + np.array([radius, 0.0]), segments, ring=True)


def loft(material: Material, rings: ArrayLike, v: ArrayLike | None = None) -> Part:
    """Skin over a row of closed outlines [K, S, 3], each star-shaped about its mean, closed with caps at both ends.

    u goes once around the outlines, v is the row of each outline's texture [K], by default evenly from 0 to 1.
    """
    loops = np.asarray(rings, dtype=np.float64)
    count, sides = loops.shape[:2]
    vertices: Points = np.concatenate([loops.reshape(-1, 3), loops[0].mean(0)[None], loops[-1].mean(0)[None]])
    faces, seam = _grid(count, sides, wrap_rows=False)
    rows = np.linspace(0, 1, count) if v is None else np.asarray(v, dtype=np.float64)
    u, grid_rows = np.meshgrid(np.arange(sides + 1) / sides, rows)
    uv = np.stack([u, grid_rows], axis=-1).reshape(-1, 2)[seam]
    first = _fan(np.arange(sides), len(vertices) - 2, reverse=True)
    last = _fan(np.arange(sides) + (count - 1) * sides, len(vertices) - 1, reverse=False)
    caps = [_fan_uv(sides, rows[0], rows[0], reverse=True), _fan_uv(sides, rows[-1], rows[-1], reverse=False)]
    return outward(
        Part(material, vertices, np.concatenate([faces, first, last]), np.concatenate([uv, *caps]))
    )


def _frames(path: Points, up: Sequence[float] | None) -> tuple[Points, Points]:
    """Two unit normals [K, 3] at every station, carried along the path without twist."""
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    hint = np.eye(3)[np.argmin(np.abs(tangents[0]))] if up is None else np.asarray(up, dtype=np.float64)
    normals = np.empty_like(path)
    for station, tangent in enumerate(tangents):
        hint = hint - tangent * (hint @ tangent)
        hint = hint / np.linalg.norm(hint)
        normals[station] = hint
    return normals, np.cross(tangents, normals)


def sweep(
    material: Material,
    path: ArrayLike,
    section: ArrayLike,
    scale: ArrayLike = 1.0,
    up: Sequence[float] | None = None,
) -> Part:
    """A section [S, 2], star-shaped about its mean, carried along a path [K, 3] and closed with flat caps.

    The section's second axis follows `up` (made perpendicular to the path), its first lies across. scale: one number or
    one per station. u is the length walked, v goes once around the section.
    """
    line, outline = np.asarray(path, dtype=np.float64), np.asarray(section, dtype=np.float64)
    stations, sides = len(line), len(outline)
    normals, across = _frames(line, up)
    sizes = np.broadcast_to(np.asarray(scale, dtype=np.float64), (stations,))[:, None, None]
    offsets = across[:, None] * outline[None, :, :1] + normals[:, None] * outline[None, :, 1:]
    vertices: Points = (line[:, None] + sizes * offsets).reshape(-1, 3)
    middle = outline.mean(axis=0)
    ends = [line[k] + sizes[k, 0, 0] * (across[k] * middle[0] + normals[k] * middle[1]) for k in (0, -1)]
    faces, seam = _grid(stations, sides, wrap_rows=False)
    v, u = np.meshgrid(np.arange(sides + 1) / sides, arc_lengths(line))
    uv = np.stack([u, v], axis=-1).reshape(-1, 2)[seam]
    first = _fan(np.arange(sides), len(vertices), reverse=True)
    last = _fan(np.arange(sides) + (stations - 1) * sides, len(vertices) + 1, reverse=False)
    caps = np.concatenate([first, last])
    vertices = np.concatenate([vertices, ends])
    flat = np.concatenate([outline, [middle]])[np.where(caps < len(vertices) - 2, caps % sides, sides)]
    return outward(Part(material, vertices, np.concatenate([faces, caps]), np.concatenate([uv, flat])))


def tube(
    material: Material, path: ArrayLike, radius: float, sides: int = 10, round_ends: bool = False
) -> Part:
    """Round bar along a path [K, 3]; with `round_ends` it closes in domes one radius beyond the ends."""
    line = np.asarray(path, dtype=np.float64)
    if not round_ends:
        return sweep(material, line, circle(radius, sides))
    dome = np.array([0.35, 0.75, 0.95])
    reach = radius * np.sqrt(1 - dome**2)
    head, tail = line[0] - line[1], line[-1] - line[-2]
    before = line[0] + reach[:, None] * head / np.linalg.norm(head)
    after = line[-1] + reach[::-1, None] * tail / np.linalg.norm(tail)
    scale = np.concatenate([dome, np.ones(len(line)), dome[::-1]])
    return sweep(material, np.concatenate([before, line, after]), circle(radius, sides), scale)


def bar(material: Material, start: ArrayLike, end: ArrayLike, radius: float, sides: int = 10) -> Part:
    """Straight round bar between two points."""
    return tube(material, np.stack([np.asarray(start), np.asarray(end)]), radius, sides)


@lru_cache(maxsize=1)
def _box_topology() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangles [44, 3] of a box with cut edges over vertices 3 * corner + axis, and the axis [44] each one faces most.

    Vertex 3 * corner + axis is the copy of that corner which lies on the box side across `axis`.
    """
    signs = np.array(list(product((-1, 1), repeat=3)))
    polygons = [([3 * corner, 3 * corner + 1, 3 * corner + 2], 1) for corner in range(8)]
    for axis in range(3):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        for sign in (-1, 1):
            side = [c for c in range(8) if signs[c, axis] == sign]
            side.sort(key=lambda c: math.atan2(signs[c, b], signs[c, a]))
            polygons.append(([3 * c + axis for c in side], axis))
        for first, second in product((-1, 1), repeat=2):
            start, end = (c for c in range(8) if signs[c, a] == first and signs[c, b] == second)
            polygons.append(([3 * start + a, 3 * end + a, 3 * end + b, 3 * start + b], a))
    sample = np.repeat(signs, 3, axis=0) * (0.8 + 0.2 * np.tile(np.eye(3), (8, 1)))
    triangles, axes = [], []
    for loop, axis in polygons:
        for second_vertex, third_vertex in pairwise(loop[1:]):
            p, q, r = sample[[loop[0], second_vertex, third_vertex]]
            outside = np.cross(q - p, r - p) @ (p + q + r) > 0
            triangles.append([loop[0], second_vertex, third_vertex][:: 1 if outside else -1])
            axes.append(axis)
    return np.array(triangles), np.array(axes)


def box(
    material: Material, size: Sequence[float], centre: Sequence[float] = (0, 0, 0), bevel: float = 0.0
) -> Part:
    """Box of full size (x, y, z) about `centre`, edges cut by `bevel` (default 4 % of the shortest side).

    Texture coordinates are plain lengths, u along the longest side, so that wood grain follows a board.
    """
    half = np.asarray(size, dtype=np.float64) / 2
    cut = min(bevel or 0.08 * half.min(), 0.8 * half.min())
    signs = np.repeat(np.array(list(product((-1.0, 1.0), repeat=3))), 3, axis=0)
    kept = np.tile(np.eye(3), (8, 1))
    vertices = signs * (half - cut * (1 - kept)) + np.asarray(centre, dtype=np.float64)
    faces, axes = _box_topology()
    longest = int(np.argmax(half))
    u_axis = np.where(axes == longest, (longest + 1) % 3, longest)
    v_axis = 3 - axes - u_axis
    corners = vertices[faces]
    rows = np.arange(len(faces))
    uv = np.stack([corners[rows, :, u_axis], corners[rows, :, v_axis]], axis=-1)
    return Part(material, vertices, faces, uv)


def prism(material: Material, outline: ArrayLike, depth: float, bevel: float = 0.0) -> Part:
    """Plate with an outline [N, 2] in the xy plane, counter-clockwise and star-shaped about its mean; z in ±depth/2.

    The texture covers the outline's bounding box once, upright for somebody in front.
    """
    edge = np.asarray(outline, dtype=np.float64)
    inner = _inset(edge, bevel) if bevel > 0 else edge
    levels = [(inner, depth / 2), (edge, depth / 2 - bevel), (edge, bevel - depth / 2), (inner, -depth / 2)]
    levels = levels if bevel > 0 else [levels[0], levels[3]]
    rings = [np.column_stack([loop, np.full(len(loop), z)]) for loop, z in levels]
    middle = inner.mean(axis=0)
    vertices = np.concatenate([*rings, [[*middle, depth / 2], [*middle, -depth / 2]]])
    sides, count = len(edge), len(rings)
    faces = np.concatenate(
        [
            _grid(count, sides, wrap_rows=False)[0],
            _fan(np.arange(sides), len(vertices) - 2, reverse=True),
            _fan(np.arange(sides) + (count - 1) * sides, len(vertices) - 1, reverse=False),
        ]
    )
    low, high = edge.min(axis=0), edge.max(axis=0)
    flat = (vertices[:, :2] - low) / (high - low)
    flat[:, 0] = 1 - flat[:, 0]
    return outward(Part(material, vertices, faces, flat[faces]))


def _inset(outline: Points, distance: float) -> Points:
    """A counter-clockwise outline [N, 2] with every side moved inwards."""
    sides = np.roll(outline, -1, axis=0) - outline
    normals = np.stack([-sides[:, 1], sides[:, 0]], axis=1) / np.linalg.norm(sides, axis=1, keepdims=True)
    before = np.roll(normals, 1, axis=0)
    mitre = before + normals
    return np.asarray(outline + distance * 2 * mitre / (mitre**2).sum(axis=1, keepdims=True))

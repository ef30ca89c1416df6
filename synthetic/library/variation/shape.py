"""Other shapes of a surface: a chain of smooth maps, drawn within what its kind of body allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synthetic.library.variation.draws import Draws
from synthetic.library.variation.maps import Bend, Box, SpaceMap, Stretch, Swell, Taper, Twist, X, Y, Z
from synthetic.library.variation.profile import Profile
from synthetic.staging.surface import Floats, Surface, area_vectors, face_normals

PATTERNED, PLAIN = (
    1.35,
    1.6,
)  # the most anisotropy of triangles with a picture on them, and of those in plain colours
EXEMPT = 0.001  # of the area may be more: slivers
_WEAKER = 0.9  # times the amounts, until the surface keeps the bound
_STRAIGHTEST = 0.5  # the most that the curvature of a bend may be, times the reach: lengths change by no more
_FLAT = 0.99996  # cosine of half a degree: the corner's normal is the face's


@dataclass(frozen=True)
class SwellRange:
    """Axes that may be scaled by a profile along another one, with so many values, each within 1 ± amount."""

    scaled: tuple[int, ...]
    along: int
    values: int
    amount: float


@dataclass(frozen=True)
class Body:
    """How far the shape of a kind of object may change.

    `whole` is the most that an axis is stretched as a whole, `local` how much more or less at each of `values` places
    along it (x counts from the middle outwards). Axes that are `tied` share one factor, so that what is round across
    them stays round. `taper` is the most that the top grows or shrinks, `twist` in radians; `bends` are (axis, towards,
    most radians from the middle to an end). What `stands` has its ground below, else its frame is in its middle.
    """

    whole: float = 0.0
    local: float = 0.0
    values: tuple[int, int, int] = (2, 4, 4)
    tied: tuple[int, ...] = ()
    swells: tuple[SwellRange, ...] = ()
    taper: float = 0.0
    twist: float = 0.0
    bends: tuple[tuple[int, int, float], ...] = ()
    stands: bool = True


@dataclass(frozen=True)
class Deformation:
    """Maps one after the other, in a frame whose origin is `origin` in the surface's own coordinates."""

    origin: tuple[float, float, float]
    maps: tuple[SpaceMap, ...]

    def moved(self, points: Floats) -> Floats:
        """Where points [N,3] go."""
        places = points - self.origin
        for single in self.maps:
            places = single.moved(places)
        return np.asarray(places + self.origin)

    def jacobian(self, points: Floats) -> Floats:
        """[N,3,3] derivatives of where they go."""
        places = points - self.origin
        total = np.repeat(np.eye(3)[None], len(points), axis=0)
        for single in self.maps:
            total = _product(single.jacobian(places), total)
            places = single.moved(places)
        return total

    def record(self) -> list[dict[str, Any]]:
        """The maps in order, by kind and numbers."""
        return [single.record() for single in self.maps]


def draw_deformation(surface: Surface, body: Body, draws: Draws) -> Deformation:
    """A chain of maps for a surface, as strong as was drawn or as its pictures allow, whichever is less."""
    low, high = surface.positions.min(axis=0), surface.positions.max(axis=0)
    origin = (low + high) / 2
    if body.stands:
        origin[Y] = low[Y]
    box = Box(_triple(low - origin), _triple(high - origin))
    shares, strength = _Shares(body, draws), 1.0
    while True:
        deformation = Deformation(_triple(origin), _maps(body, box, shares, strength))
        if _keeps_patterns(surface, deformation.moved(surface.positions)):
            return deformation
        strength *= _WEAKER


def anisotropy(surface: Surface, positions: Floats) -> Floats:
    """[F] by how much more a triangle is lengthened in one direction than in another when it has other positions.

    It is the ratio of the singular values of the triangle's own affine map, which is how much a picture on it is
    distorted; 1 where the triangle had no area.
    """
    before, after = _metric(surface.positions, surface), _metric(positions, surface)
    area, new_area = (g[0] * g[2] - g[1] * g[1] for g in (before, after))
    sound = (area > 0) & (new_area > 0)
    trace = before[2] * after[0] - 2 * before[1] * after[1] + before[0] * after[2]
    half = np.where(sound, trace, 2.0) / (2 * np.sqrt(np.where(sound, area * new_area, 1.0)))
    return np.asarray(half + np.sqrt(np.maximum(half * half - 1, 0)))


def deform(surface: Surface, deformation: Deformation) -> Surface:
    """The surface with every position moved; triangles, materials and texture coordinates stay as they are.

    Normals are turned with the surface, those of flat faces are the new faces' own.
    """
    positions = deformation.moved(surface.positions)
    if surface.normals is None:
        return replace(surface, positions=positions)
    cofactors = _cofactors(deformation.jacobian(surface.positions))
    of_corners = np.stack(
        [_applied(cofactors, surface.triangles[:, k], surface.normals[:, k]) for k in range(3)], 1
    )
    of_corners /= np.maximum(np.sqrt((of_corners * of_corners).sum(axis=2, keepdims=True)), 1e-300)
    faces = face_normals(surface.positions, surface.triangles)[:, None]
    flat = ((faces * surface.normals).sum(axis=2) > _FLAT).all(axis=1)
    own = face_normals(positions, surface.triangles)[:, None]
    normals = np.where(flat[:, None, None], own, of_corners)
    return replace(surface, positions=positions, normals=normals.astype(np.float32))


def _metric(positions: Floats, surface: Surface) -> tuple[Floats, Floats, Floats]:
    """Products of the edges a and b of every triangle from its first corner: a·a, a·b, b·b."""
    first, second, third = (positions[surface.triangles[:, corner]] for corner in range(3))
    a, b = second - first, third - first
    return (a * a).sum(axis=1), (a * b).sum(axis=1), (b * b).sum(axis=1)


def _keeps_patterns(surface: Surface, positions: Floats) -> bool:
    """Whether no more than EXEMPT of the area is more distorted than its material allows."""
    textured = np.array([material.color_texture is not None for material in surface.materials])
    most = np.where(textured[surface.material], PATTERNED, PLAIN)
    vectors = area_vectors(surface.positions, surface.triangles)
    area = np.sqrt((vectors * vectors).sum(axis=1))
    return bool(area[anisotropy(surface, positions) > most].sum() <= EXEMPT * area.sum())


class _Shares:
    """What is drawn for a body, as shares of the most that it allows, in [-1, 1)."""

    def __init__(self, body: Body, draws: Draws) -> None:
        tied = draws.around(1.0)
        self.whole = [tied if axis in body.tied else draws.around(1.0) for axis in (X, Y, Z)]
        self.local = [[draws.around(1.0) for _ in range(count)] for count in body.values]
        self.swells = [[draws.around(1.0) for _ in range(swell.values)] for swell in body.swells]
        self.taper, self.twist, self.bend = (draws.around(1.0) for _ in range(3))
        self.which = draws.index(len(body.bends)) if body.bends else 0


def _maps(body: Body, box: Box, shares: _Shares, strength: float) -> tuple[SpaceMap, ...]:
    """The maps of a body at a strength in (0, 1], each made for the box that the one before leaves."""
    maps: list[SpaceMap] = []

    def add(single: SpaceMap) -> None:
        nonlocal box
        maps.append(single)
        box = single.image(box)

    add(_stretch(body, box, shares, strength))
    for swell, drawn in zip(body.swells, shares.swells, strict=True):
        values = tuple(1 + strength * swell.amount * share for share in drawn)
        profile = Profile(box.low[swell.along], box.high[swell.along], values)
        add(Swell(swell.scaled, swell.along, profile))
    height = box.high[Y]
    if body.taper and height > 0:
        amount = strength * body.taper * shares.taper
        add(Taper(amount if amount > 0 else amount / (1 - amount), height))
    if body.twist and height > 0:
        add(Twist(strength * body.twist * shares.twist, height))
    if body.bends:
        along, towards, most = body.bends[shares.which]
        length, reach = box.reach(along), box.reach(towards)
        if length > 0:
            curvature = strength * most * shares.bend / max(length, most * reach / _STRAIGHTEST)
            add(Bend(along, towards, curvature, length, reach))
    return tuple(maps)


def _stretch(body: Body, box: Box, shares: _Shares, strength: float) -> Stretch:
    """The stretch of a body; x begins at the middle, of which both sides are alike."""
    profiles = []
    for axis in (X, Y, Z):
        whole = 1 + strength * body.whole * shares.whole[axis]
        local = 0.0 if axis in body.tied else strength * body.local
        values = tuple(whole * (1 + local * share) for share in shares.local[axis])
        low = 0.0 if axis == X else box.low[axis]
        profiles.append(Profile(low, box.high[axis], values))
    return Stretch(*profiles)


def _triple(values: Floats | Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _product(left: Floats, right: Floats) -> Floats:
    """[N,3,3] products of matrices, summed in one order on every machine."""
    return np.asarray(sum(left[:, :, k, None] * right[:, k, None, :] for k in range(3)))


def _cofactors(jacobian: Floats) -> Floats:
    """[N,3,3]: what turns normals as the Jacobian turns tangents, times its determinant."""
    a, b, c = (jacobian[:, :, axis] for axis in range(3))
    return np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], axis=2)


def _cross(a: Floats, b: Floats) -> Floats:
    x, y, z = (
        a[:, (axis + 1) % 3] * b[:, (axis + 2) % 3] - a[:, (axis + 2) % 3] * b[:, (axis + 1) % 3]
        for axis in range(3)
    )
    return np.stack([x, y, z], axis=1)


def _applied(
    matrices: Floats, corners: np.ndarray[Any, np.dtype[np.int64]], vectors: np.ndarray[Any, Any]
) -> Floats:
    """[F,3] matrices of the corners' positions times vectors [F,3]."""
    chosen = matrices[corners]
    return np.asarray(sum(chosen[:, :, k] * vectors[:, k, None].astype(np.float64) for k in range(3)))

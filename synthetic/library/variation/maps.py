"""Smooth maps of space that never fold: what changes the shape of a model.

The frame is that of a model that stands: y up from the ground at y = 0, front +z, and x = z = 0 on its upright axis.
Every map is one to one in the box that it is made for, with a Jacobian whose determinant is positive, by
construction: numbers that would make another one are refused.

    map      x', y', z'                                        determinant             one to one as
    Stretch  integral of a positive profile along each axis    product of profiles     each axis keeps its order
    Swell    one or two axes times s > 0 of another            s or s²                 layers are only scaled
    Taper    (x, y, z) / (1 + a y / H), a > -1                 w⁴, w = 1/(1 + a y/H)   a projective map keeps lines
    Twist    layers turned by an angle that grows with y       1                       layers are only turned
    Bend     a straight axis becomes an arc of curvature k     1 - k r                 |k r| < 1, less than a turn

Only + - * / and square roots are used, which every machine rounds alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from synthetic.library.variation.profile import Profile
from synthetic.staging.surface import Floats

X, Y, Z = 0, 1, 2
_LARGEST_ANGLE = 1.5  # radians from the middle to an end: all of it less than half a turn
_TERMS = 12  # of the series below: exact to rounding up to that angle


@dataclass(frozen=True)
class Box:
    """The ranges of x, y and z."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def reach(self, *axes: int) -> float:
        """How far from 0 a point of the box may lie along these axes together."""
        return float(np.sqrt(sum(max(abs(self.low[axis]), abs(self.high[axis])) ** 2 for axis in axes)))


class SpaceMap(Protocol):
    """A map of space made for a box."""

    def moved(self, points: Floats) -> Floats:
        """Where points [N,3] go."""

    def jacobian(self, points: Floats) -> Floats:
        """[N,3,3] derivatives of where they go, the row is the coordinate of the image."""

    def image(self, box: Box) -> Box:
        """A box around all that the box becomes."""

    def record(self) -> dict[str, Any]:
        """The kind of the map and its numbers."""


@dataclass(frozen=True)
class Stretch:
    """Each axis stretched by its own positive profile; along x by one of |x|, so that what is symmetric stays so."""

    x: Profile
    y: Profile
    z: Profile

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        _require(min(self.x.least, self.y.least, self.z.least) > 0, "positive profiles")

    def moved(self, points: Floats) -> Floats:
        """Where points [N,3] go."""
        x, y, z = points.T
        side = np.where(x < 0, -1.0, 1.0)
        zero = np.zeros(1)
        return np.stack(
            [
                side * self.x.integral(np.abs(x)),
                self.y.integral(y) - self.y.integral(zero),
                self.z.integral(z) - self.z.integral(zero),
            ],
            axis=1,
        )

    def jacobian(self, points: Floats) -> Floats:
        """[N,3,3], diagonal."""
        x, y, z = points.T
        result = np.zeros((len(points), 3, 3))
        result[:, X, X], result[:, Y, Y], result[:, Z, Z] = self.x.at(np.abs(x)), self.y.at(y), self.z.at(z)
        return result

    def image(self, box: Box) -> Box:
        """The image of the box, which is one."""
        low, high = self.moved(np.array([box.low, box.high]))
        return _box(low, high)

    def record(self) -> dict[str, Any]:
        """The kind of the map and its numbers."""
        return {"kind": "stretch", "x": self.x.values, "y": self.y.values, "z": self.z.values}


@dataclass(frozen=True)
class Swell:
    """The axes `scaled` times a positive profile along another axis."""

    scaled: tuple[int, ...]
    along: int
    profile: Profile

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        _require(
            self.profile.least > 0 and self.along not in self.scaled, "a positive profile of another axis"
        )

    def moved(self, points: Floats) -> Floats:
        """Where points [N,3] go."""
        scale, result = self.profile.at(points[:, self.along]), points.copy()
        for axis in self.scaled:
            result[:, axis] *= scale
        return result

    def jacobian(self, points: Floats) -> Floats:
        """[N,3,3]."""
        place = points[:, self.along]
        scale, slope = self.profile.at(place), self.profile.slope(place)
        result = _identities(len(points))
        for axis in self.scaled:
            result[:, axis, axis], result[:, axis, self.along] = scale, points[:, axis] * slope
        return result

    def image(self, box: Box) -> Box:
        """A box around the image."""
        low, high = np.array(box.low), np.array(box.high)
        for axis in self.scaled:
            ends = [
                end * s for end in (low[axis], high[axis]) for s in (self.profile.least, self.profile.most)
            ]
            low[axis], high[axis] = min(ends), max(ends)
        return _box(low, high)

    def record(self) -> dict[str, Any]:
        """The kind of the map and its numbers."""
        return {
            "kind": "swell",
            "scaled": "".join("xyz"[axis] for axis in self.scaled),
            "along": "xyz"[self.along],
            "values": self.profile.values,
        }


@dataclass(frozen=True)
class Taper:
    """A projective map: straight lines and planes stay so, the ground is fixed, the top is 1/(1 + amount) as wide.

    `height` H is that of the box.
    """

    amount: float
    height: float

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        _require(self.amount > -1 and self.height > 0, "an amount above -1 and a height above 0")

    def moved(self, points: Floats) -> Floats:
        """Where points [N,3] go."""
        return np.asarray(points * self._width(points)[:, None])

    def jacobian(self, points: Floats) -> Floats:
        """[N,3,3]."""
        width = self._width(points)
        result = _identities(len(points)) * width[:, None, None]
        result[:, :, Y] -= points * (self.amount / self.height * width * width)[:, None]
        return result

    def image(self, box: Box) -> Box:
        """A box around the image."""
        low, high = np.array(box.low), np.array(box.high)
        ends = (1.0, 1 / (1 + self.amount))
        for axis in (X, Z):
            places = [end * width for end in (low[axis], high[axis]) for width in ends]
            low[axis], high[axis] = min(places), max(places)
        high[Y] = high[Y] * ends[1]
        return _box(low, high)

    def record(self) -> dict[str, Any]:
        """The kind of the map and its numbers."""
        return {"kind": "taper", "amount": self.amount}

    def _width(self, points: Floats) -> Floats:
        return np.asarray(1 / (1 + self.amount * points[:, Y] / self.height))


@dataclass(frozen=True)
class Twist:
    """Layers turned about the upright axis, by `angle` radians at the top; the ground is fixed."""

    angle: float
    height: float

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        _require(abs(self.angle) <= _LARGEST_ANGLE and self.height > 0, "a small angle and a height above 0")

    def moved(self, points: Floats) -> Floats:
        """Where points [N,3] go."""
        x, y, z = points.T
        sine, cosine = _sine_cosine(self.angle / self.height * y)
        return np.stack([cosine * x + sine * z, y, cosine * z - sine * x], axis=1)

    def jacobian(self, points: Floats) -> Floats:
        """[N,3,3]."""
        rate = self.angle / self.height
        sine, cosine = _sine_cosine(rate * points[:, Y])
        x, _, z = self.moved(points).T
        result = _identities(len(points))
        result[:, X, X], result[:, X, Z], result[:, X, Y] = cosine, sine, rate * z
        result[:, Z, X], result[:, Z, Z], result[:, Z, Y] = -sine, cosine, -rate * x
        return result

    def image(self, box: Box) -> Box:
        """A box around the image."""
        reach = box.reach(X, Z)
        return Box((-reach, box.low[Y], -reach), (reach, box.high[Y], reach))

    def record(self) -> dict[str, Any]:
        """The kind of the map and its numbers."""
        return {"kind": "twist", "radians": self.angle}


@dataclass(frozen=True)
class Bend:
    """The straight axis `along` through 0 becomes an arc of `curvature`, towards the axis `towards`.

    Lengths along the axis are kept on it. `length` and `reach` are the largest distances from 0 in the box along the
    axis and towards the other.
    """

    along: int
    towards: int
    curvature: float
    length: float
    reach: float

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        _require(
            abs(self.curvature) * self.reach < 1 and abs(self.curvature) * self.length <= _LARGEST_ANGLE,
            "a radius of curvature above the reach and a small angle",
        )

    def moved(self, points: Floats) -> Floats:
        """Where points [N,3] go."""
        length, offset = points[:, self.along], points[:, self.towards]
        angle = self.curvature * length
        (sine, cosine), chord, rise = _sine_cosine(angle), _series(angle, 1), angle * _series(angle, 2)
        result = points.copy()
        result[:, self.along] = length * chord - offset * sine
        result[:, self.towards] = offset * cosine + length * rise
        return result

    def jacobian(self, points: Floats) -> Floats:
        """[N,3,3]."""
        sine, cosine = _sine_cosine(self.curvature * points[:, self.along])
        left = 1 - self.curvature * points[:, self.towards]
        result = _identities(len(points))
        result[:, self.along, self.along], result[:, self.along, self.towards] = left * cosine, -sine
        result[:, self.towards, self.along], result[:, self.towards, self.towards] = left * sine, cosine
        return result

    def image(self, box: Box) -> Box:
        """A box around the image."""
        low, high = np.array(box.low), np.array(box.high)
        length, offset = box.reach(self.along), box.reach(self.towards)
        turned = min(abs(self.curvature) * length, 1.0)
        for axis, most in (
            (self.along, length + offset * turned),
            (self.towards, offset + length * turned / 2),
        ):
            low[axis], high[axis] = -most, most
        return _box(low, high)

    def record(self) -> dict[str, Any]:
        """The kind of the map and its numbers."""
        return {
            "kind": "bend",
            "along": "xyz"[self.along],
            "towards": "xyz"[self.towards],
            "curvature": self.curvature,
        }


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"such a map may fold; expected {what}")


def _box(low: Floats, high: Floats) -> Box:
    return Box(
        (float(low[X]), float(low[Y]), float(low[Z])), (float(high[X]), float(high[Y]), float(high[Z]))
    )


def _identities(count: int) -> Floats:
    return np.repeat(np.eye(3)[None], count, axis=0)


def _sine_cosine(angle: Floats) -> tuple[Floats, Floats]:
    return np.asarray(angle * _series(angle, 1)), np.asarray(1 - angle * angle * _series(angle, 2))


def _series(angle: Floats, first: int) -> Floats:
    """The sum of (-angle²)ⁿ / (2n + first)!: sin(a)/a for first 1, (1 - cos(a))/a² for 2. Libraries' sines differ."""
    square, total = angle * angle, np.ones_like(angle)
    for term in range(_TERMS, 0, -1):
        total = 1 - square * total / ((2 * term + first) * (2 * term + first - 1))
    return np.asarray(total / first)

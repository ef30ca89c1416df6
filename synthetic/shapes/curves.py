"""Plane and space curves that the solids are made from. Points are float arrays [P, D]; angles in radians."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

Points = NDArray[np.float64]


def arc_lengths(points: ArrayLike) -> NDArray[np.float64]:
    """Distance walked along a polyline [P, D] up to each point: [P], beginning with 0."""
    steps = np.linalg.norm(np.diff(np.asarray(points, dtype=np.float64), axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def spline(points: ArrayLike, samples: int) -> Points:
    """Smooth curve [samples, D] through the points [P, D] that never overshoots them (monotone cubic, chord length)."""
    knots = np.asarray(points, dtype=np.float64)
    lengths = arc_lengths(knots)
    return np.asarray(PchipInterpolator(lengths, knots)(np.linspace(0, lengths[-1], samples)))


def resampled(points: ArrayLike, samples: int) -> Points:
    """Polyline [samples, D] with evenly spaced points on the polyline given."""
    knots = np.asarray(points, dtype=np.float64)
    lengths = arc_lengths(knots)
    at = np.linspace(0, lengths[-1], samples)
    return np.stack([np.interp(at, lengths, column) for column in knots.T], axis=1)


def rounded(points: ArrayLike, radius: float | Sequence[float], steps: int = 4) -> Points:
    """The polyline with its inner corners rounded.

    Each corner is replaced by `steps` + 1 points of a parabola that leaves and meets the sides `radius` away from the
    corner (at most 0.45 of a side). `radius` is one number, or one for each inner corner; 0 keeps a corner sharp.
    """
    knots = np.asarray(points, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(knots) - 2,))
    t = np.linspace(0, 1, steps + 1)[:, None]
    pieces = [knots[:1]]
    for before, corner, after, reach in zip(knots[:-2], knots[1:-1], knots[2:], radii, strict=True):
        if reach <= 0:
            pieces.append(corner[None])
            continue
        back, ahead = before - corner, after - corner
        start = corner + back * min(0.45, reach / np.linalg.norm(back))
        end = corner + ahead * min(0.45, reach / np.linalg.norm(ahead))
        pieces.append((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)
    return np.concatenate([*pieces, knots[-1:]])


def arc(radius_x: float, radius_y: float, start: float, stop: float, samples: int) -> Points:
    """Points (radius_x cos a, radius_y sin a) [samples, 2] for a from start to stop."""
    angle = np.linspace(start, stop, samples)
    return np.stack([radius_x * np.cos(angle), radius_y * np.sin(angle)], axis=1)


def circle(radius: float, sides: int) -> Points:
    """Regular polygon [sides, 2], first corner at angle half a side, so that squares stand on an edge."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def rectangle(width: float, height: float, bevel: float) -> Points:
    """Outline [8, 2] of a centred rectangle with cut corners, counter-clockwise."""
    x, y = width / 2, height / 2
    b = min(bevel, 0.45 * min(width, height))
    return np.array(
        [[x, b - y], [x, y - b], [x - b, y], [b - x, y], [-x, y - b], [-x, b - y], [b - x, -y], [x - b, -y]]
    )


def superellipse(width: float, height: float, power: float, samples: int) -> Points:
    """Outline [samples, 2] of |2x/width|^power + |2y/height|^power = 1: 2 is an ellipse, 5 a rounded rectangle."""
    angle = 2 * np.pi * (np.arange(samples) + 0.5) / samples
    cosine, sine = np.cos(angle), np.sin(angle)
    x = np.sign(cosine) * np.abs(cosine) ** (2 / power)
    y = np.sign(sine) * np.abs(sine) ** (2 / power)
    return np.stack([width / 2 * x, height / 2 * y], axis=1)


def in_plane(points: ArrayLike, plane: str, offset: float = 0.0) -> Points:
    """Plane points [P, 2] placed in space [P, 3]: "xy" at z = offset, "zy" at x = offset, "xz" at y = offset."""
    flat = np.asarray(points, dtype=np.float64)
    space = np.full((len(flat), 3), offset)
    for column, axis in enumerate(plane):
        space[:, "xyz".index(axis)] = flat[:, column]
    return space

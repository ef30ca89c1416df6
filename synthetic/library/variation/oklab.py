"""Colours in OKLab, where equal steps look equal, and back to bytes.

OKLab (B. Ottosson, "A perceptual color space for image processing", 2020) has lightness L in [0, 1] and two axes a
(red, green) and b (yellow, blue); chroma is the distance from 0, hue the direction. Only + - * / are used, and powers
in decimal numbers: libraries' own powers and roots differ from machine to machine.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache

import numpy as np
import numpy.typing as npt

from synthetic.staging.surface import Floats

Bytes = npt.NDArray[np.uint8]

_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_FROM_LAB = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
_FROM_CONES = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)
_ITERATIONS = 6  # of Newton's method from 0.6 + 0.3 m: exact to rounding
_HALVINGS = 14  # of the chroma that fits: less than a byte shows
_ROUNDING = 1e-6  # beyond the gamut, which eight bits do not show


def of_linear(rgb: Floats) -> Floats:
    """[N,3] L, a, b of linear RGB in [0, 1] (sRGB's primaries)."""
    return _times(_TO_LAB, _cube_root(np.maximum(_times(_TO_CONES, rgb), 0)))


def to_linear(lab: Floats) -> Floats:
    """[N,3] linear RGB of L, a, b, also where it lies outside [0, 1]."""
    roots = _times(_FROM_LAB, lab)
    return _times(_FROM_CONES, roots * roots * roots)


def in_gamut(lab: Floats) -> Floats:
    """[N,3] linear RGB in [0, 1] with the same lightness and hue, and the chroma too unless it is more than fits."""
    rgb = to_linear(lab)
    outside = np.flatnonzero(~_fits(rgb))
    if len(outside):
        inner = lab[outside]
        low: Floats = np.zeros(len(outside))
        high: Floats = np.ones(len(outside))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fits = _fits(to_linear(_with_chroma(inner, middle)))
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        rgb[outside] = to_linear(_with_chroma(inner, low))
    return np.asarray(np.clip(rgb, 0, 1))


def linear_of_bytes(values: Bytes) -> Floats:
    """Linear light of 8-bit sRGB values."""
    return np.asarray(_curve()[0][values])


def bytes_of_linear(values: Floats) -> Bytes:
    """The 8-bit sRGB values nearest to linear light."""
    return np.searchsorted(_curve()[1], values, side="right").astype(np.uint8)


def _fits(rgb: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray(((rgb >= -_ROUNDING) & (rgb <= 1 + _ROUNDING)).all(axis=1))


def _with_chroma(lab: Floats, factor: Floats) -> Floats:
    return np.stack([lab[:, 0], lab[:, 1] * factor, lab[:, 2] * factor], axis=1)


def _times(matrix: tuple[tuple[float, float, float], ...], vectors: Floats) -> Floats:
    """[N,3], summed in one order on every machine."""
    x, y, z = vectors.T
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix], axis=1)


def _cube_root(values: Floats) -> Floats:
    """Of numbers of 0 or more."""
    mantissa, exponent = np.frexp(values)
    third = exponent // 3
    mantissa = np.ldexp(mantissa, exponent - 3 * third)  # 0.5 to 4
    root = 0.6 + 0.3 * mantissa
    for _ in range(_ITERATIONS):
        root = root - (root - mantissa / (root * root)) / 3
    return np.asarray(np.where(values > 0, np.ldexp(root, third), 0.0))


@cache
def _curve() -> tuple[Floats, Floats]:
    """Linear light of the 256 bytes, and the 255 borders between what is rounded to each."""
    values = [_decoded(Decimal(half) / 510) for half in range(511)]
    return np.array(values[::2]), np.array(values[1::2])


def _decoded(value: Decimal) -> float:
    if value <= Decimal("0.04045"):
        return float(value / Decimal("12.92"))
    return float(((value + Decimal("0.055")) / Decimal("1.055")) ** Decimal("2.4"))

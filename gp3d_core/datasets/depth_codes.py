"""The depth codes of a data set: uint16 numbers, of which 65536 span the range from `near` to `far` (docs/dataset.md).

Code c stands for the share c / 65536 of the range. The greatest, 65535, is all that is farther, background included.
`unit` is that share in [0, 1]; networks see 2·unit − 1 in [−1, 1], "normalised". The conversions from codes are exact
in float32, so that no order of them matters.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

STEPS = 65536
BACKGROUND = STEPS - 1

Numbers = TypeVar("Numbers", npt.NDArray[Any], Tensor)


def encode(unit: npt.NDArray[Any], *, most: int = BACKGROUND) -> npt.NDArray[np.uint16]:
    """Codes uint16 of shares of the range, any shape; below 0 is near, above 1 and inf are far.

    `most` is the greatest code that is given; BACKGROUND − 1 keeps far surfaces apart from background.
    """
    return np.clip(np.rint(unit * STEPS), 0, most).astype(np.uint16)


def to_unit(codes: Numbers) -> Numbers:
    """Shares of the range in [0, 1], 0 near, of codes; float64 of integer arrays, float32 of integer tensors."""
    return codes / float(STEPS)


def to_normalised(codes: Numbers) -> Numbers:
    """Depth in [−1, 1], −1 near, of codes, as networks see it; types as `to_unit`."""
    return codes / float(STEPS // 2) - 1


def unit_of(normalised: Numbers) -> Numbers:
    """Shares of the range in [0, 1] of depth in [−1, 1]."""
    return (normalised + 1) / 2


def to_distance(unit: Numbers, near: float, far: float) -> Numbers:
    """Distances along rays of shares of the range from `near` to `far`, in their unit; background has none."""
    return near + unit * (far - near)

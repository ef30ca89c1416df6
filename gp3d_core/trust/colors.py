"""Supervision and disagreement as colours of vertices, told apart by people who are colour-blind, too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WORST, MIDDLE, BEST, UNKNOWN = (213, 94, 0), (240, 228, 66), (0, 158, 115), (150, 150, 150)  # sRGB
APART = 0.05  # of the longest side: from there on disagreement has the worst colour


def supervision_colors(amount: NDArray[Any]) -> NDArray[Any]:
    """Colours uint8 [V,3] of supervision [V]: vermilion for 0, over yellow, to green for 1."""
    return _ramp(amount)


def disagreement_colors(amount: NDArray[Any]) -> NDArray[Any]:
    """Colours uint8 [V,3] of disagreement [V]: green for none, over yellow, to vermilion; grey where it is unknown."""
    return _ramp(1 - amount / APART)


def _ramp(amount: NDArray[Any]) -> NDArray[Any]:
    known = np.isfinite(amount)
    place = np.where(known, np.clip(amount, 0, 1), 0)
    colors = np.stack(
        [np.interp(place, (0, 0.5, 1), stops) for stops in zip(WORST, MIDDLE, BEST, strict=True)], axis=1
    )
    return np.where(known[:, None], np.rint(colors), UNKNOWN).astype(np.uint8)

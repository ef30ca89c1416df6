"""A smooth function of one coordinate between values at even distances, with its slope and its integral."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic.staging.surface import Floats


@dataclass(frozen=True)
class Profile:
    """Values at evenly spaced places from `low` to `high`, joined by smooth steps 3f² - 2f³; one value is a constant.

    A step is monotone, so nowhere does it leave the range of its two values, and its slope is at most 1.5 times that
    of the straight line between them. Its first derivative is continuous, its integral's second.
    """

    low: float
    high: float
    values: tuple[float, ...]

    @property
    def least(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The largest value."""
        return max(self.values)

    @property
    def steepest(self) -> float:
        """The largest slope, up or down."""
        if self._cell <= 0:
            return 0.0
        return 1.5 * max(abs(b - a) for a, b in zip(self.values, self.values[1:], strict=False)) / self._cell

    @property
    def _cell(self) -> float:
        """The distance between neighbouring values; 0 where there is but one, or no way between the ends."""
        return (self.high - self.low) / (len(self.values) - 1) if len(self.values) > 1 else 0.0

    def at(self, place: Floats) -> Floats:
        """The value at every place of `place` [N]; beyond the ends that of the end."""
        if self._cell <= 0:
            return np.full_like(place, self.values[0])
        cell, share = self._where(place)
        share = np.clip(share, 0, 1)
        start, step = self._starts()[cell], self._steps()[cell]
        return np.asarray(start + step * (share * share * (3 - 2 * share)))

    def slope(self, place: Floats) -> Floats:
        """The derivative [N]."""
        if self._cell <= 0:
            return np.zeros_like(place)
        cell, share = self._where(place)
        share = np.clip(share, 0, 1)
        return np.asarray(self._steps()[cell] * (6 * share * (1 - share)) / self._cell)

    def integral(self, place: Floats) -> Floats:
        """The integral [N] from `low` to every place; beyond the ends with the value of the end."""
        if self._cell <= 0:
            return np.asarray(self.values[0] * (place - self.low))
        cell, share = self._where(place)
        within = np.clip(share, 0, 1)
        start, step = self._starts()[cell], self._steps()[cell]
        beyond = np.where(share < 0, start, start + step) * (share - within)
        cube = within * within * within
        whole = start * within + step * (cube - cube * within / 2) + beyond
        before, sums = 0.0, []
        for a, b in zip(self.values, self.values[1:], strict=False):
            sums.append(before)
            before += (a + b) / 2
        return np.asarray((np.array(sums)[cell] + whole) * self._cell)

    def _where(self, place: Floats) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], Floats]:
        """The cell of every place, and how far through it the place lies."""
        share = (place - self.low) / self._cell
        cell = np.clip(np.floor(share), 0, len(self.values) - 2).astype(np.int64)
        return cell, share - cell

    def _starts(self) -> Floats:
        return np.array(self.values[:-1])

    def _steps(self) -> Floats:
        return np.array([b - a for a, b in zip(self.values, self.values[1:], strict=False)])

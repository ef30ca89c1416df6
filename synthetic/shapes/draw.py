"""Draw: the random choices of one model, each under a name, so that they can be written down beside it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from synthetic.shapes.material import Colour, from_hex, to_hex

Choice = TypeVar("Choice", str, int, float)


class Draw:
    """Draws named parameters from one generator and remembers them in `record`.

    Numbers are rounded before use: what `record` says is exactly what the model was built with.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng  # for textures, which need more numbers than anybody wants to read
        self.record: dict[str, float | int | str | bool] = {}

    def uniform(self, name: str, low: float, high: float) -> float:
        """Number from U[low, high), rounded to four decimals."""
        value = round(float(self.rng.uniform(low, high)), 4)
        self.record[name] = value
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        """Whole number from low to high, both included."""
        value = int(self.rng.integers(low, high, endpoint=True))
        self.record[name] = value
        return value

    def chance(self, name: str, probability: float) -> bool:
        """True with the given probability."""
        value = bool(self.rng.random() < probability)
        self.record[name] = value
        return value

    def choice(self, name: str, options: Sequence[Choice]) -> Choice:
        """One of the options, all equally likely."""
        value = options[int(self.rng.integers(len(options)))]
        self.record[name] = value
        return value

    def colour(self, name: str, palette: Sequence[str], vary: float = 0.03) -> Colour:
        """A palette entry ("#rrggbb"), shifted by up to `vary` in hue/3, saturation and value."""
        base = from_hex(palette[int(self.rng.integers(len(palette)))])
        hue, saturation, value = colorsys.rgb_to_hsv(*base)
        shift = self.rng.uniform(-vary, vary, 3)
        saturation = float(np.clip(saturation + shift[1] * min(1.0, 4 * saturation), 0, 1))
        rgb = colorsys.hsv_to_rgb(
            (hue + shift[0] / 3) % 1, saturation, float(np.clip(value + shift[2], 0, 1))
        )
        self.record[name] = to_hex(rgb)
        return from_hex(to_hex(rgb))

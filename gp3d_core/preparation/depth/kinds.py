"""What the numbers of depth maps may say. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Literal

Kind = Literal["depth", "disparity"]  # of any scale and shift
Meaning = Literal["depth", "disparity", "metric"]  # of files also metres, those of a PNG millimetres
MEANINGS: tuple[Meaning, ...] = ("depth", "disparity", "metric")

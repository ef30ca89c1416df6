"""How long a mesh will take, by what was measured on this machine. No bpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .engine.protocol import EngineFacts

_LEAST_SHARE = 0.3  # of the seconds does not depend on the grid


@dataclass(frozen=True)
class Estimate:
    """Seconds of a mesh, and whether they were measured with these choices; else they are reckoned from others."""

    seconds: float
    measured: bool


def timing_key(facts: EngineFacts, grid: int, color: str) -> str:
    """The name under which seconds are remembered: model, device, grid, colour."""
    return f"{facts.sha256}/{facts.device}/{grid}/{color}"


def estimate(measured: Mapping[str, float], facts: EngineFacts, grid: int, color: str) -> Estimate | None:
    """What a mesh will take, None where nothing is known of this model and device.

    `measured` are seconds by `timing_key`, the latest last. Seconds grow with the square of the grid.
    """
    key = timing_key(facts, grid, color)
    if key in measured:
        return Estimate(measured[key], True)
    start = key.rsplit("/", 2)[0]
    others = {name: seconds for name, seconds in measured.items() if name.startswith(f"{start}/")}
    if not others:
        return None
    name, seconds = next(reversed(others.items()))
    return Estimate(seconds * max(_LEAST_SHARE, (grid / int(name.split("/")[-2])) ** 2), False)

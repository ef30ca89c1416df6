"""Whether the known cameras of data are those that a configuration draws.

Pictures from where nobody draws cameras are learnt as shapes that such views explain, and a distance between pictures
counts the views beside the objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.config.schema import RunConfig
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.rendering.cameras import Cameras, mean_parameters, sample_cameras
from gp3d_core.rng import generator_for

APART = 0.2  # share of the cameras that have another angle than so many of the prior's
_DRAWN = 2**16
_CHANCE = (
    1.63  # over √N: how far apart the shares of N cameras of the prior itself lie once in a hundred times
)
_ROUNDING = 1e-5  # radians, world units or degrees: the same number in single and in double precision


@dataclass(frozen=True)
class Apart:
    """What differs, in words, and KEY=VALUE settings by which a configuration draws the data's cameras."""

    words: str
    settings: tuple[str, ...]

    @property
    def remedy(self) -> str:
        """The settings in a sentence, their keys as parameters are named in messages."""
        named = (f"`{key}`={value}" for key, _, value in (one.partition("=") for one in self.settings))
        return f"{' '.join(named)} would draw those of the data"


def cameras_apart(config: RunConfig, dataset: Dataset) -> Apart | None:
    """How cameras that the configuration draws differ from those that the data set is known to have been seen by.

    None if they agree, if nobody knows the data's, and for what is adjusted in training or comes from the data.
    Angles differ where more than APART of the cameras lie below some angle and not below it in the prior, or the other
    way round (the statistic of Kolmogorov and Smirnov); radius and field of view, which all of the data's cameras
    share, where they lie outside of what is drawn.
    """
    if config.dimensions < 3:
        return None
    drawn = sample_cameras(config.camera, _DRAWN, generator_for("known cameras"))
    words, settings = [], []
    adjusted = config.camera_generator.adjust
    if dataset.angles is not None and "angles" not in adjusted and config.camera.yaw.kind != "custom":
        words += _angles(config, dataset.angles, drawn)
        settings += ["camera.yaw.kind=custom", "camera.pitch.kind=custom"] if words else []
    for name, known, values, unit in (
        ("radius", dataset.radius, drawn.radius, ""),
        ("fov", dataset.fov, drawn.fov, "°"),
    ):
        if known is None or name in adjusted:
            continue
        low, high = float(values.min()), float(values.max())
        if not low - _ROUNDING <= known <= high + _ROUNDING:
            span = f"{low:g}{unit}" if low == high else f"{low:.3g} to {high:.3g}{unit}"
            words.append(f"{name} {known:g}{unit} in the data, {span} drawn")
            settings += [f"camera.{name}.kind=constant", f"camera.{name}.mean={known:g}"]
    if not words:
        return None
    return Apart(f"cameras of the data are not those that are drawn: {'; '.join(words)}", tuple(settings))


def _angles(config: RunConfig, angles: NDArray[Any], drawn: Cameras) -> list[str]:
    bound = max(APART, _CHANCE * math.sqrt(1 / len(angles) + 1 / _DRAWN))
    words = []
    middles = mean_parameters(config.camera)[:2]
    for column, (name, middle) in enumerate(zip(("yaw", "pitch"), middles, strict=True)):
        data, prior = (
            _around(middle, values[:, column].astype(np.float64)) for values in (angles, drawn.angles.numpy())
        )
        if _largest_gap(data, prior) > bound:
            words.append(f"nine in ten have {name} {_span(data)} in the data, {_span(prior)} drawn")
    return words


def _around(middle: float, values: NDArray[Any]) -> NDArray[Any]:
    """The same angles, within half a turn of the middle."""
    return middle + (values - middle + math.pi) % (2 * math.pi) - math.pi


def _largest_gap(one: NDArray[Any], other: NDArray[Any]) -> float:
    one, other = np.sort(one), np.sort(other)
    edges = np.concatenate([one, other]) + _ROUNDING
    below = [np.searchsorted(values, edges, side="right") / len(values) for values in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _span(values: NDArray[Any]) -> str:
    low, high = np.degrees(np.quantile(values, (0.05, 0.95)))
    return f"{low:.0f}° to {high:.0f}°" if round(low) != round(high) else f"{low:.0f}°"

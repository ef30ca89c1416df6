"""Whether cameras of data whose angles are known are those that a prior draws.

Pictures from where nobody draws cameras are learnt as shapes that such views explain, and a distance between pictures
counts the views beside the objects.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.config.schema import RunConfig
from gp3d_core.rendering.cameras import mean_parameters, sample_cameras
from gp3d_core.rng import generator_for

APART = 0.2  # share of the cameras that have another angle than so many of the prior's
_DRAWN = 2**16
_CHANCE = (
    1.63  # over √N: how far apart the shares of N cameras of the prior itself lie once in a hundred times
)


def angles_apart(config: RunConfig, angles: NDArray[Any] | None) -> str | None:
    """How the cameras that the configuration's prior draws differ from those of data with yaws and pitches `angles`
    [N,2], radians (None: nobody knows them), in words; None if they agree, are adjusted in training or come from the
    data.

    They differ where more than APART of the cameras lie below some angle and not below it in the prior, or the other
    way round (the statistic of Kolmogorov and Smirnov).
    """
    camera = config.camera
    if angles is None or config.dimensions < 3 or camera.yaw.kind == "custom":
        return None
    if "angles" in config.camera_generator.adjust:
        return None
    drawn = sample_cameras(camera, _DRAWN, generator_for("known angles")).angles[:, :2].double().numpy()
    bound = max(APART, _CHANCE * math.sqrt(1 / len(angles) + 1 / _DRAWN))
    parts = []
    for column, (name, middle) in enumerate(zip(("yaw", "pitch"), mean_parameters(camera)[:2], strict=True)):
        data, prior = (_around(middle, values[:, column].astype(np.float64)) for values in (angles, drawn))
        if _largest_gap(data, prior) > bound:
            parts.append(f"{name} {_span(data)} in the data, {_span(prior)} drawn")
    if not parts:
        return None
    return f"cameras of the data are not those that are drawn: {'; '.join(parts)} (nine in ten)"


def _around(middle: float, values: NDArray[Any]) -> NDArray[Any]:
    """The same angles, within half a turn of the middle."""
    return middle + (values - middle + math.pi) % (2 * math.pi) - math.pi


def _largest_gap(one: NDArray[Any], other: NDArray[Any]) -> float:
    one, other = np.sort(one), np.sort(other)
    # angles of single precision and of the same in double count as the same
    edges = np.concatenate([one, other]) + 1e-5
    below = [np.searchsorted(values, edges, side="right") / len(values) for values in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _span(values: NDArray[Any]) -> str:
    low, high = np.degrees(np.quantile(values, (0.05, 0.95)))
    return f"{low:.0f}° to {high:.0f}°" if round(low) != round(high) else f"{low:.0f}°"

"""Positions held to the truth on faces that slant: by how much a ray beside the centre of its pixel may differ."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from synthetic.checks.models import Truth
from synthetic.checks.passes import score_passes
from synthetic.checks.pixels import pixel_centres, pixel_rays
from synthetic.dataset import ViewRecord
from synthetic.staging.surface import Material, Part, merge

SIDE, FOCAL, AWAY = 32, 100.0, 1.0
RECORD = cast(
    ViewRecord,
    {
        "intrinsics": [[FOCAL, 0, 15.5], [0, FOCAL, 15.5], [0, 0, 1]],
        "cam2world": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, AWAY], [0, 0, 0, 1]],
        "radius": AWAY,
    },
)


@pytest.mark.parametrize(
    ("slant", "aside", "wrong"),
    [(0, 9e-4, False), (60, 9e-4, False), (60, 5e-3, True), (0, 5e-3, True)],
)
def test_a_position_may_be_as_far_off_as_the_ray_on_the_slanting_face(
    slant: float, aside: float, wrong: bool
) -> None:
    """`aside` is by how many pixels the rays of the positions pass beside the centres."""
    turn = np.radians(slant)
    x, z = 4 * np.cos(turn), 4 * np.sin(turn)
    corners = np.array([(-x, -4, -z), (x, -4, z), (x, 4, z), (-x, 4, -z)])
    part = Part(corners, np.array([(0, 1, 2), (0, 2, 3)]), np.zeros(2, np.int32), ())
    truth = Truth(merge([part], [Material("m")]))
    places = pixel_centres(SIDE).astype(float)
    hits = truth.rays.cast(*pixel_rays(RECORD, places))
    origin, directions = pixel_rays(RECORD, places + np.array([0, aside]))
    beside = truth.rays.cast(origin, directions)
    positions = origin + directions * beside.distance[..., None]
    found = score_passes(("position",), {"position": positions}, RECORD, truth, hits)
    assert (found["position"] > 0.5) == wrong

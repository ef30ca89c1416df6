"""Presets and what overrides them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from synthetic.dataset import Settings
from synthetic.options import command_line, settings_of


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (256, 1, "normal", (0.0, np.pi / 8), (np.pi / 2, np.pi / 8), 2.0, 40.0, 1.45, 2.55)),
        (
            (
                "--preset",
                "paper",
                "--resolution",
                "32",
                "--radius",
                "3",
                "--fov",
                "25",
                "--views",
                "4",
                "--yaw",
                "1",
                "0.5",
            ),
            (32, 4, "normal", (1.0, 0.5), (np.pi / 2, np.pi / 8), 3.0, 25.0, 2.45, 3.55),
        ),
        (
            ("--preset", "turntable", "--views", "36", "--near-far", "1", "4"),
            (256, 36, "turntable", (0.0, 0.0), (np.pi / 2 - 0.35, 0.0), 2.0, 40.0, 1.0, 4.0),
        ),
        (
            ("--preset", "sphere"),
            (256, 24, "sphere", (0.0, np.pi / 8), (np.pi / 2, np.pi / 8), 2.0, 40.0, 1.45, 2.55),
        ),
    ],
)
def test_presets_are_what_they_say_and_every_number_can_be_overridden(
    words: tuple[str, ...], expected: tuple[object, ...]
) -> None:
    arguments = command_line("").parse_args(["models", "out", *words])
    settings = settings_of(arguments)
    cameras = settings.cameras
    assert (
        settings.resolution,
        arguments.views,
        cameras.kind,
        cameras.yaw,
        cameras.pitch,
        cameras.radius,
        cameras.fov,
        cameras.t_near,
        cameras.t_far,
    ) == expected
    assert cameras.turn == (36 if cameras.kind == "turntable" else 24)
    assert Settings.from_json(json.loads(json.dumps(settings.as_json()))) == settings

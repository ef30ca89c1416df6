"""Presets and what overrides them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from synthetic import render
from synthetic.dataset import Settings
from synthetic.layouts.shapenet import Model, ObjectClass
from synthetic.options import VIEWS_PER_WORKER, command_line, settings_of
from synthetic.workers.worker import RenderJob


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


@pytest.mark.parametrize(("views", "workers"), [(1, 1), (64, 1), (65, 2), (128, 2), (129, 3), (999, 3)])
def test_a_worker_begins_with_every_64_views_as_the_documentation_says(views: int, workers: int) -> None:
    mug = ObjectClass("n03797390", "mug", None, "03797390")
    jobs = [RenderJob(Model(f"03797390/{k}", Path("nowhere"), mug), (0,)) for k in range(views)]
    assert render.worker_count(None, jobs, 3) == workers
    text = (Path(__file__).resolve().parents[2] / "docs/rendering.md").read_text(encoding="utf-8")
    assert f"one for every {VIEWS_PER_WORKER} views begun" in text

"""When known cameras of data are said to differ from those that a configuration draws."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from gp3d_core.config.presets import PRESETS, resolve
from gp3d_core.config.schema import RunConfig
from gp3d_core.config.validation import check_config
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.rendering.cameras import sample_cameras
from gp3d_core.rendering.known_cameras import _largest_gap, cameras_apart
from gp3d_core.rng import generator_for

TINY = resolve("tiny", [])


def said(
    config: RunConfig, angles: np.ndarray | None, radius: float | None = None, fov: float | None = None
) -> str | None:
    apart = cameras_apart(config, cast(Dataset, SimpleNamespace(angles=angles, radius=radius, fov=fov)))
    return None if apart is None else apart.words


def drawn(preset: str, count: int, seed: int = 0) -> np.ndarray:
    cameras = sample_cameras(PRESETS[preset].camera, count, generator_for(seed, "test"))
    return cameras.angles[:, :2].numpy()


def turntable(views: int, pitch: float, models: int = 50) -> np.ndarray:
    yaw = np.tile(2 * np.pi / views * np.arange(views), models)
    return np.stack([yaw, np.full_like(yaw, pitch)], axis=1).astype(np.float32)


@pytest.mark.parametrize("preset", ["tiny", "shapenet-64", "eg3d-64", "eg3d-64-wide", "stylenerf-64"])
@pytest.mark.parametrize("count", [8, 60, 2000])
def test_draws_of_the_prior_itself_agree_with_it(preset: str, count: int) -> None:
    config = PRESETS[preset]
    assert all(said(config, drawn(preset, count, seed)) is None for seed in range(20))


def test_a_turntable_is_not_the_paper_s_view_from_in_front() -> None:
    assert said(TINY, turntable(4, math.pi / 2 - 0.35)) == (
        "cameras of the data are not those that are drawn: nine in ten have yaw -180° to 90° in the data, -37° to 37° "
        "drawn; nine in ten have pitch 70° in the data, 53° to 127° drawn"
    )


def test_only_the_angle_that_differs_is_named() -> None:
    angles = drawn("tiny", 500)
    angles[:, 1] -= 0.35
    words = said(TINY, angles)
    assert words is not None
    assert "pitch" in words
    assert "yaw" not in words


def test_whole_turns_make_no_difference() -> None:
    angles = drawn("tiny", 500)
    angles[::2, 0] += 2 * np.pi
    angles[1::3, 0] -= 4 * np.pi
    assert said(TINY, angles) is None


def test_a_constant_prior_is_what_a_still_camera_sees() -> None:
    """The data's angles are of single precision, the prior's of double."""
    config = resolve(
        "tiny", ["camera.yaw.kind=constant", "camera.pitch.kind=constant", "camera.pitch.mean=1.22"]
    )
    assert said(config, np.tile(np.float32([0.0, 1.22]), (40, 1))) is None
    assert said(config, np.tile(np.float32([0.01, 1.22]), (40, 1))) is not None


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("tiny", ["camera.yaw.kind=custom", "camera.pitch.kind=custom"]),
        ("photos-64", []),  # its camera generator adjusts angles
        ("stylegan2-64", []),  # pictures without cameras
    ],
)
def test_nothing_is_said_where_the_prior_need_not_be_that_of_the_data(
    preset: str, settings: list[str]
) -> None:
    assert said(resolve(preset, settings), turntable(4, 1.22)) is None
    assert said(TINY, turntable(4, 1.22)) is not None


def test_cameras_that_nobody_knows_are_not_compared() -> None:
    assert said(TINY, None) is None


def test_the_gap_is_the_statistic_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.normal(size=rng.integers(5, 90)), rng.normal(0.5, 2.0, size=300)
        assert _largest_gap(one, other) == pytest.approx(ks_2samp(one, other).statistic, abs=1e-9)


def test_no_draw_of_anybody_else_moves() -> None:
    torch.manual_seed(3)
    before = torch.rand(1)
    torch.manual_seed(3)
    said(TINY, turntable(4, 1.22))
    assert torch.rand(1) == before


def test_radius_and_field_of_view_of_rendered_data_are_compared() -> None:
    """`tiny` sees from 2 with 40°; `photos-64` draws fields of view of 10° to 45° and adjusts them."""
    assert said(TINY, None, radius=2.0, fov=40.0) is None
    assert said(TINY, None, radius=3.0, fov=20.0) == (
        "cameras of the data are not those that are drawn: radius 3 in the data, 2 drawn; fov 20° in the data, 40° "
        "drawn"
    )
    assert said(resolve("photos-64", []), None, radius=1.0, fov=60.0) is None
    bare = resolve("photos-64-bare", [])
    assert said(bare, None, fov=30.0) is None
    assert said(bare, None, fov=60.0) == (
        "cameras of the data are not those that are drawn: fov 60° in the data, 10 to 45° drawn"
    )


def test_the_remedy_makes_the_cameras_those_of_the_data() -> None:
    for known in (
        {"angles": turntable(4, 1.22), "radius": 2.0, "fov": 40.0},
        {"angles": None, "radius": 2.3, "fov": 33.3},  # no numbers of single precision
        {"angles": turntable(3, 1.0), "radius": 2.5, "fov": 10.5},
    ):
        data = cast(Dataset, SimpleNamespace(**known))
        apart = cameras_apart(TINY, data)
        assert apart is not None
        mended = resolve("tiny", apart.settings)
        check_config(mended)
        assert cameras_apart(mended, data) is None
        assert all(f"`{one.partition('=')[0]}`=" in apart.remedy for one in apart.settings)

"""Cameras against their formulas, their distribution and the frame drawn in docs/dataset.md."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from synthetic.viewpoints import (
    ViewDistribution,
    Viewpoint,
    covered_pixels,
    intrinsics,
    ray_lengths,
    sample_viewpoint,
)

PAPER = ViewDistribution()


def test_front_camera_sits_on_positive_z_and_looks_along_negative_z() -> None:
    expected = np.eye(4)
    expected[2, 3] = 2.0
    np.testing.assert_allclose(Viewpoint(yaw=0.0, pitch=math.pi / 2).cam2world(), expected, atol=1e-15)


def test_positive_yaw_moves_towards_negative_x_and_small_pitch_up() -> None:
    side = Viewpoint(yaw=math.pi / 2, pitch=math.pi / 2, radius=3.0).cam2world()
    np.testing.assert_allclose(side[:3, 3], [-3.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(side[:3, 0], [0.0, 0.0, 1.0], atol=1e-12)  # its right is the world's +z
    assert Viewpoint(yaw=0.0, pitch=0.1).cam2world()[1, 3] > 1.9


@pytest.mark.parametrize(("yaw", "pitch"), [(0.3, 1.2), (-2.5, 2.9), (3.0, 0.02)])
def test_cam2world_is_a_rotation_without_roll_that_looks_at_the_origin(yaw: float, pitch: float) -> None:
    matrix = Viewpoint(yaw=yaw, pitch=pitch, radius=2.0).cam2world()
    rotation, origin = matrix[:3, :3], matrix[:3, 3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
    np.testing.assert_allclose(-rotation[:, 2] * 2.0, -origin, atol=1e-12)
    assert abs(rotation[1, 0]) < 1e-12
    assert rotation[1, 1] > 0


def test_viewpoints_follow_the_stated_normal_distributions() -> None:
    views = [sample_viewpoint(PAPER, 7, f"03797390/{number}", 0) for number in range(4000)]
    for values, mean in (([view.yaw for view in views], 0.0), ([view.pitch for view in views], math.pi / 2)):
        ordered = NormalDist(mean, math.pi / 8)
        share = np.array([ordered.cdf(value) for value in sorted(values)])
        gap = np.abs(share - (np.arange(4000) + 0.5) / 4000).max()  # Kolmogorov-Smirnov, 1 % level
        assert gap < 1.63 / math.sqrt(4000)
    correlation = np.corrcoef([view.yaw for view in views], [view.pitch for view in views])[0, 1]
    assert abs(correlation) < 0.05
    assert {(view.radius, view.fov, view.look_at) for view in views} == {(2.0, 40.0, (0.0, math.pi / 2, 0.0))}


def test_viewpoint_depends_on_seed_model_and_view_alone() -> None:
    first = sample_viewpoint(PAPER, 0, "a/b", 0)
    assert first == sample_viewpoint(PAPER, 0, "a/b", 0)
    others = [
        sample_viewpoint(PAPER, 1, "a/b", 0),
        sample_viewpoint(PAPER, 0, "a/c", 0),
        sample_viewpoint(PAPER, 0, "a/b", 1),
    ]
    assert len({view.yaw for view in [first, *others]}) == 4
    assert first.yaw == pytest.approx(FIRST_YAW, abs=1e-12)  # a later version must draw the same


FIRST_YAW = 0.019424939756148587


def test_pitch_stays_off_the_poles() -> None:
    wide = ViewDistribution(pitch=(math.pi / 2, 5.0))
    pitches = [sample_viewpoint(wide, 0, "a/b", view).pitch for view in range(200)]
    assert min(pitches) == pytest.approx(1e-5)
    assert max(pitches) == pytest.approx(math.pi - 1e-5)


def test_zero_deviation_gives_the_mean() -> None:
    fixed = ViewDistribution(yaw=(0.25, 0.0), pitch=(1.5, 0.0))
    assert sample_viewpoint(fixed, 3, "a/b", 9) == Viewpoint(yaw=0.25, pitch=1.5)


@pytest.mark.parametrize("resolution", [5, 64])
def test_field_of_view_spans_first_to_last_pixel_centre(resolution: int) -> None:
    matrix = intrinsics(40.0, resolution)
    edge = (0 - matrix[0, 2]) / matrix[0, 0], (resolution - 1 - matrix[0, 2]) / matrix[0, 0]
    np.testing.assert_allclose(edge, [-math.tan(math.radians(20)), math.tan(math.radians(20))])


def test_ray_lengths_are_those_of_the_pixel_rays() -> None:
    lengths = ray_lengths(intrinsics(90.0, 5), 5)
    np.testing.assert_allclose(lengths[2, 2], 1.0)
    np.testing.assert_allclose(lengths[0, 0], math.sqrt(3.0))
    np.testing.assert_allclose(lengths[2, 4], math.sqrt(2.0))
    np.testing.assert_allclose(lengths[1, 2], math.sqrt(1.25))


@pytest.mark.parametrize(
    "numbers",
    [
        {"yaw": (0.0, -1.0)},
        {"fov": 0.0},
        {"fov": 180.0},
        {"radius": -1.0},
        {"t_near": 2.0, "t_far": 2.0},
        {"pitch": (0.0, 0.1)},
        {"radius": math.inf},
    ],
)
def test_impossible_cameras_raise(numbers: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|expected"):
        ViewDistribution(**numbers)  # type: ignore[arg-type]


def test_turntable_goes_once_around_at_one_height() -> None:
    table = ViewDistribution(kind="turntable", yaw=(0.3, 0.0), pitch=(1.2, 0.0), turn=8)
    views = [sample_viewpoint(table, 4, "a/b", view) for view in range(8)]
    np.testing.assert_allclose([view.yaw for view in views], 0.3 + np.arange(8) * math.pi / 4)
    assert {view.pitch for view in views} == {1.2}
    shaken = ViewDistribution(kind="turntable", yaw=(0.3, 0.1), pitch=(1.2, 0.1), turn=8)
    offsets = [
        sample_viewpoint(shaken, 4, f"a/{model}", 3).yaw - 0.3 - 3 * math.pi / 4 for model in range(2000)
    ]
    assert np.std(offsets) == pytest.approx(0.1, rel=0.07)


def test_sphere_is_uniform_over_models_and_even_within_one() -> None:
    sphere = ViewDistribution(kind="sphere", radius=3.0)

    def directions(model: str, count: int) -> np.ndarray:
        views = [sample_viewpoint(sphere, 1, model, view) for view in range(count)]
        return np.array([view.cam2world()[:3, 3] for view in views]) / 3.0

    first = np.array([directions(f"a/{number}", 1)[0] for number in range(3000)])
    for axis in range(3):  # each coordinate of a uniform direction is uniform on [-1, 1] (Archimedes)
        gap = np.abs((np.sort(first[:, axis]) + 1) / 2 - (np.arange(3000) + 0.5) / 3000).max()
        assert gap < 1.63 / math.sqrt(3000)
    for count in (24, 100):
        even = directions("a/b", count)
        assert np.linalg.norm(even.mean(axis=0)) < 1.5 / count**0.75
        nearest = np.sort(np.linalg.norm(even[:, None] - even[None], axis=-1), axis=1)[:, 1]
        assert nearest.min() > 0.9 / math.sqrt(count)  # independent draws come far nearer
    np.testing.assert_array_equal(
        directions("a/b", 24), directions("a/b", 100)[:24]
    )  # more views keep the first


@pytest.mark.parametrize("numbers", [{"kind": "spiral"}, {"turn": 0}])
def test_unknown_kinds_raise(numbers: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected normal, turntable or sphere"):
        ViewDistribution(**numbers)  # type: ignore[arg-type]


def test_covered_pixels_are_those_whose_squares_hold_the_points() -> None:
    front = Viewpoint(yaw=0.0, pitch=math.pi / 2, radius=2.0, fov=90.0)  # at z 0 the picture is 4 wide

    def at(*places: tuple[float, float]) -> np.ndarray:  # pixels of a picture of 65, whose middle one is 32
        return np.array([((x - 32) / 16, (32 - y) / 16, 0.0) for x, y in places])

    assert covered_pixels(front, at((10.0, 20.0)), 65) == (10, 20, 11, 21)
    assert covered_pixels(front, at((10.4, 20.6), (30.6, 19.6)), 65) == (10, 20, 32, 22)
    assert covered_pixels(front, at((-9.0, 20.0), (3.0, 99.0)), 65) == (0, 20, 4, 65)  # cut at the border
    assert covered_pixels(front, at((-9.0, 20.0), (-4.0, 30.0)), 65) == (0, 20, 0, 31)  # beside it
    nearer = at((10.0, 32.0)) / 2 + (0, 0, 1.0)  # on the same ray
    assert covered_pixels(front, nearer, 65) == (10, 32, 11, 33)
    assert covered_pixels(front, np.array([(0.0, 0, 0), (0, 0, 2.0)]), 65) == (0, 0, 65, 65)
    assert covered_pixels(front, np.array([(0.0, 0, 0), (0, 0, 3.0)]), 65) == (0, 0, 65, 65)
    side = Viewpoint(yaw=math.pi / 2, pitch=math.pi / 2, radius=2.0, fov=90.0)  # its right is the world's +z
    assert covered_pixels(side, np.array([(0.0, 0, 0.5)]), 65) == (40, 32, 41, 33)

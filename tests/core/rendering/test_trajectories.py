"""Ways around the object: their closed forms, and what stays fixed along them."""

import math

import pytest
import torch

from gp3d_core.errors import GP3DError
from gp3d_core.rendering.cameras import Cameras, cam2world, mean_camera
from gp3d_core.rendering.trajectories import front_circle, line, point, points, turntable, wiggle
from tests.support.micro import micro_config

MEAN = mean_camera(micro_config().camera)
ODD = Cameras.from_flat(torch.tensor([[0.3, 1.2, 0.0, 20.0, 2.0, 0.4, 1.4, 0.1]]))
WAYS = (line, wiggle, front_circle, turntable)


def offsets(cameras, start):
    return (cameras.flat() - start.flat()).double()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [2, 7, 64])
def test_way_has_as_many_cameras_as_asked_for(way, count):
    cameras = way(ODD, count)
    assert len(cameras) == count
    assert cameras.fov.dtype == torch.float32


def test_points_are_the_mean_camera_and_its_two_sides():
    assert torch.equal(point(ODD).flat(), ODD.flat())
    expected = torch.zeros(3, 8, dtype=torch.float64)
    expected[:, 0] = torch.tensor([-0.5, 0.0, 0.5])
    assert torch.allclose(offsets(points(ODD), ODD), expected, atol=1e-6)


def test_line_changes_the_yaw_alone_and_evenly():
    moved = offsets(line(ODD, 9), ODD)
    assert torch.allclose(moved[:, 0], torch.linspace(-1.57, 1.57, 9).double(), atol=1e-6)
    assert moved[:, 1:].abs().max() == 0


def test_wiggle_swings_around_the_level_pitch_whatever_the_start():
    cameras = wiggle(ODD, 9)
    expected = [math.pi / 2 + 0.5 * math.cos(2 * math.pi * k / 8) for k in range(9)]
    assert cameras.angles[:, 1].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.allclose(offsets(cameras, ODD)[:, 0], offsets(line(ODD, 9), ODD)[:, 0])
    assert offsets(cameras, ODD)[:, 2:].abs().max() == 0


def test_front_circle_closes_and_has_the_published_radii():
    moved = offsets(front_circle(ODD, 65), ODD)
    assert torch.allclose(moved[0], moved[-1], atol=1e-5)
    assert torch.allclose(
        (moved[:, 0] / 0.5) ** 2 + (moved[:, 1] / 0.3) ** 2, torch.ones(65).double(), atol=1e-4
    )
    assert moved[0, [0, 1, 3]].tolist() == pytest.approx([0.0, 0.3, 0.0], abs=1e-5)
    assert moved[16, [0, 1, 3]].tolist() == pytest.approx([0.5, 0.0, 1.0], abs=1e-5)
    assert moved[:, [2, 4, 5, 6, 7]].abs().max() == 0


def test_turntable_covers_the_full_turn_evenly_and_once():
    cameras = turntable(ODD, 12)
    assert offsets(cameras, ODD)[:, 0].tolist() == pytest.approx(
        [2 * math.pi * k / 12 for k in range(12)], abs=1e-5
    )
    assert torch.equal(cameras.angles[:, 1], ODD.angles[:, 1].expand(12))


def test_turntable_is_one_pose_turned_about_the_vertical():
    poses = cam2world(turntable(ODD, 5).to(dtype=torch.float64))
    for k, pose in enumerate(poses):
        turn = 2 * math.pi * k / 5
        c, s = math.cos(turn), math.sin(turn)  # growing yaw takes +z towards −x
        about_y = torch.tensor([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]], dtype=torch.float64)
        assert torch.allclose(pose, about_y @ poses[0], atol=1e-5)


def test_pitch_keeps_off_the_poles():
    steep = Cameras.from_flat(torch.tensor([[0.0, 0.1, 0.0, 20.0, 2.0, 0.0, 1.5, 0.0]]))
    pitch = front_circle(steep, 33).angles[:, 1]
    assert pitch.min() > 0
    assert pitch.min() < 1e-4


def test_way_that_cannot_be_is_refused():
    narrow = Cameras.from_flat(torch.tensor([[0.0, 1.5, 0.0, 0.5, 2.0, 0.0, 1.5, 0.0]]))
    with pytest.raises(GP3DError, match="fovs above 0"):
        front_circle(narrow, 9)
    with pytest.raises(ValueError, match="one camera"):
        line(Cameras.cat([ODD, MEAN]), 9)


@pytest.mark.parametrize("way", WAYS)
def test_way_of_one_frame_is_refused(way):
    with pytest.raises(GP3DError, match="at least 2 frames"):
        way(MEAN, 1)

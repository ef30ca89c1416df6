"""What of a picture is a thing, what is around it, and what goes when it is removed: against scenes in closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gp3d_core.vq3d.config import CameraConfig, RenderConfig
from gp3d_core.vq3d.rendering.views import input_pose, render
from gp3d_core.vq3d.scenes.composition import Box, RegionError, Remove, lift, together
from gp3d_core.vq3d.scenes.editing import Choice, choose_region, remove, share_of
from gp3d_core.vq3d.scenes.scenefile import Scene
from gp3d_core.vq3d.scenes.segmentation import (
    hole_of,
    nearest_in,
    outstanding_in,
    subject_depth,
    surroundings,
)
from tests.core.vq3d.test_composition import BLUE, GREEN, RED, ball, micro_scene, wall

CAMERA, RENDER, SIZE = CameraConfig(), RenderConfig(steps=96), 33
GROUND = -0.45
BALL = ((0.1, -0.05, -0.6), 0.35)


def ground(height):
    """Everything below a height."""

    def field(points):
        return points.new_tensor(GREEN).expand_as(points), 400.0 * (points[..., 1:2] < height)

    return field


def smeared(points):
    """A ball with all that it hides before the wall filled: a learnt field knows only where surfaces begin."""
    rgb, sigma = ball(*BALL, RED)(points)
    eye, centre = points.new_tensor([0, 0, 1]), points.new_tensor(BALL[0])
    ray = torch.nn.functional.normalize(points - eye, dim=-1)
    ahead = ((centre - eye) * ray).sum(dim=-1, keepdim=True)
    missed = ((centre - eye) - ahead * ray).norm(dim=-1, keepdim=True)
    behind = (missed < BALL[1]) & ((points - eye).norm(dim=-1, keepdim=True) > ahead) & (points[..., 2:] > -2)
    return rgb, sigma + 40.0 * (behind & (points[..., 1:2] > GROUND))


ROOM = together([ground(GROUND), wall(-2, BLUE)], [1, 1])


def seen(field):
    return render(field, input_pose(), CAMERA, RENDER, SIZE)


def silhouette():
    """Where the ball covers the room."""
    return seen(ball(*BALL, RED)).disparity[0] > 0.3


def test_what_is_near_in_a_rectangle():
    inverse = torch.linspace(0.1, 0.45, 17).expand(17, 17).clone()  # much of it nearer than the mean
    inverse[6:11, 4:9] = 0.9
    assert torch.equal(nearest_in(inverse, (0, 0, 1, 1)) > 0, inverse > 0.5)
    corner = nearest_in(inverse, (0, 0, 0.4, 0.5))
    assert corner.sum() == 3 * 3
    for wrong in ((0.5, 0, 0.5, 1), (0, 0, 1.2, 1), (-0.1, 0, 1, 1)):
        with pytest.raises(RegionError, match="left, top, right, bottom"):
            nearest_in(inverse, wrong)


@pytest.mark.parametrize("rectangle", [(0, 0, 1, 1), (0.15, 0.15, 0.95, 0.9)])
def test_a_thing_stands_out_of_the_ground_that_comes_nearer_than_it(rectangle):
    inverse = seen(together([ball(*BALL, RED), ROOM], [0, 1])).disparity[0]
    assert inverse[-1].min() > inverse[silhouette()].max()
    chosen = outstanding_in(inverse, rectangle) > 0
    wrong = (chosen != silhouette()).float().sum() / silhouette().sum()
    assert wrong < 0.1  # but for pixels that the outline halves
    assert not chosen[-4:].any()


def test_surroundings_of_planes_are_those_planes():
    """Inverse depth of a plane is linear in the picture; ground level with the camera beneath a wall has even rows."""
    down, along = torch.meshgrid(torch.linspace(-1, 1, 21), torch.linspace(-1, 1, 21), indexing="ij")
    hole = torch.zeros(21, 21, dtype=torch.bool)
    hole[4:15, 6:17] = True
    slanted = 0.9 + 0.2 * along + 0.3 * down
    torch.testing.assert_close(surroundings(torch.where(hole, 7.0, slanted), hole), slanted)
    room = torch.maximum(0.6 * down, torch.tensor(0.3))
    bent = surroundings(torch.where(hole, 7.0, room), hole)
    assert (bent - room).abs().max() < 0.03
    at_the_side = torch.zeros_like(hole)
    at_the_side[:, :9] = True
    assert (surroundings(torch.where(at_the_side, 7.0, room), at_the_side) - room).abs().max() < 0.03
    assert (surroundings(room, torch.ones_like(hole)) == room.min()).all()


@pytest.mark.parametrize("obj", [ball(*BALL, RED), smeared])
def test_nothing_of_a_removed_thing_is_left(obj):
    field = together([obj, ROOM], [0, 1])
    before, room = seen(field), seen(ROOM)
    region = lift(silhouette().float(), before.disparity[0], CAMERA.fov, 0.2)
    after = seen(Remove(hole_of(region))(field))
    red = room.rgb[0, 0]  # only the thing is any redder
    assert (before.rgb[0, 0] - red).max() > 0.7
    assert (after.rgb[0, 0] - red).abs().max() < 0.02
    assert (after.disparity / room.disparity - 1).abs().max() < 0.25
    far = torch.nn.functional.max_pool2d(silhouette()[None].float(), 5, 1, 2)[0] == 0
    torch.testing.assert_close(after.rgb[0][:, far], before.rgb[0][:, far])
    ghost = seen(Remove(region)(field))
    assert (ghost.rgb[0, 0] - red).max() > 0.7  # what is near its visible surface was not all of it


def test_things_before_a_farther_hole_go_as_well():
    """A window: what is chosen is farther than its frame, and goes, the frame stays."""
    inverse = torch.full((9, 9), 1.0)
    inverse[3:6, 3:6] = 0.5
    hole = hole_of(lift((inverse < 1).float(), inverse, CAMERA.fov, 0.1))
    places = torch.tensor([[[0.0, 0, 1 - 1 / 0.5], [0.4, 0.4, 0.0], [0.0, 0, 1 - 1 / 0.3]]])
    assert hole(places)[0, :, 0].tolist() == [pytest.approx(1), 0, 0]


def test_a_removed_box_is_just_that_box(monkeypatch):
    scene, region = micro_scene(1), Box((-0.2,) * 3, (0.2,) * 3)
    assert remove(scene, region).parts[0].steps[0].region is region
    lifted = choose_region(scene, Choice())
    assert remove(scene, lifted).parts[0].steps[0].region.mask.sum() > lifted.mask.sum()


def test_how_much_of_the_picture_was_chosen(monkeypatch):
    scene = replace(micro_scene(1), resolution=SIZE, camera=CAMERA, render=RENDER)
    monkeypatch.setattr(Scene, "field", lambda self: together([ball(*BALL, RED), ROOM], [0, 1]))
    truth = float(silhouette().float().mean())
    assert share_of(scene, choose_region(scene, Choice())) == pytest.approx(truth, rel=0.1)
    assert share_of(scene, Box((-9, -9, -1), (9, 9, 1))) > share_of(scene, Box((8,) * 3, (9,) * 3)) == 0


@pytest.mark.parametrize("width", [2, 6, 20])
def test_views_turn_about_what_is_near_in_the_middle_however_thin(width):
    inverse = torch.full((64, 64), 0.4)
    inverse[10:54, 32 - width // 2 : 32 + width // 2] = 2.0
    assert subject_depth(inverse) == pytest.approx(0.5)
    inverse[:, :4] = 5.0  # at the border it does not count
    assert subject_depth(inverse) == pytest.approx(0.5)
    assert subject_depth(torch.full((64, 64), 0.4)) == pytest.approx(2.5)

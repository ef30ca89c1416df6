"""Photographs on surfaces: exact where a known camera sees a known surface, none where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import render_mesh
from gp3d_core.meshing.texture.bake import bake_texture, fitting_size, texel_width
from gp3d_core.meshing.texture.projection import Photograph, Projection, projected
from gp3d_core.rendering.cameras import Cameras
from tests.support.solids import ball, box

FOV, AWAY, OUTLINE = 50.0, 2.0, 1 / 64  # degrees between the picture's edges, distance from the origin
REACH = math.tan(math.radians(FOV) / 2)
OWN = np.array([0.2, 0.5, 0.8])  # the model's colour, in [0, 1]
LEVEL = 1.5 / 255  # what rounding and interpolation in a picture of bytes may take


def camera(yaw=0.0):
    angles = [[math.radians(yaw), math.pi / 2, 0.0]]
    numbers = (angles, [FOV], [AWAY], [[0.0, math.pi / 2, 0.0]])
    return Cameras(*(torch.tensor(one, dtype=torch.float64) for one in numbers))


def in_picture(points):
    """Where the camera of yaw 0 has `points`, from 0 to 1 rightwards and downwards: the pinhole in one line."""
    plane = points[:, :2] / (AWAY - points[:, 2:]) / REACH
    return np.stack([(1 + plane[:, 0]) / 2, (1 - plane[:, 1]) / 2], axis=1)


def waves(place):
    """The known picture: colours in [0, 1] of places [N,2] in it, smooth, different everywhere and in every channel."""
    x, y = place.T
    return np.stack([0.5 + 0.4 * np.sin(20 * x + 3 * y), 0.1 + 0.8 * x, 0.9 - 0.8 * y], axis=1)


def picture(color, size=512):
    line = (np.arange(size) + 0.5) / size
    place = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return np.round(color(place).reshape(size, size, 3) * 255).astype(np.uint8)


def plain(points):
    """A field of one colour."""
    return torch.tensor(OWN * 2 - 1).expand_as(points).float(), torch.zeros_like(points[..., :1])


def colors(mesh, points, rgb=None, yaw=0.0):
    """Colours [N,3] in [0, 1] of `points` of a surface under one photograph."""
    photograph = Photograph(picture(waves) if rgb is None else rgb, camera(yaw), OUTLINE)
    field = projected(plain, [Projection.onto(mesh, photograph)])
    return (field(torch.from_numpy(points).float()[None])[0][0].numpy() + 1) / 2


def grid(low, high, count=41):
    line = np.linspace(low, high, count)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def test_the_front_of_a_box_gets_exactly_the_picture_and_its_other_sides_none():
    front = np.concatenate([grid(-0.35, 0.35), np.full((1681, 1), 0.4)], axis=1)
    made = colors(box(0.8, 0.8, 0.8), front)
    np.testing.assert_allclose(made, waves(in_picture(front)), atol=LEVEL)
    back = front * [1, 1, -1]
    np.testing.assert_allclose(colors(box(0.8, 0.8, 0.8), back), np.broadcast_to(OWN, (1681, 3)), atol=1e-6)
    hidden = front[:, [2, 0, 1]]  # the side x = 0.4: nearly along the rays, and turned away from them
    far = hidden[hidden[:, 2] < 0]
    np.testing.assert_allclose(
        colors(box(0.8, 0.8, 0.8), far), np.broadcast_to(OWN, far.shape), atol=LEVEL / 3
    )


def test_a_ball_carries_the_picture_in_front_and_the_models_colour_behind():
    body = ball(0.5, 5)
    towards = body.vertices[:, 2] / 0.5
    made, shown = colors(body, body.vertices.astype(float)), waves(in_picture(body.vertices.astype(float)))
    np.testing.assert_allclose(made[towards > 0.6], shown[towards > 0.6], atol=LEVEL)
    assert np.abs(made - OWN)[towards < -0.6].max() < LEVEL / 3


def test_the_camera_may_stand_anywhere():
    body = ball(0.5, 4)
    seen = body.vertices[body.vertices[:, 2] > 0.35].astype(float)
    turn = math.radians(120)
    turned = seen @ np.array(
        [[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]]
    )
    assert turned[:, 0].mean() < 0  # growing yaw moves a camera towards −x
    np.testing.assert_allclose(colors(body, turned, yaw=120), waves(in_picture(seen)), atol=LEVEL)


def before_a_wall(radius, shift=0.0):
    """A ball before a wall, and points of the wall, some of them hidden."""
    near, wall = ball(radius, 4), np.array([[-3, -3, -1], [3, -3, -1], [3, 3, -1], [-3, 3, -1]], np.float32)
    vertices = np.concatenate([near.vertices + np.float32([shift, 0, 0.5]), wall])
    faces = np.concatenate([near.faces, np.array([[0, 1, 2], [0, 2, 3]], np.int32) + len(near.vertices)])
    on_wall = np.concatenate([grid(-1.3, 1.3, 201), np.full((201**2, 1), -1.0)], axis=1)
    return Mesh(vertices, faces.astype(np.int32)), on_wall


@pytest.mark.parametrize("shift", [0.0, 0.01, -0.01])
def test_what_is_near_leaves_no_colour_on_what_lies_behind(shift):
    # the picture shows a ball of radius 0.3, red before green; the model's is smaller by a pixel, or beside it
    outline = 0.3 / math.sqrt(1.5**2 - 0.3**2) / REACH / 2

    def red_before_green(place):
        inside = ((place - 0.5) ** 2).sum(axis=1) < outline**2
        return np.where(inside[:, None], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])

    mesh, wall = before_a_wall(0.28 + abs(shift), shift)
    made = colors(mesh, wall, picture(red_before_green))
    assert made[:, 0].max() <= OWN[0] + 1e-6  # no red: not of the photograph, and none that goes on from it
    apart = np.hypot(*(in_picture(wall) - 0.5).T)
    np.testing.assert_allclose(made[apart > outline + 5 * OUTLINE][:, 1], 1.0, atol=LEVEL)
    near = np.array(
        [
            [shift, 0.0, 0.78 + abs(shift)],
            [shift + 0.1, 0.1, 0.5 + math.sqrt((0.28 + abs(shift)) ** 2 - 0.02)],
        ]
    )
    np.testing.assert_allclose(colors(mesh, near, picture(red_before_green)), [[1, 0, 0]] * 2, atol=LEVEL)


def test_what_is_near_keeps_the_picture_up_to_its_rim():
    near, (mesh, _) = box(0.6, 0.6, 0.6), before_a_wall(0.1)
    wall = mesh.vertices[-4:]
    faces = np.concatenate([near.faces, np.array([[0, 1, 2], [0, 2, 3]], np.int32) + len(near.vertices)])
    both = Mesh(np.concatenate([near.vertices, wall]), faces.astype(np.int32))
    front = np.concatenate([grid(-0.295, 0.295), np.full((1681, 1), 0.3)], axis=1)
    np.testing.assert_allclose(colors(both, front), waves(in_picture(front)), atol=LEVEL)


def test_beside_what_is_seen_the_models_colour_is_shifted_and_farther_off_it_is_not():
    def grey(place):
        return np.full((len(place), 3), 0.6)

    mesh, wall = before_a_wall(0.28)
    made = colors(mesh, wall, picture(grey))
    # nothing that is seen of the wall has the model's colour: beside the ball, where nothing is taken, it is shifted
    np.testing.assert_allclose(made[np.hypot(*(in_picture(wall) - 0.5).T) > 0.205], 0.6, atol=0.02)
    behind = np.array([[0.0, 0.0, -0.28 + 0.5]])
    np.testing.assert_allclose(colors(mesh, behind, picture(grey)), OWN[None], atol=1e-5)


def test_over_the_rim_of_a_surface_the_picture_goes_on_as_it_came_and_fades():
    def stripes(place):  # finer than what is made up of the colours around
        return 0.5 + 0.4 * np.sin(2 * np.pi * 96 * place[:, 1:]) * np.ones(3)

    body, rim = (
        ball(0.5, 5),
        0.5 * 0.5 / AWAY,
    )  # z of the circle beyond which the camera sees nothing of the ball
    angle = np.linspace(0, 2 * np.pi, 4000)

    def share(z):
        around = math.sqrt(0.25 - z**2)
        points = np.stack([around * np.cos(angle), around * np.sin(angle), np.full(4000, z)], axis=1)
        wave = stripes(in_picture(points))[:, 0] - 0.5
        return (colors(body, points, picture(stripes))[:, 0] * wave).mean() / (wave**2).mean()

    before, at, behind, far = (share(rim + z) for z in (0.03, 0.01, -0.01, -0.1))
    assert before > 0.7
    assert at > 0.6
    assert 0.2 < behind < at
    assert abs(far) < 0.02


def test_what_is_carried_on_does_not_cover_what_another_photograph_shows():
    body = ball(0.5, 5)
    shown = body.vertices[body.vertices[:, 2] > 0.48].astype(float)
    pictures = (np.full((64, 64, 3), [255, 0, 0], np.uint8), np.full((64, 64, 3), [0, 255, 0], np.uint8))
    both = [
        Projection.onto(body, Photograph(rgb, camera(yaw), OUTLINE))
        for rgb, yaw in zip(pictures, (0, 90), strict=True)
    ]
    assert both[1](shown)[2].max() > 0.3  # the second one would go on there
    made = (projected(plain, both)(torch.from_numpy(shown).float()[None])[0][0].numpy() + 1) / 2
    np.testing.assert_allclose(made, np.broadcast_to([1.0, 0.0, 0.0], made.shape), atol=LEVEL)


def test_close_to_the_end_of_what_is_seen_colours_follow_the_picture_closely():
    def two_greys(place):
        return np.where(place[:, :1] < 0.5, 0.6, 0.3) * np.ones(3)

    mesh, wall = before_a_wall(0.28)
    made, place = colors(mesh, wall, picture(two_greys)), in_picture(wall)
    # two pixels of the model's behind the ball's outline and to the sides of the line between the greys
    apart, aside = np.hypot(*(place - 0.5).T), np.abs(place[:, 0] - 0.5)
    chosen = (np.abs(apart - 0.187) < OUTLINE / 2) & (aside > 1.5 * OUTLINE) & (aside < 3 * OUTLINE)
    assert chosen.sum() > 20
    wanted = np.where(place[chosen, 0] < 0.5, 0.6, 0.3)
    assert np.abs(made[chosen, 1] - wanted).max() < 0.06


def test_two_photographs_meet_without_a_seam_and_each_is_sharp_where_it_sees_better():
    body = ball(0.5, 5)
    points = body.vertices.astype(float)
    red, green = np.full((64, 64, 3), [255, 0, 0], np.uint8), np.full((64, 64, 3), [0, 255, 0], np.uint8)
    both = [
        Projection.onto(body, Photograph(rgb, camera(yaw), OUTLINE)) for rgb, yaw in ((red, 0), (green, 90))
    ]
    made = (projected(plain, both)(torch.from_numpy(points).float()[None])[0][0].numpy() + 1) / 2
    np.testing.assert_allclose(
        made[points[:, 2] > 0.48], [[1, 0, 0]] * (points[:, 2] > 0.48).sum(), atol=LEVEL
    )
    assert np.abs(made[points[:, 0] < -0.48] - [0, 1, 0]).max() < LEVEL
    between = (points[:, 2] > 0.3) & (points[:, 0] < -0.3)
    assert np.abs(made[between, 0] + made[between, 1] - 1).max() < 0.05


def test_large_triangles_carry_the_picture_where_it_belongs():
    # a slope of two triangles from depth 1.5 to 3.5, in a frame where inverse depth and picture are straight axes
    world = np.array([[-1, -0.6, 0.5], [1, -0.6, 0.5], [1, 0.9, -1.5], [-1, 0.9, -1.5]], np.float32)
    place = in_picture(world.astype(float))
    frame = np.column_stack([place, 1 / (AWAY - world[:, 2])]).astype(np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    projection = Projection.onto(Mesh(world, faces), Photograph(picture(waves), camera(), OUTLINE))
    baked = bake_texture(Mesh(frame, faces), projected(plain, [projection]), size=512, places=world)
    order = [int(np.abs(frame - vertex).sum(axis=1).argmin()) for vertex in baked.vertices]
    mesh = Mesh(world[order], baked.faces, uv=baked.uv, texture=baked.texture)
    view = render_mesh(mesh, camera(), 256)  # between centres of its outer pixels
    line = np.linspace(0, 1, 256)
    shown = waves(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)).reshape(256, 256, 3)
    inner = ndimage.binary_erosion(view.mask, iterations=4)  # beyond the edges is the model's colour
    assert inner.mean() > 0.5
    assert np.abs(view.rgb / 255 - shown)[inner].max() < 0.03


def test_surfaces_whose_colours_lie_less_close_get_a_smaller_picture():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255  # of a pixel each: sampled too rarely, they would be noise
    projection = Projection.onto(box(0.8, 0.8, 0.8), Photograph(stripes, camera(), OUTLINE))
    assert projection.at_most(1000) is projection
    rgb = projection.at_most(64).rgb
    assert rgb.shape == (64, 64, 3)
    assert np.abs(rgb.astype(int) - 128).max() <= 1
    assert np.abs(sample_texture(rgb, np.random.default_rng(0).random((99, 2))).astype(int) - 128).max() <= 1


def test_the_size_that_fits_holds_a_photograph():
    body = ball(0.5)
    for pixels in (200, 400, 800):
        size = fitting_size(body, 0.1, 2 / pixels)
        assert 1 <= 2 / pixels / texel_width(body, size) <= 2.01
    assert fitting_size(body, 0.01, 2 / 64) == fitting_size(body, 0.01)


def test_beside_an_outline_the_picture_is_taken_up_to_what_is_near():
    outline = 0.3 / math.sqrt(1.5**2 - 0.3**2) / REACH / 2

    def red_before_green(place):
        inside = ((place - 0.5) ** 2).sum(axis=1) < outline**2
        return np.where(inside[:, None], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])

    mesh, wall = before_a_wall(0.28)  # smaller by an outline
    apart = (np.hypot(*(in_picture(wall) - 0.5).T) - outline) / OUTLINE  # from the photograph's own outline
    made = colors(mesh, wall, picture(red_before_green))
    np.testing.assert_allclose(made[apart > 1.25][:, 1], 1.0, atol=LEVEL)
    # where both sides look alike, nothing can be told and no harm is done: all is taken
    grey = np.random.default_rng(0).integers(100, 140, (64, 64, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    photograph = Photograph(grey, camera(), OUTLINE)
    rim = (apart > -0.4) & (apart < 0.4)  # where distance from the edge alone would take little
    assert Projection.onto(mesh, photograph)(wall[rim])[1].mean() > 0.97

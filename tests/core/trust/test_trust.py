"""Supervision, disagreement, thickness and thin parts against balls, slabs and rods whose figures are known."""

import math

import numpy as np
import pytest
import torch
import trimesh

from gp3d_core.config.presets import PRESETS
from gp3d_core.config.schema import RenderConfig
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.rendering.cameras import Cameras, cam2world, mean_camera
from gp3d_core.trust.disagreement import MOST, all_around, disagreement, thin_pixels
from gp3d_core.trust.supervision import ENOUGH, area_weights, supervision
from gp3d_core.trust.thickness import thickness

CAMERA = next(iter(PRESETS.values())).camera
RENDER = RenderConfig(
    coarse_steps=48, fine_steps=48, last_interval=1e-3, background="white", density_scale=30.0
)
RADIUS, DISTANCE = 0.3, 2.0


def mesh_of(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32))


def sphere(radius: float) -> Mesh:
    return mesh_of(trimesh.creation.icosphere(subdivisions=5, radius=radius))


def solid_of(distance):
    """A field that is dense where `distance` of points, in world units, is below 0."""
    return lambda points: (torch.zeros_like(points), -3000 * distance(points)[..., None])


BALL = solid_of(lambda points: points.norm(dim=-1) - RADIUS)


def cameras_at(*angles, fov=30.0):
    count = len(angles)
    turned = torch.tensor([[yaw, pitch, 0.0] for yaw, pitch in angles])
    return Cameras(turned, torch.full((count,), fov), torch.full((count,), DISTANCE), torch.zeros(count, 3))


def test_a_camera_sees_a_cap_of_a_ball():
    """Of a ball of radius r a camera at distance d sees the cap before the tangents' circle: (1 − r/d) / 2."""
    found = supervision(sphere(RADIUS), cameras_at((0.0, math.pi / 2)))
    assert found.weights.sum() == pytest.approx(1)
    assert found.never_seen == pytest.approx(1 - (1 - RADIUS / DISTANCE) / 2, abs=0.03)
    both = supervision(sphere(RADIUS), cameras_at((0.0, math.pi / 2), (math.pi, math.pi / 2)))
    assert both.never_seen == pytest.approx(RADIUS / DISTANCE, abs=0.06)
    around = supervision(sphere(RADIUS), all_around(CAMERA, 24))
    assert around.never_seen == 0


def test_supervision_is_the_sum_of_cosines_up_to_enough():
    """Four cameras before a ball and twelve behind it: of sixteen, two that see it squarely are enough."""
    front, count = (0.0, 0.7, -0.7, 1.2), 16
    angles = [*((yaw, math.pi / 2) for yaw in front), *[(math.pi, math.pi / 2)] * 12]
    mesh, cameras = sphere(RADIUS), cameras_at(*angles, fov=40)
    found = supervision(mesh, cameras)
    towards = cam2world(cameras)[:4, :3, 3].double().numpy()[:, None] - mesh.vertices
    towards /= np.linalg.norm(towards, axis=2, keepdims=True)
    cosine = (towards * mesh.vertices / RADIUS).sum(axis=2)
    clear = (np.abs(cosine) > 0.25).all(axis=0) & (
        mesh.vertices[:, 2] > 0.05
    )  # not at the edge of what one sees
    wanted = np.minimum(np.clip(cosine, 0, None).sum(axis=0) / (ENOUGH * count), 1)[clear]
    assert wanted.min() < 0.5
    assert (wanted < 1).mean() > 0.2
    np.testing.assert_allclose(found.amount[clear], wanted, atol=0.01)
    assert (found.amount.min(), found.amount.max()) == (0, 1)


def test_what_lies_behind_something_is_not_supervised():
    plates = trimesh.util.concatenate(
        [
            trimesh.creation.box(extents=(0.6, 0.6, 0.01)).subdivide().subdivide().subdivide(),
            trimesh.creation.box(extents=(0.3, 0.3, 0.01))
            .subdivide()
            .subdivide()
            .apply_translation([0, 0, -0.2]),
        ]
    )
    mesh = mesh_of(plates)
    found = supervision(mesh, cameras_at((0.0, math.pi / 2)))
    behind = mesh.vertices[:, 2] < -0.1
    assert not found.seen[behind].any()
    assert (
        found.amount[(mesh.vertices[:, 2] > 0) & (np.abs(mesh.vertices[:, :2]).max(axis=1) < 0.2)].min() == 1
    )


def test_area_weights_do_not_depend_on_how_faces_are_cut():
    box = trimesh.creation.box(extents=(1, 2, 3))
    mesh = mesh_of(box.subdivide_to_size(0.2))
    top = mesh.vertices[:, 2] > 1.499
    assert area_weights(mesh)[top].sum() == pytest.approx(2 / 22, abs=0.03)
    flat = Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    np.testing.assert_allclose(area_weights(flat), 1 / 3)


@pytest.mark.parametrize("gap", [0.0, 0.01, 0.03, -0.02])
def test_disagreement_of_concentric_balls_is_the_gap(gap):
    mesh = sphere(RADIUS + gap)
    found = disagreement(mesh, BALL, all_around(CAMERA, 6), CAMERA, RENDER)
    known = np.isfinite(found.amount)
    side = 2 * (RADIUS + gap)
    assert np.median(found.amount[known]) == pytest.approx(abs(gap) / side, abs=0.01)
    assert known.mean() > 0.9


def test_where_the_field_is_empty_disagreement_is_the_most():
    nothing = solid_of(lambda points: points.norm(dim=-1) + 1)
    found = disagreement(sphere(RADIUS), nothing, all_around(CAMERA, 4), CAMERA, RENDER)
    known = np.isfinite(found.amount)
    np.testing.assert_allclose(found.amount[known], MOST)
    assert known.any()
    assert (found.thin, found.thin_kept) == (0, None)


def test_thin_parts_are_missed_where_the_mesh_has_none():
    def distance(points):
        rod = torch.maximum(points[..., :2].norm(dim=-1) - 0.015, points[..., 2].abs() - 0.48)
        return torch.minimum(points.norm(dim=-1) - 0.25, rod)

    body = trimesh.creation.icosphere(subdivisions=4, radius=0.25)
    rod = trimesh.creation.cylinder(radius=0.015, height=0.96)
    cameras = all_around(CAMERA, 6)
    whole = disagreement(
        mesh_of(trimesh.util.concatenate([body, rod])), solid_of(distance), cameras, CAMERA, RENDER
    )
    without = disagreement(mesh_of(body), solid_of(distance), cameras, CAMERA, RENDER)
    assert whole.thin == without.thin > 0.02
    assert whole.thin_kept > 0.95
    assert without.thin_kept < 0.2
    assert disagreement(sphere(RADIUS), BALL, cameras, CAMERA, RENDER).thin == 0


def test_thin_pixels_are_those_away_from_squares_of_five():
    mask = np.zeros((40, 40), bool)
    mask[5:20, 5:20] = True
    mask[10, 20:35] = True
    found = thin_pixels(mask)
    assert found[10, 22:35].all()
    assert found.sum() == 13  # but for the two beside the square
    assert not thin_pixels(np.zeros((9, 9), bool)).any()


def test_a_ball_is_as_thick_as_its_diameter_and_a_slab_as_its_height():
    assert np.median(thickness(sphere(RADIUS), BALL, 0.0)) == pytest.approx(1, abs=0.03)
    for high in (0.03, 0.1):
        slab = solid_of(lambda points, high=high: points[..., 1].abs() - high / 2)
        box = mesh_of(trimesh.creation.box(extents=(0.8, high, 0.8)).subdivide_to_size(0.05))
        found = thickness(box, slab, 0.0)
        assert np.median(found) == pytest.approx(high / 0.8, abs=0.003)
    shell = solid_of(lambda points: (points.norm(dim=-1) - RADIUS + 0.02).abs() - 0.02)
    assert np.median(thickness(sphere(RADIUS), shell, 0.0)) == pytest.approx(0.04 / 0.6, abs=0.004)


def test_a_mesh_far_outside_the_field_has_no_thickness():
    assert (thickness(sphere(0.5), BALL, 0.0) == 0).all()


def test_cameras_all_around_look_at_the_middle_from_everywhere():
    cameras = all_around(CAMERA, 12)
    place = cam2world(cameras)[:, :3, 3]
    middle = mean_camera(CAMERA)
    np.testing.assert_allclose(place.norm(dim=1), float(middle.radius), rtol=1e-5)
    assert place.mean(dim=0).norm() < 0.1 * float(middle.radius)

"""Surfaces of analytic fields against closed forms."""

import math
import warnings

import fast_simplification
import numpy as np
import pytest
import torch
import trimesh

from gp3d_core.meshing.cleaning import mesh_report, simplify, vertex_normals
from gp3d_core.meshing.components import keep_largest
from gp3d_core.meshing.extraction import (
    EmptyMeshError,
    auto_level,
    density_grid,
    extract_mesh,
)
from gp3d_core.meshing.mesh import Mesh, MeshError
from tests.support.surfaces import surface_of_grid


def _field(density):
    """A field without colours whose density is a function of x, y, z."""
    return lambda points: (torch.zeros_like(points), density(*points.unbind(-1)).unsqueeze(-1))


def _ball(x, y, z, centre=(0.0, 0.0, 0.0), radius=1.0):
    return radius - ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2).sqrt()


def _torus(x, y, z, major=0.7, minor=0.25):
    return minor - (((x**2 + z**2).sqrt() - major) ** 2 + y**2).sqrt()


def _surface(density, *, box=1.2, grid=48, level=0.0, **options) -> Mesh:
    return extract_mesh(_field(density), box=box, grid=grid, level=level, **options).mesh


def test_density_grid_is_indexed_x_y_z_whatever_the_chunk():
    field = _field(lambda x, y, z: x + 10 * y + 100 * z)
    grid = density_grid(field, box=2.0, grid=5, chunk=7)
    axis = np.linspace(-2, 2, 5)
    expected = axis[:, None, None] + 10 * axis[None, :, None] + 100 * axis[None, None, :]
    assert np.allclose(grid.numpy(), expected)


def test_unit_sphere_has_its_area_volume_and_bounds():
    report = mesh_report(_surface(_ball))
    assert report.area == pytest.approx(4 * math.pi, rel=0.005)
    assert report.volume == pytest.approx(4 / 3 * math.pi, rel=0.005)
    assert np.allclose(report.bounds, [[-1] * 3, [1] * 3], atol=0.01)
    assert (report.components, report.watertight, report.euler) == (1, True, 2)


def test_error_of_the_area_falls_with_the_square_of_the_voxel():
    errors = [abs(mesh_report(_surface(_ball, grid=n)).area - 4 * math.pi) for n in (17, 33, 65)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.35)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.35)


def test_torus_has_a_hole_and_its_area():
    report = mesh_report(_surface(_torus, grid=64))
    assert report.euler == 0
    assert report.area == pytest.approx(4 * math.pi**2 * 0.7 * 0.25, rel=0.01)
    assert report.volume == pytest.approx(2 * math.pi**2 * 0.7 * 0.25**2, rel=0.01)


def test_axes_are_not_mixed_up():
    report = mesh_report(_surface(lambda x, y, z: _ball(x / 1.0, y / 0.5, z / 0.25, radius=0.9)))
    assert np.allclose(report.bounds[1], [0.9, 0.45, 0.225], atol=0.02)


def test_faces_and_normals_look_outwards():
    mesh = _surface(_ball)
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("fd,fd->f", across, corners.mean(axis=1)) >= 0).all()
    assert np.einsum("vd,vd->v", mesh.normals, mesh.vertices).min() > 0.99
    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).volume > 0


def test_the_box_closes_what_it_cuts():
    mesh = _surface(lambda x, y, z: _ball(x, y, z, centre=(1.0, 0.0, 0.0)), box=1.0, grid=41)
    report = mesh_report(mesh)
    assert report.watertight
    assert report.bounds[1][0] == pytest.approx(1.0)
    assert report.volume == pytest.approx(2 / 3 * math.pi, rel=0.01)
    cap = np.isclose(mesh.vertices[mesh.faces][..., 0], 1.0).all(axis=1)
    corners = mesh.vertices[mesh.faces[cap]]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert across[:, 0].sum() / 2 == pytest.approx(math.pi, rel=0.01)


def test_a_corner_of_the_box_closes():
    report = mesh_report(_surface(lambda x, y, z: _ball(x, y, z, centre=(1, 1, 1)), box=1.0, grid=33))
    assert report.watertight
    assert report.volume == pytest.approx(4 / 3 * math.pi / 8, rel=0.02)


def test_the_largest_component_stays():
    def two(x, y, z):
        small, large = _ball(x, y, z, (-0.8, 0, 0), 0.2), _ball(x, y, z, (0.4, 0, 0), 0.5)
        return torch.maximum(small, large)

    assert mesh_report(_surface(two, components=None)).components == 2
    report = mesh_report(_surface(two, components=1))
    assert report.components == 1
    assert report.bounds[0][0] == pytest.approx(-0.1, abs=0.02)


@pytest.mark.parametrize(("radius", "kept"), [(0.04, 1), (0.08, 2), (0.3, 2)])
def test_specks_go_with_and_without_decimation(radius, kept):
    def two(x, y, z):
        small, large = _ball(x, y, z, (-0.8, 0, 0), radius), _ball(x, y, z, (0.4, 0, 0), 0.5)
        return torch.maximum(small, large)

    assert mesh_report(_surface(two, grid=96)).components == kept
    assert mesh_report(_surface(two, grid=96, faces=800)).components == kept
    assert mesh_report(_surface(two, grid=96, components=None)).components == 2


def test_cavities_are_filled_when_only_the_largest_stays():
    def shell(x, y, z):
        return torch.minimum(_ball(x, y, z), -_ball(x, y, z, radius=0.5))

    hollow = mesh_report(_surface(shell, components=None, fill_holes=False))
    assert hollow.volume == pytest.approx(4 / 3 * math.pi * (1 - 0.5**3), rel=0.01)
    assert mesh_report(
        keep_largest(_surface(shell, components=None, fill_holes=False))
    ).volume == pytest.approx(4.19, rel=0.01)


def test_the_face_budget_keeps_shape_and_health():
    mesh = _surface(_torus, grid=64, faces=1500)
    report = mesh_report(mesh)
    assert 1000 < report.faces <= 1501
    assert (report.watertight, report.euler) == (True, 0)
    assert report.volume == pytest.approx(2 * math.pi**2 * 0.7 * 0.25**2, rel=0.02)


def _sponge(x, y, z):
    return torch.sin(13 * x) + torch.sin(12 * y) + torch.sin(11 * z) + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("budget", [6000, 3000])
def test_sheets_that_decimation_glues_together_are_separated(budget):
    whole = _surface(_sponge, components=None)
    glued = fast_simplification.simplify(whole.vertices, whole.faces, target_count=budget, agg=5.0)
    assert not trimesh.Trimesh(*glued, process=False).is_watertight, "else this test shows nothing"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = simplify(whole, budget)
    assert len(small.faces) <= budget + 1
    assert trimesh.Trimesh(small.vertices, small.faces, process=True).is_watertight
    assert np.abs(small.vertices).max() <= np.abs(whole.vertices).max()
    assert mesh_report(small).volume == pytest.approx(mesh_report(whole).volume, rel=0.1)


def test_a_budget_that_would_tear_is_exceeded_and_said(monkeypatch):
    honest = fast_simplification.simplify

    def tearing(vertices, faces, target_count, agg):
        points, triangles = honest(vertices, faces, target_count=target_count, agg=agg)
        return points, triangles[1:] if target_count < 2000 else triangles

    whole = _surface(_ball, grid=32)
    monkeypatch.setattr(fast_simplification, "simplify", tearing)
    with pytest.warns(UserWarning, match="kept 2000 faces: a budget of 500 would tear the surface"):
        small = simplify(whole, 500)
    assert mesh_report(small).watertight


def test_a_budget_above_the_count_changes_nothing():
    mesh = _surface(_ball, grid=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert simplify(mesh, 10**6) is mesh


def test_level_and_range_are_of_the_raw_density():
    found = extract_mesh(_field(_ball), box=1.2, grid=48, level=0.3)
    assert found.level == 0.3
    assert mesh_report(found.mesh).bounds[1][0] == pytest.approx(0.7, abs=0.01)
    assert found.density_max == pytest.approx(1 - math.sqrt(3) * 1.2 / 47)


def test_empty_fields_say_density_and_level():
    with pytest.raises(
        EmptyMeshError, match=r"no surface at level 3: the density lies between -1\.\d+ and 1"
    ):
        extract_mesh(_field(_ball), box=1.2, grid=21, level=3.0)
    with pytest.raises(EmptyMeshError, match="no surface at level -9"):
        extract_mesh(_field(_ball), box=1.2, grid=21, level=-9.0)
    with pytest.raises(EmptyMeshError, match="the density is 5 everywhere"):
        extract_mesh(_field(lambda x, y, z: 5 + 0 * x), box=1.2, grid=8)


def test_broken_fields_and_arguments_are_refused():
    with pytest.raises(MeshError, match="NaN or infinite at"):
        extract_mesh(_field(lambda x, y, z: x / 0), box=1.0, grid=8)
    with pytest.raises(ValueError, match="budget of 0"):
        extract_mesh(_field(_ball), box=1.0, grid=8, faces=0)
    with pytest.raises(ValueError, match="grid >= 2"):
        extract_mesh(_field(_ball), box=1.0, grid=1)


@pytest.mark.parametrize("box", [0.5, 1.2])
def test_auto_level_of_an_opaque_object_lets_half_the_light_through_a_32nd_of_the_box(box):
    axis = torch.linspace(-box, box, 32)
    distance = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    sigma = 300 * torch.exp(-(((distance / box) / 0.3) ** 2))
    level = auto_level(sigma.numpy(), box)
    assert 1 - math.exp(-level * 2 * box / 32) == pytest.approx(0.5)


@pytest.mark.parametrize("peak", [1e-3, 1.0, 20.0])
def test_auto_level_of_a_weak_blob_does_not_depend_on_its_strength(peak):
    found = extract_mesh(
        _field(lambda x, y, z: peak * torch.exp(-(x**2 + y**2 + z**2) / (2 * 0.15**2))), box=0.5, grid=40
    )
    assert 0.1 < found.level / peak < 0.7
    assert mesh_report(found.mesh).watertight
    assert 0.1 < mesh_report(found.mesh).bounds[1][0] < 0.35


@pytest.mark.parametrize("fog", [30.0, 3000.0])
def test_auto_level_finds_the_object_in_fog(fog):
    found = extract_mesh(_field(lambda x, y, z: fog * (1 + 4 * (_ball(x, y, z) > 0))), box=1.2, grid=40)
    assert mesh_report(found.mesh).volume == pytest.approx(4.19, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_auto_level_is_neither_empty_nor_the_box_for_noise(seed):
    sigma = np.random.default_rng(seed).lognormal(2, 2, (24, 24, 24)).astype(np.float32)
    inside = (sigma > auto_level(sigma, 0.5)).mean()
    assert 1e-4 <= inside <= 0.5
    assert mesh_report(surface_of_grid(sigma, box=0.5, level=auto_level(sigma, 0.5))).watertight


def test_report_agrees_with_trimesh():
    mesh = _surface(_torus)
    other, report = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), mesh_report(mesh)
    assert report.area == pytest.approx(other.area)
    assert report.volume == pytest.approx(other.volume)
    assert (report.euler, report.watertight) == (other.euler_number, other.is_watertight)
    torn = Mesh(mesh.vertices, mesh.faces[1:])
    assert not mesh_report(torn).watertight


def test_vertex_normals_of_a_flat_sheet_are_its_normal():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 0, -1], [5, 5, 5]], np.float32)
    normals = vertex_normals(Mesh(corners, np.array([[0, 1, 2]], np.int32)))
    assert np.allclose(normals, [[0, 1, 0]] * 4)


def test_noisy_surfaces_come_down_to_their_budget_or_the_reason_is_true(monkeypatch):
    """One aggressiveness of the collapse ends at 208 faces of this ball, and is not torn there."""
    ball = trimesh.creation.icosphere(subdivisions=5)
    noise = 1 + 0.05 * np.random.default_rng(0).standard_normal((len(ball.vertices), 1))
    whole = Mesh((ball.vertices * noise).astype(np.float32), ball.faces.astype(np.int32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for budget in (1000, 50):
            small = simplify(whole, budget)
            assert len(small.faces) <= budget + 1
            assert mesh_report(small).watertight
    honest = fast_simplification.simplify

    def ending_early(vertices, faces, target_count, agg):
        return honest(vertices, faces, target_count=max(target_count, 2000 - 100 * int(agg)), agg=agg)

    monkeypatch.setattr(fast_simplification, "simplify", ending_early)
    with pytest.warns(UserWarning, match=r"kept 8\d\d faces: edge collapse comes no lower"):
        small = simplify(whole, 500)
    assert mesh_report(small).watertight

"""Errors of extracted surfaces against closed forms, and the order at which they fall with the grid's step.

Fields are signed distances, positive inside, so that their absolute value at a point of the mesh is its exact distance
from the true surface. Linear interpolation along the grid's edges is of second order where the surface is smooth; sharp
edges are cut off by about a step, which costs first order in distance and area, second in volume.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from trimesh.triangles import closest_point

from gp3d_core.meshing.cleaning import mesh_report
from gp3d_core.meshing.extraction import extract_mesh
from gp3d_core.meshing.mesh import Mesh

GRIDS = (25, 49, 97)  # samples per axis: each has half the step of the one before
MAJOR, MINOR, RADIUS = 0.6, 0.25, 0.8
TWO = (((-0.45, 0.05, 0.02), (0.31, 0.42, 0.27)), ((0.47, -0.11, 0.03), (0.23, 0.37, 0.41)))
PLATE = (((0.01, 0.013, 0.02), (0.613, 0.047, 0.571)),)  # thinner than two steps of the coarsest grid


@dataclass(frozen=True)
class Solid:
    """A body in closed form: signed distance of points [...,3], points [N,3] on its surface, area, volume."""

    distance: Callable[[torch.Tensor], torch.Tensor]
    points: np.ndarray
    area: float
    volume: float
    parts: int = 1
    smooth: bool = True


@dataclass(frozen=True)
class Errors:
    """What a mesh of a Solid gets wrong: area and volume relative, distances in world units."""

    area: float
    volume: float
    hausdorff: float


def _sphere() -> Solid:
    directions = np.random.default_rng(0).normal(size=(2000, 3))
    points = RADIUS * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    area = 4 * math.pi * RADIUS**2
    return Solid(lambda p: RADIUS - p.norm(dim=-1), points, area, area * RADIUS / 3)


def _torus() -> Solid:
    around, across = np.random.default_rng(0).uniform(0, 2 * math.pi, (2, 2000))
    ring = MAJOR + MINOR * np.cos(across)
    points = np.stack([ring * np.cos(around), MINOR * np.sin(across), ring * np.sin(around)], axis=1)

    def distance(p: torch.Tensor) -> torch.Tensor:
        return MINOR - torch.hypot(torch.hypot(p[..., 0], p[..., 2]) - MAJOR, p[..., 1])

    area = 4 * math.pi**2 * MAJOR * MINOR
    return Solid(distance, points, area, area * MINOR / 2)


def _boxes(boxes) -> Solid:
    """Disjoint boxes (centre, half sizes); their points include edges and corners, where errors are largest."""

    def one(p: torch.Tensor, centre, half) -> torch.Tensor:
        beyond = (p - torch.tensor(centre)).abs() - torch.tensor(half)
        return -(beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0))

    line = np.linspace(-1, 1, 17)
    lattice = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    shell = lattice[np.abs(lattice).max(axis=1) == 1]
    return Solid(
        lambda p: torch.stack([one(p, *box) for box in boxes]).amax(0),
        np.concatenate([np.array(centre) + np.array(half) * shell for centre, half in boxes]),
        sum(8 * (a * b + b * c + c * a) for _, (a, b, c) in boxes),
        sum(8 * a * b * c for _, (a, b, c) in boxes),
        parts=len(boxes),
        smooth=False,
    )


SOLIDS = {"sphere": _sphere(), "torus": _torus(), "two boxes": _boxes(TWO), "thin plate": _boxes(PLATE)}


@cache
def _mesh(name: str, grid: int) -> Mesh:
    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros_like(points), SOLIDS[name].distance(points).unsqueeze(-1)

    return extract_mesh(field, box=1.0, grid=grid, level=0.0, components=None).mesh


def _surface_points(mesh: Mesh) -> np.ndarray:
    """Corners of all faces and three random points within each, [N,3]."""
    weights = np.random.default_rng(0).dirichlet((1, 1, 1), (len(mesh.faces), 3))
    weights = np.concatenate([weights, np.broadcast_to(np.eye(3), weights.shape)], axis=1)
    return np.einsum("fsk,fkd->fsd", weights, mesh.vertices[mesh.faces]).reshape(-1, 3)


def _distance_to(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Distances [N] of points from the mesh: the smallest over the 16 faces with the nearest centres."""
    triangles = mesh.vertices[mesh.faces].astype(np.float64)
    _, near = cKDTree(triangles.mean(axis=1)).query(points, k=16)
    repeated = np.repeat(points, 16, axis=0)
    closest = closest_point(triangles[near.reshape(-1)], repeated)
    return np.linalg.norm(closest - repeated, axis=1).reshape(-1, 16).min(axis=1)


@cache
def _errors(name: str, grid: int) -> Errors:
    solid, mesh = SOLIDS[name], _mesh(name, grid)
    report = mesh_report(mesh)
    there = solid.distance(torch.from_numpy(_surface_points(mesh))).abs().max().item()
    back = _distance_to(mesh, solid.points).max()
    return Errors(abs(report.area / solid.area - 1), abs(report.volume / solid.volume - 1), max(there, back))


def _order(name: str, quantity: str) -> float:
    """The power of the step with which the error falls: slope of a line through the logarithms."""
    steps = [math.log(2 / (grid - 1)) for grid in GRIDS]
    errors = [math.log(getattr(_errors(name, grid), quantity)) for grid in GRIDS]
    return float(np.polyfit(steps, errors, 1)[0])


@pytest.mark.parametrize("name", SOLIDS)
def test_points_said_to_lie_on_a_solid_do(name):
    solid = SOLIDS[name]
    assert solid.distance(torch.from_numpy(solid.points)).abs().max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", SOLIDS)
def test_surfaces_are_closed_and_no_part_is_missing_or_added(name, grid):
    report = mesh_report(_mesh(name, grid))
    assert (report.watertight, report.components) == (True, SOLIDS[name].parts)


@pytest.mark.slow
@pytest.mark.parametrize("quantity", ["area", "volume", "hausdorff"])
@pytest.mark.parametrize("name", ["sphere", "torus"])
def test_errors_of_smooth_surfaces_fall_with_the_square_of_the_step(name, quantity):
    assert _order(name, quantity) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("quantity", ["area", "hausdorff"])
@pytest.mark.parametrize("name", ["two boxes", "thin plate"])
def test_errors_at_sharp_edges_fall_with_the_step(name, quantity):
    assert _order(name, quantity) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("name", ["two boxes", "thin plate"])
def test_the_volume_lost_at_sharp_edges_falls_with_the_square_of_the_step(name):
    assert _order(name, "volume") == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", SOLIDS)
def test_no_point_is_farther_off_than_a_step(name, grid):
    step = 2 / (grid - 1)
    sagitta = 3 * step**2 / (8 * MINOR)  # of a cell's diagonal where the curvature is largest
    bound = 2 * sagitta if SOLIDS[name].smooth else step  # corners of faces are off by as much, at the most
    assert _errors(name, grid).hausdorff < bound


def test_a_displaced_mesh_is_caught_from_both_sides():
    mesh = _mesh("sphere", 25)
    moved = Mesh(mesh.vertices + np.float32([0.05, 0, 0]), mesh.faces)
    solid = SOLIDS["sphere"]
    there = solid.distance(torch.from_numpy(_surface_points(moved))).abs().max().item()
    assert there == pytest.approx(0.05, abs=0.005)
    assert _distance_to(moved, solid.points).max() == pytest.approx(0.05, abs=0.005)

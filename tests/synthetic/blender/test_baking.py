"""Node materials come out of a bake as they are: in closed form, and as Cycles' own passes show them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import open3d
import pytest

from synthetic.staging.sampling import base_color
from synthetic.staging.surface import Surface, area_vectors
from tests.synthetic.small_library import environment

pytestmark = [pytest.mark.blender, pytest.mark.slow]

HALF, SQUARES, FACES = 0.45, 4.0, 3000  # those of node_scenes
ONE, OTHER = np.array([0.8, 0.1, 0.05]), np.array([0.02, 0.3, 0.6])  # its colours of squares
BYTE = 0.006  # linear light of half a byte, with some room
SPREAD = 0.02  # the same, with interpolation between the texels of a pattern


@pytest.fixture(scope="module")
def baked(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Surface, tuple[np.ndarray, np.ndarray]]]:
    folder = tmp_path_factory.mktemp("baked")
    subprocess.run(
        [sys.executable, "-m", "tests.synthetic.blender.node_scenes", folder],
        env=environment(folder / "scratch"),
        check=True,
        capture_output=True,
        timeout=300,
    )
    found: dict[str, tuple[Surface, tuple[np.ndarray, np.ndarray]]] = pickle.loads(
        (folder / "baked").read_bytes()
    )
    return found


def points(surface: Surface, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random points on a surface, even over its area: triangles, weights of corners 1 and 2, and places."""
    random = np.random.default_rng(5)
    area = np.linalg.norm(area_vectors(surface.positions, surface.triangles), axis=1)
    triangle = random.choice(len(surface), count, p=area / area.sum())
    weights = random.random((count, 2))
    weights = np.where(weights.sum(axis=1, keepdims=True) > 1, 1 - weights, weights)
    corners = surface.positions[surface.triangles[triangle]]
    whole = np.column_stack([1 - weights.sum(axis=1), weights])
    return triangle, weights, np.einsum("nk,nkc->nc", whole, corners)


def blender_axes(world: np.ndarray) -> np.ndarray:
    """Places in Blender's world of those in ours, where Blender's -y is our front."""
    return world @ np.array([(1.0, 0, 0), (0, 0, 1), (0, -1, 0)])


def turned(angles: tuple[float, float, float]) -> np.ndarray:
    """Blender's rotation by Euler angles XYZ."""
    (a, b, c), (x, y, z) = np.cos(angles), np.sin(angles)
    about_x = np.array([(1, 0, 0), (0, a, -x), (0, x, a)])
    about_y = np.array([(b, 0, y), (0, 1, 0), (-y, 0, b)])
    about_z = np.array([(c, -z, 0), (z, c, 0), (0, 0, 1)])
    return np.asarray(about_z @ about_y @ about_x)


def in_squares(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blender's checker at a cube's own coordinates: whether it has its first colour, and how far it is to an edge."""
    scaled = own * SQUARES
    even = np.abs(np.floor(scaled)).astype(int) % 2
    return (even[:, 0] == even[:, 1]) == (even[:, 2] == 1), np.abs(scaled - np.round(scaled)).min(
        axis=1
    ) / SQUARES


def test_squares_by_a_cubes_own_coordinates_are_where_they_belong(
    baked: dict[str, tuple[Surface, object]],
) -> None:
    """The front of this one is Blender's +x, so that our x is Blender's y."""
    surface = baked["checkered"][0]
    triangle, weights, world = points(surface, 4000)
    blender = np.column_stack([world[:, 2], world[:, 0], world[:, 1]])
    own = (blender - (3, -2, 1)) @ turned((0.3, 0.2, 0.9)) / (1, 1.5, 0.5)
    assert np.abs(np.abs(own).max(axis=1) - HALF).max() < 1e-6
    first, edge = in_squares(own)
    sure = edge > 0.012  # about three texels
    assert sure.mean() > 0.6
    found = base_color(surface, triangle, weights)[:, :3]
    assert np.abs(found - np.where(first[:, None], ONE, OTHER))[sure].max() < BYTE


def test_textures_of_an_objects_own_coordinates_stay_on_them(
    baked: dict[str, tuple[Surface, object]],
) -> None:
    surface = baked["pictured"][0]
    triangle, weights, world = points(surface, 4000)
    places = blender_axes(world)
    assert np.abs(places[:, 2]).max() < 1e-6
    first, edge = in_squares(places + np.array((0.5, 0.5, 0.1)))
    sure = edge > 0.006
    assert sure.mean() > 0.8
    found = base_color(surface, triangle, weights)[:, :3]
    assert np.abs(found - np.where(first[:, None], ONE, OTHER))[sure].max() < BYTE


def test_noise_mixed_in_groups_is_what_cycles_diffuse_pass_shows(
    baked: dict[str, tuple[Surface, object]],
) -> None:
    surface, drawn = baked["mixed"]
    places, colors = drawn  # type: ignore[misc]
    scene = open3d.t.geometry.RaycastingScene()
    corners = blender_axes(surface.positions).astype(np.float32)
    scene.add_triangles(open3d.core.Tensor(corners), open3d.core.Tensor(surface.triangles.astype(np.uint32)))
    closest = scene.compute_closest_points(open3d.core.Tensor(places.astype(np.float32)))
    assert np.abs(closest["points"].numpy() - places).max() < 1e-4
    triangle, weights = closest["primitive_ids"].numpy().astype(int), closest["primitive_uvs"].numpy()
    found = base_color(surface, triangle, weights.astype(float))[:, :3]
    assert colors.std(axis=0).min() > 0.05
    error = np.abs(found - colors).max(axis=1)
    assert np.median(error) < BYTE
    assert np.quantile(error, 0.99) < SPREAD


def test_metal_glass_glow_and_holes_are_told_apart(baked: dict[str, tuple[Surface, object]]) -> None:
    surface = baked["looks"][0]
    triangle, weights, world = points(surface, 6000)
    which = np.round(blender_axes(world)[:, 0] / 2).astype(int)
    found = base_color(surface, triangle, weights)
    wanted = [(0.6, 0.3, 0.1), (0.1, 0.9, 0.1), (0.9, 0.8, 0.1), (0.8, 0.8, 0.8), (0.1, 0.5, 0.2)]
    kinds = [surface.materials[surface.material[triangle[which == number][0]]] for number in range(5)]
    for number, color in enumerate(wanted[:4]):
        assert np.abs(found[which == number, :3] - color).max() < BYTE, number
    assert [round(kind.metallic, 2) for kind in kinds] == [1, 0, 0, 0, 0]
    assert [kind.transmission for kind in kinds] == [0, 1, 0, 0, 0]
    assert [round(kind.roughness, 2) for kind in kinds] == [0.3, 0, 0.5, 0.5, 1]
    holed = which == 4
    kept, edge = in_squares(blender_axes(world)[holed] - (8, 0, 0))
    sure = edge > 0.02
    assert (found[holed, 3][sure] > 0.5).tolist() == kept[sure].tolist()
    deep = sure & kept
    assert np.abs(found[holed, :3] - wanted[4])[deep].max() < BYTE
    assert (found[~holed, 3] == 1).all()


def test_instances_modifiers_and_mirrored_children_are_there_and_nothing_else(
    baked: dict[str, tuple[Surface, object]],
) -> None:
    surface = baked["family"][0]
    assert len(surface) == 5 * 12
    boxes = [surface.subset(surface.part == number) for number in range(surface.part.max() + 1)]
    centres = sorted(
        tuple(np.round(blender_axes(corners.mean(axis=0)), 3).tolist())
        for box in boxes
        for corners in split(box.positions[box.triangles].reshape(-1, 3))
    )
    assert centres == [(0, 0, 0), (0, 3, 0), (0, 5, 0), (2, 0, 0), (4, 0, 0)]
    for box in boxes:  # outside is outside
        a, b, c = np.moveaxis(box.positions[box.triangles], 1, 0)
        assert np.einsum("nk,nk->n", a, np.cross(b, c)).sum() / 6 == pytest.approx(len(box) / 12)
        assert box.normals is not None
        own = area_vectors(box.positions, box.triangles)
        assert np.einsum("nk,nck->nc", own, box.normals).min() > 0.5


def split(corners: np.ndarray) -> list[np.ndarray]:
    """The corners of boxes of a unit's size, apart."""
    place = np.round((corners - corners.min(axis=0) - 0.5) / 2 + 0.25 * 0, 0)
    return [corners[(place == one).all(axis=1)] for one in np.unique(place, axis=0)]


def test_a_fine_mesh_is_reduced_and_keeps_its_shape_and_materials(
    baked: dict[str, tuple[Surface, object]],
) -> None:
    surface = baked["fine"][0]
    assert 0.9 * FACES < len(surface) <= FACES
    assert np.abs(np.linalg.norm(surface.positions, axis=1) - 1).max() < 0.01
    metal = np.array([material.metallic for material in surface.materials])[surface.material]
    height = surface.positions[surface.triangles].mean(axis=1)[:, 1]
    sure = np.abs(height) > 0.1
    assert np.allclose(metal[sure], height[sure] > 0, atol=0.01)


def test_pieces_that_cannot_be_reduced_leave_others_their_shape(
    baked: dict[str, tuple[Surface, object]],
) -> None:
    surface = baked["crowded"][0]
    across = surface.positions[surface.triangles].mean(axis=1)[:, 0]
    ball, others = surface.triangles[across < 5], surface.triangles[across > 5]
    assert len(others) == 4 * 300
    wanted = 400 / (1280 + 4 * 300) * 1280
    assert 0.9 * wanted < len(ball) <= 1.05 * wanted
    assert np.abs(np.linalg.norm(surface.positions[ball], axis=-1) - 1).max() < 0.1

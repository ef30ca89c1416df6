"""Which pieces of a surface belong to the object: closed forms, and objects of the pretrained model."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gp3d_core.generation.pipeline import ObjectPipeline
from gp3d_core.meshing import components
from gp3d_core.meshing.cleaning import mesh_report
from gp3d_core.meshing.components import find_components, keep_components, label_linked, stopped_light
from gp3d_core.meshing.extraction import Extraction, extract_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import render_mesh
from gp3d_core.rendering.cameras import Cameras, sample_cameras
from gp3d_core.rng import generator_for

DIAGONAL = 0.8 * math.sqrt(3)  # of the main ball, which has the radius 0.4
SMALL = 0.035  # radius: 0.77 % of the main ball's surface, which may be 0.18 units away

Part = tuple[
    Callable[[torch.Tensor], torch.Tensor], float
]  # distance to its surface, positive inside; its density


def ball(x=0.0, y=0.0, z=0.0, radius=0.4, sigma=60.0) -> Part:
    """A ball of density `sigma`, in 1 per unit."""
    return lambda points: radius - (points - torch.tensor([x, y, z])).norm(dim=-1), sigma


def rod(x: float, radius: float = 0.02, length: float = 0.8, sigma: float = 200.0) -> Part:
    """A rod along y."""

    def depth(points):
        across = radius - torch.hypot(points[..., 0] - x, points[..., 2])
        return torch.minimum(across, length / 2 - points[..., 1].abs())

    return depth, sigma


def shell(radius=0.5, thickness=0.1) -> Part:
    """A hollow ball."""
    return lambda points: thickness / 2 - (points.norm(dim=-1) - radius).abs(), 60.0


def extracted(*parts: Part, components="auto", light=True, grid=128) -> Extraction:
    """The surface of the parts together."""

    def field(points):
        return torch.zeros_like(points), torch.stack([depth(points) for depth, _ in parts]).amax(0)[..., None]

    def opacity(points):
        at = torch.from_numpy(points)
        sigma = torch.stack([sigma * (depth(at) > 0) for depth, sigma in parts]).amax(0)
        return stopped_light(sigma.numpy(), points)

    return extract_mesh(
        field, box=1.2, grid=grid, level=0.0, components=components, opacity=opacity if light else None
    )


def kept(*parts, **options) -> int:
    return mesh_report(extracted(*parts, **options).mesh).components


def test_light_stopped_along_a_path_is_that_of_the_law_of_beer_and_lambert():
    points = np.linspace(0, 1, 8)[None, :, None] * np.array([[[0.0, 0.6, 0.8]], [[3.0, 0.0, 4.0]]])
    sigma = np.full((2, 8), 0.5)
    assert np.allclose(stopped_light(sigma, points), [1 - math.exp(-0.5), 1 - math.exp(-2.5)])


def test_two_balls_stay_near_and_far():
    for gap in (0.05, 0.5):
        assert kept(ball(-0.5), ball(-0.1 + gap + 0.15, radius=0.15)) == 2


def test_a_small_ball_stays_near_and_goes_where_it_is_far():
    reach = ((SMALL / 0.4) ** 2 / 0.005 - 1) / 4 * DIAGONAL
    assert kept(ball(-0.5), ball(-0.1 + 0.6 * reach + SMALL, radius=SMALL)) == 2
    assert kept(ball(-0.5), ball(-0.1 + 1.6 * reach + SMALL, radius=SMALL)) == 1
    assert kept(ball(-0.5), ball(-0.1 + 0.6 * reach + SMALL, radius=0.6 * SMALL)) == 1  # 0.28 %


def test_gaps_count_to_the_nearest_piece_that_stays():
    places = [-0.1 + 0.12 + SMALL + k * (0.12 + 2 * SMALL) for k in range(3)]
    chain = [ball(x, radius=SMALL) for x in places]
    assert kept(ball(-0.5), *chain) == 4
    assert kept(ball(-0.5), *chain[1:]) == 1


def test_a_thin_detached_rod_stays():
    made = extracted(ball(-0.3), rod(0.25), grid=192)
    volumes = np.sort(find_components(made.mesh).volumes)
    assert len(volumes) == 2
    assert volumes[0] < 0.01 * volumes[1], "by volume alone it would be a speck"


def test_a_dense_small_speck_far_away_goes():
    assert kept(ball(-0.5), ball(1.0, 0.8, 0.8, radius=0.04, sigma=5000.0)) == 1


def test_a_cloud_that_lets_most_light_through_goes_even_if_it_is_the_largest():
    cloud = ball(0.6, radius=0.5, sigma=0.3)  # stops 1 - exp(-0.3) = 26 % over its diameter
    alone = extracted(ball(-0.6, radius=0.3)).mesh
    made = extracted(ball(-0.6, radius=0.3), cloud)
    assert np.allclose(mesh_report(made.mesh).bounds, mesh_report(alone).bounds, atol=1e-6)
    assert made.dropped == 1
    assert made.dropped_area == pytest.approx(0.5**2 / (0.5**2 + 0.3**2), abs=0.002)
    assert kept(ball(-0.6, radius=0.3), cloud, light=False) == 2, "nothing is known of its light"
    assert kept(ball(-0.6, radius=0.3), ball(0.6, radius=0.5, sigma=0.6)) == 2  # 45 %


def test_fog_is_the_object_where_there_is_nothing_else_of_its_size():
    fog = ball(-0.5, radius=0.4, sigma=0.3), ball(0.4, radius=0.3, sigma=0.3)  # 21 % and 16 %
    assert kept(*fog) == 2
    assert kept(*fog, ball(0.0, 1.0, radius=0.04, sigma=900.0)) == 2, "the dense speck goes, not the fog"


def test_what_lies_in_a_cavity_goes():
    hollow = extracted(shell(), ball(radius=0.2))
    assert mesh_report(hollow.mesh).components == 1
    assert hollow.dropped == 1
    beside = extracted(shell(radius=0.4), ball(0.8, radius=0.2))
    assert mesh_report(beside.mesh).components == 2
    assert kept(shell(), ball(radius=0.2), components=None) == 2


def test_numbers_mean_the_largest_volumes_whatever_their_light():
    parts = ball(-0.5), ball(0.4, radius=0.3, sigma=0.6), ball(0.9, 0.9, radius=0.1)
    assert [kept(*parts, components=count) for count in (None, 1, 2, 3, 9)] == [3, 1, 2, 3, 3]
    made = extracted(*parts, components=2)
    assert (made.dropped, made.dropped_area) == (1, pytest.approx(0.01 / 0.26, rel=0.02))


def test_a_surface_of_one_piece_is_left_alone():
    mesh = extracted(ball()).mesh
    assert keep_components(mesh, "auto").mesh is mesh


OBJECTS = {  # pieces that stay and that go at a grid of 64
    ("table lamp", 0): 2,  # foot and shade
    ("table lamp", 6): 2,
    ("hot-air balloon", 1): 2,  # balloon and basket
    ("bucket", 1): 2,  # and its handle
    ("orange", 3): 2,  # and its leaf, of 0.9 % of the volume
    ("pineapple", 2): 2,  # and a leaf, but not a speck
    ("pot", 0): 1,
    ("mailbox", 7): 1,
    ("throne", 0): 1,
}


@pytest.mark.slow
def test_pretrained_objects_stay_whole_and_lose_their_specks():
    pipeline = ObjectPipeline.from_pretrained("box-1", device="cpu")
    cameras = sample_cameras(pipeline.snapshot.config.camera, 8, generator_for("watchers"))
    views = [cameras[index] for index in range(len(cameras))]
    for (name, seed), pieces in OBJECTS.items():
        obj = pipeline.generate(name, seed=seed)
        auto, everything = (
            obj.mesh(grid=64, faces=None, color="none", components=keep) for keep in ("auto", None)
        )
        assert auto.recipe["components"] == pieces, (name, seed)
        assert auto.recipe["dropped"] == everything.recipe["components"] - pieces, (name, seed)
        assert auto.recipe["iou"] > everything.recipe["iou"] - 0.003, (name, seed)
        shown = [
            np.stack([render_mesh(made.mesh, view, 96).mask for view in views]) for made in (auto, everything)
        ]
        assert shown[0].sum() > 0.993 * shown[1].sum(), (name, seed)
        for number in np.unique(find_components(auto.mesh).label):
            assert _seen_share(auto.mesh, number, views) > 0.003, (name, seed)


def _seen_share(mesh: Mesh, number: int, views: list[Cameras]) -> float:
    """The pixels in which one component alone is seen, as a share of those of the mesh."""
    alone = Mesh(mesh.vertices, mesh.faces[find_components(mesh).label == number])
    pixels = [(render_mesh(part, view, 96).mask.sum()) for part in (alone, mesh) for view in views]
    return sum(pixels[: len(views)]) / sum(pixels[len(views) :])


def test_a_closed_surface_covers_the_whole_sphere_around_what_is_inside_and_none_outside():
    box = trimesh.creation.box((1.0, 0.6, 0.3))
    vertices, faces = np.array(box.vertices, np.float32), np.array(box.faces, np.int32)
    for point, covered in (((0.3, -0.2, 0.1), 4 * np.pi), ((0.7, 0.1, 0.0), 0.0)):
        angles = components._solid_angles(vertices - np.array(point, np.float32), faces)
        assert angles.sum() == pytest.approx(covered, abs=1e-5)


@pytest.mark.parametrize("count", [1, 2, 7, 60, 3000])
@pytest.mark.parametrize("links", [0, 0.4, 0.9, 3.0])
def test_linked_nodes_are_labelled_as_by_scipy(count, links):
    for seed in range(20):
        one, other = np.random.default_rng(seed).integers(count, size=(2, int(links * count)))
        graph = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(count, count))
        assert np.array_equal(label_linked(count, one, other), connected_components(graph, directed=False)[1])


def test_a_long_line_in_any_order_is_one_component():
    place = np.random.default_rng(0).permutation(50_000)
    assert not label_linked(50_000, place[:-1], place[1:]).any()
    assert label_linked(0, place[:0], place[:0]).tolist() == []

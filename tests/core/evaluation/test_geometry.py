"""Depth maps as surfaces: alignment against least squares, balls and cards in closed form, truth against itself."""

import math

import numpy as np
import pytest
import torch

from gp3d_core.config.presets import CAMERAS, PRESETS
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.evaluation.geometry import look, look_once, measure_geometry, nearest_view
from gp3d_core.evaluation.true_views import read_views
from gp3d_core.metrics.depthviews import (
    FLAT,
    DepthView,
    agreement,
    align,
    aligned,
    difference,
    fullness,
    relief,
    silhouette_iou,
    view_of_distance,
)
from gp3d_core.rendering.cameras import Cameras, mean_camera, sample_rays, turn_camera
from gp3d_core.snapshots.snapshot import load_snapshot
from tests.core.cli.test_cli import snapshot  # noqa: F401  (a fixture)
from tests.support.tiny_dataset import CLASSES
from tests.support.truth_dataset import ellipsoid_distance, write_truth

SIZE = 48


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return read_views(write_truth(tmp_path_factory.mktemp("truth")))


def front(radius: float = 2.0, fov: float = 40.0) -> Cameras:
    camera = mean_camera(CAMERAS["shapenet"])
    flat = camera.flat()
    flat[0, :2], flat[0, 3], flat[0, 4] = torch.tensor([0.0, math.pi / 2]), fov, radius
    flat[0, 5:] = torch.tensor([0.0, math.pi / 2, 0.0])
    return Cameras.from_flat(flat)


def ball_view(camera: Cameras, axes=(0.4, 0.4, 0.4), size: int = SIZE) -> DepthView:
    rays_o, rays_d = (x[0].numpy() for x in sample_rays(camera, size))
    distance = ellipsoid_distance(rays_o, rays_d, np.array(axes)).reshape(size, size)
    return view_of_distance(torch.from_numpy(distance).float(), camera)


def card_view(camera: Cameras, normal, size: int = SIZE) -> DepthView:
    """A card through the origin, as large as the ball."""
    rays_o, rays_d = (x[0] for x in sample_rays(camera, size))
    normal = torch.tensor(normal) / torch.tensor(normal).norm()
    distance = (-(rays_o @ normal) / (rays_d @ normal)).reshape(size, size)
    ball = ball_view(camera, size=size).mask
    return view_of_distance(torch.where(ball, distance, torch.inf), camera)


def test_alignment_is_least_squares():
    draws = torch.Generator().manual_seed(0)
    x, y = torch.rand(200, generator=draws), torch.rand(200, generator=draws)
    y = y + x
    wanted, *_ = np.linalg.lstsq(np.stack([x.double(), np.ones(200)], 1), y.double().numpy(), rcond=None)
    assert align(x, y) == pytest.approx(tuple(wanted), rel=1e-9)
    assert align(x, 3 * x - 2) == pytest.approx((3.0, -2.0), rel=1e-5)
    assert align(x, -x) == pytest.approx((0.0, -float(x.double().mean())))
    assert align(torch.ones(5), y[:5]) == pytest.approx((0.0, float(y[:5].double().mean())))


@pytest.mark.slow
def test_points_and_normals_of_a_ball_are_those_of_a_ball():
    view = ball_view(front())
    points = view.points()[view.mask]
    centre = torch.tensor([0.0, 0.0, -2.0])
    torch.testing.assert_close(
        (points - centre).norm(dim=1), torch.full((len(points),), 0.4), rtol=0, atol=2e-5
    )
    normals, known = view.normals()
    assert (known <= view.mask).all()
    wanted = (view.points()[known] - centre) / 0.4
    cosine = (normals[known] * wanted).sum(dim=1)
    steep = wanted[:, 2] < 0.5  # there, pixels are coarse
    assert cosine[~steep].min() > 0.99
    assert (cosine > 0.8).all()


def test_a_view_scaled_and_shifted_in_depth_differs_by_nothing():
    view = ball_view(front())
    found = difference(DepthView(view.z * 0.3 + 0.5, view.camera), view)
    assert found.iou == 1.0
    assert found.depth < 1e-6
    assert found.normals < 0.1
    torch.testing.assert_close(aligned(view, view).z, view.z, rtol=0, atol=1e-5)


def test_a_card_differs_from_a_ball_by_the_balls_own_spread():
    camera = front()
    ball, card = ball_view(camera), card_view(camera, [0.0, 0.0, 1.0])
    found = difference(card, ball)
    z = ball.z[ball.mask]
    assert found.depth == pytest.approx(float((z - z.mean()).abs().mean()), rel=1e-3)
    assert (
        30 < found.normals < 50
    )  # of a ball seen from afar the mean angle to the axis is 45°, less at the cut rim
    mirrored = difference(DepthView(4 - ball.z, camera), ball)
    assert mirrored.depth == pytest.approx(found.depth, rel=1e-3)


def test_views_that_do_not_meet_have_no_depth_error():
    view = ball_view(front())
    empty = DepthView(torch.full_like(view.z, torch.inf), view.camera)
    found = difference(empty, view)
    assert (found.iou, found.depth, found.normals) == (0.0, None, None)
    assert float(silhouette_iou(empty.mask, empty.mask)) == 1.0


def test_relief_of_a_ball_is_known_and_of_a_card_is_nothing():
    far = front(radius=40.0, fov=1.2)  # from afar: a disc of radius r has variance r²/4, the bulge r²/18
    assert relief(ball_view(far, size=96)) == pytest.approx(math.sqrt(4 / 18), rel=0.02)
    for normal in ([0.0, 0.0, 1.0], [1.0, 0.5, 1.0]):
        assert relief(card_view(front(), normal)) < 1e-3 < FLAT
    assert relief(DepthView(torch.full((8, 8), torch.inf), front())) == 0.0


def ball_field(points):
    """A ball of radius 0.4 with a sharp border."""
    return points, 4000 * (0.4 - points.norm(dim=-1, keepdim=True))


def card_field(points):
    """A card of thickness 0.01 and radius 0.4."""
    away = torch.maximum(points[..., 2].abs() / 0.005 - 1, points[..., :2].norm(dim=-1) / 0.4 - 1)
    return points, -40 * away[..., None]


@pytest.mark.parametrize(("field", "full"), [(ball_field, 1.0), (card_field, 0.0)])
def test_fields_are_full_or_thin(field, full):
    config = PRESETS["tiny"]
    render = type(config.render)(**{**vars(config.render), "coarse_steps": 96, "fine_steps": 96})
    config = type(config)(**{**vars(config), "render": render})
    seen = look(field, front(), config, 32)
    assert seen.view.mask.any()
    assert abs(fullness(seen.front, seen.back, thinnest=0.04) - full) < 0.02
    assert (relief(seen.view) < FLAT) == (field is card_field)
    if field is ball_field:
        middle = seen.back[16, 16] - seen.front[16, 16]
        assert float(middle) == pytest.approx(0.8, abs=0.02)
        torch.testing.assert_close(
            seen.view.z[12:20, 12:20], ball_view(front(), size=32).z[12:20, 12:20], rtol=0, atol=0.02
        )


def test_thinned_views_are_every_other_pixel_of_whole_ones(truth):
    thin = read_views(truth.dataset.path, truth.dataset.resolution // 2)
    assert (thin.stride, thin.size) == (2, truth.dataset.resolution // 2)
    whole, half = truth.view(3), thin.view(3)
    assert torch.equal(half.mask, whole.mask[1::2, 1::2])
    assert np.array_equal(thin.image(3), truth.image(3)[1::2, 1::2])
    config, field = PRESETS["tiny"], ball_field
    pixels, distances = look_once(field, front(), config, 32)
    few, fewer = look_once(field, front(), config, 16, stride=2)
    assert torch.isfinite(distances).any()
    assert np.array_equal(few, pixels[1::2, 1::2])
    torch.testing.assert_close(fewer, distances[1::2, 1::2])
    assert read_views(truth.dataset.path, 7).size >= 7  # what does not divide is taken as near above it


def test_two_views_of_one_ball_agree_and_a_floating_one_is_contradicted():
    camera = front()
    beside = turn_camera(camera, 0.5)
    ball, other = ball_view(camera), ball_view(beside)
    assert agreement(ball, other, tolerance=0.02) > 0.99
    floating = DepthView(ball.z - 0.3, camera)
    assert agreement(floating, other, tolerance=0.02) < 0.7
    assert agreement(floating, ball, tolerance=0.02) < 0.2  # in front of what the same camera sees
    assert agreement(DepthView(ball.z + 0.3, camera), ball, tolerance=0.02) == 1.0  # hidden behind it
    nothing = DepthView(torch.full_like(other.z, torch.inf), beside)
    assert agreement(ball, nothing, tolerance=0.02) == 0.0
    assert agreement(nothing, ball, tolerance=0.02) is None


def test_depth_of_the_data_set_is_read_in_world_units(truth):
    view = truth.view(4)
    rays_o, rays_d = (x[0].numpy() for x in sample_rays(truth.cameras[4], len(view.z)))
    model = int(truth.models[4][-2:])
    from tests.support.truth_dataset import radii

    exact = ellipsoid_distance(rays_o, rays_d, radii(0, model)).reshape(view.z.shape)
    wanted = view_of_distance(torch.from_numpy(exact).float(), truth.cameras[4])
    assert torch.equal(view.mask, wanted.mask)
    torch.testing.assert_close(view.z, wanted.z, rtol=0, atol=3e-5)


def test_truth_against_itself_has_no_error(truth):
    for record in CLASSES:
        images = truth.of_class(record)
        assert len(images) == 15
        for index in images[:4]:
            view = truth.view(index)
            best, real = nearest_view(view, truth, truth.near_views(index, images, 15.0))
            assert best == index
            found = difference(view, real)
            assert found.iou == 1.0
            assert found.depth < 1e-6
            assert found.normals < 0.1


def test_near_views_are_near_and_never_none(truth):
    images = truth.of_class(CLASSES[0])
    for index in images:
        near = truth.near_views(index, images, 15.0)
        assert index in near
        angles = torch.rad2deg((truth.directions[near] @ truth.directions[index]).clamp(-1, 1).acos())
        assert (angles <= 15.01).all()
        others = [k for k in images if k != index]
        assert len(truth.near_views(index, others, 0.0)) == 1


@pytest.mark.slow
def test_a_snapshot_is_measured_class_by_class(truth, snapshot, tmp_path):  # noqa: F811
    model = load_snapshot(snapshot)
    scores = measure_geometry(model, truth.dataset.path, n=4, seed=0, out=tmp_path)
    by_name = {score.metric: score for score in scores}
    assert {"geometry/silhouette_iou", "geometry/flat", "geometry/empty"} <= set(by_name)
    for score in scores:
        assert score.n == 4
        assert set(score.facts["per_class"]) == {record["name"] for record in CLASSES}
    assert by_name["geometry/silhouette_iou"].facts["floor"] > 0.5
    assert (tmp_path / "geometry.png").stat().st_size > 1000
    assert scores == measure_geometry(model, truth.dataset.path, n=4, seed=0, out=tmp_path)


@pytest.mark.parametrize("name", ["cameras.json", "manifest.json"])
@pytest.mark.parametrize("content", [None, "{", '{"views": {}, "models": {"a": 1}}'])
def test_truth_without_cameras_is_refused_in_one_line(tmp_path, name, content):
    path = write_truth(tmp_path / "data", models=1, views=1)
    (path / name).unlink()
    if content is not None:
        (path / name).write_text(content)
    with pytest.raises(DatasetError, match=name.partition(".")[0]) as caught:
        read_views(path)
    assert "\n" not in str(caught.value)

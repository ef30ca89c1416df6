"""Novel views that VQ3D learns from: pictures moved by their depth, and true views, against scenes with exact truth."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Batch, Dataset
from gp3d_core.rendering.patches import extract_patches
from gp3d_core.rng import generator_for
from gp3d_core.vq3d.config import CameraConfig, CodebookConfig
from gp3d_core.vq3d.models.codebook import Codebook
from gp3d_core.vq3d.models.critic import Critics
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.rendering.depth import DepthSource, DepthSpace
from gp3d_core.vq3d.rendering.views import input_pose, orbit, to_image, to_radiance
from gp3d_core.vq3d.toyscenes import write_toys
from gp3d_core.vq3d.training.novel_views import warp
from gp3d_core.vq3d.training.objective import Phase, Pictures, sample_windows, tokenizer_phase
from gp3d_core.vq3d.training.tokenizer import as_pictures, open_other_views, with_other_view
from gp3d_core.vq3d.training.true_views import OtherViews, mirror_poses, true_pairs

SIZE = 48
CAMERA = CameraConfig()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views") / "toys"
    write_toys(folder, 12, SIZE, views=3, seed=0)
    return Dataset(folder)


@pytest.fixture(scope="module")
def source(data):
    return DepthSource(resolve("tiny32"), data.t_near, data.t_far)


def differing(one, other, known, limit=0.05):
    """Share of the `known` pixels with a value that differs by `limit` or more."""
    return float((((one - other).abs().amax(dim=1) >= limit) * known).sum() / known.sum())


def read(data, indices, mirrored):
    with ThreadPoolExecutor(2) as pool:
        return data.batch(np.array(indices), np.array(mirrored), pool)


def turned(yaw, pitch=0.0, pivot=1.0):
    return orbit(*(torch.tensor([x]) for x in (yaw, pitch, pivot)))


def error(one, other, known):
    """Root of the mean squared difference where `known`."""
    return float((((one - other).square().mean(dim=1) * known).sum() / known.sum()).sqrt())


def test_input_camera_sees_the_picture_as_it_is():
    images, target = torch.rand(2, 3, 16, 16), torch.rand(2, 16, 16)
    seen = warp(to_image(images), target, input_pose(2), CAMERA)
    assert torch.equal(seen.known, torch.ones(2, 16, 16))
    assert torch.allclose(seen.rgb, images, atol=1e-6)
    assert torch.allclose(seen.target, target, atol=1e-5)


def test_wall_shifts_by_its_parallax():
    size, depth, step = 33, 2.0, 0.25
    space, reach = DepthSpace.of(CAMERA), math.tan(math.radians(CAMERA.fov) / 2)
    target = torch.full((1, size, size), float(space.normalise(torch.tensor(1 / depth))))
    images = torch.zeros(1, 3, size, size)
    images[..., 16, 16] = 1.0
    pose = input_pose()
    pixels = 3
    pose[:, 0, 3] += (
        pixels * 2 * reach * depth / (size - 1)
    )  # to the right by what three pixels are on the wall
    pose[:, 1, 3] += pixels * 2 * reach * depth / (size - 1)  # and up
    seen = warp(to_image(images), target, pose, CAMERA)
    assert seen.rgb[0, 0].nonzero().tolist() == [[16 + pixels, 16 - pixels]]
    assert seen.known[0, pixels:, : size - pixels].all()
    assert not seen.known[0, :pixels].any()
    assert not seen.known[0, :, size - pixels :].any()
    nearer = input_pose()
    nearer[:, 2, 3] -= step
    moved = warp(to_image(images), target, nearer, CAMERA)
    assert torch.allclose(moved.target[moved.known > 0], space.normalise(torch.tensor(1 / (depth - step))))


def test_nearest_of_two_pixels_stays():
    space = DepthSpace.of(CAMERA)
    target = torch.full((1, 32, 32), float(space.normalise(torch.tensor(0.5))))
    images = torch.zeros(1, 3, 32, 32)
    target[:, 8:24, 14:18], images[:, 0, 8:24, 14:18] = (
        float(space.normalise(torch.tensor(2.0))),
        1.0,
    )  # a post
    seen = warp(to_image(images), target, turned(15.0), CAMERA)
    post = seen.rgb[0, 0] > 0.5
    assert post[10:22].any(dim=1).all()
    assert (seen.target[0][post] > 0.7).all()
    assert (seen.target[0][~post] < 0.2).all()
    assert (seen.known[0] == 0).any()  # what the post hid


def test_moved_picture_agrees_with_the_true_view(data, source):
    pairs = true_pairs(data, unit=1.0, limit=40)
    assert len(pairs.source) > 40
    one, other = (read(data, which, [False] * len(which)) for which in (pairs.source, pairs.other))
    one, other = as_pictures(one, source), as_pictures(other, source)
    seen = warp(one.images, one.target, pairs.poses, CAMERA)
    assert seen.known.mean() > 0.7
    truth = to_radiance(other.images)
    moved, copied = (differing(x, truth, seen.known) for x in (seen.rgb, to_radiance(one.images)))
    assert moved < 0.6 * copied
    moved, copied = (
        differing(x.target[:, None], other.target[:, None], seen.known, 0.03) for x in (seen, one)
    )
    assert moved < 0.5 * copied


@pytest.mark.parametrize("mirrored", [False, True])
def test_other_view_is_of_the_same_scene_and_stands_where_its_pose_says(data, source, mirrored):
    others = OtherViews(data, true_pairs(data, unit=1.0, limit=40))
    batch = read(data, range(len(data)), [mirrored] * len(data))
    other, poses = others.beside(batch, torch.rand(len(batch.labels), generator=generator_for(0, "views")))
    assert [data.names[i].split("_")[0] for i in other.indices] == [name.split("_")[0] for name in data.names]
    assert (other.indices != batch.indices).mean() > 0.9
    one, truth = as_pictures(batch, source), to_radiance(as_pictures(other, source).images)
    seen = warp(one.images, one.target, poses, CAMERA)
    wrong = warp(one.images, one.target, mirror_poses(poses, torch.ones(len(data), dtype=torch.bool)), CAMERA)
    right = error(seen.rgb, truth, seen.known)
    assert right < 0.7 * error(wrong.rgb, truth, wrong.known)


def test_picture_without_another_view_is_its_own(data):
    pairs = true_pairs(data, unit=1.0, limit=0.01)
    assert not pairs.source
    batch = read(data, [3, 5], [False, True])
    other, poses = OtherViews(data, pairs).beside(
        batch, torch.rand(len(batch.labels), generator=generator_for(0, "views"))
    )
    assert torch.equal(other.images, batch.images)
    assert torch.equal(poses, input_pose(2))
    with pytest.raises(ValueError, match="read from a data set"):
        OtherViews(data, pairs).beside(Batch(batch.images, batch.depth, batch.labels, None), torch.rand(2))


def test_other_views_are_drawn_alike_for_equal_seeds_and_cover_all(data):
    others = OtherViews(data, true_pairs(data, unit=1.0, limit=60))
    batch = read(data, [0], [False])
    drawn = [
        int(others.beside(batch, torch.rand(1, generator=generator_for(k)))[0].indices[0]) for k in range(20)
    ]
    assert drawn == [
        int(others.beside(batch, torch.rand(1, generator=generator_for(k)))[0].indices[0]) for k in range(20)
    ]
    assert set(drawn) == {1, 2}


def test_data_without_close_views_are_refused(tmp_path, data):
    config = resolve("tiny32", ["loss.view=1", "loss.view_source=true", "camera.view_turn=0.001"])
    with pytest.raises(
        DatasetError, match=r"no two views of a model within camera.view_turn=0.001.*view_source=warp"
    ):
        open_other_views(config, data)
    assert open_other_views(resolve("tiny32", ["loss.view=1"]), data) is None


@pytest.mark.parametrize("kind", ["warp", "true"])
def test_known_views_teach_decoder_and_encoder(data, source, kind):
    more = ("loss.view=1", f"loss.view_source={kind}", "loss.novel=0", "critic.stop_encoder=false")
    config = resolve("tiny32", more)
    side = config.training.resolution
    batch = as_pictures(read(data, [0, 4], [False, True]), source)
    if kind == "true":
        others = OtherViews(data, true_pairs(data, unit=1.0, limit=40))
        other, poses = others.beside(
            read(data, [0, 4], [False, True]), torch.rand(2, generator=generator_for(1))
        )
        batch = with_other_view(batch, as_pictures(other, source), poses)
    shrink = [torch.nn.functional.interpolate(x, side) for x in (batch.images, batch.target[:, None])]
    small = Pictures(shrink[0], shrink[1][:, 0], batch.other and cut(batch.other, side))
    torch.manual_seed(0)
    tokenizer, critics = Tokenizer(config), Critics(config)
    phase = Phase(True, False, True, False, 10.0)
    _, log, fakes, _ = tokenizer_phase(tokenizer, critics, small, phase, generator_for(0))
    assert log["loss/view"] > 0
    assert fakes.novel is None  # no critic was asked
    gradient = torch.autograd.grad(log["loss/view"], list(tokenizer.encoder.parameters()), allow_unused=True)
    assert sum(float(g.abs().sum()) for g in gradient if g is not None) > 0
    if kind == "true":
        with pytest.raises(ValueError, match="true views"):
            tokenizer_phase(tokenizer, critics, Pictures(small.images, small.target), phase, generator_for(0))


def cut(view, side):
    shrunk = [
        torch.nn.functional.interpolate(x, side)
        for x in (view.rgb, view.target[:, None], view.known[:, None])
    ]
    return type(view)(view.poses, shrunk[0], shrunk[1][:, 0], shrunk[2][:, 0])


def test_sparse_windows_take_every_other_pixel():
    config = resolve("small64", ["training.patch=16", "training.stride=4"])
    size, windows = sample_windows(config, 50, generator_for(0))
    images = torch.rand(50, 3, 64, 64)
    seen = extract_patches(images, windows, size)
    columns, rows = (windows.offsets * 63).round().long().T
    assert columns.unique().tolist() == [0, 1, 2, 3]
    for k in range(50):
        top = 63 - int(rows[k]) - 60  # offsets count from the bottom
        assert torch.allclose(
            seen[k], images[k, :, top : top + 61 : 4, int(columns[k]) : int(columns[k]) + 61 : 4], atol=1e-4
        )


def test_tokens_pass_as_they_are_until_rounding_begins():
    book = Codebook(CodebookConfig(size=4, width=8))
    points = torch.randn(2, 5, 8, requires_grad=True)
    codes, quantised, continuous, loss = book(points, rounded=False)
    assert torch.equal(quantised, continuous)
    assert float(loss) == 0
    assert not torch.allclose(book(points)[1], continuous, atol=1e-3)
    assert torch.equal(codes, book(points)[0])
    config = resolve("tiny32", ["codebook.round_from=0.2"])
    assert [Phase.at(config, p).rounded for p in (0.0, 0.19, 0.2, 1.0)] == [False, False, True, True]

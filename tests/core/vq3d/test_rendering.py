"""VQ3D's space, cameras and rays: contraction, orbits, opaque rays, and what a known field looks like."""

import math

import pytest
import torch
from torch.nn import functional as F

from gp3d_core.ops.reference import sample_planes
from gp3d_core.rendering.cameras import Cameras, cam2world, sample_rays
from gp3d_core.rendering.patches import Patches
from gp3d_core.rng import generator_for
from gp3d_core.vq3d.config import CameraConfig, DecoderConfig, RenderConfig
from gp3d_core.vq3d.models.contraction import contract
from gp3d_core.vq3d.models.field import FieldDecoder
from gp3d_core.vq3d.models.planes import FoldHead
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.rendering.views import (
    input_pose,
    orbit,
    pixel_rays,
    ray_weights,
    render,
    sample_edges,
    to_image,
    to_radiance,
)
from gp3d_core.vq3d.scenes.scenefile import Part, Scene

CAMERA = CameraConfig()


def points(*shape, scale=1.0, seed=0):
    return scale * torch.randn(*shape, generator=generator_for(seed, "points"), dtype=torch.float64)


def ball(centre, radius, sigma):
    """A ball of one density and colour in empty space."""

    def field(at):
        inside = (at - torch.tensor(centre)).norm(dim=-1, keepdim=True) < radius
        return inside * torch.tensor([0.2, 0.5, 0.9]), inside * sigma

    return field


def test_contraction_keeps_the_middle_and_puts_everything_inside():
    near, far = points(100, 3).clamp(-1, 1), points(1000, 3, scale=1e4)
    assert torch.allclose(contract(near), near / 2)
    assert contract(far).abs().max() < 1
    assert contract(torch.tensor([1e12, 0.0, 0.0]))[0] == pytest.approx(1.0)


def test_contraction_comes_back():
    for scale in (0.5, 2.0, 50.0):
        x = points(500, 3, scale=scale)
        inner = 2 * contract(x)
        size = inner.abs().amax(
            dim=-1, keepdim=True
        )  # 2 − 1/m beyond the unit cube, m the largest coordinate
        back = torch.where(size > 1, inner / size / (2 - size), inner)
        assert torch.allclose(back, x, rtol=1e-9)


def test_contraction_is_smooth_across_the_unit_cube():
    edge = F.normalize(points(200, 3), p=math.inf)
    below, above = contract(edge * (1 - 1e-9)), contract(edge * (1 + 1e-9))
    assert (below - above).abs().max() < 3e-9
    outside = (edge * 1.0001).requires_grad_()
    (slope,) = torch.autograd.grad(contract(outside).norm(p=math.inf, dim=-1).sum(), outside)
    assert torch.allclose(slope.abs().sum(dim=1), torch.full((200,), 0.5, dtype=slope.dtype), atol=1e-3)


def test_orbit_turns_about_its_pivot_as_the_house_turns():
    yaw, pitch, pivot = (
        torch.tensor([0.0, 20.0, -35.0]),
        torch.tensor([0.0, 10.0, 5.0]),
        torch.tensor([1.0, 0.7, 2.5]),
    )
    poses = orbit(yaw, pitch, pivot)
    centre = torch.stack([torch.zeros(3), torch.zeros(3), 1 - pivot], dim=1)
    seen = (torch.linalg.inv(poses) @ F.pad(centre, (0, 1), value=1.0)[..., None])[:, :3, 0]
    assert torch.allclose(seen, torch.stack([torch.zeros(3), torch.zeros(3), -pivot], dim=1), atol=1e-6)
    one = torch.ones(3)
    flat = torch.stack(
        [yaw.deg2rad(), math.pi / 2 - pitch.deg2rad(), 0 * one, 45 * one, pivot, *(0 * one,) * 3], dim=1
    )
    house = cam2world(Cameras.from_flat(flat))
    assert torch.allclose(poses[:, :3, :3], house[:, :3, :3], atol=1e-6)
    assert torch.allclose(poses[:, :3, 3] - centre, house[:, :3, 3], atol=1e-6)


def test_a_camera_that_looks_down_is_turned_about_the_vertical():
    pivot, above, yaw = torch.tensor([0.7, 2.5]), torch.tensor([13.0, -30.0]), torch.tensor([25.0, -70.0])
    zero = torch.zeros(2)
    # the same two cameras, in a world whose vertical is the y axis
    before, after = orbit(zero, above, pivot), orbit(yaw, above, pivot)
    relative = torch.linalg.inv(before) @ after
    mine = torch.linalg.inv(orbit(zero, zero, pivot)) @ orbit(yaw, zero, pivot, elevation=above)
    assert torch.allclose(mine, relative, atol=1e-5)
    assert torch.allclose(orbit(zero, zero, pivot, elevation=above), orbit(zero, zero, pivot), atol=1e-6)
    assert not torch.allclose(orbit(yaw, zero, pivot, elevation=above), orbit(yaw, zero, pivot), atol=0.05)


def test_dolly_changes_the_distance_alone():
    angle, pivot = torch.tensor([12.0]), torch.tensor([0.8])
    plain, closer = orbit(angle, angle, pivot), orbit(angle, angle, pivot, torch.tensor([0.5]))
    centre = torch.tensor([0.0, 0.0, 0.2])
    assert torch.equal(plain[:, :3, :3], closer[:, :3, :3])
    assert torch.allclose((plain[0, :3, 3] - centre) / 2, closer[0, :3, 3] - centre, atol=1e-6)


def test_rays_are_the_houses_rays_with_unit_depth():
    origin, directions = pixel_rays(input_pose(), 45.0, 9)
    flat = torch.tensor([[0.0, math.pi / 2, 0.0, 45.0, 1.0, 0.0, math.pi / 2, 0.0]])
    house_o, house_d = sample_rays(Cameras.from_flat(flat), 9)
    assert torch.allclose(origin.expand_as(house_o), house_o, atol=1e-6)
    assert torch.allclose(F.normalize(directions, dim=-1), house_d, atol=1e-6)
    assert torch.allclose(directions[..., 2], -torch.ones(1, 81))


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e4])
def test_weights_of_every_ray_sum_to_one(scale):
    edges = sample_edges(CAMERA, 24, (2, 50), generator_for(0, "edges"), torch.device("cpu"))
    assert (edges.diff(dim=-1) < 0).all()
    sigma = scale * torch.rand(2, 50, 24, generator=generator_for(1, "sigma"))
    weights = ray_weights(sigma, edges, torch.full((2, 50), 1.1))
    assert torch.allclose(weights.sum(dim=-1), torch.ones(2, 50), atol=1e-6)
    assert (weights >= 0).all()


def test_weights_of_constant_density_follow_the_exponential_law():
    edges = sample_edges(CAMERA, 200, (1, 1), None, torch.device("cpu")).double()
    sigma, length = (
        torch.full((1, 1, 200), 0.7, dtype=torch.float64),
        torch.tensor([[1.3]], dtype=torch.float64),
    )
    weights = ray_weights(sigma, edges, length)
    start, end = 1 / edges[0, 0, :-1], 1 / edges[0, 0, 1:]
    left, right = (torch.exp(-0.7 * 1.3 * (t - CAMERA.near)) for t in (start, end))
    assert torch.allclose(weights[0, 0, :-1], (left - right)[:-1], atol=1e-12)
    assert torch.allclose(weights[0, 0, -1], left[-1])


def test_weights_have_right_and_finite_gradients():
    edges = sample_edges(CAMERA, 5, (1, 3), None, torch.device("cpu")).double().contiguous()
    sigma = torch.rand(1, 3, 5, generator=generator_for(2, "sigma")).double().requires_grad_()
    length = torch.tensor([[1.0, 1.1, 1.2]]).double()
    assert torch.autograd.gradcheck(lambda s: ray_weights(s, edges, length), (sigma,))
    for extreme in (0.0, 1e8):
        sigma = torch.full((1, 3, 5), extreme, requires_grad=True)
        weights = ray_weights(sigma, edges.float(), length.float())
        (gradient,) = torch.autograd.grad(weights.square().sum(), sigma)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("fine", [0, 24])
def test_ball_is_seen_where_it_is(fine):
    """A hard ball of radius 0.2 at depth 1: its disc has the radius and its middle the inverse depth of geometry."""
    settings = RenderConfig(steps=64, fine_steps=fine)
    view = render(ball((0.0, 0.0, 0.0), 0.2, 1e4), input_pose(), CAMERA, settings, 33)
    middle, width = view.disparity[0, 16, 16], (2.5 - 0.125) / 64
    assert middle == pytest.approx(1 / 0.8, abs=width if fine == 0 else width / 2)
    blue = view.rgb[0, 2] > 0.45
    disc = math.tan(math.asin(0.2)) / math.tan(math.radians(22.5))  # of the half image
    assert math.sqrt(float(blue.float().sum()) / math.pi) / 16 == pytest.approx(disc, rel=0.08)
    assert view.disparity[0, 0, 0] == pytest.approx(0.125, abs=width)
    assert torch.allclose(view.weights.sum(dim=-1), torch.ones(1, 33 * 33), atol=1e-5)


def test_second_pass_looks_where_the_light_stops():
    """A soft wall: 48 more samples come close to what thousands see, 24 alone cannot."""

    def wall(at):
        return torch.ones_like(at), 40.0 * (at[..., 2:] < 0.02).float()

    counts = ((24, 0), (24, 48), (3000, 0))
    settings = [RenderConfig(steps=steps, fine_steps=fine) for steps, fine in counts]
    plain, fine, truth = (render(wall, input_pose(), CAMERA, setting, 4) for setting in settings)
    assert fine.weights.shape == (1, 16, 72)
    assert (fine.inverse.diff(dim=-1) <= 0).all()
    for name in ("spread", "disparity"):
        error = [(getattr(view, name) - getattr(truth, name)).abs().max() for view in (fine, plain)]
        assert error[0] < 0.2 * error[1]


def test_ball_moves_against_the_camera():
    field = ball((0.0, 0.0, -1.0), 0.3, 1e4)
    columns = torch.arange(33.0)
    where = []
    for yaw in (-15.0, 0.0, 15.0):
        view = render(
            field, orbit(torch.tensor([yaw]), torch.zeros(1), torch.ones(1)), CAMERA, RenderConfig(), 33
        )
        mass = (view.rgb[0, 2] > 0.45).float().sum(dim=0)
        where.append(float((mass * columns).sum() / mass.sum()))
    assert where[0] > where[1] + 3
    assert where[2] < where[1] - 3
    assert where[1] == pytest.approx(16.0, abs=0.1)


def test_window_is_cut_out_of_the_whole_view():
    config = resolve("tiny32")
    tokenizer = Tokenizer(config).eval()
    planes = tokenizer.decode(torch.randint(64, (1, 16), generator=generator_for(0, "codes")))
    pose = orbit(torch.tensor([7.0]), torch.tensor([3.0]), torch.ones(1))
    whole = tokenizer.render(planes, pose)
    windows = Patches(torch.full((1, 2), 7 / 31), torch.tensor([[5 / 31, 11 / 31]]))
    part = tokenizer.render(planes, pose, resolution=8, patches=windows)
    rows, columns = slice(31 - 11 - 7, 31 - 11 + 1), slice(5, 13)
    assert torch.allclose(part.rgb, whole.rgb[:, :, rows, columns], atol=1e-5)
    assert torch.allclose(part.disparity, whole.disparity[:, rows, columns], atol=1e-5)


def test_view_does_not_depend_on_its_chunks_and_turning_by_nothing_changes_nothing():
    tokenizer = Tokenizer(resolve("tiny32")).eval()
    planes = tokenizer.decode(torch.randint(64, (2, 16), generator=generator_for(1, "codes")))
    zero = torch.zeros(2)
    views = [
        tokenizer.render(planes, input_pose(2)),
        tokenizer.render(planes, orbit(zero, zero, torch.tensor([0.5, 3.0])), chunk=100),
    ]
    for one, other in zip(*views, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_token_of_the_fold_head_writes_its_own_cells_alone():
    config = resolve("tiny32")
    head = FoldHead(config)
    tokens = torch.randn(1, 16, 96, generator=generator_for(0, "tokens"))
    changed = tokens.clone()
    changed[0, 4 * 1 + 2] += 1  # second row from the top, third column
    touched = (head(tokens) - head(changed)).abs().sum(dim=2)[0] > 0
    expected = torch.zeros(3, 16, 16, dtype=torch.bool)
    expected[:, 8:12, 8:12] = True  # rows count from the lowest y
    assert torch.equal(touched, expected)


@pytest.mark.parametrize("head", ["fold", "query"])
def test_picture_to_view_has_gradients_everywhere(head):
    config = resolve("tiny32", [f"decoder.head={head}", "render.fine_steps=4"])
    tokenizer = Tokenizer(config)
    encoding = tokenizer.encode(torch.rand(2, 3, 32, 32, generator=generator_for(0, "images")))
    view = tokenizer.render(
        tokenizer.decode(encoding.quantised), input_pose(2), generator=generator_for(0, "rays")
    )
    (view.rgb.mean() + view.disparity.mean() + view.spread.mean() + encoding.loss).backward()
    lacking = [
        name for name, p in tokenizer.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()
    ]
    assert not lacking
    still = [name for name, p in tokenizer.named_parameters() if not p.grad.abs().sum() > 0]
    assert not [name for name in still if "key_value.bias" not in name]


def test_decoding_codes_is_decoding_what_they_stand_for():
    tokenizer = Tokenizer(resolve("tiny32")).eval()
    encoding = tokenizer.encode(torch.rand(2, 3, 32, 32))
    assert torch.allclose(tokenizer.embed(encoding.codes), encoding.quantised, atol=1e-6)
    assert torch.allclose(tokenizer.decode(encoding.codes), tokenizer.decode(encoding.quantised), atol=1e-5)


def test_field_of_the_world_is_read_where_it_is_contracted_to():
    tokenizer = Tokenizer(resolve("tiny32")).eval()
    field = tokenizer.field(tokenizer.decode(torch.randint(64, (1, 16))))
    world = torch.randn(1, 500, 3) * 3
    rgb, sigma = field(world)
    features = sample_planes(field.planes.float(), contract(world))
    inner, raw = field.decoder(features.flatten(1, 2).transpose(1, 2))
    assert torch.equal(rgb, inner)
    assert torch.allclose(sigma, 20 * F.softplus(raw - 4))
    assert rgb.min() >= -0.001
    assert rgb.max() <= 1.001


def test_images_of_8_bit_survive_the_way_to_radiance_and_back_to_the_bit():
    levels = torch.arange(256, dtype=torch.float32)
    images = levels / 127.5 - 1
    assert torch.equal(to_image(to_radiance(images)), images)
    assert torch.equal(to_image(levels / 255), images)
    assert torch.allclose(to_radiance(images), levels / 255, atol=1e-7)


def test_a_view_is_an_image_of_its_radiance():
    def field(points):
        return torch.zeros_like(points) + torch.tensor([0.0, 0.25, 1.0]), torch.ones_like(points[..., :1])

    view = render(field, input_pose(1), CAMERA, RenderConfig(), 4)
    assert torch.allclose(view.images[0, :, 1, 2], torch.tensor([-1.0, -0.5, 1.0]), atol=1e-5)


def test_views_ask_for_points_that_fit_into_the_cache_and_are_the_same_as_at_once(monkeypatch):
    torch.manual_seed(0)
    settings = DecoderConfig(plane_resolution=16)
    decoder = FieldDecoder(settings).requires_grad_(False)
    part = Part(torch.randn(3, settings.plane_channels, 16, 16), decoder, settings, "0" * 64, "noise")
    scene = Scene((part,), CAMERA, RenderConfig(steps=24), 80, pivot=1.0)
    asked = []
    field = scene.field()

    def counted(points):
        asked.append(points.shape[1])
        return field(points)

    monkeypatch.setattr(Scene, "field", lambda self: counted)
    parts = scene.view()
    assert sum(asked) == 80 * 80 * 24
    assert 2**14 < max(asked) <= 2**15
    whole = render(field, input_pose(), CAMERA, scene.render, 80)
    for one, other in zip(parts, whole, strict=True):
        assert torch.equal(one, other)

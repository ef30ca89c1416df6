"""The renderer on fields with known answers: fog, a ball, a box, a slab; no network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.config.schema import CameraConfig, PatchConfig, RenderConfig
from gp3d_core.ops.reference import sample_triplane
from gp3d_core.rendering.cameras import Cameras, sample_cameras, sample_rays, spherical_to_cartesian
from gp3d_core.rendering.patches import Patches, extract_patches, sample_patches
from gp3d_core.rendering.volume import Field, Rendering, rays_at_a_time, render
from tests.support.draws import seeded

Close = Callable[..., None]
CAMERA = replace(CAMERAS["shapenet"], t_near=1.0, t_far=3.0, box=1.0)
FINITE = RenderConfig(last_interval=1e-3, background="white", outside_box="empty")
PARTS = ("rgb", "depth", "opacity", "weights", "t")


def inverse_softplus(density: float) -> float:
    """Raw density that the default activation turns into `density`; above 30 they are equal to double precision."""
    return density if density > 30 else math.log(math.expm1(density)) if density > 0 else -1000.0


def fog(density: float) -> Field:
    """The same grey fog everywhere."""
    raw = inverse_softplus(density)
    return lambda points: (torch.zeros_like(points), torch.full_like(points[..., :1], raw))


def ball(radius: float, density: float) -> Field:
    """A solid ball around the origin whose colour is the position."""

    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside = points.norm(dim=-1, keepdim=True) <= radius
        return points, torch.where(inside, density, -1000.0).to(points)

    return field


def soft(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth blob, for comparisons between two ways to render one thing."""
    return torch.tanh(3 * points), 6 - 30 * points.square().sum(-1, keepdim=True)


def rays(
    count: int = 2, resolution: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    cameras = sample_cameras(CAMERA, count, seeded()).to(dtype=dtype)
    return sample_rays(cameras, resolution)


def along_axis() -> tuple[torch.Tensor, torch.Tensor]:
    """One ray from (0, 0, 2) through the origin."""
    return torch.tensor([[[0.0, 0, 2]]]).double(), torch.tensor([[[0.0, 0, -1]]]).double()


# --- closed forms


@pytest.mark.parametrize("density", [0.05, 0.7, 4.0])
@pytest.mark.parametrize("jitter", [False, True])
def test_fog_absorbs_exponentially(density: float, jitter: bool) -> None:
    config = replace(FINITE, last_interval=0.0, background="none", outside_box="zeros")
    seen = render(fog(density), *rays(), CAMERA, config, jitter=jitter, generator=seeded())
    path = seen.t[..., -1:] - seen.t[..., :1]
    assert torch.allclose(seen.opacity, 1 - torch.exp(-density * path), atol=1e-9)
    if not jitter:
        assert torch.allclose(path, torch.full_like(path, 2.0))


def test_fog_in_the_box_is_as_deep_as_the_box() -> None:
    config = replace(FINITE, coarse_steps=2001, fine_steps=0)
    opacity = render(fog(0.8), *along_axis(), CAMERA, config, jitter=False).opacity
    assert opacity.item() == pytest.approx(1 - math.exp(-0.8 * 2.0), abs=1e-3)
    small = replace(CAMERA, box=0.25)
    opacity = render(fog(0.8), *along_axis(), small, config, jitter=False).opacity
    assert opacity.item() == pytest.approx(1 - math.exp(-0.8 * 0.5), abs=1e-3)


def test_outside_the_box_is_empty_only_when_asked() -> None:
    camera = replace(CAMERA, box=0.25)
    beside = torch.tensor([[[0.3, 0, 2]]]).double(), along_axis()[1]
    empty = render(fog(50.0), *beside, camera, FINITE, jitter=False)
    assert empty.opacity.item() == 0.0
    assert empty.depth.item() == pytest.approx(CAMERA.t_far)
    assert empty.rgb.tolist() == [[[1.0, 1.0, 1.0]]]
    zeros = render(fog(50.0), *beside, camera, replace(FINITE, outside_box="zeros"), jitter=False)
    assert zeros.opacity.item() == pytest.approx(1.0)


@pytest.mark.parametrize("jitter", [False, True])
def test_depth_of_a_solid_ball_is_its_analytic_intersection(jitter: bool) -> None:
    radius, steps = 0.6, 256
    rays_o, rays_d = rays(3, 9)
    config = replace(FINITE, coarse_steps=steps, fine_steps=steps)
    seen = render(ball(radius, 1e5), rays_o, rays_d, CAMERA, config, jitter=jitter, generator=seeded())
    middle = (rays_o * rays_d).sum(-1)
    discriminant = middle.square() - rays_o.square().sum(-1) + radius**2
    hit = discriminant > 0.01  # not grazing
    expected = -middle - discriminant.clamp(min=0).sqrt()
    assert 20 < hit.sum() < hit.numel() - 20
    depth, opacity = seen.depth.squeeze(-1), seen.opacity.squeeze(-1)
    assert (depth - expected)[hit].abs().max() < 2.0 / steps
    assert torch.allclose(opacity[hit], torch.ones_like(opacity[hit]), atol=1e-6)
    miss = discriminant < -1e-3
    assert torch.allclose(depth[miss], torch.full_like(depth[miss], CAMERA.t_far), atol=1e-6)
    assert torch.allclose(seen.rgb[miss], torch.ones_like(seen.rgb[miss]), atol=1e-6)
    surface = (rays_o + expected.unsqueeze(-1) * rays_d)[hit]
    assert (seen.rgb[hit] - surface).abs().max() < 2.0 / steps


def test_fine_samples_sharpen_the_depth_of_a_surface() -> None:
    rays_o, rays_d = along_axis()
    config = replace(FINITE, coarse_steps=33, fine_steps=0)
    truth = 2.0 - 0.577
    coarse = render(ball(0.577, 1e5), rays_o, rays_d, CAMERA, config, jitter=False)
    fine = render(ball(0.577, 1e5), rays_o, rays_d, CAMERA, replace(config, fine_steps=128), jitter=False)
    assert abs(fine.depth.item() - truth) < 0.005 < abs(coarse.depth.item() - truth) < 2 / 32


def test_depth_without_fine_samples_is_metric() -> None:
    config = replace(FINITE, coarse_steps=201, fine_steps=0)
    seen = render(fog(1000.0), *rays(), replace(CAMERA, box=9.0), config, jitter=False)
    assert torch.allclose(seen.depth, torch.full_like(seen.depth, CAMERA.t_near), atol=1e-3)
    assert seen.t.shape[-1] == 201
    assert torch.allclose(seen.t[..., 0], torch.tensor(1.0).double())
    assert torch.allclose(seen.t[..., -1], torch.tensor(3.0).double())


def test_an_infinite_last_interval_closes_every_ray() -> None:
    seen = render(fog(0.01), *rays(), CAMERA, RenderConfig(), jitter=False)
    assert torch.allclose(seen.opacity, torch.ones_like(seen.opacity))
    assert (seen.depth > 2.9).all()


# --- invariances


def test_turning_camera_and_world_together_changes_nothing(close: Close) -> None:
    angle = 1.3
    cos, sin = math.cos(angle), math.sin(angle)
    about_y = torch.tensor([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], dtype=torch.float64)

    def still(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, y, z = points.unbind(-1)
        return torch.stack([x, z, y], dim=-1), (
            8 - 20 * (x - 0.2) ** 2 - 15 * (z + 0.1) ** 2 - 9 * y**2
        ).unsqueeze(-1)

    cameras = sample_cameras(CAMERA, 3, seeded()).to(dtype=torch.float64)
    turned = replace(cameras, angles=cameras.angles + torch.tensor([angle, 0, 0], dtype=torch.float64))
    config = replace(FINITE, outside_box="zeros")
    first = render(still, *sample_rays(cameras, 6), CAMERA, config, jitter=False)
    second = render(
        lambda points: still(points @ about_y), *sample_rays(turned, 6), CAMERA, config, jitter=False
    )
    for part in PARTS:
        close(getattr(second, part), getattr(first, part), "forward64")


def test_a_rendered_patch_is_a_crop_of_the_full_image(close: Close) -> None:
    cameras = sample_cameras(CAMERA, 2, seeded()).to(dtype=torch.float64)
    offsets = torch.tensor([[0.25, 0.5], [0.0, 0.25]], dtype=torch.float64)
    patches = Patches(torch.full_like(offsets, 0.5), offsets)
    full = render(soft, *sample_rays(cameras, 9), CAMERA, FINITE, jitter=False)
    patch = render(soft, *sample_rays(cameras, 5, patches), CAMERA, FINITE, jitter=False)
    image = full.rgb.transpose(1, 2).unflatten(2, (9, 9))
    cut = extract_patches(image, patches, 5)
    close(patch.rgb.transpose(1, 2).unflatten(2, (5, 5)), cut, "forward64")


def test_any_rendered_patch_agrees_with_interpolating_the_full_image() -> None:
    cameras = sample_cameras(CAMERA, 4, seeded()).to(dtype=torch.float64)
    patches = sample_patches(PatchConfig(group=1), 4, 20_000_000, 256, seeded(1)).to(dtype=torch.float64)
    full = render(soft, *sample_rays(cameras, 65), CAMERA, FINITE, jitter=False)
    patch = render(soft, *sample_rays(cameras, 17, patches), CAMERA, FINITE, jitter=False)
    image = full.rgb.transpose(1, 2).unflatten(2, (65, 65))
    cut = extract_patches(image, patches, 17).flatten(2).transpose(1, 2)
    assert (patch.rgb - cut).abs().mean() < 2e-3


@pytest.mark.parametrize("chunk", [1, 7, 25, 1000])
@pytest.mark.parametrize("cut_quantile", [0.0, 0.5])
def test_chunks_change_nothing(close: Close, chunk: int, cut_quantile: float) -> None:
    settings = {"jitter": True, "density_noise": 0.5, "cut_quantile": cut_quantile}
    whole = render(soft, *rays(), CAMERA, FINITE, generator=seeded(), **settings)
    parts = render(soft, *rays(), CAMERA, FINITE, generator=seeded(), chunk=chunk, **settings)
    for part in PARTS:
        close(getattr(parts, part), getattr(whole, part), "exact64")


def test_chunks_bound_the_points_of_a_query() -> None:
    asked = []

    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(points.shape[1])
        return soft(points)

    render(field, *rays(), CAMERA, replace(FINITE, coarse_steps=4, fine_steps=3), jitter=False, chunk=10)
    assert max(asked) == 40
    assert sum(asked) == 25 * 7


# --- randomness


def test_jitter_stays_in_its_stratum_and_fills_it() -> None:
    config = replace(FINITE, coarse_steps=9, fine_steps=0)
    rays_o, rays_d = rays(1, 60)
    s = (render(soft, rays_o, rays_d, CAMERA, config, jitter=True, generator=seeded()).t - 1) / 2
    even = torch.linspace(0, 1, 9, dtype=torch.float64)
    middles = (even[1:] + even[:-1]) / 2
    lower, upper = torch.cat([even[:1], middles]), torch.cat([middles, even[-1:]])
    assert (s >= lower).all()
    assert (s <= upper).all()
    filled = (s.amax(dim=(0, 1)) - s.amin(dim=(0, 1))) / (upper - lower)
    assert filled.min() > 0.99


def test_evaluation_is_deterministic_and_training_follows_its_generator() -> None:
    def depth(jitter: bool, seed: int) -> torch.Tensor:
        return render(soft, *rays(), CAMERA, FINITE, jitter=jitter, generator=seeded(seed)).depth

    assert torch.equal(depth(False, 0), depth(False, 1))
    assert torch.equal(depth(True, 0), depth(True, 0))
    assert not torch.equal(depth(True, 0), depth(True, 1))


def test_density_noise_has_the_given_strength() -> None:
    raw = 40.0  # where softplus is the identity
    config, camera = RenderConfig(coarse_steps=3, fine_steps=0), replace(CAMERA, t_far=1.1)
    seen = render(fog(raw), *rays(4, 50), camera, config, jitter=False, density_noise=2.0, generator=seeded())
    sigma = -torch.log1p(-seen.weights[..., 0]) / (seen.t[..., 1] - seen.t[..., 0])
    assert sigma.mean().item() == pytest.approx(raw, abs=0.1)
    assert sigma.std().item() == pytest.approx(2.0, rel=0.05)


def test_density_noise_is_drawn_anew_for_every_sample_of_both_passes() -> None:
    config, camera = RenderConfig(coarse_steps=6, fine_steps=6), replace(CAMERA, t_far=1.1)
    seen = render(fog(40.0), *rays(), camera, config, jitter=True, density_noise=2.0, generator=seeded())
    light = 1 - seen.weights.cumsum(-1)
    passed = light[..., 1:-1] / light[..., :-2]
    sigma = -passed.log() / seen.t.diff(dim=-1)[..., 1:]
    assert sigma.sort(dim=-1).values.diff(dim=-1).min() > 1e-6


def test_drawing_without_a_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="generator"):
        render(soft, *rays(), CAMERA, FINITE, jitter=True)
    with pytest.raises(ValueError, match="generator"):
        render(soft, *rays(), CAMERA, FINITE, jitter=False, density_noise=1.0)


def test_wrong_shapes_are_refused() -> None:
    rays_o, rays_d = rays()
    with pytest.raises(ValueError, match="rays_d must have shape"):
        render(soft, rays_o, rays_d[:, :4], CAMERA, FINITE, jitter=False)
    with pytest.raises(ValueError, match="u_coarse must have shape"):
        render(soft, rays_o, rays_d, CAMERA, FINITE, jitter=False, u_coarse=torch.rand(2, 25, 3))
    with pytest.raises(ValueError, match="u_fine must have shape"):
        render(soft, rays_o, rays_d, CAMERA, FINITE, jitter=False, u_fine=torch.rand(2, 24, 32))
    with pytest.raises(ValueError, match="chunk"):
        render(soft, rays_o, rays_d, CAMERA, FINITE, jitter=False, chunk=0)


# --- options


def test_coarse_spacing_matters_only_where_spacing_is_not_one() -> None:
    unit = replace(CAMERA, t_near=1.5, t_far=2.5)
    metric = replace(FINITE, coarse_spacing="metric")

    def samples(camera: CameraConfig, config: RenderConfig) -> torch.Tensor:
        return render(soft, *rays(), camera, config, jitter=False).t

    assert torch.allclose(samples(unit, FINITE), samples(unit, metric))
    assert not torch.allclose(samples(CAMERA, FINITE), samples(CAMERA, metric))


def test_density_scale_makes_surfaces_harder() -> None:
    thin = render(soft, *rays(), CAMERA, FINITE, jitter=False)
    thick = render(soft, *rays(), CAMERA, replace(FINITE, density_scale=64.0), jitter=False)
    assert (thick.opacity >= thin.opacity - 1e-9).all()
    assert thick.opacity.mean() > thin.opacity.mean() + 0.05


def test_cutting_low_densities_clears_fog() -> None:
    def foggy(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rgb, raw = soft(points)
        return rgb, raw.clamp(min=0.0) + 0.01 * points[..., :1]

    config = RenderConfig(last_interval=1e-3)
    before = render(foggy, *rays(), CAMERA, config, jitter=False)
    after = render(foggy, *rays(), CAMERA, config, jitter=False, cut_quantile=0.5)
    assert after.opacity.min() < before.opacity.min()
    assert (after.weights == 0).double().mean() > 0.4


# --- gradients


def smooth_scene(planes: torch.Tensor, flat: torch.Tensor, u: torch.Tensor) -> Rendering:
    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = sample_triplane(planes, points)
        return features[..., :3], features[..., 3:]

    rays_o, rays_d = sample_rays(Cameras.from_flat(flat), 2)
    config = replace(FINITE, coarse_steps=4, fine_steps=0, outside_box="zeros")
    return render(field, rays_o, rays_d, CAMERA, config, jitter=False, u_coarse=u)


def test_gradients_reach_planes_and_cameras_and_are_right() -> None:
    generator = seeded()
    planes = torch.randn(1, 3, 4, 3, 4, generator=generator, dtype=torch.float64).requires_grad_()
    flat = sample_cameras(CAMERA, 1, generator).flat().double().requires_grad_()
    u = torch.rand(1, 4, 4, generator=generator, dtype=torch.float64)

    def outputs(planes: torch.Tensor, flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = smooth_scene(planes, flat, u)
        return seen.rgb, seen.depth, seen.opacity

    assert torch.autograd.gradcheck(outputs, (planes, flat))


def test_sample_positions_carry_no_gradient() -> None:
    strength = torch.tensor(6.0, dtype=torch.float64, requires_grad=True)

    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return points, strength - 30 * points.square().sum(-1, keepdim=True)

    seen = render(field, *rays(), CAMERA, FINITE, jitter=False)
    assert not seen.t.requires_grad
    seen.depth.sum().backward()
    assert strength.grad.item() < 0  # a larger blob is nearer


def test_camera_position_is_the_origin_of_its_rays(close: Close) -> None:
    cameras = sample_cameras(CAMERA, 3, seeded()).to(dtype=torch.float64)
    rays_o, _ = sample_rays(cameras, 3)
    yaw, pitch, _ = cameras.angles.unbind(-1)
    expected = spherical_to_cartesian(yaw, pitch, cameras.radius)
    close(rays_o, expected[:, None].expand_as(rays_o), "exact64")


@pytest.mark.parametrize(("images", "rays"), [(1, 16384), (8, 2048), (12, 1024), (16, 1024), (10**6, 1)])
def test_rays_at_a_time_are_a_power_of_two_and_within_the_budget(images: int, rays: int) -> None:
    assert rays_at_a_time(images) == rays

"""VQ3D's depth supervision: the identity behind it, alignment and its two collapses, and where targets come from."""

import math

import numpy as np
import pytest
import torch

from gp3d_core.config.schema import ConfigError
from gp3d_core.preparation.depth.making import disparity_to_depth
from gp3d_core.rng import generator_for
from gp3d_core.vq3d.config import DepthConfig
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.rendering.depth import DepthSource, DepthSpace
from gp3d_core.vq3d.rendering.views import input_pose
from gp3d_core.vq3d.toyscenes import T_FAR, T_NEAR, cast, draw_scene
from gp3d_core.vq3d.training.depth_losses import accumulated, align, aligned, depth_loss, pointwise


def rays(pictures=2, count=30, samples=12, seed=0):
    """Weights that sum to one, decreasing depths and targets, all float64."""
    draw = generator_for(seed, "rays")
    weights = torch.rand(pictures, count, samples, generator=draw, dtype=torch.float64).pow(4)
    inverse = torch.rand(pictures, count, samples, generator=draw, dtype=torch.float64)
    target = torch.rand(pictures, count, generator=draw, dtype=torch.float64)
    return weights / weights.sum(dim=-1, keepdim=True), inverse.sort(dim=-1, descending=True).values, target


def variance(weights, inverse):
    mean = (weights * inverse).sum(dim=-1, keepdim=True)
    return (weights * (inverse - mean).square()).sum(dim=-1).mean()


def test_pointwise_is_accumulated_plus_the_spread_along_the_ray():
    weights, inverse, target = rays()
    whole = accumulated(weights, inverse, target) + variance(weights, inverse)
    assert float(pointwise(weights, inverse, target)) == pytest.approx(float(whole), abs=1e-12)
    single = [x.float() for x in (weights, inverse, target)]
    assert float(pointwise(*single)) == pytest.approx(float(whole), abs=1e-6)


def test_pointwise_makes_free_rays_thin_and_accumulated_does_not():
    inverse = torch.linspace(1, 0, 24).expand(1, 50, 24)
    target = torch.rand(1, 50, generator=generator_for(0, "target"))
    spread = {}
    for loss in (pointwise, accumulated):
        logits = torch.zeros(1, 50, 24, requires_grad=True)
        optimizer = torch.optim.Adam([logits], 0.2)
        for _ in range(150):
            optimizer.zero_grad()
            loss(logits.softmax(dim=-1), inverse, target).backward()
            optimizer.step()
        weights = logits.detach().softmax(dim=-1)
        assert accumulated(weights, inverse, target) < 1e-3
        spread[loss] = variance(weights, inverse).sqrt()
    assert spread[pointwise] < 0.2 * spread[accumulated]


def test_alignment_is_weighted_least_squares():
    weights, inverse, target = rays()
    slope, shift = align(weights, inverse, target)
    for k in range(2):
        root = weights[k].flatten().sqrt().numpy()
        columns = np.stack([inverse[k].flatten().numpy(), np.ones(root.size)], axis=1) * root[:, None]
        wanted = target[k, :, None].expand_as(inverse[k]).flatten().numpy() * root
        best = np.linalg.lstsq(columns, wanted, rcond=None)[0]
        assert [float(slope[k]), float(shift[k])] == pytest.approx(best.tolist(), abs=1e-6)


def test_alignment_may_be_a_constant_for_the_gradient():
    weights, inverse, target = rays()
    weights.requires_grad_()
    inverse.requires_grad_()
    slope, shift = align(weights, inverse, target)
    whole = pointwise(weights, slope[:, None, None] * inverse + shift[:, None, None], target)
    fixed = slope.detach()[:, None, None] * inverse + shift.detach()[:, None, None]
    pairs = zip(
        torch.autograd.grad(whole, (weights, inverse), retain_graph=True),
        torch.autograd.grad(pointwise(weights, fixed, target), (weights, inverse)),
        strict=True,
    )
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in pairs)


def test_flat_scene_costs_the_variance_of_the_target():
    weights, _, target = rays()
    flat = torch.full_like(weights, 0.4)
    config = DepthConfig(mode="point", align="lsq", slope_low=1e-9, slope_high=1e9)
    expected = (target - target.mean(dim=1, keepdim=True)).square().mean()
    assert float(depth_loss(weights, flat, target, config)) == pytest.approx(float(expected), rel=1e-6)


def test_thin_slab_is_free_without_bounds_and_costs_with_them():
    weights, _, target = rays()
    slab = 0.5 + 0.01 * target[..., None].expand_as(weights)
    free = DepthConfig(mode="point", align="lsq", slope_low=1e-9, slope_high=1e9)
    assert float(depth_loss(weights, slab, target, free)) < 1e-6
    bounded = DepthConfig(mode="point", align="lsq")
    deviation = (target - target.mean(dim=1, keepdim=True)).square().mean()
    assert float(depth_loss(weights, slab, target, bounded)) == pytest.approx(
        float(deviation) * (1 - 0.025) ** 2, rel=1e-6
    )


def test_bounded_alignment_still_takes_the_best_shift():
    weights, inverse, target = rays()
    config = DepthConfig(align="lsq", slope_low=2.0, slope_high=2.5)
    moved = aligned(weights, inverse, target, config)
    for nudge in (-1e-3, 1e-3):
        assert pointwise(weights, moved + nudge, target) > pointwise(weights, moved, target)


@pytest.mark.parametrize("mode", ["point", "accum", "dsnerf", "urf"])
def test_every_mode_is_least_with_all_light_at_the_surface(mode):
    inverse = torch.linspace(1, 0, 41).expand(1, 1, 41)
    target, config = torch.tensor([[0.6]]), DepthConfig(mode=mode)

    def cost(place):
        weights = torch.full((1, 1, 41), 1e-4)
        weights[..., place] += 1 - weights.sum()
        return float(depth_loss(weights, inverse, target, config))

    assert min(range(41), key=cost) == 16
    fog = torch.full((1, 1, 41), 1 / 41)
    if mode in ("point", "urf"):
        assert float(depth_loss(fog, inverse, target, config)) > cost(16)


def test_without_depth_nothing_is_asked():
    assert float(depth_loss(*rays(), DepthConfig(mode="none"))) == 0.0


def test_metric_depth_of_a_known_scene_is_its_inverse_depth():
    """Ray distances as a data set codes them, against depths along the optical axis from the ray caster."""
    config = resolve("tiny32")
    _, distance = cast(draw_scene(np.random.default_rng(0)), input_pose()[0], 45.0, 32)
    code = np.clip(np.rint((distance - T_NEAR) / (T_FAR - T_NEAR) * 65536), 0, 65534)
    coded = torch.from_numpy(code / 32768 - 1).float()[None, None]
    target = DepthSource(config, T_NEAR, T_FAR).target(coded)[0].numpy()
    half = np.linspace(-1, 1, 32) * math.tan(math.radians(22.5))
    cosine = 1 / np.sqrt(1 + half[None] ** 2 + half[:, None] ** 2)
    truth = DepthSpace.of(config.camera).normalise(torch.from_numpy(1 / (distance * cosine))).numpy()
    assert np.abs(target - truth).max() < 2e-3
    assert 0.02 < target.min() < 0.2 < target.max() < 1


def test_metric_background_is_infinitely_far_and_units_scale():
    config = resolve("tiny32", ["depth.unit=2"])
    source = DepthSource(config, 1.0, 3.0)
    coded = torch.full((1, 1, 5, 5), 65535 / 32768 - 1)
    assert float(source.target(coded).max()) == 0.0
    middle = source.target(torch.zeros(1, 1, 5, 5))[0, 2, 2]  # distance 2 of the data is depth 1
    assert float(middle) == pytest.approx((1 - 0.125) / 2.375)


def test_relative_depth_gives_back_the_disparity_it_was_made_of():
    config = resolve("small64", ["depth.coding=relative"])
    disparity = np.random.default_rng(0).random((64, 64))
    u = disparity_to_depth(disparity, config.depth.ratio)
    target = DepthSource(config).target(torch.from_numpy(u * 2 - 1).float()[None, None])[0].numpy()
    low, high = np.quantile(disparity, [0.02, 0.98])
    assert np.abs(target - np.clip((disparity - low) / (high - low), 0, 1)).max() < 1e-4


def test_metric_depth_without_its_range_names_the_remedy():
    with pytest.raises(ConfigError, match=r"needs t_near and t_far .* `depth.coding`=relative"):
        DepthSource(resolve("tiny32"))

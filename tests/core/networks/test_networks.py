"""The generator's parts: mapping, planes, cameras, depth adaptor; schedules and randomness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gp3d_core.config.presets import CAMERAS, PRESETS
from gp3d_core.config.schema import (
    CameraGeneratorConfig,
    DepthAdaptorConfig,
    GeneratorConfig,
    Ramp,
    RunConfig,
)
from gp3d_core.networks.backbone import Backbone, ToPlanes
from gp3d_core.networks.camera_generator import CameraGenerator, earth_movers_distance, gradient_penalty
from gp3d_core.networks.decoder import TriplaneDecoder, TriplaneField
from gp3d_core.networks.depth_adaptor import DepthAdaptor, selection_probabilities
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.layers import (
    normalise_second_moment,
)
from gp3d_core.networks.mapping import Mapping
from gp3d_core.rendering.cameras import Cameras, sample_cameras
from gp3d_core.rendering.patches import full_patch
from tests.support.draws import normal, seeded
from tests.support.small_networks import CLASSES, CONFIG


@pytest.fixture(autouse=True)
def fixed_initialisation() -> None:
    torch.manual_seed(77)


def one_hot(labels: list[int]) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), CLASSES).float()


# Mapping


def test_mapping_moves_average_only_when_told() -> None:
    mapping = Mapping(8, 0, 6, 4, 2)
    z = normal(5, 8)
    mapping(z, None)
    assert mapping.w_avg.abs().max() == 0
    ws = mapping(z, None, update_average=True)
    torch.testing.assert_close(mapping.w_avg, 0.002 * ws[:, 0].detach().mean(dim=0))


def test_truncation_interpolates_towards_the_centre() -> None:
    mapping = Mapping(8, CLASSES, 6, 4, 2)
    mapping.w_avg.copy_(normal(6, seed=3))
    z, c = normal(4, 8), one_hot([0, 1, 2, 3])
    ws = mapping(z, c)
    torch.testing.assert_close(mapping(z, c, truncation=0.0), mapping.w_avg.expand(4, 4, 6))
    torch.testing.assert_close(mapping(z, c, truncation=0.3), mapping.w_avg * 0.7 + ws * 0.3)
    centre = normal(4, 6, seed=4)
    found = mapping(z, c, truncation=0.5, centre=centre)
    torch.testing.assert_close(found, 0.5 * (centre[:, None] + ws))


def test_mapping_sees_direction_of_z_and_the_class() -> None:
    mapping = Mapping(8, CLASSES, 6, 4, 2)
    z = normal(1, 8)
    torch.testing.assert_close(mapping(z * 5, one_hot([1])), mapping(z, one_hot([1])), rtol=1e-4, atol=1e-5)
    assert (mapping(z, one_hot([1])) - mapping(z, one_hot([2]))).abs().max() > 1e-3


@pytest.mark.parametrize(("c", "error"), [(None, TypeError), (torch.zeros(1, 3), ValueError)])
def test_conditional_mapping_refuses_other_conditions(c: Tensor | None, error: type[Exception]) -> None:
    with pytest.raises(error, match="c"):
        Mapping(8, CLASSES, 6, 4, 2)(normal(1, 8), c)


# Backbone, decoder


def test_backbone_noise_modes_differ_and_random_follows_its_generator() -> None:
    backbone = Backbone(CONFIG.generator)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
    ws = normal(1, backbone.num_ws, CONFIG.generator.w_dim).expand(2, -1, -1)
    stored, none = backbone(ws, "const"), backbone(ws, "none")
    drawn = [backbone(ws, "random", seeded(seed)) for seed in (0, 0, 1)]
    assert stored.shape == (2, 3, 8, 32, 32)
    assert (stored - none).abs().max() > 1e-2
    assert torch.equal(drawn[0], drawn[1])
    assert (drawn[0] - drawn[2]).abs().max() > 1e-2
    assert (drawn[0][0] - drawn[0][1]).abs().max() > 1e-2  # each sample has its own
    torch.testing.assert_close(stored[0], stored[1])


def test_backbone_uses_every_code_and_the_last_only_for_the_last_planes() -> None:
    backbone = Backbone(CONFIG.generator)
    ws = normal(1, backbone.num_ws, CONFIG.generator.w_dim).requires_grad_()
    seen: list[Tensor] = []
    backbone.blocks[-1].register_forward_hook(lambda _, __, output: seen.append(output[0]))
    backbone(ws, "none").sum().backward(retain_graph=True)
    assert (ws.grad.abs().amax(dim=2) > 0).all()
    (through_features,) = torch.autograd.grad(seen[0].sum(), ws)
    assert (through_features.abs().amax(dim=2)[0, :-1] > 0).all()
    assert through_features[0, -1].abs().max() == 0


@pytest.mark.parametrize("resolution", [2, 48])
def test_backbone_refuses_other_resolutions(resolution: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Backbone(GeneratorConfig(plane_resolution=resolution))


def test_sigmoid_colours_reach_just_beyond_black_and_white() -> None:
    decoder = TriplaneDecoder(GeneratorConfig(plane_channels=4, rgb_activation="sigmoid"))
    rgb, raw = decoder(normal(1, 500, 4) * 1000)
    assert rgb.max().item() == pytest.approx(1.002, abs=1e-4)
    assert rgb.min().item() == pytest.approx(-1.002, abs=1e-4)
    assert raw.abs().max() > 2.0


def test_field_scales_points_by_its_box_and_ends_outside() -> None:
    decoder = TriplaneDecoder(GeneratorConfig(plane_channels=4))
    planes = normal(1, 3, 4, 8, 8)
    points = torch.rand(1, 50, 3, generator=seeded()) * 2 - 1
    small, large = (TriplaneField(planes, decoder, box)(points * box) for box in (0.5, 2.0))
    torch.testing.assert_close(small, large)
    far, _ = TriplaneField(planes, decoder, 0.5)(points + 3.0)
    torch.testing.assert_close(far, far[:, :1].expand_as(far))


# Camera generator


def camera_generator(**changes: object) -> CameraGenerator:
    config = replace(CameraGeneratorConfig(width=16, embed=4), **changes)
    return CameraGenerator(config, CAMERAS["uniform"], 8, CLASSES)


def camera_inputs(count: int, dtype: torch.dtype = torch.float32) -> tuple[Cameras, Tensor, Tensor]:
    prior = sample_cameras(CAMERAS["uniform"], count, seeded()).to(dtype=dtype)
    return prior, normal(count, 8, dtype=dtype), one_hot([i % CLASSES for i in range(count)]).to(dtype)


def test_camera_generator_stays_in_range_and_keeps_what_it_may_not_adjust() -> None:
    prior, z, c = camera_inputs(64)
    posterior = camera_generator(adjust=("fov",))(prior, z * 100, c)
    assert ((posterior.fov >= 10) & (posterior.fov <= 45)).all()
    assert (posterior.fov - prior.fov).abs().max() > 0.1
    for name in ("angles", "radius", "look_at"):
        assert torch.equal(getattr(posterior, name), getattr(prior, name))


def test_camera_generator_refuses_unknown_parameters() -> None:
    with pytest.raises(ValueError, match="zoom"):
        camera_generator(adjust=("zoom",))


def test_origin_depends_on_class_but_not_on_noise() -> None:
    network = camera_generator()
    prior, z, c = camera_inputs(8)
    before = network(prior, z, c)
    torch.testing.assert_close(network(prior, z + 1, c).angles, before.angles)
    assert (network(prior, z + 1, c).look_at - before.look_at).abs().max() > 1e-6
    assert (network(prior, z, c.roll(1, dims=0)).angles - before.angles).abs().max() > 1e-5


def test_camera_derivatives_match_finite_differences() -> None:
    network = camera_generator().double()
    prior, z, c = camera_inputs(6, torch.float64)
    found, step = network.derivatives(prior, z, c), 1e-6
    for i in range(8):
        moved = prior.flat()
        moved[:, i] += step
        change = (network(Cameras.from_flat(moved), z, c).flat() - network(prior, z, c).flat())[:, i]
        torch.testing.assert_close(found[:, i], change / step, rtol=1e-4, atol=1e-6)


def test_gradient_penalty_is_least_for_a_posterior_that_follows_its_prior() -> None:
    slopes = torch.tensor([[1e-9, 0.5, 1.0, -1.0, 2.0]])
    penalty = gradient_penalty(slopes)
    torch.testing.assert_close(penalty, torch.tensor([1e4, 2.5, 2.0, 2.0, 2.5]), rtol=1e-3, atol=1e-3)


def test_emd_equals_the_optimal_assignment() -> None:
    samples, target = normal(40, 3), normal(40, 3, seed=1) * 2 + 0.5
    found = earth_movers_distance(samples, target)
    for i in range(3):
        cost = (samples[:, i, None] - target[None, :, i]).square().numpy()
        assert found[i].item() == pytest.approx(cost[linear_sum_assignment(cost)].mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("regulariser", "terms"),
    [
        ("none", {"force_mean"}),
        ("emd", {"emd", "force_mean"}),
        ("gradient_penalty", {"gradient_penalty", "force_mean"}),
    ],
)
def test_regularisation_has_the_configured_terms_and_gradients(regulariser: str, terms: set[str]) -> None:
    network = camera_generator(regulariser=regulariser)
    found = network.regularisation(5_000_000, seeded(3))
    assert set(found) == terms
    assert torch.equal(sum(found.values()), sum(network.regularisation(5_000_000, seeded(3)).values()))
    sum(found.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.origin.parameters())


def test_regularisation_ramps_up_with_images_seen() -> None:
    network = camera_generator()
    early, late = (network.regularisation(nimg, seeded())["emd"] for nimg in (2_500_000, 10_000_000))
    torch.testing.assert_close(late, early * 4)
    assert network.regularisation(0, seeded())["emd"] == 0


def test_switched_off_regularisation_has_no_terms() -> None:
    assert camera_generator(regulariser="none", force_mean_weight=0.0).regularisation(0, seeded()) == {}


# Depth adaptor


def test_depth_is_normalised_to_the_offset_near_end_and_the_far_end() -> None:
    adaptor = DepthAdaptor(DepthAdaptorConfig(), 0.75, 1.25)
    offset = 0.25 * 0.5 / (1 + np.exp(3.0))
    depth = torch.tensor([0.75 + float(offset), 1.25]).view(1, 1, 1, 2)
    torch.testing.assert_close(adaptor.normalise(depth).flatten(), torch.tensor([-1.0, 1.0]))


def test_adaptor_without_layers_only_normalises() -> None:
    adaptor = DepthAdaptor(DepthAdaptorConfig(layers=0), 1.45, 2.55)
    assert not list(adaptor.parameters())
    depth = torch.tensor([1.45, 2.0, 2.55]).view(1, 1, 1, 3)
    maps = adaptor(depth)
    torch.testing.assert_close(maps.flatten(), torch.tensor([-1.0, 0.0, 1.0]))
    assert adaptor.sample_index(3, 0, seeded()).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("config", "nimg", "expected"),
    [
        (DepthAdaptorConfig(), 0, [0.25, 0.25, 0.25, 0.25]),
        (DepthAdaptorConfig(), 10_000_000, [0.1, 0.2, 0.3, 0.4]),
        (DepthAdaptorConfig(identity=Ramp(start=0.5, end=0.5), others="equal"), 7, [0.5] + [1 / 6] * 3),
    ],
)
def test_depth_choice_follows_its_probabilities(
    config: DepthAdaptorConfig, nimg: int, expected: list[float]
) -> None:
    torch.testing.assert_close(selection_probabilities(config, nimg), torch.tensor(expected))
    index = DepthAdaptor(config, 0.75, 1.25).sample_index(20_000, nimg, seeded())
    torch.testing.assert_close(index.bincount() / 20_000, torch.tensor(expected), atol=0.015, rtol=0)


def test_depth_selection_takes_one_map_per_sample() -> None:
    adaptor = DepthAdaptor(DepthAdaptorConfig(), 0.75, 1.25)
    maps = torch.arange(3 * 4).view(3, 4, 1, 1, 1).float()
    assert adaptor.select(maps, torch.tensor([0, 3, 1])).flatten().tolist() == [0, 7, 9]
    assert adaptor.select(maps, None).flatten().tolist() == [3, 7, 11]


# Generator


def generator_inputs(config: RunConfig, count: int = 4) -> tuple[Tensor, Tensor, Cameras]:
    c = one_hot([i % CLASSES for i in range(count)])
    return normal(count, config.generator.z_dim), c, sample_cameras(config.camera, count, seeded())


def test_evaluation_is_deterministic_and_training_follows_its_generator() -> None:
    network = Generator(CONFIG, CLASSES)
    with torch.no_grad():
        inputs = generator_inputs(CONFIG)
        trained = [network(*inputs, generator=seeded(seed)).images for seed in (0, 0, 1)]
        network.eval()
        assert torch.equal(network(*inputs).images, network(*inputs).images)
    assert trained[0].shape == (4, 4, 32, 32)
    assert torch.equal(trained[0], trained[1])
    assert (trained[0] - trained[2]).abs().max() > 1e-3


def test_training_without_a_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="generator"):
        Generator(CONFIG, CLASSES)(*generator_inputs(CONFIG))


def test_full_patch_is_the_whole_image() -> None:
    network = Generator(CONFIG, CLASSES).eval()
    inputs = generator_inputs(CONFIG)
    with torch.no_grad():
        whole = network(*inputs, resolution=16)
        patch = network(*inputs, patches=full_patch(4))
    torch.testing.assert_close(patch.rgb, whole.rgb)
    torch.testing.assert_close(patch.depth, whole.depth)


@pytest.mark.parametrize("classes", [0, 1])
def test_fewer_than_two_classes_make_an_unconditional_generator(classes: int) -> None:
    network = Generator(CONFIG, classes).eval()
    z, c, prior = generator_inputs(CONFIG, 2)
    with torch.no_grad():
        assert torch.equal(network(z, None, prior).rgb, network(z, c, prior).rgb)


def test_generator_without_camera_generator_sees_from_the_prior() -> None:
    config = replace(CONFIG, camera_generator=CameraGeneratorConfig(adjust=()))
    network = Generator(config, CLASSES).eval()
    z, c, prior = generator_inputs(config)
    assert network.cameras(prior, z, c) is prior
    assert not [name for name, _ in network.named_parameters() if "camera" in name]


def test_density_noise_fades_with_images_seen() -> None:
    noisy = replace(CONFIG.render, density_noise=Ramp(start=5.0, end=0.0, kimg=10))
    network = Generator(replace(CONFIG, render=noisy), CLASSES)
    no_progress = Generator(CONFIG, CLASSES)
    no_progress.load_state_dict(network.state_dict())
    inputs = generator_inputs(CONFIG)
    with torch.no_grad():
        early, late = (network(*inputs, nimg=nimg, generator=seeded()).depth for nimg in (0, 10_000))
        reference = no_progress(*inputs, generator=seeded()).depth
    torch.testing.assert_close(late, reference)
    assert (early - reference).abs().max() > 1e-3


def test_every_generator_parameter_learns() -> None:
    network = Generator(CONFIG, CLASSES)
    seen = network(*generator_inputs(CONFIG, 8), generator=seeded(1))
    terms = network.camera_generator.regularisation(5_000_000, seeded())
    (seen.images.square().sum() + sum(terms.values())).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_normalised_noise_has_unit_second_moment() -> None:
    x = normalise_second_moment(normal(5, 64) * 30)
    torch.testing.assert_close(x.square().mean(dim=1), torch.ones(5))


def test_default_generator_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Generator(PRESETS["dogs-256"], 1000)
    assert sum(p.numel() for p in network.parameters()) == 30_154_573  # 30.15 M
    assert network.backbone.num_ws == 16


# Squares of texels


def test_squares_of_texels_are_the_columns_of_a_product_for_each_pixel() -> None:
    """Pixel (i, j) times the kernel of texel (a, b) stands at (2i + a, 2j + b); against a loop over all of them."""
    layer = ToPlanes(3, 4, 5, square=2)
    torch.nn.init.normal_(layer.bias)
    x, w = normal(2, 3, 4, 5, seed=0), normal(2, 5, seed=1)
    kernels = layer.conv.weight.flatten(1) * layer.conv.modulation(w)[:, None]
    found = layer(x, w)
    assert found.shape == (2, 4, 8, 10)
    for a in (0, 1):
        for b in (0, 1):
            rows = slice(4 * (2 * a + b), 4 * (2 * a + b) + 4)
            expected = torch.einsum("noi,nihw->nohw", kernels[:, rows], x) + layer.bias[rows, None, None]
            torch.testing.assert_close(found[..., a::2, b::2], expected)


def test_planes_of_squares_have_the_resolution_asked_for_and_a_block_less() -> None:
    plain = GeneratorConfig(
        z_dim=4, w_dim=6, plane_resolution=32, plane_channels=4, channel_base=128, channel_max=16
    )
    squares = Backbone(replace(plain, texel_square=4))
    assert squares.num_ws == Backbone(plain).num_ws - 4
    assert squares(normal(2, squares.num_ws, 6, seed=0), "none").shape == (2, 3, 4, 32, 32)
    with pytest.raises(ValueError, match="expected a power of two from 4, found 32 / 3"):
        Backbone(replace(plain, texel_square=3))

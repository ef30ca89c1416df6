"""The projected discriminator: what never learns, what heads see, spectral norms, other networks' features."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gp3d_core.networks.foreign_weights import WeightsError
from gp3d_core.networks.projected.discriminator import ProjectedDiscriminator
from gp3d_core.networks.projected.features import (
    SQUEEZENET,
    FeatureNetworkError,
    SqueezeNetMaps,
    feature_maps,
)
from gp3d_core.networks.projected.heads import Block, Head
from gp3d_core.networks.projected.limits import limited
from gp3d_core.networks.projected.mixing import RandomMixing
from gp3d_core.networks.squeezenet import SqueezeNet
from gp3d_core.training import losses
from gp3d_core.training.step import adam

SIZE = 128


def small(c_dim: int = 0, heads: int = 4) -> ProjectedDiscriminator:
    torch.manual_seed(5)
    return ProjectedDiscriminator(
        feature_maps(SQUEEZENET, SIZE),
        resolution=32,
        c_dim=c_dim,
        mixing_width=4,
        head_width=4,
        convolutions="separable",
        heads=heads,
    ).train()


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_only_heads_learn_and_what_is_before_them_stays_to_the_bit() -> None:
    network = small().requires_grad_(True)
    assert {name.split(".")[0] for name, _ in network.named_parameters()} == {"heads"}
    before = {name: value.clone() for name, value in network.named_buffers() if not name.startswith("heads.")}
    optimizer = adam(network, 0.01)
    for _ in range(10):
        losses.real_loss(network(pictures()).logits, "hinge").mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = dict(network.named_buffers())
    assert before
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_gradient_reaches_the_picture_and_a_step_along_it_raises_the_logits() -> None:
    network = small()
    images = pictures().requires_grad_()
    logits = network(images).logits.mean()
    (gradient,) = torch.autograd.grad(logits, images)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    step = 0.01 / gradient.abs().max()
    assert network((images + step * gradient).detach()).logits.mean() > logits


def test_permuting_a_batch_permutes_the_logits_though_its_statistics_are_shared() -> None:
    network, images = small(), pictures(4)
    order = torch.tensor([2, 0, 3, 1])
    state = {name: value.clone() for name, value in network.state_dict().items()}
    logits = network(images).logits
    network.load_state_dict(state)  # each call moves the estimates of the norms
    torch.testing.assert_close(network(images[order]).logits, logits[order], rtol=1e-3, atol=1e-4)
    network.load_state_dict(state)
    assert not torch.allclose(network(images[:2]).logits, logits[:2], atol=1e-3)


def test_weights_of_heads_have_a_largest_singular_value_of_one() -> None:
    torch.manual_seed(2)
    head = Head(6, [8, 8], "plain").train()
    with torch.no_grad():
        for _ in range(50):
            head(torch.randn(2, 6, 32, 32))
    convolutions = [part for part in head.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) == 3
    for convolution in convolutions:
        largest = torch.linalg.matrix_norm(convolution.weight.flatten(1), ord=2).item()
        assert 0.95 <= largest <= 1.05


def test_classes_change_the_logits_of_a_conditional_discriminator() -> None:
    network = small(c_dim=3)
    first, second = (network(pictures(), torch.eye(3)[[k, k]]).logits for k in (0, 2))
    assert not torch.allclose(first, second, atol=1e-3)
    with pytest.raises(TypeError, match="c: "):
        network(pictures())


def test_random_mixing_is_linear_in_the_maps_and_mixes_deeper_ones_into_shallower_ones() -> None:
    mixing = RandomMixing([3, 4], 2)
    assert mixing.widths == [2, 2]
    first, second = (
        [torch.randn(1, 3, 8, 8), torch.randn(1, 4, 4, 4)],
        [
            torch.zeros(1, 3, 8, 8),
            torch.zeros(1, 4, 4, 4),
        ],
    )
    shallow, deep = mixing(first)
    assert shallow.shape == (1, 2, 16, 16)
    assert deep.shape == (1, 2, 8, 8)
    offset = mixing(second)
    doubled = mixing([2 * x for x in first])
    torch.testing.assert_close(doubled[0] - offset[0], 2 * (shallow - offset[0]))
    other = mixing([first[0], second[1]])
    assert not torch.allclose(other[0], shallow)  # the shallow mixture sees the deep map
    assert torch.equal(mixing([second[0], first[1]])[1], deep)  # but not the other way


def test_squeezenet_gives_maps_at_strides_4_to_32_in_its_own_normalisation(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = SqueezeNet()
    save_file(network.state_dict(), tmp_path / "squeezenet.safetensors")
    features = SqueezeNetMaps(SIZE)
    features.fill(tmp_path / "squeezenet.safetensors")
    images = torch.rand(2, 3, 224, 224)
    maps = features(images * 2 - 1)
    assert [tuple(found.shape[1:]) for found in maps] == [
        (96, 54, 54),
        (256, 27, 27),
        (384, 13, 13),
        (512, 6, 6),
    ]
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    normalised = (images - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(maps[0], network.features[:3](normalised))
    whole = network.features(normalised)
    torch.testing.assert_close(maps[3], nn.functional.avg_pool2d(whole, 2))
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="squeezenet1_0"):
        features.fill(tmp_path / "other.safetensors")


def test_the_frozen_part_stays_in_evaluation_mode() -> None:
    network = small()
    assert network.heads.training
    assert not network.features.training
    assert not network.mixing.training


def test_heads_halve_to_8_nominal_pixels_whatever_the_size() -> None:
    for seen, halvings in ((128, [3, 2, 1, 0]), (224, [4, 3, 2, 1])):
        features = feature_maps(SQUEEZENET, seen)
        network = ProjectedDiscriminator(
            features, resolution=64, c_dim=0, mixing_width=2, head_width=2, convolutions="plain"
        )
        blocks = [sum(isinstance(part, Block) for part in head.modules()) for head in network.heads]
        assert blocks == [max(1, halving) for halving in halvings]  # at least one normalises
        assert network(pictures()).logits.shape == (2, sum(places(network, seen, halvings)))


def test_a_head_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="widths: "):
        Head(6, [], "plain")


@pytest.mark.parametrize("c_dim", [0, 3])
def test_logits_stay_in_their_size_whatever_that_of_the_features(c_dim: int) -> None:
    network, classes = small(c_dim=c_dim), torch.eye(3)[[0, 1, 2, 0]] if c_dim else None
    state = {name: value.clone() for name, value in network.state_dict().items()}
    found = []
    for factor in (1.0, 1000.0):
        network.load_state_dict(state)
        for convolution in network.mixing.across_channels:
            convolution.weight *= factor
            convolution.bias *= factor
        for convolution in network.mixing.across_scales:
            convolution.bias *= factor
        found.append(network(pictures(4), classes).logits)
    torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=0.05)


def test_pictures_are_cut_to_their_range_and_what_is_beyond_can_only_come_back() -> None:
    images = torch.tensor([-3.0, -3.0, -1.0, 0.5, 0.5, 1.0, 2.0, 2.0]).requires_grad_()
    cut = limited(images)
    assert cut.tolist() == [-1.0, -1.0, -1.0, 0.5, 0.5, 1.0, 1.0, 1.0]
    cut.backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0]))
    assert images.grad.tolist() == [0.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 0.0]


def places(network: ProjectedDiscriminator, seen: int, halvings: list[int]) -> Iterator[int]:
    """Windows of 4×4 in the last map of each head."""
    mixtures = network.mixing(network.features(torch.zeros(1, 3, seen, seen)))
    for mixture, halving in zip(mixtures, halvings, strict=True):
        side = mixture.shape[2] >> halving
        yield (side - 3) ** 2


class _Pyramid(nn.Module):
    """Stands in for a network of timm: five maps at strides 2 to 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(3, 2 + level, 1) for level in range(5))
        self.feature_info = SimpleNamespace(
            reduction=lambda: [2, 4, 8, 16, 32], channels=lambda: [2, 3, 4, 5, 6]
        )
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

    def forward(self, x: Tensor) -> list[Tensor]:
        return [stage(x[..., :: 2 << k, :: 2 << k]) for k, stage in enumerate(self.stages)]


def test_a_network_of_timm_gives_its_maps_at_strides_4_to_32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    timm = ModuleType("timm")
    timm.create_model = lambda name, **options: _Pyramid()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)
    features = feature_maps("timm:pyramid", SIZE)
    assert features.channels == (3, 4, 5, 6)
    assert not list(features.parameters())
    weights = _Pyramid().state_dict()
    save_file(weights | {"classifier.weight": torch.zeros(3)}, tmp_path / "pyramid.safetensors")
    features.fill(tmp_path / "pyramid.safetensors")
    images = pictures()
    maps = features(images)
    assert [found.shape[2] for found in maps] == [32, 16, 8, 4]
    wide = nn.functional.interpolate(images, size=(SIZE, SIZE), mode="bilinear")  # [-1, 1] is its own range
    expected = nn.functional.conv2d(wide[..., ::4, ::4], weights["stages.1.weight"], weights["stages.1.bias"])
    torch.testing.assert_close(maps[0], expected)


def test_feature_networks_that_cannot_be_had_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FeatureNetworkError, match="torchvision:squeezenet1_0 or timm:NETWORK"):
        feature_maps("resnet", SIZE)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FeatureNetworkError, match="pip install timm"):
        feature_maps("timm:resnet50", SIZE)

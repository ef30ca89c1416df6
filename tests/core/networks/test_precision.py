"""Half precision on a CPU: bfloat16 while training in mixed precision, where the hardware multiplies it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.ops import precision
from gp3d_core.rendering.patches import full_patch
from gp3d_core.rng import generator_for
from tests.support.small_networks import CLASSES, CONFIG, FEATURES

MIXED = replace(CONFIG, training=replace(CONFIG.training, precision="mixed"))


@pytest.fixture(params=[True, False], ids=["able", "unable"])
def able(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the CPU is taken for one that multiplies bfloat16 in hardware; any of them can do so slowly."""
    monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda: request.param)
    return bool(request.param)


def judged(network: Discriminator) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of their sum's squared slope by the images (R1) to all weights, as one vector."""
    images = torch.randn(4, 4, 16, 16, generator=generator_for("images")).requires_grad_()
    logits = network(images, full_patch(4), torch.eye(CLASSES)).logits
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    weights = [p for name, p in network.named_parameters() if name.endswith("conv0.weight")]
    second = torch.autograd.grad(slope.square().sum(), weights)
    return logits.detach(), torch.cat([g.flatten() for g in second])


def learnt(network: Discriminator, *, of_images: bool) -> Tensor:
    """The gradient that the discriminator learns by, or that of the images, which the generator learns by."""
    network.requires_grad_(not of_images)
    images = torch.randn(4, 4, 16, 16, generator=generator_for("images")).requires_grad_(of_images)
    logits = network(images, full_patch(4), torch.eye(CLASSES)).logits
    wanted = images if of_images else network.get_parameter("blocks.0.conv0.weight")
    (gradient,) = torch.autograd.grad(logits.sum(), wanted)
    network.requires_grad_(True)
    return gradient


def planes(network: Generator) -> Tensor:
    """Of two codes, with noise that is drawn."""
    ws = torch.randn(2, network.backbone.num_ws, MIXED.generator.w_dim, generator=generator_for("ws"))
    return network.planes(ws, generator_for("noise")).float().detach()


def convolved_types(network: nn.Module, run: object) -> set[torch.dtype]:
    """Of what leaves the 3×3 convolutions of blocks while `run` runs."""
    seen: set[torch.dtype] = set()
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
        for name, module in network.named_modules()
        if name.endswith("blocks.0.conv0")
    ]
    assert hooks
    run(network)  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return seen


def twins(kind: type, *arguments: int) -> tuple[nn.Module, nn.Module]:
    """Networks of equal weights in mixed and in single precision."""
    torch.manual_seed(3)
    exact = kind(CONFIG, *arguments)
    mixed = kind(MIXED, *arguments)
    mixed.load_state_dict(exact.state_dict())
    return mixed, exact


def test_a_discriminator_trains_in_bfloat16_where_the_cpu_has_it(able: bool) -> None:
    able = able and precision.convolves_bfloat16()  # not so with AMX and PyTorch 2.13.0
    mixed, exact = twins(Discriminator, CLASSES, FEATURES)
    (logits, second), (expected, expected_second) = judged(mixed), judged(exact)
    assert torch.equal(logits, expected) is not able
    torch.testing.assert_close(logits, expected, rtol=2e-2, atol=2e-2)
    assert (second - expected_second).norm() <= 0.05 * expected_second.norm()
    assert convolved_types(mixed, judged) == {torch.bfloat16 if able else torch.float32}


@pytest.mark.parametrize("of_images", [False, True])
def test_what_the_players_learn_by_is_nearly_the_same_in_bfloat16(able: bool, of_images: bool) -> None:
    """Also on CPUs with AMX, whose second derivatives are another thing."""
    mixed, exact = twins(Discriminator, CLASSES, FEATURES)
    found, expected = learnt(mixed, of_images=of_images), learnt(exact, of_images=of_images)
    assert torch.equal(found, expected) is not able
    assert (found - expected).norm() <= 0.1 * expected.norm()


def test_a_generator_trains_in_bfloat16_where_the_cpu_has_it(able: bool) -> None:
    mixed, exact = twins(Generator, CLASSES)
    found, expected = planes(mixed), planes(exact)
    assert torch.equal(found, expected) is not able
    # roundings to bfloat16, .1 % each: of what goes into and comes out of eight convolutions, and of sums
    assert (found - expected).norm() <= 0.02 * expected.norm()


def test_what_is_made_for_keeps_is_exact(able: bool) -> None:
    for kind, run in ((Generator, planes), (Discriminator, judged)):
        mixed, exact = twins(kind, CLASSES)
        for found, expected in zip(run(mixed.eval()), run(exact.eval()), strict=True):
            assert torch.equal(found, expected)


def test_what_is_differentiated_twice_is_exact_where_convolutions_are_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with PyTorch 2.13.0 and oneDNN's kernels for AMX (of the kind of pytorch/pytorch#163347)."""
    usual = torch.nn.functional.conv2d

    def wrong(images: Tensor, kernel: Tensor, *more: object, **options: object) -> Tensor:
        found = usual(images, kernel, *more, **options)
        return found / 4 if images.dtype == torch.bfloat16 else found

    monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(precision.functional, "conv2d", wrong)
    precision.convolves_bfloat16.cache_clear()
    mixed, exact = twins(Discriminator, CLASSES, FEATURES)
    assert torch.equal(judged(mixed)[1], judged(exact)[1])
    for player in (False, True):  # whose gradients are taken once
        assert convolved_types(mixed, partial(learnt, of_images=player)) == {torch.bfloat16}
    assert precision.half_on_processor(torch.device("cpu"), training=True)
    precision.convolves_bfloat16.cache_clear()
    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        assert not precision.convolves_bfloat16()
    monkeypatch.undo()
    precision.convolves_bfloat16.cache_clear()

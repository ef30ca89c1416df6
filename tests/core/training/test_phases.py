"""The phases of a training step, called one by one: what the players get to see, and what they pay.

Stand-ins for the networks make every loss a closed form: a discriminator whose logit is a known quadratic of the
picture, and a generator that shows the same pictures whatever it is asked for. Both note what they were given.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.config.schema import Ramp, RunConfig
from gp3d_core.datasets.dataset import Batch
from gp3d_core.networks.camera_generator import CameraGenerator
from gp3d_core.networks.discriminator import DiscriminatorOutput, Shown
from gp3d_core.networks.generator import Generator, GeneratorOutput
from gp3d_core.networks.latents import Latents, sample_latents
from gp3d_core.rendering.patches import Patches
from gp3d_core.training import losses, phases
from gp3d_core.training.phases import StepContext, discriminator_phase, generator_phase, r1_phase
from tests.support.micro import micro_config

COUNT, SIZE = 4, 8
LABELS = torch.tensor([0, 1, 1, 0])


class Quadratic(nn.Module):
    """Logits gain · ‖picture‖² - 1.5, and given features."""

    def __init__(self, gain: float = 0.02, features: Tensor | None = None) -> None:
        super().__init__()
        self.gain, self.features, self.c_dim = nn.Parameter(torch.tensor(gain)), features, 2
        self.images: list[Tensor] = []
        self.patches: list[Patches] = []
        self.classes: list[Tensor] = []
        self.asked: list[bool] = []

    def forward(
        self, images: Tensor, patches: Patches, c: Tensor, *, with_features: bool = False
    ) -> DiscriminatorOutput:
        self.images.append(images.detach())
        self.patches, self.classes = [*self.patches, patches], [*self.classes, c]
        self.asked.append(with_features)
        logits = self.gain * images.square().sum(dim=(1, 2, 3)) - 1.5
        return DiscriminatorOutput(logits, self.features if with_features else None)

    def both(self, fake: Shown, real: Shown, **asked: bool) -> tuple[DiscriminatorOutput, ...]:
        return self(*fake), self(*real, **asked)


class Pictures(nn.Module):
    """Always the same pictures, from the prior's cameras."""

    def __init__(self, camera_generator: CameraGenerator | None = None) -> None:
        super().__init__()
        self.pictures = nn.Parameter(noise(1, COUNT, 4, SIZE, SIZE))
        self.camera_generator = camera_generator
        self.calls: list[dict] = []

    def forward(self, z: Tensor, c: Tensor, prior: object, **call: object) -> GeneratorOutput:
        self.calls.append(call)
        rgb, depth = self.pictures[:, :3], self.pictures[:, 3:]
        return GeneratorOutput(rgb, depth + 2, depth, torch.ones_like(depth), prior, z)


def noise(seed: int, *shape: int) -> Tensor:
    return 0.6 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def config_of(*more: str) -> RunConfig:
    """Patches are whole images of 8 × 8 pixels; nothing is blurred and nothing distilled."""
    plain = ("training.resolution=8", "patch.resolution=8", "loss.blur.start=0")
    return micro_config(*plain, *more)


def context(nimg: int = 0, augmentation: float = 0.0) -> StepContext:
    return StepContext(nimg, augmentation, torch.Generator().manual_seed(7))


def batch() -> Batch:
    """Real pictures; the first is dark, so that the stand-in takes it for a fake."""
    dark = torch.tensor([0.3, 1, 1, 1])[:, None, None, None]
    return Batch(dark * noise(2, COUNT, 3, SIZE, SIZE), noise(3, COUNT, 1, SIZE, SIZE), LABELS, None)


def real_pictures() -> Tensor:
    return torch.cat([batch().images, batch().depth], dim=1)


def enlarged(features: Tensor | None) -> Batch:
    """The same pictures twice as large."""
    images, depth = (
        x.repeat_interleave(2, 2).repeat_interleave(2, 3) for x in (batch().images, batch().depth)
    )
    return Batch(images, depth, LABELS, features)


def latents_of(config: RunConfig, labels: Tensor = LABELS, classes=2, count=COUNT, nimg=0) -> Latents:
    at = context(nimg)
    return sample_latents(config, labels, classes, count, nimg=nimg, generator=at.rng)


def logits_of(pictures: Tensor, gain: float = 0.02) -> np.ndarray:
    return gain * pictures.detach().double().square().sum(dim=(1, 2, 3)).numpy() - 1.5


def play(config: RunConfig, when: StepContext, judge: Quadratic, pictures: Pictures, real: Batch) -> None:
    """All three phases, one after the other; then `judge` has seen fake, fake, real, real."""
    generator_phase(pictures, judge, latents_of(config), config, when)
    discriminator_phase(pictures, judge, latents_of(config), real, config, when)
    r1_phase(judge, real, config, when)


# Adversarial losses


@pytest.mark.parametrize(
    ("kind", "pay_fake", "pay_real", "pay_generator"),
    [
        (
            "softplus",
            lambda x: np.logaddexp(0, x),
            lambda x: np.logaddexp(0, -x),
            lambda x: np.logaddexp(0, -x),
        ),
        ("hinge", lambda x: np.maximum(0, 1 + x), lambda x: np.maximum(0, 1 - x), lambda x: -x),
    ],
)
def test_players_pay_the_configured_loss(kind, pay_fake, pay_real, pay_generator) -> None:
    config, judge, pictures = config_of(f"loss.adversarial={kind}"), Quadratic(), Pictures()
    fake, real = logits_of(pictures.pictures), logits_of(real_pictures())
    loss, log = generator_phase(pictures, judge, latents_of(config), config, context())
    assert loss.item() == pytest.approx(pay_generator(fake).mean(), rel=1e-5)
    assert log["scores/fake_by_generator"].item() == pytest.approx(fake.mean(), rel=1e-5)
    loss, log = discriminator_phase(pictures, judge, latents_of(config), batch(), config, context())
    assert loss.item() == pytest.approx(pay_fake(fake).mean() + pay_real(real).mean(), rel=1e-5)
    assert log["scores/real_sign"].item() == pytest.approx(np.sign(real).mean())
    assert np.sign(real).mean() != np.sign(fake).mean()
    assert log["scores/largest"].item() == pytest.approx(np.abs([fake, real]).max(), rel=1e-5)


def test_gradients_of_a_phase_reach_the_player_whose_phase_it_is() -> None:
    config, judge, pictures = config_of(), Quadratic(), Pictures()
    discriminator_phase(pictures, judge, latents_of(config), batch(), config, context())[0].backward()
    assert judge.gain.grad.abs() > 0
    assert pictures.pictures.grad is None
    generator_phase(pictures, judge, latents_of(config), config, context())[0].backward()
    assert (pictures.pictures.grad.flatten(1).norm(dim=1) > 0).all()


def test_discriminator_hears_class_and_patch_of_what_it_sees() -> None:
    config, judge = config_of("training.resolution=16", "patch.beta.start=0.8"), Quadratic()
    latents, real = latents_of(config), enlarged(None)
    play(config, context(), judge, Pictures(), real)
    for k in (0, 1):
        assert torch.equal(judge.patches[k].scales, latents.patches.scales)
        assert torch.equal(judge.patches[k].offsets, latents.patches.offsets)
        assert torch.equal(judge.classes[k], latents.c)
    for k in (2, 3):
        assert torch.equal(judge.classes[k], torch.eye(2)[LABELS])
        cut = phases.extract_patches(torch.cat([real.images, real.depth], dim=1), judge.patches[k], SIZE)
        torch.testing.assert_close(judge.images[k], cut)
    scales = [patches.scales[0, 0].item() for patches in judge.patches[1:]]
    assert len(set(scales)) == 3  # fakes, reals and R1 draw their own


# R1


def test_r1_is_half_gamma_times_interval_of_the_penalty() -> None:
    config, judge = config_of("loss.r1_gamma=0.7", "loss.r1_interval=5"), Quadratic(gain=0.3)
    loss, log = r1_phase(judge, batch(), config, context())
    energy = real_pictures().square().sum(dim=(1, 2, 3)).mean().item()
    assert log["loss/r1_penalty"].item() == pytest.approx(4 * 0.3**2 * energy, rel=1e-4)
    assert loss.item() == pytest.approx(0.7 / 2 * 5 * 4 * 0.3**2 * energy, rel=1e-4)
    loss.backward()
    assert judge.gain.grad.item() == pytest.approx(0.7 / 2 * 5 * 8 * 0.3 * energy, rel=1e-4)


def test_r1_is_taken_before_the_blur_that_the_discriminator_sees_through() -> None:
    config, judge, x = config_of("loss.blur.start=1", "loss.blur.kimg=2"), Quadratic(), real_pictures()
    _, log = r1_phase(judge, batch(), config, context())
    seen = losses.blur_patches(x, 1.0)
    torch.testing.assert_close(judge.images[0], seen)
    _, slope = torch.autograd.functional.vjp(lambda x: losses.blur_patches(x, 1.0), x, 2 * 0.02 * seen)
    penalty, behind = (s.square().sum(dim=(1, 2, 3)).mean().item() for s in (slope, 2 * 0.02 * seen))
    assert log["loss/r1_penalty"].item() == pytest.approx(penalty, rel=1e-4)
    assert penalty < 0.8 * behind


def test_r1_is_taken_before_the_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "augment", lambda images, *_: 3 * images)
    judge = Quadratic()
    _, log = r1_phase(judge, batch(), config_of(), context(augmentation=0.5))
    torch.testing.assert_close(judge.images[0], 3 * real_pictures())
    energy = real_pictures().square().sum(dim=(1, 2, 3)).mean().item()
    assert log["loss/r1_penalty"].item() == pytest.approx(4 * (9 * 0.02) ** 2 * energy, rel=1e-4)


# What happens to pictures before the discriminator


@pytest.mark.parametrize(("nimg", "sigma"), [(0, 2.0), (1000, 1.0), (2000, 0.0)])
def test_blur_schedule_reaches_fakes_and_reals(nimg: int, sigma: float) -> None:
    config, judge, pictures = config_of("loss.blur.start=2", "loss.blur.kimg=2"), Quadratic(), Pictures()
    play(config, context(nimg), judge, pictures, batch())
    plain = [pictures.pictures.detach()] * 2 + [real_pictures()] * 2
    for seen, before in zip(judge.images, plain, strict=True):
        torch.testing.assert_close(seen, losses.blur_patches(before, sigma))
        assert torch.allclose(seen, before, atol=1e-5) == (sigma == 0)


def test_augmentation_comes_after_the_blur_and_only_with_a_probability(monkeypatch) -> None:
    calls = []

    def augment(images: Tensor, probability: float, stream: torch.Generator) -> Tensor:
        calls.append((probability, stream))
        return -images

    monkeypatch.setattr(phases, "augment", augment)
    config, judge, pictures = config_of("loss.blur.start=1", "loss.blur.kimg=2"), Quadratic(), Pictures()
    play(config, context(augmentation=0.0), judge, pictures, batch())
    assert calls == []
    when = context(augmentation=0.3)
    play(config, when, judge, pictures, batch())
    assert calls == [(0.3, when.rng)] * 4
    for spared, augmented in zip(judge.images[:4], judge.images[4:], strict=True):
        torch.testing.assert_close(augmented, -spared)


def test_real_depth_blur_changes_nothing_but_the_depth_of_reals() -> None:
    judge, pictures = Quadratic(), Pictures()
    play(config_of("loss.real_depth_blur=1"), context(), judge, pictures, batch())
    for fake in judge.images[:2]:
        assert torch.equal(fake, pictures.pictures)
    for real in judge.images[2:]:
        torch.testing.assert_close(real[:, :3], batch().images)
        torch.testing.assert_close(real[:, 3:], losses.blur_real_depth(batch().depth, 1.0))
        assert not torch.allclose(real[:, 3:], batch().depth, atol=0.1)


# Distillation


PREDICTED, TARGET = 3 * noise(4, COUNT, 6), noise(5, COUNT, 6)
DISTANCES = {
    "l2": (PREDICTED - TARGET).norm(dim=1),
    "l2_squared": (PREDICTED - TARGET).norm(dim=1) ** 2,
    "kl": torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=TARGET), torch.distributions.Categorical(logits=PREDICTED)
    ),
}


def distilled(judge: Quadratic, nimg: int, features: Tensor | None, *more: str) -> tuple[float, phases.Log]:
    """What distillation adds to the discriminator's loss, and the log; its weight falls from 2 to 0 in 8000 images."""
    ramp = ("loss.distillation_weight.start=2", "loss.distillation_weight.kimg=8")
    config = config_of("training.resolution=16", *ramp, *more)
    real, latents = enlarged(features), latents_of(config)
    loss, log = discriminator_phase(Pictures(), judge, latents, real, config, context(nimg))
    return (loss - log["loss/discriminator"]).item(), log


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("by_scale", [False, True])
def test_distillation_of_each_kind_is_in_the_loss(kind: str, by_scale: bool, monkeypatch) -> None:
    scales = torch.tensor([0.5, 0.6, 0.8, 0.9])
    drawn = Patches(scales[:, None].expand(-1, 2), torch.zeros(COUNT, 2))
    monkeypatch.setattr(phases, "sample_patches", lambda *_: drawn)
    settings = (f"loss.distillation={kind}", f"loss.distillation_by_scale={by_scale}")
    judge = Quadratic(features=PREDICTED)
    added, log = distilled(judge, 2000, TARGET, *settings)
    weights = scales / scales.mean() if by_scale else torch.ones(COUNT)
    expected = (weights * DISTANCES[kind]).mean().item()
    assert log["loss/distillation"].item() == pytest.approx(expected, rel=1e-4)
    assert added == pytest.approx(1.5 * expected, rel=1e-4)
    assert judge.asked == [False, True]


@pytest.mark.parametrize(("nimg", "features"), [(8000, TARGET), (0, None)])
def test_features_are_asked_for_only_where_they_count(nimg: int, features: Tensor | None) -> None:
    judge = Quadratic(features=PREDICTED)
    added, log = distilled(judge, nimg, features)
    assert judge.asked == [False, False]
    assert added == 0
    assert "loss/distillation" not in log


# Cameras


def lazy_cameras(config: RunConfig) -> tuple[CameraGenerator, list[Tensor]]:
    """A camera generator that writes 1 for yaw and 0 for all else; and the priors it is regularised on."""
    network = CameraGenerator(config.camera_generator, config.camera, config.generator.z_dim, 2)
    for output in (network.origin.output, network.look_at.output):
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)
    nn.init.constant_(network.origin.output.bias[:1], 10.0)  # times the layer's factor of 0.1
    priors, draw = [], network.sample_inputs

    def noted(count: int, stream: torch.Generator) -> tuple:
        drawn = draw(count, stream)
        priors.append(drawn[0].flat())
        return drawn

    network.sample_inputs = noted
    return network, priors


def ranges(config: RunConfig) -> tuple[Tensor, Tensor]:
    """Low ends and spans of yaw, pitch, fov and the three look-at parameters."""
    names = ("yaw", "pitch", "fov", "look_at_yaw", "look_at_pitch", "look_at_radius")
    priors = [getattr(config.camera, name) for name in names]
    return torch.tensor([p.low for p in priors]), torch.tensor([p.high - p.low for p in priors])


@pytest.mark.parametrize(
    ("regulariser", "residual"), [("emd", False), ("gradient_penalty", False), ("gradient_penalty", True)]
)
def test_camera_regularisers_are_in_the_generators_loss(regulariser: str, residual: bool) -> None:
    settings = {"adjust": ("angles", "fov", "look_at"), "regulariser": regulariser, "residual": residual}
    weights = {"angle_weight": 0.3, "fov_weight": 0.03, "look_at_weight": 0.004, "force_mean_weight": 7.0}
    config = config_of()
    cameras = replace(
        config.camera_generator, **settings, **weights, weight_ramp=Ramp(start=0.0, end=1.0, kimg=10)
    )
    config = replace(config, camera=CAMERAS["uniform"], camera_generator=cameras)
    network, priors = lazy_cameras(config)
    loss, log = generator_phase(Pictures(network), Quadratic(), latents_of(config), config, context(2500))

    low, span = ranges(config)
    prior = priors[0][:, [0, 1, 3, 5, 6, 7]]
    raw = torch.tensor([1.0, 0, 0, 0, 0, 0]) + (prior - low) / span * residual
    if regulariser == "emd":  # the posterior is a point
        per_parameter = (raw.sigmoid() * span + low - prior).square().mean(dim=0)
    else:
        slope = raw.sigmoid() * (1 - raw.sigmoid()) * residual
        per_parameter = (slope + 1 / (slope + 1e-4)).mean(dim=0)
    expected = 0.25 * (per_parameter @ torch.tensor([0.3, 0.3, 0.03, 0.004, 0.004, 0.004])).item()
    angles = priors[1][:, :2]
    written = torch.tensor([1.0, 0.0]) + (angles - low[:2]) / span[:2] * residual
    mean = (written.sigmoid() * span[:2] + low[:2]).mean(dim=0) - (low + span / 2)[:2]
    assert log[f"cameras/{regulariser}"].item() == pytest.approx(expected, rel=1e-3)
    assert log["cameras/force_mean"].item() == pytest.approx(7 * mean.norm().item(), rel=1e-3)
    total = log["loss/generator"] + log[f"cameras/{regulariser}"] + log["cameras/force_mean"]
    assert loss.item() == pytest.approx(total.item(), rel=1e-6)
    loss.backward()
    assert network.origin.output.bias.grad.abs().max() > 0


# Fakes


def test_only_the_discriminators_phase_moves_the_average_code() -> None:
    config = config_of()
    generator, judge = Generator(config, 2), Quadratic()
    latents = latents_of(config)
    generator_phase(generator, judge, latents, config, context())
    assert generator.mapping.w_avg.abs().max() == 0
    discriminator_phase(generator, judge, latents, batch(), config, context())
    codes = generator.mapping.network(latents.z, latents.c)
    torch.testing.assert_close(generator.mapping.w_avg, 0.002 * codes.mean(dim=0), rtol=1e-3, atol=1e-7)


def test_generator_is_told_where_in_the_run_it_is() -> None:
    config, pictures, when = config_of(), Pictures(), context(1234)
    latents = latents_of(config)
    generator_phase(pictures, Quadratic(), latents, config, when)
    discriminator_phase(pictures, Quadratic(), latents, batch(), config, when)
    told = {"patches": latents.patches, "nimg": 1234, "generator": when.rng}
    for call, moves in zip(pictures.calls, (False, True), strict=True):
        assert call == told | {"update_average": moves}


def test_fakes_have_classes_as_often_as_the_data() -> None:
    labels = torch.tensor([2, 0, 0, 2, 2, 0, 0, 0, 0, 0])
    latents = latents_of(config_of(), labels, 3, 4000)
    assert torch.equal(latents.c.sum(dim=1), torch.ones(4000))
    assert latents.c.mean(dim=0).tolist() == pytest.approx([0.7, 0.0, 0.3], abs=0.03)
    assert latents_of(config_of(), labels * 0, 1, 4).c is None


def test_patches_of_fakes_and_reals_shrink_as_the_schedule_says() -> None:
    config = micro_config("patch.beta.kimg=1", "patch.group=1")
    early, late = (latents_of(config, count=2000, nimg=nimg).patches.scales.mean() for nimg in (0, 1000))
    assert early > 0.99
    assert late.item() == pytest.approx(0.5 + 0.5 / 1.8, abs=0.02)
    judge, black = Quadratic(), torch.zeros(400, 4, 16, 16)
    real = Batch(black[:, :3], black[:, 3:], LABELS.repeat(100), None)
    for nimg in (0, 1000):
        r1_phase(judge, real, config, context(nimg))
        discriminator_phase(Pictures(), judge, latents_of(config), real, config, context(nimg))
    means = [patches.scales.mean().item() for patches in judge.patches if len(patches) == 400]
    assert means[:2] == pytest.approx([1, 1], abs=0.01)
    assert means[2:] == pytest.approx([0.5 + 0.5 / 1.8] * 2, abs=0.04)

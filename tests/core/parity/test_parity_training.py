"""The phases of one training step against recorded losses and gradients, put together of their parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gp3d_core.config.schema import Ramp
from gp3d_core.networks.camera_generator import earth_movers_distance, force_mean, gradient_penalty
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.rendering.patches import extract_patches
from gp3d_core.training import losses
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import check_gradients, check_norms
from tests.core.parity.recording import Recording


def latent_patches(recording: Recording, generator: Generator, case: Case, phase: str) -> Tensor:
    """Fake patches [B,4,h,h] of a recorded phase."""
    z, c = case["G.gen.z"], case["G.gen.c"]
    cameras = generator.cameras(case.cameras("G.gen.cam_prior."), z, c)
    patches = case.patches(f"{phase}.Dcall0.")
    ws, choice = generator.mapping(z, c), case[f"{phase}.depth_choice"]
    return recording.draw_patches(generator, ws, cameras, patches, choice)


def real_patches(case: Case, call: str) -> Tensor:
    images = torch.cat([case["G.real.img"], case["G.real.depth"]], dim=1)
    return extract_patches(images, case.patches(f"{call}."), case[f"{call}.img"].shape[-1])


def without_noise(recorded: dict) -> dict:
    """Leaves out the noise strengths: their gradients depend on random noise maps that were not recorded."""
    return {name: value for name, value in recorded.items() if not name.endswith("noise_strength")}


@either_side_of_kinks
def test_generator_phase_matches_recorded_losses_and_gradients(
    quiet_generator: Generator,
    discriminator: Discriminator,
    case05: Case,
    case10: Case,
    close: Close,
    recording: Recording,
) -> None:
    images = latent_patches(recording, quiet_generator, case10, "G")
    close(images, case10["G.Dcall0.img"])
    discriminator.requires_grad_(False)
    judged = discriminator(images, case10.patches("G.Dcall0."), case10["G.gen.c"])
    close(judged.logits, case10["G.Loss.scores.fake"])
    adversarial = losses.generator_loss(judged.logits, "softplus")
    close(adversarial, case10["G.Loss.G.loss"])
    network = quiet_generator.camera_generator
    posterior = {
        call: network(case05.cameras(f"{call}.prior."), case05[f"{call}.z"], case05[f"{call}.c"])
        for call in ("emd", "force_mean")
    }
    distance = earth_movers_distance(posterior["emd"].flat(), case05.cameras("emd.prior.").flat())
    emd = network.weigh(distance, int(1000 * case10.meta["kimg"]))
    mean = force_mean(posterior["force_mean"], recording.config.camera) * network.config.force_mean_weight
    inputs = (case05.cameras("lipschitz.prior."), case05["lipschitz.z"], case05["lipschitz.c"])
    network.config = recording.penalised
    penalty = network.weigh(gradient_penalty(network.derivatives(*inputs)), 0)
    close(emd, case10["G.Loss.camera_dist.emd_loss"][0])
    close(mean, case10["G.Loss.camera_dist.force_mean"][0])
    close(penalty, case10["G.Loss.camera_dist.lipschitz_loss"][0])
    (adversarial.mean() + emd + mean + penalty).backward()
    for name, parameter in quiet_generator.named_parameters():
        parameter.grad = None if name.endswith("noise_strength") else parameter.grad
    check_gradients(
        close,
        quiet_generator,
        recording.generator_names.ours(without_noise(case10.under("G.grad:"))),
        partly=True,
    )
    check_norms(quiet_generator, without_noise(case10.meta["G.gradnorms"]), recording.generator_names)


@pytest.mark.parametrize("phase", ["Dmain", "Dmain_blur"])
@either_side_of_kinks
def test_discriminator_phase_matches_recorded_losses_and_gradients(
    quiet_generator: Generator,
    discriminator: Discriminator,
    case10: Case,
    close: Close,
    recording: Recording,
    phase: str,
) -> None:
    blur = Ramp(start=float(case10.meta["blur_init_sigma"]), end=0.0, kimg=case10.meta["blur_fade_kimg"])
    nimg = case10.meta["blur_nimg"] if phase == "Dmain_blur" else int(1000 * case10.meta["kimg"])
    with torch.no_grad():
        fake = losses.blur_patches(latent_patches(recording, quiet_generator, case10, phase), blur.at(nimg))
    real = losses.blur_patches(real_patches(case10, f"{phase}.Dcall1"), blur.at(nimg))
    close(fake, case10[f"{phase}.Dcall0.img"])
    close(real, case10[f"{phase}.Dcall1.img"])
    patches = case10.patches(f"{phase}.Dcall1.")
    on_fake = discriminator(fake, case10.patches(f"{phase}.Dcall0."), case10["G.gen.c"])
    on_real = discriminator(real, patches, case10["G.real.c"], with_features=True)
    adversarial = losses.fake_loss(on_fake.logits, "softplus") + losses.real_loss(on_real.logits, "softplus")
    close(adversarial, case10[f"{phase}.Loss.D.loss"])
    distance = losses.distillation_loss(on_real.features, case10["G.real.embs"], "l2", patches.scales[:, 0])
    close(distance, case10[f"{phase}.Loss.kd.D_dist"])
    weighted = distance * recording.config.loss.distillation_weight.at(int(1000 * case10.meta["kimg"]))
    close(weighted, case10[f"{phase}.Loss.kd.D_loss"])
    (adversarial + weighted).mean().backward()
    check_gradients(
        close, discriminator, recording.discriminator_names.ours(case10.under(f"{phase}.grad:")), partly=True
    )
    check_norms(discriminator, case10.meta[f"{phase}.gradnorms"], recording.discriminator_names)


@either_side_of_kinks
def test_r1_phase_matches_recorded_losses_and_gradients(
    discriminator: Discriminator, case10: Case, close: Close, recording: Recording
) -> None:
    images = real_patches(case10, "Dreg.Dcall0").requires_grad_()
    close(images.detach(), case10["Dreg.Dcall0.img"])
    judged = discriminator(images, case10.patches("Dreg.Dcall0."), case10["G.real.c"])
    penalty = losses.r1_penalty(judged.logits, images)
    close(penalty, case10["Dreg.Loss.D.r1_penalty"])
    loss = penalty * case10.meta["r1_gamma"] / 2
    close(loss, case10["Dreg.Loss.D.reg"])
    (loss.mean() * recording.config.loss.r1_interval).backward()
    check_gradients(
        close, discriminator, recording.discriminator_names.ours(case10.under("Dreg.grad:")), partly=True
    )
    check_norms(discriminator, case10.meta["Dreg.gradnorms"], recording.discriminator_names)

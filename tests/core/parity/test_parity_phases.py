"""A recorded training step, reproduced by the very phases that training calls: losses, and norms of all gradients.

test_parity_training.py compares the same recording with the parts that the phases are made of, gradient by gradient.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gp3d_core.config.schema import Ramp
from gp3d_core.datasets.dataset import Batch
from gp3d_core.networks.depth_adaptor import DepthAdaptor
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import Latents
from gp3d_core.training import phases
from gp3d_core.training.phases import StepContext, discriminator_phase, generator_phase, r1_phase
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case
from tests.core.parity.parity_names import check_norms


def context(nimg: int) -> StepContext:
    return StepContext(nimg, 0.0, torch.Generator().manual_seed(1))


def recorded_latents(generator: Generator, case: Case, phase: str) -> Latents:
    """Latents of a recorded phase; the generator then shows the depths that were shown."""
    adaptor, choice = generator.depth_adaptor, case[f"{phase}.depth_choice"]
    adaptor.select = lambda maps, _: DepthAdaptor.select(adaptor, maps, choice)
    prior, patches = case.cameras("G.gen.cam_prior."), case.patches(f"{phase}.Dcall0.")
    return Latents(case["G.gen.z"], case["G.gen.c"], prior, patches)


def recorded_reals(case: Case, call: str, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """The real pictures; the phase then draws the recorded patches."""
    monkeypatch.setattr(phases, "sample_patches", lambda *_: case.patches(f"{call}."))
    labels = case["G.real.c"].argmax(dim=1)
    return Batch(case["G.real.img"], case["G.real.depth"], labels, case["G.real.embs"])


@either_side_of_kinks
def test_generator_phase_is_the_recorded_one(
    quiet_generator, discriminator, case05, case10, close, recording
) -> None:
    generator = quiet_generator
    latents, when = recorded_latents(generator, case10, "G"), context(int(1000 * case10.meta["kimg"]))
    cameras, terms = generator.camera_generator, {}
    for config, names in (
        (cameras.config, ("emd", "force_mean")),
        (recording.penalised, ("lipschitz", "force_mean")),
    ):
        samples = [(case05.cameras(f"{n}.prior."), case05[f"{n}.z"], case05[f"{n}.c"]) for n in names]
        cameras.config, cameras.sample_inputs = config, lambda *_, samples=samples: samples.pop(0)
        loss, log = generator_phase(generator, discriminator, latents, recording.config, when)
        terms |= log | {"total": loss} if names[0] == "emd" else log
    close(terms["loss/generator"], case10["G.Loss.G.loss"].mean())
    close(terms["cameras/emd"], case10["G.Loss.camera_dist.emd_loss"][0])
    close(terms["cameras/force_mean"], case10["G.Loss.camera_dist.force_mean"][0])
    close(terms["cameras/gradient_penalty"], case10["G.Loss.camera_dist.lipschitz_loss"][0])
    (terms["total"] + terms["cameras/gradient_penalty"]).backward()
    recorded = case10.meta["G.gradnorms"]
    for name, parameter in generator.named_parameters():  # the noise maps were not recorded
        parameter.grad = None if name.endswith("noise_strength") else parameter.grad
    check_norms(
        generator, {n: v for n, v in recorded.items() if "noise_strength" not in n}, recording.generator_names
    )


@pytest.mark.parametrize("phase", ["Dmain", "Dmain_blur"])
@either_side_of_kinks
def test_discriminator_phase_is_the_recorded_one(
    quiet_generator, discriminator, case10, close, monkeypatch, recording, phase
) -> None:
    generator, settings = quiet_generator, recording.config
    meta = case10.meta
    nimg = meta["blur_nimg"] if phase == "Dmain_blur" else int(1000 * meta["kimg"])
    blur = Ramp(start=float(meta["blur_init_sigma"]), end=0.0, kimg=meta["blur_fade_kimg"])
    constant = Ramp(start=meta["D_kd_weight"], end=meta["D_kd_weight"])
    config = replace(settings, loss=replace(settings.loss, blur=blur, distillation_weight=constant))
    latents = recorded_latents(generator, case10, phase)
    reals = recorded_reals(case10, f"{phase}.Dcall1", monkeypatch)
    loss, log = discriminator_phase(generator, discriminator, latents, reals, config, context(nimg))
    close(log["loss/discriminator"], case10[f"{phase}.Loss.D.loss"].mean())
    close(log["loss/distillation"], case10[f"{phase}.Loss.kd.D_dist"].mean())
    close(loss, (case10[f"{phase}.Loss.D.loss"] + case10[f"{phase}.Loss.kd.D_loss"]).mean())
    loss.backward()
    check_norms(discriminator, case10.meta[f"{phase}.gradnorms"], recording.discriminator_names)


@either_side_of_kinks
def test_r1_phase_is_the_recorded_one(discriminator, case10, close, monkeypatch, recording) -> None:
    settings = recording.config
    config = replace(settings, loss=replace(settings.loss, r1_gamma=case10.meta["r1_gamma"]))
    reals = recorded_reals(case10, "Dreg.Dcall0", monkeypatch)
    loss, log = r1_phase(discriminator, reals, config, context(int(1000 * case10.meta["kimg"])))
    close(log["loss/r1_penalty"], case10["Dreg.Loss.D.r1_penalty"].mean())
    close(loss, 16 * case10["Dreg.Loss.D.reg"].mean())
    loss.backward()
    check_norms(discriminator, case10.meta["Dreg.gradnorms"], recording.discriminator_names)

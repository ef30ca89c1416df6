"""The discriminator and its R1 penalty against recorded tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.training import losses
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import check_norms
from tests.core.parity.recording import Recording


@pytest.mark.parametrize("variant", ["own", "grouped"])
def test_discriminator_matches_recorded_judgements(
    discriminator: Discriminator, case07: Case, close: Close, variant: str
) -> None:
    patches = case07.patches(f"{variant}.patch.")
    judged = discriminator(case07["img"], patches, case07["c"], with_features=True)
    close(judged.logits, case07[f"{variant}.logits"])
    close(judged.features, case07[f"{variant}.feats"])


def test_discriminator_stages_match_recorded_ones(
    discriminator: Discriminator, case07: Case, close: Close, recording: Recording
) -> None:
    seen: list[Tensor] = []
    for block in discriminator.blocks:
        block.register_forward_hook(lambda *args: seen.append(args[-1]))
    patches = case07.patches("own.patch.")
    discriminator(case07["img"], patches, case07["c"])
    for power, found in enumerate(seen):
        close(found, case07[f"act.b{recording.config.training.resolution >> power}"])
    assert len(seen) == sum(key.startswith("act.b") and key != "act.b4" for key in case07.tensors)
    position = discriminator.encoding(patches)
    close(position, case07["emb828"])
    close(discriminator.hyper(None, position), case07["hyper"])
    close(discriminator.projection(None, torch.cat([case07["c"], position], dim=1)), case07["cmap"])


@either_side_of_kinks
def test_discriminator_gradients_match_recorded_ones(
    discriminator: Discriminator, case07: Case, close: Close, recording: Recording
) -> None:
    images = case07["img"].clone().requires_grad_()
    judged = discriminator(images, case07.patches("own.patch."), case07["c"], with_features=True)
    loss = (judged.logits * case07["cotangent.logits"]).sum()
    (loss + (judged.features * case07["cotangent.feats"]).sum()).backward()
    close(images.grad, case07["grad:img"], "gradient")
    check_norms(discriminator, case07.meta["gradnorm_lin"], recording.discriminator_names)


@either_side_of_kinks
def test_r1_and_its_gradients_match_recorded_ones(
    discriminator: Discriminator, case07: Case, close: Close, recording: Recording
) -> None:
    images = case07["img"].clone().requires_grad_()
    judged = discriminator(images, case07.patches("own.patch."), case07["c"])
    (slope,) = torch.autograd.grad(judged.logits.sum(), images, retain_graph=True)
    close(slope, case07["r1.grad"], "gradient")
    penalty = losses.r1_penalty(judged.logits, images)
    close(penalty, case07["r1.penalty"])
    (0.5 * penalty.mean()).backward()
    check_norms(discriminator, case07.meta["gradnorm_r1"], recording.discriminator_names)

"""StyleGAN2's generator, discriminator, path length and distillation against recorded tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gp3d_core.networks.backbone import Synthesis
from gp3d_core.networks.discriminator import ImageDiscriminator
from gp3d_core.networks.mapping import Mapping
from gp3d_core.training import losses
from tests.core.baselines.comparing import (
    MAPPING,
    STYLED,
    TWICE,
    block_of,
    check_gradients,
    check_norms,
    fill,
)
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import Names

GENERATOR = Names(
    (
        *MAPPING,
        *STYLED,
        (r"^synthesis\.b4\.const$", "synthesis.const"),
        block_of("synthesis"),
        (r"^(synthesis\.blocks.*)\.(conv\d)\.weight$", r"\1.\2.conv.weight"),
    )
)


def discriminator_names(case: Case) -> Names:
    """Blocks go by the resolution they begin at."""
    resolution = case.meta["resolution"]
    return Names(
        (
            (r"^head_mapping\.", "projection."),
            (r"\.fc(\d)\.", r".layers.\1."),
            (r"^b4\.out\.", "output."),
            (r"^b4\.feat_out\.", "feature_head."),
            (r"^b4\.", ""),
            (rf"^b{resolution}\.fromrgb\.", "from_image."),
            (
                r"^b(\d+)\.(?!fromrgb)",
                lambda m: f"blocks.{resolution.bit_length() - int(m[1]).bit_length()}.",
            ),
        )
    )


@pytest.fixture
def recorded_generator(recorded: Callable[[str], Case]) -> Case:
    return recorded("sg2_generator")


@pytest.fixture
def recorded_discriminator(recorded: Callable[[str], Case]) -> Case:
    return recorded("sg2_discriminator_kd")


@pytest.fixture
def generator(recorded_generator: Case) -> nn.ModuleDict:
    sizes = recorded_generator.meta
    synthesis = Synthesis(
        resolution=sizes["resolution"],
        outputs=3,
        w_dim=sizes["w_dim"],
        channel_base=sizes["channel_base"],
        channel_max=sizes["channel_max"],
    )
    mapping = Mapping(
        sizes["z_dim"], sizes["c_dim"], sizes["w_dim"], synthesis.num_ws, sizes["mapping_layers"]
    )
    network = nn.ModuleDict({"mapping": mapping, "synthesis": synthesis})
    fill(network, recorded_generator.under("param:"), GENERATOR)
    return network


@pytest.fixture
def discriminator(recorded_discriminator: Case) -> ImageDiscriminator:
    sizes = recorded_discriminator.meta
    network = ImageDiscriminator(
        resolution=sizes["resolution"],
        image_channels=3,
        c_dim=sizes["c_dim"],
        channel_base=sizes["channel_base"],
        channel_max=sizes["channel_max"],
        mapping_layers=sizes["mapping_layers"],
        feature_dim=sizes["feature_dim"],
        mbstd_group=sizes["mbstd_group"],
    )
    fill(network, recorded_discriminator.under("param:"), discriminator_names(recorded_discriminator))
    return network


def condition(case: Case) -> Tensor | None:
    """The recorded labels; None where they have no width."""
    return case["c"] if case["c"].shape[1] else None


def test_style_codes_and_their_truncation_match_recorded_ones(
    generator: nn.ModuleDict, recorded_generator: Case, close: Close
) -> None:
    case = recorded_generator
    mapping = generator["mapping"]
    ws = mapping(case["z"], condition(case))
    pulled = mapping(case["z"], condition(case), truncation=0.7)
    close(ws, case["ws"])
    close(pulled, case["truncated.ws"])
    close(torch.cat([pulled[:, :4], ws[:, 4:]], dim=1), case["truncated.first4"])


@either_side_of_kinks
def test_mapping_gradients_match_recorded_ones(
    generator: nn.ModuleDict, recorded_generator: Case, close: Close
) -> None:
    case = recorded_generator
    ws = generator["mapping"](case["z"], condition(case))
    (ws * case["cotangent_ws"]).sum().backward()
    check_gradients(generator, of("mapping", case), GENERATOR)


@either_side_of_kinks
def test_pictures_and_their_gradients_match_recorded_ones(
    generator: nn.ModuleDict, recorded_generator: Case, close: Close
) -> None:
    case = recorded_generator
    ws = case["ws"].clone().requires_grad_()
    close(generator["synthesis"](ws, "none"), case["image_no_noise"])
    image = generator["synthesis"](ws, "const")
    close(image, case["image"])
    (image * case["cotangent"]).sum().backward()
    close(ws.grad, case["grad:ws"], "gradient")
    check_gradients(generator, of("synthesis", case), GENERATOR)


@either_side_of_kinks
def test_path_length_and_its_gradients_match_recorded_ones(
    generator: nn.ModuleDict, recorded_generator: Case, close: Close
) -> None:
    case = recorded_generator
    noise = case["path.noise"]
    c = condition(case)
    ws = generator["mapping"](case["z"][: len(noise)], None if c is None else c[: len(noise)])
    image = generator["synthesis"](ws, "const")
    direction = noise / (image.shape[2] * image.shape[3]) ** 0.5
    (slope,) = torch.autograd.grad((image * direction).sum(), ws, retain_graph=True)
    close(slope, case["path.gradient"], "gradient")
    lengths = losses.path_lengths(image, ws, noise)
    close(lengths, case["path.length"])
    penalty, moved = losses.path_penalty(lengths, case["path.mean_before"])
    close(moved, case["path.mean_after"])
    close(penalty, case["path.penalty"])
    (2.0 * penalty.mean()).backward()
    check_norms(generator, case.meta["gradnorm_of_2_mean_path_penalty"], GENERATOR)


def test_judgements_features_and_distillation_match_recorded_ones(
    discriminator: ImageDiscriminator, recorded_discriminator: Case, close: Close
) -> None:
    case = recorded_discriminator
    judged = discriminator(case["image"], condition(case), with_features=True)
    assert judged.features is not None
    close(judged.logits, case["logits"])
    close(judged.features, case["features"])
    for kind in ("l2", "l2_squared", "kl"):
        close(losses.distillation_loss(judged.features, case["target"], kind), case[f"kd.{kind}"])


@either_side_of_kinks
def test_discriminator_gradients_match_recorded_ones(
    discriminator: ImageDiscriminator, recorded_discriminator: Case, close: Close
) -> None:
    case = recorded_discriminator
    image = case["image"].clone().requires_grad_()
    judged = discriminator(image, condition(case), with_features=True)
    loss = (judged.logits * case["cotangent"]).sum()
    (loss + (judged.features * case["cotangent_features"]).sum()).backward()
    close(image.grad, case["grad:image"], "gradient")
    check_norms(discriminator, case.meta["gradnorm_linear"], discriminator_names(case))


@either_side_of_kinks
def test_r1_and_its_gradients_match_recorded_ones(
    discriminator: ImageDiscriminator, recorded_discriminator: Case, close: Close
) -> None:
    case = recorded_discriminator
    image = case["image"].clone().requires_grad_()
    judged = discriminator(image, condition(case))
    (slope,) = torch.autograd.grad(judged.logits.sum(), image, retain_graph=True)
    close(slope, case["r1.gradient"], "gradient")
    penalty = losses.r1_penalty(judged.logits, image)
    close(penalty, case["penalty"])
    (0.5 * penalty.mean()).backward()
    norms = case.meta["gradnorm_of_half_mean_penalty"]
    check_norms(discriminator, norms, discriminator_names(case), rounding=TWICE)


def of(part: str, case: Case) -> dict[str, Tensor]:
    """The recorded gradients of a part's parameters."""
    return {name: value for name, value in case.under("grad:").items() if name.startswith(f"{part}.")}

"""The projected discriminator's mixing, heads, losses and augmentation against recorded tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gp3d_core.networks.projected.heads import ConditionalHead, Head
from gp3d_core.networks.projected.mixing import RandomMixing
from gp3d_core.training import losses
from gp3d_core.training.augmentation import SimpleAugmentation, augment_simply
from tests.core.baselines.comparing import check_gradient, check_gradients, fill
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import Names

MIXING = Names(
    ((r"^layer(\d)_ccm\.", r"across_channels.\1."), (r"^layer(\d)_csm\.out_conv\.", r"across_scales.\1."))
)
AS_THEY_ARE = Names(())
COUNT = "num_batches_tracked"  # which the release's layers have too, but nobody recorded


def test_random_mixing_and_its_gradients_match_recorded_ones(
    recorded: Callable[[str], Case], close: Close
) -> None:
    case = recorded("projected_mixing")
    mixing = RandomMixing(case.meta["channels"], case.meta["cout"])
    assert mixing.widths == case.meta["out_channels"]
    fill(mixing, case.under("param:"), MIXING)
    maps = [case[f"feature.{level}"].clone().requires_grad_() for level in range(len(case.meta["channels"]))]
    mixed = mixing(maps)
    for level, found in enumerate(mixed):
        close(found, case[f"mixed.{level}"])
    torch.stack(
        [(found * case[f"cotangent.{level}"]).sum() for level, found in enumerate(mixed)]
    ).sum().backward()
    for level, found in enumerate(maps):
        check_gradient(found.grad, case[f"grad:feature.{level}"], f"feature.{level}")


def recorded_head(case: Case, form: str) -> nn.Module:
    """The head as it was recorded in this form: plain, separable, or separable and conditional."""
    sizes = case.meta
    halvings = (sizes["start"] // sizes["end"]).bit_length() - 1
    widths = [sizes["width"]] * halvings
    if form != "conditional":
        head: nn.Module = Head(sizes["input_channels"], widths, "plain" if form == "plain" else "separable")
    else:
        head = ConditionalHead(
            sizes["input_channels"],
            widths,
            "separable",
            classes=sizes["c_dim"],
            maps=sizes["cmap"],
            embedding=sizes["embedding"],
        )
    counts = {name: value for name, value in head.state_dict().items() if name.endswith(COUNT)}
    fill(head, case.under(f"{form}.param:") | case.under(f"{form}.buffer:") | counts, AS_THEY_ARE)
    return head.train()


@pytest.mark.parametrize("form", ["plain", "separable", "conditional"])
def test_heads_their_gradients_and_statistics_match_recorded_ones(
    recorded: Callable[[str], Case], close: Close, form: str
) -> None:
    case = recorded("projected_heads")
    head = recorded_head(case, form)
    x = case[f"{form}.input"].clone().requires_grad_()
    logits = head(x, case[f"{form}.c"])
    close(logits, case[f"{form}.logits"])
    (logits * case[f"{form}.cotangent"]).sum().backward()
    expected = case.under(f"{form}.grad:")
    check_gradient(x.grad, expected.pop("input"), "input")
    assert set(expected) == {name for name, _ in head.named_parameters()}
    for name in biases_before_statistics(head):
        assert expected.pop(name).abs().max() < 1e-4
        assert head.get_parameter(name).grad.abs().max() < 1e-4
    check_gradients(head, expected, AS_THEY_ARE)
    buffers = dict(head.named_buffers())
    for name, buffer in case.under(f"{form}.buffer_after:").items():
        close(buffers[name], buffer)
    close(head.eval()(x, case[f"{form}.c"]), case[f"{form}.logits_eval_after"])


def biases_before_statistics(head: nn.Module) -> list[str]:
    """Biases whose gradient is rounding noise around 0, since batch normalisation takes the mean away."""
    return [name for name, _ in head.named_parameters() if name.endswith(".main.0.bias")]


def test_hinge_losses_match_recorded_ones(recorded: Callable[[str], Case], close: Close) -> None:
    case = recorded("projected_loss")
    close(losses.real_loss(case["real"], "hinge").mean(), case["d.real"])
    close(losses.fake_loss(case["fake"], "hinge").mean(), case["d.fake"])
    close(losses.generator_loss(case["fake"], "hinge").mean(), case["g.fake"])


def test_simple_augmentation_matches_the_recorded_one(recorded: Callable[[str], Case], close: Close) -> None:
    case = recorded("projected_loss")

    def draw(*names: str) -> torch.Tensor:
        return torch.stack([case[f"augment.{name}"].flatten() for name in names], dim=1)

    draws = SimpleAugmentation(
        *(case[f"augment.{name}"].flatten() for name in ("brightness", "saturation", "contrast")),
        shift=draw("shift_rows", "shift_columns"),
        cut_out=draw("cutout_row", "cutout_column"),
    )
    close(augment_simply(case["augment.in"], draws), case["augment.out"])

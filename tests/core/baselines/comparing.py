"""Names of released parameters in terms of ours, and comparisons with the tolerances that the recordings state."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tests.core.parity.parity_names import Names, Renaming, gradients

UNUSED = re.compile(r"resample_filter$")  # constants here
NORM_SHARE = 0.01  # of a recorded norm of a gradient
# of the largest norm, where gradients are differentiated twice: biases only matter by way of the deviation of a group,
# whose second derivative has no bound
TWICE = 1e-4
NUDGE = 1e-6  # of a number in [0, 1]: where that moves a sample far, rounding does, too

# StyleGAN2's layers as the releases call them; names of blocks are each network's own
STYLED: tuple[Renaming, ...] = (
    (r"\.torgb\.affine\.", ".to_planes.conv.style."),
    (r"\.torgb\.weight$", ".to_planes.conv.weight"),
    (r"\.torgb\.", ".to_planes."),
    (r"\.(conv\d)\.affine\.", r".\1.conv.style."),
)
MAPPING: tuple[Renaming, ...] = (
    (r"(^|\.)mapping\.embed\.", r"\1mapping.network.embed."),
    (r"(^|\.)mapping\.fc(\d+)\.", r"\1mapping.network.layers.\2."),
)


def block_of(prefix: str) -> Renaming:
    """b4, b8, … become `prefix`.blocks.0, .1, …, and the constant of b4 `prefix`.const."""
    return (
        rf"^{re.escape(prefix)}\.b(\d+)\.(?!const)",
        lambda m: f"{prefix}.blocks.{int(m[1]).bit_length() - 3}.",
    )


def ours(tensors: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """The recorded `tensors` under our names, without the filters, which are constants here."""
    return {name: value for name, value in names.ours(tensors).items() if not UNUSED.search(name)}


def fill(module: nn.Module, tensors: Mapping[str, Tensor], names: Names) -> None:
    """Fills `module` with recorded weights; every parameter and buffer must be among them, and nothing else."""
    module.load_state_dict(ours(tensors, names), strict=True)


def check_gradients(
    module: nn.Module, expected: Mapping[str, Tensor], names: Names, *, share: float = 1e-3
) -> None:
    """Every recorded gradient of a parameter is met: to `share` of its largest entry. At least one is compared."""
    found, wanted = gradients(module), ours(expected, names)
    assert wanted
    for name, gradient in wanted.items():
        assert name in dict(module.named_parameters()), f"no parameter {name}"
        check_gradient(found.get(name, torch.zeros_like(gradient)), gradient, name, share=share)


def check_gradient(
    actual: Tensor | None, expected: Tensor, name: str, *, share: float = 1e-3, floor: float = 0.0
) -> None:
    """`actual` differs from `expected` by at most `share` of its largest entry, or by `floor`."""
    assert actual is not None, f"{name}: no gradient"
    assert actual.shape == expected.shape, f"{name}: {actual.shape}, recorded {expected.shape}"
    error, largest = (actual - expected).abs().max().item(), expected.abs().max().item()
    assert error <= max(share * largest, floor), f"{name}: off by {error:.3g} of {largest:.3g}"


def nudged(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers `u`, and a little less and more."""
    return u, (u - NUDGE).clamp(min=0.0), (u + NUDGE).clamp(max=1.0)


def check_positions(found: Sequence[Tensor], expected: Tensor) -> None:
    """Distances of samples along rays, in any order, are the recorded ones [B,R,S], in order, to 1e-4.

    `found` are those of the three results of `nudged`. Where a distribution is nearly flat, or at an edge of it, a
    number hardly says where its sample lies: a ray may be off by as much as `nudged` numbers move its samples.
    """
    own, *moved = found
    spread = torch.stack([(other - own).abs().amax(dim=-1) for other in moved]).amax(dim=0)
    off = (own.sort(dim=-1).values - expected).abs().amax(dim=-1)
    assert bool((spread < 1e-4).float().mean() > 0.1), "some rays say where their samples lie"
    assert bool((off <= 1e-4 + spread).all()), f"off by {off.max():.3g}"


def check_to_rounding(actual: Tensor, exact: Tensor, expected: Tensor) -> None:
    """`actual` is `expected` to 1e-4, and to a few times what single precision loses of it: `exact` is in double.

    For what comes out of octaves up to 2⁹·π at positions that were drawn: rounding in these is enlarged thousandfold.
    """
    lost = (actual - exact).abs().max().item()
    assert lost <= 0.01 * exact.abs().max().item(), f"single precision loses {lost:.3g}"
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4 + 4.0 * lost)


def check_norms(
    module: nn.Module, expected: Mapping[str, float], names: Names, *, rounding: float = 1e-6
) -> None:
    """The norms of all parameters' gradients are the recorded ones, to one per cent and a `rounding` error of the
    largest; those left out are zero.
    """
    wanted = ours({name: torch.tensor(norm) for name, norm in expected.items()}, names)
    found, floor = gradients(module), rounding * max(expected.values())
    for name, _ in module.named_parameters():
        norm = found[name].norm().item() if name in found else 0.0
        recorded = float(wanted.pop(name, torch.zeros(())))
        assert abs(norm - recorded) <= NORM_SHARE * recorded + floor, f"{name}: {norm}, recorded {recorded}"
    assert not wanted, f"no parameters {sorted(wanted)}"

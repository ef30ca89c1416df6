"""Names of released parameters in terms of ours, and comparisons with the tolerances that the recordings state."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tests.core.parity.parity_names import Names, Renaming, gradients

UNUSED = re.compile(r"resample_filter$")  # constants here
NORM_SHARE = 0.01  # of a recorded norm of a gradient

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


def check_norms(module: nn.Module, expected: Mapping[str, float], names: Names) -> None:
    """The norms of all parameters' gradients are the recorded ones, to one per cent; those left out are zero."""
    wanted = ours({name: torch.tensor(norm) for name, norm in expected.items()}, names)
    found, floor = gradients(module), 1e-6 * max(expected.values())
    for name, _ in module.named_parameters():
        norm = found[name].norm().item() if name in found else 0.0
        recorded = float(wanted.pop(name, torch.zeros(())))
        assert abs(norm - recorded) <= NORM_SHARE * recorded + floor, f"{name}: {norm}, recorded {recorded}"
    assert not wanted, f"no parameters {sorted(wanted)}"

"""Checks of tensor arguments, used once at each public border."""

from __future__ import annotations

import torch


def check_shape(
    name: str, tensor: torch.Tensor, pattern: str, sizes: dict[str, int] | None = None
) -> dict[str, int]:
    """Sizes of the letters in `pattern`, e.g. {"B": 2, "N": 300} for a [2, 300, 3] tensor and "B N 3".

    Numbers must match exactly; letters already in `sizes` must match it, new ones are added to the returned copy.
    Raises TypeError if `tensor` is no tensor, ValueError if its shape does not fit.
    """
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    sizes = dict(sizes or {})
    wanted = pattern.split()
    fits = tensor.ndim == len(wanted) and all(
        size == (int(want) if want.isdigit() else sizes.setdefault(want, size))
        for want, size in zip(wanted, tensor.shape, strict=True)
    )
    if not fits:
        known = ", ".join(f"{want}={sizes[want]}" if want in sizes else want for want in wanted)
        raise ValueError(f"{name} must have shape [{known}], got {list(tensor.shape)}")
    return sizes

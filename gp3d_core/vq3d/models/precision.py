"""Where transformers compute in half precision."""

from __future__ import annotations

from functools import cache

import torch


def half_precision(device: torch.device, precision: str, *, training: bool) -> torch.autocast:
    """A context in which matrices are multiplied in bfloat16, for `precision` "mixed".

    That is on a GPU, and while training on a CPU that does so in hardware; elsewhere the context changes nothing.
    """
    able = device.type == "cuda" or (training and device.type == "cpu" and _multiplies_bfloat16())
    return torch.autocast(device.type, torch.bfloat16, enabled=able and precision == "mixed")


@cache
def _multiplies_bfloat16() -> bool:
    """Whether this machine's CPU has instructions for it."""
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))

"""Where networks compute in half precision."""

from __future__ import annotations

from functools import cache

import torch


def half_on_processor(device: torch.device, *, training: bool) -> bool:
    """Whether a `device` is a CPU that may compute in bfloat16: while training, if it multiplies so in hardware.

    Without such instructions bfloat16 is slower than float32, and what is made for keeps had better be exact.
    """
    return device.type == "cpu" and training and _multiplies_bfloat16()


def half_precision(device: torch.device, precision: str, *, training: bool) -> torch.autocast:
    """A context in which matrices are multiplied in bfloat16, for `precision` "mixed".

    That is on a GPU, and where `half_on_processor` says so; elsewhere the context changes nothing.
    """
    able = device.type == "cuda" or half_on_processor(device, training=training)
    return torch.autocast(device.type, torch.bfloat16, enabled=able and precision == "mixed")


@cache
def _multiplies_bfloat16() -> bool:
    """Whether this machine's CPU has instructions for it."""
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))

"""Where networks compute in half precision."""

from __future__ import annotations

from functools import cache

import torch
from torch.nn import functional


def half_on_processor(device: torch.device, *, training: bool, twice: bool = False) -> bool:
    """Whether a `device` is a CPU that may compute in bfloat16: while training, if it multiplies so in hardware.

    Without such instructions bfloat16 is slower than float32, and what is made for keeps had better be exact. What is
    differentiated `twice` needs a CPU for which `convolves_bfloat16` holds, too.
    """
    able = device.type == "cpu" and training and _multiplies_bfloat16()
    return able and (not twice or convolves_bfloat16())


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


@cache
def convolves_bfloat16() -> bool:
    """Whether a CPU's convolutions in bfloat16 are right where the kernel is as large as the picture.

    The gradient of R1 contains such ones, of as many channels as there are images. With fewer than 16, oneDNN's
    kernels for AMX, in PyTorch 2.13.0, return something else without a word.
    """
    images = torch.ones(4, 4, 16, 16, device="cpu")
    # or both would be in bfloat16 where the first caller's layers are
    with torch.autocast("cpu", enabled=False):
        right = functional.conv2d(images, images, padding=1)
        found = functional.conv2d(images.bfloat16(), images.bfloat16(), padding=1)
    return torch.allclose(found.float(), right, rtol=0.02)

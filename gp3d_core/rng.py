"""Random streams named by what they are for, so that the same work always meets the same randomness.

A stream depends on its key alone: not on what ran before, nor on how many processes share the work.
"""

from __future__ import annotations

import hashlib

import torch


def generator_for(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns a fresh generator on `device` for the `key`, e.g. generator_for(seed, "latents", nimg, micro_batch)."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)

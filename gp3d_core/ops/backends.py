"""Which body of an operation runs: plain torch, the reference, or Triton kernels.

`auto` takes kernels for tensors on a CUDA card wherever they can run, says so once, and says why where they cannot.
`triton` insists; on a CPU that needs Triton's interpreter, which is for tests. `reference` is plain torch.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch

from gp3d_core.errors import GP3DError

Backend = Literal["auto", "reference", "triton"]

_OLDEST_CARD = (8, 0)  # compute capability
_TYPES = (torch.float32, torch.float16, torch.bfloat16)


class BackendError(GP3DError):
    """A backend that cannot run here; the message says what to do."""


def runs_triton(x: torch.Tensor, backend: Backend) -> bool:
    """Whether kernels shall work on `x`. Raises BackendError when they are asked for by name and cannot."""
    if backend == "reference" or (backend == "auto" and not x.is_cuda):
        return False
    if backend == "auto":
        return _chosen_on_card(x.device, x.dtype)
    obstacle = _card_obstacle(x.device, x.dtype) if x.is_cuda else _host_obstacle(x.dtype)
    if obstacle is not None:
        raise BackendError(f"backend triton cannot run: {obstacle}, or use backend reference")
    return True


@cache
def _chosen_on_card(device: torch.device, dtype: torch.dtype) -> bool:
    """The automatic choice, announced."""
    obstacle = _card_obstacle(device, dtype)
    how = "Triton kernels" if obstacle is None else f"plain torch, which is slower: {obstacle}"
    announce(f"gp3d: {torch.cuda.get_device_name(device)} computes with {how}")
    return obstacle is None


@cache
def announce(line: str) -> None:
    """Writes `line` to standard error, the first time only, and in one of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def _card_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """What keeps kernels from running on a card, with its remedy."""
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST_CARD:
        oldest, found = ".".join(map(str, _OLDEST_CARD)), ".".join(map(str, capability))
        return f"the card has compute capability {found}, take one of {oldest} or newer"
    return _obstacle(dtype)


def _host_obstacle(dtype: torch.dtype) -> str | None:
    """What keeps kernels from running on a CPU, with its remedy."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        return "the tensors are on the CPU, take a CUDA card"
    return _obstacle(dtype)


def _obstacle(dtype: torch.dtype) -> str | None:
    if find_spec("triton") is None:
        return "the package triton is missing, pip install 'gp3d[kernels]'"
    if dtype not in _TYPES:
        return f"kernels do not compute in {str(dtype).removeprefix('torch.')}, take float32"
    return None

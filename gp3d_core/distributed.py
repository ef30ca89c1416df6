"""The processes of one training run: started by torchrun, or just this one.

Gradients are averaged explicitly, once per optimiser step, so that the mathematics of a step is in one place and a
step over n processes equals the same step of one process over all their micro-batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor

from gp3d_core.errors import no_cuda

_PATIENCE = timedelta(hours=1)  # one process may read a large data set while the others wait


def pick_device(wanted: str) -> torch.device:
    """The device called `wanted`; "auto" is CUDA where it works. Raises DeviceError for CUDA where there is none."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise no_cuda()
    return torch.device(wanted)


@dataclass(frozen=True)
class World:
    """This process's `rank` among `size` processes and its device."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def part_of(self, batch: int) -> slice:
        """This process's part of a batch of so many images, which the number of processes divides."""
        local = batch // self.size
        return slice(self.rank * local, (self.rank + 1) * local)

    def mean_(self, tensors: list[Tensor]) -> None:
        """Replaces each tensor by its mean over all processes, in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1).float() for t in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        offset = 0
        for tensor in tensors:
            tensor.copy_(flat[offset : offset + tensor.numel()].reshape(tensor.shape))
            offset += tensor.numel()

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on any process."""
        if self.size == 1:
            return flag
        answer = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(answer, op=dist.ReduceOp.MAX)
        return bool(answer.item())

    def largest(self, value: Tensor) -> Tensor:
        """The largest of each number in `value` over all processes; `value` becomes it."""
        if self.size > 1:
            dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return value

    def largest_numbers(self, *values: float) -> list[float]:
        """The largest of each number over all processes, in one message."""
        if self.size == 1:
            return list(values)
        return list(self.largest(torch.tensor(values, dtype=torch.float64, device=self.device)).tolist())

    def sum_(self, tensor: Tensor) -> None:
        """Replaces the tensor by its sum over all processes."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def copy_from_leader_(self, tensors: list[Tensor]) -> None:
        """Replaces each tensor by what it is on the leading process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def barrier(self) -> None:
        """Waits until every process has come here."""
        if self.size > 1:
            dist.barrier()


def place() -> tuple[int, int]:
    """This process's rank and the number of processes, as torchrun announces them, before they join."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def world(device: str) -> Iterator[World]:
    """Joins the process group that torchrun announces through the environment, or yields a world of one.

    `device` is "cpu" or "cuda"; with CUDA each local rank takes its own card.
    """
    if place()[1] == 1:
        yield World(device=torch.device(device))
        return
    local = int(os.environ["LOCAL_RANK"])
    here = torch.device("cuda", local) if device.startswith("cuda") else torch.device(device)
    if here.type == "cuda":
        torch.cuda.set_device(here)
    # torch._dynamo, which every optimizer imports, imports it too; after the group is made its functions' defaults
    # hold the group for ever, so that threads of gloo live on and may abort the process while Python ends
    import_module("torch.distributed.nn")
    dist.init_process_group("nccl" if here.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield World(rank=dist.get_rank(), size=dist.get_world_size(), device=here)
    finally:
        dist.destroy_process_group()

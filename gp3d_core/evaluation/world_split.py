"""Long computations kept on disk in portions, so that they go on where they stopped, on any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from gp3d_core.distributed import World
from gp3d_core.snapshots.snapshot import write_tensors

PORTION = 256  # rows of a file


@dataclass(frozen=True, eq=False)
class Portions:
    """Rows of named tensors, of which `produce(start, stop)` computes some.

    A file holds 256 rows, the last one of a computation perhaps fewer; a row depends on its number alone.
    """

    folder: Path
    produce: Callable[[int, int], dict[str, Tensor]]

    def complete(self, count: int, what: str, world: World) -> None:
        """Computes what is missing of `count` rows, shared among all processes.

        All processes have to call it, on one file system.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        spans = [(start, min(start + PORTION, count)) for start in range(0, count, PORTION)]
        missing = [(start, stop) for start, stop in spans if self._rows_at(start) < stop - start]
        world.barrier()  # nobody writes before all have seen what is missing
        share = missing[world.rank :: world.size]
        total = sum(stop - start for start, stop in share)
        with tqdm(total=total, desc=what, unit="img", disable=not (world.leads and share) or None) as bar:
            for start, stop in share:
                self._write(start, self.produce(start, stop))
                bar.update(stop - start)
        world.barrier()

    def read(self, name: str, count: int) -> Iterator[Tensor]:
        """The first `count` rows of the tensor `name`, portion by portion."""
        for start in range(0, count, PORTION):
            yield load_file(self._path(start))[name][: count - start]

    def rows(self, name: str, chosen: Tensor) -> Tensor:
        """Rows `chosen` [n], in increasing order, of the tensor `name`."""
        parts = []
        for number in (chosen // PORTION).unique().tolist():
            inside = chosen[chosen // PORTION == number] - number * PORTION
            parts.append(load_file(self._path(number * PORTION))[name][inside])
        return torch.cat(parts)

    def _path(self, start: int) -> Path:
        return self.folder / f"rows-{start:08d}.safetensors"

    def _write(self, start: int, tensors: dict[str, Tensor]) -> None:
        write_tensors(self._path(start), tensors)

    def _rows_at(self, start: int) -> int:
        """How many rows the file from row `start` on has; 0 if there is none or it is damaged."""
        try:
            with safe_open(self._path(start), framework="pt") as file:
                return min((file.get_slice(name).get_shape()[0] for name in file.keys()), default=0)  # noqa: SIM118
        except (OSError, SafetensorError):
            return 0

"""How benchmarks measure: medians, peak memory, a budget of seconds, rows of results.csv and a table of them.

python -m benchmarks.measuring FILE      # the table
"""

from __future__ import annotations

import csv
import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

COLUMNS = ("commit", "date", "machine", "bench", "figure", "value", "unit")


@dataclass
class Rows:
    """Figures of one benchmark, printed and appended to `path` as they come; `seconds` is what all may take."""

    bench: str
    path: Path | None
    device: torch.device
    seconds: float
    start: float = field(default_factory=time.monotonic)
    failed: list[str] = field(default_factory=list)  # figures that could not be measured for an error

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.seconds - (time.monotonic() - self.start)

    def add(self, figure: str, value: float, unit: str) -> None:
        """One row."""
        row = (commit(), datetime.date.today().isoformat(), machine(self.device), self.bench, figure)
        print(f"{self.bench:8} {figure:72} {value:10.4g} {unit}", flush=True)
        if self.path is not None:
            fresh = not self.path.exists()
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                if fresh:
                    writer.writerow(COLUMNS)
                writer.writerow((*row, f"{value:.4g}", unit))

    @contextmanager
    def attempt(self, figure: str) -> Iterator[None]:
        """Goes on with other figures where this one fails, and says why: out of memory, or what a kernel raises."""
        try:
            yield
        except torch.OutOfMemoryError:
            print(f"{self.bench:8} {figure}: left out, out of memory", flush=True)
        except Exception as error:  # compilers, drivers and launches have exceptions of their own
            said = (str(error).strip() or "no message").splitlines()[0]
            print(f"{self.bench:8} {figure}: failed, {type(error).__name__}: {said}", flush=True)
            self.failed.append(figure)

    def close(self) -> None:
        """Ends the program with 1, and names what failed, where a figure did."""
        if self.failed:
            sys.exit(f"{self.bench}: {len(self.failed)} figures failed: {'; '.join(self.failed)}")

    def compare(self, figure: str, works: dict[str, Callable[[], object]], unit: str = "ms") -> None:
        """Medians and peak memory of each of `works`, and the first one's time over the others'."""
        times: dict[str, float] = {}
        for name, work in works.items():
            if self.left <= 0:
                print(f"{self.bench:8} {figure}, {name}: left out, the time is used up")
                continue
            with self.attempt(f"{figure}, {name}"):
                times[name], peak = measure(work, self.device, self.left / 4)
                self.add(f"{figure}, {name}", times[name], unit)
                if self.device.type == "cuda":
                    self.add(f"{figure}, {name}, peak memory", peak / 2**30, "GiB")
        first, *others = works
        for name in others:
            if first in times and name in times:
                self.add(f"{figure}, {first} / {name}", times[first] / times[name], "x")


def measure(
    work: Callable[[], object], device: torch.device, seconds: float, most: int = 20
) -> tuple[float, int]:
    """Median milliseconds of `work` after one warm-up, in at most `seconds` or so, and its peak bytes (CUDA only)."""
    begin = time.monotonic()
    work()
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times: list[float] = []
    while len(times) < most and (not times or time.monotonic() - begin < seconds):
        times.append(timed(work, device))
    return statistics.median(times), torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Milliseconds of one call: between CUDA events, or of this process's CPU time."""
    if device.type != "cuda":
        start = time.process_time()
        work()
        return 1000.0 * (time.process_time() - start)
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    work()
    last.record()
    last.synchronize()
    return first.elapsed_time(last)


def synchronise(device: torch.device) -> None:
    """Waits for everything that was started."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def tf32(allowed: bool) -> Iterator[str]:
    """Convolutions and matrix products with or without TF32; yields how figures say it."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield f"TF32 {'on' if allowed else 'off'}"
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def machine(device: torch.device) -> str:
    """What the figures were measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {os.cpu_count()} cores"


def commit() -> str:
    """The commit that is checked out, with + for changes; "unknown" where there is no git."""
    try:
        name = subprocess.run(
            ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip()


def main() -> None:
    """Prints the figures of a file as a short table."""
    with Path(sys.argv[1]).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            print(f"{row['bench']:8} {row['figure']:76} {row['value']:>8} {row['unit']}")


if __name__ == "__main__":
    main()

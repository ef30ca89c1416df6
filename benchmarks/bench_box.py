"""What the model in the box costs on a CPU: `python -m benchmarks.bench_box [SNAPSHOT] [--threads 2]`.

From a class to a mesh with vertex colours, to a textured mesh, to eight previews: as whole commands, start of Python
included, and warm, as `gp3d serve` does it with the model in memory. Wall seconds and, in brackets, CPU-seconds of all
threads; the best of three, new objects each time. The load of the machine is printed, because it decides.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gp3d_core.box import box_path
from gp3d_core.generation import generate, make_mesh, open_snapshot, view, wishes
from gp3d_core.meshfile import save_mesh
from gp3d_core.pictures import rgb_to_uint8
from gp3d_core.snapshot import Snapshot

_REPEATS = 3
_PREVIEWS = 8


def main() -> None:
    """Prints one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("snapshot", type=Path, nargs="?", help="default: the model in the box")
    parser.add_argument("--class", dest="name", help="default: the first that the model knows")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "OMP_WAIT_POLICY": "passive"}
    path = options.snapshot or box_path()
    snapshot = open_snapshot(path, "cpu")
    name = options.name or snapshot.classes[0]["name"]
    count = sum(p.numel() for p in snapshot.generator.parameters())
    print(
        f"{snapshot.path.name}, {name}: {count / 1e6:.1f} M weights, {options.threads} threads, load {_load()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        _commands(path, name, Path(folder))
        _warm(snapshot, name, Path(folder))
    print(f"load at the end {_load()}")


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"


def _commands(path: Path, name: str, folder: Path) -> None:
    chosen = [str(path), "--class", name, "--device", "cpu"]
    wanted: dict[str, Callable[[int], list[str]]] = {
        "vertex colours, command": lambda k: ["mesh", *chosen, "--seeds", str(k), "--color", "vertex"],
        "textured, command": lambda k: ["mesh", *chosen, "--seeds", str(k)],
        f"{_PREVIEWS} previews, command": lambda k: [
            *("render", *chosen, "--kind", "stills", "--seeds"),
            f"{k * _PREVIEWS}-{k * _PREVIEWS + _PREVIEWS - 1}",
        ],
    }
    for what, words in wanted.items():
        _tell(what, lambda k, words=words: _command([*words(k), "--out", str(folder / f"{k}")]))


def _command(words: list[str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "gp3d_core.cli", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _warm(snapshot: Snapshot, name: str, folder: Path) -> None:
    def mesh(k: int, color: Any) -> None:
        (wish,) = wishes(snapshot, [name], [k])
        made, recipe = make_mesh(snapshot, generate(snapshot, wish), color=color)
        save_mesh(made, folder / "mesh.obj", recipe)

    def previews(k: int) -> None:
        for wish in wishes(snapshot, [name], range(k * _PREVIEWS, (k + 1) * _PREVIEWS)):
            rgb_to_uint8(view(snapshot, generate(snapshot, wish)).rgb)

    _tell("vertex colours, warm", lambda k: mesh(k, "vertex"))
    _tell("textured, warm", lambda k: mesh(k, "texture"))
    _tell(f"{_PREVIEWS} previews, warm", previews)


def _tell(what: str, work: Callable[[int], None]) -> None:
    found = []
    for k in range(_REPEATS):
        cpu, wall = _cpu(), time.monotonic()
        work(k)
        found.append((time.monotonic() - wall, _cpu() - cpu))
    wall, cpu = min(found)
    print(f"{what:26s} {wall:6.2f} s  ({cpu:.2f})", flush=True)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()

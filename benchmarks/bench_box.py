"""What the pretrained model costs on a CPU: `python -m benchmarks.bench_box [SNAPSHOT] [--threads 2]`.

From a class to a mesh with vertex colours, to a textured mesh, to eight previews: as whole commands, start of Python
included, and warm, from a request to `gp3d serve` to its result. Wall seconds and, for commands in brackets, CPU
seconds of all threads; the best of three, new objects each time. The load of the machine decides, so it is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gp3d_core.pretrained import pretrained_path
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.run_folder import newest_snapshot

_REPEATS = 3
_PREVIEWS = 8


def main() -> None:
    """Prints one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("snapshot", type=Path, nargs="?", help="default: the pretrained model")
    parser.add_argument("--class", dest="name", help="default: the first that the model knows")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    path = options.snapshot or pretrained_path()
    path = newest_snapshot(path) if path.is_dir() else path
    name = options.name or read_snapshot_facts(path).classes[0]["name"]
    size = path.stat().st_size / 1e6
    print(f"{path.name}, {size:.1f} MB, {name}: {options.threads} threads, load {_load()}")
    with tempfile.TemporaryDirectory() as folder:
        _commands(path, name, Path(folder))
        _warm(path, name, Path(folder))
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


def _warm(path: Path, name: str, folder: Path) -> None:
    """Through `gp3d serve`, from the request to its result."""
    command = [sys.executable, "-m", "gp3d_core.cli", "serve", str(path), "--device", "cpu"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as worker:

        def ask(op: str, **fields: Any) -> None:
            request = {"id": "1", "op": op, "class": name, "dir": str(folder), **fields}
            print(json.dumps(request), file=worker.stdin, flush=True)
            for line in worker.stdout or ():
                event = json.loads(line)
                if event.get("id") == "1" and event["event"] in ("result", "error"):
                    return

        ask("mesh", seed=99)  # waits until the model is there
        _tell("vertex colours, warm", lambda k: ask("mesh", seed=k, color="vertex", formats=["obj"]))
        _tell("textured, warm", lambda k: ask("mesh", seed=10 + k, formats=["obj"]))
        seeds = [list(range(100 + k * _PREVIEWS, 100 + (k + 1) * _PREVIEWS)) for k in range(_REPEATS)]
        _tell(f"{_PREVIEWS} previews, warm", lambda k: ask("preview", seeds=seeds[k]))


def _tell(what: str, work: Callable[[int], None]) -> None:
    found = []
    for k in range(_REPEATS):
        cpu, wall = _cpu(), time.monotonic()
        work(k)
        found.append((time.monotonic() - wall, _cpu() - cpu))
    wall, cpu = min(found)
    print(f"{what:26s} {wall:6.2f} s" + f"  ({cpu:.2f})" * (cpu > 0.1), flush=True)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()

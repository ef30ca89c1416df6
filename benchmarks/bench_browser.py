"""How quickly the seed browser's pictures come from a warm worker: `python -m benchmarks.bench_browser [--csv FILE]`.

Seconds from the request to the first and to the twelfth picture, and the worker's processor seconds, of twelve new
seeds, of a blend in twelve steps, and of twelve directions of one object, 48 pixels each as the add-on asks first. The
best of five, each of new objects. The load of the machine decides about seconds, and is named with them.
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

import torch

from benchmarks.measuring import Rows

_REPEATS, _PICTURES, _PIXELS = 5, 12, 32
_TICK = os.sysconf("SC_CLK_TCK")


def main(words: list[str] | None = None) -> None:
    """Prints a line per figure, and appends them to the file that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("snapshot", nargs="?", help="default: the pretrained models")
    parser.add_argument("--class", dest="name", default="coffee mug")
    parser.add_argument("--other", default="teapot", help="of the other end of the blends")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(words)
    rows = Rows("browser", options.csv, torch.device("cpu"), 600)
    load = f"load {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} cores"
    command = [
        sys.executable,
        "-m",
        "gp3d_core.cli",
        "serve",
        *filter(None, [options.snapshot]),
        "--device",
        "cpu",
    ]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(options.threads),
        "MKL_NUM_THREADS": str(options.threads),
    }
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, text=True, env=environment, **pipes) as worker,
    ):
        one, other = options.name, options.other
        wanted: dict[str, Callable[[int], dict[str, Any]]] = {
            "new seeds": lambda k: {"objects": [_plain(one, 100 * k + n) for n in range(_PICTURES)]},
            "steps of a blend": lambda k: {
                "objects": [
                    {"blend": [_plain(one, 1000 + k), _plain(other, k)], "at": (n + 1) / (_PICTURES + 1)}
                    for n in range(_PICTURES)
                ]
            },
            "directions of an object": lambda k: {
                "objects": [_plain(one, 2000 + k)],
                "yaws": [0.5 * n - 3 for n in range(_PICTURES)],
            },
        }
        for what, request in wanted.items():
            for warming in (2, 1):
                _asked(worker, Path(folder), request(_REPEATS + warming))
            found = [_asked(worker, Path(folder), request(k)) for k in range(_REPEATS)]
            for place, figure in enumerate(("first picture", "first picture, CPU", "twelve", "twelve, CPU")):
                at = f", {load}" if not figure.endswith("CPU") else ""
                rows.add(
                    f"warm worker, {_PIXELS}px, {what}, {figure}{at}", min(one[place] for one in found), "s"
                )


def _plain(name: str, seed: int) -> dict[str, Any]:
    return {"class": name, "seed": seed}


def _asked(
    worker: subprocess.Popen[str], folder: Path, fields: dict[str, Any]
) -> tuple[float, float, float, float]:
    """Seconds and processor seconds to the first picture, and to the last. Raises RuntimeError for an error."""
    request = {"id": "1", "op": "preview", "dir": str(folder), "resolution": _PIXELS, **fields}
    began, spent = time.monotonic(), _cpu(worker.pid)
    print(json.dumps(request), file=worker.stdin, flush=True)
    marks: list[tuple[float, float]] = []
    for line in worker.stdout or ():
        event = json.loads(line)
        if event.get("id") == "1" and event["event"] == "preview":
            marks.append((time.monotonic() - began, _cpu(worker.pid) - spent))
        if event["event"] == "error":
            raise RuntimeError(event["message"])
        if event.get("id") == "1" and event["event"] == "result":
            break
    return *marks[0], *marks[-1]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


if __name__ == "__main__":
    main()

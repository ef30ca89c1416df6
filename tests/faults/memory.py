"""`python -m tests.faults.memory worker 1000` or `render 300`: memory of a process over so many meshes or models.

Prints MiB after each tenth: of the worker, and of the command that renders with its child. Flat is right.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.micro import micro_snapshot
from tests.support.serving import Client

_TENTHS = 10


def _resident(pid: int) -> int:
    """MiB of a process and its children; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        below = [int(child) for path in tasks for child in path.read_text().split()]
    except OSError:
        return 0
    return (pages * 4096 >> 20) + sum(map(_resident, below))


def worker_curve(folder: Path, count: int) -> list[int]:
    """MiB of one worker after each tenth of `count` meshes."""
    client = Client(micro_snapshot(folder).parents[1], "--device", "cpu")
    client.wait("ready")
    curve = []
    for number in range(1, count + 1):
        order = {"class": "coffee mug", "dir": str(folder / "out"), "seed": number % 100, "stem": "a"}
        event = client.ask("mesh", **order, grid=16, formats=["glb"], texture_size=64)
        assert event["event"] in ("result", "error"), event
        if number % max(count // _TENTHS, 1) == 0:
            curve.append(_resident(client.process.pid))
    client.end()
    return curve


def render_curve(folder: Path, count: int) -> list[int]:
    """MiB of a command that renders and its child after each tenth of `count` models of which each has one view."""
    library, out = folder / "models", folder / "set"
    shapes = [sys.executable, "-m", "synthetic.shapes", str(library), "--classes", "barrel,vase,mushroom"]
    subprocess.run([*shapes, "--per-class", str(-(-count // 3))], check=True)
    words = [sys.executable, "-m", "synthetic.render", str(library), str(out), "--views", "1"]
    words += ["--resolution", "16", "--samples", "1", "--workers", "1", "--threads", "1"]
    curve: list[int] = []
    with subprocess.Popen(words) as process:
        while process.poll() is None:
            done = sum(1 for _ in out.glob("*/*_camera.json"))
            if done >= (len(curve) + 1) * max(count // _TENTHS, 1):
                curve.append(_resident(process.pid))
            time.sleep(0.2)
    assert process.returncode == 0
    return curve


def main() -> int:
    """Prints the curve that is asked for."""
    kind, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as place:
        curve = {"worker": worker_curve, "render": render_curve}[kind](Path(place), count)
    sys.stdout.write(f"{kind}, MiB after each tenth of {count}: {' '.join(map(str, curve))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

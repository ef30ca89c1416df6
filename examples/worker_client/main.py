"""A small client of `gp3d serve`: a preview and a mesh of a teapot, with progress."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Worker:
    """A running `gp3d serve`; a context manager that ends it."""

    def __init__(self) -> None:
        """Starts the process; its words for people go to our stderr."""
        command = [sys.executable, "-m", "gp3d_core.cli", "serve"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._count = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        for _ in self.ask({"op": "shutdown"}):
            pass
        self._process.wait(30)

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Sends a request and yields the events that answer it; the last is its `result`.

        Raises RuntimeError for an error, with what the worker advises.
        """
        self._count += 1
        name = str(self._count)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"id": name, **request}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            event = json.loads(line)
            if event.get("id") != name:
                continue  # of the worker itself, or of another request
            if event["event"] == "error":
                raise RuntimeError(f"{event['message']} {event['action']}")
            yield event
            if event["event"] == "result":
                return
        raise RuntimeError("the worker has ended")


def main(out: Path) -> None:
    """Writes teapot.glb into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with Worker() as worker:
        teapot = {"class": "teapot", "dir": str(out)}
        for event in worker.ask({"op": "preview", "seeds": [0], "resolution": 64, **teapot}):
            print(event["event"], event.get("path", ""))
        for event in worker.ask(
            {"op": "mesh", "seed": 0, "grid": 64, "formats": ["glb"], "stem": "teapot", **teapot}
        ):
            if event["event"] == "progress":
                print(f"{event['stage']} {event['done']}/{event['total']}")
        print(event["files"]["glb"], event["faces"], "faces")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples").resolve())
    except KeyboardInterrupt:
        sys.exit("stopped")

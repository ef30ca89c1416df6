"""A client of `gp3d serve --protocol 2`, which is JSON-RPC 2.0: a preview and a mesh of a teapot, with progress."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class Worker:
    """A running worker; `call` answers with a method's result, and shows what is notified meanwhile."""

    def __init__(self) -> None:
        """Starts the process and says which protocol we speak."""
        command = [sys.executable, "-m", "gp3d_core.cli", "serve", "--protocol", "2"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ids = itertools.count()
        self.call("initialize", protocol=2)

    def call(self, method: str, **params: Any) -> Any:
        """The result. Raises RuntimeError for an error."""
        number = next(self._ids)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        print(json.dumps(message), file=self._process.stdin, flush=True)
        for line in self._process.stdout or ():
            answer = json.loads(line)
            if answer.get("method") == "progress":
                print("{stage} {done}/{total}".format(**answer["params"]))
            elif "method" not in answer and answer["id"] == number:
                if "error" in answer:
                    raise RuntimeError(answer["error"]["message"])
                return answer["result"]
        raise RuntimeError("the worker has ended")


def main(out: Path) -> None:
    """Writes teapot.glb into `out`."""
    worker, teapot = Worker(), {"class": "teapot", "dir": str(out)}
    print(worker.call("preview", seeds=[0], resolution=64, **teapot)["pictures"][0]["path"])
    mesh = worker.call("mesh", seed=0, grid=64, formats=["glb"], stem="teapot", **teapot)
    print(mesh["files"]["glb"], mesh["faces"], "faces")
    worker.call("shutdown")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples").resolve())
    except KeyboardInterrupt:
        sys.exit("stopped")

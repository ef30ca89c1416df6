"""Native libraries in processes of their own: nothing is left of them when the process that asked is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.solids import has

ASK = """
import numpy as np, trimesh
from gp3d_core.assets.native import call
mesh = trimesh.creation.icosphere(subdivisions=6)
mesh.vertices *= 1 + 0.2 * np.sin(9 * mesh.vertices)
call("collision", {"vertices": mesh.vertices, "faces": mesh.faces, "concavity": 0.01, "parts": 64}, 600)
"""


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in found.read_text().split()] if found.exists() else []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.skipif(not has("collision"), reason="coacd is not installed")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_call_whose_process_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    asking = subprocess.Popen([sys.executable, "-c", ASK], env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        end = time.monotonic() + 60
        while not (found := children(asking.pid)):
            assert asking.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(1.0)  # it is at work by now
        assert asking.poll() is None
    finally:
        asking.send_signal(how)
        asking.wait(20)
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in found):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []

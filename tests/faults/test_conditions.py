"""Commands in conditions that machines may be in; `python -m tests.faults.conditions` tries them all, as root."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gp3d_core.cli.process.memory import NO_MEMORY
from tests.faults.conditions import attempt, closed_stderr, low_memory
from tests.faults.kills import ALL_WORKS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("mesh", ["--texture-size", "4096"]),  # 48 MiB in one piece, which no free part of a heap can hold
        ("pack", []),  # its workers are new processes
    ],
)
def test_too_little_memory_is_said_in_one_line(name: str, more: list[str], tmp_path: Path) -> None:
    freed = [bytes(1000) for _ in range(300_000)]  # in a heap that cannot be given back to the system
    kept = freed[:: len(freed) // 1000]
    del freed
    assert attempt(low_memory, name, tmp_path, *more).startswith(
        "gp3d: there is not enough memory for this; ask for less"
    )
    assert len(kept) >= 1000


@pytest.mark.slow
def test_commands_work_without_stderr(tmp_path: Path) -> None:
    assert attempt(closed_stderr, "mesh", tmp_path) == "done"


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["_bootstrap", "run"]
)  # its first steps, for which Python waits, and its work
def test_a_thread_without_memory_ends_the_command_in_one_line(place: str, tmp_path: Path) -> None:
    work = ALL_WORKS["ground"](tmp_path)
    words = (sys.executable, "-c", _THREADS_WITHOUT_MEMORY, place, *work.words)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (3, NO_MEMORY)


_THREADS_WITHOUT_MEMORY = """
import sys, threading
from gp3d_core.cli.__main__ import run

place = sys.argv.pop(1)
usual = getattr(threading.Thread, place)

def without_memory(thread):
    if thread.name != "gp3d memory":
        raise MemoryError
    usual(thread)

setattr(threading.Thread, place, without_memory)
sys.exit(run())
"""


@pytest.mark.parametrize(
    ("how", "code", "name"),
    [
        ("ctypes.string_at(0)", -signal.SIGSEGV, "Segmentation fault"),
        ("os.abort()", -signal.SIGABRT, "Aborted"),
    ],
)
def test_a_crash_of_a_library_ends_the_command_in_one_line(how: str, code: int, name: str) -> None:
    done = _crash(how)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert done.stderr.startswith(f"gp3d: a library has ended this process ({name}), ")


@pytest.mark.parametrize(
    ("how", "code"), [("os._exit(4)", 4), ("sys.exit(5)", 5), ("os.kill(os.getpid(), 9)", -9)]
)
def test_other_ends_are_no_crashes(how: str, code: int) -> None:
    done = _crash(how)
    assert (done.returncode, done.stderr) == (code, "")


def _crash(how: str) -> subprocess.CompletedProcess[str]:
    """What becomes of `gp3d` whose work is `how`; the end of its stderr is waited for."""
    words = (sys.executable, "-c", _CRASH.replace("HOW", how))
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


_CRASH = """
import ctypes, os, sys
from gp3d_core.cli import main
from gp3d_core.cli.__main__ import run

main.main = lambda: HOW
sys.exit(run())
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", ["gp3d_core.cli.process", "synthetic.workers"])
def test_sums_of_numpy_go_on_when_memory_is_used_up(package: str) -> None:
    words = (sys.executable, "-c", _NO_MEMORY_LEFT.replace("PACKAGE", package))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "1.0\nCannot allocate memory\n"), done.stderr


_NO_MEMORY_LEFT = """
import resource
import numpy as np
from PACKAGE.memory import take_buffers

take_buffers()
now = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (now, resource.RLIM_INFINITY))
print(np.linalg.det(np.eye(3)))
try:
    take_buffers()
except OSError as error:
    print(error.strerror)
"""

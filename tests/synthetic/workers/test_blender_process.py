"""Manners of a process with Blender inside, seen without Blender."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from synthetic.workers.blender_process import CapturedOutput, StopRequest, one_processor
from tests.synthetic.small_library import REPOSITORY


def test_captured_output_keeps_chatter_of_python_and_c_off_the_screen(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"""
import os, sys
from pathlib import Path
from synthetic.workers.blender_process import CapturedOutput
print("before")
with CapturedOutput(Path({str(log)!r})):
    print("python")
    os.write(1, b"c\\n")
    os.write(2, b"error\\n")
print("after")
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("before\nafter\n", "")
    assert sorted(log.read_text().split()) == ["c", "error", "python"]


def test_exception_takes_the_last_lines_along(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def chatter_and_fail() -> None:
        with CapturedOutput(tmp_path / "log"):
            os.write(1, b"\n".join(b"line %d" % number for number in range(100)))
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken") as caught:
        chatter_and_fail()
    note = caught.value.__notes__[0].splitlines()
    assert note[-1] == "line 99"
    assert len(note) == 21
    assert capfd.readouterr().out == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds processes to processors")
def test_one_processor_is_one_of_those_allowed_which_are_given_back_whatever_happens() -> None:
    before, inside = os.sched_getaffinity(0), set[int]()

    def look_and_fail() -> None:
        with one_processor():
            inside.update(os.sched_getaffinity(0))
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        look_and_fail()
    assert len(inside) == 1
    assert inside <= before
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_is_remembered_and_handlers_are_given_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal is None
        assert signal.getsignal(number) != before
        os.kill(os.getpid(), number)
        assert stop.signal == number
        if number == signal.SIGINT:
            assert signal.getsignal(number) == before  # the next one acts at once
        else:
            os.kill(os.getpid(), number)  # is absorbed: terminals and schedulers send two
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("pass", 0),
        ("sys.exit(0)", 0),
        ("sys.exit(2)", 2),
        ("sys.exit(None)", 0),
        ("raise KeyboardInterrupt", 130),
        ("raise RuntimeError('seen')", 1),
    ],
)
def test_leaving_gives_the_status_without_running_exit_hooks(statement: str, status: int) -> None:
    script = f"""
import atexit, sys
from synthetic.workers.blender_process import LeaveWithoutDestructors
atexit.register(print, "destructor")
with LeaveWithoutDestructors():
    print("flushed")
    {statement}
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert run.returncode == status
    assert run.stdout == "flushed\n"
    assert ("RuntimeError: seen" in run.stderr) == (status == 1)

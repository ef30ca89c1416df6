"""What `benchmarks/gpu.sh` leaves when it is stopped, when its folder is taken, and when a figure or a test fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.measuring import Rows

ROOT = Path(__file__).resolve().parents[2]


def begin(out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["benchmarks/gpu.sh", "--python", sys.executable, "--toy", "1", *options],
        cwd=ROOT,
        env={**os.environ, "OUT": str(out), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(out: Path, text: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if (out / "log.txt").exists() and text in (out / "log.txt").read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} in the log")


@pytest.mark.slow
def test_a_call_that_is_stopped_prints_what_it_has(tmp_path):
    script = begin(tmp_path, "--call", "bench")
    wait_for(tmp_path, "copy, bytes read and written")
    script.send_signal(signal.SIGTERM)
    said, _ = script.communicate(timeout=60)
    assert script.returncode == 1
    assert re.search(r"figures and logs: \S+; failed: kernels\(\d+\) step\(stopped\); stopped$", said.strip())
    assert said.count("copy, bytes read and written") == 2, "as it came, and in the table"
    assert "== step (at most" not in said


@pytest.mark.slow
def test_nothing_goes_on_after_the_script_was_killed(tmp_path):
    script = begin(tmp_path, "--call", "bench")
    wait_for(tmp_path, "== kernels (at most")
    script.kill()
    script.wait()  # its output is open as long as anything goes on
    end = time.monotonic() + 4  # by itself it would take twice as long
    of_its_session = ["pgrep", "-s", str(script.pid)]
    while subprocess.run(of_its_session, check=False, stdout=subprocess.DEVNULL).returncode == 0:
        assert time.monotonic() < end, "something goes on"
        time.sleep(0.1)
    script.communicate()


@pytest.mark.slow
def test_two_calls_do_not_share_a_folder(tmp_path):
    (tmp_path / "log.txt").write_text("of the first")
    with subprocess.Popen(["flock", str(tmp_path), "sleep", "60"]) as first:
        time.sleep(0.5)
        said, _ = begin(tmp_path, "--call", "check").communicate(timeout=60)
        first.kill()
        subprocess.run(["pkill", "-P", str(first.pid)], check=False)
    assert f"gpu.sh: another call writes to {tmp_path}; wait for it, or set OUT to another folder" in said
    assert (tmp_path / "log.txt").read_text() == "of the first"


def made_up(folder: Path, text: str) -> list[str]:
    """The command that runs the tests of that text in two processes."""
    (folder / "test_made_up.py").write_text(text)
    return [sys.executable, "-m", "benchmarks.gpu_tests", "--processes", "2", str(folder / "test_made_up.py")]


@pytest.mark.slow
def test_failures_are_counted_and_named(tmp_path):
    text = "import pytest\ndef test_a(): pass\ndef test_b(): assert False\ndef test_c(): pytest.skip('x')\n"
    ran = subprocess.run(made_up(tmp_path, text), cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "tests    1 passed, 1 failed, 1 skipped, 0 not run" in ran.stdout
    assert re.search(r"^tests    FAILED .*::test_b$", ran.stdout, re.MULTILINE)
    command = made_up(tmp_path, "def test_a(): pass\n")
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "tests    1 passed, 0 failed, 0 skipped, 0 not run" in ran.stdout


@pytest.mark.slow
def test_failures_are_named_when_the_time_is_up(tmp_path):
    begun = "import pathlib, time\nhere = pathlib.Path(__file__).parent\n"
    a, b = "def test_a(): assert False\n", "def test_b(): pass\n"
    c, d = (
        "def test_c():\n    (here / 'c').touch()\n    time.sleep(300)\n",
        "def test_d(): (here / 'd').touch()\n",
    )
    command = made_up(tmp_path, begun + a + b + c + d)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as runner:
        end = time.monotonic() + 120
        while not ((tmp_path / "c").exists() and (tmp_path / "d").exists()) and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1)  # until the last one is noted
        runner.terminate()
        said, _ = runner.communicate(timeout=60)
    assert runner.returncode == 1
    assert "tests    2 passed, 1 failed, 0 skipped, 1 not run" in said
    assert re.search(r"^tests    FAILED .*::test_a$", said, re.MULTILINE)
    assert "E   assert False" in said, "with pytest's own account of it"


@pytest.mark.slow
def test_what_cannot_be_collected_is_no_success(tmp_path):
    ran = subprocess.run(
        made_up(tmp_path, "import no_such_module\n"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert re.search(r"^tests    FAILED .*test_made_up\.py$|^tests    FAILED $", ran.stdout, re.MULTILINE)


@pytest.mark.slow
def test_a_process_that_does_not_listen_is_ended(tmp_path):
    deaf = "import pathlib, signal, time\ndef test_a(): pass\ndef test_b():\n"
    deaf += "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    (pathlib.Path(__file__).parent / 'b').touch()\n"
    with subprocess.Popen(
        made_up(tmp_path, f"{deaf}    time.sleep(300)\n"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as runner:
        end = time.monotonic() + 120
        while not (tmp_path / "b").exists() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(2)
        runner.terminate()
        said, _ = runner.communicate(timeout=30)
    assert runner.returncode == 1
    assert "tests    1 passed, 0 failed, 0 skipped, 1 not run" in said


def test_a_figure_that_fails_is_named_and_others_go_on(tmp_path, capsys):
    rows = Rows("kernels", tmp_path / "rows.csv", torch.device("cpu"), 60)

    def broken() -> None:
        raise RuntimeError("ptxas: too many registers\nmore")

    def too_large() -> None:
        raise torch.OutOfMemoryError

    rows.compare("renderer", {"torch": lambda: None, "triton": broken, "large": too_large})
    rows.compare("grid", {"torch": lambda: None})
    said = capsys.readouterr().out
    assert "renderer, triton: failed, RuntimeError: ptxas: too many registers\n" in said
    assert "renderer, large: left out, out of memory\n" in said
    assert "grid, torch" in said
    with pytest.raises(SystemExit, match="kernels: 1 figures failed: renderer, triton"):
        rows.close()

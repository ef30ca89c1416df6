"""Ctrl-C ends every command in one line, whether it comes during imports or during work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synthetic.layouts.shapenet import load_library

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

COMMANDS = ("shapes", "library", "points", "render", "check", "preview", "contact", "export")


def interrupted(
    command: list[str], ready: Callable[[], bool], number: int = signal.SIGINT, **environment: str
) -> tuple[int, str]:
    """Exit status and stderr of a command to whose process group Ctrl-C is sent as soon as it is `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not ready() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[1]
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.parametrize(
    ("command", "number"),
    [*((name, signal.SIGINT) for name in COMMANDS), ("check", signal.SIGTERM), ("contact", signal.SIGHUP)],
)
def test_signals_during_imports_are_one_line(command: str, number: int, tmp_path: Path) -> None:
    mark = tmp_path / "importing"
    (tmp_path / "numpy.py").write_text(f"import time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(100)\n")
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    status, errors = interrupted([f"synthetic.{command}"], mark.exists, number, PYTHONPATH=path)
    assert status in (-signal.SIGINT, 128 + number)
    assert errors == "stopped\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_that_a_library_turns_into_another_error_while_it_is_imported_is_one_line(
    command: str, tmp_path: Path
) -> None:
    mark = tmp_path / "importing"
    (tmp_path / "numpy.py").write_text(
        f"import time\nopen({str(mark)!r}, 'w').close()\n"
        "try:\n    time.sleep(100)\nexcept BaseException as error:\n    raise ImportError('half') from error\n"
    )
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    status, errors = interrupted([f"synthetic.{command}"], mark.exists, PYTHONPATH=path)
    assert (status, errors) == (128 + signal.SIGINT, "stopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_while_shapes_are_written_keep_whole_models(tmp_path: Path, number: int) -> None:
    out = tmp_path / "models"
    command = ["synthetic.shapes", str(out), "--classes", "barrel", "--per-class", "500"]
    ready = lambda: any(out.glob("*/[!.]*/models/model_normalized.obj"))  # noqa: E731
    status, errors = interrupted(command, ready, number)
    assert status == 128 + number
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "stopped; the same command continues"
    models = [folder for folder in out.glob("*/[!.]*") if folder.is_dir()]  # hidden: what was being written
    assert models
    assert all((folder / "models/model_normalized.obj").exists() for folder in models)
    assert {model.key for model in load_library(out)} == {
        f"{folder.parent.name}/{folder.name}" for folder in models
    }


SLOW_START = """
import sys, time
if "--multiprocessing-fork" in sys.orig_argv:
    open({mark!r}, "w").close()
    time.sleep(3)
"""


def test_ctrl_c_while_workers_of_points_start_is_one_line(tmp_path: Path) -> None:
    models, out, mark = tmp_path / "models", tmp_path / "data", tmp_path / "starting"
    write = [sys.executable, "-m", "synthetic.shapes", models, "--classes", "barrel", "--per-class", "4"]
    subprocess.run(write, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    (tmp_path / "sitecustomize.py").write_text(SLOW_START.format(mark=str(mark)))
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    command = ["synthetic.points", str(models), str(out), "--workers", "2"]
    status, errors = interrupted(command, mark.exists, PYTHONPATH=path)
    assert status == 128 + signal.SIGINT
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("stopped; ")


SLOW_END = """
import sys, threading, time
if "-m" in sys.orig_argv:
    def end(end=threading._shutdown):
        open({mark!r}, "w").close()
        time.sleep(1)
        end()
    threading._shutdown = end
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_while_python_ends_change_nothing(tmp_path: Path, number: int) -> None:
    mark = tmp_path / "ending"
    (tmp_path / "sitecustomize.py").write_text(SLOW_END.format(mark=str(mark)))
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    words = ["synthetic.shapes", str(tmp_path / "models"), "--classes", "barrel", "--per-class", "1"]
    assert interrupted(words, mark.exists, number, PYTHONPATH=path) == (0, "")

"""What killed processes leave is removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from gp3d_core.atomic import scratch_folder, settle, write_text
from synthetic.atomic import write_whole
from synthetic.shapes import __main__ as shapes
from synthetic.workers.scratch import remove_leftovers
from tests.support.full_disk import files_end_at
from tests.support.serving import gone, until
from tests.support.source_tree import ROOT
from tests.support.two_processes import run_alone

CORE = "from gp3d_core.atomic import scratch_folder as scratch"
SYNTHETIC = "from synthetic.workers.scratch import scratch_folder; scratch = lambda: scratch_folder('points')"
OWNER = """
import sys, time
{imports}
with scratch() as folder:
    (folder / "large").write_text("file")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("imports", [CORE, SYNTHETIC], ids=["core", "synthetic"])
def test_scratch_folders_of_killed_processes_go_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imports: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "gp3d-mine").mkdir()
    program = [sys.executable, "-c", OWNER.format(imports=imports)]
    owners, folders = [], []
    for _ in range(2):
        owners.append(subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        stdout = owners[-1].stdout
        assert stdout is not None
        folders.append(Path(stdout.readline().strip()))
    owners[0].send_signal(signal.SIGKILL)
    owners[0].communicate()
    assert all((folder / "large").exists() for folder in folders)
    remove_leftovers()
    with scratch_folder():
        assert not folders[0].exists()
        assert (folders[1] / "large").exists()
    owners[1].communicate("")
    assert [path.name for path in tmp_path.iterdir()] == ["gp3d-mine"]


@pytest.mark.slow
def test_workers_that_make_points_end_with_a_leader_that_is_killed(tmp_path: Path) -> None:
    library, out = tmp_path / "models", tmp_path / "set"
    words = [str(library), "--classes", "barrel", "--per-class", "8"]
    assert run_alone(partial(shapes.main, words), tmp_path / "log") == 0
    command = [sys.executable, "-m", "synthetic.points", library, out, "--workers", "1", "--points", "64"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as leader:
        assert until(lambda: any(out.glob("points/*/*.npz")), 120)
        tasks = Path(f"/proc/{leader.pid}/task").glob("*/children")
        children = [int(child) for path in tasks for child in path.read_text().split()]
        leader.send_signal(signal.SIGKILL)
    assert len(children) >= 1
    assert until(lambda: all(map(gone, children)), 60)


def test_temporary_files_of_dead_processes_go_once_they_are_quiet(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    old, young, living = (
        tmp_path / f".b.json.{number}.tmp.json" for number in (dead.pid, 10**9, os.getpid())
    )
    for path in (old, young, living, tmp_path / ".other.tmp"):
        path.touch()
    for path in (old, living):
        os.utime(path, (time.time() - 3600,) * 2)
    write_text(tmp_path / "a.json", "{}")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", young.name, living.name, ".other.tmp"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_what_another_user_has_begun_in_a_shared_folder_is_not_ended_by_us(tmp_path: Path) -> None:
    """Else whoever may write there could have us replace our own files."""
    (tmp_path / "mine.obj").write_text("mine")
    aside = tmp_path / ".gp3d-4194304-x"
    (aside / "new").mkdir(parents=True)
    (aside / "new" / "mine.obj").write_text("theirs")
    (aside / "lock").touch()
    (aside / "journal").write_text('{"files": ["mine.obj"], "replaced": []}')
    os.chown(aside, 12345, 12345)
    settle(tmp_path)
    assert (tmp_path / "mine.obj").read_text() == "mine"


def test_a_full_disk_is_told_by_the_name_of_the_file_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model.obj"
    path.write_bytes(b"old")
    with files_end_at(5), pytest.raises(OSError, match="too large; make room there") as error:
        write_whole(path, b"new content")
    assert error.value.filename == str(path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("model.obj", b"old")]

"""Several files appear together: whenever a process dies or a disk is full, all of them are there, or none."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gp3d_core.atomic import PlaceError, settle, transaction
from tests.support.full_disk import files_end_at
from tests.support.kill_points import dying_at, in_child

OLD = {"mug.obj": "old obj", "mug.png": "old png", "mug.recipe.json": "old recipe"}
NEW = {"mug.obj": "new obj", "mug.mtl": "new mtl", "mug.png": "new png", "mug.recipe.json": "new recipe"}


def write(folder: Path, files: dict[str, str] = NEW) -> None:
    with transaction(folder) as aside:
        for name, text in files.items():
            (aside.path / name).write_text(text)
        aside.publish()


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def steps_of(folder: Path, before: dict[str, str], work: Callable[[], None]) -> list[bool]:
    """Kills `work` before each of its steps in `folder`, which held `before`, and lets the next transaction follow.

    Returns for every step whether the new files are there; anything but all of them or those before fails.
    """
    outcomes = []
    for step in range(1, 500):
        for path in folder.iterdir():
            path.unlink()
        for name, text in before.items():
            (folder / name).write_text(text)

        def until_killed(step: int = step) -> None:
            dying_at(step, folder)
            work()

        status = in_child(until_killed)
        write(folder, {"lamp.glb": "lamp"})  # the next run, of another mesh
        assert not list(folder.glob(".*")), f"step {step}: left-over files"
        found = content(folder)
        assert found.pop("lamp.glb") == "lamp"
        assert found in (before, before | NEW), f"step {step}: neither all nor none"
        outcomes.append(found != before)
        if status == 0:
            return outcomes
        assert status == -signal.SIGKILL
    raise AssertionError("it never came to its end")


@pytest.mark.slow
@pytest.mark.parametrize("before", [{}, OLD], ids=["new", "replaced"])
def test_a_process_killed_anywhere_leaves_all_files_or_none(tmp_path: Path, before: dict[str, str]) -> None:
    outcomes = steps_of(tmp_path, before, lambda: write(tmp_path))
    assert len(outcomes) > 30
    assert outcomes == sorted(outcomes)  # none up to a point, all from there on
    assert 5 < outcomes.index(True) < len(outcomes) - 4  # it is killed between two of its renames, too


@pytest.mark.slow
@pytest.mark.parametrize("before", [{}, OLD], ids=["new", "replaced"])
@pytest.mark.parametrize("failing", [1, 3])
def test_a_move_that_fails_is_taken_back_even_when_that_is_killed(
    tmp_path: Path, before: dict[str, str], failing: int
) -> None:
    replace = os.replace

    def fail_at_last() -> None:
        left = [failing]

        def full(source: Path, target: Path) -> None:
            if Path(target).parent == tmp_path and Path(source).parent.name == "new":
                left[0] -= 1
                if left[0] == 0:
                    raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))
            replace(source, target)

        os.replace = full
        with pytest.raises(OSError, match="No space left") as error:
            write(tmp_path)
        assert error.value.filename == str(tmp_path / sorted(NEW)[failing - 1])

    outcomes = steps_of(tmp_path, before, fail_at_last)
    assert outcomes[-1] is False


@pytest.mark.parametrize("limit", [0, 3, 7, 40, 80])
def test_a_full_disk_leaves_what_was_there_and_names_a_file(tmp_path: Path, limit: int) -> None:
    write(tmp_path, OLD)
    with files_end_at(limit), pytest.raises(OSError, match="too large") as error:
        write(tmp_path)
    assert content(tmp_path) == OLD
    assert not list(tmp_path.glob(".*"))
    named = Path(error.value.filename)
    assert named == tmp_path or named.parent == tmp_path  # nothing aside, which nobody knows
    assert not named.name.startswith(".")


def test_a_full_disk_without_second_names_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a memory card, where old files are copied and not linked."""

    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write(tmp_path, OLD)
    write(tmp_path)
    assert content(tmp_path) == OLD | NEW


def test_what_is_not_published_is_forgotten(tmp_path: Path) -> None:
    with transaction(tmp_path) as aside:
        (aside.path / "mug.obj").write_text("new")
    with pytest.raises(FileNotFoundError), transaction(tmp_path) as aside:
        (aside.path / "none" / "mug.obj").write_text("new")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_of_one_file_keeps_all_back(tmp_path: Path) -> None:
    (tmp_path / "mug.png").mkdir()
    with pytest.raises(PlaceError, match=r"mug.png is a folder, and a file needs that name; move it"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mug.png"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        write(tmp_path / "none")
    assert error.value.filename == str(tmp_path / "none")


OWNER = """
import sys, time
from pathlib import Path
from gp3d_core.atomic import transaction
with transaction(Path(sys.argv[1])) as aside:
    (aside.path / "lamp.obj").write_text("lamp")
    print("written", flush=True)
    sys.stdin.read()
    aside.publish()
"""


@pytest.mark.slow
def test_folders_of_living_processes_stay_and_those_of_dead_ones_go(tmp_path: Path) -> None:
    owners = [
        subprocess.Popen(
            [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for owner in owners:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"written\n"
    assert len(list(tmp_path.glob(".gp3d-*"))) == 2
    owners[0].kill()
    owners[0].communicate()
    write(tmp_path)
    [left] = tmp_path.glob(".gp3d-*")
    assert re.fullmatch(rf"\.gp3d-{owners[1].pid}-\w+", left.name)
    owners[1].communicate(b"")
    assert owners[1].returncode == 0
    assert content(tmp_path) == NEW | {"lamp.obj": "lamp"}
    assert not list(tmp_path.glob(".gp3d-*"))


def test_folders_without_a_lock_go_with_their_process_or_after_a_day(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (
        f".gp3d-{dead.pid}-a",
        f".gp3d-{os.getpid()}-a",
        ".gp3d-new",
        ".gp3d-41943049",
        ".gp3d-old",
        ".gp3d-file",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / ".gp3d-file").rmdir()
    (tmp_path / ".gp3d-file").write_text("nobody's")
    long_ago = time.time() - 90_000
    os.utime(tmp_path / ".gp3d-old", (long_ago, long_ago))
    settle(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f".gp3d-{os.getpid()}-a", ".gp3d-new", ".gp3d-41943049", ".gp3d-file"]
    )


def test_a_journal_moves_nothing_out_of_its_folder(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.txt", tmp_path / "meshes"
    outside.write_text("mine")
    aside = folder / ".gp3d-4194304-x"  # no process has so high a number
    (aside / "new").mkdir(parents=True)
    (aside / "new" / "a.obj").write_text("new")
    (aside / "lock").touch()
    (aside / "journal").write_text('{"files": ["../outside.txt", "a.obj"], "replaced": []}')
    settle(folder)
    assert outside.read_text() == "mine"
    assert content(folder) == {"a.obj": "new"}
    assert [path.name for path in folder.iterdir()] == ["a.obj"]


def test_publishing_waits_for_another_that_publishes_there(tmp_path: Path) -> None:
    """Else two meshes of one name could be mixed."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with transaction(tmp_path) as aside:
        (aside.path / "mug.obj").write_text("new")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        child = os.fork()
        if child == 0:
            aside.publish()
            os._exit(0)
        time.sleep(0.2)
        assert content(tmp_path) == {}
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
        assert os.waitpid(child, 0)[1] == 0
    assert content(tmp_path) == {"mug.obj": "new"}

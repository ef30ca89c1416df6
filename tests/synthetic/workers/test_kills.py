"""Runs whose processes are killed at random moments and at changes of files end in the data set of a run that was not.

GP3D_KILLS says how many kills each kind of victim gets; usually few.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.synthetic import small_library as library
from tests.synthetic.workers.test_executors import assert_same, children_of, contents

pytestmark = [pytest.mark.blender, pytest.mark.slow]

KILLS = int(os.environ.get("GP3D_KILLS", "4"))
OPTIONS = ("--resolution", 16, "--samples", 1, "--views", 3, "--workers", 2)
_SOON = 4.0  # seconds within which random moments lie: starts, work and ends


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kills") / "models"
    library.write_facts(root)
    for key, parts in list(library.SHAPES.items())[:3]:
        library.write_model(root, key, parts)
    library.write_broken(root, only_text=True)
    return root


def start(models: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        library.command("synthetic.render", models, out, *OPTIONS),
        text=True,
        stderr=subprocess.PIPE,
        env=library.environment(out.parent / "scratch"),
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def reference(models: Path) -> dict[str, bytes]:
    process = start(models, models.parent / "reference")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return contents(models.parent / "reference")


def changes(out: Path, process: subprocess.Popen[str]) -> Iterator[None]:
    """Yields whenever a file of the data set has come, gone or changed, until the process ends."""
    before: dict[str, int] = {}
    while process.poll() is None:
        now = {}
        for path in out.rglob("*"):
            try:
                now[str(path)] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
        if now != before:
            yield
        before = now
        time.sleep(0.001)


def wait_for_a_moment(out: Path, process: subprocess.Popen[str], chance: random.Random) -> None:
    """Returns after a random number of changes of files, or a random time."""
    if chance.random() < 0.7:
        left = chance.randrange(60)
        for _ in changes(out, process):
            left -= 1
            if left < 0:
                return
        return
    until = time.monotonic() + chance.uniform(0, _SOON)
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)


def kill(process: subprocess.Popen[str], victim: str, chance: random.Random) -> int:
    """How many processes were sent SIGKILL."""
    workers = children_of(process.pid)
    if victim == "worker":
        targets = workers[: chance.randint(1, 2)]
    else:
        targets = [process.pid] if victim == "parent" else [*workers, process.pid]
    for target in targets:
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:  # it has ended meanwhile
            continue
    return len(targets)


def assert_no_orphan(workers: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(map(runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(runs, workers)), "a worker outlived its parent"


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("victim", ["parent", "worker", "both"])
@pytest.mark.timeout(60 + 30 * KILLS)
def test_kills_at_any_moment_change_no_byte_and_leave_nothing(
    models: Path, reference: dict[str, bytes], tmp_path: Path, victim: str
) -> None:
    chance = random.Random(f"{victim} {KILLS}")
    kills, finished, out, whole = 0, 0, tmp_path / "out0", False
    while kills < KILLS or not whole:
        process = start(models, out)
        if kills < KILLS:
            wait_for_a_moment(out, process, chance)
            workers = children_of(process.pid)
            kills += kill(process, victim, chance)
            if victim != "worker":
                process.wait(10)
                assert_no_orphan(workers)
        _, errors = process.communicate(timeout=240)
        assert "Traceback" not in errors
        assert process.returncode in (0, -signal.SIGKILL), errors
        whole = process.returncode == 0
        if whole:
            assert_same(out, reference)
            finished += 1
            out = tmp_path / f"out{finished}"
    time.sleep(_SOON)  # a worker whose parent died while it started ends when it has started
    process = start(models, tmp_path / "out0")  # has nothing to render
    assert process.wait(60) == 0
    assert_same(tmp_path / "out0", reference)
    scratch = tmp_path / "scratch"
    assert not list(scratch.rglob("gp3d-render-*")), "scratch folders of killed runs are left"

"""Commands that are killed, at a change of a file or at any moment, by seed; the same command then ends as ever."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.fuzzing import Outcome
from tests.faults.works import WORKS, Work
from tests.support.two_processes import begin, content, run_alone

_MARK = "GP3D_TEST_WORK"  # in the environment of all that a command starts
_ORPHAN_SECONDS = 20.0
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree")


@dataclass
class Killable:
    """A command whose result is known; `changes` of files that it makes itself, and how long it takes."""

    work: Work
    place: Path
    before: Path
    log: Path
    result: dict[str, bytes]
    changes: int
    seconds: float


def changing(event: str, arguments: tuple[object, ...], place: str) -> bool:
    """Whether an audit event is a change of a file or folder below `place`."""
    if event == "open":
        flags = arguments[2]
        written = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        return bool(written) and str(arguments[0]).startswith(place)
    return event in _CHANGES and any(str(value).startswith(place) for value in arguments)


def killable(name: str, folder: Path) -> Killable:
    """The command `name`, run once alone in `folder`."""
    place, log, counted = folder / "place", folder / "log", folder / "counted"
    place.mkdir(parents=True)
    work = WORKS[name](place)
    shutil.copytree(place, folder / "before")

    def count() -> None:
        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if changing(event, arguments, str(place)):
                os.write(descriptor, b".")

        descriptor = os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        sys.addaudithook(watch)

    start = time.monotonic()
    child = begin(partial(work.main, work.words), log, count)
    assert os.waitpid(child, 0)[1] == 0, log.read_text()
    seconds = time.monotonic() - start
    return Killable(work, place, folder / "before", log, _result(work), counted.stat().st_size, seconds)


def _result(work: Work) -> dict[str, bytes]:
    return {file: data for file, (data, _) in content(work.folder, work.left_out).items()}


def kill(one: Killable, seed: int) -> bool:
    """Whether the command was killed before its end; raises AssertionError where the same one then ends otherwise."""
    dice = random.Random(seed)
    shutil.rmtree(one.place)
    shutil.copytree(one.before, one.place)
    os.environ[_MARK] = str(one.place)
    killed = []
    for _ in range(dice.choice((1, 1, 2))):
        change = dice.randint(1, one.changes) if dice.random() < 0.75 else 0
        when = f"change {change}" if change else f"{dice.random():.2f} of its time"
        dying = partial(_die_at, change, str(one.place)) if change else lambda: None
        child = begin(partial(one.work.main, one.work.words), one.log, dying)
        if not change:
            time.sleep(one.seconds * float(when.split()[0]))
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        killed += [when] * (code == -signal.SIGKILL)
        assert code in (0, -signal.SIGKILL), f"{when}: ended with {code}: {_last_line(one.log)}"
    story = f"killed at {', then '.join(killed)}"
    _wait_for_orphans(story, str(one.place))
    code = run_alone(partial(one.work.main, one.work.words), one.log)
    whole = "is there already" in _last_line(one.log)  # killed when there was nothing left to do
    assert code == 0 or whole, f"{story}: the same command ends with {code}: {_last_line(one.log)}"
    found = _result(one.work)
    assert found.keys() == one.result.keys(), (
        f"{story}: other files: {sorted(found.keys() ^ one.result.keys())}"
    )
    odd = [name for name in found if found[name] != one.result[name]]
    assert not odd, f"{story}: other content: {odd}"
    return bool(killed)


def _die_at(change: int, place: str) -> None:
    left = [change]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if changing(event, arguments, place):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "nothing said"


def _wait_for_orphans(story: str, place: str) -> None:
    """Raises AssertionError if what the command had started lives much longer than it."""
    end = time.monotonic() + _ORPHAN_SECONDS
    while left := _marked(place):
        assert time.monotonic() < end, f"{story}: processes are left: {left}"
        time.sleep(0.05)


def _marked(place: str) -> list[str]:
    """Processes that were started with the mark of this work."""
    mark, found = f"{_MARK}={place}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
        except OSError:  # it has ended, or is another user's
            continue
    return found


def kill_all(
    name: str,
    folder: Path,
    *,
    first: int,
    count: int = 10**9,
    seconds: float = 1e9,
    tell: Callable[[int], None] = lambda seed: None,
) -> Outcome:
    """Tries seeds from `first` on, until there were `count` or `seconds` have gone."""
    began, outcome = time.monotonic(), Outcome(f"killed {name}")
    one = killable(name, folder)
    for seed in range(first, first + count):
        start = time.monotonic()
        if start - began > seconds:
            break
        try:
            killed = kill(one, seed)
        except Exception as error:  # whatever it is, it is what we look for
            outcome.faults[seed] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        else:
            outcome.taken += killed
            outcome.refused += not killed
        outcome.slowest = max(outcome.slowest, time.monotonic() - start)
        tell(seed)
    return outcome

"""Commands that are killed, at a change of a file or at any moment, or have no room on their disk, drawn by seed.

The same command then has to end as ever.
"""

from __future__ import annotations

import faulthandler
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gp3d_core.cli.process.crashes import crashes_ending_in_one_line
from gp3d_core.cli.process.memory import threads_ending_in_one_line
from gp3d_core.signals import ending_in_one_line
from tests.faults.exports import EXPORTS
from tests.faults.fuzzing import Outcome
from tests.faults.works import WORKS, Work
from tests.support.two_processes import begin, content, run_alone

_MARK = "GP3D_TEST_WORK"  # in the environment of all that a command starts
_ORPHAN_SECONDS = 20.0
_START = 1.5  # seconds that Python and the libraries take, about
_LONGEST_STOP = 30.0  # seconds, on a machine with much else to do
_KEPT: list[object] = []
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree")


ALL_WORKS = {**WORKS, **EXPORTS}


@dataclass
class Killable:
    """A command whose result is known; `changes` of files that it makes itself, how long it takes, and with which
    code the same command ends once more, where there is nothing left to do: some refuse a folder that is whole.
    """

    work: Work
    place: Path
    before: Path
    log: Path
    result: dict[str, bytes]
    changes: int
    seconds: float
    again: int


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
    work = ALL_WORKS[name](place)
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
    changes, result = counted.stat().st_size, _result(work)
    again = run_alone(partial(work.main, work.words), log)
    assert again in (0, 2), log.read_text()
    assert _result(work) == result, "the same command once more has made other files"
    return Killable(work, place, folder / "before", log, result, changes, seconds, again)


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
        assert code in (0, one.again, -signal.SIGKILL), f"{when}: ended with {code}: {_last_line(one.log)}"
    story = f"killed at {', then '.join(killed)}"
    _wait_for_orphans(story, str(one.place))
    _ends_as_ever(one, story)
    return bool(killed)


def _ends_as_ever(one: Killable, story: str, also: str = "none") -> None:
    """Raises AssertionError unless the command, run again, ends well, with the files that it makes alone; there may be
    `also` those whose names begin so.
    """
    code = run_alone(partial(one.work.main, one.work.words), one.log)
    assert code in (0, one.again), f"{story}: the same command ends with {code}: {_last_line(one.log)}"
    found = {
        name: data
        for name, data in _result(one.work).items()
        if name in one.result or not name.startswith(also)
    }
    assert found.keys() == one.result.keys(), (
        f"{story}: other files: {sorted(found.keys() ^ one.result.keys())}"
    )
    odd = [name for name in found if found[name] != one.result[name]]
    assert not odd, f"{story}: other content: {odd}"


def stop(one: Killable, seed: int) -> bool:
    """Whether the command was stopped by Ctrl-C, SIGTERM or SIGHUP, in one line and soon; otherwise as `kill`."""
    dice = random.Random(seed)
    shutil.rmtree(one.place)
    shutil.copytree(one.before, one.place)
    os.environ[_MARK] = str(one.place)
    number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[seed % 3]
    when = f"{number.name} at {dice.random():.2f} of its time"
    with one.log.open("w") as log:
        child = subprocess.Popen(
            command_of(one.work),
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
            },  # as here: sums of several threads differ in the last bit
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    _wait_until_heard(child)
    time.sleep((_START + one.seconds) * float(when.split()[2]))
    child.send_signal(number)
    start = time.monotonic()
    code = child.wait()
    lasted = time.monotonic() - start
    by_itself = (-signal.SIGINT,) * (number == signal.SIGINT)  # Python's own way, which shells take for 130
    assert code in (0, 128 + number, *by_itself), f"{when}: ended with {code}: {_last_line(one.log)}"
    assert lasted < _LONGEST_STOP, f"{when}: took {lasted:.1f} s more"
    said = one.log.read_text(errors="replace")
    assert "Traceback" not in said, f"{when}: {said[-300:]}"
    words = ("stopped", "stopping", "interrupted")
    assert code == 0 or any(word in _last_line(one.log) for word in words), f"{when}: {said[-300:]}"
    _wait_for_orphans(when, str(one.place))
    _ends_as_ever(
        one, when, also="snapshots/"
    )  # of a training that is stopped what it has learnt can be used
    return code != 0


def command_of(work: Work) -> list[str]:
    """A command as a shell starts it."""
    module = work.main.__module__.removesuffix(".__main__").removesuffix(".main")
    return [sys.executable, "-m", module, *work.words]


def _wait_until_heard(child: subprocess.Popen[bytes]) -> None:
    """Until a child that has just been started handles SIGTERM, or has ended: before, Python itself is not there."""
    handled = re.compile(r"SigCgt:\s*([0-9a-f]+)")
    while child.poll() is None:
        with suppress(OSError):  # it has just ended
            found = handled.search(Path(f"/proc/{child.pid}/status").read_text())
            if found and int(found[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
        time.sleep(0.005)


def as_a_process_of_its_own() -> None:
    """Signals, crashes, and threads without memory end this child as they end a command that a shell has started."""
    faulthandler.disable()  # pytest's
    endings = (
        crashes_ending_in_one_line(),
        ending_in_one_line("interrupted"),
        threads_ending_in_one_line(),
    )
    for ending in endings:
        ending.__enter__()
        _KEPT.append(ending)


def starve(one: Killable, seed: int) -> bool:
    """Whether the command failed, in one line, where no file may grow beyond a size; otherwise as `kill`."""
    dice = random.Random(seed)
    shutil.rmtree(one.place)
    shutil.copytree(one.before, one.place)
    limit = dice.choice((0, 1, 64, 700, *(len(data) - 1 for data in one.result.values() if data)))
    reading, writing = os.pipe()
    dying = partial(_end_files_at, limit, writing)
    child = begin(partial(one.work.main, one.work.words), one.log, dying)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 2), f"files of {limit} bytes: ended with {code}: {said[-300:]}"
    assert "Traceback" not in said, f"files of {limit} bytes: {said[-300:]}"
    assert code == 0 or "too large" in said, f"files of {limit} bytes: {said[-300:]}"
    code_after = run_alone(partial(one.work.main, one.work.words), one.log)
    assert code_after in (0, one.again), f"files of {limit} bytes, then {code_after}: {_last_line(one.log)}"
    found = _result(one.work)
    odd = [name for name in {**found, **one.result} if found.get(name) != one.result.get(name)]
    assert not odd, f"files of {limit} bytes: other content: {odd}"
    return code != 0


def _end_files_at(limit: int, log: int) -> None:
    """Lets writes beyond so many bytes fail, as on a full disk, but not what is printed, which goes into a pipe."""
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


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


Disturbance = Callable[[Killable, int], bool]


def disturb(
    how: Disturbance,
    name: str,
    folder: Path,
    *,
    first: int,
    count: int = 10**9,
    seconds: float = 1e9,
) -> Outcome:
    """Tries `kill` or `starve` with seeds from `first` on, until there were `count` or `seconds` have gone.

    Those that did not come to harm, because they had ended before or had room, count as taken.
    """
    began = time.monotonic()
    outcome = Outcome(f"{HOW[how]}: {name}")
    one = killable(name, folder)
    for seed in range(first, first + count):
        start = time.monotonic()
        if start - began > seconds:
            break
        try:
            harmed = how(one, seed)
        except Exception as error:  # whatever it is, it is what we look for
            outcome.faults[seed] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        else:
            outcome.taken += not harmed
            outcome.refused += harmed
        outcome.slowest = max(outcome.slowest, time.monotonic() - start)
    return outcome


HOW: dict[Disturbance, str] = {kill: "killed", stop: "stopped", starve: "full disk"}

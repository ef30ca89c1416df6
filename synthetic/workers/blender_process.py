"""What a process with Blender needs: its environment, captured output, signals, an exit without a crash.

Nothing here imports Blender. What has to be set before its first import is set here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

from synthetic.workers.standard_streams import flush_or_leave

TESTED_BLENDERS = (
    "4.2",
    "4.5",
    "5.0",
    "5.2",
)  # by benchmarks/compare_blenders.py; `gp3d doctor` knows the same
_BLENDERPROC_AS_LIBRARY = "OUTSIDE_OF_THE_INTERNAL_BLENDER_PYTHON_ENVIRONMENT_BUT_IN_RUN_SCRIPT"
_LAST_LINES = 20
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def prepare_blender(workspace: Path) -> None:
    """Sets the environment in which `import synthetic.blender.scene` works and writes nowhere but into `workspace`.

    BlenderProc 2.8.0 refuses to be imported outside its own launcher unless one variable is set; with it, its
    modules work as a plain library. Blender takes its temporary and its user folder from the environment, so
    nobody's preferences change a picture.
    """
    os.environ[_BLENDERPROC_AS_LIBRARY] = "1"
    os.environ["BLENDER_USER_RESOURCES"] = str(workspace)
    os.environ["TMPDIR"] = str(workspace)


@contextmanager
def one_processor() -> Iterator[None]:
    """Inside `with`, this process may use one of its processors, and Blender, started there, takes one for all there
    are: otherwise it has a thread for each of them, which look for work between any two views.

    What Cycles draws with is set on its own, and never more.
    """
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[os.getpid() % len(allowed)]})  # not the same one in every worker
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def die_with_parent() -> None:
    """Lets the system end this process at once when its parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def untested_blender() -> str:
    """A line on a Blender that pictures were not compared with, for the screen; empty where there is none such."""
    from importlib.metadata import PackageNotFoundError, version  # a worker needs none of it

    try:
        found = version("bpy")
    except PackageNotFoundError:
        return ""
    if ".".join(found.split(".")[:2]) in TESTED_BLENDERS:
        return ""
    return f"Blender {found}: GP3D was tried with {', '.join(TESTED_BLENDERS)} only (docs/rendering.md)\n"


class CapturedOutput:
    """Inside `with`, what Python or C code prints goes to the file `log` instead of the screen.

    An exception that leaves takes the last lines along as a note, which its traceback shows.
    """

    def __init__(self, log: Path) -> None:
        """On entry, what `log` holds is overwritten."""
        self._log = log
        self._screen: tuple[int, int] | None = None

    def __enter__(self) -> None:
        """Turns both output streams to the log."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._screen = os.dup(1), os.dup(2)
        target = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Turns them back."""
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in zip((1, 2), self._screen or (), strict=True):
            os.dup2(saved, number)
            os.close(saved)
        if error is not None:
            lines = self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            error.add_note("\n".join(["The last it printed:", *lines]))


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to end: Ctrl-C's, SIGTERM and, unless it is ignored, SIGHUP."""
    hung_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *hung_up]


def ignore_signals() -> None:
    """Lets this process, which has done its work, end as it would."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP asked the process to end, outside of a StopRequest; `status` is what it ends with."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def status_of(interrupt: KeyboardInterrupt) -> int:
    """The exit status after Ctrl-C, SIGTERM or SIGHUP."""
    return interrupt.status if isinstance(interrupt, Stopped) else 128 + signal.SIGINT


class StopRequest:
    """Notes the first Ctrl-C, SIGTERM or SIGHUP, which then does not end the process; a second Ctrl-C does.

    Others are absorbed: schedulers, and terminals that close, send them twice. SIGHUP that `nohup` ignores stays so.
    `signal` is None until then, afterwards the signal's number.
    """

    def __init__(self) -> None:
        """Signals are handled inside `with` only."""
        self.signal: int | None = None
        self._previous = {number: signal.getsignal(number) for number in stop_signals()}

    def __enter__(self) -> StopRequest:
        """Installs the handlers."""
        for number in self._previous:
            signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Installs the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, self._previous[signal.SIGINT])


class LeaveWithoutDestructors:
    """Ends the process at the end of `with`, with the status of the SystemExit raised inside.

    Blender's destructors run into a segmentation fault once the interpreter is gone, so they must not run.
    Neither do `atexit` hooks: what has to be removed has to be removed before.
    """

    def __enter__(self) -> None:
        """Does nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Prints what the interpreter would have printed, flushes and leaves."""
        ignore_signals()
        status = 0
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif isinstance(error, KeyboardInterrupt):
            sys.stderr.write("stopped\n")
            status = status_of(error)
        elif error is not None:
            traceback.print_exception(error)
            status = 1
        flush_or_leave()
        sys.stderr.flush()
        os._exit(status)

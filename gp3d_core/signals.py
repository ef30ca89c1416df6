"""What a long job does between two steps: it looks for Ctrl-C, SIGTERM and SIGHUP, and it says how far it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

Step = TypeVar("Step")
Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all; may raise, which stops the job


def no_progress(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def counted(steps: Sequence[Step], stage: str, progress: Progress) -> Iterator[Step]:
    """Yields the `steps` of a stage, and tells `progress` before and after each how many are done."""
    for done, step in enumerate(steps):
        progress(stage, done, len(steps))
        yield step
    progress(stage, len(steps), len(steps))


_LONGEST_END = 10  # seconds
_STOPPING = b"stopping after the current step; Ctrl-C once more ends at once, without saving\n"


@dataclass
class Interruption:
    """Which signal asked the job to stop; 0 while none did."""

    signal: int = 0

    @property
    def requested(self) -> bool:
        """Whether to finish the current step, save, and leave."""
        return self.signal != 0

    @property
    def exit_code(self) -> int:
        """Exit code that tells of the signal; 0 without one."""
        return 128 + self.signal if self.signal else 0


RAISED = Interruption()  # of this process, by what `ending_in_one_line` has raised


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to end: SIGINT, SIGTERM and, unless it is ignored, SIGHUP."""
    hung_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *hung_up]


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C's, `number`, asked this process to end, or a child that it waits for."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def passing_on(process: subprocess.Popen[Any]) -> Iterator[None]:
    """A block in which SIGTERM and SIGHUP go to a child, for which this process waits: it saves, and both end.

    Ctrl-C reaches both by itself: terminals send it to all that runs in them.
    """
    before = {number: signal.getsignal(number) for number in stop_signals() if number != signal.SIGINT}
    for number in before:
        signal.signal(number, lambda number, _: process.send_signal(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Yields an Interruption that the first SIGINT, SIGTERM or SIGHUP sets; SIGHUP not where `nohup` ignores it.

    After it a second SIGINT acts as usual, for the impatient; further ones of the others are absorbed, because
    schedulers, launchers and terminals that close send them twice and the job is saving.
    """
    interruption = Interruption()
    before = {number: signal.getsignal(number) for number in stop_signals()}

    def request(number: int, _frame: object) -> None:
        if not interruption.requested:
            with suppress(OSError):  # not by sys.stderr, which may be in the middle of a write, or hung up
                os.write(2, _STOPPING)
        interruption.signal = number
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    for number in before:
        signal.signal(number, request)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_in_one_line(message: str) -> Iterator[None]:
    """A block in which SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, the last two as a Stopped.

    RAISED then has the signal: where it is raised in the middle of a library's C code, that may make any error of it.

    While a module is being imported they end the process at once, after one line on stderr: raised there,
    KeyboardInterrupt is swallowed or turned into other errors by libraries that import lazily, and half imported
    modules stay behind. A process that has not ended ten seconds after SIGTERM or SIGHUP is killed. After the
    block, which is all that a process does, they are ignored: what was to be done is done and said. Only for the
    main thread; a signal that a launcher ignores or a caller handles stays as it is.
    """
    usual = {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.getsignal(number) for number in stop_signals()}
    taken = [number for number, handler in before.items() if handler is usual.get(number, signal.SIG_DFL)]
    if threading.current_thread() is not threading.main_thread():
        taken = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if _imports(frame):
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()
            os._exit(128 + number)
        RAISED.signal = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        for other in set(taken) - {signal.SIGINT}:  # they are sent twice; a second would hit what cleans up
            signal.signal(other, signal.SIG_IGN)
        signal.alarm(_LONGEST_END)  # whatever swallows what is raised
        raise Stopped(number)

    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_IGN)


def _imports(frame: FrameType | None) -> bool:
    """Whether an import statement is being carried out somewhere up the stack."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextmanager
def shown_progress(every: float = 10.0) -> Iterator[Progress]:
    """Yields a Progress that shows on stderr how far a job is: a bar on a terminal, else a line now and then.

    Lines are at least `every` seconds apart, and so is the first from the start: what is quick says nothing.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(unit="", file=sys.stderr) as bar:
            yield _on_bar(bar)
    else:
        yield _in_lines(every)


def _on_bar(bar: tqdm[Any]) -> Progress:
    current = ""

    def show(stage: str, done: int, total: int) -> None:
        nonlocal current
        if stage != current:
            current = stage
            bar.reset(total)
            bar.set_description(stage)
        bar.n = done
        bar.refresh()

    return show


def _in_lines(every: float) -> Progress:
    shown_at = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= every:
            shown_at = time.monotonic()
            sys.stderr.write(f"{stage}: {done} of {total}\n")
            sys.stderr.flush()

    return show

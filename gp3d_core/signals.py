"""What a long job does between two steps: it looks for Ctrl-C and SIGTERM, and it says how far it is."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all; may raise, which stops the job


def no_progress(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


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


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Yields an Interruption that the first SIGINT or SIGTERM sets.

    After it a second SIGINT acts as usual, for the impatient; further SIGTERMs are absorbed, because schedulers and
    launchers send them twice and the job is saving.
    """
    interruption = Interruption()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, _frame: object) -> None:
        interruption.signal = number
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    for number in before:
        signal.signal(number, request)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

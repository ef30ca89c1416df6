"""Bounds on what a test may take."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class HangError(Exception):
    """Something took longer than a user would wait; no OSError, as a reader of files would take it for damage."""


@contextmanager
def limited_seconds(seconds: int) -> Iterator[None]:
    """Interrupts what takes longer with a HangError: what hangs, or a quadratic algorithm."""

    def stop(*_: object) -> None:
        raise HangError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

"""The two ends of a worker's conversation: bytes cut into lines, and events written as lines."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gp3d_core.worker.protocol import MAX_LINE

Translation = Callable[[Mapping[str, Any]], Sequence[Any]]
_STALLED_SECONDS = 60.0  # a client that reads nothing for so long is taken for dead


class LineSplitter:
    """Cuts a stream of bytes into lines and holds no more than one line of it."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._begun = bytearray()
        self._skipping = False

    @property
    def held(self) -> int:
        """Bytes of the line that has begun, at most `limit`."""
        return len(self._begun)

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Yields the lines that `data` completes, without their ends; None as soon as one is too long."""
        *ends, rest = data.split(b"\n")
        for part in ends:
            yield from self._extend(part)
            if not self._skipping:
                yield bytes(self._begun).removesuffix(b"\r")
            self._begun.clear()
            self._skipping = False
        yield from self._extend(rest)

    def _extend(self, part: bytes) -> Iterator[None]:
        if self._skipping:
            return
        if len(self._begun) + len(part) > self._limit:
            self._begun.clear()
            self._skipping = True
            yield None
        else:
            self._begun += part


def _as_it_is(event: Mapping[str, Any]) -> Sequence[Any]:
    return (event,)


class Outbox:
    """Writes events, one line each, from any thread; `lost` is called when nobody can read them any more.

    `messages_of` gives what is written for an event, one event at a time: protocol 1 writes the event itself.
    """

    def __init__(
        self, descriptor: int, lost: Callable[[], None], messages_of: Translation = _as_it_is
    ) -> None:
        self._descriptor, self._lost, self._messages_of = descriptor, lost, messages_of
        self._lock = threading.Lock()
        self._open = True

    def send(self, event: Mapping[str, Any]) -> None:
        """Writes `event` whole. A client that reads nothing for a minute ends the process."""
        if not self._lock.acquire(timeout=_STALLED_SECONDS):
            os._exit(1)
        try:
            messages = self._messages_of(event)
            lines = b"".join(json.dumps(one, allow_nan=False).encode("ascii") + b"\n" for one in messages)
            was_open, self._open = self._open, self._open and self._write(lines)
        finally:
            self._lock.release()
        if was_open and not self._open:
            self._lost()  # with no lock held: it takes others

    def _write(self, line: bytes) -> bool:
        """Whether the other end can still read."""
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            return False
        return True

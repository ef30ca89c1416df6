"""The engine as a child process: finding it, talking to it, ending it. Standard library only, no bpy.

The engine is `gp3d serve`, which speaks JSON lines over pipes (docs/serve.md). Two threads read its output and one
writes its input, so that nothing here ever waits for it; the caller's thread takes what has arrived with `receive`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from ..recipe import JsonObject

LONGEST_LINE = 16 * 1024 * 1024  # bytes; a longer one is no message of the protocol
MOST_WAITING = 1000  # messages not received yet; then the reader blocks, and with it the engine
LOG_LINES = 400
_PIPE_SECONDS = 1.0  # that the pipes of a process that has ended are still read
_END_GRACE = 2.0  # seconds between asking a process to end and killing it


class EngineNotFoundError(Exception):
    """No engine where one was expected; the message is one sentence for people."""


def find_engine(preferred: str, roots: Iterable[Path]) -> list[str] | None:
    """The command of the engine: the preferred path, else `gp3d` on PATH, else the .venv of one of the `roots`.

    `preferred` is the program, or a project folder whose .venv holds it; empty for none. Returns None if there is no
    engine anywhere. Raises EngineNotFoundError if `preferred` names something that is not one: another engine than the
    one that was asked for would be a surprise.
    """
    if preferred:
        path = Path(preferred).expanduser()
        program = _in_project(path) if path.is_dir() else path
        if program is None or not _is_program(program):
            raise EngineNotFoundError(f"There is no gp3d program at {preferred}")
        return [str(program)]
    on_path = shutil.which("gp3d")
    if on_path:
        return [on_path]
    found = (_in_project(root) for root in roots)
    return next(([str(program)] for program in found if program), None)


def _in_project(folder: Path) -> Path | None:
    places = (
        folder / ".venv/bin/gp3d",
        folder / ".venv/Scripts/gp3d.exe",
        folder / "bin/gp3d",
        folder / "gp3d",
    )
    return next((place for place in places if _is_program(place)), None)


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


class Engine:
    """A running engine process. Raises OSError if `command` cannot be started.

    Every method returns at once. The process leads its own group, so that `kill` reaches its children too.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._arrived: queue.Queue[JsonObject] = queue.Queue(MOST_WAITING)
        self._outgoing: queue.Queue[bytes | None] = queue.Queue()
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=os.name == "posix",
        )
        self._readers = (
            _start_thread(self._read, _opened(self._process.stdout)),
            _start_thread(self._read_log, _opened(self._process.stderr)),
        )
        _start_thread(self._write, _opened(self._process.stdin))
        self._seen_dead: float | None = None

    @property
    def pid(self) -> int:
        """Process id of the engine."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def is_over(self) -> bool:
        """Whether the process has ended and nothing more will arrive, neither message nor log.

        A child that it left behind may hold the pipes open: that is not waited for.
        """
        if self.exit_code is None or not self._arrived.empty():
            return False
        if self._seen_dead is None:
            self._seen_dead = time.monotonic()
        reading = any(reader.is_alive() for reader in self._readers)
        return not reading or time.monotonic() - self._seen_dead > _PIPE_SECONDS

    def send(self, message: JsonObject) -> None:
        """Sends one message; it is lost if the engine has ended."""
        self._outgoing.put(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def receive(self, most: int = 100) -> list[JsonObject]:
        """Up to `most` messages that have arrived, in order. Lines that are no JSON object go to the log."""
        messages: list[JsonObject] = []
        with contextlib.suppress(queue.Empty):
            while len(messages) < most:
                messages.append(self._arrived.get_nowait())
        return messages

    def close(self) -> None:
        """Ends the engine: closes its input, then SIGTERM, then SIGKILL, two seconds apart."""
        self._outgoing.put(None)
        _start_thread(self._end, _END_GRACE)

    def kill(self) -> None:
        """Ends the engine and its children at once."""
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        self._outgoing.put(None)
        _start_thread(self._process.wait)

    def _end(self, grace: float) -> None:
        for number in (None, signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            if number is not None:
                self._signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
                return

    def _signal(self, number: int) -> None:
        if self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def _read(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            while line := pipe.readline(LONGEST_LINE):
                message = _parse(line)
                if message is None:
                    self.log.append("not a message: " + line[:200].decode("utf-8", "replace").strip())
                    message = {"event": "garbage"}
                self._arrived.put(message)

    def _read_log(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            while line := pipe.readline(4096):
                self.log.append(line.decode("utf-8", "replace").rstrip())

    def _write(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (line := self._outgoing.get()) is not None:
                pipe.write(line)
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()


def _parse(line: bytes) -> JsonObject | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _environment() -> dict[str, str]:
    """Environment variables for the engine: PYTHONHOME and PYTHONPATH of Blender's Python would mislead another one."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise OSError("the process has no pipes")
    return pipe


def _start_thread(work: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True, name="gp3d")
    thread.start()
    return thread

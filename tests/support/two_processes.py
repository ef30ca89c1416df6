"""A command that stops in the middle of its work, so that another can be tried on the same folder meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Command = Callable[[], int]  # returns an exit code


def begin(command: Command, log: Path, before: Callable[[], None] = lambda: None) -> int:
    """The number of a child process that runs `command`; what it prints goes into the file `log`."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            for stream in (1, 2):
                os.dup2(descriptor, stream)
            sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
            before()
            code = command()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:  # whatever happens, no second process goes on with the tests
                os._exit(code)
    return child


def run_alone(command: Command, log: Path) -> int:
    """The exit code of `command`, minus the signal that ended it; what it prints goes into `log`."""
    return os.waitstatus_to_exitcode(os.waitpid(begin(command, log), 0)[1])


@contextmanager
def stopped_at(pattern: str, command: Command, log: Path) -> Iterator[Callable[[], int]]:
    """A block during which `command` stands still, just before a file or folder gets a name that fits the `pattern`,
    such as models/*; yields what lets it go on and returns its exit code.
    """

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and Path(str(arguments[1])).match(pattern) and not stopped:
            stopped.append(pattern)
            os.kill(os.getpid(), signal.SIGSTOP)

    stopped: list[str] = []
    child = begin(command, log, lambda: sys.addaudithook(watch))
    status = os.waitpid(child, os.WUNTRACED)[1]
    assert os.WIFSTOPPED(status), f"it never wrote {pattern}: {log.read_text()}"
    ended: list[int] = []

    def go_on() -> int:
        os.kill(child, signal.SIGCONT)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return ended[0]

    try:
        yield go_on
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _in_order(path: Path) -> bytes:
    """The bytes of a file; of tensors with a sorted header, as the library writes what a file says of itself in any
    order.
    """
    whole = path.read_bytes()
    if path.suffix != ".safetensors":
        return whole
    end = 8 + int.from_bytes(whole[:8], "little")
    return json.dumps(json.loads(whole[8:end]), sort_keys=True).encode() + whole[end:]


def content(folder: Path, left_out: tuple[str, ...] = ()) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file below a folder, but for locks and those whose paths have a part of `left_out`."""
    return {
        name: (_in_order(path), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("lock", ".lock") and not path.name.endswith(".lock")
        for name in [path.relative_to(folder).as_posix()]
        if not any(part in name for part in left_out)
    }

"""`python -m tests.faults.conditions`: commands in conditions that machines may be in, for real; a table of what came.

Needs root and Linux: file systems are mounted where nobody else sees them. Each command ends well, or in one line.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from tests.faults.kills import ALL_WORKS, as_a_process_of_its_own, command_of
from tests.faults.works import Work
from tests.support.two_processes import begin

_PRIVATE = 0x00020000  # CLONE_NEWNS
_NAMES = (
    "ship",
    "mesh",
    "stills",
    "gallery page",
    "lift",
    "export to tars",
    "pack",
    "depth",
    "shapes",
    "ground",
)
_LONGEST = 180.0  # seconds, on a machine with much else to do
_LAST_LINE = 5.0  # seconds that the last line of a process that has crashed may be late
_CRASHES = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
_CRASHED = "gp3d: a library has ended this process"
_PAGE = 4096  # bytes, the least that such a file system gives
_LEFT = 24 << 20  # bytes
_HELD: list[bytearray] = []

Condition = Callable[[Work], None]


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def _alone() -> None:
    """Lets this process see mounts that nobody else sees."""
    if ctypes.CDLL(None, use_errno=True).unshare(_PRIVATE):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", "/")


def _place(work: Work) -> Path:
    """The folder that a command writes into, or where it would be."""
    return work.folder if work.folder.exists() else work.folder.parent


def read_only(work: Work) -> None:
    _alone()
    place = str(_place(work))
    _mount("--bind", place, place)
    _mount("-o", "remount,bind,ro", place)


def full_disk(work: Work) -> None:
    """A file system over what is written into, with what was there and room for 4 KiB more."""
    _alone()
    work.folder.mkdir(parents=True, exist_ok=True)
    disk = work.folder.with_name("disk")
    disk.mkdir()
    held = sum(path.stat().st_size + 8192 for path in work.folder.rglob("*") if path.is_file())
    _mount("-t", "tmpfs", "-o", f"size={(held >> 10) + 64}k", "tmpfs", str(disk))
    shutil.copytree(work.folder, disk / "place")
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(_PAGE))
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - _PAGE)
    _mount("--bind", str(disk / "place"), str(work.folder))


def low_memory(work: Work) -> None:
    """Leaves 24 MiB that may be taken, whatever lies free in the heap of the process that was forked."""
    as_a_process_of_its_own()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (now, resource.RLIM_INFINITY))
    size = 1 << 30
    while size >= 1 << 10:
        try:
            _HELD.append(bytearray(size))
        except MemoryError:
            size //= 2
    resource.setrlimit(resource.RLIMIT_AS, (now + _LEFT, resource.RLIM_INFINITY))


def no_shared_memory(work: Work) -> None:
    _alone()
    _mount("-t", "tmpfs", "-o", "ro,size=4k", "tmpfs", "/dev/shm")


def one_core(work: Work) -> None:
    os.sched_setaffinity(0, {0})


def closed_stderr(work: Work) -> None:
    """Becomes the command as a shell starts it with 2>&-: what opens a stream in its place does so at its start."""
    os.close(2)
    os.execv(sys.executable, command_of(work))


def changing_files(work: Work) -> None:
    """What is read grows, shrinks and goes while the command reads it."""
    inputs = [Path(word) for word in work.words if Path(word).exists()]
    files = [
        file for path in inputs for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
    ]
    files = [file for file in files if not file.is_relative_to(work.folder)]

    def change() -> None:
        for number in range(10**6):
            file = files[number % len(files)]
            try:
                size = file.stat().st_size
                with file.open("r+b") as stream:
                    stream.truncate(size // 2 if number % 2 else size + 9)
            except OSError:
                pass
            time.sleep(0.003)

    if files:
        threading.Thread(target=change, daemon=True).start()


CONDITIONS: dict[str, Condition] = {
    "read-only output": read_only,
    "full disk": full_disk,
    "low memory": low_memory,
    "no /dev/shm": no_shared_memory,
    "one core": one_core,
    "stderr closed": closed_stderr,
    "files that change": changing_files,
}


def attempt(condition: Condition, name: str, folder: Path, *more: str) -> str:
    """What became of a command, with `more` words, in a condition: "done", its one line, or what is wrong with it,
    beginning with !.
    """
    place, log = folder / "place", folder / "log"
    place.mkdir(parents=True)
    work = ALL_WORKS[name](place)
    child = begin(partial(work.main, [*work.words, *more]), log, partial(condition, work))
    end = time.monotonic() + _LONGEST
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "! hangs"
        time.sleep(0.05)
    code, said = os.waitstatus_to_exitcode(found[1]), log.read_text(errors="replace")
    end = time.monotonic() + _LAST_LINE
    while code in _CRASHES and _CRASHED not in said and time.monotonic() < end:  # another process says it
        time.sleep(0.05)
        said = log.read_text(errors="replace")
    last = said.splitlines()[-1] if said.splitlines() else ""
    if code == 0:
        return "done"
    if code in _CRASHES and last.startswith(_CRASHED):
        return last
    if "Traceback" in said or code not in (2, 3, 5) or (not last and condition is not closed_stderr):
        return f"! {code}: {said[-400:]}"
    return last.replace(str(place), "")


def main() -> int:
    """Prints the table; 1 where something did not hold."""
    torch.set_num_threads(1)
    wrong = 0
    for condition in CONDITIONS:
        for name in _NAMES:
            if not any(word in condition for word in sys.argv[1:2] or [""]):
                continue
            with tempfile.TemporaryDirectory() as folder:
                what = attempt(CONDITIONS[condition], name, Path(folder))
            wrong += what.startswith("!")
            sys.stdout.write(f"{condition} | {name} | {what}\n")
            sys.stdout.flush()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The child that makes one object, watched: it may take so long and so much memory, and always leaves an outcome."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.library.infinigen.job import FAILURE, FactoryJob
from synthetic.staging.surface import Surface

COMMAND = (sys.executable, "-m", "synthetic.library.infinigen.child")
_POLL_SECONDS = 0.1
_LOG = "log.txt"
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ChildLimits:
    """How long a child may take, and how much memory it may hold."""

    seconds: float = 300.0
    megabytes: int = 6144


def surface_of(job: FactoryJob, limits: ChildLimits, command: Sequence[str] = COMMAND) -> Surface:
    """What a child makes of a job, which follows its `command` as JSON. Raises BrokenModelError with the reason."""
    package = str(Path(__file__).resolve().parents[3])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        "PYTHONHASHSEED": "0",  # the order of sets of texts, by which factories may choose
        "OMP_NUM_THREADS": "1",
    }
    with (job.folder / _LOG).open("wb") as log:
        child = subprocess.Popen(
            [*command, json.dumps(job.as_json())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=job.folder,
        )
        try:
            _wait(child, limits)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode:
        raise BrokenModelError(_reason(job.folder, child.returncode))
    try:
        return job.read()
    except (OSError, ValueError, KeyError) as error:
        raise BrokenModelError(f"the factory's process left no surface that can be read ({error})") from None


def _wait(child: subprocess.Popen[bytes], limits: ChildLimits) -> None:
    """Returns when the child has ended. Raises BrokenModelError where it goes beyond its limits."""
    end = time.monotonic() + limits.seconds
    while True:
        try:
            child.wait(_POLL_SECONDS)
            return
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > end:
            raise BrokenModelError(f"took longer than {limits.seconds:g} s")
        if _megabytes(child.pid) > limits.megabytes:
            raise BrokenModelError(f"took more than {limits.megabytes} MB of memory")


def _megabytes(pid: int) -> int:
    """The memory that a process holds, 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE >> 20
    except (OSError, IndexError, ValueError):
        return 0


def _reason(folder: Path, status: int) -> str:
    """Why a child failed, in one sentence."""
    try:
        said = (folder / FAILURE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        said = ""
    if said:
        return said
    if status < 0:
        return f"the factory's process died of signal {-status}"
    lines = (folder / _LOG).read_text(errors="replace").strip().splitlines()
    return f"the factory's process ended with status {status}" + (f": {lines[-1][:300]}" if lines else "")

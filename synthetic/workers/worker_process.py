"""One place where a Blender works: a child process that is watched, replaced when it dies or hangs, and renewed.

A slot takes one job at a time and always comes back with an outcome, whatever the model does to Blender.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from synthetic.workers.worker import Job, Order

_COMMAND = (sys.executable, "-m", "synthetic.workers.worker")
_START_SECONDS = 300.0  # for Blender itself, on top of a model's own time
_FAREWELL_SECONDS = 10.0
_LAST_LINES = 20


class BlenderError(RuntimeError):
    """Blender cannot be started here, which is nobody's model's fault."""


@dataclass(frozen=True, kw_only=True)
class Care:
    """How long a model may take for loading or for one view, and when a Blender is exchanged for a fresh one."""

    model_seconds: float = 120.0
    models: int = 1000
    megabytes: int = 4096

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not min(self.model_seconds, self.models, self.megabytes) > 0:
            raise ValueError("a model's time and the life of a Blender must be more than 0")


@dataclass(frozen=True)
class Outcome:
    """What became of a job: how it ended, the views written, and the processor's seconds by stage.

    A job that is done may have a `reason` as well: a view that shows nothing.
    """

    model: str
    end: Literal["done", "failed", "stopped"]
    views: int
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The outcome as plain data."""
        return asdict(self)


class _Lost(Exception):
    """The child is no more, or had to be ended; the message says how."""


class Slot:
    """Runs jobs in a child process. Not for use by two threads at once, except for `stop`."""

    def __init__(self, order: Order, care: Care) -> None:
        """Starts nothing yet."""
        self._order, self._care = order, care
        self._workspace = Path(tempfile.mkdtemp(prefix="gp3d-render-"))
        self._log = self._workspace / "blender.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._models = 0
        self._buffer = b""
        self._stopping = False
        self._busy = threading.Lock()

    def run(self, job: Job) -> Outcome:
        """Renders a job. A model in which Blender dies gets a second chance in a fresh one; one that hangs does not.

        Raises BlenderError where Blender does not even start.
        """
        with self._busy:
            if self._stopping:
                return Outcome(job.model.key, "stopped", 0)
            outcome, crashed = self._attempt(job)
            if crashed and not self._stopping:
                again, _ = self._attempt(Job(job.model, job.views[outcome.views :]))
                seconds = dict(Counter(outcome.seconds) + Counter(again.seconds))
                outcome = Outcome(again.model, again.end, outcome.views + again.views, again.reason, seconds)
            return outcome

    def stop(self, at_once: bool = False) -> None:
        """Lets the job at work end after the present view, or now; for good, and from whichever thread."""
        self._stopping = True
        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)

    def close(self) -> None:
        """Ends the child, whatever it does, and removes its scratch files."""
        if self._busy.locked():
            self.stop(at_once=True)
        with self._busy:
            self._stopping = True
            self._end_child()
            shutil.rmtree(self._workspace, ignore_errors=True)

    def _attempt(self, job: Job) -> tuple[Outcome, bool]:
        """The outcome, and whether Blender died of it."""
        seconds: Counter[str] = Counter()
        views = 0
        try:
            self._send(job)
            for event in iter(self._next_event, None):
                seconds.update(event.get("seconds", {}))
                views += event["event"] == "view"
                if event["event"] in ("done", "failed", "stopped"):
                    self._renew_if_due(event.get("megabytes", 0))
                    return Outcome(
                        job.model.key, event["event"], views, event.get("reason", ""), seconds
                    ), False
        except TimeoutError:
            self._end_child(at_once=True)
            reason = f"took longer than {self._care.model_seconds:g} s to load or to draw one view"
            return Outcome(job.model.key, "failed", views, reason, seconds), False
        except _Lost as lost:
            self._end_child(at_once=True)
            if self._stopping:
                return Outcome(job.model.key, "stopped", views, "", seconds), False
            return Outcome(job.model.key, "failed", views, f"Blender died of it ({lost})", seconds), True
        raise BlenderError("the renderer closed its output in the middle of a job")

    def _send(self, job: Job) -> None:
        if self._child is None:
            self._start_child()
        self._models += 1
        self._say(job.as_json())

    def _start_child(self) -> None:
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "TMPDIR": str(self._workspace),
            "OMP_NUM_THREADS": "1",
        }
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
            )
        self._ready, self._models, self._buffer = False, 0, b""
        self._say(self._order.as_json())

    def _say(self, content: Mapping[str, Any]) -> None:
        child = self._child
        if child is None or child.stdin is None:
            raise BlenderError("no renderer is running")
        try:
            child.stdin.write(json.dumps(content).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise _Lost(self._obituary()) from None

    def _next_event(self) -> dict[str, Any]:
        """The next thing the child tells; raises TimeoutError and _Lost."""
        limit = self._care.model_seconds + (0.0 if self._ready else _START_SECONDS)
        event = dict(json.loads(self._next_line(time.monotonic() + limit)))
        if event["event"] == "starting":
            try:
                event = dict(json.loads(self._next_line(time.monotonic() + _START_SECONDS)))
            except (_Lost, TimeoutError):
                if self._stopping:
                    raise
                raise BlenderError(f"Blender cannot be started:\n{self._last_lines()}") from None
            self._ready = True
        return event

    def _next_line(self, deadline: float) -> bytes:
        child = self._child
        if child is None or child.stdout is None:
            raise BlenderError("no renderer is running")
        while b"\n" not in self._buffer:
            if not select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            chunk = os.read(child.stdout.fileno(), 65536)
            if not chunk:
                raise _Lost(self._obituary())
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _obituary(self) -> str:
        status = self._child.wait() if self._child else 0
        last = self._last_lines().strip().rpartition("\n")[2]
        return f"signal {-status}" if status < 0 else f"exit status {status}: {last}"

    def _last_lines(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-_LAST_LINES:])

    def _renew_if_due(self, megabytes: int) -> None:
        if self._models >= self._care.models or megabytes > self._care.megabytes:
            self._end_child()

    def _end_child(self, at_once: bool = False) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if at_once:
            child.kill()
        if child.stdin is not None:
            try:
                child.stdin.close()
            except BrokenPipeError:  # it went first
                child.kill()
        try:
            child.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

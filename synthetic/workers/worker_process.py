"""A child process with a Blender that is watched, replaced when it dies or hangs, and renewed now and then.

It takes one job at a time, and every job has an outcome, whatever the model does to Blender.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from synthetic.atomic import remove_parts_of
from synthetic.layouts.shapenet import Model
from synthetic.workers.scratch import Scratch
from synthetic.workers.worker import RenderJob, RenderSpec, WorkerEvent

WORKER_COMMAND = (sys.executable, "-m", "synthetic.workers.worker")
_START_SECONDS = 300.0  # for Blender itself, on top of a model's own time
_EXIT_SECONDS = 10.0
_LAST_LINES = 20
_KILLS_IN_A_ROW = 3  # from outside, without a view in between, before a job is left for another run
_FROM_OUTSIDE = {signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM, signal.SIGXCPU}
_NO_MEMORY = (
    "MemoryError",
    "bad_alloc",
    "alloc returns null",
    "annot allocate memory",
    "out of memory",
    "failed to map segment",
)
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS}


class BlenderError(RuntimeError):
    """Blender cannot be started here, or has no room for what it writes, whatever the model."""


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """How long a model may take for loading or for one view, and when a Blender is exchanged for a fresh one."""

    model_seconds: float = 120.0
    models: int = 1000
    megabytes: int = 4096

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not min(self.model_seconds, self.models, self.megabytes) > 0:
            raise ValueError("a model's time and the life of a Blender must be more than 0")


End = Literal["done", "failed", "stopped", "killed"]


class OutcomeRecord(TypedDict):
    """An outcome as plain data."""

    model: str
    end: End
    views: int
    reason: str
    seconds: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """How a job ended, the views it wrote, and the processor's seconds by stage.

    A job that is done may have a `reason` as well: a view that shows nothing. "killed" says nothing of the model: its
    Blender was ended from outside, or for want of memory, again and again.
    """

    model: str
    end: End
    views: int
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> OutcomeRecord:
        """The outcome as plain data."""
        return {
            "model": self.model,
            "end": self.end,
            "views": self.views,
            "reason": self.reason,
            "seconds": dict(self.seconds),
        }


def add_seconds(total: dict[str, float], more: Mapping[str, float]) -> None:
    """Adds seconds by stage to a `total` by stage."""
    for stage, seconds in more.items():
        total[stage] = total.get(stage, 0.0) + seconds


@dataclass
class _Progress:
    """How far a job is, over all attempts at it: what a fresh Blender need not do again, and what it has cost."""

    written: int = 0
    attempted: int = 0  # the written views and the blank ones
    blank: str = ""  # the first view that shows nothing, in words
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, event: WorkerEvent) -> None:
        """Counts what a worker reports."""
        add_seconds(self.seconds, event.get("seconds", {}))
        kind = event["event"]
        self.written += kind == "view"
        self.attempted += kind in ("view", "blank")
        if kind == "blank":
            self.blank = self.blank or event.get("reason", "")


class _ProcessEndedError(Exception):
    """The child has ended, or had to be killed; the message says how. `outside`: by no fault of what it was doing."""

    def __init__(self, reason: str, outside: bool) -> None:
        super().__init__(reason)
        self.outside = outside


def _lacks_memory(lines: str) -> bool:
    return any(sign in lines for sign in _NO_MEMORY)


class WorkerProcess:
    """Runs jobs in a child process. Not for use by two threads at once, except for `stop`."""

    def __init__(
        self, spec: RenderSpec, restart_policy: RestartPolicy, command: Sequence[str] = WORKER_COMMAND
    ) -> None:
        """The child starts with the first job: `command`, whose lines are those of synthetic.workers.worker."""
        self._command = tuple(command)
        self._spec, self._restart_policy = spec, restart_policy
        self._scratch = Scratch()
        self._workspace = self._scratch.path
        self._log = self._workspace / "blender.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._models = 0
        self._buffer = b""
        self._stopping = False
        self._busy = threading.Lock()

    def run(self, job: RenderJob) -> Outcome:
        """The outcome of a job. Where Blender dies of it, the rest is tried once in a fresh one; where it hangs, not.

        A Blender that is killed from outside is replaced for as long as that leaves time for a view now and then.
        Raises BlenderError where Blender does not even start, or the disk is full.
        """
        with self._busy:
            progress, deaths, kills = _Progress(), 0, 0
            while not self._stopping:
                before = progress.attempted
                rest = RenderJob(job.model, job.views[before:])
                outcome, ended = self._attempt(rest, progress)
                if ended == "died":
                    deaths += 1
                elif ended == "killed":
                    kills = 1 if progress.attempted > before else kills + 1
                if not ended or deaths > 1 or kills >= _KILLS_IN_A_ROW:
                    return outcome
                if progress.attempted == len(job.views):  # it went after its work was done
                    return Outcome(job.model.key, "done", progress.written, progress.blank, progress.seconds)
            return Outcome(job.model.key, "stopped", progress.written, "", progress.seconds)

    def stop(self, at_once: bool = False) -> None:
        """Lets the job at work end after the present view, or now; no other begins. For use from any thread."""
        self._stopping = True
        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)

    def close(self) -> None:
        """Ends the child, also in the middle of a job, and removes its scratch files."""
        if self._busy.locked():
            self.stop(at_once=True)
        with self._busy:
            self._stopping = True
            self._end_child()
            self._scratch.close()

    def _attempt(self, job: RenderJob, progress: _Progress) -> tuple[Outcome, Literal["", "died", "killed"]]:
        """The outcome of the job, with all that `progress` counts, and whether Blender is gone, and why.

        It "died" of the model, or was "killed" from outside.
        """

        def outcome(end: End, reason: str = "") -> Outcome:
            return Outcome(job.model.key, end, progress.written, reason or progress.blank, progress.seconds)

        try:
            self._send(job)
            while True:
                event = self._next_event()
                progress.add(event)
                kind = event["event"]
                if kind == "full":  # no fault of the model
                    raise BlenderError(event.get("reason", ""))
                if kind == "stopped" and not self._stopping:  # somebody else's SIGTERM
                    raise _ProcessEndedError(f"signal {signal.SIGTERM:d}", True)
                if kind == "done" or kind == "failed" or kind == "stopped":
                    self._renew_if_due(event.get("megabytes", 0))
                    return outcome(kind, event.get("reason", "")), ""
        except TimeoutError:
            self._kill_child(job.model)
            seconds = self._restart_policy.model_seconds
            return outcome("failed", f"took longer than {seconds:g} s to load or to draw one view"), ""
        except _ProcessEndedError as ended:
            self._kill_child(job.model)
            if self._stopping:
                return outcome("stopped"), ""
            if ended.outside:
                return outcome("killed", f"Blender was ended from outside ({ended})"), "killed"
            return outcome("failed", f"Blender died of it ({ended})"), "died"

    def _send(self, job: RenderJob) -> None:
        if self._child is None:
            self._start_child()
        self._models += 1
        self._send_line(job.as_json())

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
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                pass_fds=(self._scratch.lock,),
            )
        self._ready, self._models, self._buffer = False, 0, b""
        self._send_line(self._spec.as_json())

    def _send_line(self, content: Mapping[str, object]) -> None:
        child = self._child
        if child is None or child.stdin is None:
            raise BlenderError("no renderer is running")
        try:
            child.stdin.write(json.dumps(content).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _next_event(self) -> WorkerEvent:
        """The next event of the child; raises TimeoutError, _ProcessEndedError and, of its start, BlenderError."""
        limit = self._restart_policy.model_seconds + (0.0 if self._ready else _START_SECONDS)
        event: WorkerEvent = json.loads(self._next_line(time.monotonic() + limit))
        if event["event"] == "starting":
            try:
                event = json.loads(self._next_line(time.monotonic() + _START_SECONDS))
            except TimeoutError:
                if self._stopping:
                    raise
                raise BlenderError(f"Blender did not start within {_START_SECONDS:g} s") from None
            except _ProcessEndedError as ended:
                if self._stopping:
                    raise
                if _lacks_memory(lines := self._last_lines()):
                    raise BlenderError(
                        f"Blender cannot be started for want of memory ({ended}); end other programs, or have fewer "
                        "--workers"
                    ) from None
                if ended.outside:
                    raise
                raise BlenderError(f"Blender cannot be started ({ended}):\n{lines}".rstrip(":\n")) from None
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
                raise self._ended()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _ended(self) -> _ProcessEndedError:
        """How the child ended, and whether that was its own fault."""
        status = self._child.wait() if self._child else 0
        lines = self._last_lines()
        starved = _lacks_memory(lines)
        if status < 0:
            # where memory is limited, Blender and what it draws with crash without a word on it
            perhaps = (
                -status in _CRASHES and resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
            )
            why = (
                ", out of memory" * starved or ", perhaps for want of memory, which is limited here" * perhaps
            )
            return _ProcessEndedError(
                f"signal {-status}{why}", -status in _FROM_OUTSIDE or starved or perhaps
            )
        last = lines.strip().rpartition("\n")[2]
        return _ProcessEndedError(f"exit status {status}" + f": {last}" * bool(last), starved)

    def _last_lines(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-_LAST_LINES:])

    def _renew_if_due(self, megabytes: int) -> None:
        if self._models >= self._restart_policy.models or megabytes > self._restart_policy.megabytes:
            self._end_child()

    def _kill_child(self, model: Model) -> None:
        """Ends the child, and removes what it has half written of views of the model."""
        child = self._child
        self._end_child(at_once=True)
        if child is not None:
            remove_parts_of(child.pid, self._spec.out / f"{model.object_class.wnid}/{model.identifier}_")

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
            child.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

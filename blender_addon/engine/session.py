"""The conversation with the engine (docs/serve.md): one job at a time, progress, cancelling, and what went wrong.

No bpy. The main thread calls `Session.poll` a few times a second; it never waits and returns what has happened since.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..class_search import ImageNetClass, known_classes
from .errors import Problem, after_exit, from_engine
from .process import Engine, Message

PROTOCOL = 1
PATIENCE = 30.0  # seconds of silence at work after which an engine is called dead
CANCEL_GRACE = 4.0  # seconds in which a cancelled job has to end before the engine is ended for it
_MOST_GARBAGE = 20
_SMALLEST_GRID = 32
_STAGES = (  # of a mesh, with their usual shares of the time
    ("planes", 0.05),
    ("density", 0.15),
    ("surface", 0.05),
    ("atlas", 0.5),
    ("texels", 0.15),
    ("color", 0.07),
    ("compare", 0.01),
    ("write", 0.02),
)


@dataclass(eq=False)
class Job:
    """A request and how far it is. `context` is the caller's own: where the result belongs."""

    op: str
    request: Message
    context: dict[str, Any] = field(default_factory=dict)
    stage: str = "waiting"
    done: int = 0
    total: int = 0
    sent: float = 0.0
    reached: float = 0.0
    note: str = ""

    def advance(self, stage: str, done: int, total: int) -> None:
        """Takes note of progress. A stage that we do not know leaves the bar where it was; none lets it go back."""
        self.stage, self.done, self.total = stage, done, total
        names = [name for name, _ in _STAGES]
        if stage in names:
            place = names.index(stage)
            share = sum(share for _, share in _STAGES[:place]) + self.factor * _STAGES[place][1]
            self.reached = max(self.reached, share)

    @property
    def factor(self) -> float:
        """Share of the stage that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0

    @property
    def overall(self) -> float:
        """Share of the whole job that is done, as far as one can tell, 0 to 1."""
        if self.op == "preview":
            return self.factor
        return self.reached


@dataclass(frozen=True, eq=False)
class Happening:
    """What `poll` reports: kind is "ready", "preview", "done", "failed", "cancelled" or "stopped"."""

    kind: str
    job: Job | None = None
    data: Message = field(default_factory=dict)


class Session:
    """At most one engine, at most one job at work, and the jobs that wait for it."""

    def __init__(self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine: Engine | None = None
        self.key: tuple[Any, ...] = ()  # what the engine was started with
        self.version = ""
        self.ready: Message = {}  # facts about model and device, as long as there is a model to work with
        self.classes: tuple[ImageNetClass, ...] = ()  # what the model knows; stays when the engine rests
        self.log: list[str] = []  # the last words of the engine before this one
        self.problem: Problem | None = None
        self.stage = ""
        self.current: Job | None = None
        self.waiting: deque[Job] = deque()
        self.finished = 0  # jobs of the running series that have ended
        self.patience = patience
        self._clock = clock
        self._numbers = itertools.count(1)
        self._current_id = self._classes_id = self._hello_id = ""
        self._facts: Message = {}
        self._heard = self._since = self._start_share = 0.0
        self._cancelled_at: float | None = None
        self._garbage = 0

    @property
    def state(self) -> str:
        """OFF, STARTING, EMPTY (no model), READY or BUSY."""
        if self.engine is None:
            return "OFF"
        if not self.ready:
            return "EMPTY" if self.problem else "STARTING"
        return "BUSY" if self.current else "READY"

    @property
    def at_work(self) -> bool:
        """Whether there is something to wait for."""
        return self.state == "STARTING" or self.current is not None or bool(self.waiting)

    @property
    def seconds(self) -> float:
        """Seconds since the current job, or the start of the engine, began."""
        began = self.current.sent if self.current else self._since
        return self._clock() - began if self.at_work else 0.0

    @property
    def overall(self) -> float:
        """Share of the current job, or of the start, that is done, 0 to 1."""
        return self.current.overall if self.current else min(1.0, self._start_share)

    def seconds_since(self, moment: float) -> float:
        """Seconds since `moment` of this session's clock."""
        return self._clock() - moment

    def start(self, command: Sequence[str], key: tuple[Any, ...] = ()) -> None:
        """Starts the engine with `command`; one that runs is ended first. Raises OSError if that is impossible."""
        self.stop()
        self.problem = None
        self.engine = Engine(command)
        if key != self.key:
            self.classes = ()
        self.key = key
        self.stage, self._start_share = "starting", 0.0
        self._garbage = 0
        self._since = self._heard = self._clock()
        self._hello_id = self._send("hello", {"protocol": PROTOCOL})

    def stop(self) -> None:
        """Ends the engine politely; waiting jobs are forgotten."""
        self._forget()
        if self.engine is not None:
            self._send("shutdown", {})
            self.engine.close()
            self._leave(self.engine)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Appends `jobs`; a series that was over begins anew."""
        if self.current is None and not self.waiting:
            self.finished = 0
        self.problem = None
        self.waiting.extend(jobs)
        self._next()

    def cancel(self) -> list[Happening]:
        """Forgets waiting jobs and asks the engine to give up the current one; says which waiting ones ended."""
        dropped = [Happening("cancelled", job) for job in self.waiting]
        self.waiting.clear()
        if self.current is not None and self._cancelled_at is None:
            self._cancelled_at = self._clock()
            self.current.stage = "cancelling"
            self._send("cancel", {"target": self._current_id})
        elif self.state == "STARTING":
            self._kill()
        return dropped

    def poll(self) -> list[Happening]:
        """What has happened since the last call, in order."""
        if self.engine is None:
            return []
        happened: list[Happening] = []
        for message in self.engine.receive():
            self._heard = self._clock()
            happened += self._hear(message)
            if self.engine is None:
                return happened
        happened += self._check_life()
        self._next()
        return happened

    # Hearing

    def _hear(self, message: Message) -> list[Happening]:
        event = message.get("event")
        if event == "hello":
            return self._greet(message)
        if event == "garbage":
            self._garbage += 1
            return self._fail_all(Problem.of("E_GARBAGE")) if self._garbage > _MOST_GARBAGE else []
        if event == "ready":
            self._facts = message
            self._classes_id = self._send("classes", {})
            return []
        if event == "bye":
            return self._stopped(str(message.get("reason")))
        if message.get("id") is not None:
            return self._hear_answer(message)
        if event == "progress":
            self.stage = str(message.get("stage"))
            self._start_share = _count(message.get("done")) / max(1, _count(message.get("total")))
        if event == "error" and message.get("code") != "E_CANCELLED":
            self.problem = from_engine(message)
            failed = self._forget() if not self.ready else []
            return [Happening("failed", job, {"problem": self.problem}) for job in failed]
        return []

    def _hear_answer(self, message: Message) -> list[Happening]:
        """An event with an id: of the current job, of our greeting or of our question for classes; others are old."""
        number, event = message["id"], message.get("event")
        if number == self._current_id:
            return self._hear_of_job(message)
        if number == self._hello_id and event == "error":
            return self._fail_all(from_engine(message))
        if number == self._classes_id and event == "result":
            self.classes = known_classes(message.get("classes") or [])
            self.ready, self.stage = self._facts, ""
            return [Happening("ready", None, self.ready)]
        return []

    def _greet(self, message: Message) -> list[Happening]:
        self.version = str(message.get("gp3d") or "?")
        if message.get("protocol") != PROTOCOL:
            found = f"engine {self.version} speaks protocol {message.get('protocol')}, this add-on {PROTOCOL}"
            return self._fail_all(Problem.of("E_VERSION", f"Add-on and engine do not fit: {found}"))
        return []

    def _hear_of_job(self, message: Message) -> list[Happening]:
        job, event = self.current, message.get("event")
        if job is None:
            return []
        if event == "progress":
            stage = str(message.get("stage")) if self._cancelled_at is None else job.stage
            job.advance(stage, _count(message.get("done")), _count(message.get("total")))
            return []
        if event == "preview":
            job.stage, job.done = "preview", _count(message.get("index")) + 1
            job.total = len(job.request.get("seeds", ()))
            return [Happening("preview", job, message)]
        if event == "result":
            self._end_job()
            return [Happening("done", job, message)]
        return self._job_failed(job, message) if event == "error" else []

    def _job_failed(self, job: Job, message: Message) -> list[Happening]:
        self._end_job()
        if message.get("code") == "E_CANCELLED":
            return [Happening("cancelled", job)]
        grid = _count(job.request.get("grid"))
        if message.get("code") == "E_OOM" and grid > _SMALLEST_GRID:
            job.request["grid"] = grid // 2
            job.note = f"Memory ran out: made at {grid // 2} instead of {grid}"
            self.finished -= 1
            self.waiting.appendleft(job)
            return []
        self.problem = from_engine(message, job.op)
        return [Happening("failed", job, {"problem": self.problem})]

    def _end_job(self) -> None:
        self.current, self._current_id, self._cancelled_at = None, "", None
        self.finished += 1

    # Life and death

    def _check_life(self) -> list[Happening]:
        engine = self.engine
        if engine is None:
            return []
        if engine.is_over:
            return self._fail_all(after_exit(engine.exit_code or 0, list(engine.log)))
        late = self._cancelled_at is not None and self._clock() - self._cancelled_at > CANCEL_GRACE
        if late:
            jobs = self._kill()
            return [Happening("cancelled", job) for job in jobs]
        if self.at_work and self._clock() - self._heard > self.patience:
            return self._fail_all(Problem.of("E_SILENT"))
        return []

    def _stopped(self, reason: str) -> list[Happening]:
        """The engine left by itself, after a long rest for instance: that is no problem."""
        jobs = self._kill()
        if not jobs:
            return [Happening("stopped", None, {"reason": reason})]
        self.problem = Problem.of("E_CRASHED", f"The engine left in the middle of its work: {reason}")
        return [Happening("failed", job, {"problem": self.problem}) for job in jobs]

    def _fail_all(self, problem: Problem) -> list[Happening]:
        jobs = self._kill()
        self.problem = problem
        failed = [Happening("failed", job, {"problem": problem}) for job in jobs]
        return failed or [Happening("failed", None, {"problem": problem})]

    def _kill(self) -> list[Job]:
        """Ends the engine at once and returns the jobs that end with it."""
        jobs = self._forget()
        if self.engine is not None:
            self.engine.kill()
            self._leave(self.engine)
        return jobs

    def _leave(self, engine: Engine) -> None:
        self.log = list(engine.log)
        self.engine, self.ready, self.version = None, {}, ""

    def _forget(self) -> list[Job]:
        jobs = [*([self.current] if self.current else []), *self.waiting]
        self.waiting.clear()
        self.current, self._current_id, self._cancelled_at = None, "", None
        return jobs

    def _next(self) -> None:
        if not self.ready or self.current is not None or not self.waiting:
            return
        self.current = self.waiting.popleft()
        self.current.sent = self._heard = self._clock()
        self.current.stage, self.current.reached = "sent", 0.0
        self._current_id = self._send(self.current.op, self.current.request)

    def _send(self, op: str, fields: Message) -> str:
        number = str(next(self._numbers))
        if self.engine is not None:
            self.engine.send({"id": number, "op": op, **fields})
        return number


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0

"""The queue of jobs of `gp3d serve`: what waits, what runs, and how the worker ends.

`JobQueue` is shared by the threads of a worker. Every change of a job's state and the event that reports it happen
under one lock, so that the client sees them in the order in which they happened (docs/serve.md).
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from gp3d_core.worker.lines import Outbox, Translation
from gp3d_core.worker.protocol import Problem, Request

QUEUE = 32  # jobs that may wait
_REMEMBERED = 256  # finished ids
_PROGRESS_SECONDS = 0.1
_GRACE_SECONDS = {"stdin closed": 2.5}  # for a cancelled job to end by itself, before the process just ends
_LONG_GRACE_SECONDS = 10.0


class Job:
    """A request that takes time, and how far it is. `id` is None for the snapshot of the command line."""

    def __init__(self, request: Request, name: str | None) -> None:
        self.request, self.id = request, name
        self.cancelled = threading.Event()
        self.began = time.monotonic()
        self.stage, self.done, self.total = "", 0, 0
        self.stages: dict[str, float] = {}
        self.warnings: list[warnings.WarningMessage] = []
        self._last = self._reported = self.began

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return round(time.monotonic() - self.began, 3)

    def start(self) -> None:
        """Sets the clocks to zero."""
        self.began = self._last = time.monotonic()

    def check(self) -> None:
        """Raises Problem (E_CANCELLED) if the job has been cancelled."""
        if self.cancelled.is_set():
            raise Problem("E_CANCELLED", "the job was cancelled", "Nothing needs to be done.")

    def advance(self, stage: str, done: int, total: int) -> bool:
        """Notes how far the job is; returns whether that is news. The time since the last call was this stage's."""
        now = time.monotonic()
        self.stages[stage] = round(self.stages.get(stage, 0.0) + now - self._last, 3)
        self._last = now
        moved = (stage, done, total) != (self.stage, self.done, self.total)
        due = done == total or now - self._reported >= _PROGRESS_SECONDS
        news = stage != self.stage or (moved and due)
        self.stage, self.done, self.total = stage, done, total
        self._reported = now if news else self._reported
        return news

    def status(self) -> dict[str, Any]:
        """The running job's part of a status message."""
        position = {"stage": self.stage, "done": self.done, "total": self.total, "seconds": self.seconds}
        return {"id": self.id, "op": self.request.op, **position}


class JobQueue:
    """Waiting jobs, the running job and the end of the worker; changes and their events happen under one lock."""

    def __init__(self, events: int, messages_of: Translation | None = None) -> None:
        """Events go to the descriptor `events`, as `messages_of` has them; as they are without it."""
        translation = () if messages_of is None else (messages_of,)
        self.outbox = Outbox(events, lambda: self.close("stdout closed"), *translation)
        self.reason = ""
        self.running: Job | None = None
        self._waiting: deque[Job] = deque()
        self._finished: deque[str | None] = deque(maxlen=_REMEMBERED)
        self._farewell: str | None = None  # id of the shutdown that is answered last
        self._change = threading.Condition(threading.RLock())
        self._touched = time.monotonic()

    def touch(self) -> None:
        """The client is there: idle time begins anew."""
        with self._change:
            self._touched = time.monotonic()
            self._change.notify_all()

    def is_active(self, name: str) -> bool:
        """Whether a job with that id waits or runs, or a shutdown with it is being carried out."""
        with self._change:
            return name == self._farewell or self._find(name) is not None

    def accept(self, job: Job) -> None:
        """Queues a job. Raises Problem (E_BUSY)."""
        with self._change:
            if self.reason:
                raise Problem("E_CANCELLED", "the worker is shutting down", "Start a new worker.")
            if len(self._waiting) >= QUEUE:
                raise Problem("E_BUSY", f"{QUEUE} jobs are waiting", "Wait until one of them has ended.")
            if job.id is not None:
                position = len(self._waiting) + (self.running is not None)
                self.outbox.send({"event": "accepted", "id": job.id, "position": position})
            self._waiting.append(job)
            self._change.notify_all()

    def take(self, idle_seconds: float) -> Job | None:
        """The next job, which is then running; None when it is time to go, for the reason in `reason`."""
        with self._change:
            while not self._waiting and not self.reason:
                left = self._touched + idle_seconds - time.monotonic() if idle_seconds else None
                if left is not None and left <= 0:
                    self.reason = "idle"
                    return None
                self._change.wait(left)
            if self.reason:
                self._say_farewell()
                return None
            job = self.running = self._waiting.popleft()
            job.start()
            if job.id is not None:
                self.outbox.send({"event": "started", "id": job.id, "op": job.request.op})
            return job

    def finish(self, job: Job, result: Mapping[str, Any], publish: Callable[[], None]) -> None:
        """Ends the running job well: publishes, then says the result. Raises Problem if it was cancelled."""
        with self._change:
            job.check()
            publish()
            self._end(job)
            if job.id is not None:
                ended = {"event": "result", "id": job.id, "op": job.request.op, **result}
                self.outbox.send(ended | {"seconds": job.seconds})

    def fail(self, job: Job, problem: Problem) -> None:
        """Ends a job with an error; whatever a cancelled job died of, it says E_CANCELLED."""
        with self._change:
            self._end(job)
            if job.cancelled.is_set() and problem.code != "E_CANCELLED":
                problem = Problem("E_CANCELLED", "the job was cancelled", "Nothing needs to be done.")
            self.outbox.send(problem.event(job.id))

    def cancel(self, target: str, answer: Callable[[str], None]) -> None:
        """Cancels a job and answers with the state in which it was."""
        with self._change:
            job = self._find(target)
            if job is None:
                answer("finished" if target in self._finished else "unknown")
                return
            job.cancelled.set()
            state = "running" if job is self.running else "queued"
            if state == "queued":
                self._drop(job)
            answer(state)

    def close(self, reason: str, farewell: str | None = None) -> None:
        """Cancels everything and lets the worker end; if a job does not let go, the process ends without it."""
        with self._change:
            if self.reason:
                return
            self.reason, self._farewell = reason, farewell
            for job in list(self._waiting):
                job.cancelled.set()
                self._drop(job)
            if self.running is not None:
                self.running.cancelled.set()
            self._change.notify_all()
        last_resort = threading.Timer(_GRACE_SECONDS.get(reason, _LONG_GRACE_SECONDS), os._exit, (0,))
        last_resort.daemon = True
        last_resort.start()

    def status(self) -> dict[str, Any]:
        """Of the running job and the waiting ones."""
        with self._change:
            job = None if self.running is None else self.running.status()
            return {"job": job, "queued": [job.id for job in self._waiting if job.id is not None]}

    def _find(self, name: str) -> Job | None:
        jobs = ([] if self.running is None else [self.running]) + list(self._waiting)
        return next((job for job in jobs if job.id == name), None)

    def _drop(self, job: Job) -> None:
        self._waiting.remove(job)
        self.fail(job, Problem("E_CANCELLED", "the job was cancelled", "Nothing needs to be done."))

    def _end(self, job: Job) -> None:
        self._finished.append(job.id)
        self._touched = time.monotonic()
        if job is self.running:
            self.running = None

    def _say_farewell(self) -> None:
        if self._farewell is not None:
            self.outbox.send({"event": "result", "id": self._farewell, "op": "shutdown"})

"""The session with one engine: its process, and the conversation with it as far as it has come. No bpy.

The main thread calls `Session.poll` a few times a second; it never waits and returns what has happened since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from . import protocol
from .errors import Problem
from .job import Job
from .process import Engine
from .protocol import Conversation, Event, Step

PATIENCE = 30.0  # seconds of silence at work after which an engine is ended
CANCEL_GRACE = 4.0  # seconds in which a cancelled job has to end before the engine is ended for it


class Session:
    """At most one engine, at most one job at work, and the jobs that wait for it; `status` is their state."""

    def __init__(
        self,
        patience: float = PATIENCE,
        cancel_grace: float = CANCEL_GRACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.status = Conversation()
        self.engine: Engine | None = None
        self.command: tuple[str, ...] = ()  # that the last engine was started with
        self.log: list[str] = []  # the last lines of the engine before this one
        self._patience, self._cancel_grace, self._clock = patience, cancel_grace, clock

    def start(self, command: Sequence[str]) -> None:
        """Starts the engine with `command`; one that runs is ended first. Raises OSError if that is impossible."""
        self.stop()
        self.set_problem(None)
        self.engine = Engine(command)
        same = self.command == tuple(command)
        self.command = tuple(command)
        self._follow(protocol.opened(self.status, self._clock(), same))

    def stop(self) -> None:
        """Ends the engine in good order; waiting jobs are forgotten."""
        self._follow(protocol.closed(self.status))
        if self.engine is not None:
            self.engine.close()
            self._leave(self.engine)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Appends `jobs`; a series that was over begins anew."""
        self._follow(protocol.submitted(self.status, jobs, self._clock()))

    def cancel(self) -> list[Event]:
        """Ends waiting jobs, which are returned as cancelled, and asks the engine to give up the current one."""
        return self._follow(protocol.cancelled(self.status, self._clock()))

    def poll(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events: list[Event] = []
        for message in self.engine.receive() if self.engine else ():
            events += self._follow(protocol.received(self.status, message, self._clock()))
            if self.engine is None:
                return events
        if self.engine is None:
            return events
        if self.engine.is_over:
            code, log = self.engine.exit_code or 0, list(self.engine.log)
            return events + self._follow(protocol.exited(self.status, code, log))
        events += self._follow(
            protocol.checked(self.status, self._clock(), self._patience, self._cancel_grace)
        )
        return events + self._follow(protocol.next_job(self.status, self._clock()))

    def set_problem(self, problem: Problem | None) -> None:
        """Puts a problem before the user, or takes it away."""
        self.status = replace(self.status, problem=problem)

    @property
    def seconds(self) -> float:
        """Seconds since the current job, or the start of the engine, began; 0 at rest."""
        return self.status.seconds(self._clock())

    def seconds_since(self, moment: float) -> float:
        """Seconds since `moment` of this session's clock."""
        return self._clock() - moment

    def _follow(self, step: Step) -> list[Event]:
        """Does what a step asks for; its events."""
        self.status = step.status
        if self.engine is not None:
            for message in step.sends:
                self.engine.send(message)
            if step.end:
                self.engine.kill()
                self._leave(self.engine)
        return list(step.events)

    def _leave(self, engine: Engine) -> None:
        self.log = list(engine.log)
        self.engine = None

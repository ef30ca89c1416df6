"""The protocol of the engine (docs/serve.md) as functions: what is known, and what arrives -> what is known then.

A `Conversation` is everything that is known at one moment. Every function takes one and returns a `Step`: the next
conversation, messages to send, events to report, and whether the engine has to be ended. Nothing here has a process, a
thread or a clock; times are seconds of whatever clock the caller uses. No bpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..class_search import ImageNetClass, ModelTerms, known_classes, model_terms
from ..recipe import JsonObject
from .errors import Problem, after_exit, from_engine
from .job import Job

PROTOCOL = 1
_MOST_GARBAGE = 20  # lines of no message, more than libraries that greet print
_SMALLEST_GRID = 32


@dataclass(frozen=True)
class EngineFacts:
    """What a `ready` message says of the models and the device; `classes` is their number, None if it is missing.

    `models` are all that classes are asked of; engines of before list none.
    """

    device: str = ""
    device_name: str = ""
    classes: int | None = None
    snapshot: Mapping[str, object] = field(default_factory=dict)
    formats: tuple[str, ...] = ()
    models: tuple[ModelTerms, ...] = ()

    @classmethod
    def of(cls, message: Mapping[str, object]) -> EngineFacts:
        """The facts of a message; what is missing or of another type has its default."""
        snapshot, classes = message.get("snapshot"), message.get("classes")
        formats = message.get("formats")
        return cls(
            _text(message.get("device")),
            _text(message.get("device_name")),
            classes if isinstance(classes, int) else None,
            snapshot if isinstance(snapshot, dict) else {},
            tuple(map(str, formats)) if isinstance(formats, list) else (),
            model_terms(message.get("models")),
        )

    @property
    def sha256(self) -> str:
        """The hash of the snapshot, empty if it is missing."""
        return _text(self.snapshot.get("sha256"))


@dataclass(frozen=True)
class Conversation:
    """Everything that is known of an engine and of what it was asked at one moment.

    `ready` is None until there is a model to work with, `classes` stay when the engine ends, `finished` counts the
    jobs of the running series that have ended. Ids are those of messages that still wait for an answer.
    """

    running: bool = False
    version: str = ""
    ready: EngineFacts | None = None
    classes: tuple[ImageNetClass, ...] = ()
    problem: Problem | None = None
    stage: str = ""
    start_share: float = 0.0
    current: Job | None = None
    waiting: tuple[Job, ...] = ()
    finished: int = 0
    announced: EngineFacts | None = None  # by `ready`, before the classes are known
    sent: int = 0  # messages so far; the number of each is its id
    hello_id: str = ""
    classes_id: str = ""
    job_id: str = ""
    garbage: int = 0
    last_contact: float = 0.0  # when the last message came or a job was sent
    since: float = 0.0  # when the engine was started
    cancelled_at: float | None = None

    @property
    def state(self) -> Literal["OFF", "STARTING", "EMPTY", "READY", "BUSY"]:
        """The state that a user sees; EMPTY is an engine without a model."""
        if not self.running:
            return "OFF"
        if self.ready is None:
            return "EMPTY" if self.problem else "STARTING"
        return "BUSY" if self.current else "READY"

    @property
    def at_work(self) -> bool:
        """Whether there is something to wait for."""
        return self.state == "STARTING" or self.current is not None or bool(self.waiting)

    @property
    def overall(self) -> float:
        """Share of the current job, or of the start, that is done, 0 to 1."""
        return self.current.overall if self.current else min(1.0, self.start_share)

    def seconds(self, now: float) -> float:
        """Seconds since the current job, or the start of the engine, began; 0 at rest."""
        return now - (self.current.sent if self.current else self.since) if self.at_work else 0.0


@dataclass(frozen=True, eq=False)
class Event:
    """What has happened: kind is "ready", "preview", "done", "failed", "cancelled" or "stopped".

    `data` is the message that reported it, for "failed" nothing: the conversation has the problem.
    """

    kind: str
    job: Job | None = None
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What follows from an event: the next `status`, messages to send, events, and whether to kill the engine."""

    status: Conversation
    sends: tuple[JsonObject, ...] = ()
    events: tuple[Event, ...] = ()
    end: bool = False


# What the user asks


def opened(before: Conversation, now: float, same_engine: bool) -> Step:
    """After the start of an engine process: greets it. Classes are kept of an engine that was started the same way."""
    fresh = Conversation(
        running=True,
        classes=before.classes if same_engine else (),
        stage="starting",
        finished=before.finished,
        sent=before.sent,
        last_contact=now,
        since=now,
    )
    talk, message = _message(fresh, "hello", {"protocol": PROTOCOL})
    return Step(replace(talk, hello_id=str(talk.sent)), (message,))


def closed(talk: Conversation) -> Step:
    """Before an engine is ended in good order: says so; jobs are forgotten."""
    talk = _without_jobs(talk)
    if not talk.running:
        return Step(talk)
    talk, message = _message(talk, "shutdown", {})
    return Step(_over(talk), (message,))


def submitted(talk: Conversation, jobs: Sequence[Job], now: float) -> Step:
    """After jobs were appended, the first of which may be sent; a series that was over begins anew."""
    over = talk.current is None and not talk.waiting
    return next_job(
        replace(talk, problem=None, finished=0 if over else talk.finished, waiting=(*talk.waiting, *jobs)),
        now,
    )


def cancelled(talk: Conversation, now: float) -> Step:
    """After the user gave up: waiting jobs end at once, the current one is to end, an engine that starts is ended."""
    dropped = tuple(Event("cancelled", job) for job in talk.waiting)
    talk = replace(talk, waiting=())
    if talk.current is not None and talk.cancelled_at is None:
        talk = replace(talk, cancelled_at=now, current=replace(talk.current, stage="cancelling"))
        talk, message = _message(talk, "cancel", {"target": talk.job_id})
        return Step(talk, (message,), dropped)
    if talk.state == "STARTING":
        return Step(_over(_without_jobs(talk)), (), dropped, end=True)
    return Step(talk, (), dropped)


def next_job(talk: Conversation, now: float) -> Step:
    """The next waiting job is sent, if the engine is free for it."""
    if talk.ready is None or talk.current is not None or not talk.waiting:
        return Step(talk)
    job, *rest = talk.waiting
    # engines of before refuse what they do not know
    model = {"model": job.model} if job.model and talk.ready.models else {}
    talk, message = _message(talk, job.op, {**job.request, **model})
    return Step(
        replace(talk, current=job.sent_at(now), waiting=tuple(rest), job_id=str(talk.sent), last_contact=now),
        (message,),
    )


# What the engine says


def received(talk: Conversation, message: Mapping[str, object], now: float) -> Step:
    """After a message arrived. Events that are not known are ignored, and so are answers to what is over."""
    talk = replace(talk, last_contact=now)
    if message.get("event") in _EVENTS:
        return _EVENTS[str(message["event"])](talk, message)
    if message.get("id") is not None:
        return _answered(talk, message)
    if message.get("event") == "progress":
        share = _count(message.get("done")) / max(1, _count(message.get("total")))
        return Step(replace(talk, stage=str(message.get("stage")), start_share=share))
    if message.get("event") == "error" and message.get("code") != "E_CANCELLED":
        talk = replace(talk, problem=from_engine(message))
        if talk.ready is None:
            return Step(_without_jobs(talk), (), _failed(_jobs(talk)))
    return Step(talk)


def checked(talk: Conversation, now: float, patience: float, cancel_grace: float) -> Step:
    """After a look at the clock: an engine that does not end a cancelled job, or says nothing at work, is ended.

    `patience` and `cancel_grace` are seconds.
    """
    if talk.running and talk.cancelled_at is not None and now - talk.cancelled_at > cancel_grace:
        ended = tuple(Event("cancelled", job) for job in _jobs(talk))
        return Step(_over(_without_jobs(talk)), (), ended, end=True)
    if talk.running and talk.at_work and now - talk.last_contact > patience:
        return _all_failed(talk, Problem.of("E_SILENT"))
    return Step(talk)


def exited(talk: Conversation, code: int, log: Sequence[str]) -> Step:
    """After the engine process ended by itself with that exit code."""
    return _all_failed(talk, after_exit(code, log))


def _greeted(talk: Conversation, message: Mapping[str, object]) -> Step:
    talk = replace(talk, version=str(message.get("gp3d") or "?"))
    found = message.get("protocol")
    if found == PROTOCOL:
        return Step(talk)
    pair = f"engine {talk.version} speaks protocol {found}, this add-on {PROTOCOL}"
    return _all_failed(talk, Problem.of("E_VERSION", f"Add-on and engine do not fit: {pair}"))


def _garbage(talk: Conversation, message: Mapping[str, object]) -> Step:
    talk = replace(talk, garbage=talk.garbage + 1)
    return _all_failed(talk, Problem.of("E_GARBAGE")) if talk.garbage > _MOST_GARBAGE else Step(talk)


def _announced(talk: Conversation, message: Mapping[str, object]) -> Step:
    talk, question = _message(replace(talk, announced=EngineFacts.of(message)), "classes", {})
    return Step(replace(talk, classes_id=str(talk.sent)), (question,))


def _left(talk: Conversation, message: Mapping[str, object]) -> Step:
    """The engine ended by itself, after a long rest for instance: no problem unless there was work."""
    reason = str(message.get("reason"))
    if not _jobs(talk):
        return Step(_over(talk), (), (Event("stopped", None, {"reason": reason}),), end=True)
    return _all_failed(talk, Problem.of("E_CRASHED", f"The engine left in the middle of its work: {reason}"))


_EVENTS: dict[str, Callable[[Conversation, Mapping[str, object]], Step]] = {
    "hello": _greeted,
    "garbage": _garbage,
    "ready": _announced,
    "bye": _left,
}


def _answered(talk: Conversation, message: Mapping[str, object]) -> Step:
    """After an event with an id: of the current job, of our greeting or of our question for classes."""
    number, event = message["id"], message.get("event")
    if talk.current is not None and number == talk.job_id:
        return _answered_job(talk, talk.current, message)
    if number == talk.hello_id and event == "error":
        return _all_failed(talk, from_engine(message))
    if number == talk.classes_id and event == "result":
        records = message.get("classes")
        classes = known_classes(records if isinstance(records, list) else [])
        talk = replace(talk, classes=classes, ready=talk.announced, stage="")
        return Step(talk, (), (Event("ready"),))
    return Step(talk)


def _answered_job(talk: Conversation, job: Job, message: Mapping[str, object]) -> Step:
    event = message.get("event")
    if event == "progress":
        stage = str(message.get("stage")) if talk.cancelled_at is None else job.stage
        later = job.advanced(stage, _count(message.get("done")), _count(message.get("total")))
        return Step(replace(talk, current=later))
    if event == "preview":
        job = replace(job, stage="preview", done=_count(message.get("index")) + 1, total=_pictures(job))
        return Step(replace(talk, current=job), (), (Event("preview", job, message),))
    if event == "result":
        return Step(_job_ended(talk), (), (Event("done", job, message),))
    return _job_failed(talk, job, message) if event == "error" else Step(talk)


def _pictures(job: Job) -> int:
    """How many pictures a preview asks for: of seeds or objects, each from all yaws."""
    counts = [
        len(value)
        for name in ("seeds", "objects", "yaws")
        if isinstance(value := job.request.get(name), list)
    ]
    return math.prod(counts) if counts else 0


def _job_failed(talk: Conversation, job: Job, message: Mapping[str, object]) -> Step:
    """A job out of memory is asked for again on a grid half as fine; any other has failed."""
    if message.get("code") == "E_CANCELLED":
        return Step(_job_ended(talk), (), (Event("cancelled", job),))
    grid = _count(job.request.get("grid"))
    if message.get("code") == "E_OOM" and grid > _SMALLEST_GRID:
        note = f"Memory ran out: made at {grid // 2} instead of {grid}"
        again = job.asking({"grid": grid // 2}, note)
        ended = _job_ended(talk)
        return Step(replace(ended, finished=talk.finished, waiting=(again, *talk.waiting)))
    talk = replace(_job_ended(talk), problem=from_engine(message, job.op))
    return Step(talk, (), _failed([job]))


# Parts


def _message(talk: Conversation, op: str, fields: Mapping[str, object]) -> tuple[Conversation, JsonObject]:
    """The next message, and the conversation that has counted it."""
    number = talk.sent + 1
    return replace(talk, sent=number), {"id": str(number), "op": op, **fields}


def _jobs(talk: Conversation) -> list[Job]:
    return [*([talk.current] if talk.current else []), *talk.waiting]


def _without_jobs(talk: Conversation) -> Conversation:
    return replace(talk, current=None, waiting=(), job_id="", cancelled_at=None)


def _job_ended(talk: Conversation) -> Conversation:
    return replace(talk, current=None, job_id="", cancelled_at=None, finished=talk.finished + 1)


def _over(talk: Conversation) -> Conversation:
    """Without an engine; what the model knew stays."""
    return replace(talk, running=False, ready=None, version="")


def _failed(jobs: Iterable[Job]) -> tuple[Event, ...]:
    return tuple(Event("failed", job) for job in jobs)


def _all_failed(talk: Conversation, problem: Problem) -> Step:
    events = _failed(_jobs(talk)) or (Event("failed"),)
    return Step(replace(_over(_without_jobs(talk)), problem=problem), (), events, end=True)


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

"""`gp3d serve`: a worker that keeps a model warm and speaks JSON lines over its standard streams (docs/serve.md).

Three threads. The main one runs jobs, one at a time. One reads requests and answers the quick ones at once. One
says every two seconds that the worker is alive while it works. `JobQueue` is what they share; its lock makes every
change of a job's state and the event that reports it one step. Nothing heavy is imported before `hello` is sent.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gp3d_core import __version__
from gp3d_core.worker.job_queue import QUEUE, Job, JobQueue
from gp3d_core.worker.json_rpc import METHODS, RPC_PROTOCOL, JsonRpc
from gp3d_core.worker.lines import LineSplitter
from gp3d_core.worker.object_requests import said
from gp3d_core.worker.protocol import (
    JOBS,
    MAX_LINE,
    OPERATIONS,
    PROTOCOL,
    LiftRequest,
    LoadOptions,
    ObjectMeshOptions,
    PictureMeshOptions,
    PictureTrustOptions,
    PreviewOptions,
    Problem,
    Request,
    TrustOptions,
    VolumeOptions,
    read_request,
)

if TYPE_CHECKING:
    from gp3d_core.generation.objects import ObjectSpec
    from gp3d_core.generation.sampling import Generated
    from gp3d_core.worker.image_session import ImageSession
    from gp3d_core.worker.model_session import ModelSession, Publish
    from gp3d_core.worker.model_set import ModelSet

_HEARTBEAT_SECONDS = 2.0


def serve(
    snapshot: Path | None, *, device: str, cache_bytes: int, idle_seconds: float, protocol: int = PROTOCOL
) -> int:
    """Serves the client at the other end of stdin and stdout until it leaves; returns the exit code.

    `snapshot` is loaded first, None is the pretrained model. `cache_bytes` bounds the tri-planes that are kept.
    After `idle_seconds` without work the worker ends, 0 means never. `protocol` 2 is JSON-RPC 2.0.
    """
    requests, events = _take_streams()
    conversation = JsonRpc(METHODS, greeting()) if protocol == RPC_PROTOCOL else None
    queue = JobQueue(events, None if conversation is None else conversation.messages_of)
    queue.outbox.send({"event": "hello", **greeting()})
    worker = Worker(queue, device, cache_bytes)
    answer = worker.answer if conversation is None else partial(worker.answer_calls, conversation)
    first = {"snapshot": None if snapshot is None else str(snapshot), "device": None}
    queue.accept(Job(Request("", "load", first), None))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: threading.Thread(target=queue.close, args=("terminated",)).start())
    threading.Thread(target=_listen, args=(requests, queue, answer), daemon=True).start()
    threading.Thread(target=_beat, args=(queue, worker), daemon=True).start()
    while job := queue.take(idle_seconds):
        worker.run(job)
    queue.outbox.send({"event": "bye", "reason": queue.reason})
    return 0


def _take_streams() -> tuple[int, int]:
    """Private descriptors of stdin and stdout; stray output goes to stderr from now on, stray input is empty."""
    requests, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, events


def greeting() -> dict[str, Any]:
    """What a `hello` says of this worker."""
    return {
        "protocol": PROTOCOL,
        "gp3d": __version__,
        "pid": os.getpid(),
        "max_line": MAX_LINE,
        "queue": QUEUE,
        "ops": list(OPERATIONS),
    }


class Worker:
    """Carries out requests: jobs on the main thread, the quick ones on the thread that reads."""

    def __init__(
        self, queue: JobQueue, device: str, cache_bytes: int, models: ModelSet | None = None
    ) -> None:
        """`models` are open already; without any the first `load` opens them."""
        self.queue, self._device, self._cache_bytes = queue, device, cache_bytes
        self._models = models
        self._pictures: ImageSession | None = None
        self._ready: dict[str, Any] | None = None
        self._began = time.monotonic()

    def run(self, job: Job) -> None:
        """Runs a job to its end, which is one `result` or `error`."""
        bodies: dict[str, Callable[[Job, Any], None]] = {
            "load": self._load,
            "preview": self._preview,
            "mesh": self._mesh,
            "volume": self._volume,
            "picture": self._picture,
            "lift": self._lift,
            "trust": self._trust,
            "trust_picture": self._trust_picture,
        }
        with (
            warnings.catch_warnings(record=True) as job.warnings,
            _ErrorReporter(lambda e: self._fail(job, e)),
        ):
            warnings.simplefilter("always")
            bodies[job.request.op](job, job.request.options)

    def answer(self, line: bytes | None) -> None:
        """Queues the request of a line, or answers it; None is a line that was too long."""
        if line is not None and not line.strip():
            return
        self.queue.touch()
        with _ErrorReporter(self._refuse):
            if line is None:
                raise Problem("E_TOO_LONG", f"a line has more than {MAX_LINE} bytes", "Send less at a time.")
            request = read_request(line)
            if self.queue.is_active(request.id):
                message = f"the id {request.id} is in use"
                raise Problem(
                    "E_PROTOCOL", message, "Use every id once."
                )  # its id would end the other request
            with _ErrorReporter(lambda error: self._refuse(error, request.id)):
                self._carry_out(request)

    def answer_calls(self, conversation: JsonRpc, line: bytes | None) -> None:
        """As `answer`, for a line of protocol 2, which may hold several calls."""
        if line is not None and not line.strip():
            return
        self.queue.touch()
        for call in conversation.read(line, self.queue.outbox.send):
            with _ErrorReporter(partial(self._refuse, name=call.name)):
                self._carry_out(conversation.request(call))

    def status(self) -> dict[str, Any]:
        """The fields of a `status`."""
        jobs, models = self.queue.status(), self._models
        cache = {"objects": 0, "bytes": 0} if models is None else models.cache.status()
        if jobs["job"] is None:
            state = "empty" if models is None else "idle"
        else:
            state = "starting" if jobs["job"]["id"] is None else "busy"
        return {
            "state": state,
            **jobs,
            "cache": {**cache, "limit": self._cache_bytes},
            "uptime": round(time.monotonic() - self._began, 3),
        }

    def _carry_out(self, request: Request) -> None:
        if request.op in JOBS:
            self.queue.accept(Job(request, request.id))
        elif request.op == "cancel":
            target = request.options["target"]
            self.queue.cancel(target, lambda state: self._reply(request, target=target, state=state))
        elif request.op == "shutdown":
            self.queue.close("shutdown", farewell=request.id)
        elif request.op == "status":
            self._reply(request, **self.status())
        elif request.op == "classes":
            self._reply(request, classes=self._loaded().classes())
        elif request.options["protocol"] == PROTOCOL:
            self._reply(request, **greeting(), ready=self._ready)
        else:
            message = f"this worker speaks protocol {PROTOCOL}, asked for was {request.options['protocol']}"
            raise Problem("E_VERSION", message, "Install a GP3D and an add-on of the same version.")

    def _load(self, job: Job, options: LoadOptions) -> None:
        self._progress(job, "starting", 0, 2)
        try:
            from gp3d_core.worker.model_set import ModelSet  # seconds, which is why `hello` was sent before
        except ImportError as error:
            raise Problem(
                "E_INTERNAL", f"the engine is incomplete ({error})", "Install GP3D again."
            ) from error
        self._progress(job, "loading", 1, 2)
        device = options["device"] or self._device
        path = None if options["snapshot"] is None else Path(options["snapshot"])
        models = ModelSet(path, device, self._cache_bytes, self._check)
        ready = {**models.facts(), "seconds": job.seconds}

        def publish() -> None:
            self._models, self._ready = models, ready
            self.queue.outbox.send({"event": "ready", "id": job.id, **ready})

        self.queue.finish(job, ready, publish)

    def _preview(self, job: Job, options: PreviewOptions) -> None:
        pictures: list[dict[str, Any]] = []
        session, specs, note = self._wanted(options, options["seeds"], options["objects"])
        yaws = [options["yaw"]] if options["yaws"] is None else options["yaws"]
        total = len(specs) * len(yaws)
        for index, (spec, yaw) in enumerate(product(specs, yaws)):
            self._progress(job, "preview", index, total)
            began = time.monotonic()
            obj, cached = session.generated(spec, options["truncation"])
            path, size = session.preview(obj, options, yaw)
            pictures.append({"seed": spec.seed, "path": str(path)})
            self.queue.outbox.send(
                {
                    "event": "preview",
                    "id": job.id,
                    "index": index,
                    **pictures[-1],
                    "class": spec.record,
                    "truncation": obj.truncation,
                    "yaw": yaw,
                    **({} if options["objects"] is None else {"object": said(obj.spec)}),
                    "width": size,
                    "height": size,
                    "seconds": round(time.monotonic() - began, 3),
                    "cached": cached,
                }
            )
        self._progress(job, "preview", total, total)
        self.queue.finish(
            job, {"pictures": pictures, "snapshot": session.identity(), **_class_note(note)}, lambda: None
        )

    def _wanted(
        self,
        options: PreviewOptions | ObjectMeshOptions | TrustOptions | VolumeOptions,
        seeds: Sequence[int] | None,
        objects: Sequence[Mapping[str, Any]] | None,
    ) -> tuple[ModelSession, list[ObjectSpec], str]:
        """The model that makes what is asked for, its objects, and which class was taken for a word, or ""."""
        if objects is not None:
            return *self._loaded().combined(objects, options["model"]), ""
        return self._loaded().specs(options["class"], seeds or (), options["model"])

    def _object(
        self, job: Job, options: ObjectMeshOptions | TrustOptions | VolumeOptions
    ) -> tuple[ModelSession, Generated, Publish]:
        """The model that makes the object, the object, and what ends the job with a result that names both."""
        seed, wanted = options["seed"], options["object"]
        session, (spec,), note = self._wanted(
            options, None if seed is None else [seed], None if wanted is None else [wanted]
        )
        self._progress(job, "planes", 0, 1)
        obj, cached = session.generated(spec, options["truncation"])
        self._progress(job, "planes", 1, 1)
        more = {"cached": cached, "snapshot": session.identity(), **_class_note(note)}

        def publish(move: Callable[[], None], result: Mapping[str, Any]) -> None:
            self._publish(job, move, {**result, **more})

        return session, obj, publish

    def _mesh(self, job: Job, options: ObjectMeshOptions) -> None:
        session, obj, publish = self._object(job, options)
        session.mesh(obj, options, lambda *step: self._progress(job, *step), publish)

    def _volume(self, job: Job, options: VolumeOptions) -> None:
        from gp3d_core.worker.volume_session import make_grids

        session, obj, publish = self._object(job, options)
        make_grids(session.snapshot, obj, options, lambda *step: self._progress(job, *step), publish)

    def _picture(self, job: Job, options: PictureMeshOptions) -> None:
        self._image_session().mesh(
            options, lambda *step: self._progress(job, *step), lambda *made: self._publish(job, *made)
        )

    def _trust(self, job: Job, options: TrustOptions) -> None:
        from gp3d_core.worker.trust_session import examine_object

        session, obj, publish = self._object(job, options)
        examine_object(session.snapshot, obj, options, lambda *step: self._progress(job, *step), publish)

    def _trust_picture(self, job: Job, options: PictureTrustOptions) -> None:
        self._image_session().trust(
            options, lambda *step: self._progress(job, *step), lambda *made: self._publish(job, *made)
        )

    def _lift(self, job: Job, options: LiftRequest) -> None:
        from gp3d_core.worker.relief_session import make_relief

        make_relief(options, self._device, partial(self._progress, job), partial(self._publish, job))

    def _image_session(self) -> ImageSession:
        from gp3d_core.worker.image_session import ImageSession

        self._pictures = self._pictures or ImageSession(self._device)
        return self._pictures

    def _publish(self, job: Job, move: Callable[[], None], result: Mapping[str, Any]) -> None:
        """Ends a job whose files are ready to be moved into place."""
        messages = [str(warning.message) for warning in job.warnings if "gp3d_core" in warning.filename]
        self.queue.finish(job, {**result, "stages": job.stages, "warnings": messages}, move)

    def _progress(self, job: Job, stage: str, done: int, total: int) -> None:
        job.check()
        if job.advance(stage, done, total):
            step = {"stage": stage, "done": done, "total": total, "seconds": job.seconds}
            self.queue.outbox.send({"event": "progress", "id": job.id, **step})

    def _check(self) -> None:
        if job := self.queue.running:
            job.check()

    def _loaded(self) -> ModelSet:
        if self._models is None:
            raise Problem("E_NO_WEIGHTS", "no model is loaded", "Wait for ready, or load a snapshot.")
        return self._models

    def _reply(self, request: Request, **fields: Any) -> None:
        self.queue.outbox.send({"event": "result", "id": request.id, "op": request.op, **fields})

    def _refuse(self, error: Exception, name: str | None = None) -> None:
        problem = _problem_of(error)
        self.queue.outbox.send(problem.event(name or problem.request))

    def _fail(self, job: Job, error: Exception) -> None:
        problem = _problem_of(error)
        if problem.code == "E_OOM" and self._models is not None:
            self._models.forget()
        self.queue.fail(job, problem)


class _ErrorReporter:
    """A block whose every error is reported instead of raised: nothing a client sends may end the worker."""

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            self._report(error)
        return isinstance(error, Exception)


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    from gp3d_core.worker.model_session import problem_of

    problem = problem_of(error)
    if problem.code == "E_INTERNAL":
        traceback.print_exception(error)
    return problem


def _class_note(note: str) -> dict[str, str]:
    """What a result adds if the class was asked for by a word that is not its name."""
    return {"class_note": note} if note else {}


def _listen(requests: int, queue: JobQueue, answer: Callable[[bytes | None], None]) -> None:
    """Reads requests until there are no more."""
    lines = LineSplitter()
    with suppress(OSError):  # some systems report a pipe whose other end has died
        while data := os.read(requests, MAX_LINE):
            for line in lines.feed(data):
                answer(line)
    queue.close("stdin closed")


def _beat(queue: JobQueue, worker: Worker) -> None:
    """Shows that the worker is alive while it works."""
    while True:
        time.sleep(_HEARTBEAT_SECONDS)
        if queue.running is not None:
            queue.outbox.send({"event": "status", **worker.status()})

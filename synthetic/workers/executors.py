"""Executors of jobs: processes of this machine, or actors of a Ray cluster, with the same outcomes.

An executor yields outcomes in the order in which they become known. Jobs are drawn from their iterator one by one, when
a process is free, so that the iterator may still leave out what is not worth while any more.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from synthetic.workers.worker import RenderJob, RenderJobRecord, RenderSpec, RenderSpecRecord
from synthetic.workers.worker_process import (
    WORKER_COMMAND,
    BlenderError,
    Outcome,
    OutcomeRecord,
    RestartPolicy,
    WorkerProcess,
)

_POLL_SECONDS = 0.25  # between two looks at whether to stop


class ExecutorError(RuntimeError):
    """An executor that cannot run here; the message names the remedy."""


class Executor(Protocol):
    """Runs jobs in several processes."""

    def outcomes(self, jobs: Iterator[RenderJob]) -> Iterator[Outcome | None]:
        """Outcomes as they become known, and None now and then in between; raises BlenderError."""

    def stop(self) -> None:
        """Begins no further job and lets those at work end after their present view."""

    def close(self) -> None:
        """Ends all processes."""


class LocalExecutor:
    """Processes of this machine, with a thread for each."""

    def __init__(
        self,
        spec: RenderSpec,
        restart_policy: RestartPolicy,
        workers: int,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        """Starts nothing yet; `command` is that of the processes."""
        self._processes = [WorkerProcess(spec, restart_policy, command) for _ in range(workers)]
        self._queue: queue.SimpleQueue[Outcome | Exception | None] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def outcomes(self, jobs: Iterator[RenderJob]) -> Iterator[Outcome | None]:
        """Outcomes as they become known, and None now and then in between.

        A process whose Blender does not start is done without, and its job goes to another. Raises BlenderError where
        none is left.
        """
        waiting = _Jobs(jobs)
        threads = [
            threading.Thread(target=self._work, args=(process, waiting), daemon=True)
            for process in self._processes
        ]
        for thread in threads:
            thread.start()
        working, lost = len(threads), 0
        while working:
            try:
                found = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                yield None
                continue
            if isinstance(found, BlenderError):
                working, lost = working - 1, lost + 1
                if lost == len(threads):
                    raise found
                sys.stderr.write(f"one of {len(threads)} workers is lost, the others go on: {found}\n")
            elif isinstance(found, Exception):
                raise found
            elif found is None:
                working -= 1
            else:
                yield found

    def stop(self) -> None:
        """Begins no further job and lets those at work end after their present view."""
        self._stopping.set()
        for process in self._processes:
            process.stop()

    def close(self) -> None:
        """Ends all processes."""
        self._stopping.set()
        for process in self._processes:
            process.close()

    def _work(self, process: WorkerProcess, jobs: _Jobs) -> None:
        """Runs jobs in one process until there are no more; puts their outcomes into the queue, then None."""
        try:
            while not self._stopping.is_set() and (job := jobs.take()) is not None:
                try:
                    outcome = process.run(job)
                except BlenderError:
                    jobs.give_back(job)
                    raise
                self._queue.put(outcome)
                jobs.done()
        except BlenderError as error:  # says all itself; raised here, the thread would print a traceback, too
            self._queue.put(error)
        except Exception as error:  # otherwise `outcomes` would wait for ever
            self._queue.put(error)
            raise
        else:
            self._queue.put(None)


class _Jobs:
    """Jobs for several threads, to which a job may be given back: they wait for one another's before they end."""

    def __init__(self, jobs: Iterator[RenderJob]) -> None:
        self._jobs = jobs
        self._returned: list[RenderJob] = []
        self._at_work = 0
        self._change = threading.Condition()

    def take(self) -> RenderJob | None:
        """A job, None when all are done."""
        with self._change:
            while True:
                job = self._returned.pop() if self._returned else next(self._jobs, None)
                if job is not None:
                    self._at_work += 1
                    return job
                if not self._at_work:
                    return None
                self._change.wait()

    def done(self) -> None:
        """Notes that a job that was taken is done."""
        with self._change:
            self._at_work -= 1
            self._change.notify_all()

    def give_back(self, job: RenderJob) -> None:
        """Lets somebody else do a job that was taken."""
        with self._change:
            self._returned.append(job)
            self._at_work -= 1
            self._change.notify_all()


class RayExecutor:
    """Actors of a Ray cluster, one process each; MODELS and OUT must have the same path on all machines.

    `ray` is the module, `address` a running cluster's ("auto" finds it) or None for one of its own on this machine;
    `workers` None asks for as many as the cluster's processors allow.
    """

    def __init__(
        self,
        spec: RenderSpec,
        restart_policy: RestartPolicy,
        workers: int | None,
        ray: Any,
        address: str | None = None,
    ) -> None:
        """Connects and asks for the actors."""
        self._ray = ray
        ray.init(
            address=address,
            ignore_reinit_error=True,
            log_to_driver=False,
            logging_level="ERROR",
            **({} if address else {"include_dashboard": False}),
        )
        share = max(1, spec.threads)
        count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // share)
        actor = ray.remote(num_cpus=share, max_concurrency=2)(RemoteWorker)
        self._actors = [actor.remote(spec.as_json(), restart_policy) for _ in range(count)]
        self._stopping = False

    def outcomes(self, jobs: Iterator[RenderJob]) -> Iterator[Outcome | None]:
        """Outcomes as they become known, and None now and then in between.

        An actor that dies, or whose Blender does not start, is done without, and its job goes to another. Raises
        BlenderError where none is left.
        """
        at_work: dict[Any, tuple[Any, RenderJob]] = {}
        idle, returned, alive = list(self._actors), list[RenderJob](), len(self._actors)
        while True:
            while idle and not self._stopping:
                job = returned.pop() if returned else next(jobs, None)
                if job is None:
                    break
                actor = idle.pop()
                at_work[actor.run.remote(job.as_json())] = actor, job
            if not at_work:
                return
            done, _ = self._ray.wait(list(at_work), num_returns=1, timeout=_POLL_SECONDS)
            if not done:
                yield None
            for future in done:
                actor, job = at_work.pop(future)
                try:
                    found: OutcomeRecord | str = self._ray.get(future)
                except self._ray.exceptions.RayActorError as error:
                    found = f"an actor of the cluster died ({type(error).__name__})"
                if isinstance(found, str):
                    returned.append(job)
                    alive -= 1
                    if not alive:
                        raise BlenderError(found)
                    sys.stderr.write(f"a worker is lost, {alive} go on: {found}\n")
                else:
                    idle.append(actor)
                    yield Outcome(**found)

    def stop(self) -> None:
        """Begins no further job and lets those at work end after their present view."""
        self._stopping = True
        for actor in self._actors:
            actor.stop.remote()

    def close(self) -> None:
        """Ends all processes."""
        for future in [actor.close.remote() for actor in self._actors]:
            self._ray.wait([future], timeout=30)
        for actor in self._actors:
            self._ray.kill(actor)
        self._ray.shutdown()


class RemoteWorker:
    """A worker process as a Ray actor: plain data in, plain data out."""

    def __init__(self, spec: RenderSpecRecord, restart_policy: RestartPolicy) -> None:
        """Starts nothing yet."""
        self._process = WorkerProcess(RenderSpec.from_json(spec), restart_policy)

    def run(self, job: RenderJobRecord) -> OutcomeRecord | str:
        """The outcome, or the reason why Blender cannot be started."""
        try:
            return self._process.run(RenderJob.from_json(job)).as_json()
        except BlenderError as error:
            return str(error)

    def stop(self) -> None:
        """Lets the job at work end after the present view."""
        self._process.stop()

    def close(self) -> None:
        """Ends the child and removes its scratch files."""
        self._process.close()


def connect_ray(
    spec: RenderSpec, restart_policy: RestartPolicy, workers: int | None, address: str | None
) -> RayExecutor:
    """The executor of a cluster. Raises ExecutorError where Ray is not installed or no cluster answers."""
    try:
        import ray
    except ImportError:
        raise ExecutorError(
            "--engine ray needs Ray, which is not installed; add the extra [cluster]"
        ) from None
    try:
        return RayExecutor(spec, restart_policy, workers, ray, address)
    except (ConnectionError, ValueError) as error:
        raise ExecutorError(f"no Ray cluster answers at {address} ({error})") from None

"""Where jobs are done: in processes of this machine, or in a Ray cluster. Same slots, same outcomes either way.

An engine is called with jobs and hands back outcomes in the order in which they become known. Jobs are drawn from their
iterator one by one, when a slot is free; whoever feeds it may still change its mind about what is left.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from synthetic.workers.worker import Job, Order
from synthetic.workers.worker_process import BlenderError, Care, Outcome, Slot

_PATIENCE = 0.25  # seconds between two looks at whether to stop


class EngineError(RuntimeError):
    """An engine that cannot run here; the message names the remedy."""


class Engine(Protocol):
    """Something that does jobs."""

    def outcomes(self, jobs: Iterator[Job]) -> Iterator[Outcome | None]:
        """Outcomes as they become known, and None now and then in between; raises BlenderError."""

    def stop(self) -> None:
        """Begins no further job and lets those at work end after their present view."""

    def close(self) -> None:
        """Ends all processes."""


class LocalEngine:
    """Processes of this machine, each looked after by a thread."""

    def __init__(self, order: Order, care: Care, workers: int) -> None:
        """Starts nothing yet."""
        self._slots = [Slot(order, care) for _ in range(workers)]
        self._news: queue.SimpleQueue[Outcome | Exception | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._choice = threading.Lock()

    def outcomes(self, jobs: Iterator[Job]) -> Iterator[Outcome | None]:
        """Outcomes as they become known, and None now and then in between; raises BlenderError."""
        threads = [
            threading.Thread(target=self._work, args=(slot, jobs), daemon=True) for slot in self._slots
        ]
        for thread in threads:
            thread.start()
        working = len(threads)
        while working:
            try:
                news = self._news.get(timeout=_PATIENCE)
            except queue.Empty:
                yield None
                continue
            if isinstance(news, Exception):
                raise news
            if news is None:
                working -= 1
            else:
                yield news

    def stop(self) -> None:
        """Begins no further job and lets those at work end after their present view."""
        self._stopping.set()
        for slot in self._slots:
            slot.stop()

    def close(self) -> None:
        """Ends all processes."""
        self._stopping.set()
        for slot in self._slots:
            slot.close()

    def _work(self, slot: Slot, jobs: Iterator[Job]) -> None:
        """One slot's life; its last word is None."""
        try:
            while not self._stopping.is_set():
                with self._choice:
                    job = next(jobs, None)
                if job is None:
                    break
                self._news.put(slot.run(job))
        except BlenderError as error:
            self._news.put(error)
        except Exception as error:  # or whoever waits for news would wait for ever
            self._news.put(error)
            raise
        self._news.put(None)


class RayEngine:
    """Actors of a Ray cluster, one slot each; MODELS and OUT must have the same path on all machines.

    `ray` is the module, `address` a running cluster's ("auto" finds it) or None for one of its own on this machine;
    `workers` None asks for as many as the cluster's processors allow.
    """

    def __init__(
        self, order: Order, care: Care, workers: int | None, ray: Any, address: str | None = None
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
        share = max(1, order.threads)
        count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // share)
        actor = ray.remote(num_cpus=share, max_concurrency=2)(RemoteSlot)
        self._actors = [actor.remote(order.as_json(), care) for _ in range(count)]
        self._stopping = False

    def outcomes(self, jobs: Iterator[Job]) -> Iterator[Outcome | None]:
        """Outcomes as they become known, and None now and then in between; raises BlenderError."""
        at_work: dict[Any, Any] = {}
        idle = list(self._actors)
        while True:
            while idle and not self._stopping and (job := next(jobs, None)) is not None:
                actor = idle.pop()
                at_work[actor.run.remote(job.as_json())] = actor
            if not at_work:
                return
            done, _ = self._ray.wait(list(at_work), num_returns=1, timeout=_PATIENCE)
            if not done:
                yield None
            for future in done:
                idle.append(at_work.pop(future))
                found = self._ray.get(future)
                if "broken" in found:
                    raise BlenderError(found["broken"])
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


class RemoteSlot:
    """A slot as a Ray actor holds it: plain data in, plain data out."""

    def __init__(self, order: dict[str, Any], care: Care) -> None:
        """Starts nothing yet."""
        self._slot = Slot(Order.from_json(order), care)

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """An outcome's fields, or the reason why Blender cannot be started under "broken"."""
        try:
            return self._slot.run(Job.from_json(job)).as_json()
        except BlenderError as error:
            return {"broken": str(error)}

    def stop(self) -> None:
        """Lets the job at work end after the present view."""
        self._slot.stop()

    def close(self) -> None:
        """Ends the child and removes its scratch files."""
        self._slot.close()


def connect_ray(order: Order, care: Care, workers: int | None, address: str | None) -> RayEngine:
    """The engine of a cluster. Raises EngineError where Ray is not installed or no cluster answers."""
    try:
        import ray
    except ImportError:
        raise EngineError("--engine ray needs Ray, which is not installed; add the extra [cluster]") from None
    try:
        return RayEngine(order, care, workers, ray, address)
    except (ConnectionError, ValueError) as error:
        raise EngineError(f"no Ray cluster answers at {address} ({error})") from None

"""A run over a library: shards, the locks between them, jobs for what is missing, and the failures.

Shards: every model has a place in [0, 1) that its key alone decides; shard i of n does those from (i-1)/n to i/n. While
it works it locks the same range of the bytes of OUT/.lock, so shards of one library may share an OUT, in whatever
numbers, and two processes that would do the same model exclude one another. The system releases the locks of a process
that dies. Failures are logged at once, line by line, so that those of a killed run are known to the next one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from synthetic.dataset import view_name
from synthetic.dataset_index import read_failures
from synthetic.layouts.shapenet import Model
from synthetic.workers.blender_process import StopRequest
from synthetic.workers.executors import Executor
from synthetic.workers.worker import RenderJob
from synthetic.workers.worker_process import Outcome, add_seconds

_PLACES = 2**32  # in the lock file; a byte each
_INDEX_LOCK = _PLACES  # one more, for writing the index
_LOCK_FILE = ".lock"
_FAILURE_LOG = re.compile(r"\.failures-(\d+)-of-(\d+)\.jsonl")
_VIEWS_PER_JOB = 8  # few enough to share a model among workers, enough to load it rarely
_FEWEST_MODELS = 50  # before a share of failures means anything


class RunError(ValueError):
    """A run that cannot begin or go on; the message says why and what to do."""


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count` equal parts of any library. Raises ValueError for impossible numbers."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not 1 <= self.number <= self.count:
            raise ValueError(
                f"expected a shard from 1/{max(1, self.count)} on, found {self.number}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard written as "i/n"; raises ValueError for anything else."""
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None:
            raise ValueError(f"expected a shard such as 2/8, found {text!r}")
        return cls(int(match[1]), int(match[2]))

    @property
    def lock_range(self) -> range:
        """The bytes of the lock file that stand for its models."""
        return range((self.number - 1) * _PLACES // self.count, self.number * _PLACES // self.count)

    def holds(self, key: str) -> bool:
        """Whether a model is this shard's."""
        return int.from_bytes(hashlib.sha256(f"shard {key}".encode()).digest()[:4], "big") in self.lock_range

    def covers(self, other: Shard) -> bool:
        """Whether all models of another shard are this one's too."""
        return (
            self.lock_range.start <= other.lock_range.start and other.lock_range.stop <= self.lock_range.stop
        )


class ShardLock:
    """A lock on a shard of a dataset folder, held inside `with`."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        """Locks nothing yet."""
        self._path, self._shard = folder / _LOCK_FILE, shard
        self._file = -1

    def __enter__(self) -> ShardLock:
        """Locks; raises RunError where another process holds some of the same models."""
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, *self._lock_range())
            except OSError as error:
                os.close(self._file)
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise RunError(f"{self._path}: cannot be locked ({error.strerror})") from None
                raise RunError(
                    f"{self._path.parent}: another process is rendering these models into it; "
                    "wait for it, or give each process its own --shard"
                ) from None
            if self._path.exists() and os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                return self
            os.close(self._file)  # its last user has just removed it

    def __exit__(self, *_: object) -> None:
        """Unlocks, and removes the lock file where no other shard has locked a part of it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, _PLACES + 1, 0)
            self._path.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # other shards are still at work
        finally:
            os.close(self._file)

    @contextmanager
    def index(self) -> Iterator[None]:
        """Inside `with`, no other shard reads or writes the index; waits until that is so."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _INDEX_LOCK)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _INDEX_LOCK)

    def _lock_range(self) -> tuple[int, int]:
        return len(self._shard.lock_range), self._shard.lock_range.start


class FailureLog:
    """The failures of a shard while it works, in a file of JSON lines."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        """Writes nothing before the first failure."""
        self._folder, self._shard = folder, shard
        self._path = folder / f".failures-{shard.number}-of-{shard.count}.jsonl"

    def add(self, model: str, reason: str) -> None:
        """Notes a failure."""
        with self._path.open("a+b") as file:
            torn = file.tell() and not self._path.read_bytes().endswith(b"\n")
            file.write(b"\n" * bool(torn) + json.dumps({"model": model, "reason": reason}).encode() + b"\n")

    def unindexed(self) -> dict[str, str]:
        """Failures of killed runs whose models are now this shard's; a line that was cut is left out."""
        found: dict[str, str] = {}
        for path in self._mine():
            found.update(read_failures(path))
        return found

    def clear(self) -> None:
        """Removes the files, whose entries are in the index now."""
        for path in self._mine():
            path.unlink()

    def _mine(self) -> Iterator[Path]:
        for path in sorted(self._folder.glob(".failures-*.jsonl")):
            match = _FAILURE_LOG.fullmatch(path.name)
            if match and self._shard.covers(Shard(int(match[1]), int(match[2]))):
                yield path


def plan(models: Sequence[Model], views: int, there: set[str]) -> list[RenderJob]:
    """Jobs for what is still missing of the first `views` views of every model, a few views each."""
    jobs = []
    for model in models:
        missing = [view for view in range(views) if view_name(model, view) not in there]
        jobs += [
            RenderJob(model, tuple(missing[i : i + _VIEWS_PER_JOB]))
            for i in range(0, len(missing), _VIEWS_PER_JOB)
        ]
    return jobs


@dataclass
class RunResult:
    """What a run has done so far: views, failures by model, seconds by stage, and why it ended early.

    `killed` are models of which views are missing by no fault of theirs, and how.
    """

    views: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    killed: dict[str, str] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)  # of which no further view needs to be tried
    seconds: dict[str, float] = field(default_factory=dict)
    end: str = ""  # why it ended early, or nothing

    def add(self, outcome: Outcome) -> bool:
        """Whether an outcome, which is added, is the first failure of its model."""
        self.views += outcome.views
        add_seconds(self.seconds, outcome.seconds)
        if outcome.end == "killed":
            self.killed[outcome.model] = outcome.reason
            return False
        if outcome.end != "stopped":
            self.tried.add(outcome.model)
        if outcome.end == "failed":
            self.given_up.add(outcome.model)
        new = bool(outcome.reason) and outcome.model not in self.failures
        if outcome.reason:  # the same one, in whatever order the parts of a model come
            self.failures[outcome.model] = min(
                outcome.reason, self.failures.get(outcome.model, outcome.reason)
            )
        return new


@dataclass(frozen=True, kw_only=True)
class StopPolicy:
    """When a run ends early: at the first failure, at a share of failures in (0, 1], after so many seconds."""

    strict: bool = False
    max_failures: float = 0.5
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not 0 < self.max_failures <= 1 or (self.seconds is not None and not self.seconds > 0):
            raise ValueError("the share of failures must lie in (0, 1] and the time limit be more than 0")

    def reason_to_stop(self, result: RunResult, since: float) -> str:
        """Why the run is to end now: "failure", "failures", "time", or empty."""
        failed, tried = len(result.failures), len(result.tried)
        if self.strict and failed:
            return "failure"
        if tried >= _FEWEST_MODELS and failed > self.max_failures * tried:
            return "failures"
        return "time" if self.seconds is not None and time.monotonic() - since > self.seconds else ""


def run_jobs(
    jobs: Sequence[RenderJob],
    executor: Executor,
    stop_policy: StopPolicy,
    stop: StopRequest,
    result: RunResult,
    failed: Callable[[str, str], None],
) -> None:
    """Runs jobs on an executor, with a progress bar over all workers, and keeps `result` up to date.

    `failed` is called once for each broken model, with its key and the reason. Raises BlenderError where Blender
    cannot be started.
    """
    since = time.monotonic()

    def choose() -> Iterator[RenderJob]:
        for job in jobs:
            if job.model.key not in result.given_up:
                yield job

    total = sum(len(job.views) for job in jobs)
    with tqdm(total=total, unit="view", smoothing=0.05, disable=None) as bar:
        for outcome in executor.outcomes(choose()):
            if outcome is not None:
                bar.update(outcome.views)
                if not (stop_policy.strict and result.end) and result.add(outcome):
                    bar.write(f"{outcome.model}: {outcome.reason}", file=sys.stderr)
                    failed(outcome.model, outcome.reason)
            if not result.end:
                result.end = "signal" if stop.signal else stop_policy.reason_to_stop(result, since)
                if result.end:
                    executor.stop()


def merge_failures(known: Mapping[str, str], result: RunResult) -> dict[str, str]:
    """Failures of a folder after a run: what it tried anew counts, what it left alone stays."""
    return {**{model: why for model, why in known.items() if model not in result.tried}, **result.failures}

"""A run over a library: which models are this shard's, what is still missing, who else is at work, what has failed.

Shards: every model has a place in [0, 1) that its key alone decides; shard i of n does those from (i-1)/n to i/n. While
it works it holds a lock on just that stretch of OUT/.lock, so shards of one library may share an OUT, in whatever
numbers, and two processes that would do the same model exclude one another. The system releases the locks of a process
that dies. Failures go to a journal first, line by line, so that even a killed run remembers them.
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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from synthetic.dataset import view_name
from synthetic.library.shapenet import Model
from synthetic.workers.blender_process import StopRequest
from synthetic.workers.executors import Engine
from synthetic.workers.worker import Job
from synthetic.workers.worker_process import Outcome

_PLACES = 2**32  # in the lock file; a byte each
_INDEX_LOCK = _PLACES  # and one more for whoever writes the index
_LOCK_FILE = ".lock"
_JOURNAL = re.compile(r"\.failures-(\d+)-of-(\d+)\.jsonl")
_VIEWS_A_JOB = 8  # few enough to share a model among workers, enough to load it rarely
_FEWEST_MODELS = 50  # before a share of failures means anything


class FarmError(ValueError):
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
    def stretch(self) -> range:
        """Its places in the lock file."""
        return range((self.number - 1) * _PLACES // self.count, self.number * _PLACES // self.count)

    def holds(self, key: str) -> bool:
        """Whether a model is this shard's."""
        return int.from_bytes(hashlib.sha256(f"shard {key}".encode()).digest()[:4], "big") in self.stretch

    def covers(self, other: Shard) -> bool:
        """Whether all models of another shard are this one's too."""
        return self.stretch.start <= other.stretch.start and other.stretch.stop <= self.stretch.stop


class Claim:
    """A shard's right to a dataset folder, for as long as the `with` lasts."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        """Claims nothing yet."""
        self._path, self._shard = folder / _LOCK_FILE, shard
        self._file = -1

    def __enter__(self) -> Claim:
        """Takes it; raises FarmError where another process is at the same models."""
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, *self._stretch())
            except OSError as error:
                os.close(self._file)
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise FarmError(f"{self._path}: cannot be locked ({error.strerror})") from None
                raise FarmError(
                    f"{self._path.parent}: another process is rendering these models into it; "
                    "wait for it, or give each process its own --shard"
                ) from None
            if self._path.exists() and os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                return self
            os.close(self._file)  # its last user has just removed it

    def __exit__(self, *_: object) -> None:
        """Gives it back; the last one out removes the lock file."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, _PLACES + 1, 0)
            self._path.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # other shards are still at work
        finally:
            os.close(self._file)

    @contextmanager
    def index(self) -> Iterator[None]:
        """Inside, no other shard reads or writes the index; waits for its turn."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _INDEX_LOCK)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _INDEX_LOCK)

    def _stretch(self) -> tuple[int, int]:
        return len(self._shard.stretch), self._shard.stretch.start


class Journal:
    """A shard's failures while it works, on disk at once."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        """Writes nothing before the first failure."""
        self._folder, self._shard = folder, shard
        self._path = folder / f".failures-{shard.number}-of-{shard.count}.jsonl"

    def add(self, model: str, reason: str) -> None:
        """Notes a failure."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"model": model, "reason": reason}) + "\n")

    def left_over(self) -> dict[str, str]:
        """Failures of killed runs whose models are now this shard's; the line being written then may be cut."""
        found: dict[str, str] = {}
        for path in self._mine():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            entries = [json.loads(line) for line in lines if line.endswith("\n")]
            found.update({entry["model"]: entry["reason"] for entry in entries})
        return found

    def clear(self) -> None:
        """Removes what has found its way into the index."""
        for path in self._mine():
            path.unlink()

    def _mine(self) -> Iterator[Path]:
        for path in sorted(self._folder.glob(".failures-*.jsonl")):
            match = _JOURNAL.fullmatch(path.name)
            if match and self._shard.covers(Shard(int(match[1]), int(match[2]))):
                yield path


def plan(models: Sequence[Model], views: int, there: set[str]) -> list[Job]:
    """Jobs for what is still missing of the first `views` views of every model, a few views each."""
    jobs = []
    for model in models:
        missing = [view for view in range(views) if view_name(model, view) not in there]
        jobs += [
            Job(model, tuple(missing[i : i + _VIEWS_A_JOB])) for i in range(0, len(missing), _VIEWS_A_JOB)
        ]
    return jobs


@dataclass
class Result:
    """What a run has done so far."""

    views: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    hopeless: set[str] = field(default_factory=set)  # of which no further view needs to be tried
    seconds: Counter[str] = field(default_factory=Counter)
    end: str = ""  # why it ended early, or nothing

    def add(self, outcome: Outcome) -> bool:
        """Takes an outcome into account; whether it is the first failure of its model."""
        self.views += outcome.views
        self.seconds.update(dict(outcome.seconds))
        if outcome.end != "stopped":
            self.tried.add(outcome.model)
        if outcome.end == "failed":
            self.hopeless.add(outcome.model)
        new = bool(outcome.reason) and outcome.model not in self.failures
        if outcome.reason:  # the same one, in whatever order the parts of a model come
            self.failures[outcome.model] = min(
                outcome.reason, self.failures.get(outcome.model, outcome.reason)
            )
        return new


@dataclass(frozen=True, kw_only=True)
class Patience:
    """When a run ends early: at the first failure, at a share of failures in (0, 1], after so many seconds."""

    strict: bool = False
    max_failures: float = 0.5
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not 0 < self.max_failures <= 1 or (self.seconds is not None and not self.seconds > 0):
            raise ValueError("the share of failures must lie in (0, 1] and the time limit be more than 0")

    def lost(self, result: Result, since: float) -> str:
        """Why the run should end now, or nothing."""
        failed, tried = len(result.failures), len(result.tried)
        if self.strict and failed:
            return "failure"
        if tried >= _FEWEST_MODELS and failed > self.max_failures * tried:
            return "failures"
        return "time" if self.seconds is not None and time.monotonic() - since > self.seconds else ""


def run_jobs(
    jobs: Sequence[Job],
    engine: Engine,
    patience: Patience,
    stop: StopRequest,
    result: Result,
    failed: Callable[[str, str], None],
) -> None:
    """Has the engine do the jobs, with a progress bar over all workers, and keeps `result` up to date.

    `failed` hears of each broken model once. Raises BlenderError where Blender cannot be started.
    """
    since = time.monotonic()

    def choose() -> Iterator[Job]:
        for job in jobs:
            if job.model.key not in result.hopeless:
                yield job

    total = sum(len(job.views) for job in jobs)
    with tqdm(total=total, unit="view", smoothing=0.05, disable=None) as bar:
        for outcome in engine.outcomes(choose()):
            if outcome is not None:
                bar.update(outcome.views)
                if not (patience.strict and result.end) and result.add(outcome):
                    bar.write(f"{outcome.model}: {outcome.reason}", file=sys.stderr)
                    failed(outcome.model, outcome.reason)
            if not result.end:
                result.end = "signal" if stop.signal else patience.lost(result, since)
                if result.end:
                    engine.stop()


def merge_failures(known: Mapping[str, str], result: Result) -> dict[str, str]:
    """Failures of a folder after a run: what it tried anew counts, what it left alone stays."""
    return {**{model: why for model, why in known.items() if model not in result.tried}, **result.failures}

"""Damaged lines for a worker that runs: each request is answered exactly once, soon, and the worker stays small."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gp3d_core.strict_json import of_text
from gp3d_core.worker.json_rpc import METHODS
from gp3d_core.worker.protocol import JOBS, MAX_LINE, Problem, Request, request_of
from tests.faults.fuzzing import LONGEST_SECONDS, MOST_GROWTH, Outcome
from tests.faults.mutations import damaged, damaged_json, json_text
from tests.support.micro import micro_snapshot
from tests.support.serving import COMMAND, ENVIRONMENT

_AT_ONCE = 400  # lines that are sent before their answers are waited for
_PATIENCE = 12 * LONGEST_SECONDS  # without any answer, on a machine with much else to do
_JOBS_TAKEN = 0.05  # share of requests for work that are sent: the others would only take long
_READY = {
    1: b'{"id": "ready", "op": "picture"}\n',
    2: b'{"jsonrpc": "2.0", "id": "ready", "method": "picture"}\n',
}
_WARM = 5  # times so many, after which the worker has all that it needs


class Answers:
    """How often a worker has answered: `results` and `errors`; `odd` is what it said that is no message."""

    def __init__(self, protocol: int) -> None:
        self.results, self.errors, self.odd = 0, 0, list[str]()
        self._protocol, self._news = protocol, threading.Condition()

    @property
    def count(self) -> int:
        """How many there were."""
        return self.results + self.errors

    def reached(self, count: int, seconds: float) -> bool:
        """Whether there are `count` answers, or more, before so many seconds have gone without one."""
        with self._news:
            while (found := self.count) < count:  # jobs go one at a time, and each has its answer at its end
                if not self._news.wait_for(lambda found=found: self.count > found, seconds):
                    return False
        return True

    def read(self, line: bytes) -> None:
        """Counts the answers in a line."""
        try:
            message = json.loads(line)
            for one in message if isinstance(message, list) else [message]:
                self._add(one)
        except (ValueError, KeyError, TypeError) as error:
            self.odd.append(f"{error!r}: {line[:200]!r}")

    def _add(self, message: dict[str, Any]) -> None:
        if self._protocol == 1:
            kind = message["event"]
            result, error = kind == "result", kind == "error"
        else:
            result, error = "result" in message, "error" in message and "method" not in message
        with self._news:
            self.results += result
            self.errors += error
            self._news.notify_all()


class Worker:
    """A worker that runs, and its `answers`."""

    def __init__(self, place: Path, protocol: int) -> None:
        self.answers = Answers(protocol)
        (place / "here").mkdir(parents=True)
        snapshot = micro_snapshot(place / "model")
        words = [*COMMAND, str(snapshot), "--device", "cpu", "--protocol", str(protocol)]
        self._log = (place / "log").open("w+b")
        self._process = subprocess.Popen(
            words,
            cwd=place / "here",
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, lines: bytes) -> None:
        """Sends lines. Raises OSError once the worker has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(lines)
        self._process.stdin.flush()

    def kibibytes(self) -> int:
        """The most memory that it has had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def end(self) -> str:
        """What it printed for people, once it has ended, which closing its input makes it do."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.answers.read(line)


def _requests(place: Path) -> list[dict[str, Any]]:
    out, model = str(place / "out"), str(place / "model" / "run")
    mesh = {
        "class": "coffee mug",
        "dir": out,
        "seed": 1,
        "grid": 8,
        "color": "vertex",
        "formats": ["ply"],
        "stem": "a",
    }
    preview = {"class": "mushroom", "dir": out, "seeds": [1, 2], "resolution": 16, "yaw": 0.5}
    picture = {"picture": "/nowhere/a.png", "tokenizer": "/nowhere/t", "dir": out, "crop_depth": 0.5}
    mixed = {"objects": [{"blend": [{"class": "mushroom", "seed": 1}, {"class": 504, "seed": 2}], "at": 0.5}]}
    return [
        {"op": "hello", "protocol": 1},
        {"op": "load", "snapshot": model, "device": "cpu"},
        {"op": "classes"},
        {"op": "status"},
        {"op": "cancel", "target": "3"},
        {"op": "mesh", **mesh},
        {"op": "preview", **preview},
        {"op": "preview", **mixed, "dir": out, "resolution": 16},
        {"op": "picture", **picture},
        {"op": "lift", "picture": "/nowhere/a.png", "depth": "/nowhere/b.png", "dir": out},
        {"op": "trust", **{key: mesh[key] for key in ("class", "seed", "dir")}},
    ]


def line_of(seed: int, protocol: int, requests: list[dict[str, Any]]) -> bytes:
    """A damaged line, or what an accident has made several of it."""
    dice = random.Random(f"conversation {protocol} {seed}")
    for number in range(1000):
        if dice.random() < 0.002:
            return dice.randbytes(dice.randint(MAX_LINE - 9, 2 * MAX_LINE)).replace(b"\n", b"n") + b"\n"
        whole = _message(dice, f"{seed}-{number}", protocol, requests)
        text = json_text(damaged_json(dice, whole) if dice.random() < 0.9 else whole)
        line = text if dice.random() < 0.7 else damaged(dice, text)
        if all(_is_quick(one, dice, requests) for one in _wanted(line)):
            return line + b"\n"
    raise AssertionError("no line is quick")


def _message(dice: random.Random, name: str, protocol: int, requests: list[dict[str, Any]]) -> Any:
    if protocol == 1:
        return {"id": name, **dice.choice(requests)}
    calls = []
    for number in range(dice.choice((1, 1, 1, 2, 4))):
        fields = dict(dice.choice(requests))
        method = {"hello": "initialize"}.get(fields["op"], fields["op"])
        fields = {"protocol": 2} if fields.pop("op") == "hello" else fields
        method = method if dice.random() < 0.9 else dice.choice([one for one in METHODS if one != "shutdown"])
        call = {"jsonrpc": "2.0", "id": f"{name}-{number}", "method": method, "params": fields}
        if dice.random() < 0.2:
            call.pop("id")
        calls.append(call)
    return calls if len(calls) > 1 else calls[0]


def _values(line: bytes) -> Iterator[tuple[bool, Any]]:
    """Whether each line that is not empty is JSON of no more than the longest, and what it says."""
    for part in line.split(b"\n"):
        if part.strip():
            try:
                yield len(part) <= MAX_LINE, of_text(part.decode("utf-8"))
            except ValueError:
                yield False, None


def _wanted(line: bytes) -> Iterator[Request]:
    """What whole requests or calls in a line ask for."""
    for _, value in _values(line):
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                fields = (
                    one.get("params")
                    if "method" in one
                    else {k: v for k, v in one.items() if k not in ("id", "op")}
                )
                with contextlib.suppress(Problem, TypeError):
                    yield request_of(
                        "1", one.get("method", one.get("op")), fields if isinstance(fields, dict) else {}
                    )


def _is_quick(request: Request, dice: random.Random, requests: list[dict[str, Any]]) -> bool:
    options = request.options
    if request.op == "load":  # another than this small one takes seconds
        quick = options["snapshot"] is not None and options["snapshot"] not in ("auto", "box", "zoo")
    elif request.op == "mesh":
        quick = options["grid"] <= 16 and options["color"] == "vertex" and options["formats"] == ["ply"]
        quick &= not options["quads"] and not options["collision"] and options["lods"] == 1
    elif request.op == "preview":
        quick = (options["resolution"] or 64) <= 32 and len(options["seeds"] or ()) <= 2
    else:
        quick = request.op in ("picture", "lift") or request.op not in JOBS
    return quick and (request.op not in JOBS or dice.random() < _JOBS_TAKEN)


def answers_due(line: bytes, protocol: int) -> int:
    """How many answers the lines must have, as docs/serve.md says it."""
    if protocol == 1:
        return sum(1 for _ in _values(line))
    return sum(_calls_answered(value) if whole else 1 for whole, value in _values(line))


def _calls_answered(message: Any) -> int:
    if isinstance(message, list):
        return sum(not _is_silent(one) for one in message) if message else 1
    return int(not _is_silent(message))


def _is_silent(call: Any) -> bool:
    """Whether a member of a batch, or a message, is a notification, which has no answer."""
    return (
        isinstance(call, dict)
        and "id" not in call
        and call.get("jsonrpc") == "2.0"
        and isinstance(call.get("method"), str)
        and isinstance(call.get("params", {}), dict | list)
    )


def converse(
    protocol: int,
    place: Path,
    *,
    first: int,
    count: int = 10**9,
    seconds: float = 1e9,
    told: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Sends lines of seeds from `first` on, until there were `count` or `seconds` have gone; `told` hears how far."""
    outcome, began = Outcome(f"worker, lines of protocol {protocol}"), time.monotonic()
    worker, requests, due, warm = Worker(place, protocol), _requests(place), 0, 0
    answers = worker.answers
    if protocol == 2:
        worker.say(b'{"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": {"protocol": 2}}\n')
        due = 1
    assert answers.reached(due, _PATIENCE)
    worker.say(_READY[protocol])  # a job waits for the model
    due += 1
    assert answers.reached(due, _PATIENCE)
    for number, seed in enumerate(range(first, first + count, _AT_ONCE)):
        if time.monotonic() - began > seconds:
            break
        lines = b"".join(
            line_of(one, protocol, requests) for one in range(seed, min(seed + _AT_ONCE, first + count))
        )
        due += answers_due(lines, protocol)
        start = time.monotonic()
        try:
            worker.say(lines)
        except OSError:
            outcome.faults[seed] = f"the worker has ended: {worker.end()[-300:]}"
            break
        if not answers.reached(due, _PATIENCE):
            outcome.faults[seed] = (
                f"{due - answers.count} answers are missing of {_AT_ONCE} lines from here on"
            )
            due = answers.count
        outcome.slowest = max(outcome.slowest, time.monotonic() - start)
        if number == _WARM:
            warm = worker.kibibytes()
        outcome.taken, outcome.refused = answers.results, answers.errors
        told(outcome)
    time.sleep(1.0)  # for answers that nobody waits for
    if answers.count > due:
        outcome.faults[-2] = f"{answers.count - due} answers too many"
    outcome.faults |= {-3 - number: one for number, one in enumerate(answers.odd)}
    outcome.growth = worker.kibibytes() - warm if warm else 0
    if outcome.growth > MOST_GROWTH:
        outcome.faults[-1] = f"memory grew by {outcome.growth >> 10} MiB"
    said = worker.end()
    if "Traceback" in said:
        outcome.faults[-4 - len(answers.odd)] = said[-600:]
    return outcome

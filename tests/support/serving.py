"""What tests of the worker share: a client that speaks to a real child process, workers, and a queue."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from gp3d_core.worker.job_queue import JobQueue
from tests.support.micro import micro_snapshot

ROOT = Path(__file__).resolve().parents[2]
FINAL = ("result", "error")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-m", "gp3d_core.cli", "serve"]
PATIENCE = 100.0  # seconds until a silent worker counts as hung, on a machine that has much else to do
LONG = {"class": "coffee mug", "seeds": list(range(64)), "resolution": 1024}  # a preview of many seconds


class Client:
    """A worker with a thread that collects its events; every line must be a JSON object."""

    def __init__(self, *arguments):
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        self.events, self._names, self._news = [], itertools.count(), threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            assert line.isascii()
            assert isinstance(event.pop("event"), str)
            event = {"event": json.loads(line)["event"], "at": time.monotonic() - self.began, **event}
            with self._news:
                self.events.append(event)
                self._news.notify_all()

    def raw(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, op, _name=None, **fields):
        name = _name or f"{op}-{next(self._names)}"
        self.raw(json.dumps({"id": name, "op": op, **fields}).encode() + b"\n")
        return name

    def wait(self, event, since=0, **fields):
        """The first event of that kind with those fields."""

        def found():
            return [e for e in self.events[since:] if e["event"] == event and fields.items() <= e.items()]

        with self._news:
            assert self._news.wait_for(found, PATIENCE), (event, fields, self.events[-5:])
            return found()[0]

    def final(self, name):
        """The result or error of a request."""
        with self._news:
            assert self._news.wait_for(lambda: self.of(name, *FINAL), PATIENCE), (name, self.events[-5:])
        return self.of(name, *FINAL)[0]

    def ask(self, op, **fields):
        return self.final(self.send(op, **fields))

    def of(self, name, *kinds):
        return [e for e in self.events if e.get("id") == name and (not kinds or e["event"] in kinds)]

    def code(self):
        """The exit code, once everything that was said has been read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def end(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start():
    """Starts workers that end with the test."""
    clients = []

    def begin(*arguments):
        clients.append(Client(*arguments))
        return clients[-1]

    yield begin
    for client in clients:
        client.end()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return micro_snapshot(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def shared(snapshot):
    """One warm worker for all tests that leave it as it was."""
    client = Client(snapshot.parents[1])
    client.wait("ready")
    yield client
    assert client.process.poll() is None, "a test has ended the worker"
    client.end()


@contextmanager
def desk_and_events():
    """A queue in this process, and a list that has its events once the block has ended."""
    reading, writing = os.pipe()
    events = []
    yield JobQueue(writing), events
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        events += map(json.loads, lines)


def gone(pid):
    """Whether a process has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def mesh_line(**changes):
    fields = {"id": "m", "op": "mesh", "class": "mushroom", "seed": 1, "dir": "/here", **changes}
    return json.dumps({key: value for key, value in fields.items() if value != "absent"}).encode()

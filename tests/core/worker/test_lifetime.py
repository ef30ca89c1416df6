# ruff: noqa: F811
"""A worker's life: without a model, out of memory, idle, and every way to its end."""

import errno
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gp3d_core.worker.job_queue import Job
from gp3d_core.worker.model_session import problem_of
from gp3d_core.worker.protocol import read_request
from gp3d_core.worker.server import Worker
from tests.support.serving import (
    COMMAND,
    ENVIRONMENT,
    FINAL,
    LONG,
    desk_and_events,
    gone,
    mesh_line,
    snapshot,  # noqa: F401
    start,  # noqa: F401
    until,
)

pytestmark = pytest.mark.slow


def test_a_worker_without_a_model_waits_for_one_and_shuts_down_in_order(start, snapshot, tmp_path):
    client = start(tmp_path / "missing.safetensors")
    assert client.wait("error", id=None)["code"] == "E_NO_WEIGHTS"
    assert client.ask("classes")["code"] == "E_NO_WEIGHTS"
    assert client.ask("preview", **LONG, dir=str(tmp_path))["code"] == "E_NO_WEIGHTS"
    (tmp_path / "half.safetensors").write_bytes(snapshot.read_bytes()[:5000])
    assert client.ask("load", snapshot=str(tmp_path / "half.safetensors"))["code"] == "E_BAD_WEIGHTS"
    assert client.ask("load", snapshot=str(tmp_path))["code"] == "E_NO_WEIGHTS"
    if not torch.cuda.is_available():
        assert client.ask("load", snapshot=str(snapshot), device="cuda")["code"] == "E_DEVICE"
    assert client.ask("status")["state"] == "empty"
    load = client.send("load", snapshot=str(snapshot))
    running = client.send("preview", **LONG, dir=str(tmp_path / "out"))
    assert client.final(load)["snapshot"]["name"] == snapshot.name
    assert client.wait("ready", id=load)
    waiting = client.send("mesh", **{"class": "mushroom"}, seed=0, dir=str(tmp_path / "out"))
    client.wait("preview", id=running)
    end = client.send("shutdown")
    assert client.code() == 0
    ends = [e for e in client.events if e["event"] in (*FINAL, "bye")][-4:]
    assert [(e["event"], e.get("id")) for e in ends] == [
        ("error", waiting), ("error", running), ("result", end), ("bye", None),
    ]  # fmt: skip
    assert {ends[0]["code"], ends[1]["code"]} == {"E_CANCELLED"}
    assert ends[-1]["reason"] == "shutdown"


def test_out_of_memory_is_said_and_memory_is_given_back():
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
    ), RuntimeError("could not create a primitive"), RuntimeError("std::bad_alloc"), OSError(
        errno.ENOMEM, "Cannot allocate memory"
    ), ImportError("libgomp.so.1: failed to map segment from shared object")):  # fmt: skip
        assert problem_of(error).code == "E_OOM"
    assert problem_of(OSError(errno.EACCES, "Permission denied", "out of memory.png")).code == "E_DISK"
    assert problem_of(RuntimeError("mat1 and mat2 shapes")).code == "E_INTERNAL"

    def fail(*_):
        raise MemoryError

    forgotten = []
    with desk_and_events() as (queue, events):
        session = SimpleNamespace(specs=fail, forget=lambda: forgotten.append(True))
        worker = Worker(queue, "cpu", 0, session)
        queue.accept(Job(read_request(mesh_line()), "m"))
        worker.run(queue.take(0))
    last = events[-1]
    assert (last["id"], last["code"]) == ("m", "E_OOM")
    assert forgotten == [True]


def test_a_worker_that_nobody_hears_ends():
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, env=ENVIRONMENT) as worker:
        assert b"hello" in worker.stdout.readline()
        worker.stdout.close()
        worker.stdin.write(b'{"id": "1", "op": "status"}\n')
        worker.stdin.flush()
        assert worker.wait(5) == 0
        with suppress(BrokenPipeError):
            worker.stdin.close()


def test_idle_workers_end_and_busy_ones_do_not(start, snapshot):
    client = start(snapshot, "--idle-seconds", "0.3")  # importing torch alone takes longer
    assert client.code() == 0
    assert [e["event"] for e in client.events][-2:] == ["ready", "bye"]
    ready, bye = client.events[-2:]
    assert bye["reason"] == "idle"
    assert bye["at"] - ready["at"] > 0.25


def test_requests_keep_an_idle_worker_alive(start, tmp_path):
    client = start(tmp_path / "none.safetensors", "--idle-seconds", "0.5")
    client.wait("error")
    for _ in range(4):
        time.sleep(0.25)
        client.ask("status")
    last = time.monotonic() - client.began
    assert client.code() == 0
    assert client.events[-1]["reason"] == "idle"
    assert client.events[-1]["at"] - last > 0.4


def test_closing_stdin_ends_a_worker_in_the_middle_of_a_job(start, snapshot, tmp_path):
    client = start(snapshot)
    name = client.send(
        "mesh", **{"class": "mushroom"}, seed=0, grid=200, texture_size=2048, dir=str(tmp_path)
    )
    client.wait("progress", id=name, stage="density")
    client.process.stdin.close()
    assert client.code() == 0
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".gp3d-")]


def test_a_job_that_does_not_let_go_cannot_keep_the_worker():
    program = """
import pathlib, time
from gp3d_core.worker import server as serve


def run(worker, job):
    worker.queue.outbox.send({"event": "stuck"})
    time.sleep(600)
serve.Worker.run = run
serve.serve(pathlib.Path("model"), device="cpu", cache_bytes=0, idle_seconds=0)
"""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=pipe, stdout=pipe, env=ENVIRONMENT
    ) as worker:
        while b"stuck" not in worker.stdout.readline():
            pass
        began = time.monotonic()
        worker.stdin.close()
        assert worker.wait(10) == 0
        assert time.monotonic() - began > 2.0


@pytest.mark.timing
def test_workers_end_promptly(start, snapshot, tmp_path):
    idle = start(tmp_path / "none.safetensors", "--idle-seconds", "0.3")
    assert idle.code() == 0
    error, bye = idle.events[-2:]
    assert 0.25 < bye["at"] - error["at"] < 2.0
    busy = start(snapshot)
    name = busy.send("mesh", **{"class": "mushroom"}, seed=0, grid=200, dir=str(tmp_path))
    busy.wait("progress", id=name, stage="density")
    began = time.monotonic()
    busy.process.stdin.close()
    assert busy.code() == 0
    assert time.monotonic() - began < 3.5


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_worker_does_not_outlive_a_killed_parent(snapshot, tmp_path):
    request = json.dumps({"id": "1", "op": "preview", **LONG, "dir": str(tmp_path)}).encode() + b"\n"
    program = f"""
import json, subprocess, sys, time


worker = subprocess.Popen({[*COMMAND, str(snapshot)]!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
worker.stdin.write({request!r})
worker.stdin.flush()
while json.loads(worker.stdout.readline())["event"] != "preview":
    pass
print(worker.pid, flush=True)
time.sleep(600)
"""
    shim = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=ENVIRONMENT)
    try:
        worker = int(shim.stdout.readline())
        assert not gone(worker)
    finally:
        shim.kill()
        shim.wait()
        shim.stdout.close()
    assert until(lambda: gone(worker), 3.5)

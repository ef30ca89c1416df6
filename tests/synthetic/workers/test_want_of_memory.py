"""A Blender that has too little memory is no fault of the models it was to draw."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthetic.dataset import Settings
from synthetic.layouts.shapenet import Model, ObjectClass
from synthetic.staging.treatment import ModelLimits
from synthetic.workers.worker import RenderJob, RenderSpec
from synthetic.workers.worker_process import BlenderError, RestartPolicy, WorkerProcess

STAND_IN = """
import json, os, signal, sys
sys.stdin.readline()
for line in sys.stdin:
    print('{"event": "starting"}', flush=True)
    name = json.loads(line)["model"]["key"].partition("/")[2]
    if name == "unmapped":
        raise ImportError("libXdmcp.so.6: failed to map segment from shared object")
    print('{"event": "ready"}', flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[WorkerProcess]:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    spec = RenderSpec(tmp_path, Settings(), ModelLimits(), 1)
    held = WorkerProcess(spec, RestartPolicy(), [sys.executable, str(tmp_path / "stand_in.py")])
    yield held
    held.close()


def job(name: str) -> RenderJob:
    mug = ObjectClass("n03797390", "mug", None, "03797390")
    return RenderJob(Model(f"03797390/{name}", Path("nowhere"), mug), (0,))


def test_a_blender_that_finds_no_memory_to_start_is_one_line(place: WorkerProcess) -> None:
    with pytest.raises(BlenderError) as found:
        place.run(job("unmapped"))
    assert str(found.value) == (
        "Blender cannot be started for want of memory (exit status 1: ImportError: libXdmcp.so.6: failed to map "
        "segment from shared object); end other programs, or have fewer --workers"
    )


@pytest.mark.parametrize(("limit", "end"), [(resource.RLIM_INFINITY, "failed"), (2**31, "killed")])
def test_a_crash_where_memory_is_limited_is_not_the_models(
    place: WorkerProcess, monkeypatch: pytest.MonkeyPatch, limit: int, end: str
) -> None:
    """Blender 4.2 crashes without a word when the address space is used up (`ulimit -v`)."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    outcome = place.run(job("crashes"))
    assert outcome.end == end
    assert ("perhaps for want of memory" in outcome.reason) == (end == "killed")

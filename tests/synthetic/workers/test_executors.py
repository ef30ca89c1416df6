"""One data set made in every way there is: workers, shards, engines, kills and resumes must not change a byte."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synthetic.dataset import Settings
from synthetic.dataset_index import write_index
from synthetic.layouts.shapenet import load_library
from synthetic.render import generator_facts, main
from synthetic.staging.treatment import ModelLimits
from synthetic.viewpoints import ViewDistribution
from synthetic.workers.blender_process import StopRequest
from synthetic.workers.executors import RayExecutor
from synthetic.workers.run import RunResult, StopPolicy, plan, run_jobs
from synthetic.workers.worker import RenderSpec
from synthetic.workers.worker_process import BlenderError, Outcome, RestartPolicy
from tests.synthetic import small_library as library
from tests.synthetic.workers.test_run import job

VIEWS = 10  # more than one job a model
OPTIONS = ("--resolution", 16, "--samples", 2, "--preset", "sphere", "--views", VIEWS, "--seed", 5)
TOTAL = VIEWS * len(library.SHAPES)  # but in some the dots fall between the pixels
SETTINGS = Settings(resolution=16, samples=2, seed=5, cameras=ViewDistribution(kind="sphere"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("engines") / "models"
    library.write_facts(root)
    for key, parts in library.SHAPES.items():
        library.write_model(root, key, parts)
    library.write_broken(root, only_text=True)
    return root


@pytest.fixture(scope="module")
def reference(models: Path) -> dict[str, bytes]:
    """Files of a run with one worker and nothing special."""
    out = models.parent / "reference"
    run = library.run(models.parent / "scratch", "synthetic.render", models, out, *OPTIONS, "--workers", 1)
    assert run.returncode == 0, run.stderr
    index = json.loads((out / "dataset.json").read_text())
    assert 30 < len(index["labels"]) < TOTAL
    assert (
        "shows nothing" in {entry["model"]: entry["reason"] for entry in index["failures"]}["04379243/dots"]
    )
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def assert_same(out: Path, reference: dict[str, bytes]) -> None:
    found = contents(out)
    assert sorted(found) == sorted(reference)
    assert not [name for name, content in found.items() if content != reference[name]]


def start(models: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        library.command("synthetic.render", models, out, *OPTIONS, *options),
        text=True,
        stderr=subprocess.PIPE,
        env=library.environment(out.parent / "scratch"),
    )


@pytest.mark.blender
@pytest.mark.slow
def test_shards_side_by_side_make_the_same_data_set(
    models: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    running = [start(models, out, "--shard", f"{number}/2", "--workers", 1) for number in (1, 2)]
    for process in running:
        assert process.wait(120) == 0, process.stderr and process.stderr.read()
    assert_same(out, reference)


def children_of(process: int) -> list[int]:
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False
    )
    return [int(number) for number in listing.stdout.split()]


@pytest.mark.blender
@pytest.mark.slow
def test_killed_run_is_continued_without_redoing_or_losing_a_view(
    models: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(models, out, "--workers", 2)
    deadline = time.monotonic() + 60
    while len(list(out.glob("*/*_camera.json"))) < 6 and time.monotonic() < deadline:
        time.sleep(0.002)
    blenders = children_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert blenders
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{blender}").exists() for blender in blenders) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{blender}").exists() for blender in blenders), "Blender outlived its master"
    done = {path: path.stat().st_mtime_ns for path in out.glob("*/*_camera.json")}
    assert 6 <= len(done) < TOTAL
    whole = contents(out)
    assert all(whole[name] == reference[name] for name in whole if "/" in name and "/." not in name)
    again = start(models, out, "--workers", 2, "--recycle", 3)  # and with fresh Blenders
    assert again.wait(120) == 0, again.stderr and again.stderr.read()
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
    assert_same(out, reference)


@pytest.mark.blender
@pytest.mark.slow
def test_blender_killed_in_mid_run_loses_nothing(
    models: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(models, out, "--workers", 1)
    deadline = time.monotonic() + 60
    while not list(out.glob("*/*_camera.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    for blender in children_of(process.pid):
        os.kill(blender, signal.SIGKILL)
    assert process.wait(120) == 0, process.stderr and process.stderr.read()
    assert_same(out, reference)


@pytest.mark.blender
@pytest.mark.slow
def test_failed_models_are_left_alone_until_asked_for(
    models: Path, reference: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for name, content in reference.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    arguments = [str(word) for word in (models, out, *OPTIONS)]
    assert main(arguments) == 0
    assert "5 broken models, listed in failures.jsonl" in capsys.readouterr().err
    assert_same(out, reference)
    assert main([*arguments, "--retry"]) == 0
    assert "03797390/empty: model_normalized.obj is empty" in capsys.readouterr().err
    assert_same(out, reference)
    assert main([*arguments, "--no-resume"]) == 2
    assert "choose another folder, or let it --resume" in capsys.readouterr().err


def run_with_ray(ray: Any, models: Path, out: Path) -> None:
    out.mkdir()
    result = RunResult()
    executor = RayExecutor(RenderSpec(out, SETTINGS, ModelLimits(), 1), RestartPolicy(), 2, ray)
    with StopRequest() as stop:
        try:
            run_jobs(
                plan(load_library(models), VIEWS, set()),
                executor,
                StopPolicy(),
                stop,
                result,
                lambda *_: None,
            )
        finally:
            executor.close()
    write_index(out, SETTINGS, result.failures, generator_facts(), "the licences of the source models apply")


class StandInRay:
    """What RayEngine uses of the module `ray`, done at once in this process."""

    class exceptions:  # as the module's own
        class RayActorError(Exception): ...

    def init(self, **options: Any) -> None:
        self.options, self.killed = options, 0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, **options: Any) -> Any:
        def made(kind: type) -> Any:
            return SimpleNamespace(remote=lambda *arguments: self._actor(kind(*arguments)))

        return made

    def _actor(self, actor: Any) -> Any:
        def method(name: str) -> Any:
            return SimpleNamespace(
                remote=lambda *arguments: (object(), getattr(actor, name)(*json.loads(json.dumps(arguments))))
            )  # plain data only, as over a wire

        return SimpleNamespace(run=method("run"), stop=method("stop"), close=method("close"))

    def wait(self, futures: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        return futures[:1], futures[1:]

    def get(self, future: Any) -> Any:
        return future[1]

    def kill(self, actor: Any) -> None:
        self.killed += 1

    def shutdown(self) -> None:
        assert self.killed == 2


class Future(tuple):  # type: ignore[type-arg]
    """A result that can be a key."""

    __hash__ = object.__hash__


class MortalRay(StandInRay):
    """The same, whose actors do nothing, and of which `lives` tells after how many jobs each is dead."""

    def __init__(self, *lives: int) -> None:
        self._lives = list(lives)

    def _actor(self, actor: Any) -> Any:
        left = [self._lives.pop()]

        def run(job: Any) -> Future:
            left[0] -= 1
            if left[0] < 0:
                return Future((object(), None))
            key, views = job["model"]["key"], len(job["views"])
            return Future((object(), Outcome(key, "done", views).as_json()))

        def close() -> Future:
            return Future((object(), actor.close()))

        return SimpleNamespace(run=SimpleNamespace(remote=run), close=SimpleNamespace(remote=close))

    def get(self, future: Any) -> Any:
        if future[1] is None:
            raise self.exceptions.RayActorError
        return future[1]


def test_dead_actor_costs_that_actor_and_its_job_goes_to_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcomes(*lives: int) -> list[str]:
        executor = RayExecutor(
            RenderSpec(tmp_path, SETTINGS, ModelLimits(), 1), RestartPolicy(), 2, MortalRay(*lives)
        )
        jobs = [job(name) for name in "abcd"]
        try:
            return sorted(found.model for found in executor.outcomes(iter(jobs)) if found)
        finally:
            executor.close()

    assert outcomes(1, 9) == [f"03797390/{name}" for name in "abcd"]
    assert (
        "a worker is lost, 1 go on: an actor of the cluster died (RayActorError)" in capsys.readouterr().err
    )
    with pytest.raises(BlenderError, match="an actor of the cluster died"):
        outcomes(1, 2)


@pytest.mark.blender
@pytest.mark.slow
def test_cluster_engine_makes_the_same_data_set_through_its_interface(
    models: Path, reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    stand_in = StandInRay()
    plain = stand_in._actor

    def hashable(actor: Any) -> Any:
        made = plain(actor)
        run = made.run.remote
        made.run = SimpleNamespace(remote=lambda *arguments: Future(run(*arguments)))
        return made

    monkeypatch.setattr(stand_in, "_actor", hashable)
    run_with_ray(stand_in, models, tmp_path / "out")
    assert_same(tmp_path / "out", reference)


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray, the extra [cluster], is not installed"
)
def test_ray_makes_the_same_data_set(models: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(
        prefix="r", ignore_cleanup_errors=True
    ) as short:  # for the names of its sockets
        run = library.run(
            Path(short),
            "synthetic.render",
            models,
            tmp_path / "out",
            *OPTIONS,
            "--engine",
            "ray",
            "--workers",
            2,
        )
    assert run.returncode == 0, run.stderr
    assert_same(tmp_path / "out", reference)


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_missing_ray_is_one_line(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(models), str(tmp_path / "out"), "--engine", "ray"]) == 2
    assert "add the extra [cluster]" in capsys.readouterr().err

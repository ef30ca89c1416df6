"""Training: exact resume, gradient accumulation, two processes, the divergence guard, and that it learns."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from gp3d_core.cameras import mean_camera, turn_camera
from gp3d_core.config import ConfigError
from gp3d_core.data import batches
from gp3d_core.distributed import World
from gp3d_core.guard import SCORE_LIMIT, DivergenceGuard
from gp3d_core.monitoring import fixed_latents
from gp3d_core.runfolder import RunError, RunFolder
from gp3d_core.signals import Interruption
from gp3d_core.snapshot import load_snapshot
from gp3d_core.training import (
    TrainingFailed,
    average_weights,
    build_state,
    crossed,
    ema_half_life,
    train,
    train_step,
)
from tests.core.micro import CAMERA_GENERATOR, MICRO, micro_config, micro_data, micro_state


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class StopAfter(Interruption):
    """An interruption that comes after a number of looks at it."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    @property
    def requested(self):
        self.looks -= 1
        return self.looks < 0


def run(folder, dataset, config, interruption=None):
    run_folder = RunFolder(folder)
    run_folder.claim(config, dataset.fingerprint)
    return train(config, dataset, run_folder, World(), interruption or Interruption())


def weights_of(state):
    return {f"{n}.{k}": v for n, m in state.modules.items() for k, v in m.state_dict().items()}


def moments_of(state):
    optimizers = state.optimizers.items()
    return {
        f"{n}.{i}.{k}": v
        for n, o in optimizers
        for i, moments in o.state_dict()["state"].items()
        for k, v in moments.items()
    }


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


@pytest.mark.parametrize("looks", [1, 3, 4])
def test_resumed_run_equals_one_that_never_stopped(tmp_path, looks):
    dataset, config = micro_data(tmp_path / "data"), micro_config(*CAMERA_GENERATOR)
    whole = run(tmp_path / "whole", dataset, config)
    stopped = run(tmp_path / "parts", dataset, config, StopAfter(looks))
    assert 0 < stopped.nimg < whole.nimg
    resumed = run(tmp_path / "parts", dataset, config)
    assert resumed.nimg == whole.nimg == 24
    assert_same(weights_of(resumed), weights_of(whole))
    assert_same(moments_of(resumed), moments_of(whole))


def test_run_folder_holds_what_it_should(tmp_path):
    dataset = micro_data(tmp_path / "data")
    run(tmp_path / "run", dataset, micro_config(*CAMERA_GENERATOR))
    folder = tmp_path / "run"
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss/generator" in line]
    assert [line["nimg"] for line in steps] == [8, 16, 24]
    assert all(
        math.isfinite(line[key]) for line in steps for key in ("loss/discriminator", "loss/r1_penalty")
    )
    assert all(line["cameras/spread_yaw"] > 0 for line in steps)
    assert any("metrics/nfs" in line for line in lines)
    assert json.loads((folder / "status.json").read_text())["phase"] == "done"
    assert json.loads((folder / "config.json").read_text())["preset"] == "tiny"
    assert [p.name for p in sorted((folder / "snapshots").iterdir())] == ["snapshot-000000.02.safetensors"]
    assert len(list((folder / "checkpoints").iterdir())) == 2
    assert list((folder / "tensorboard").iterdir())
    assert list((folder / "samples").glob("sample-*.png"))
    assert list((folder / "samples").glob("cameras-*.png"))
    assert load_snapshot(folder / "snapshots/snapshot-000000.02.safetensors").nimg == 24


def test_random_streams_do_not_depend_on_history(tmp_path):
    """A step from the same state at the same clock is the same step, whatever was drawn before."""
    states = [micro_state(tmp_path / name) for name in "ab"]
    torch.rand(17)
    for state in states:
        dataset = micro_data(tmp_path / "again")
        batch = next(batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=True))
        train_step(state, batch, World())
        torch.rand(5)
    assert_same(weights_of(states[0]), weights_of(states[1]))


def gradients_of(state, dataset, world=None, batch=8):
    """Gradients that the first update of each player would use."""
    caught = []
    for optimizer in state.optimizers.values():
        optimizer.step = lambda group=optimizer.param_groups: caught.append(
            [p.grad.clone() for p in group[0]["params"] if p.grad is not None]
        )
    whole = next(batches(dataset, nimg=0, batch=batch, part=slice(0, batch), seed=0, mirror=True))
    train_step(state, whole, world or World())
    return caught


def test_accumulated_gradients_are_the_mean_over_micro_batches(tmp_path):
    """Two micro-batches give the mean of the gradients of each alone (the release sums them)."""
    from gp3d_core import training

    dataset = micro_data(tmp_path / "data")
    state = micro_state(tmp_path / "a", "training.batch=8")
    both = gradients_of(state, dataset)[0]

    singles = []
    for index in range(2):
        alone = micro_state(tmp_path / f"b{index}", "training.batch=8")
        whole = next(batches(dataset, nimg=0, batch=8, part=slice(0, 8), seed=0, mirror=True))
        part = training.split(whole, 4)[index]
        world = World(rank=index)  # meets the randomness of micro-batch `index`
        caught = []
        alone.generator_optimizer.step = lambda caught=caught, s=alone: caught.append(
            [p.grad.clone() for p in s.generator.parameters() if p.grad is not None]
        )
        train_step(alone, part, world)
        singles.append(caught[0])
    for mean, first, second in zip(both, *singles, strict=True):
        assert torch.allclose(mean, (first + second) / 2, rtol=1e-5, atol=1e-7)
    assert any(not torch.allclose(first, second) for first, second in zip(*singles, strict=True))


TWO_PROCESSES = """
import sys, torch
from pathlib import Path
from gp3d_core.data import Dataset, batches
from gp3d_core.distributed import world
from gp3d_core.training import build_state, train_step
from tests.core.micro import micro_config
torch.set_num_threads(1)
with world("cpu") as here:
    dataset = Dataset(sys.argv[1])
    state = build_state(micro_config("training.batch=8"), dataset, here)
    local = 8 // here.size
    part = slice(here.rank * local, (here.rank + 1) * local)
    for batch, _ in zip(batches(dataset, nimg=0, batch=8, part=part, seed=0, mirror=True), range(2)):
        log, _ = train_step(state, batch, here)
    if here.leads:
        torch.save({"weights": {n: m.state_dict() for n, m in state.modules.items()}, "log": log}, sys.argv[2])
"""


def test_two_processes_take_the_steps_of_one_with_all_the_micro_batches(tmp_path):
    micro_data(tmp_path / "data")
    (tmp_path / "job.py").write_text(TWO_PROCESSES)
    results = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.pt"
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
        ]
        environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [*command, str(tmp_path / "job.py"), str(tmp_path / "data"), str(out)],
            check=True,
            env=environment,
            timeout=240,
            capture_output=True,
        )
        results.append(torch.load(out, weights_only=True))
    one, two = results
    assert one["log"] == pytest.approx(two["log"], rel=1e-4, abs=1e-6)
    for name in ("generator", "discriminator"):
        for key, value in one["weights"][name].items():
            assert torch.allclose(value, two["weights"][name][key], rtol=1e-3, atol=2e-5), (name, key)


def test_batch_that_processes_cannot_share_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be shared by 3 processes"):
        build_state(micro_config("training.batch=8"), micro_data(tmp_path), World(size=3))


def poison_once(monkeypatch, at_nimg, value):
    """Makes the log of one step report `value`, as a broken loss would."""
    done = []
    from gp3d_core import training

    original = training.mean_log

    def mean_log(logs, world):
        numbers = original(logs, world)
        if not done and clock["nimg"] >= at_nimg:
            done.append(True)
            numbers |= value
        clock["nimg"] += 4
        return numbers

    clock = {"nimg": 0}
    monkeypatch.setattr(training, "mean_log", mean_log)


@pytest.mark.parametrize("value", [{"loss/generator": math.nan}, {"scores/largest": SCORE_LIMIT * 2}])
def test_divergence_rolls_back_to_the_last_checkpoint_and_goes_on(tmp_path, monkeypatch, value):
    poison_once(monkeypatch, at_nimg=12, value=value)
    state = run(tmp_path / "run", micro_data(tmp_path / "data"), micro_config())
    assert (state.nimg, state.rollbacks) == (24, 1)
    lines = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    events = [line for line in lines if line.get("event") == "rollback"]
    assert len(events) == 1
    assert events[0]["nimg"] == 8
    assert all(torch.isfinite(value).all() for value in weights_of(state).values())


def test_not_finite_gradients_change_no_weight(tmp_path):
    state, dataset = micro_state(tmp_path / "a"), micro_data(tmp_path / "b")
    before = {k: v.clone() for k, v in state.generator.state_dict().items() if k != "mapping.w_avg"}
    next(state.generator.parameters()).register_hook(lambda g: g * math.nan)
    batch = next(batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=True))
    _, skipped = train_step(state, batch, World())
    assert skipped
    after = state.generator.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_run_that_keeps_diverging_gives_up_with_its_last_good_state(tmp_path):
    dataset = micro_data(tmp_path / "data")
    config = micro_config(
        "training.discriminator_lr=1e6", "training.generator_lr=1e6", "training.max_rollbacks=2"
    )
    with pytest.raises(TrainingFailed, match=r"diverged 3 times.*last good state.*checkpoint-0000000000"):
        run(tmp_path / "run", dataset, config)
    assert (tmp_path / "run/checkpoints/checkpoint-0000000000.safetensors").exists()


def test_guard_tolerates_two_skipped_steps_but_not_three():
    guard = DivergenceGuard()
    assert [guard.judge({}, skipped=s) for s in (True, True, False, True, True)] == [None] * 5
    assert "3 steps in a row" in guard.judge({}, skipped=True)


def test_average_weights_halves_the_distance_in_a_half_life(tmp_path):
    slow, fast = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    target = fast.weight - slow.weight.detach().clone()
    start = slow.weight.detach().clone()
    for _ in range(10):
        average_weights(slow, fast, 100, 1000)
    assert torch.allclose(slow.weight - start, target / 2, rtol=1e-5)


def test_half_life_ramps_up_with_the_images_seen(tmp_path):
    state = micro_state(tmp_path, "training.ema_kimg=1", "training.ema_rampup=0.1")
    halves = []
    for nimg in (0, 1000, 10_000, 50_000):
        state.nimg = nimg
        halves.append(ema_half_life(state))
    assert halves == [0, 100, 1000, 1000]


def test_crossed_counts_multiples_of_the_interval():
    hits = [n for n in range(4, 41, 4) if crossed(n - 4, n, 0.01)]
    assert hits == [12, 20, 32, 40]


def test_folder_of_another_run_is_refused_and_untouched(tmp_path):
    dataset, folder = micro_data(tmp_path / "data"), tmp_path / "run"
    run(folder, dataset, micro_config())
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match=r"training.batch = 4, asked for is 8"):
        RunFolder(folder).claim(micro_config("training.batch=8"), dataset.fingerprint)
    with pytest.raises(RunError, match="the data changed"):
        RunFolder(folder).claim(micro_config(), "other")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    RunFolder(folder).claim(micro_config("training.kimg=1"), dataset.fingerprint)


def test_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(RunError, match="is not a run folder"):
        RunFolder(tmp_path).claim(micro_config(), "")


def command_line(tmp_path, *more):
    settings = [word for item in (*MICRO, *more) for word in ("--set", item)]
    return [
        sys.executable,
        "-m",
        "gp3d_core.cli",
        "train",
        str(tmp_path / "data"),
        str(tmp_path / "run"),
        *settings,
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_leaves_cleanly(tmp_path, number):
    micro_data(tmp_path / "data")
    process = subprocess.Popen(
        command_line(tmp_path, "training.kimg=100"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    wait_for(tmp_path / "run/stats.jsonl")
    process.send_signal(number)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in messages
    assert json.loads((tmp_path / "run/status.json").read_text())["phase"] == "interrupted"


def test_killed_run_resumes_from_a_whole_checkpoint(tmp_path):
    micro_data(tmp_path / "data")
    process = subprocess.Popen(
        command_line(tmp_path, "training.kimg=100", "training.checkpoint_kimg=0.004"),
        stderr=subprocess.DEVNULL,
    )
    wait_for(tmp_path / "run/stats.jsonl")
    time.sleep(0.5)  # it now spends most of its time saving
    process.kill()
    process.wait()
    (tmp_path / "run/checkpoints/.checkpoint-9999999999.safetensors.1.tmp.safetensors").write_bytes(
        b"half a file"
    )
    newest = RunFolder(tmp_path / "run").list_checkpoints()[0]
    goal = int(newest.stem.split("-")[1]) + 8
    done = subprocess.run(
        command_line(tmp_path, f"training.kimg={goal / 1000}", "training.checkpoint_kimg=0.004"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"done at {goal} images" in done.stderr
    assert not list((tmp_path / "run").rglob(".*.tmp*"))


def test_full_disk_stops_with_one_line_and_leaves_the_last_good_state(tmp_path):
    """A limit on the size of files stands for the disk: the second checkpoint, which holds moments, does not fit."""
    micro_data(tmp_path / "data")
    first = subprocess.run(
        command_line(tmp_path, "training.kimg=0.004"), capture_output=True, check=False, timeout=120
    )
    assert first.returncode == 0
    before = {p: p.read_bytes() for p in (tmp_path / "run/checkpoints").iterdir()}
    largest = max(map(len, before.values()))
    done = subprocess.run(
        command_line(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2)),
    )
    assert done.returncode == 2
    told = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith("gp3d: ")]
    assert len(told) == 1, done.stderr
    assert "cannot be written" in told[0]
    assert "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in (tmp_path / "run/checkpoints").iterdir()} == before


def wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.1)


def test_training_learns_that_the_background_is_white(tmp_path):
    """After 60 steps the corners of generated views, which show nothing, are bright and the middle is not empty."""
    dataset = micro_data(tmp_path / "data")
    config = micro_config(
        "training.kimg=0.24", "training.checkpoint_kimg=1", "training.status_kimg=1", "training.batch=4"
    )
    state = run(tmp_path / "run", dataset, config)
    z, c = fixed_latents(state, 8)
    with torch.no_grad():
        seen = state.ema.view(state.ema.mapping(z, c), turn_camera(mean_camera(config.camera), 0.0, 8))
    corner, middle = seen.rgb[:, :, :3, :3].mean(), seen.rgb[:, :, 6:10, 6:10].mean()
    assert corner > 0.5
    assert middle < corner - 0.3

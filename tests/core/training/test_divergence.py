"""The divergence guard: what it notices, where it goes back to, and when it gives up."""

import json
import math

import pytest
import torch

from gp3d_core.datasets.dataset import batches
from gp3d_core.distributed import World
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.checkpointing import TrainingFailed
from gp3d_core.training.divergence import SCORE_LIMIT, DivergenceGuard
from gp3d_core.training.gan import train_step
from gp3d_core.training.step import mean_log
from tests.support.micro import (
    micro_config,
    micro_data,
    micro_state,
    run,
    weights_of,
)


def poison_once(monkeypatch, at_nimg, value):
    """Makes the log of one step report `value`, as a broken loss would."""
    done = []
    from gp3d_core.training import gan as training

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


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [{"loss/generator": torch.tensor(math.nan)}, {"scores/largest": torch.tensor(SCORE_LIMIT * 2)}],
)
def test_divergence_rolls_back_to_the_last_checkpoint_and_goes_on(tmp_path, monkeypatch, value):
    poison_once(monkeypatch, at_nimg=12, value=value)
    state = run(tmp_path / "run", micro_data(tmp_path / "data"), micro_config())
    assert (state.nimg, state.rollbacks) == (24, 1)
    lines = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    events = [line for line in lines if line.get("event") == "rollback"]
    assert [(event["nimg"], event["diverged_at"]) for event in events] == [(8, 16)]
    assert all(torch.isfinite(value).all() for value in weights_of(state).values())


@pytest.mark.slow
def test_every_rollback_is_noted_and_what_it_took_back_is_gone(tmp_path, monkeypatch):
    """The second rollback goes to the checkpoint before; snapshots from beyond it vanish, events stay."""
    from gp3d_core.training import gan as training

    original, steps = training.mean_log, []

    def mean_log(logs, world):
        steps.append(1)
        return original(logs, world) | (
            {"loss/generator": torch.tensor(math.nan)} if len(steps) in (5, 6) else {}
        )

    monkeypatch.setattr(training, "mean_log", mean_log)
    state = run(
        tmp_path / "run",
        micro_data(tmp_path / "data"),
        micro_config("training.snapshot_kimg=0.008", "training.kimg=0.02"),
    )
    lines = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    events = [line for line in lines if line.get("event") == "rollback"]
    assert [(event["diverged_at"], event["nimg"]) for event in events] == [(20, 16), (20, 8)]
    assert (state.rollbacks, state.nimg) == (2, 20)


def test_snapshots_of_images_that_were_taken_back_vanish(tmp_path):
    folder = RunFolder(tmp_path)
    folder.snapshots.mkdir()
    for nimg in (1000, 2000, 3000):
        folder.snapshot_path(nimg).touch()
    folder.forget_snapshots_after(2000)
    assert sorted(folder.snapshots.iterdir()) == [folder.snapshot_path(1000), folder.snapshot_path(2000)]


def test_not_finite_gradients_change_no_weight(tmp_path):
    state, dataset = micro_state(tmp_path / "a"), micro_data(tmp_path / "b")
    before = {k: v.clone() for k, v in state.generator.state_dict().items() if k != "mapping.w_avg"}
    next(state.generator.parameters()).register_hook(lambda g: g * math.nan)
    batch = next(batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=True))
    _, skipped = train_step(state, batch, World()).read()
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
    assert [guard.check_step({}, skipped=s) for s in (True, True, False, True, True)] == [None] * 5
    assert "3 steps in a row" in guard.check_step({}, skipped=True)


def test_largest_score_is_not_averaged_away():
    """One micro-batch whose scores explode is seen, however many others are calm."""
    logs = [
        {"scores/largest": torch.tensor(x), "loss/generator": torch.tensor(x)} for x in (1.0, 1.0, 900.0, 1.0)
    ]
    numbers = {name: float(value) for name, value in mean_log(logs, World()).items()}
    assert numbers == {"scores/largest": 900.0, "loss/generator": pytest.approx(225.75)}
    assert "exploded" in DivergenceGuard().check_step(numbers, skipped=False)

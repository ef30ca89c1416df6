"""Training that begins with a snapshot: whose weights, who moves first, exact resume, and what does not fit."""

import json

import pytest
import torch

from gp3d_core.cli.main import main
from gp3d_core.config.schema import ConfigError
from gp3d_core.snapshots.run_folder import RunError, RunFolder
from gp3d_core.snapshots.snapshot import load_checkpoint, save_snapshot
from gp3d_core.training.start import start_training
from gp3d_core.training.warm_start import check_transfer
from tests.support.micro import (
    MICRO,
    StopAfter,
    assert_same,
    micro_config,
    micro_data,
    micro_state,
    moments_of,
    run,
    weights_of,
)

HEAD_START = ("training.head_start_kimg=0.012", "training.kimg=0.032")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return micro_data(tmp_path_factory.mktemp("transfer") / "data")


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Another start: the state and its snapshot."""
    folder = tmp_path_factory.mktemp("before")
    state = micro_state(folder / "data", "training.seed=7")
    path = folder / "run" / "snapshots" / "snapshot-000001.00.safetensors"
    path.parent.mkdir(parents=True)
    save_snapshot(path, state.ema, state.config, state.classes, 1000)
    return state, path


def go(folder, data, config, init, interruption=None):
    return run(folder, data, config, interruption, init)


def parameters(module):
    return {name: value.clone() for name, value in module.named_parameters()}


def test_run_begins_with_the_snapshots_generator_and_a_discriminator_of_its_own(before, data, tmp_path):
    state, path = before
    go(tmp_path / "run", data, micro_config(), path, StopAfter(0))
    begun, fresh = micro_state(tmp_path / "data"), micro_state(tmp_path / "data")
    load_checkpoint(
        tmp_path / "run/checkpoints/checkpoint-0000000000.safetensors", begun.modules, begun.optimizers
    )
    for name in ("generator", "ema"):
        assert_same(begun.modules[name].state_dict(), state.ema.state_dict())
    assert_same(begun.discriminator.state_dict(), fresh.discriminator.state_dict())


def test_generator_waits_until_the_discriminator_has_caught_up(before, data, tmp_path):
    state, path = before
    config = micro_config(*HEAD_START)
    waiting = go(tmp_path / "run", data, config, path, StopAfter(3))
    assert waiting.nimg == 12  # three steps, no more than the head start
    assert_same(parameters(waiting.generator), parameters(state.ema))
    assert_same(parameters(waiting.ema), parameters(state.ema))
    fresh = micro_state(tmp_path / "data")
    assert not torch.equal(
        *(torch.cat([p.flatten() for p in s.discriminator.parameters()]) for s in (waiting, fresh))
    )
    moved = go(tmp_path / "run", data, config, path, StopAfter(1))
    assert moved.nimg == 16
    assert any(
        not torch.equal(p, dict(state.ema.named_parameters())[n])
        for n, p in moved.generator.named_parameters()
    )
    rows = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    assert "loss/generator" not in rows[0]
    assert "loss/discriminator" in rows[0]


@pytest.mark.slow
@pytest.mark.parametrize("looks", [2, 5])
def test_resumed_run_equals_one_that_never_stopped(before, data, tmp_path, looks):
    _, path = before
    config = micro_config(*HEAD_START)
    whole = go(tmp_path / "whole", data, config, path)
    stopped = go(tmp_path / "parts", data, config, path, StopAfter(looks))
    assert 0 < stopped.nimg < whole.nimg
    resumed = go(tmp_path / "parts", data, config, path)
    assert resumed.nimg == whole.nimg == 32
    assert_same(weights_of(resumed), weights_of(whole))
    assert_same(moments_of(resumed), moments_of(whole))


@pytest.mark.slow
def test_run_remembers_what_it_began_with(before, data, tmp_path):
    _, path = before
    config = micro_config("training.kimg=0.008")
    go(tmp_path / "run", data, config, path)
    other = tmp_path / "other.safetensors"
    other.write_bytes(path.read_bytes() + b" ")
    for init, said in ((None, "asked for is none"), (other, "asked for is other.safetensors")):
        with pytest.raises(RunError, match=said):
            RunFolder(tmp_path / "run").claim(config, data.fingerprint, init)
    copied = tmp_path / "copy" / path.name
    copied.parent.mkdir()
    copied.write_bytes(path.read_bytes())
    RunFolder(tmp_path / "run").claim(config, data.fingerprint, copied)  # the content counts
    go(tmp_path / "plain", data, config, None)
    with pytest.raises(RunError, match="began with `init` none"):
        RunFolder(tmp_path / "plain").claim(config, data.fingerprint, path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["generator.rgb_activation=sigmoid"],
            "has generator.rgb_activation = linear, the configuration sigmoid",
        ),
        (
            ["generator.z_dim=16"],
            "= 8, the configuration 16: use `preset` tiny, or `generator.z_dim`=8",
        ),
        (["camera.box=0.5"], "has camera.box = 0.55"),
        (["render.density_scale=8"], "has render.density_scale = 32"),
    ],
)
def test_snapshot_of_another_meaning_is_refused(before, data, changes, said):
    with pytest.raises(ConfigError, match=said):
        check_transfer(before[1], micro_config(*changes), data.classes)


def test_what_may_differ_is_what_training_is_told(before, data):
    told = ["training.batch=8", "loss.r1_gamma=3", "render.coarse_steps=8", "discriminator.class_gain=1"]
    check_transfer(before[1], micro_config(*told), data.classes)


def test_snapshot_of_other_classes_is_refused(before, data):
    swapped = [{"label": k, "name": name} for k, name in enumerate(("mushroom", "coffee mug"))]
    with pytest.raises(ConfigError, match="'coffee mug' is 'mushroom' in the data"):
        check_transfer(before[1], micro_config(), swapped)
    with pytest.raises(ConfigError, match="knows 2 classes, the data has 1 classes"):
        check_transfer(before[1], micro_config(), data.classes[:1])


def test_command_begins_with_the_newest_snapshot_of_a_run(before, data, tmp_path, capsys):
    run = before[1].parents[1]
    settings = [word for item in (*MICRO, "training.kimg=0.004") for word in ("--set", item)]
    command = ["train", str(data.path), str(tmp_path / "run"), *settings, "--device", "cpu", "--init"]
    assert main([*command, str(run)]) == 0
    assert json.loads((tmp_path / "run/init.json").read_text())["name"] == before[1].name
    capsys.readouterr()
    assert main([*command, str(tmp_path / "none.safetensors")]) == 2
    assert capsys.readouterr().err.startswith("gp3d: --init: nothing is at")
    config = micro_config("training.kimg=0.004", "generator.z_dim=16")
    with pytest.raises(ConfigError, match=r"generator\.z_dim"):
        start_training(config, data.path, tmp_path / "new", device="cpu", init=run)
    assert not (tmp_path / "new").exists()

"""Training: gradient accumulation, two processes, and that it learns."""

import os
import subprocess
import sys

import pytest
import torch

from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.dataset import batches
from gp3d_core.distributed import World
from gp3d_core.rendering.cameras import mean_camera, turn_camera
from gp3d_core.training.gan import build_state, train_step
from gp3d_core.training.gan_monitor import fixed_latents
from gp3d_core.training.step import average_weights, half_life, passed_multiple, split
from tests.support.micro import (
    assert_same,
    micro_config,
    micro_data,
    micro_state,
    run,
    weights_of,
)


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
    dataset = micro_data(tmp_path / "data")
    state = micro_state(tmp_path / "a", "training.batch=8")
    both = gradients_of(state, dataset)[0]

    singles = []
    for index in range(2):
        alone = micro_state(tmp_path / f"b{index}", "training.batch=8")
        whole = next(batches(dataset, nimg=0, batch=8, part=slice(0, 8), seed=0, mirror=True))
        part = split(whole, 4)[index]
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
from gp3d_core.datasets.dataset import Dataset, batches
from gp3d_core.distributed import world
from gp3d_core.training.gan import build_state, train_step
from tests.support.micro import micro_config
torch.set_num_threads(1)
with world("cpu") as here:
    dataset = Dataset(sys.argv[1])
    state = build_state(micro_config("training.batch=8"), dataset, here)
    local = 8 // here.size
    part = slice(here.rank * local, (here.rank + 1) * local)
    for batch, _ in zip(batches(dataset, nimg=0, batch=8, part=part, seed=0, mirror=True), range(2)):
        log, _ = train_step(state, batch, here).read()
    if here.leads:
        torch.save({"weights": {n: m.state_dict() for n, m in state.modules.items()}, "log": log}, sys.argv[2])
"""


@pytest.mark.slow
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


def test_depth_coded_between_other_distances_is_refused(tmp_path):
    from gp3d_core.training.start import check_depth_range

    dataset = micro_data(tmp_path)
    check_depth_range(micro_config(), dataset)
    with pytest.raises(ConfigError, match=r"`camera.t_near`=1.45 `camera.t_far`=2.55"):
        check_depth_range(micro_config("camera.t_near=1.0"), dataset)


def test_custom_angles_are_those_of_images(tmp_path):
    """With `custom` priors a fake has the yaw and pitch of an image, or its mirror image."""
    from gp3d_core.networks.latents import sample_latents

    config = micro_config("camera.yaw.kind=custom", "camera.pitch.kind=custom")
    angles = torch.tensor([[0.1, 1.5], [0.3, 1.7]])
    draws = torch.Generator().manual_seed(0)
    latents = sample_latents(config, torch.tensor([0, 1]), 2, 64, nimg=0, generator=draws, angles=angles)
    seen = {(round(yaw, 3), round(pitch, 3)) for yaw, pitch, _ in latents.prior.angles.tolist()}
    assert seen == {(0.1, 1.5), (-0.1, 1.5), (0.3, 1.7), (-0.3, 1.7)}
    labels = latents.c.argmax(dim=1)
    assert (latents.prior.angles[:, 1] > 1.6).eq(labels == 1).all()
    with pytest.raises(ConfigError, match="custom needs camera_angles"):
        build_state(config, micro_data(tmp_path), World())


def test_average_weights_halves_the_distance_in_a_half_life(tmp_path):
    torch.manual_seed(0)
    slow, fast = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    target = fast.weight - slow.weight.detach().clone()
    start = slow.weight.detach().clone()
    for _ in range(10):
        average_weights(slow, fast, 100, 1000)
    assert torch.allclose(slow.weight - start, target / 2, rtol=1e-5)


def test_half_life_ramps_up_with_the_images_seen():
    settings = micro_config("training.ema_kimg=1", "training.ema_rampup=0.1").training
    halves = [half_life(settings, nimg) for nimg in (0, 1000, 10_000, 50_000)]
    assert halves == [0, 100, 1000, 1000]


def test_crossed_counts_multiples_of_the_interval():
    hits = [n for n in range(4, 41, 4) if passed_multiple(n - 4, n, 0.01)]
    assert hits == [12, 20, 32, 40]


@pytest.mark.slow
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

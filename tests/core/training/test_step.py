"""A step's mechanics: the host never waits for the device, and what is checked late is checked the same."""

from __future__ import annotations

import copy
import json
import math
import sys

import pytest
import torch

from gp3d_core.datasets.dataset import Batch
from gp3d_core.distributed import World
from gp3d_core.training import gan as training
from gp3d_core.training import phases
from gp3d_core.training.gan import TrainState, train_step
from gp3d_core.training.step import adam, send_log, update
from tests.support.micro import (
    CAMERA_GENERATOR,
    StopAfter,
    assert_same,
    micro_config,
    micro_data,
    micro_state,
    moments_of,
    run,
    weights_of,
)
from tests.support.waiting import META, Arrivals, MetaStream, Numbers


def meta_batch(count, resolution):
    return Batch(
        images=torch.empty(count, 3, resolution, resolution, device=META),
        depth=torch.empty(count, 1, resolution, resolution, device=META),
        labels=torch.empty(count, dtype=torch.long, device=META),
        features=None,
    )


def to_meta(state: TrainState) -> None:
    for name in ("generator", "ema", "discriminator"):
        setattr(state, name, copy.deepcopy(state.modules[name]).to(META))
    state.generator_optimizer = adam(state.generator, 0.1)
    state.discriminator_optimizer = adam(state.discriminator, 0.1)
    state.labels = state.labels.to(META)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ("loss.augmentation=fixed",),
        (*CAMERA_GENERATOR, "camera_generator.force_mean_weight=1", "render.density_noise.start=1"),
        ("camera_generator.adjust=angles,fov,look_at", "camera_generator.regulariser=gradient_penalty"),
        ("camera.yaw.kind=hybrid", "depth_adaptor.others=equal"),
    ],
)
def test_step_asks_the_device_for_nothing_and_sends_it_nothing(tmp_path, monkeypatch, more):
    """All tensors of a step, R1 included, live on a device without numbers: to look at one raises."""
    state = micro_state(tmp_path, *more)
    to_meta(state)
    world = World(device=META)
    for module in (training, phases):
        if hasattr(module, "generator_for"):
            monkeypatch.setattr(module, "generator_for", lambda *key, device: MetaStream())
    monkeypatch.setattr(training, "send_log", lambda numbers, *rest: (numbers, rest))
    monkeypatch.setattr(
        sys.modules[torch.optim.Adam.__module__], "_device_dtype_check_for_fused", lambda *_: None
    )
    train_step(state, meta_batch(4, 16), world)  # constants are sent once
    state.nimg = 0  # R1 again
    with Arrivals() as arrivals, Numbers() as numbers:
        train_step(state, meta_batch(4, 16), world)
    assert not arrivals.found
    assert not numbers.found


def test_what_the_step_test_counts_is_found():
    """The counters see what a GPU would wait for."""
    x = torch.zeros(2, 4, device=META)
    with Arrivals() as arrivals, Numbers() as numbers:
        _ = x[:, [0, 1]], x[..., (0, 1)], x.new_tensor([1.0]), torch.tensor([2.0], device=META)
        _ = torch.zeros(3).to(META)
        with pytest.raises(RuntimeError, match="meta"):
            bool(x.sum() > 0)
    assert len(numbers.found) == 4
    assert len(arrivals.found) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_update_skips_on_the_device_and_counts_no_step(bad):
    torch.manual_seed(0)
    modules = [torch.nn.Linear(3, 2) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    optimizers = [adam(module, 0.1) for module in modules]
    for number in range(4):
        for module, optimizer, spoilt in zip(modules, optimizers, (False, True), strict=True):
            if spoilt and number == 2:  # one step more, of gradients that are not finite
                module(torch.ones(1, 3)).sum().backward()
                module.bias.grad[0] = bad
                before = {name: value.clone() for name, value in module.state_dict().items()}
                assert update(module, optimizer, World()).item() == 1.0
                assert_same(before, module.state_dict())
            module(torch.full((1, 3), float(number))).square().sum().backward()
            assert update(module, optimizer, World()).item() == 0.0
    assert_same(modules[0].state_dict(), modules[1].state_dict())


def test_adam_is_the_textbooks():
    """m = g, v = 0.99 v + 0.01 g², x -= lr · m / (sqrt(v / (1 - 0.99ⁿ)) + 1e-8)."""
    module = torch.nn.Linear(1, 1, bias=False).double()
    optimizer = adam(module, 0.01)
    x, v = module.weight.item(), 0.0
    for n in range(1, 6):
        gradient = 3.0 * n
        (module.weight * gradient).sum().backward()
        update(module, optimizer, World())
        v = 0.99 * v + 0.01 * gradient**2
        x -= 0.01 * gradient / (math.sqrt(v / (1 - 0.99**n)) + 1e-8)
        assert module.weight.item() == pytest.approx(x, rel=1e-9)


def test_log_arrives_as_it_was_sent():
    numbers = {"a": torch.tensor(1.5), "b": torch.tensor(math.nan)}
    log, skipped = send_log(numbers, torch.tensor(1.0), 8, {"p": 0.25}).read()
    assert (log["a"], log["p"], skipped, math.isnan(log["b"])) == (1.5, 0.25, True, True)


def poison(monkeypatch, at_nimg):
    """The step that brings a first run to `at_nimg` reports a score that is no number."""
    original = training.send_log

    def send(numbers, skipped, nimg, known):
        if nimg == at_nimg and not poisoned:
            poisoned.append(nimg)
            numbers = numbers | {"scores/fake": torch.tensor(math.nan)}
        return original(numbers, skipped, nimg, known)

    poisoned = []
    monkeypatch.setattr(training, "send_log", send)


@pytest.mark.slow
def test_trouble_seen_a_step_late_leads_to_the_same_run(tmp_path, monkeypatch):
    """Trouble at 12 images is seen after 16 in a run on its own, at once in one that is stopped there."""
    dataset = micro_data(tmp_path / "data")
    config = micro_config("training.status_kimg=1", "training.snapshot_kimg=1")
    states, events = [], []
    for name, looks in (("alone", 99), ("stopped", 3)):
        poison(monkeypatch, at_nimg=12)
        run(tmp_path / name, dataset, config, StopAfter(looks))
        states.append(run(tmp_path / name, dataset, config))
        lines = [json.loads(line) for line in (tmp_path / name / "stats.jsonl").read_text().splitlines()]
        events.append([(e["diverged_at"], e["nimg"]) for e in lines if e.get("event") == "rollback"])
    assert events == [[(12, 8)], [(12, 8)]]
    assert [state.rollbacks for state in states] == [1, 1]
    assert_same(weights_of(states[0]), weights_of(states[1]))
    assert_same(moments_of(states[0]), moments_of(states[1]))


def test_steps_between_checkpoints_are_read_one_step_late(tmp_path, monkeypatch):
    """While a step runs, the numbers of the one before are read; before anything is written all are."""
    order, original = [], training.send_log

    def send(numbers, skipped, nimg, known):
        order.append(f"sent {nimg}")
        log = original(numbers, skipped, nimg, known)
        read = type(log).read

        class Watched(type(log)):
            def read(self):
                order.append(f"read {nimg}")
                return read(self)

        return Watched(log.nimg, log.known, log.names, log.values, log.arrived)

    monkeypatch.setattr(training, "send_log", send)
    config = micro_config(
        "training.checkpoint_kimg=0.012",
        "training.status_kimg=1",
        "training.snapshot_kimg=1",
        "training.kimg=0.016",
    )
    run(tmp_path / "run", micro_data(tmp_path / "data"), config)
    assert order == ["sent 4", "sent 8", "read 4", "sent 12", "read 8", "read 12", "sent 16", "read 16"]

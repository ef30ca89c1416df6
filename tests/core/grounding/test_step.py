from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gp3d_core.cli.main import main
from gp3d_core.config.presets import resolve
from gp3d_core.config.schema import RunConfig
from gp3d_core.distributed import World
from gp3d_core.grounding import step as grounding
from gp3d_core.grounding import train
from gp3d_core.grounding.descriptors import initial_latents, whitened
from gp3d_core.grounding.ground_truth import Truth, load_truth
from gp3d_core.grounding.latent_prior import fit_latents, fit_mapping
from gp3d_core.grounding.step import (
    GroundState,
    _trained_views,
    build_ground_state,
    ground_step,
    measure,
)
from gp3d_core.grounding.train import open_task
from gp3d_core.networks.latents import one_hot
from gp3d_core.rng import generator_for
from gp3d_core.signals import Interruption
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import load_snapshot
from gp3d_core.training.step import StepLog
from tests.support.balls import write_balls
from tests.support.micro import finish
from tests.support.waiting import META, Arrivals, MetaStream, Numbers

MICRO = (
    "training.resolution=16",
    "patch.resolution=8",
    "training.batch=4",
    "training.micro_batch=4",
    "training.kimg=0.5",
    "training.status_kimg=0.03",
    "training.snapshot_kimg=0.9",
    "training.checkpoint_kimg=0.03",
    "training.ema_kimg=0.05",
    "generator.plane_resolution=16",
    "generator.plane_channels=8",
    "generator.z_dim=8",
    "generator.w_dim=32",
    "generator.channel_base=256",
    "generator.channel_max=32",
    "generator.decoder_width=32",
    "grounding.points=256",
    "grounding.rays=64",
    "grounding.held_out=1",
    "grounding.prior_steps=20",
)


def micro(*more: str) -> RunConfig:
    return resolve("box-64", [*MICRO, *more])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balls(tmp_path_factory.mktemp("balls"), points=4096)


@pytest.fixture(scope="module")
def truth(data: Path) -> Truth:
    return load_truth(data, 16)


def run(config: RunConfig, truth: Truth, path: Path, stop: Interruption | None = None) -> GroundState:
    folder = RunFolder(path)
    folder.claim(config, truth.fingerprint)
    return finish(open_task(config, truth, folder, World()), folder, stop)


@pytest.mark.slow
def test_grounding_learns_shape_colour_and_depth_of_views_it_never_saw(truth: Truth, tmp_path: Path) -> None:
    before = measure(build_ground_state(micro(), truth), truth)
    after = measure(run(micro(), truth, tmp_path / "run"), truth)
    assert after["held_out/iou"] > 0.85 > before["held_out/iou"] + 0.3
    assert after["held_out/psnr"] > 18 > before["held_out/psnr"] + 5
    assert after["held_out/depth_error"] < 0.03


def test_the_last_view_of_held_out_models_is_never_trained_on(truth: Truth) -> None:
    models = torch.arange(len(truth))
    held = set(truth.held_out(1).tolist())
    drawn: list[set[int]] = [set() for _ in models]
    for k in range(200):
        for model, view in enumerate(_trained_views(truth, models, 1, generator_for(k)).tolist()):
            drawn[model].add(view)
    for model, views in enumerate(truth.views.tolist()):
        assert drawn[model] == set(views[:-1] if model in held else views)


def test_step_asks_the_device_for_nothing_and_sends_it_nothing(
    truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tensors live on a device without numbers; the updates, one of them sparse, are left out."""
    state = build_ground_state(micro("grounding.point_share=0.5", "grounding.ray_share=0.4"), truth)
    for name in ("generator", "ema", "latents"):
        state.modules[name].to(META)
    away = truth.to(META)
    monkeypatch.setattr(grounding, "generator_for", lambda *key, device: MetaStream())
    monkeypatch.setattr(state, "optimizers", {})
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # not for this device
    state.latents.sparse = False
    models = torch.empty(4, dtype=torch.long, device=META)
    state.nimg = 480  # in the last stage, which has the losses of both others
    ground_step(state, away, models, World(device=META))  # constants are sent once
    with Arrivals() as arrivals, Numbers() as numbers:
        log = ground_step(state, away, models, World(device=META))
    assert {"points/occupancy", "points/colour", "rays/depth"} <= set(log.names)
    assert not arrivals.found
    assert not numbers.found


def test_whitened_components_are_those_of_the_singular_values() -> None:
    features = torch.randn(40, 7, generator=generator_for(1)) @ torch.diag(
        torch.tensor([5.0, 3, 2, 1, 0.5, 0.1, 0.1])
    )
    ours = whitened(features, 3)
    assert torch.allclose(ours.T @ ours / 40, torch.eye(3), atol=1e-5)
    u, _, _ = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False)
    assert torch.allclose((ours.T @ u[:, :3]).abs() / 40**0.5, torch.eye(3), atol=1e-4)


def test_latents_order_the_models_of_a_class_by_what_differs(truth: Truth) -> None:
    z = initial_latents(truth, 8, 1)
    assert torch.equal(z[:, 1:], torch.zeros(len(truth), 7))
    for label in (0, 1):
        sizes = z[truth.labels == label, 0]  # spheres of one colour differ in radius alone
        steps = sizes.diff()
        assert (steps > 0).all() or (steps < 0).all()


def test_prior_has_the_mean_and_covariance_of_the_latents_of_each_class() -> None:
    labels = torch.arange(400) % 2
    spread = torch.tensor([[1.0, 0.3, 0.1], [0.2, 0.5, 0.1]])[labels]
    latents = (
        torch.randn(400, 3, generator=generator_for("z")) * spread
        + torch.tensor([[0.3, 0, 0], [0, 0.3, 0]])[labels]
    )
    prior = fit_latents(latents, labels, 2)
    directions = latents / latents.square().mean(dim=1, keepdim=True).sqrt()
    z = torch.randn(400_000, 3, generator=generator_for("noise"))
    for label in (0, 1):
        drawn, known = prior.latents(z, torch.full((400_000,), label)), directions[labels == label]
        assert torch.allclose(drawn.mean(dim=0), known.mean(dim=0), atol=0.02)
        assert torch.allclose(torch.cov(drawn.T), torch.cov(known.T), atol=0.02)
    alone = fit_latents(latents[:1], torch.zeros(1, dtype=torch.long), 1)
    assert float((alone.latents(z[:9], torch.zeros(9, dtype=torch.long)) - directions[0]).abs().max()) < 0.01


@pytest.mark.slow
def test_fitted_mapping_gives_from_noise_what_latents_gave(truth: Truth) -> None:
    mapping = build_ground_state(micro("generator.w_dim=64"), truth).ema.mapping
    labels, chosen = torch.arange(200) % 2, torch.ones(500, dtype=torch.long)
    spread = torch.tensor([1.0, 1, 1, 1, 0.1, 0.1, 0.1, 0.1])  # as whitened components leave it
    middle = 0.5 * torch.randn(2, 8, generator=generator_for("m"))
    latents = spread * torch.randn(200, 8, generator=generator_for("z")) + middle[labels]
    prior, before = fit_latents(latents, labels, 2), copy.deepcopy(mapping)
    left = fit_mapping(mapping, prior, steps=300, seed=0, progress=False)
    z, c = torch.randn(500, 8, generator=generator_for("new")), one_hot(chosen, 2)
    wanted = before.network(prior.latents(z, chosen), c)
    after, unfitted = (
        float((part.network(z, c) - wanted).square().mean() / wanted.var(dim=0).mean())
        for part in (mapping, before)
    )
    assert after < 0.3 < 0.9 < unfitted
    assert left < 0.3
    assert not any(p.requires_grad for p in mapping.parameters())


@pytest.mark.slow
def test_command_writes_a_snapshot_that_generates_and_does_not_start_anew(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [part for pair in (("--set", item) for item in MICRO) for part in pair]
    command = ["ground", str(data), str(tmp_path / "run"), *options, "--set", "training.kimg=0.06"]
    assert main(command) == 0
    path = Path(capsys.readouterr().out.strip())
    snapshot = load_snapshot(path)
    assert snapshot.nimg == 60
    assert [record["name"] for record in snapshot.classes] == ["coffee mug", "mushroom"]
    events = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    assert {"held_out/psnr", "held_out/iou"} <= {key for event in events for key in event}
    assert any(event.get("event") == "prior" for event in events)
    assert main([*command, "--set", "training.kimg=0.06"]) == 0
    assert main([*command, "--set", "grounding.rays=32"]) == 2
    assert "grounding.rays = 64, asked for is 32" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_grounding_says_how_long_it_takes_and_how_to_get_a_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping_at_24(state: GroundState, truth: Truth, models: torch.Tensor, world: World) -> StepLog:
        log = ground_step(state, truth, models, world)
        if state.nimg == 24:
            os.kill(os.getpid(), signal.SIGINT)
        return log

    run = tmp_path / "run"
    options = [part for pair in (("--set", item) for item in MICRO) for part in pair]
    command = ["ground", str(data), str(run), *options, "--set", "training.kimg=0.06", "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(train, "ground_step", stopping_at_24)
        assert main(command) == 130
    said = capsys.readouterr().err
    assert said.startswith("60 objects, about ")
    assert (
        "stopped at 24 of 60 objects; the same command goes on, with --max-minutes 0 it makes a model" in said
    )
    assert main(["mesh", str(run), "--class", "mushroom"]) == 2
    assert "its command with --max-minutes 0 makes one of what was learnt so far" in capsys.readouterr().err
    assert main([*command, "--max-minutes", "0"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("time is up (0 min) at 24 of 60 objects"), (
        "no forecast of what does not happen"
    )
    assert load_snapshot(Path(captured.out.strip())).nimg == 24
    assert main(command) == 0
    assert capsys.readouterr().err.startswith("36 objects, about ")


def test_a_forecast_counts_only_what_is_left_and_leaves_the_grounding_as_it_was(
    truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = itertools.count(step=3)  # seconds: what every step takes, whatever else the machine does
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=readings.__next__))
    config, folder = micro(), RunFolder(tmp_path)
    task = train.open_task(config, truth, folder, World())
    before = {name: value.clone() for name, value in task.state.generator.state_dict().items()}
    task.state.nimg = 250
    whole, half = train.forecast(task, 500), train.forecast(task, 250)
    assert (whole.images, half.images, half.unit) == (500, 250, "objects")
    assert (whole.seconds, half.seconds) == (3 * 500 / 4, 3 * 250 / 4)  # of steps on four objects
    assert task.state.nimg == 250
    for name, value in task.state.generator.state_dict().items():
        assert torch.equal(value, before[name])


def test_cameras_that_are_not_known_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ground", str(data), str(tmp_path / "run"), "--preset", "imagenet-256"]) == 2
    assert "known ones, such as box-64" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

"""Training stage 1 of VQ3D: it learns, its pieces take turns, and it comes back from divergence."""

import json
import math

import pytest
import torch

from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import World
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import RunError, RunFolder
from gp3d_core.training.checkpointing import TrainingFailed
from gp3d_core.training.loop import Budget
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer
from gp3d_core.vq3d.models.critic import Critics
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.rendering.depth import DepthSpace
from gp3d_core.vq3d.toyscenes import write_toys
from gp3d_core.vq3d.training import tokenizer as training
from gp3d_core.vq3d.training.novel_views import sample_poses
from gp3d_core.vq3d.training.objective import (
    Phase,
    Pictures,
    learning_rate,
    sample_windows,
    tokenizer_phase,
)
from gp3d_core.vq3d.training.tokenizer import (
    build_tokenizer_state,
    open_task,
    start_tokenizer_training,
    train_step,
)
from gp3d_core.vq3d.training.true_views import true_pairs
from gp3d_core.vq3d.training.validation import load_depth, load_images, measure, novel_psnr
from tests.support.micro import StopAfter, assert_same, finish, weights_of

SMALL = (
    "training.resolution=16",
    "encoder.patch=4",
    "render.steps=12",
    "decoder.layers=1",
    "training.batch=4",
    "training.warm_up=0",
)
MICRO = (
    *SMALL,
    "training.kimg=0.024",
    "training.status_kimg=0.008",
    "training.snapshot_kimg=0.012",
    "training.checkpoint_kimg=0.008",
    "training.critic_from=0.3",
    "training.novel_from=0.5",
    "codebook.revive_every=2",
    "critic.r1_interval=2",
    "critic.mbstd_group=2",
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vq3d") / "toys"
    write_toys(folder, 40, 16, views=2, seed=0)
    return folder


def run(folder, data, interruption=None, *more):
    config, dataset, run_folder = resolve("tiny32", [*MICRO, *more]), Dataset(data), RunFolder(folder)
    run_folder.claim(config, dataset.fingerprint)
    budget = Budget(config.tokenizer_schedule.images)
    others = training.open_other_views(config, dataset)
    return finish(open_task(config, dataset, run_folder, World(), budget, others), run_folder, interruption)


@pytest.mark.slow
def test_resumed_run_draws_the_same_true_views_and_windows(tmp_path, data):
    more = (
        "loss.view=1",
        "loss.view_source=true",
        "training.patch=8",
        "training.stride=2",
        "codebook.round_from=0.4",
    )
    whole = run(tmp_path / "whole", data, None, *more)
    run(tmp_path / "parts", data, StopAfter(3), *more)
    resumed = run(tmp_path / "parts", data, None, *more)
    assert_same(weights_of(resumed), weights_of(whole))
    other = run(
        tmp_path / "other", data, None, "training.patch=8", "training.stride=2", "codebook.round_from=0.4"
    )
    assert not torch.equal(
        weights_of(other)["tokenizer.plane_decoder.mean"], weights_of(whole)["tokenizer.plane_decoder.mean"]
    )


def test_a_budget_of_minutes_ends_a_run_over_all_resumes(tmp_path, data):
    config = resolve("tiny32", MICRO)
    for _ in range(2):  # the first step uses it up, and nothing is left for a second
        ending = start_tokenizer_training(config, data, tmp_path / "run", device="cpu", max_minutes=1e-9)
        assert (
            ending.message == "time is up (1e-09 min) at 4 of 24 images; the same command with more goes on"
        )


def test_codes_start_from_the_data_and_are_revived_in_the_first_part():
    pictures = Pictures(torch.rand(4, 3, 16, 16), torch.rand(4, 16, 16))
    more = ("codebook.revive_every=2", "codebook.size=512")  # more codes than tokens
    state = build_tokenizer_state(resolve("tiny32", [*SMALL, *more]), [], CPU)
    progress = (0.1, 0.2, 0.3, 0.4, 0.6, 0.7)  # revived up to 0.5
    revived = [train_step(state, pictures, p, World()).read()[0]["codes/revived"] for p in progress]
    assert state.tokenizer.codebook.started
    assert [count > 0 for count in revived] == [False, True, False, True, False, False]


@pytest.mark.slow
def test_averaged_weights_follow_by_their_half_life_and_are_what_a_run_leaves(tmp_path, data):
    pictures = Pictures(torch.rand(4, 3, 16, 16), torch.rand(4, 16, 16))
    state = build_tokenizer_state(resolve("tiny32", SMALL), [], CPU)
    state.nimg = 396
    before = [p.clone() for p in state.ema.parameters()]
    train_step(state, pictures, 0.1, World())
    keep = 0.5 ** (4 / (0.05 * 400))
    for old, new, own in zip(before, state.ema.parameters(), state.tokenizer.parameters(), strict=True):
        assert torch.allclose(new, keep * old + (1 - keep) * own, atol=1e-6)
    state = run(tmp_path / "run", data)
    left = load_tokenizer(RunFolder(tmp_path / "run").snapshot_path(24)).tokenizer.state_dict()
    assert_same(left, state.ema.state_dict())
    assert not torch.equal(left["codebook.codes"], state.tokenizer.codebook.codes)


@pytest.mark.slow
def test_divergence_goes_back_to_the_last_checkpoint_and_gives_up_in_the_end(tmp_path, data, monkeypatch):
    original, broken = training.mean_log, []

    def mean_log(logs, world):
        numbers = original(logs, world)
        broken.append(len(broken) == 3)
        return numbers | ({"loss/tokenizer": torch.tensor(math.nan)} if broken[-1] else {})

    monkeypatch.setattr(training, "mean_log", mean_log)
    state = run(tmp_path / "run", data)
    assert (state.nimg, state.rollbacks) == (24, 1)
    lines = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    events = [line for line in lines if line.get("event") == "rollback"]
    assert [(event["nimg"], event["diverged_at"]) for event in events] == [(8, 16)]
    monkeypatch.setattr(training, "mean_log", lambda *_: {"loss/tokenizer": torch.tensor(math.nan)})
    with pytest.raises(TrainingFailed, match=r"diverged 2 times.*checkpoint-.*critic_lr"):
        run(tmp_path / "other", data, None, "training.max_rollbacks=1")


def learn(mode, pictures, steps=80):
    """Measures before and after some steps without critics, in another depth mode but the same seed, and the losses."""
    more = ("training.critic_from=2", "training.novel_from=2", "training.batch=8", "training.ema_rampup=0.01")
    config = resolve("tiny32", [*SMALL, *more, f"depth.mode={mode}", "training.lr=0.002"])
    state = build_tokenizer_state(config, [], CPU)
    before = measure(state.ema, pictures.images, pictures.target)
    losses = []
    for step in range(steps):
        chosen = torch.arange(8) + 8 * (step % 5)
        batch = Pictures(pictures.images[chosen], pictures.target[chosen])
        log, skipped = train_step(state, batch, 0.5 * step / steps, World()).read()
        assert not skipped
        losses.append(log["loss/tokenizer"])
    return before, measure(state.ema, pictures.images, pictures.target), losses


@pytest.mark.slow
def test_it_learns_and_pointwise_depth_makes_rays_thin(data):
    dataset, config = Dataset(data), resolve("tiny32")
    numbers = list(range(40))
    source = training.DepthSource(config, dataset.t_near, dataset.t_far)
    pictures = Pictures(load_images(dataset, numbers), source.target(load_depth(dataset, numbers)))
    before, point, losses = learn("point", pictures)
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    assert point["psnr"] > before["psnr"] + 1
    assert point["depth_correlation"] > 0.3
    assert point["code_usage"] > 0.25
    _, accum, _ = learn("accum", pictures)
    assert point["ray_spread"] < 0.5 * accum["ray_spread"]


def test_phases_take_their_turns():
    config = resolve("tiny32")
    turns = {p: Phase.at(config, p) for p in (0.0, 0.1, 0.15, 0.29, 0.3, 0.89, 0.9)}
    assert [turn.critic for turn in turns.values()] == [False, False, True, True, True, True, True]
    assert [turn.novel for turn in turns.values()] == [False] * 4 + [True] * 3
    assert [turn.settled for turn in turns.values()] == [False] * 6 + [True]
    assert turns[0.0].yaw == 7.5
    assert Phase.at(config, 1 / 6).yaw == pytest.approx((7.5 + 15) / 2)
    assert turns[0.89].yaw == 15.0
    off = resolve("tiny32", ["loss.novel=0", "loss.adversarial=0", "loss.perceptual=none"])
    assert not Phase.at(off, 0.5).critic
    assert not Phase.at(off, 0.5).novel


def changed(state, progress, pictures):
    """Which parts of the state one step at `progress` changes."""
    before = {name: value.clone() for name, value in weights_of(state).items()}
    train_step(state, pictures, progress, World())
    after = weights_of(state)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    parts = ("tokenizer.encoder", "tokenizer.codebook.codes", "tokenizer.plane_decoder", "critics.heads.0")
    return [any(name.startswith(part) for name in moved) for part in (*parts, "critics.heads.1")]


def test_step_changes_what_its_phase_says():
    pictures = Pictures(torch.rand(4, 3, 16, 16), torch.rand(4, 16, 16))
    state = build_tokenizer_state(resolve("tiny32", SMALL), [], CPU)
    state.nimg = 4  # away from the first step
    assert changed(state, 0.1, pictures) == [True, True, True, False, False]
    assert changed(state, 0.2, pictures) == [True, True, True, True, False]
    assert changed(state, 0.5, pictures) == [True, True, True, True, True]
    assert changed(state, 0.95, pictures) == [False, False, True, True, True]


@pytest.mark.parametrize("stop", [True, False])
def test_novel_views_teach_the_encoder_only_when_they_may(stop):
    config = resolve(
        "tiny32",
        [*SMALL, f"critic.stop_encoder={stop}", "loss.vq=0"]
        + [f"loss.{name}=0" for name in ("mse", "l1", "depth", "adversarial", "perceptual_weight")],
    )
    tokenizer, critics = Tokenizer(config), Critics(config)
    pictures = Pictures(torch.rand(4, 3, 16, 16), torch.rand(4, 16, 16))
    loss, *_ = tokenizer_phase(
        tokenizer, critics, pictures, Phase(True, True, True, False, 10.0), generator_for(0)
    )
    loss.backward()
    size = sum(float(p.grad.abs().sum()) for p in tokenizer.encoder.parameters() if p.grad is not None)
    assert (size == 0) == stop
    assert sum(float(p.grad.abs().sum()) for p in tokenizer.plane_decoder.parameters()) > 0


def test_novel_cameras_turn_about_the_middle_of_the_scene():
    config = resolve("tiny32")
    space = DepthSpace.of(config.camera)
    target = torch.full((500, 16, 16), 0.9)
    target[:, 4:12, 4:12] = float(space.normalise(torch.tensor(1 / 1.5)))
    poses = sample_poses(target, 12.0, config.camera, generator_for(0, "novel"))
    pivot = torch.tensor([0.0, 0.0, -0.5])
    arm = poses[:, :3, 3] - pivot
    distance = arm.norm(dim=1)
    assert torch.allclose(-poses[:, :3, 2] * distance[:, None], -arm, atol=1e-5)
    assert 1.5 * 0.9 < distance.min() < 1.5 * 0.92
    assert 1.5 * 1.08 < distance.max() < 1.5 * 1.1
    yaw, pitch = torch.atan2(-arm[:, 0], arm[:, 2]).rad2deg(), torch.asin(arm[:, 1] / distance).rad2deg()
    assert 11 < yaw.abs().max() < 12
    assert 4.5 < pitch.abs().max() < 5
    assert (yaw < -6).any()
    assert (yaw > 6).any()


def test_windows_lie_on_pixels():
    config = resolve("tiny32", ["training.patch=8"])
    size, windows = sample_windows(config, 200, generator_for(0, "windows"))
    corner = windows.offsets * 31
    assert size == 8
    assert torch.allclose(corner, corner.round(), atol=1e-5)
    assert corner.round().unique().tolist() == list(range(25))
    loss, *_ = tokenizer_phase(
        Tokenizer(config),
        Critics(config),
        Pictures(torch.rand(2, 3, 32, 32), torch.rand(2, 32, 32)),
        Phase(True, True, True, False, 5.0),
        generator_for(0),
    )
    assert torch.isfinite(loss)


def test_learning_rate_rises_and_falls():
    rates = [learning_rate(1.0, p, warm_up=0.1, final=0.5) for p in (0.0, 0.05, 0.1, 1.0)]
    assert rates == pytest.approx([0.0, 0.5 * 0.9969, 0.9878, 0.5], abs=1e-3)


@pytest.mark.slow
def test_run_leaves_a_snapshot_that_reconstructs_and_moves(tmp_path, data):
    ending = start_tokenizer_training(resolve("tiny32", MICRO), data, tmp_path / "run", device="cpu")
    assert (ending.exit_code, ending.message) == (0, "done at 24 images")
    snapshot = load_tokenizer(ending.snapshot)
    assert snapshot.config == resolve("tiny32", MICRO)
    assert (snapshot.nimg, len(snapshot.classes)) == (24, 6)
    assert not any(p.requires_grad for p in snapshot.tokenizer.parameters())
    dataset = Dataset(data)
    pairs = true_pairs(dataset, unit=1.0)
    assert len(pairs.source) == 80
    found = novel_psnr(snapshot.tokenizer, dataset, pairs)
    assert found["copied_psnr"] > found["novel_psnr"] > 5
    assert list((tmp_path / "run/samples").glob("views-*.png"))
    assert json.loads((tmp_path / "run/status.json").read_text())["phase"] == "done"


@pytest.mark.slow
def test_run_folder_of_another_run_is_refused(tmp_path, data):
    run(tmp_path / "run", data)
    with pytest.raises(RunError, match=r"depth.mode = point, asked for is accum"):
        start_tokenizer_training(
            resolve("tiny32", [*MICRO, "depth.mode=accum"]), data, tmp_path / "run", device="cpu"
        )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("decoder.cell=3", r"decoder.plane_resolution 16 must be 4 tokens of decoder.cell 3"),
        ("encoder.heads=5", r"encoder.width 64 cannot be shared by 5 heads"),
        ("encoder.patch=5", r"encoder.patch 5 does not divide training.resolution 32"),
        ("camera.near=1.5", r"must lie on either side of 1"),
        ("training.lr=0", r"training.lr expects a number above 0"),
        ("codebook.size=0", r"codebook.size expects a number from 1"),
        ("training.batch=6", r"training.batch 6 is not a multiple of critic.mbstd_group 4"),
        ("depth.mod=point", r"did you mean 'depth\.mode'"),
        ("depth.mode=points", r"expects one of point, accum"),
    ],
)
def test_configuration_that_cannot_be_is_refused(assignment, message):
    with pytest.raises(ConfigError, match=message):
        resolve("tiny32", [assignment])

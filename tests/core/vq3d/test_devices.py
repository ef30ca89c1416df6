"""VQ3D's steps on a device that is not the host: everything lives there, and nothing asks it for a number.

torch's "meta" device has no numbers: whoever asks for one, as a wait for a GPU does, or mixes it with the host, fails.
What only a card can tell is asked where there is one.
"""

import math
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from gp3d_core.datasets.dataset import Dataset, batches
from gp3d_core.distributed import World
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.loop import Budget
from gp3d_core.vq3d.config import CodebookConfig
from gp3d_core.vq3d.evaluation.run import SceneEvaluationOptions, evaluate_scenes
from gp3d_core.vq3d.files.metadata import find_tokenizer
from gp3d_core.vq3d.files.prior_file import build_prior, load_prior
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer
from gp3d_core.vq3d.models.codebook import Codebook
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.rendering.depth import DepthSource
from gp3d_core.vq3d.rendering.views import input_pose
from gp3d_core.vq3d.toyscenes import write_toys
from gp3d_core.vq3d.training import prior as prior_training
from gp3d_core.vq3d.training import tokenizer as training
from gp3d_core.vq3d.training.novel_views import NovelView
from gp3d_core.vq3d.training.objective import Pictures
from gp3d_core.vq3d.training.prior import build_state, mean_nll
from gp3d_core.vq3d.training.tokenizer import (
    build_tokenizer_state,
    train_step,
    training_batches,
)
from gp3d_core.vq3d.training.tokens import Tokens
from tests.support.micro import StopAfter, finish

CPU = torch.device("cpu")
ELSEWHERE = torch.device("meta")
CUDA = torch.device("cuda")
on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SMALL = (
    "training.resolution=16",
    "encoder.patch=4",
    "render.steps=8",
    "decoder.layers=1",
    "training.batch=4",
    "critic.r1_interval=2",
)
KINDS = {
    "critics alone": (),
    "moved pictures": ("loss.view=1",),
    "true views": ("loss.view=1", "loss.view_source=true", "critic.stop_encoder=false"),
    "relative depth in windows": (
        "depth.coding=relative",
        "depth.align=lsq",
        "training.patch=8",
        "training.stride=2",
    ),
    "fine samples": ("render.fine_steps=4", "decoder.head=query", "critic.shared=true"),
}
PHASES = (0.1, 0.2, 0.5, 0.95)


def pictures_on(device, config):
    coded = torch.rand(4, 1, 16, 16, device=device) * 2 - 1
    target = DepthSource(config, 0.5, 12.0).target(coded)
    images = torch.rand(4, 3, 16, 16, device=device)
    return Pictures(images, target, NovelView(input_pose(4, device), images, target, torch.ones_like(target)))


def as_if_away(monkeypatch):
    """Lets a step run on "meta", which has no generators, no half precision and no fused optimisers."""

    class Away(torch.Generator):
        device = ELSEWHERE

    def update(module, *_, **__):
        module.zero_grad()
        return torch.zeros((), device=ELSEWHERE)

    half = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda _, *more, **rest: half("cpu", *more, **rest))
    for part in (training, prior_training):
        monkeypatch.setattr(part, "generator_for", lambda *_, device: Away() if device == ELSEWHERE else None)
        monkeypatch.setattr(part, "update", update)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_step_lives_where_its_pictures_are_and_waits_for_nothing(kind, monkeypatch):
    as_if_away(monkeypatch)
    config = resolve("tiny32", [*SMALL, *KINDS[kind]])
    state = build_tokenizer_state(config, [], ELSEWHERE)
    state.tokenizer.codebook._known_started = True
    told = set()
    for progress in PHASES:
        log = train_step(state, pictures_on(ELSEWHERE, config), progress, World(device=ELSEWHERE))
        assert log.values.device == ELSEWHERE
        told |= set(log.names)
    assert {"loss/vq", "loss/depth", "loss/adversarial", "loss/novel", "loss/r1_main"} <= told
    assert ("loss/view" in told) == ("view" in kind or "moved" in kind)


def test_prior_learns_and_draws_where_it_lives(monkeypatch):
    as_if_away(monkeypatch)
    monkeypatch.setattr(prior_training, "_send", lambda part, device: torch.empty_like(part, device=device))
    config = resolve("tiny32", ["prior.layers=2", "prior.batch=4"])
    state = build_state(config, 3, ELSEWHERE)
    tokens = Tokens(torch.zeros(8, 2, 16, dtype=torch.uint16), torch.zeros(8, dtype=torch.long))
    log = prior_training.train_step(state, tokens, 0.5, World(device=ELSEWHERE))
    assert log.values.device == ELSEWHERE
    labels, draws = torch.zeros(2, dtype=torch.long, device=ELSEWHERE), torch.rand(2, 16, device=ELSEWHERE)
    codes = state.ema.sample(labels, draws, Sampling(temperature=0.9, top_k=5, top_p=0.9, guidance=2.0))
    assert (codes.device, tuple(codes.shape)) == (ELSEWHERE, (2, 16))


def test_codebook_asks_its_device_until_it_has_started_and_again_after_loading():
    book = Codebook(CodebookConfig(size=4, width=8))
    fresh = {name: value.clone() for name, value in book.state_dict().items()}
    assert book.awaits_start()
    book.start(torch.randn(2, 5, 8), torch.Generator())
    book.to(ELSEWHERE)  # which answers nobody
    assert not book.awaits_start()
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(book.started)
    again = Codebook(CodebookConfig(size=4, width=8))
    again.start(torch.randn(2, 5, 8), torch.Generator())
    again.load_state_dict(fresh)
    assert again.awaits_start()


@pytest.mark.slow
def test_training_and_scores_need_no_meshing_library():
    lacking = "trimesh", "mcubes", "xatlas", "fast_simplification", "imageio_ffmpeg"
    parts = "training.tokenizer", "training.prior", "evaluation.run", "files.export"
    used = [f"vq3d.{part}" for part in parts] + ["cli.main"]
    lines = [f"import sys; sys.modules.update(dict.fromkeys({lacking}))"]
    lines += [f"import gp3d_core.{name}" for name in used] + ["import benchmarks.vq3d_samples"]
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=root, check=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices") / "toys"
    write_toys(folder, 8, 16, views=3, seed=0)
    return Dataset(folder)


def test_true_views_are_read_ahead_and_those_of_a_step_depend_on_its_number_alone(data):
    config = resolve("tiny32", [*SMALL, *KINDS["true views"], "training.mirror=true"])
    source, seed = DepthSource(config, data.t_near, data.t_far), config.training.seed
    others = training.open_other_views(config, data)
    read = batches(data, nimg=8, batch=4, part=slice(0, 4), seed=seed, mirror=True)
    found = [
        made
        for _, made in zip(range(5), training_batches(config, data, source, others, 8, World()), strict=False)
    ]
    for k, (made, batch) in enumerate(zip(found, read, strict=False)):
        other, poses = others.beside(
            batch, torch.rand(4, generator=generator_for(seed, 8 + 4 * k, "other view"))
        )
        assert torch.equal(made.images, batch.images)
        assert torch.equal(made.other.rgb, (other.images + 1) / 2)
        assert torch.equal(made.other.target, source.target(other.depth))
        assert torch.equal(made.other.poses, poses)
    later = next(training_batches(config, data, source, others, 16, World()))
    assert torch.equal(later.other.rgb, found[2].other.rgb)
    assert not torch.equal(later.other.rgb, found[1].other.rgb)


@pytest.mark.gpu
@on_a_card
@pytest.mark.parametrize("precision", ["mixed", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_step_on_a_card_never_waits_for_it(kind, precision):
    more = (f"training.precision={precision}", "codebook.revive_every=1000")
    config = resolve("tiny32", [*SMALL, *KINDS[kind], *more])
    state = build_tokenizer_state(config, [], CUDA)
    for progress in (*PHASES, 0.5):  # starts codes and optimisers, sends constants
        log = train_step(state, pictures_on(CUDA, config), progress, World(device=CUDA))
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        for progress in PHASES:
            log = train_step(state, pictures_on(CUDA, config), progress, World(device=CUDA))
        torch.cuda.set_sync_debug_mode("default")
    assert [str(wait.message) for wait in waits if "called a synchronizing" in str(wait.message)] == []
    numbers, skipped = log.read()
    assert not skipped
    assert all(math.isfinite(value) for value in numbers.values())


@pytest.mark.gpu
@on_a_card
@pytest.mark.parametrize("precision", ["mixed", "float32"])
def test_card_and_host_reconstruct_and_draw_the_same(precision):
    config = resolve("tiny32", [*SMALL, "prior.layers=2", f"training.precision={precision}"])
    tolerance = 0.05 if precision == "mixed" else 2e-3  # convolutions in TF32
    torch.manual_seed(0)
    tokenizer, prior = Tokenizer(config).eval(), build_prior(config, 3).eval()
    codes = torch.arange(32).reshape(2, 16) % config.codebook.size
    labels, draws = torch.tensor([0, 1]), torch.rand(2, 16)
    with torch.no_grad():
        here = tokenizer.render(tokenizer.decode(codes), input_pose(2)).rgb
        nats, drawn = mean_nll(prior, codes, labels), prior.sample(labels, draws, Sampling())
        tokenizer.to(CUDA), prior.to(CUDA)
        there = tokenizer.render(tokenizer.decode(codes.to(CUDA)), input_pose(2, CUDA)).rgb
        assert tokenizer.encode(torch.rand(2, 3, 16, 16, device=CUDA)).codes.is_cuda
        assert torch.allclose(there.cpu(), here, atol=tolerance)
        assert mean_nll(prior, codes, labels) == pytest.approx(nats, rel=1e-3)
        same = prior.sample(labels.to(CUDA), draws.to(CUDA), Sampling()).cpu() == drawn
    assert same.float().mean() > 0.5  # one that is drawn otherwise changes all that follow


@pytest.mark.gpu
@on_a_card
def test_both_stages_train_resume_and_are_scored_on_a_card(tmp_path, data):
    brief = ("status", "snapshot", "checkpoint")
    more = [f"{part}.{name}_kimg=0.008" for part in ("training", "prior") for name in brief]
    more += ["training.kimg=0.024", "prior.kimg=0.024", "prior.batch=4", "prior.layers=1"]
    config = resolve("tiny32", [*SMALL, *KINDS["true views"], *more])
    card = World(device=CUDA)
    for looks in (3, 100):
        folder = RunFolder(tmp_path / "run")
        folder.claim(config, data.fingerprint)
        budget, others = Budget(config.tokenizer_schedule.images), training.open_other_views(config, data)
        task = training.open_task(config, data, folder, card, budget, others)
        state = finish(task, folder, StopAfter(looks))
        del folder, task
    assert state.nimg == 24
    snapshot = load_tokenizer(find_tokenizer(tmp_path / "run"), CUDA)
    for looks in (3, 100):
        folder = RunFolder(tmp_path / "prior")
        folder.claim(config.prior, data.fingerprint)
        budget = Budget(config.prior_schedule.images)
        task = prior_training.open_task(config, snapshot, data, folder, card, budget)
        learnt = finish(task, folder, StopAfter(looks))
        del folder, task
    assert learnt.nimg == 24
    prior = load_prior(tmp_path / "prior", snapshot.path, CUDA)
    scores = evaluate_scenes(snapshot, prior, data, tmp_path / "scores", SceneEvaluationOptions(images=4))
    assert {"vq3d/psnr", "vq3d/novel_psnr", "vq3d/nll"} <= {score.metric for score in scores}

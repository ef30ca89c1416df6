"""The prior sees only what came before, samples what it says, and learns a language."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.datasets.imagenet import UnknownClassError
from gp3d_core.distributed import World
from gp3d_core.hashing import digest
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.metadata import SnapshotError
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.loop import Budget
from gp3d_core.vq3d.config import PriorConfig, SamplingError
from gp3d_core.vq3d.files.prior_file import load_prior
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer
from gp3d_core.vq3d.models.prior import Prior, Sampling, choose, dropping, filtered, unigram_entropy
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.training import prior as prior_training
from gp3d_core.vq3d.training.prior import (
    PriorTask,
    build_state,
    mean_nll,
    open_task,
    start_prior_training,
    train_step,
)
from gp3d_core.vq3d.training.tokens import Tokens
from tests.support.micro import assert_same, finish
from tests.support.tiny_dataset import CLASSES, write_dataset

MICRO = (
    "training.resolution=16",
    "encoder.patch=4",
    "encoder.layers=1",
    "encoder.width=16",
    "codebook.size=16",
    "decoder.plane_resolution=16",
    "decoder.layers=1",
    "decoder.width=24",
    "render.steps=8",
    "prior.layers=1",
    "prior.heads=2",
    "prior.width=16",
    "prior.batch=4",
    "prior.kimg=0.024",
    "prior.status_kimg=0.008",
    "prior.snapshot_kimg=0.012",
    "prior.checkpoint_kimg=0.008",
)


def micro_prior(classes=3, codes=11, grid=3):
    torch.manual_seed(0)
    prior = Prior(PriorConfig(layers=2, heads=2, width=16), grid, codes, classes)
    with torch.no_grad():  # loud enough for differences to show
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return prior.eval()


def random_codes(count, codes=11, length=9):
    return torch.randint(codes, (count, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("changed", [0, 4, 8])
def test_a_code_changes_only_what_comes_after_it(changed):
    prior, codes, labels = micro_prior(), random_codes(2), torch.tensor([0, 2])
    other = codes.clone()
    other[:, changed] = (other[:, changed] + 1) % 11
    before, after = prior(codes, labels), prior(other, labels)
    assert torch.equal(before[:, : changed + 1], after[:, : changed + 1])
    assert (before[:, changed + 1 :] - after[:, changed + 1 :]).abs().sum() > 0 or changed == 8


def test_the_class_reaches_every_prediction():
    prior, codes = micro_prior(), random_codes(1)
    one, other = (prior(codes, torch.tensor([label])) for label in (0, 3))
    assert (one - other).abs().amax(dim=(0, 2)).min() > 1e-6


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_sampling_with_a_cache_is_sampling_from_full_passes(guidance):
    prior, sampling = micro_prior(), Sampling(temperature=0.9, top_k=6, guidance=guidance)
    labels, draws = torch.tensor([0, 2, 1]), torch.rand(3, 9, generator=generator_for("draws"))
    codes = torch.zeros(3, 9, dtype=torch.long)
    for j in range(9):
        logits = prior(codes, labels)[:, j]
        if guidance != 1:
            free = prior(codes, torch.full_like(labels, 3))[:, j]
            logits = free + guidance * (logits - free)
        codes[:, j] = choose(logits, draws[:, j], sampling)
    assert torch.equal(prior.sample(labels, draws, sampling), codes)


def test_a_row_does_not_depend_on_its_neighbours():
    prior, draws = micro_prior(), torch.rand(4, 9, generator=generator_for("rows"))
    labels = torch.tensor([0, 1, 2, 0])
    together = prior.sample(labels, draws, Sampling())
    alone = torch.cat([prior.sample(labels[k : k + 1], draws[k : k + 1], Sampling()) for k in range(4)])
    assert torch.equal(together, alone)


def test_training_hides_classes_and_drops_units_and_use_does_neither():
    prior, codes, labels = micro_prior(), random_codes(200), torch.arange(200) % 3
    with_class, without = prior(codes, labels), prior(codes, torch.full_like(labels, 3))
    prior.config = PriorConfig(layers=2, heads=2, width=16, dropout=0.0, class_dropout=0.7)
    logits = prior(codes, labels, generator_for("noise"))
    hidden = torch.isclose(logits, without, atol=1e-5).all(dim=2).all(dim=1)
    assert torch.allclose(logits[~hidden], with_class[~hidden], atol=1e-5)
    assert 0.6 < float(hidden.float().mean()) < 0.8
    prior.config = PriorConfig(layers=2, heads=2, width=16, dropout=0.5, class_dropout=0.0)
    assert (prior(codes, labels, generator_for("noise")) - with_class).abs().mean() > 1e-2
    assert torch.equal(prior(codes, labels), with_class)
    dropped = dropping(0.25, generator_for("noise"))(torch.ones(10_000))
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)


LOGITS = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(temperature=0), [0, 1, 0, 0]),
        (Sampling(temperature=0.5), [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        (Sampling(top_k=2), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(top_k=9), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(top_p=0.39), [0, 1, 0, 0]),
        (Sampling(top_p=0.6), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(top_p=0.75), [0, 4 / 9, 2 / 9, 3 / 9]),
        (Sampling(top_k=3, top_p=0.7), [0, 4 / 7, 0, 3 / 7]),
    ],
)
def test_filters_in_closed_form(sampling, expected):
    torch.testing.assert_close(
        filtered(LOGITS, sampling), torch.tensor([expected]).double(), atol=1e-6, rtol=0
    )


def test_codes_are_drawn_as_often_as_they_are_likely():
    draws = (torch.arange(10_000) + 0.5) / 10_000
    codes = choose(LOGITS.expand(10_000, -1), draws, Sampling())
    assert torch.bincount(codes).tolist() == [1000, 4000, 2000, 3000]


def test_nothing_unlikely_is_drawn_at_the_ends():
    logits = torch.tensor([[-math.inf, 0.0, -math.inf]]).expand(2, -1)
    assert choose(logits, torch.tensor([0.0, 1 - 2**-24]), Sampling()).tolist() == [1, 1]


@pytest.mark.parametrize("bad", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}, {"guidance": -0.5}])
def test_sampling_out_of_range_is_refused(bad):
    with pytest.raises(SamplingError, match="expected"):
        Sampling(**bad)


def test_unigram_entropy_of_a_uniform_and_of_a_constant_language():
    assert unigram_entropy(torch.arange(8).repeat(3), 16) == pytest.approx(math.log(8))
    assert unigram_entropy(torch.zeros(5, dtype=torch.long), 16) == 0


def toy_language(count=256):
    """Counting upwards from the class: every code is certain, and all are equally frequent."""
    labels = torch.arange(count) % 4
    codes = (labels[:, None] * 4 + torch.arange(16)) % 16
    return Tokens(codes[:, None].expand(-1, 2, -1).to(torch.uint16), labels)


@pytest.mark.slow
def test_the_prior_learns_more_than_how_frequent_codes_are():
    config = resolve(
        "tiny32", ["prior.layers=1", "prior.width=48", "prior.batch=32", "prior.kimg=3.2", "prior.lr=5e-3"]
    )
    tokens, world = toy_language(), World()
    state = build_state(config, 4, world.device)
    budget = Budget(config.prior_schedule.images)
    while budget.share_used(state) < 1:
        _, skipped = train_step(state, tokens, budget.share_used(state), world).read()
        assert not skipped
    entropy = unigram_entropy(tokens.codes.long(), config.codebook.size)
    nll = mean_nll(state.prior, tokens.codes[:, 0], tokens.labels)
    assert entropy == pytest.approx(math.log(16))
    assert nll < 0.5 * entropy
    sampled = state.prior.sample(torch.arange(4), torch.full((4, 16), 0.5), Sampling(temperature=0))
    assert torch.equal(sampled, tokens.codes[:4, 0].long())


@pytest.fixture(scope="module")
def stage_one(tmp_path_factory):
    """A tokenizer that was never trained, and the data it encodes."""
    folder = tmp_path_factory.mktemp("stage one")
    torch.manual_seed(3)
    config, data = resolve("tiny32", MICRO), write_dataset(folder / "data", images=8, resolution=16)
    rng = np.random.default_rng(0)
    for path in data.rglob("*.png"):
        if not path.stem.endswith("_depth"):  # noise, which no mirror leaves as it is
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    tokenizer, dataset = Tokenizer(config), Dataset(data)
    images = (
        torch.stack([torch.tensor(dataset.load_image(k)) for k in range(8)]).permute(0, 3, 1, 2) / 127.5 - 1
    )
    for _ in range(40):  # so that tokens are centred, and pictures have different codes
        tokenizer.train().encode(images)
    save_tokenizer(folder / "tokenizer.safetensors", tokenizer, config, [], 0)
    return folder / "tokenizer.safetensors", data


def begin(stage_one, folder, *more, minutes=math.inf) -> PriorTask:
    snapshot, dataset = load_tokenizer(stage_one[0]), Dataset(stage_one[1], needs_depth=False)
    config, run_folder = resolve("tiny32", [*MICRO, *more]), RunFolder(folder)
    run_folder.claim(config.prior, dataset.fingerprint)
    budget = Budget(config.prior_schedule.images, minutes)
    return open_task(config, snapshot, dataset, run_folder, World(), budget)


def train(task, interruption=None, minutes=math.inf):
    return finish(task, task.monitor.folder, interruption, minutes)


def test_a_run_leaves_its_averaged_weights(stage_one, tmp_path):
    state = train(begin(stage_one, tmp_path / "run"))
    left = load_prior(tmp_path / "run").prior.state_dict()
    assert_same(left, state.ema.state_dict())
    assert not torch.equal(left["head.weight"], state.prior.state_dict()["head.weight"])


def test_a_budget_of_minutes_ends_a_run_over_all_resumes(stage_one, tmp_path):
    for _ in range(2):  # the first step uses it up, and nothing is left for a second
        state = train(begin(stage_one, tmp_path / "run", minutes=1e-9), minutes=1e-9)
        assert state.nimg == 4
        del state


def test_a_run_that_diverges_goes_back_to_its_checkpoint(stage_one, tmp_path, monkeypatch):
    original, calls = prior_training.next_code_loss, []

    def next_code_loss(logits, codes):
        calls.append(len(calls) == 4)
        return original(logits, codes) * (math.nan if calls[-1] else 1.0)

    monkeypatch.setattr(prior_training, "next_code_loss", next_code_loss)
    state = train(begin(stage_one, tmp_path / "run"))
    # back from 20 to 16; the numbers of a step are read while the next one runs
    assert (state.nimg, state.rollbacks, len(calls)) == (24, 1, 8)


@pytest.mark.parametrize("mirror", [True, False])
def test_mirror_images_are_learnt_if_the_tokenizer_learnt_them(mirror, monkeypatch):
    seen, original = [], Tokens.batch
    monkeypatch.setattr(Tokens, "batch", lambda self, items: seen.extend(items) or original(self, items))
    config = resolve("tiny32", ["prior.layers=1", "prior.batch=4", f"training.mirror={mirror}"])
    state, world = build_state(config, 4, torch.device("cpu")), World()
    for _ in range(4 if mirror else 2):
        train_step(state, toy_language(8), 0.0, world)
    assert sorted(seen) == list(range(16 if mirror else 8))


def test_codes_are_computed_once_and_belong_to_their_tokenizer(stage_one, tmp_path):
    run = begin(stage_one, tmp_path / "run")
    table = tmp_path / "run" / "tokens.safetensors"
    dataset, snapshot = Dataset(stage_one[1]), load_tokenizer(stage_one[0])
    image = torch.tensor(dataset.load_image(5)).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert torch.equal(run.tokens.codes[5, 0].long(), snapshot.tokenizer.encode(image).codes[0])
    assert torch.equal(run.tokens.codes[5, 1].long(), snapshot.tokenizer.encode(image.flip(-1)).codes[0])
    assert not torch.equal(run.tokens.codes[5, 0], run.tokens.codes[5, 1])
    before = table.stat().st_mtime_ns
    del run
    begin(stage_one, tmp_path / "run")
    assert table.stat().st_mtime_ns == before
    other = tmp_path / "other.safetensors"
    save_tokenizer(other, Tokenizer(snapshot.config), snapshot.config, [], 0)
    with pytest.raises(SnapshotError, match="another run folder"):
        start_prior_training(snapshot.config, load_tokenizer(other), dataset, tmp_path / "run", device="cpu")
    assert table.stat().st_mtime_ns == before


def test_pictures_of_another_size_are_refused_before_anything_is_made(stage_one, tmp_path):
    snapshot = load_tokenizer(stage_one[0])
    dataset = Dataset(write_dataset(tmp_path / "data", images=4, resolution=32), needs_depth=False)
    with pytest.raises(DatasetError, match=r"has 32 px images, the tokenizer takes 16 px"):
        start_prior_training(snapshot.config, snapshot, dataset, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_prior_goes_with_its_tokenizer_and_its_classes_only(stage_one, tmp_path):
    run = begin(stage_one, tmp_path / "run")
    train(run)
    prior = load_prior(tmp_path / "run")
    assert digest(prior.tokenizer.path) == digest(stage_one[0])
    assert [record["name"] for record in prior.classes] == [record["name"] for record in CLASSES]
    assert prior.label_of("mushroom") == 1
    assert prior.label_of(None) == 2
    first = prior.sample("mushroom", [4, 7], Sampling())
    assert torch.equal(prior.sample("mushroom", [7], Sampling())[0], first[1])
    with pytest.raises(UnknownClassError, match="does not know"):
        prior.sample("goldfish", [0], Sampling())
    other = tmp_path / "other.safetensors"
    save_tokenizer(other, Tokenizer(prior.config), prior.config, [], 0)
    with pytest.raises(SnapshotError, match="predicts the codes of tokenizer"):
        load_prior(tmp_path / "run", other)
    with pytest.raises(SnapshotError, match="expected gp3d-vq3d-prior"):
        load_prior(stage_one[0])


def test_what_a_prior_never_learnt_is_refused(stage_one, tmp_path):
    guided = Sampling(guidance=2.0)
    train(begin(stage_one, tmp_path / "any"))
    prior = load_prior(tmp_path / "any")
    assert prior.sample("mushroom", [0], guided).shape == prior.sample(None, [0], Sampling()).shape == (1, 16)
    with pytest.raises(SamplingError, match="goes towards a class; name one with `class_name`"):
        prior.sample(None, [0], guided)
    run = begin(stage_one, tmp_path / "named", "prior.class_dropout=0")
    train(run)
    prior = load_prior(tmp_path / "named")
    assert prior.sample("mushroom", [0], Sampling()).shape == (1, 16)
    with pytest.raises(SamplingError, match=r"class_dropout=0.*leave `guidance` out"):
        prior.sample("mushroom", [0], guided)
    with pytest.raises(SamplingError, match=r"class_dropout=0.*name one with `class_name`"):
        prior.sample(None, [0], Sampling())

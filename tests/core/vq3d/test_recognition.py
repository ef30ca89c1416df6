"""A classifier names what VQ3D makes: right for real pictures, at chance for what an untrained tokenizer makes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.evaluation.samples import EvaluationError
from gp3d_core.hashing import digest
from gp3d_core.metrics import classifier
from gp3d_core.vq3d.evaluation import recognition
from gp3d_core.vq3d.evaluation.recognition import Namer
from gp3d_core.vq3d.evaluation.run import SceneEvaluationOptions, evaluate_scenes
from gp3d_core.vq3d.files.prior_file import TOKENIZER, build_prior, load_prior, save_prior
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.toyscenes import write_toys
from gp3d_core.vq3d.training.validation import load_images
from tests.support.tiny_dataset import write_dataset

CONFIG = resolve("tiny32", ["prior.layers=1", "prior.heads=2", "prior.width=16", "render.steps=8"])
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    write_toys(folder / "learnt", 180, 32, seed=0)
    write_toys(folder / "held", 36, 32, seed=1)
    return folder


@pytest.mark.slow
def test_namer_knows_the_hues_of_balls_and_nothing_of_noise(toys):
    namer = Namer(Dataset(toys / "learnt"), seed=0, device=CPU, steps=80)
    held = Dataset(toys / "held")
    names = [held.classes[label]["name"] for label in held.labels]
    assert namer.share(load_images(held, list(range(36))), names) > 0.85
    shuffled = names[18:] + names[:18]
    assert namer.share(load_images(held, list(range(36))), shuffled) < 0.5
    assert namer.share(torch.rand(36, 3, 32, 32), names) < 0.5


@pytest.mark.slow
def test_scores_tell_real_pictures_from_an_untrained_model(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(
        recognition,
        "train_classifier",
        lambda *a, steps, **k: classifier.train_classifier(*a, steps=80, **k),
    )
    torch.manual_seed(0)
    held = Dataset(toys / "held")
    classes = held.classes
    save_tokenizer(tmp_path / TOKENIZER, Tokenizer(CONFIG), CONFIG, classes, 0)
    tokenizer = load_tokenizer(tmp_path / TOKENIZER)

    save_prior(
        tmp_path / "p.safetensors", build_prior(CONFIG, 6), CONFIG, classes, 0, digest(tmp_path / TOKENIZER)
    )
    request = SceneEvaluationOptions(images=36, learnt=toys / "learnt")
    scores = evaluate_scenes(
        tokenizer, load_prior(tmp_path / "p.safetensors"), held, tmp_path / "out", request
    )
    named = {score.metric: score for score in scores}
    made = named["vq3d/recognised-reconstructions/canonical"]
    assert made.facts["floor"] > 0.85
    assert made.value < 0.5
    samples = named["vq3d/recognised-samples/canonical"]
    assert samples.n == 36
    assert set(samples.facts["per_class"]) == {record["name"] for record in classes}
    assert sum(samples.facts["per_class"].values()) / 6 == pytest.approx(samples.value)
    assert {f"vq3d/recognised-samples/yaw-{side}-20" for side in ("plus", "minus")} <= set(named)


def test_data_of_other_classes_cannot_name(toys, tmp_path):
    torch.manual_seed(0)
    save_tokenizer(tmp_path / TOKENIZER, Tokenizer(CONFIG), CONFIG, [], 0)
    write_dataset(tmp_path / "other", resolution=32)
    with pytest.raises(EvaluationError, match=r"`name_with` .*expected 32 px pictures of all classes"):
        evaluate_scenes(
            load_tokenizer(tmp_path / TOKENIZER),
            None,
            Dataset(toys / "held"),
            tmp_path / "out",
            SceneEvaluationOptions(images=8, learnt=tmp_path / "other"),
        )


def test_sides_are_named_after_the_cameras_that_saw_them():
    class Turning:
        def view(self, yaw):
            return SimpleNamespace(images=torch.full((1, 3, 4, 4), 0.5 + yaw / 100))

    namer = SimpleNamespace(share=lambda images, names: float(images.mean()))
    seen = recognition._from_all_sides(namer, [Turning(), Turning()], ["a", "b"])
    assert seen == pytest.approx({"canonical": 0.5, "yaw-plus-20": 0.7, "yaw-minus-20": 0.3})

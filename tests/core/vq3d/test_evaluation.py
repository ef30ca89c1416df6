"""What the scores of VQ3D rest on: the cameras of Fréchet distances, the names of classes, the test split."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.hashing import digest
from gp3d_core.metrics.frechet import fit_gaussian, frechet_distance
from gp3d_core.vq3d.evaluation.run import Subject, frechet_scores, pictures_of, prior_scores
from gp3d_core.vq3d.files.prior_file import TOKENIZER, build_prior, load_prior, save_prior
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.scenes.reconstruction import reconstruct
from gp3d_core.vq3d.toyscenes import write_toys
from gp3d_core.vq3d.training.validation import load_images

CONFIG = resolve("tiny32", ["prior.layers=1", "prior.heads=2", "prior.width=16", "render.steps=8"])


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores") / "held"
    write_toys(folder, 12, 32, views=2, seed=1)
    return Dataset(folder)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, held):
    path = tmp_path_factory.mktemp("model") / TOKENIZER
    torch.manual_seed(0)
    made = Tokenizer(CONFIG)
    with torch.no_grad():  # loud enough for views to differ
        made.plane_decoder.mean.add_(torch.randn_like(made.plane_decoder.mean) * 3)
    save_tokenizer(path, made, CONFIG, held.classes, 0)
    return load_tokenizer(path)


class Halves:
    """Features of a picture: mean colours of its left and right half, top and bottom."""

    prefix, weights, facts = "halves-", None, {"network": "halves"}

    def __call__(self, images):
        colour = images.float() / 255
        parts = [colour[..., :16], colour[..., 16:], colour[..., :16, :], colour[..., 16:, :]]
        return torch.cat([part.mean(dim=(2, 3)) for part in parts], dim=1).double(), None


@pytest.mark.slow
def test_frechet_distances_are_of_the_cameras_that_they_name(held, tokenizer):
    numbers = list(range(len(held)))
    scores = frechet_scores(Subject(tokenizer, None, held, numbers, "all"), Halves(), 0)
    found = {score.metric.rsplit("/", 1)[1]: score.value for score in scores}
    images = load_images(held, numbers)
    scenes = [reconstruct(tokenizer, image, "x") for image in images]
    real = fit_gaussian([Halves()(((images + 1) * 127.5).round())[0]])
    expected = {}
    for name, yaw in (("canonical", 0.0), ("yaw-plus-20", 20.0), ("yaw-minus-20", -20.0)):
        views = torch.cat([scene.view(yaw).rgb for scene in scenes])
        expected[name] = frechet_distance(real, fit_gaussian([Halves()((views * 255).round())[0]]))
    assert found == pytest.approx(expected, rel=0.02, abs=1e-4)
    assert len({round(value, 3) for value in expected.values()}) == 3


def test_prior_is_asked_for_the_class_by_name(held, tokenizer, tmp_path):
    torch.manual_seed(1)
    prior = build_prior(CONFIG, 6)
    with torch.no_grad():
        prior.embed_class.weight.mul_(100)
    save_tokenizer(tmp_path / TOKENIZER, tokenizer.tokenizer, CONFIG, held.classes, 0)
    hashed = digest(tmp_path / TOKENIZER)

    def nll(classes):
        save_prior(tmp_path / "p.safetensors", prior, CONFIG, classes, 0, hashed)
        loaded = load_prior(tmp_path / "p.safetensors")
        subject = Subject(loaded.tokenizer, loaded, held, list(range(len(held))), "all")
        return {score.metric: score.value for score in prior_scores(subject, loaded)}["vq3d/nll"]

    rows = [record | {"label": label} for label, record in enumerate(reversed(held.classes))]
    straight = nll(held.classes)
    with torch.no_grad():
        prior.embed_class.weight[:6] = prior.embed_class.weight[:6].flip(0).clone()
    assert nll(rows) == pytest.approx(straight, abs=1e-6)  # rows and names were turned together
    assert nll(held.classes) != pytest.approx(straight, abs=1e-3)


def test_test_split_of_a_manifest_is_measured(held, tmp_path):
    assert pictures_of(held, 100) == (list(range(24)), "all of the data set")
    views = json.loads((held.path / "cameras.json").read_text())["views"]
    models = sorted({view["model"] for view in views.values()})
    chosen = set(models[:3])
    copy = tmp_path / "copy"
    shutil.copytree(held.path, copy)
    record = {model: {"split": "test" if model in chosen else "train"} for model in models}
    (copy / "manifest.json").write_text(json.dumps({"models": record}))
    numbers, which = pictures_of(Dataset(copy), 100)
    assert {views[Dataset(copy).names[k]]["model"] for k in numbers} == chosen
    assert (len(numbers), which) == (6, "of models of the manifest's test split")
    few, which = pictures_of(Dataset(copy), 2)
    assert few == [numbers[0], numbers[-1]]
    assert which.startswith("2, evenly chosen")

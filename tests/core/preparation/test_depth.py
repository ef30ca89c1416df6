"""`gp3d data depth`: formulas, real transformers code on a tiny network, files of other programs, resuming."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from gp3d_core.cli.main import main
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.dataset_card import read_card
from gp3d_core.preparation.depth.making import disparity_to_depth, make_depth, stretch
from gp3d_core.preparation.depth.models import ModelDepth, ModelError, kind_of_family
from gp3d_core.signals import Interruption
from tests.support.noise_photos import NAMES, SIZE, codes, noise_photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of noise without depth, of two classes."""
    return noise_photos(tmp_path / "photos")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Depth Anything of a few thousand random weights with its image processor, as its authors' folders look."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        patch_size=14,
        reassemble_factors=[1, 0.5],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    network = DepthAnythingForDepthEstimation(config)
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.constant_(network.head.conv3.bias, 10.0)  # above the last ReLU
    folder = tmp_path_factory.mktemp("models") / "tiny"
    network.save_pretrained(folder)
    size = {"height": 56, "width": 56}
    DPTImageProcessorPil(size=size, keep_aspect_ratio=True, ensure_multiple_of=14).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nA model.\n")
    return folder


def open_model(folder: Path) -> ModelDepth:
    return ModelDepth(str(folder), kind=None, ratio=5 / 3, device=torch.device("cpu"))


def test_codes_read_back_as_the_normalised_depth() -> None:
    u = np.linspace(0, 1, 100_001)
    read = depth_codes.encode(u).astype(np.float64) / 65536 * 2 - 1
    assert depth_codes.encode(np.array([0.0, 0.5, 1.0])).tolist() == [0, 32768, 65535]
    np.testing.assert_allclose(
        read[u < 65535 / 65536], (2 * u - 1)[u < 65535 / 65536], rtol=0, atol=1.0001 / 65536
    )


@pytest.mark.parametrize(("t_near", "t_far"), [(0.75, 1.25), (1.45, 2.55), (0.1, 80.0)])
def test_disparity_becomes_depth_between_the_bounds(t_near: float, t_far: float) -> None:
    t = np.linspace(t_near, t_far, 1000)
    q = (1 / t - 1 / t_far) / (1 / t_near - 1 / t_far)
    np.testing.assert_allclose(
        disparity_to_depth(q, t_far / t_near), (t - t_near) / (t_far - t_near), rtol=1e-9, atol=1e-12
    )


def test_stretch_ignores_scale_and_shift_and_refuses_what_is_not_finite() -> None:
    values = np.random.default_rng(0).normal(size=(7, 9))
    np.testing.assert_allclose(stretch(3.7 * values - 11, "x"), stretch(values, "x"), atol=1e-12)
    assert (stretch(values, "x").min(), stretch(values, "x").max()) == (0, 1)
    assert (stretch(np.full((3, 3), 8.0), "x") == 0.5).all()
    with pytest.raises(DatasetError, match=r"a/b\.png.*finite"):
        stretch(np.array([[1.0, np.inf]]), "a/b.png")


@pytest.mark.slow
def test_maps_are_those_of_transformers_own_pipeline(photos: Path, model: Path) -> None:
    from transformers import pipeline

    report = make_depth(photos, open_model(model), Interruption(), batch=2)
    assert (report.made, report.kept, report.flat) == (5, 0, 0)
    dataset = Dataset(photos)
    estimate = pipeline("depth-estimation", model=str(model), device="cpu")
    for index, name in enumerate(NAMES):
        raw = estimate(Image.fromarray(dataset.load_image(dataset.names.index(name))))["predicted_depth"]
        q = raw.double().numpy()
        q = (q - q.min()) / (q.max() - q.min())
        t = 1 / (1 / 1.25 + q * (1 / 0.75 - 1 / 1.25))
        expected = (t - 0.75) / 0.5 * 65536
        found = codes(photos, name)
        assert np.abs(found - expected.clip(0, 65535)).max() < 8, index
        assert np.ptp(found) == 65535


@pytest.mark.slow
def test_near_is_small_for_disparity_and_large_predictions_are_far_for_metres(
    photos: Path, model: Path, tmp_path: Path
) -> None:
    metric = tmp_path / "metric"
    shutil.copytree(model, metric)
    config = json.loads((metric / "config.json").read_text())
    (metric / "config.json").write_text(
        json.dumps({**config, "depth_estimation_type": "metric", "max_depth": 80})
    )
    relative, absolute = open_model(model), open_model(metric)
    assert (relative.record["kind"], absolute.record["kind"]) == ("disparity", "depth")
    dataset = Dataset(photos, needs_depth=False)
    images = [dataset.load_image(i) for i in range(5)]
    for near, far in zip(relative.maps(NAMES, images), absolute.maps(NAMES, images), strict=True):
        # the same weights: ReLU and the sigmoid, which saturates, both rise
        assert spearmanr(near.ravel(), far.ravel()).statistic < -0.5


def test_an_interrupted_run_goes_on_and_ends_the_same(photos: Path, model: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(photos, whole)
    source = open_model(model)
    make_depth(whole, source, Interruption(), batch=2)
    stop = Interruption(signal=15)
    first = make_depth(photos, source, stop, batch=2)
    assert (first.made, first.stopped) == (2, True)
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*_depth.png")}
    second = make_depth(photos, source, Interruption(), batch=2)
    assert (second.made, second.kept, second.stopped) == (3, 2, False)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    for name in NAMES:
        np.testing.assert_array_equal(codes(photos, name), codes(whole, name))


def test_the_card_names_model_revision_and_licence(photos: Path, model: Path) -> None:
    make_depth(photos, open_model(model), Interruption())
    step = next(step for step in read_card(photos)["steps"] if step["step"] == "depth")
    assert step["model"] == "tiny"
    assert step["revision"].startswith("sha256:")
    assert step["license"] == "apache-2.0"
    assert "apache-2.0" in (photos / "README.md").read_text()


def test_other_settings_are_refused_unless_everything_is_replaced(
    photos: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "depth", str(photos), "--model", str(model)]
    assert main(command) == 0
    assert main([*command, "--ratio", "3"]) == 2
    assert "made with ratio = 1.66" in capsys.readouterr().err
    before = codes(photos, NAMES[0])
    assert main([*command, "--ratio", "3", "--overwrite"]) == 0
    assert (codes(photos, NAMES[0]) <= before).all()
    assert not np.array_equal(codes(photos, NAMES[0]), before)


def test_maps_of_unknown_origin_are_not_touched(photos: Path, model: Path) -> None:
    target = (photos / NAMES[0]).with_name("photo0_depth.png")
    Image.fromarray(np.full((SIZE, SIZE), 7, dtype=np.uint16)).save(target)
    with pytest.raises(DatasetError, match="unknown origin"):
        make_depth(photos, open_model(model), Interruption())
    assert (codes(photos, NAMES[0]) == 7).all()


def test_a_checkpoint_with_missing_weights_is_refused(model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    tensors = load_file(broken / "model.safetensors")
    del tensors["head.conv2.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"head\.conv2\.weight"):
        open_model(broken)


def test_models_that_cannot_be_had_are_one_line(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    for model, part in (("nobody/nothing", "give its folder"), (str(tmp_path / "empty"), "no depth model")):
        assert main(["data", "depth", str(photos), "--model", model]) == 2
        assert part in (error := capsys.readouterr().err)
        assert error.count("\n") == 1
    assert not list(photos.rglob("*_depth.png"))


def test_families_are_known_by_what_they_predict() -> None:
    from transformers import Dinov2Config, DPTConfig, GLPNConfig, ZoeDepthConfig

    assert kind_of_family(GLPNConfig()) == "depth"
    assert kind_of_family(ZoeDepthConfig()) == "depth"
    assert kind_of_family(DPTConfig()) == "disparity"
    dinov2 = Dinov2Config(out_features=["stage1"], reshape_hidden_states=False)
    assert kind_of_family(DPTConfig(backbone_config=dinov2)) == "depth"
    assert kind_of_family(Dinov2Config()) is None

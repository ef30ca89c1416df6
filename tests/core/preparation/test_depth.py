"""`gp3d data depth`: formulas, real transformers code on a tiny network, files of other programs, resuming."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
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
from gp3d_core.preparation.dataset_card import read_card, record_step
from gp3d_core.preparation.depth.files import FolderDepth
from gp3d_core.preparation.depth.making import disparity_to_depth, make_depth, stretch
from gp3d_core.preparation.depth.models import ModelDepth, ModelError, kind_of_family
from gp3d_core.signals import Interruption
from tests.support.png import png

SIZE = 40
NAMES = [f"n{i % 2}/photo{i}.jpg" for i in range(5)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of noise without depth, of two classes."""
    folder = tmp_path / "photos"
    for i, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(folder / name, quality=95)
    facts = {"labels": [[name, i % 2] for i, name in enumerate(NAMES)], "license": "CC0"}
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


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


def codes(folder: Path, name: str) -> np.ndarray:
    """The depth map beside an image."""
    path = (folder / name).with_suffix("")
    return np.asarray(Image.open(path.with_name(f"{path.name}_depth.png"))).astype(np.int64)


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


def write_maps(folder: Path, values: Sequence[np.ndarray], ending: str = "_depth.png") -> Path:
    """A file for each of NAMES."""
    for name, array in zip(NAMES, values, strict=True):
        path = (folder / name).with_suffix("")
        path = path.with_name(f"{path.name}{ending}")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array) if ending.endswith("npy") else Image.fromarray(array).save(path)
    return folder


def take(
    photos: Path, folder: Path, *, kind: str = "depth", ratio: float = 5 / 3, fit: str | None = None
) -> None:
    source = FolderDepth(folder, NAMES, kind=kind, ratio=ratio, fit=fit, origins={})  # type: ignore[arg-type]
    make_depth(photos, source, Interruption())


def test_16_bit_files_are_taken_code_by_code(photos: Path, tmp_path: Path) -> None:
    maps = [np.random.default_rng(i).integers(0, 65536, (SIZE, SIZE), dtype=np.uint16) for i in range(5)]
    take(photos, write_maps(tmp_path / "leres", maps))
    for name, expected in zip(NAMES, maps, strict=True):
        np.testing.assert_array_equal(codes(photos, name), expected)


def test_8_bit_files_and_first_channels_count_256(photos: Path, tmp_path: Path) -> None:
    maps = [np.random.default_rng(i).integers(0, 250, (SIZE, SIZE, 1), dtype=np.uint8) for i in range(5)]
    maps = [grey + np.array([0, 3, 5], dtype=np.uint8) for grey in maps]
    take(photos, write_maps(tmp_path / "zoe", maps, ".png"))
    np.testing.assert_array_equal(codes(photos, NAMES[3]), maps[3][..., 0].astype(np.int64) * 256)


def test_pictures_of_depth_are_not_taken_for_its_numbers(photos: Path, tmp_path: Path) -> None:
    """A colour map's red is no depth, and of 16 bits in several channels Pillow gives eight without a word."""
    colours = [np.random.default_rng(i).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for i in range(5)]
    with pytest.raises(DatasetError, match="is in colours, expected grey"):
        take(photos, write_maps(tmp_path / "inferno", colours))
    rows = np.tile(np.arange(SIZE, dtype=np.uint16)[:, None, None] * 300, (1, SIZE, 3))
    maps = write_maps(tmp_path / "wide", [rows[..., 0]] * 5)
    wide = png(SIZE, SIZE, 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows))
    (maps / NAMES[0]).with_name("photo0_depth.png").write_bytes(wide)
    with pytest.raises(DatasetError, match="several channels of 16 bits"):
        take(photos, maps)
    shutil.copytree(maps, photos, dirs_exist_ok=True)
    with pytest.raises(DatasetError, match=r"photo0_depth\.png has several channels of 16 bits"):
        Dataset(photos).load_depth(0)


def test_maps_that_lie_beside_the_photographs_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packing calls pictures otherwise; a map that is not upright is refused, and a photograph is no map."""
    source, out = tmp_path / "my photos", tmp_path / "out"
    ramp = np.tile((np.arange(60) * 1000).astype(np.uint16), (40, 1))
    for name in ("Größe/ä b.jpg", "Größe/c.png"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), (200, 30, 90)).save(source / name)
        depth = (source / name).with_suffix("").as_posix() + "_depth.png"
        Image.fromarray(ramp).save(depth)
    assert main(["data", "pack", str(source), str(out), "--resolution", "40"]) == 0
    command = ["data", "depth", str(out), "--from", str(source)]
    assert main(command) == 0
    for name in Dataset(out).names:
        np.testing.assert_array_equal(codes(out, name), ramp[:, 10:50])
    Image.fromarray(ramp.T).save(source / "Größe/c_depth.png")
    assert main([*command, "--overwrite"]) == 2
    assert "40x60, expected the proportions of the picture, 60x40; turn it upright" in capsys.readouterr().err
    (source / "Größe/c_depth.png").unlink()  # the photograph of the same name is still there
    assert main([*command, "--overwrite"]) == 2
    assert "c.png is in colours" in capsys.readouterr().err


def test_npy_files_are_stretched_and_disparity_is_turned(photos: Path, tmp_path: Path) -> None:
    t = np.linspace(2.0, 4.0, SIZE * SIZE).reshape(SIZE, SIZE)
    take(photos, write_maps(tmp_path / "maps", [7 / t + 3] * 5, ".npy"), kind="disparity", ratio=2.0)
    expected = ((t - 2) / 2 * 65536).round().clip(0, 65535)
    assert np.abs(codes(photos, NAMES[0]) - expected).max() <= 1


@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_maps_of_the_whole_picture_are_framed_like_it(photos: Path, tmp_path: Path, fit: str) -> None:
    """A ramp over a picture twice as wide as high: its middle half in a crop, all of it, within far, in a letterbox."""
    record_step(photos, "pack", {"settings": {"fit": fit}})
    ramp = np.tile((np.arange(4 * SIZE) + 0.5) / (4 * SIZE), (2 * SIZE, 1))
    maps = write_maps(tmp_path / "wide", [(ramp * 65536).astype(np.uint16)] * 5)
    assert main(["data", "depth", str(photos), "--from", str(maps)]) == 0
    found = codes(photos, NAMES[0])[SIZE // 2] / 65536
    place = (np.arange(SIZE) + 0.5) / SIZE
    expected = 0.25 + 0.5 * place if fit == "crop" else place
    np.testing.assert_allclose(found[3:-3], expected[3:-3], atol=1e-3)
    assert (codes(photos, NAMES[0])[0] == 65535).all() == (fit == "letterbox")


def test_wrong_depth_files_are_named(photos: Path, tmp_path: Path) -> None:
    good = write_maps(tmp_path / "maps", [np.zeros((SIZE, SIZE), dtype=np.uint16)] * 5)
    with pytest.raises(DatasetError, match="no folder"):
        take(photos, tmp_path / "nowhere")
    (good / "n0/photo0.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"photo0\.jpg has two maps"):
        take(photos, good)
    (good / "n0/photo0_depth.png").unlink()
    with pytest.raises(DatasetError, match=r"photo0\.npy cannot be read"):
        take(photos, good)
    (good / "n0/photo0.npy").unlink()
    with pytest.raises(DatasetError, match=r"1 of 5 images, the first is n0/photo0\.jpg"):
        take(photos, good)
    np.save(good / "n0/photo0.npy", np.zeros((8, 16)))
    with pytest.raises(DatasetError, match="16x8, expected a square"):
        take(photos, good)
    np.save(good / "n0/photo0.npy", np.full((8, 8), np.nan))
    with pytest.raises(DatasetError, match=r"depth map .*maps/n0/photo0\.npy: 0% of its numbers are"):
        take(photos, good)
    np.save(good / "n0/photo0.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="cannot be read"):
        take(photos, good)


@pytest.mark.parametrize("ending", [".png", ".npy"])
def test_metres_of_a_sensor_are_stretched_and_their_gaps_filled(
    photos: Path, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kinect and its kin: millimetres in 16 bits, 0 where nothing was measured; as codes that is a wall with holes."""
    metres = np.tile(np.linspace(1.0, 3.0, SIZE), (SIZE, 1))
    holes = metres.copy()
    holes[5:9, 0] = 0
    stored = (
        (holes * 1000).round().astype(np.uint16) if ending == ".png" else np.where(holes > 0, holes, np.nan)
    )
    maps = write_maps(tmp_path / "kinect", [stored] * 5, ending)
    command = ["data", "depth", str(photos), "--from", str(maps)]
    if ending == ".png":
        assert main(command) == 0
        assert "reach over 3.1% of the range of depth: nearly flat. If PNG" in capsys.readouterr().err
    assert main([*command, "--kind", "metric", "--overwrite"]) == 0
    said = capsys.readouterr().err
    assert "5 files have places without a distance" in said
    assert "with 0.2% the most" in said
    assert "nearly flat" not in said
    found = codes(photos, NAMES[0]) / 65536
    known, expected = holes > 0, np.minimum((metres - 1) / 2, 65535 / 65536)
    np.testing.assert_allclose(found[known], expected[known], atol=3e-4)
    np.testing.assert_allclose(found[~known], expected[~known], atol=0.03)  # a pixel beside
    assert main(["data", "depth", str(photos), "--model", "x", "--kind", "metric"]) == 2
    assert "--kind metric is for --from" in capsys.readouterr().err


def test_depth_that_grows_downwards_is_remarked(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    down = np.tile(np.arange(SIZE, dtype=np.uint16)[:, None] * 1000, (1, SIZE))
    for folder, array, warned in (("up", down[::-1].copy(), False), ("down", down, True)):
        maps = write_maps(tmp_path / folder, [array] * 5)
        assert main(["data", "depth", str(photos), "--from", str(maps), "--overwrite"]) == 0
        assert ("disparity" in capsys.readouterr().err) == warned


def test_depth_is_not_written_into_a_zip(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", photos)
    maps = write_maps(tmp_path / "maps", [np.zeros((SIZE, SIZE), dtype=np.uint16)] * 5)
    for source in (
        ["--from", str(maps)],
        ["--model", str(tmp_path / "no model")],
    ):  # it is not even asked for
        assert main(["data", "depth", archive, *source]) == 2
        assert "not a folder" in capsys.readouterr().err

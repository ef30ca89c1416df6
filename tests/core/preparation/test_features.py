"""`gp3d data features`: SqueezeNet, teachers of real libraries, the mapped file, flips, resuming."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gp3d_core.cli.main import main
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.networks.squeezenet import SqueezeNet
from gp3d_core.preparation.checking import check_dataset
from gp3d_core.preparation.features import (
    default_features_path,
    find_features,
    import_features,
    write_features,
)
from gp3d_core.preparation.teachers import Teacher, TeacherError, centred, open_teacher
from gp3d_core.signals import Interruption
from tests.support.full_disk import files_end_at
from tests.support.tiny_dataset import write_dataset

CPU = torch.device("cpu")


@pytest.fixture
def balls(tmp_path: Path) -> Path:
    """Seven balls, each picture with a dark left edge, so that its mirror image is another."""
    folder = write_dataset(tmp_path / "balls", images=7)
    for name in Dataset(folder).names:
        pixels = np.asarray(Image.open(folder / name)).copy()
        pixels[:, :3] = 9
        Image.fromarray(pixels).save(folder / name)
    return folder


def halves(log: list[int] | None = None) -> Teacher:
    """A teacher that knows the mean colours of the left and the right half of a picture; it notes its batches."""

    def embed(inputs: torch.Tensor) -> torch.Tensor:
        if log is not None:
            log.append(len(inputs))
        return inputs.reshape(len(inputs), 3, -1, 2, inputs.shape[-1] // 2).mean((2, 4)).flatten(1)

    def prepare(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1)

    return Teacher(6, prepare, embed, {"name": "halves"}, CPU)


def colours(image: np.ndarray) -> np.ndarray:
    """What `halves` should say of a picture [R,R,3]: [6], channels by halves."""
    middle = image.shape[1] // 2
    return np.stack([image[:, :middle].mean((0, 1)), image[:, middle:].mean((0, 1))], axis=-1).ravel()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file(SqueezeNet().state_dict(), path)
    return path


def test_squeezenet_has_the_published_size_and_shapes() -> None:
    network = SqueezeNet()
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_248_424
    shapes = []
    x = torch.zeros(1, 3, 224, 224)
    for layer in network.features:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    conv1, pool1, fire2, fire4, pool4, fire8, pool8, fire9 = (shapes[i] for i in (0, 2, 3, 5, 6, 10, 11, 12))
    assert conv1 == (96, 109, 109)
    assert pool1 == (96, 54, 54)
    assert (fire2, fire4) == ((128, 54, 54), (256, 54, 54))
    assert (pool4, fire8) == ((256, 27, 27), (512, 27, 27))
    assert (pool8, fire9) == ((512, 13, 13), (512, 13, 13))


def test_a_picture_is_scaled_cut_in_the_middle_and_normalised() -> None:
    pixels = np.zeros((256, 512, 3), dtype=np.uint8)
    pixels[16:240, 144:368] = (255, 128, 51)  # the middle 224²
    found = centred(Image.fromarray(pixels), 256, 224)
    expected = (torch.tensor([1.0, 128 / 255, 0.2]) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(found, expected[:, None, None].expand(3, 224, 224))
    assert centred(Image.fromarray(pixels[:100, :37]), 256, 224).shape == (3, 224, 224)


def test_rows_are_the_teachers_features_and_the_reader_finds_them(balls: Path, tmp_path: Path) -> None:
    dataset, out = Dataset(balls), tmp_path / "halves.f32"
    report = write_features(dataset, halves(), out, Interruption(), batch=3)
    assert (report.rows, report.dim, report.computed, report.stopped) == (7, 6, 7, False)
    assert out.stat().st_size == 4 * 7 * 6
    with ThreadPoolExecutor(2) as pool:
        order = np.array([5, 0, 3])
        found = Dataset(balls, features=out).batch(order, np.array([True, False, True]), pool).features
    assert found is not None
    for i, row in zip(order, found.numpy(), strict=True):  # mirror images share their image's
        np.testing.assert_allclose(row, colours(dataset.load_image(i)), rtol=1e-5)


def test_a_disk_that_has_no_room_for_all_of_the_table_is_told_before_anything_is_computed(
    balls: Path, tmp_path: Path
) -> None:
    """Written through memory, a full disk would kill the process without a word."""
    out, batches = tmp_path / "halves.f32", list[int]()
    with files_end_at(100), pytest.raises(OSError, match="too large") as error:
        write_features(Dataset(balls), halves(batches), out, Interruption(), batch=3)
    assert error.value.filename == str(out)
    assert not batches


def test_with_flips_mirror_images_have_features_of_their_own(balls: Path, tmp_path: Path) -> None:
    dataset, out = Dataset(balls), tmp_path / "halves.f32"
    write_features(dataset, halves(), out, Interruption(), flips=True, batch=4)
    assert out.stat().st_size == 4 * 14 * 6
    trained = Dataset(balls, features=out)
    everything = np.arange(7)
    with ThreadPoolExecutor(2) as pool:
        straight = trained.batch(everything, np.zeros(7, dtype=bool), pool).features
        mirrored = trained.batch(everything, np.ones(7, dtype=bool), pool).features
        few = trained.subset(3).batch(np.arange(3), np.ones(3, dtype=bool), pool).features
    assert straight is not None
    assert mirrored is not None
    assert few is not None
    for i in everything:
        image = dataset.load_image(i)
        np.testing.assert_allclose(straight[i], colours(image), rtol=1e-5)
        np.testing.assert_allclose(mirrored[i], colours(image[:, ::-1]), rtol=1e-5)
    assert (straight != mirrored).any(dim=1).all()
    places = [dataset.names.index(name) for name in trained.subset(3).names]
    torch.testing.assert_close(few, mirrored[places])
    description = tmp_path / "halves_desc.json"
    facts = json.loads(description.read_text())
    del facts["flipped_filepath_to_idx"]
    description.write_text(json.dumps(facts))
    assert trained.fingerprint != Dataset(balls, features=out).fingerprint


def test_an_interrupted_run_goes_on_where_it_was(balls: Path, tmp_path: Path) -> None:
    dataset = Dataset(balls)
    whole, parts = tmp_path / "whole.f32", tmp_path / "parts.f32"
    write_features(dataset, halves(), whole, Interruption(), batch=2)
    stop = Interruption()
    log: list[int] = []
    teacher = halves(log)
    seen: list[int] = []

    def embed(inputs: torch.Tensor) -> torch.Tensor:
        seen.append(len(inputs))
        if len(seen) == 2:
            stop.signal = 2
        return teacher.embed(inputs)

    first = write_features(
        dataset, Teacher(6, teacher.prepare, embed, teacher.facts, CPU), parts, stop, batch=2
    )
    assert (first.computed, first.stopped) == (4, True)
    assert not parts.exists()
    log.clear()
    second = write_features(dataset, teacher, parts, Interruption(), batch=2)
    assert (second.computed, log) == (3, [2, 1])
    assert parts.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.glob(".parts*")] == []
    third = write_features(dataset, teacher, parts, Interruption(), batch=2)
    assert third.computed == 0


def test_another_teacher_or_other_data_is_refused(balls: Path, tmp_path: Path) -> None:
    out = tmp_path / "halves.f32"
    write_features(Dataset(balls), halves(), out, Interruption())
    other = halves()
    other.facts["name"] = "thirds"
    with pytest.raises(DatasetError, match="another teacher"):
        write_features(Dataset(balls), other, out, Interruption())
    with pytest.raises(DatasetError, match="another teacher"):
        write_features(Dataset(balls), halves(), out, Interruption(), flips=True)
    Image.new("RGB", (16, 16)).save(balls / "n07734744/new.png")
    with pytest.raises(DatasetError, match="no label"):
        Dataset(balls, needs_depth=False)


def test_a_flipped_row_beyond_the_table_is_refused(balls: Path, tmp_path: Path) -> None:
    out = tmp_path / "halves.f32"
    write_features(Dataset(balls), halves(), out, Interruption(), flips=True)
    description = tmp_path / "halves_desc.json"
    facts = json.loads(description.read_text())
    name = next(iter(facts["flipped_filepath_to_idx"]))
    facts["flipped_filepath_to_idx"][name] = 14
    description.write_text(json.dumps(facts))
    with pytest.raises(DatasetError, match=f"0 to 13 for {name}, found 14"):
        Dataset(balls, features=out)


def test_the_squeezenet_teacher_through_the_command(
    balls: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = "torchvision:squeezenet1_0"
    assert main(["data", "features", str(balls), "--teacher", teacher, "--weights", str(weights)]) == 0
    out = default_features_path(balls, teacher)
    assert find_features(balls) == out
    assert str(out) in capsys.readouterr().out
    facts = json.loads((out.parent / f"{out.stem}_desc.json").read_text())
    assert facts["shape"] == [7, 512]
    assert facts["teacher"]["name"] == teacher
    network = SqueezeNet().eval()
    from safetensors.torch import load_file

    network.load_state_dict(load_file(weights))
    dataset = Dataset(balls)
    image = Image.fromarray(dataset.load_image(4))
    with torch.no_grad():
        expected = network.features(centred(image, 256, 224)[None]).mean((2, 3))[0]
    row = np.fromfile(out, "<f4").reshape(7, 512)[4]
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ending", [".npy", ".safetensors"])
def test_features_of_another_program_are_taken_over(balls: Path, tmp_path: Path, ending: str) -> None:
    table = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float16)
    file = tmp_path / f"mine{ending}"
    if ending == ".npy":
        np.save(file, table)
    else:
        save_file({"features": torch.from_numpy(table)}, file)
    assert main(["data", "features", str(balls), "--teacher", str(file)]) == 0
    out = default_features_path(balls, str(file))
    np.testing.assert_array_equal(np.fromfile(out, "<f4").reshape(7, 5), table.astype(np.float32))
    assert Dataset(balls, features=out).feature_dim == 5


def test_a_table_that_has_changed_is_not_taken_for_the_old_one(balls: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.npy", tmp_path / "mine.f32"
    np.save(file, np.zeros((7, 3), dtype=np.float32))
    import_features(Dataset(balls), file, out)
    assert import_features(Dataset(balls), file, out).computed == 0
    np.save(file, np.ones((7, 3), dtype=np.float32))
    with pytest.raises(DatasetError, match="other data"):
        import_features(Dataset(balls), file, out)


def test_features_of_pictures_that_have_changed_since_are_remarked(balls: Path, tmp_path: Path) -> None:
    out = tmp_path / "halves.f32"
    write_features(Dataset(balls), halves(), out, Interruption())
    assert not any("older" in line for line in check_dataset(balls, features=out).lines())
    name = Dataset(balls).names[0]
    Image.new("RGB", (16, 16), "green").save(balls / name)
    report = check_dataset(balls, features=out)
    assert report.sound
    assert any("features of other or older images" in line for line in report.lines())


def test_dots_and_brackets_in_names_do_not_mix_data_sets_up(tmp_path: Path) -> None:
    paths = [default_features_path(tmp_path / name, "timm:x") for name in ("v1.5", "v1.6", "v[1].zip")]
    assert [path.name for path in paths] == ["v1.5_timm-x.f32", "v1.6_timm-x.f32", "v[1]_timm-x.f32"]
    for path in paths:
        path.touch()
    for name, path in zip(("v1.5", "v1.6", "v[1].zip"), paths, strict=True):
        assert find_features(tmp_path / name) == path


def test_wrong_tables_are_refused(balls: Path, tmp_path: Path) -> None:
    dataset, file, out = Dataset(balls), tmp_path / "mine.npy", tmp_path / "out.f32"
    bad = np.zeros((7, 3), dtype=np.float32)
    bad[2, 1] = np.nan
    for table, said in (
        (np.zeros((6, 3)), r"expected floating-point features \[7, D\]"),
        (np.zeros((7, 3), dtype=np.int64), "found int64"),
        (bad, "finite"),
        (np.array([{}]), "cannot be read"),
    ):
        np.save(file, table, allow_pickle=True)
        with pytest.raises(DatasetError, match=said):
            import_features(dataset, file, out)
    assert not out.exists()
    with pytest.raises(DatasetError, match="cannot be read"):
        import_features(dataset, tmp_path / "nowhere.safetensors", out)


def test_clip_features_are_the_projected_embeddings(tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=12,
    )
    network = CLIPVisionModelWithProjection(config).eval()
    folder = tmp_path / "clip"
    network.save_pretrained(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor.save_pretrained(folder)
    images = [np.random.default_rng(i).integers(0, 255, (40, 40, 3), dtype=np.uint8) for i in range(3)]
    found = open_teacher(f"clip:{folder}", None, CPU).encode(images)
    with torch.no_grad():
        inputs = processor(images=images, return_tensors="pt")["pixel_values"]
        pooled = network.vision_model(inputs).pooler_output
        expected = pooled @ network.visual_projection.weight.T
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)
    (folder / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match="neither cache nor hub"):
        open_teacher(f"clip:{folder}", None, CPU)


def test_teachers_that_cannot_be_had_are_one_line(
    balls: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    for arguments, said in (
        (["resnet50"], "unknown teacher"),
        (["teacher.pt"], "unknown teacher"),
        (["timm:resnet50"], "timm cannot be imported"),
        (["torchvision:resnet18"], "torchvision cannot be imported"),
        (["torchvision:squeezenet1_0"], "needs --weights FILE"),
        (["clip:x", "--weights", str(weights)], "leave out --weights"),
        (
            ["torchvision:squeezenet1_0", "--weights", str(balls / "dataset.json")],
            "expected a safetensors file",
        ),
        (["mine.npy", "--flips"], "neither --flips"),
    ):
        assert main(["data", "features", str(balls), "--teacher", *arguments]) == 2
        assert said in (error := capsys.readouterr().err), error
        assert error.count("\n") == 1


def test_the_features_beside_a_data_set_must_be_one(balls: Path) -> None:
    with pytest.raises(DatasetError, match="found none"):
        find_features(balls)
    for name in ("a", "b"):
        balls.with_name(f"balls_{name}.f32").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"balls_a\.f32, balls_b\.f32"):
        find_features(balls)

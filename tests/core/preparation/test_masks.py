"""Subject masks: small ONNX networks of the shapes of U²-Net and ISNet, files of other programs, cutting to subjects.

The networks weigh the channels of each pixel and pass the sum through a sigmoid, so that every mask is known in closed
form from what the network was shown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.datasets.archive import DatasetError, mask_name
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.checking import check_dataset
from gp3d_core.preparation.dataset_card import read_card
from gp3d_core.preparation.maps.mask_network import MaskModelError, NetworkMasks
from gp3d_core.preparation.maps.masks import FolderMasks, make_masks
from gp3d_core.preparation.pack_folder import origins_of
from gp3d_core.preparation.packing import PackSettings, pack
from gp3d_core.preparation.sources.pictures import Source
from gp3d_core.signals import Interruption
from tests.support.masks import SIZE, WEIGHTS, bytes_of, network, of_red, plain, subject, write_photos


def expected(color: Sequence[int], mean: Sequence[float], deviation: Sequence[float]) -> float:
    """The mask of a plain colour, by hand."""
    seen = [(c / 255 - m) / d for c, m, d in zip(color, mean, deviation, strict=True)]
    return float(255 / (1 + np.exp(-np.dot(seen, WEIGHTS))))


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
COLORS = ((200, 120, 40), (100, 110, 90), (0, 60, 255))


@pytest.mark.parametrize(
    ("side", "outputs", "pixels"),
    [(320, 7, IMAGENET), pytest.param(1024, 6, HALF, marks=pytest.mark.slow)],
    ids=["as U²-Net", "as ISNet"],
)
def test_the_first_output_for_pixels_as_the_paper_has_them_is_the_mask(
    tmp_path: Path, side: int, outputs: int, pixels: tuple[Sequence[float], Sequence[float]]
) -> None:
    source = NetworkMasks(network(tmp_path / "net.onnx", side, outputs=outputs))
    masks = source.maps(["a", "b", "c"], [plain(color) for color in COLORS])
    for color, mask in zip(COLORS, masks, strict=True):
        assert mask.dtype == np.uint8
        assert mask.shape == (SIZE, SIZE)
        assert abs(mask.astype(float) - expected(color, *pixels)).max() <= 0.51
    assert len({int(mask[0, 0]) for mask in masks}) == 3
    assert source.record["side"] == side


def test_other_pixels_and_any_side_may_be_asked_for(tmp_path: Path) -> None:
    free = network(tmp_path / "net.onnx", "S", count="N")
    for name, pixels in (
        ("unit", ((0, 0, 0), (1, 1, 1))),
        ("symmetric", ((0.5,) * 3, (0.5,) * 3)),
        ("imagenet", IMAGENET),
    ):
        source = NetworkMasks(free, pixels=name, side=64)  # type: ignore[arg-type]
        assert source.free
        assert source.record["side"] == 64
        [mask] = source.maps(["a"], [plain(COLORS[1])])
        assert abs(mask.astype(float) - expected(COLORS[1], *pixels)).max() <= 0.51
    assert NetworkMasks(free).record["side"] == 1024
    with pytest.raises(MaskModelError, match=r"sees 320x320 pixels; leave out `side`"):
        NetworkMasks(network(tmp_path / "fixed.onnx", 320), side=64)


def test_a_network_without_its_last_sigmoid_gives_the_same_masks(tmp_path: Path) -> None:
    images = [plain(color) for color in COLORS]
    with_it = NetworkMasks(network(tmp_path / "a.onnx", 320)).maps("abc", images)
    without = NetworkMasks(network(tmp_path / "b.onnx", 320, sigmoid=False)).maps("abc", images)
    for one, other in zip(with_it, without, strict=True):
        assert abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize("count", [1, 2, "N"])
def test_masks_do_not_depend_on_how_many_pictures_a_network_takes(tmp_path: Path, count: int | str) -> None:
    source = NetworkMasks(network(tmp_path / "net.onnx", 64, count=count))
    images = [np.random.default_rng(k).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for k in range(3)]
    together = source.maps("abc", images)
    alone = [source.maps("a", [image])[0] for image in images]
    np.testing.assert_array_equal(together, alone)
    assert abs(together[0].astype(int) - together[1]).max() > 50


def test_half_precision_and_a_picture_that_is_no_square(tmp_path: Path) -> None:
    source = NetworkMasks(network(tmp_path / "net.onnx", 64, kind=TensorProto.FLOAT16))
    picture = np.concatenate([plain((0, 255, 0), 40)[:, :10], plain((255, 0, 0), 40)[:, :20]], axis=1)
    [mask] = source.masks([Image.fromarray(picture)])
    values = np.asarray(mask)
    assert values.shape == (40, 30)
    assert values[:, :8].max() < 30
    assert values[:, 12:].min() > 225


def test_what_is_no_such_network_gets_one_line(tmp_path: Path) -> None:
    good = network(tmp_path / "good.onnx", 64).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "empty.onnx").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.onnx")
    network(tmp_path / "four.onnx", 64, channels=4)
    network(tmp_path / "classes.onnx", 64, classes=21)
    network(tmp_path / "two.onnx", 64, inputs=2)
    network(tmp_path / "bytes.onnx", 64, kind=TensorProto.UINT8)
    network(tmp_path / "huge.onnx", 8192)
    for name, words in {
        "cut.onnx": "is no network that onnxruntime can read",
        "text.onnx": "is no network that onnxruntime can read",
        "empty.onnx": "is no network that onnxruntime can read",
        "none.onnx": "is no file",
        "pipe.onnx": "is no file",
        ".": "is no file",
        "four.onnx": r"expected one input \[N,3,H,W\], found x0 \[1,4,64,64\]",
        "classes.onnx": r"expected the mask \[1,1,H,W\] as first output, found float32 \[1,21,64,64\]",
        "two.onnx": r"expected one input .* found x0 .*; x1",
        "bytes.onnx": r"expected an input of float, found tensor\(uint8\)",
        "huge.onnx": "sees 8192x8192 pixels",
    }.items():
        with pytest.raises(MaskModelError, match=words) as caught:
            NetworkMasks(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of noise without depth."""
    return write_photos(tmp_path / "photos")


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path: Path, photos: Path) -> None:
    source = NetworkMasks(network(tmp_path / "net.onnx", 64))
    assert make_masks(photos, source, Interruption()).made == 5
    whole = bytes_of(photos, "_mask.npz")
    assert len(whole) == 5
    for name in whole:
        (photos / name).unlink()
    first = make_masks(photos, source, Interruption(2), batch=2)
    assert (first.made, first.stopped) == (2, True)
    second = make_masks(photos, source, Interruption(), batch=2)
    assert (second.made, second.kept, second.stopped) == (3, 2, False)
    assert bytes_of(photos, "_mask.npz") == whole
    [step] = read_card(photos)["steps"]
    assert step == {"step": "masks", **source.record}
    other = NetworkMasks(network(tmp_path / "other.onnx", 320))
    with pytest.raises(DatasetError, match=r"has masks made with model = net.onnx, asked for is other.onnx"):
        make_masks(photos, other, Interruption())
    assert bytes_of(photos, "_mask.npz") == whole
    assert make_masks(photos, other, Interruption(), overwrite=True).made == 5
    assert bytes_of(photos, "_mask.npz") != whole


def test_readers_that_know_no_masks_see_the_same_data_set(tmp_path: Path, photos: Path) -> None:
    before = Dataset(photos, needs_depth=False)
    kinds = set(check_dataset(photos).kinds)
    make_masks(photos, NetworkMasks(network(tmp_path / "net.onnx", 64)), Interruption())
    after = Dataset(photos, needs_depth=False)
    assert (after.names, after.fingerprint) == (before.names, before.fingerprint)
    assert (before.without_mask, after.without_mask) == (before.names, [])
    assert set(check_dataset(photos).kinds) == kinds
    with np.load(photos / mask_name(after.names[0]), allow_pickle=False) as arrays:
        assert list(arrays) == ["mask"]
        np.testing.assert_array_equal(arrays["mask"], after.load_mask(0))


def test_masks_that_are_damaged_or_do_not_fit_get_one_line(photos: Path) -> None:
    path = photos / "n0/photo0_mask.npz"
    dataset = Dataset(photos, needs_depth=False)
    with pytest.raises(DatasetError, match="has no mask; `gp3d data mask"):
        dataset.load_mask(0)
    for content, words in (
        ({"mask": np.zeros((8, 8), np.uint8)}, "is uint8 8x8, expected uint8 32x32"),
        ({"mask": np.zeros((8, 8), np.float32)}, "is float32 8x8"),
        ({"other": np.zeros((32, 32), np.uint8)}, "cannot be read"),
        ({"mask": np.zeros((512, 512), np.uint8)}, "unpacks to 262272 bytes"),
    ):
        np.savez_compressed(path, **content)
        with pytest.raises(DatasetError, match=words):
            Dataset(photos, needs_depth=False).load_mask(0)
    path.write_bytes(b"no zip")
    with pytest.raises(DatasetError, match="cannot be read"):
        Dataset(photos, needs_depth=False).load_mask(0)
    found = check_dataset(photos).kinds
    assert found["mask that cannot be used"].named[0].startswith("n0/photo0_mask.npz cannot be read")
    assert found["image without a mask"].named == [f"n0/photo{k}.png" for k in range(1, 5)]
    np.savez_compressed(path, mask=np.zeros((SIZE, SIZE), np.uint8))
    np.savez_compressed(photos / "n0/gone_mask.npz", mask=np.zeros((SIZE, SIZE), np.uint8))
    found = check_dataset(photos).kinds
    assert found["mask that shows no subject"].named == ["n0/photo0_mask.npz"]
    assert found["mask without an image"].named == ["n0/gone_mask.npz"]
    assert not any(kind.fault for text, kind in found.items() if "mask" in text)


def test_masks_from_files_are_framed_as_their_pictures_were(tmp_path: Path) -> None:
    source, masks, out = tmp_path / "in", tmp_path / "masks", tmp_path / "out"
    source.mkdir()
    masks.mkdir()
    picture = subject((60, 40), (34, 8, 46, 24))
    for name in ("same", "double", "image", "alpha"):
        picture.save(source / f"{name}.png")
    pack(Source(source), out, PackSettings(20))
    of_red(picture).save(masks / "same_mask.png")
    of_red(picture).resize((120, 80), Image.Resampling.NEAREST).save(masks / "double.png")
    of_red(Image.open(out / "image.png")).save(masks / "image.png")
    cut_out = picture.copy()
    cut_out.putalpha(of_red(picture))
    cut_out.save(masks / "alpha.png")
    names = Dataset(out, needs_depth=False).names
    make_masks(out, FolderMasks(masks, names, origins_of(out)), Interruption())
    dataset = Dataset(out, needs_depth=False)
    for index in range(4):
        red = dataset.load_image(index)[..., 0]
        np.testing.assert_array_equal(dataset.load_mask(index) >= 128, red >= 128, err_msg=names[index])


def test_masks_that_are_missing_or_of_other_proportions_are_named(tmp_path: Path, photos: Path) -> None:
    names, masks = Dataset(photos, needs_depth=False).names, tmp_path / "masks"
    with pytest.raises(DatasetError, match="there is no folder"):
        FolderMasks(masks, names, {})
    (masks / "n0").mkdir(parents=True)
    for name in names[1:]:
        Image.new("L", (SIZE, SIZE), 255).save(masks / name)
    with pytest.raises(DatasetError, match=r"has no mask for 1 of 5 images, the first is n0/photo0.png"):
        FolderMasks(masks, names, {})
    for content, words in ((Image.new("L", (SIZE, 9)), "is 32x9, expected 32x32"), (None, "is no picture")):
        (masks / names[0]).write_bytes(b"text")
        if content:
            content.save(masks / names[0])
        with pytest.raises(DatasetError, match=words):
            make_masks(photos, FolderMasks(masks, names, {}), Interruption(), batch=1, overwrite=True)
        assert bytes_of(photos, "_mask.npz") == {}


def test_the_commands_say_what_is_missing(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network(tmp_path / "net.onnx", 64)
    for words, said in (
        (["mask", str(photos)], "--model FILE.onnx or --masks DIR"),
        (
            ["mask", str(photos), "--masks", str(photos), "--side", "64"],
            "--pixels and --side are for --model",
        ),
        (["mask", str(photos), "--model", str(photos)], "is no file"),
        (["pack", str(photos), str(tmp_path / "out"), "--subject"], "--model FILE.onnx or --masks DIR"),
        (["pack", str(photos), str(tmp_path / "out"), "--model", str(model)], "go with --subject"),
    ):
        assert main(["data", *words]) == 2
        error = capsys.readouterr().err.strip()
        assert said in error
        assert "\n" not in error
    assert not (tmp_path / "out").exists()
    assert main(["data", "mask", str(photos), "--model", str(model)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(photos)
    assert "sees 64 pixels a side, as --pixels imagenet" in captured.err
    assert "5 masks made" in captured.err

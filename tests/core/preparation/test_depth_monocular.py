"""`gp3d data depth --model FILE`: any size and aspect, letterboxes, plain backgrounds, going on, bad input."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gp3d_core.cli.main import main
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.dataset_card import read_card
from gp3d_core.preparation.depth.making import make_depth
from gp3d_core.preparation.depth.monocular import Estimator, MonocularDepth, plain_share, working_size
from gp3d_core.signals import Interruption
from tests.support.depth_weights import SHARED, random_weights, real_weights

CPU = torch.device("cpu")
SIZE = 64


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A data set of five pictures of noise."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        noise(SIZE, SIZE, i).save(folder / f"{i}.png")
    return folder


def noise(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def codes(folder: Path) -> dict[str, NDArray[np.uint16]]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.rglob("*_depth.png"))}


def open_file(path: Path) -> MonocularDepth:
    return MonocularDepth(path, kind=None, ratio=5 / 3, device=CPU)


class Brightness(nn.Module):
    """A network that says that bright is near, pixel by pixel."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=1, keepdim=True)


@pytest.mark.parametrize(
    ("height", "width"),
    [(256, 256), (64, 64), (1, 1), (333, 500), (1200, 300), (40, 3000), (3, 2000), (700, 701)],
)
def test_maps_lie_on_their_pictures_to_the_edges(height: int, width: int) -> None:
    """Ramps across and down are found again, off by no more than a pixel of what the network sees."""
    estimator = Estimator(Brightness(), CPU)
    for axis in (0, 1):
        ramp = np.linspace(0, 255, (height, width)[axis])
        ramp = np.broadcast_to(ramp if axis else ramp[:, None], (height, width))
        image = np.repeat(ramp.round().astype(np.uint8)[..., None], 3, axis=2)
        (found,) = estimator.disparity([image])
        assert found.shape == (height, width)
        step = 255 / max(1, min((height, width)[axis], working_size(height, width)[axis]) - 1)
        np.testing.assert_allclose(found, ramp, atol=step + 1)


@pytest.mark.parametrize("side", [64, 256, 701])
@pytest.mark.parametrize("start", [0.05, 0.8])
def test_slopes_near_the_edges_stay_where_they_are(side: int, start: float) -> None:
    """A slope over an eighth of the picture is found within a quarter of a pixel of what the network sees."""
    place = (np.arange(side) + 0.5) / side
    slope = ((place - start) * 8 * 255).clip(0, 255)
    image = np.broadcast_to(slope.round().astype(np.uint8)[None, :, None], (side, side, 3))
    (found,) = Estimator(Brightness(), CPU).disparity([image])
    within = (slope > 40) & (slope < 215)
    np.testing.assert_allclose(found[side // 2][within], slope[within], atol=0.25 * 8 + 1)


def test_pictures_are_seen_at_the_size_that_the_network_was_made_for() -> None:
    assert working_size(256, 256) == (256, 256)
    assert working_size(64, 64) == (256, 256)
    assert working_size(1536, 2048) == (256, 352)  # 341 is no multiple of 32
    assert working_size(2048, 1536) == (352, 256)
    assert working_size(1, 100_000) == (32, 4096)
    for height, width in np.random.default_rng(0).integers(1, 5000, (200, 2)):
        seen = working_size(int(height), int(width))
        assert not any(side % 32 for side in seen)
        assert max(seen) <= 4096
        if max(height, width) < 16 * min(height, width):
            assert min(seen) == 256
            assert seen[0] / seen[1] == pytest.approx(height / width, rel=0.066)


def test_pictures_of_a_batch_do_not_see_one_another(weights: Path) -> None:
    source = open_file(weights)
    images = [
        np.asarray(noise(w, h, i)) for i, (w, h) in enumerate([(64, 64), (90, 40), (64, 64), (300, 300)])
    ]
    names = [str(i) for i in range(4)]
    together = source.maps(names, images)
    for name, image, found in zip(names, images, together, strict=True):
        (alone,) = source.maps([name], [image])
        assert found.shape == image.shape[:2]
        np.testing.assert_allclose(found, alone, atol=1e-3)
    assert np.abs(together[0] - together[2]).max() > 0.1


def test_bright_is_near_and_near_is_small(photos: Path, weights: Path) -> None:
    source = open_file(weights)
    source._estimator = Estimator(Brightness(), CPU)
    image = np.asarray(noise(256, 256, 1))
    (u,) = source.maps(["x"], [image])
    grey = image.mean(axis=2)
    q = (grey - grey.min()) / (grey.max() - grey.min())
    expected = (1 / (1 / 1.25 + q * (1 / 0.75 - 1 / 1.25)) - 0.75) / 0.5
    np.testing.assert_allclose(u, expected, atol=1e-4)


def test_the_command_makes_maps_and_the_card_says_of_what(
    photos: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "depth", str(photos), "--model", str(weights), "--device", "cpu"]
    assert main(command) == 0
    error = capsys.readouterr().err
    assert "predicts disparity; licence: MIT" in error
    assert "5 depth maps made, 0 were there" in error
    assert "plain background" not in error
    step = next(step for step in read_card(photos)["steps"] if step["step"] == "depth")
    assert (step["model"], step["kind"], step["license"]) == (
        "TCMonoDepth small",
        "disparity",
        "MIT (Yu Li 2021)",
    )
    assert step["revision"].startswith("sha256:")
    for found in codes(photos).values():
        assert (found.dtype, found.shape, np.ptp(found)) == (np.uint16, (SIZE, SIZE), 65535)
    assert main(command) == 0
    assert "0 depth maps made, 5 were there" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_and_ends_the_same(photos: Path, weights: Path, tmp_path: Path) -> None:
    source = open_file(weights)
    first = make_depth(photos, source, Interruption(signal=15), batch=2)
    assert (first.made, first.stopped, len(codes(photos))) == (2, True, 2)
    second = make_depth(photos, open_file(weights), Interruption(), batch=2)
    assert (second.made, second.kept) == (3, 2)
    pieces = codes(photos)
    make_depth(photos, source, Interruption(), batch=2, overwrite=True)
    for name, found in codes(photos).items():
        assert np.abs(found.astype(int) - pieces[name]).max() <= 64  # 0.001: sums of another order


def test_only_the_picture_within_a_letterbox_is_looked_at(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "wide").mkdir()
    noise(128, 64, 3).save(tmp_path / "wide/a.png")
    packed = tmp_path / "packed"
    pack = [
        "data",
        "pack",
        str(tmp_path / "wide"),
        str(packed),
        "--resolution",
        str(SIZE),
        "--license",
        "CC0",
    ]
    assert main([*pack, "--fit", "letterbox", "--workers", "1"]) == 0
    assert main(["data", "depth", str(packed), "--model", str(weights), "--device", "cpu"]) == 0
    (found,) = codes(packed).values()
    assert (found[:16] == 65535).all()
    assert (found[48:] == 65535).all()
    image = Dataset(packed).load_image(0)
    (inner,) = open_file(weights).maps(["a"], [image[16:48]])
    np.testing.assert_allclose(found[16:48] / 65536, inner, atol=1e-3)


def test_a_plain_background_is_remarked(
    photos: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canvas = Image.new("RGB", (SIZE, SIZE), (250, 250, 250))
    canvas.paste(noise(30, 30, 1), (17, 20))
    canvas.save(photos / "3.png")
    assert plain_share(np.asarray(canvas)) == 1
    assert main(["data", "depth", str(photos), "--model", str(weights), "--device", "cpu"]) == 0
    error = capsys.readouterr().err
    assert "1 of 5 new pictures have a plain background, the first is 3.png" in error


def test_files_that_are_no_weights_of_it_are_one_line_and_leave_nothing(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:5000])
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    before = sorted(photos.rglob("*"))
    for name, part in (
        ("pipe.safetensors", "neither a file nor a folder"),
        ("cut.safetensors", "expected a safetensors file"),
        ("other.pth", "expected weights of TCMonoDepth small"),
        ("nowhere.pt.tar", "there is no file"),
    ):
        assert main(["data", "depth", str(photos), "--model", str(tmp_path / name), "--device", "cpu"]) == 2
        error = capsys.readouterr().err
        assert part in error
        assert name in error
        assert error.count("\n") == 1
    assert sorted(photos.rglob("*")) == before


def test_a_pipe_among_the_pictures_is_named_and_the_command_goes_on_without_it(
    photos: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(photos / "2b.png")
    command = ["data", "depth", str(photos), "--model", str(weights), "--device", "cpu", "--batch", "1"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.strip().splitlines()[-1] == f"gp3d: {photos}: 2b.png is no regular file; remove it"
    (photos / "2b.png").unlink()
    assert main(command) == 0
    assert len(codes(photos)) == 5


def test_pictures_of_every_kind_get_depth_once_they_are_packed(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "kinds"
    source.mkdir()
    plain = noise(96, 80, 5)
    plain.save(source / "plain.png")
    plain.convert("L").save(source / "grey.png")
    plain.convert("CMYK").save(source / "cmyk.tif")
    plain.convert("RGBA").save(source / "alpha.png")
    Image.fromarray(np.asarray(plain.convert("L")).astype(np.uint16) * 257).save(source / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    plain.transpose(Image.Transpose.ROTATE_90).save(source / "turned.png", exif=exif)
    Image.new("1", (15_000, 12_000)).save(source / "gigantic.png")
    os.mkfifo(source / "pipe.jpg")
    (source / "cut.png").write_bytes((source / "plain.png").read_bytes()[:900])
    packed = tmp_path / "packed"
    pack = ["data", "pack", str(source), str(packed), "--resolution", str(SIZE), "--license", "CC0"]
    assert main([*pack, "--workers", "1"]) == 0
    failures = (packed / "failures.jsonl").read_text()
    assert [name in failures for name in ("gigantic.png", "pipe.jpg", "cut.png")] == [True] * 3
    assert main(["data", "depth", str(packed), "--model", str(weights), "--device", "cpu"]) == 0
    found = codes(packed)
    assert set(found) == {f"{n}_depth.png" for n in ("plain", "grey", "cmyk", "alpha", "sixteen", "turned")}
    for same in ("turned", "alpha"):
        assert np.abs(found["plain_depth.png"].astype(int) - found[f"{same}_depth.png"]).max() <= 64
    assert main(["data", "check", str(packed)]) == 0


def test_real_photographs_show_near_subjects_before_what_is_behind_them(tmp_path: Path) -> None:
    """Of an owl, a parrot and an astronaut: what the middle shows is nearer than the upper corner."""
    source = open_file(real_weights())
    near = {"coral_owl.jpg": (0.5, 0.5), "skimage_astronaut.png": (0.8, 0.4), "coral_parrot.jpg": (0.4, 0.5)}
    images = []
    for name in near:
        picture = Image.open(SHARED / "data/photos" / name).convert("RGB")
        images.append(np.asarray(picture.resize((320, 256))))
    for (name, (down, across)), u in zip(near.items(), source.maps(list(near), images), strict=True):
        assert u[int(down * 256), int(across * 320)] < u[8, 8] - 0.3, name

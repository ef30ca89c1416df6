"""`gp3d data depth --from`: maps of other programs, of every kind that is read, and those that are refused."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.dataset_card import record_step
from gp3d_core.preparation.depth.files import FolderDepth
from gp3d_core.preparation.depth.making import make_depth
from gp3d_core.signals import Interruption
from tests.support.noise_photos import NAMES, SIZE, codes, noise_photos
from tests.support.png import png


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of noise without depth, of two classes."""
    return noise_photos(tmp_path / "photos")


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

"""Pictures cut to their subject, and subjects put on white or before a blur."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.datasets.archive import DatasetError, mask_name
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.dataset_card import read_card
from gp3d_core.preparation.depth.files import FolderDepth, packed_fit
from gp3d_core.preparation.framing import frame
from gp3d_core.preparation.maps.mask_network import NetworkMasks
from gp3d_core.preparation.maps.masks import make_masks
from gp3d_core.preparation.maps.subject import SubjectMasks, subject_frame
from gp3d_core.preparation.maps.surroundings import write_composed
from gp3d_core.preparation.pack_folder import PackError, origins_of
from gp3d_core.preparation.packing import PackSettings, pack
from gp3d_core.preparation.sources.pictures import Source
from gp3d_core.signals import Interruption
from tests.support.masks import SIZE, bytes_of, network, of_red, plain, subject, write_photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of noise without depth."""
    return write_photos(tmp_path / "photos")


@pytest.mark.parametrize(
    ("size", "box", "fit", "found"),
    [
        ((200, 100), (120, 40, 140, 60), "crop", (118, 38, 142, 62)),  # 20 + 2 · 2 around (130, 50)
        ((200, 100), (180, 80, 200, 100), "crop", (176, 76, 200, 100)),  # moved into the picture
        ((200, 100), (20, 45, 180, 55), "crop", (50, 0, 150, 100)),  # longer than the picture is high
        ((200, 100), (20, 45, 180, 55), "letterbox", (4, 29, 196, 71)),
        ((200, 100), (0, 0, 200, 100), "letterbox", (0, 0, 200, 100)),
    ],
)
def test_the_cut_is_the_subject_with_a_tenth_around_it(
    size: tuple[int, int], box: tuple[int, int, int, int], fit: str, found: tuple[int, int, int, int]
) -> None:
    mask = of_red(subject(size, box))
    mask.paste(255, (100, 2, 101, 4))  # a speck
    where = subject_frame(mask, 32, fit)  # type: ignore[arg-type]
    assert where.source == found
    whole = frame(*size, 32, "letterbox")
    assert subject_frame(Image.new("L", size, 255), 32, "letterbox") == whole


def test_packing_cuts_to_the_subject_and_keeps_its_mask(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    subject((200, 100), (120, 40, 140, 60)).save(source / "seen.png")
    Image.new("RGB", (200, 100), (0, 255, 0)).save(source / "unseen.png")
    subjects = SubjectMasks(
        model=network(tmp_path / "net.onnx", "S", count="N"), side=200, pixels="symmetric"
    )
    report = pack(Source(source), out, PackSettings(24), subject=subjects)
    assert report.packed == 1
    assert report.failures == {"unseen.png": "shows no subject: nothing in its mask is above one half"}
    assert origins_of(out)["seen.png"].box == (118, 38, 142, 62)
    dataset = Dataset(out, needs_depth=False)
    assert dataset.names == ["seen.png"]
    inside = np.zeros((24, 24), dtype=bool)
    inside[2:22, 2:22] = True
    np.testing.assert_array_equal(dataset.load_image(0)[..., 0] > 127, inside)
    np.testing.assert_array_equal(dataset.load_mask(0) >= 128, inside)
    (tmp_path / "maps").mkdir()
    Image.fromarray(np.zeros((48, 48), np.uint16)).save(tmp_path / "maps/seen.png")
    depth = FolderDepth(
        tmp_path / "maps", dataset.names, kind="depth", ratio=2.0, fit=packed_fit(out), origins={}
    )
    with pytest.raises(DatasetError, match=r"is 48x48, but pictures were cut to their subjects; .* 24x24"):
        depth.maps(dataset.names, [dataset.load_image(0)])
    steps = {step["step"]: step for step in read_card(out)["steps"]}
    assert steps["pack"]["settings"]["subject"]["margin"] == 0.1
    assert steps["masks"]["model"] == "net.onnx"
    before = bytes_of(out, "")
    with pytest.raises(PackError, match=r"was packed with subject = .*net.onnx.*, asked for is None"):
        pack(Source(source), out, PackSettings(24))
    again = NetworkMasks(subjects.model or out, side=200, pixels="symmetric")
    assert make_masks(out, again, Interruption()).kept == 1
    assert bytes_of(out, "") == before
    (out / mask_name("seen.png")).unlink()
    assert pack(Source(source), out, PackSettings(24), subject=subjects).packed == 1
    assert bytes_of(out, "_mask.npz") == {k: v for k, v in before.items() if k.endswith("_mask.npz")}


def test_packing_with_masks_of_a_folder_and_what_it_says_of_wrong_ones(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a", "b", "c"):
        subject((60, 40), (10, 10, 30, 30)).save(source / f"{name}.png")
    of_red(subject((60, 40), (10, 10, 30, 30))).save(source / "a_mask.png")
    Image.new("L", (50, 50), 255).save(source / "b_mask.png")
    (source / "c_mask.png").write_text("text")
    report = pack(Source(source), out, PackSettings(16), subject=SubjectMasks(folder=source))
    assert report.packed == 1
    assert origins_of(out)["a.png"].box == (8, 8, 32, 32)
    assert "is 50x50, expected 60x40 like its picture" in report.failures["b.png"]
    assert "is no picture" in report.failures["c.png"]
    assert json.loads((out / "pack.json").read_text())["settings"]["subject"]["files"] == "in"


def test_subjects_on_white_or_before_a_blur_are_data_sets_of_their_own(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(DatasetError, match=r"5 of 5 images have no mask, the first is n0/photo0.png"):
        write_composed(photos, tmp_path / "white", "white")
    assert not (tmp_path / "white").exists()
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:24, 8:24], mask[4, 4] = 255, 51
    picture = plain((250, 0, 0))
    picture[mask == 0] = (0, 100, 0)
    for k in range(5):
        Image.fromarray(picture).save(photos / f"n0/photo{k}.png")
        Image.fromarray(np.full((SIZE, SIZE), 1000 * k, np.uint16)).save(photos / f"n0/photo{k}_depth.png")
        np.savez_compressed(photos / f"n0/photo{k}_mask.npz", mask=mask)
    before = bytes_of(photos, "")
    for name in ("white", "blur"):
        assert main(["data", "compose", str(photos), str(tmp_path / name), "--surroundings", name]) == 0
    white, blur = Dataset(tmp_path / "white"), Dataset(tmp_path / "blur")
    assert white.names == blur.names == Dataset(photos).names
    image, depth = white.load(3)
    np.testing.assert_array_equal(image[8:24, 8:24], picture[8:24, 8:24])
    np.testing.assert_array_equal(image[4, 4], [254, 204, 204])  # a fifth of (250, 0, 0)
    assert (image[mask == 0] == 255).all()
    np.testing.assert_array_equal(depth, np.where(mask >= 128, 3000, 65535))
    image, depth = blur.load(3)
    np.testing.assert_array_equal(image[8:24, 8:24], picture[8:24, 8:24])
    assert (
        abs(image[mask == 0].astype(int) - [0, 100, 0]).max() <= 9
    )  # nothing of the red, but of the soft pixel
    assert abs(image[25:, 25:].astype(int) - [0, 100, 0]).max() <= 1
    np.testing.assert_array_equal(depth, np.full((SIZE, SIZE), 3000))
    assert read_card(tmp_path / "white")["steps"] == [{"step": "surroundings", "surroundings": "white"}]
    np.testing.assert_array_equal(white.load_mask(0), mask)
    assert bytes_of(photos, "") == before

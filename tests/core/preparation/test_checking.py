"""`gp3d data check` and `gp3d data stats`: all that is wrong is said, and the numbers are right."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.checking import check_dataset
from gp3d_core.preparation.statistics import contact_sheet, write_statistics
from tests.support.tiny_dataset import write_dataset

MUG, TOAD = "n03063599/ball00_000.png", "n07734744/ball01_000.png"


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "data")


def depth_of(folder, name):
    return folder / name.replace(".png", "_depth.png")


def edit(folder, change):
    facts = json.loads((folder / "dataset.json").read_text())
    change(facts)
    (folder / "dataset.json").write_text(json.dumps(facts))


def write_features(folder, names, rows):
    rows.astype("<f4").tofile(folder.parent / "f.dat")
    description = {"shape": list(rows.shape), "filepath_to_idx": {name: i for i, name in enumerate(names)}}
    (folder.parent / "f_desc.json").write_text(json.dumps(description))
    return folder.parent / "f.dat"


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_sound_data_has_no_findings(folder, packed):
    path = folder
    if packed:
        path = folder.with_suffix(".zip")
        assert main(["data", "zip", str(folder), str(path)]) == 0
        with zipfile.ZipFile(path) as archive:
            assert len(archive.namelist()) == 17
    features = write_features(folder, Dataset(folder).names, np.ones((8, 3)))
    report = check_dataset(path, features=features)
    assert (report.sound, report.kinds, report.images, report.resolution) == (True, {}, 8, 16)
    assert report.class_counts == [("coffee mug", 4), ("mushroom", 4)]


def constant(folder):
    Image.fromarray(np.full((16, 16), 500, dtype=np.uint16)).save(depth_of(folder, MUG))


def low(folder):
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)).save(depth_of(folder, MUG))


FINDINGS = {
    "no depth": (lambda f: depth_of(f, MUG).unlink(), "image without a depth map", MUG, True),
    "no image": (lambda f: (f / MUG).unlink(), "depth map without an image", "ball00_000_depth.png", False),
    "damaged": (lambda f: (f / MUG).write_bytes(b"\x89PNG"), "file that cannot be used", MUG, True),
    "damaged depth": (
        lambda f: depth_of(f, MUG).write_bytes(b""),
        "file that cannot be used",
        "ball00_000_depth",
        True,
    ),
    "size": (lambda f: Image.new("RGB", (8, 8)).save(f / MUG), "file that cannot be used", "8x8 px", True),
    "mode": (
        lambda f: Image.new("L", (16, 16)).save(f / MUG),
        "file that cannot be used",
        "expected 8-bit RGB",
        True,
    ),
    "no label": (lambda f: edit(f, lambda h: h["labels"].pop(0)), "image without label", MUG, True),
    "label": (
        lambda f: edit(f, lambda h: h["labels"][0].__setitem__(1, 7)),
        "label beyond the 2 classes",
        "has 7",
        True,
    ),
    "row": (
        lambda f: edit(f, lambda h: h["labels"].append(["x.png", 0])),
        "row of label for a file",
        "x.png",
        False,
    ),
    "angles": (
        lambda f: edit(f, lambda h: h.update(camera_angles=[])),
        "image without camera angles",
        MUG,
        True,
    ),
    "header": (
        lambda f: (f / "dataset.json").write_text("{"),
        "dataset.json is wrong",
        "not valid JSON",
        True,
    ),
    "no header": (lambda f: (f / "dataset.json").unlink(), "no dataset.json", "data", False),
    "unfinished": (
        lambda f: (f / "dataset.json").rename(f / "pack.json"),
        "unfinished",
        "the same `gp3d data pack` command goes on",
        True,
    ),
    "constant": (constant, "depth map of one value", "ball00_000_depth.png", False),
    "8 bits": (low, "lowest 1/256 of the range", "ball00_000_depth.png", False),
    "stem": (
        lambda f: Image.new("RGB", (16, 16)).save((f / MUG).with_suffix(".bmp")),
        "shares its depth map",
        MUG,
        True,
    ),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_each_thing_that_is_wrong_is_found_and_named(folder, name):
    spoil, kind, said, fault = FINDINGS[name]
    spoil(folder)
    report = check_dataset(folder)
    found = [k for text, k in report.kinds.items() if kind in text]
    assert len(found) == 1
    assert any(said in line for line in found[0].named)
    assert found[0].fault is fault
    assert report.sound is not any(k.fault for k in report.kinds.values())


def test_everything_is_found_at_once_and_long_lists_are_cut(folder, capsys):
    for name in Dataset(folder).names[:5]:
        depth_of(folder, name).unlink()
    (folder / TOAD).write_bytes(b"")
    edit(folder, lambda h: h["labels"].pop(-1))
    assert main(["data", "check", str(folder), "--most", "2"]) == 2
    told = capsys.readouterr().out
    assert "5 × image without a depth map; `gp3d data depth" in told
    assert "… and 3 more" in told
    for kind in ("empty file", "file that cannot be used", "image without label"):
        assert f"FAULT  1 × {kind}" in told


@pytest.mark.parametrize(
    ("rows", "kept", "said"),
    [
        (np.array([[1.0]] * 7 + [[np.nan]]), 8, "image whose features are not finite"),
        (np.ones((8, 1)), 7, "image without a row in the features"),
    ],
)
def test_features_that_do_not_fit_are_found(folder, rows, kept, said):
    names = Dataset(folder).names
    report = check_dataset(folder, features=write_features(folder, names[:kept], rows))
    assert report.kinds[said].named == [names[-1]]
    assert not report.sound


def test_missing_features_and_data_are_one_line(folder, capsys):
    report = check_dataset(folder, features=folder / "nothing.dat")
    assert not report.sound
    with pytest.raises(DatasetError, match="no data set at"):
        check_dataset(folder / "nothing")
    assert main(["data", "check", str(folder / "nothing")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_statistics_are_those_of_the_pixels(folder):
    write_statistics(folder, folder.parent / "stats")
    facts = json.loads((folder.parent / "stats/stats.json").read_text())
    dataset = Dataset(folder)
    images = np.stack([dataset.load_image(i) for i in range(8)]) / 255
    depth = np.stack([dataset.load_depth(i) for i in range(8)]) / 32768 - 1
    assert facts["color"]["mean"] == pytest.approx(images.mean((0, 1, 2)).tolist(), abs=1e-6)
    assert facts["color"]["std"] == pytest.approx(images.std((0, 1, 2)).tolist(), abs=1e-6)
    share, _ = np.histogram(depth, np.array(facts["depth"]["bin_edges"]))
    assert facts["depth"]["histogram"] == pytest.approx((share / share.sum()).tolist(), abs=1e-6)
    assert facts["depth"]["mean_of_images"]["median"] == pytest.approx(
        np.median(depth.mean((1, 2))), abs=1e-6
    )
    assert facts["depth"]["share_at_far_end"]["most"] == pytest.approx(
        np.mean(depth > 0.9999, (1, 2)).max(), abs=1e-6
    )
    assert facts["classes"] == [{"name": "coffee mug", "images": 4}, {"name": "mushroom", "images": 4}]
    assert facts["with_depth"] == 8


@pytest.mark.slow
def test_statistics_draw_what_there_is(folder, capsys):
    edit(folder, lambda h: h.update(camera_angles=[[n, [0.1, 1.5, 0]] for n in Dataset(folder).names]))
    for path in folder.rglob("ball0[0-3]*_depth.png"):
        path.unlink()
    assert main(["data", "stats", str(folder), "--out", str(folder.parent / "stats")]) == 0
    names = [line.rsplit("/", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert names == ["stats.json", "depth.png", "classes.png", "cameras.png", "sheet.png"]
    for name in names[1:]:
        with Image.open(folder.parent / "stats" / name) as picture:
            assert min(picture.size) > 50
    assert main(["data", "stats", str(folder), "--out", str(folder)]) == 2


def test_class_names_are_drawn_as_they_are(folder, tmp_path):
    """Names are no formulas, need be no text, and two classes of one name have a bar each."""
    for count, names in ((2, ["$x^$ crane", "$x^$ crane"]), (2, ["\udce9", "a\nb"]), (2, ["x" * 300, "y"])):
        edit(
            folder,
            lambda h, names=names: [c.update(name=n) for c, n in zip(h["classes"], names, strict=True)],
        )
        write_statistics(folder, tmp_path / "stats")
        bars = np.asarray(Image.open(tmp_path / "stats/classes.png").convert("RGB")).astype(int)
        blue = (bars[..., 2] - bars[..., 0] > 100).any(1)  # rows with a bar
        assert np.count_nonzero(np.diff(blue.astype(int)) == 1) == count
        assert (bars[..., 2] - bars[..., 0] > 100).any(0).mean() > 0.4  # a long name leaves them room


def test_sheet_shows_each_image_with_its_depth_beside_it(folder):
    dataset = Dataset(folder)
    sheet = np.asarray(contact_sheet(dataset, 2))
    first = np.asarray(Image.fromarray(dataset.load_image(0)).resize((128, 128), Image.Resampling.NEAREST))
    assert np.array_equal(sheet[:128, :128], first)
    far = sheet[4, 132]  # the corner of the depth is background: dark
    near = sheet[64, 192]
    assert far.sum() < near.sum()

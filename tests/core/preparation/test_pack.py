"""Packing as a whole: the same bytes whatever happens on the way, and everything that is refused."""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation import packing
from gp3d_core.preparation.duplicates import exact_groups, look_of, near_pairs
from gp3d_core.preparation.pack_folder import PackError
from gp3d_core.preparation.packing import PackSettings, pack
from gp3d_core.preparation.sources.pictures import Source
from gp3d_core.signals import Interruption

SETTINGS = PackSettings(16)


def photo(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path):
    """Twenty pictures of two classes, one of them an ImageNet class."""
    for k in range(20):
        folder = tmp_path / "photos" / ("n01440764" if k % 2 else "my things")
        folder.mkdir(parents=True, exist_ok=True)
        photo(k).save(folder / f"{k:02d}.{'jpg' if k % 3 else 'png'}")
    return tmp_path / "photos"


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def header(folder: Path) -> dict:
    return json.loads((folder / "dataset.json").read_text())


def fresh(photos: Path, name: str = "fresh") -> dict[str, bytes]:
    """The files of a data set packed in one go into a folder called "out"."""
    target = photos.parent / name / "out"
    target.parent.mkdir()
    pack(Source(photos), target, SETTINGS)
    return content(target)


def test_packed_folder_is_a_data_set_that_waits_for_depth(photos, tmp_path):
    report = pack(Source(photos), tmp_path / "out", SETTINGS, license="mine")
    assert (report.packed, report.kept, report.failures, report.classes) == (20, 0, {}, 2)
    dataset = Dataset(tmp_path / "out", needs_depth=False)
    assert (len(dataset), dataset.resolution, dataset.num_classes) == (20, 16, 2)
    assert [c["name"] for c in dataset.classes] == ["my things", "tench"]
    assert [c["imagenet_index"] for c in dataset.classes] == [None, 0]
    assert dataset.names[-1] == "n01440764/19.png"
    assert header(tmp_path / "out")["license"] == "mine"
    assert "mine" in (tmp_path / "out/README.md").read_text()
    with pytest.raises(DatasetError, match=r"20 of 20 images lack theirs\); `gp3d data depth .*` makes them"):
        Dataset(tmp_path / "out")
    for name in dataset.names:
        depth = Image.fromarray(np.full((16, 16), 1000, dtype=np.uint16))
        depth.save(tmp_path / "out" / name.replace(".png", "_depth.png"))
    Dataset(tmp_path / "out").check(16)


def test_pixels_are_the_middle_square_of_the_photo(photos, tmp_path):
    pack(Source(photos), tmp_path / "out", SETTINGS)
    expected = (
        Image.open(photos / "my things/00.png")
        .crop((5, 0, 35, 30))
        .resize((16, 16), Image.Resampling.LANCZOS)
    )
    found = Image.open(tmp_path / "out/my-things/00.png")
    assert np.array_equal(np.asarray(found), np.asarray(expected))
    row = json.loads((tmp_path / "out/origins.jsonl").read_text().splitlines()[0])
    assert (row["image"], row["source"], row["box"]) == (
        "my-things/00.png",
        "my things/00.png",
        [5, 0, 35, 30],
    )


@pytest.mark.slow
def test_number_of_workers_changes_no_byte(photos, tmp_path):
    pack(Source(photos), tmp_path / "out", SETTINGS, workers=2)
    assert content(tmp_path / "out") == fresh(photos)


def test_zip_holds_the_same_as_the_folder_and_is_the_same_each_time(photos, tmp_path):
    pack(Source(photos), tmp_path / "out.zip", SETTINGS)
    before = (tmp_path / "out.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == fresh(photos)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fresh", "out.zip", "photos"]
    assert pack(Source(photos), tmp_path / "out.zip", SETTINGS).kept == 20
    with pytest.raises(PackError, match="was packed with resolution = 16, asked for is 32"):
        pack(Source(photos), tmp_path / "out.zip", PackSettings(32))
    (tmp_path / "out.zip").unlink()
    pack(Source(photos), tmp_path / "out.zip", SETTINGS)
    assert (tmp_path / "out.zip").read_bytes() == before


def test_interrupted_packing_goes_on_and_ends_the_same(photos, tmp_path, monkeypatch):
    interruption = Interruption()
    chunk = packing.pack_chunk

    def once(*arguments):
        interruption.signal = 2
        return chunk(*arguments)

    monkeypatch.setattr(packing, "pack_chunk", once)
    report = pack(Source(photos), tmp_path / "out", SETTINGS, interruption=interruption)
    assert (report.stopped, report.packed) == (True, 8)
    with pytest.raises(
        DatasetError, match="has not been packed to the end; the same `gp3d data pack` command"
    ):
        Dataset(tmp_path / "out", needs_depth=False)
    # what a power cut may leave besides
    with (tmp_path / "out/origins.jsonl").open("a") as file:
        file.write('{"image": "n0144')
    (tmp_path / "out/my-things/.08.png.77.tmp.png").write_bytes(b"half")
    monkeypatch.setattr(packing, "pack_chunk", chunk)
    report = pack(Source(photos), tmp_path / "out", SETTINGS)
    assert (report.kept, report.packed) == (8, 12)
    assert content(tmp_path / "out") == fresh(photos)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.*")}
    assert pack(Source(photos), tmp_path / "out", SETTINGS).packed == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.*")} == before | {
        tmp_path / "out/.lock": (tmp_path / "out/.lock").stat().st_mtime_ns
    }


def test_bad_pictures_are_skipped_by_name_or_stop_the_work_and_what_was_packed_stays(photos, tmp_path):
    good = (photos / "n01440764/15.png").read_bytes()
    (photos / "n01440764/15.png").write_bytes(good[:200])
    photo(1, 9, 7).save(photos / "my things/00.png")
    settings = PackSettings(16, min_side=8)
    report = pack(Source(photos), tmp_path / "skip", settings)
    assert sorted(report.failures) == ["my things/00.png", "n01440764/15.png"]
    rows = [json.loads(line) for line in (tmp_path / "skip/failures.jsonl").read_text().splitlines()]
    assert rows[0] == {"source": "my things/00.png", "reason": "has 9x7 pixels, less than 8 (`min_side`)"}
    assert len(Dataset(tmp_path / "skip", needs_depth=False)) == 18

    with pytest.raises(PackError, match=r"my things/00.png has 9x7 pixels.*the same command goes on"):
        pack(Source(photos), tmp_path / "stop", settings, on_error="stop")
    photo(0).save(photos / "my things/00.png")
    with pytest.raises(PackError, match=r"n01440764/15.png cannot be decoded"):
        pack(Source(photos), tmp_path / "stop", settings, on_error="stop")
    (photos / "n01440764/15.png").write_bytes(good)
    report = pack(Source(photos), tmp_path / "stop", settings, on_error="stop")
    assert report.kept > 0
    assert not (tmp_path / "stop/failures.jsonl").exists()
    assert len(Dataset(tmp_path / "stop", needs_depth=False)) == 20
    assert pack(Source(photos), tmp_path / "skip", settings).packed == 2
    assert len(Dataset(tmp_path / "skip", needs_depth=False)) == 20


def test_picture_that_was_damaged_after_packing_leaves_the_data_set(photos, tmp_path):
    pack(Source(photos), tmp_path / "out", SETTINGS)
    for name in ("00", "02", "04"):
        (tmp_path / f"out/my-things/{name}_depth.png").write_bytes(b"depth")
    (photos / "my things/00.png").write_bytes(b"now damaged")
    photo(99).save(photos / "my things/02.jpg")
    pack(Source(photos), tmp_path / "out", SETTINGS)
    dataset = Dataset(tmp_path / "out", needs_depth=False)
    depth = [path.name for path in (tmp_path / "out").rglob("*_depth.png")]
    assert depth == ["04_depth.png"]  # what has changed wants new depth
    assert "my-things/00.png" not in dataset.names
    assert len(dataset) == 19
    assert all(
        "my things/00" not in line for line in (tmp_path / "out/origins.jsonl").read_text().splitlines()
    )


REFUSED = {
    "resolution": (
        lambda p, t: pack(Source(p), t / "out", PackSettings(32)),
        "resolution = 16, asked for is 32",
    ),
    "fit": (
        lambda p, t: pack(Source(p), t / "out", PackSettings(16, fit="letterbox")),
        "fit = crop, asked for is letter",
    ),
    "classes": (lambda p, t: pack(Source(p, layout="flat"), t / "out", SETTINGS), "kind = folder per class"),
    "inside": (lambda p, t: pack(Source(p), p / "out", SETTINGS), "lie in one another"),
    "itself": (lambda p, t: pack(Source(p), p, SETTINGS), "lie in one another"),
    "above": (lambda p, t: pack(Source(p), t, SETTINGS), "lie in one another"),
    "other files": (lambda p, t: pack(Source(p), t / "other", SETTINGS), "holds other files"),
    "a file": (lambda p, t: pack(Source(p), t / "other/a.txt", SETTINGS), "is a file"),
    "a foreign zip": (lambda p, t: pack(Source(p), t / "other.zip", SETTINGS), "was not made by"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unfit_target_is_refused_and_left_as_it_was(photos, tmp_path, name):
    pack(Source(photos), tmp_path / "out", SETTINGS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").write_text("mine")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "mine")
    before = content(tmp_path)
    act, said = REFUSED[name]
    with pytest.raises(PackError, match=said):
        act(photos, tmp_path)
    assert content(tmp_path) == before


def test_changed_source_is_refused(photos, tmp_path):
    pack(Source(photos), tmp_path / "out", SETTINGS)
    photo(50).save(photos / "my things/50.png")
    with pytest.raises(PackError, match="another source, or it has changed"):
        pack(Source(photos), tmp_path / "out", SETTINGS)


def test_two_processes_do_not_pack_into_one_folder(photos, tmp_path):
    from gp3d_core.preparation.pack_folder import PackedFolder

    first = PackedFolder(tmp_path / "out")
    first.claim({"settings": {}})
    with pytest.raises(PackError, match="another process packs"):
        pack(Source(photos), tmp_path / "out", SETTINGS)


def test_nothing_usable_ends_without_a_data_set(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a.png").write_bytes(b"nothing")
    with pytest.raises(PackError, match=r"none of 1 pictures could be used; a\.png is no picture"):
        pack(Source(tmp_path / "s"), tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out/dataset.json").exists()
    assert "a.png" in (tmp_path / "out/failures.jsonl").read_text()


def test_flat_folder_gives_a_data_set_without_classes(tmp_path):
    (tmp_path / "s").mkdir()
    for k in range(3):
        photo(k).save(tmp_path / f"s/{k}.png")
    pack(Source(tmp_path / "s"), tmp_path / "out", SETTINGS)
    dataset = Dataset(tmp_path / "out", needs_depth=False)
    assert (dataset.num_classes, dataset.labels.tolist(), dataset.names) == (
        0,
        [0, 0, 0],
        ["0.png", "1.png", "2.png"],
    )


def test_duplicates_are_found_by_pixels_and_by_look(photos, tmp_path):
    shutil.copy(photos / "my things/00.png", photos / "n01440764/copy.png")
    Image.open(photos / "my things/06.png").save(photos / "my things/same pixels.bmp")
    Image.open(photos / "my things/12.png").save(photos / "my things/squeezed.jpg", quality=60)
    report = pack(Source(photos), tmp_path / "out", SETTINGS)
    assert report.exact == [
        ["my-things/00.png", "n01440764/copy.png"],
        ["my-things/06.png", "my-things/same-pixels.png"],
    ]
    assert [pair[:2] for pair in report.near] == [("my-things/12.png", "my-things/squeezed.png")]
    assert json.loads((tmp_path / "out/duplicates.json").read_text())["exact"] == report.exact


def test_look_survives_brightness_and_size_but_not_a_mirror():
    picture = photo(7, 400, 300)
    darker = Image.fromarray((np.asarray(picture) * 0.7).astype(np.uint8))
    for same in (darker, picture.resize((90, 70)), picture):
        assert (look_of(picture) ^ look_of(same)).bit_count() <= 3
    assert (look_of(picture) ^ look_of(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))).bit_count() > 10
    assert look_of(Image.new("RGB", (9, 9), "white")) == 0


def test_near_pairs_are_those_that_comparing_all_with_all_finds():
    rng = np.random.default_rng(0)
    base = [int(v) for v in rng.integers(1, 2**63, 40)]
    looks = {
        f"{k:03d}": base[k % 40] ^ sum(1 << int(b) for b in rng.choice(64, k // 40, False))
        for k in range(200)
    }
    names = sorted(looks)
    every = [
        (a, b, (looks[a] ^ looks[b]).bit_count())
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if (looks[a] ^ looks[b]).bit_count() <= 3
    ]
    assert near_pairs(looks) == every
    assert len(every) > 50
    assert len(near_pairs(looks, most=10)) == 10
    assert exact_groups({"b": "x", "a": "x", "c": "y"}) == [["a", "b"]]


def test_command_packs_tells_and_refuses_in_one_line(photos, tmp_path, capsys):
    (photos / "my things/bad.png").write_bytes(b"")
    command = ["data", "pack", str(photos), str(tmp_path / "out"), "--resolution", "16", "--workers", "1"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(tmp_path / "out")
    assert "20 pictures packed, 1 refused" in told.err
    assert "my things/bad.png is no picture" in told.err
    assert "None" not in (tmp_path / "out/README.md").read_text()
    assert main([*command, "--fit", "letterbox"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["train", str(tmp_path / "out"), str(tmp_path / "run"), "--dry-run"]) == 2
    assert "gp3d data depth" in capsys.readouterr().err
    assert main(["data", "pack", str(tmp_path / "nothing"), str(tmp_path / "x")]) == 2
    assert main([*command[:-2], "--resolution", "4"]) == 2
    assert not (tmp_path / "x").exists()


def test_the_next_command_can_be_pasted_whatever_the_place_is_called(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "photos/a.png")
    target = tmp_path / "my photos.zip"
    assert main(["data", "pack", str(tmp_path / "photos"), str(target), "--resolution", "16"]) == 0
    *_, said = capsys.readouterr().err.strip().splitlines()
    words = shlex.split(said.removeprefix("next: "))
    folder = str(tmp_path / "my photos")
    assert words == ["unzip", str(target), "-d", folder, "&&", "gp3d", "data", "depth", folder]

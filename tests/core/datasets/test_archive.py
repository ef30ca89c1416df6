"""Files and header of a data set: what is seen of a folder or a zip, and one clear line for what is wrong in it."""

import json
import os
import zipfile

import numpy as np
import pytest

from gp3d_core.datasets.dataset import Dataset, DatasetError
from tests.support.tiny_dataset import CLASSES, T_FAR, T_NEAR, write_dataset

IMAGE = "n03063599/ball00_000.png"


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "balls", images=6)


def check(path):
    Dataset(path).check(16)


def edit(path, change):
    header = json.loads(path.read_text())
    change(header)
    path.write_text(json.dumps(header))


HEADER_FAULTS = {
    "resolution": (["abc", 0, -16, True, 16.0, None], "resolution: expected a whole number of at least 1"),
    "labels": (
        [None, [], {"a": 0}, 5, [["a", "0"]], [["a", 1.5]], [["a", True]], [[0, 0]], [["a", 0], ["a", 1]]],
        "label",
    ),
    "classes": (
        [
            {"0": "mug"},
            ["mug", "mushroom"],
            [{"label": 1, "name": "mug"}, {"label": 0, "name": "mushroom"}],
            [{"label": False, "name": "mug"}, {"label": True, "name": "mushroom"}],
            [{"name": "mug"}, {"name": "mushroom"}],
            [{"label": 0, "name": 7}, {"label": 1, "name": "mushroom"}],
            [{"label": 0, "name": " "}, {"label": 1, "name": "mushroom"}],
        ],
        "classes: expected",
    ),
    "t_near": ([2.55, 3, -1, "1", True, None, float("nan"), 10**400], "expected distances t_near < t_far"),
    "camera_angles": (
        [
            [],
            {},
            3,
            [["a"]],
            [["a", 1]],
            [["a", [0, 1]]],
            [["a", [0, "1", 0]]],
            [["a", [0, float("inf"), 0]]],
        ],
        "camera.angles",
    ),
}


@pytest.mark.parametrize(
    ("key", "value"), [(k, v) for k, (values, _) in HEADER_FAULTS.items() for v in values]
)
def test_header_with_a_wrong_value_is_one_clear_line(folder, key, value):
    edit(folder / "dataset.json", lambda h: h.update({key: value}))
    with pytest.raises(DatasetError, match=HEADER_FAULTS[key][1]) as caught:
        Dataset(folder)
    assert str(folder / "dataset.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("marked", [{"classes": CLASSES}, {"format": "gp3d-dataset"}])
def test_header_without_labels_is_refused_where_it_promises_them(folder, marked):
    (folder / "dataset.json").write_text(json.dumps({"resolution": 16} | marked))
    with pytest.raises(DatasetError, match="expected a label for each image, found none"):
        Dataset(folder)
    (folder / "dataset.json").write_text(json.dumps({"resolution": 16, "labels": None}))
    assert Dataset(folder).num_classes == 0


def test_gigantic_labels_without_class_records_are_refused(folder):
    rows = [[name, 10**12] for name in Dataset(folder).names]
    (folder / "dataset.json").write_text(json.dumps({"labels": rows}))
    with pytest.raises(DatasetError, match=r"label 1000000000000 .* out of range"):
        Dataset(folder)


def test_depth_range_and_angles_come_from_the_header(folder):
    plain = Dataset(folder)
    assert (plain.t_near, plain.t_far, plain.angles) == (T_NEAR, T_FAR, None)
    rows = [[name, [0.25 * i, 1.5 - 0.25 * i, 0]] for i, name in enumerate(plain.names)]
    edit(folder / "dataset.json", lambda h: h.update(camera_angles=rows[::-1]))
    dataset = Dataset(folder)
    assert dataset.angles.dtype == np.float32
    assert dataset.angles.tolist() == [[0.25 * i, 1.5 - 0.25 * i] for i in range(6)]
    assert dataset.subset(2).angles.tolist() == [dataset.angles[i].tolist() for i in (0, 3)]
    edit(folder / "dataset.json", lambda h: (h["camera_angles"].pop(), h.pop("t_near"), h.pop("t_far")))
    with pytest.raises(DatasetError, match=f"no camera angles for {dataset.names[0]}"):
        Dataset(folder)
    edit(folder / "dataset.json", lambda h: h.pop("camera_angles"))
    assert (Dataset(folder).t_near, Dataset(folder).t_far) == (None, None)


def zipped(folder, target, compression=zipfile.ZIP_STORED):
    """Packs `folder`; returns the place of every entry's content in the file."""
    with zipfile.ZipFile(target, "w", compression) as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder).as_posix())
        return {i.filename: i.header_offset + 30 + len(i.filename) for i in file.infolist()}


def overwrite(path, offset, content):
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(data)


def encrypt(path, _start):
    """Sets the flag "encrypted" of every entry, in its own header and in the directory."""
    data = path.read_bytes()
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        while start >= 0:
            overwrite(path, start + flags, b"\x01")
            start = data.find(mark, start + 1)


def change_method(path, _start):
    """Claims a compression that does not exist."""
    data = path.read_bytes()
    for mark, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = data.find(mark)
        while start >= 0:
            overwrite(path, start + method, b"\x63")
            start = data.find(mark, start + 1)


@pytest.mark.parametrize(
    ("compression", "damage"),
    [
        (zipfile.ZIP_DEFLATED, encrypt),
        (zipfile.ZIP_DEFLATED, change_method),
        (zipfile.ZIP_DEFLATED, lambda path, start: overwrite(path, start, b"\xff" * 40)),
        (zipfile.ZIP_BZIP2, lambda path, start: overwrite(path, start, b"\xff" * 40)),
        (zipfile.ZIP_LZMA, lambda path, start: overwrite(path, start + 9, b"\xff" * 40)),
        (zipfile.ZIP_STORED, lambda path, start: overwrite(path, start, b"\xff" * 40)),
        (zipfile.ZIP_STORED, lambda path, start: overwrite(path, start - 4, b"\xff" * 4)),
    ],
)
@pytest.mark.parametrize("name", ["dataset.json", IMAGE])
def test_damaged_entry_of_a_zip_is_one_clear_line(folder, tmp_path, compression, damage, name):
    path = tmp_path / "balls.zip"
    damage(path, zipped(folder, path, compression)[name])
    with pytest.raises(DatasetError, match="cannot be unpacked") as caught:
        check(path)
    assert "\n" not in str(caught.value)


def test_zip_that_ends_early_is_one_clear_line(folder, tmp_path, monkeypatch):
    zipped(folder, tmp_path / "balls.zip")

    def end(*_):
        raise EOFError

    monkeypatch.setattr(zipfile.ZipFile, "read", end)
    with pytest.raises(DatasetError, match=r"dataset.json cannot be unpacked \(ended early\)"):
        Dataset(tmp_path / "balls.zip")


@pytest.mark.parametrize("packed", [False, True])
def test_hidden_files_of_desktops_are_not_seen(folder, tmp_path, packed):
    before = Dataset(folder)
    archive = tmp_path / "balls.zip"
    for name in ("__MACOSX/balls/ball.png", ".thumbs/ball.png", "n03063599/._ball00_000.png", ".DS_Store"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    if packed:
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                name = path.relative_to(folder).as_posix()
                file.write(path, name if name.startswith("__MACOSX") else f"balls/{name}")
    after = Dataset(archive if packed else folder)
    after.check(16)
    assert (after.names, after.fingerprint) == (before.names, before.fingerprint)


def test_path_below_a_file_is_no_data_set(folder):
    with pytest.raises(DatasetError, match="no data set at"):
        Dataset(folder / "dataset.json" / "more")


def test_directory_in_place_of_a_depth_map_is_refused(folder):
    path = folder / IMAGE.replace(".png", "_depth.png")
    path.unlink()
    path.mkdir()
    with pytest.raises(DatasetError, match="has no depth map"):
        Dataset(folder)


def test_folder_that_may_not_be_listed_is_not_left_out(folder, monkeypatch):
    listing = os.scandir

    def refuse(path):
        if str(path).endswith("n03063599"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="n03063599"):
        Dataset(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read_says_so(folder):
    (folder / IMAGE).chmod(0)
    with pytest.raises(PermissionError, match=r"ball00_000\.png"):
        check(folder)

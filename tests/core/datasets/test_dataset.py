"""Data sets: what is read, in which order, and one clear line for everything that is wrong."""

import json
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.datasets.dataset import Dataset, DatasetError, batches, shuffled
from tests.support.limits import limited_seconds
from tests.support.tiny_dataset import CLASSES, T_FAR, T_NEAR, write_dataset


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "balls", images=6)


def load_all(dataset, mirrored=False):
    with ThreadPoolExecutor(2) as pool:
        return dataset.batch(np.arange(len(dataset)), np.full(len(dataset), mirrored), pool)


def test_batch_has_images_depth_and_labels_in_range(folder):
    batch = load_all(Dataset(folder))
    assert batch.images.shape == (6, 3, 16, 16)
    assert batch.depth.shape == (6, 1, 16, 16)
    assert batch.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.images[:, :, 0, 0].eq(1).all()  # the corner is background, exactly white
    assert batch.depth.max() == pytest.approx(1.0, abs=1e-4)  # at t_far
    nearest = (2 - 0.45 - (T_NEAR + T_FAR) / 2) * 2 / (T_FAR - T_NEAR)
    assert nearest - 0.01 < batch.depth.min() < nearest + 0.3


def test_mirrored_batch_is_flipped_left_to_right(folder):
    straight, mirrored = load_all(Dataset(folder)), load_all(Dataset(folder), mirrored=True)
    assert torch.equal(mirrored.images, straight.images.flip(3))
    assert torch.equal(mirrored.depth, straight.depth.flip(3))


@pytest.mark.parametrize("prefix", ["", "balls/"])
def test_zip_reads_like_the_folder(folder, tmp_path, prefix):
    archive = tmp_path / "balls.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, prefix + path.relative_to(folder).as_posix())
    zipped, plain = Dataset(archive), Dataset(folder)
    assert zipped.classes == plain.classes == CLASSES
    assert torch.equal(load_all(zipped).images, load_all(plain).images)


def test_official_layout_without_header_reads(folder):
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    dataset = Dataset(folder)
    assert dataset.resolution == 16
    assert [record["name"] for record in dataset.classes] == ["class 0", "class 1"]


def test_data_without_labels_is_unconditional(folder):
    (folder / "dataset.json").unlink()
    assert Dataset(folder).num_classes == 0


def test_eight_bit_depth_is_scaled_to_sixteen(folder):
    path = next(folder.rglob("*_depth.png"))
    Image.fromarray(np.full((16, 16), 128, np.uint8)).save(path)
    dataset = Dataset(folder)
    name = path.relative_to(folder).as_posix().replace("_depth", "")
    index = dataset.names.index(name)
    assert dataset.load(index)[1].tolist() == [[32768] * 16] * 16


def test_every_pass_sees_every_item_once():
    order = shuffled(0, 35, 7, seed=3).reshape(5, 7)
    assert (np.sort(order, axis=1) == np.arange(7)).all()
    assert len({tuple(row) for row in order}) > 1


def test_order_can_be_continued_anywhere():
    whole = shuffled(0, 50, 7, seed=1)
    assert (np.concatenate([shuffled(k, 1, 7, seed=1) for k in range(50)]) == whole).all()
    assert (shuffled(13, 20, 7, seed=1) == whole[13:33]).all()
    assert (shuffled(0, 50, 7, seed=2) != whole).any()


def test_parts_of_two_processes_make_up_the_batch(folder):
    dataset = Dataset(folder)

    def first(part):
        return next(batches(dataset, nimg=4, batch=4, part=part, seed=0, mirror=True))

    whole, halves = first(slice(0, 4)), [first(slice(0, 2)), first(slice(2, 4))]
    assert torch.equal(whole.images, torch.cat([half.images for half in halves]))


def test_few_takes_from_every_class_in_turn(folder):
    edit(
        folder / "dataset.json",
        lambda h: [row.__setitem__(1, int(i != 2)) for i, row in enumerate(h["labels"])],
    )
    dataset = Dataset(folder)  # labels 1 1 0 1 1 1
    assert [dataset.names.index(name) for name in dataset.subset(2).names] == [0, 2]
    assert [dataset.names.index(name) for name in dataset.subset(4).names] == [0, 1, 2, 3]
    assert load_all(dataset.subset(4)).labels.tolist() == [1, 1, 0, 1]


def test_few_of_a_large_data_set_is_quick_and_even(folder):
    dataset = Dataset(folder)
    dataset.names = [f"{i}.png" for i in range(300_000)]
    dataset.labels = np.random.default_rng(0).integers(0, 1000, 300_000)
    with limited_seconds(5):
        part = dataset.subset(10_000)
    assert (np.bincount(part.labels) == 10).all()
    first = np.flatnonzero(dataset.labels == 7)[:10]
    assert [name for name, label in zip(part.names, part.labels, strict=True) if label == 7] == [
        f"{i}.png" for i in first
    ]


def test_fingerprint_follows_content(folder):
    before = Dataset(folder).fingerprint
    assert Dataset(folder).fingerprint == before
    header = json.loads((folder / "dataset.json").read_text())
    header["labels"][0][1] = 1
    (folder / "dataset.json").write_text(json.dumps(header))
    assert Dataset(folder).fingerprint != before


def test_features_follow_their_images(folder, tmp_path):
    dataset = Dataset(folder)
    table = np.arange(18, dtype=np.float32).reshape(6, 3)
    table.tofile(tmp_path / "features.bin")
    rows = {name: 5 - i for i, name in enumerate(dataset.names)}
    (tmp_path / "features_desc.json").write_text(json.dumps({"shape": [6, 3], "filepath_to_idx": rows}))
    dataset = Dataset(folder, features=tmp_path / "features.bin")
    assert dataset.feature_dim == 3
    assert load_all(dataset).features.tolist() == table[::-1].tolist()


def check(folder):
    dataset = Dataset(folder)
    dataset.check(dataset.resolution)


def corrupt_png(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b""
    path.write_bytes(data)


def edit(path, change):
    header = json.loads(path.read_text())
    change(header)
    path.write_text(json.dumps(header))


def image_of(folder):
    return folder / "n03063599" / "ball00_000.png"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: image_of(f).with_name("ball00_000_depth.png").unlink(), "ball00_000.png has no depth map"),
        (lambda f: corrupt_png(image_of(f)), "ball00_000.png cannot be read"),
        (
            lambda f: corrupt_png(image_of(f).with_name("ball00_000_depth.png")),
            "ball00_000_depth.png cannot be read",
        ),
        (lambda f: Image.new("L", (16, 16)).save(image_of(f)), "ball00_000.png is L, expected 8-bit RGB"),
        (
            lambda f: Image.new("RGBA", (16, 16)).save(image_of(f)),
            "ball00_000.png is RGBA, expected 8-bit RGB",
        ),
        (
            lambda f: Image.new("I;16", (16, 16)).save(image_of(f)),
            "ball00_000.png is I;16, expected 8-bit RGB",
        ),
        (lambda f: Image.new("RGB", (16, 8)).save(image_of(f)), "ball00_000.png is 16x8 px, expected 16x16"),
        (
            lambda f: edit(f / "dataset.json", lambda h: h["labels"].pop(0)),
            "no label for n03063599/ball00_000.png",
        ),
        (
            lambda f: edit(f / "dataset.json", lambda h: h["labels"][0].__setitem__(1, 7)),
            "label 7 .* out of range",
        ),
        (lambda f: edit(f / "dataset.json", lambda h: h.update(version=9)), "found 'gp3d-dataset' version 9"),
        (lambda f: edit(f / "dataset.json", lambda h: h.update(labels=[["a"]])), "rows"),
        (lambda f: edit(f / "dataset.json", lambda h: h.update(resolution=32)), "expected 32x32"),
        (lambda f: (f / "dataset.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "dataset.json").write_text("[" * 100_000), "not valid JSON"),
        (lambda f: (f / "dataset.json").write_bytes(b"\xff{}"), "not valid JSON"),
        (lambda f: (f / "dataset.json").write_text("[]"), "expected an object, found list"),
        (lambda f: save_sixteen_bit_rgb(image_of(f)), "ball00_000.png is 16-bit RGB, expected 8-bit RGB"),
        (lambda f: Image.new("RGB", (16, 16)).save(image_of(f), "TIFF"), "ball00_000.png cannot be read"),
        (lambda f: Image.new("RGB", (16, 16)).save(image_of(f), "EPS"), "ball00_000.png cannot be read"),
        (lambda f: image_of(f).write_bytes(b""), "ball00_000.png cannot be read"),
    ],
)
def test_damaged_data_is_one_clear_line(folder, damage, message):
    damage(folder)
    with pytest.raises(DatasetError, match=message) as caught:
        check(folder)
    assert "\n" not in str(caught.value)


def save_sixteen_bit_rgb(path):
    """Writes a 16 px PNG with 16 bits per channel, which Pillow itself cannot."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    rows = b"".join(b"\0" + bytes(16 * 6) for _ in range(16))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_whole_data_passes_the_check(folder):
    Dataset(folder).check(16)


def test_processes_check_their_shares(folder):
    dataset = Dataset(folder)
    Image.new("L", (16, 16)).save(folder / dataset.names[4])
    dataset.check(16, rank=0, size=3, workers=1)
    dataset.check(16, rank=2, size=3)
    with pytest.raises(DatasetError, match="is L"):
        dataset.check(16, rank=1, size=3)
    with pytest.raises(ValueError, match="rank from 0 to 2"):
        dataset.check(16, rank=3, size=3)


def test_other_resolution_is_refused_before_training(folder):
    with pytest.raises(DatasetError, match="has 16 px images, the configuration expects 64"):
        Dataset(folder).check(64)


@pytest.mark.parametrize("content", [None, b"not a zip"])
def test_missing_or_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "data.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"no data set|neither a folder nor a readable zip"):
        Dataset(path)


@pytest.fixture
def features(folder, tmp_path):
    """Features [6,3] of `folder` and their description."""
    np.arange(18, dtype=np.float32).tofile(tmp_path / "features.bin")
    rows = {name: i for i, name in enumerate(Dataset(folder).names)}
    (tmp_path / "features_desc.json").write_text(json.dumps({"shape": [6, 3], "filepath_to_idx": rows}))
    return tmp_path / "features.bin"


def describe(features, change):
    edit(features.with_name("features_desc.json"), change)


def set_row(description, row):
    description["filepath_to_idx"] = dict.fromkeys(description["filepath_to_idx"], row)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: describe(f, lambda d: d.update(filepath_to_idx={"other.png": 0})), "no row for 6 images"),
        (lambda f: describe(f, lambda d: d.update(filepath_to_idx=["a"])), "filepath_to_idx"),
        (lambda f: describe(f, lambda d: d.pop("filepath_to_idx")), "filepath_to_idx"),
        (lambda f: describe(f, lambda d: d.pop("shape")), r"expected the shape \[N, D\]"),
        (lambda f: describe(f, lambda d: d.update(shape=[18])), r"expected the shape \[N, D\]"),
        (lambda f: describe(f, lambda d: d.update(shape=[6, 3, 1])), r"expected the shape \[N, D\]"),
        (lambda f: describe(f, lambda d: d.update(shape=["6", "3"])), r"expected the shape \[N, D\]"),
        (lambda f: describe(f, lambda d: d.update(shape=[6.0, 3.0])), r"expected the shape \[N, D\]"),
        (lambda f: describe(f, lambda d: d.update(shape=[0, 3])), r"expected the shape \[N, D\]"),
        (lambda f: describe(f, lambda d: d.update(shape={"N": 6, "D": 3})), r"expected the shape \[N, D\]"),
        (lambda f: describe(f, lambda d: set_row(d, "0")), "expected a row from 0 to 5 for .*png, found '0'"),
        (
            lambda f: describe(f, lambda d: set_row(d, True)),
            "expected a row from 0 to 5 for .*png, found True",
        ),
        (
            lambda f: describe(f, lambda d: set_row(d, None)),
            "expected a row from 0 to 5 for .*png, found None",
        ),
        (lambda f: describe(f, lambda d: set_row(d, 6)), "expected a row from 0 to 5 for .*png, found 6"),
        (lambda f: describe(f, lambda d: set_row(d, -1)), "expected a row from 0 to 5 for .*png, found -1"),
        (lambda f: f.write_bytes(bytes(71)), "expected 72 bytes .* found 71"),
        (lambda f: f.write_bytes(bytes(144)), "expected 72 bytes .* found 144"),
        (lambda f: f.unlink(), "cannot be read"),
        (lambda f: (f.unlink(), f.mkdir()), "cannot be read"),
        (lambda f: f.with_name("features_desc.json").unlink(), "cannot be read"),
        (lambda f: f.with_name("features_desc.json").write_text("[1]"), "filepath_to_idx"),
        (lambda f: f.with_name("features_desc.json").write_bytes(b"\xff"), "cannot be read"),
        (lambda f: f.with_name("features_desc.json").write_text("{"), "cannot be read"),
    ],
)
def test_features_that_do_not_match_are_one_clear_line(folder, features, damage, message):
    damage(features)
    with pytest.raises(DatasetError, match=message) as caught:
        Dataset(folder, features=features)
    assert "\n" not in str(caught.value)


def test_fingerprint_follows_features(folder, features):
    prints = [Dataset(folder).fingerprint, Dataset(folder, features=features).fingerprint]
    assert Dataset(folder, features=features).fingerprint == prints[-1]
    features.write_bytes(bytes(48))
    describe(features, lambda d: d.update(shape=[6, 2]))
    prints.append(Dataset(folder, features=features).fingerprint)
    describe(features, lambda d: set_row(d, 0))
    prints.append(Dataset(folder, features=features).fingerprint)
    assert len(set(prints)) == 4
    assert Dataset(folder, features=features).subset(4).fingerprint != Dataset(folder).subset(4).fingerprint


def test_few_keeps_the_features_of_its_images(folder, features):
    assert load_all(Dataset(folder, features=features).subset(2)).features[:, 0].tolist() == [0, 9]

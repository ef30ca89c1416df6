"""Data sets: what is read, in which order, and one clear line for everything that is wrong."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.data import Dataset, DatasetError, batches, shuffled
from tests.core.tiny_dataset import CLASSES, T_FAR, T_NEAR, write_dataset


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
    index = [dataset._depth_of[name] for name in dataset.names].index(path.relative_to(folder).as_posix())
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


def test_few_takes_from_every_class(folder):
    part = Dataset(folder).few(4)
    assert sorted(part.labels.tolist()) == [0, 0, 1, 1]
    assert load_all(part).images.shape[0] == 4


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
        (lambda f: edit(f / "dataset.json", lambda h: h.update(version=9)), "found gp3d-dataset version 9"),
        (lambda f: edit(f / "dataset.json", lambda h: h.update(labels=[["a"]])), "rows"),
        (lambda f: edit(f / "dataset.json", lambda h: h.update(resolution=32)), "expected 32x32"),
        (lambda f: (f / "dataset.json").write_text("{"), "not valid JSON"),
    ],
)
def test_damaged_data_is_one_clear_line(folder, damage, message):
    damage(folder)
    with pytest.raises(DatasetError, match=message) as caught:
        check(folder)
    assert "\n" not in str(caught.value)


def test_whole_data_passes_the_check(folder):
    Dataset(folder).check(16)


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


def test_features_that_do_not_match_are_refused(folder, tmp_path):
    np.zeros((6, 3), np.float32).tofile(tmp_path / "features.bin")
    (tmp_path / "features_desc.json").write_text(
        json.dumps({"shape": [6, 3], "filepath_to_idx": {"other.png": 0}})
    )
    with pytest.raises(DatasetError, match="no row for 6 images"):
        Dataset(folder, features=tmp_path / "features.bin")

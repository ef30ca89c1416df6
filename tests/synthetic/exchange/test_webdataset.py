"""Shards, read by the webdataset library itself."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from tests.synthetic.exchange.boxes_data import BOXES, CREDIT, SIDE, export, files_in


def shards(out: Path) -> list[str]:
    return sorted(str(path) for path in out.glob("*.tar"))


def samples(out: Path) -> list[dict[str, Any]]:
    """All samples, decoded as the library decodes them by their endings."""
    return list(webdataset.WebDataset(shards(out), shardshuffle=False).decode("rgb8"))


@pytest.fixture(scope="module")
def out(data: Path) -> Path:
    out = data.parent / "webdataset"
    assert export(data, "--to", "webdataset", "--shard-megabytes", "0.05", out) == 0
    return out


def test_the_library_reads_every_view_once(data: Path, out: Path) -> None:
    found = samples(out)
    names = [sample["json"]["name"] for sample in found]
    index = json.loads((data / "dataset.json").read_text())
    assert sorted(names) == sorted(name for name, _ in index["labels"])
    assert len({sample["__key__"] for sample in found}) == len(found) == 5 * len(BOXES)
    labels = dict(index["labels"])
    for sample in found:
        name = sample["json"]["name"]
        np.testing.assert_array_equal(sample["png"], np.asarray(Image.open(data / name)))
        assert (
            sample["depth.png16"] == (data / name.replace(".png", "_depth.png")).read_bytes()
        )  # no image to it
        assert sample["json"]["licence"] == CREDIT.as_json()
        assert sample["cls"] == labels[name] == sample["json"]["label"]
        assert sample["json"]["class"]["name"] == index["classes"][labels[name]]["name"]
        with np.load(data / name.replace(".png", "_geometry.npz")) as geometry:
            assert set(geometry) == set(sample["geometry.npz"]) >= {"z_depth", "normals"}
            for key, array in geometry.items():
                np.testing.assert_array_equal(array, sample["geometry.npz"][key])
        record = json.loads((data / name.replace(".png", "_camera.json")).read_text())
        assert sample["camera.json"] == record
        assert sample["json"]["cam2world"] == record["cam2world"]


def test_without_decoding_depth_codes_are_files(data: Path, out: Path) -> None:
    for sample in webdataset.WebDataset(shards(out), shardshuffle=False):
        name = json.loads(sample["json"])["name"].replace(".png", "_depth.png")
        assert sample["depth.png16"] == (data / name).read_bytes()
        assert np.asarray(Image.open(io.BytesIO(sample["depth.png16"]))).shape == (SIDE, SIDE)


def test_shards_are_small_and_keep_the_split(data: Path, out: Path) -> None:
    manifest = json.loads((data / "manifest.json").read_text())["models"]
    sizes = {Path(shard).name: Path(shard).stat().st_size for shard in shards(out)}
    assert len(sizes) > 3
    assert max(sizes.values()) <= 50_000 + 10_240  # tar ends at a multiple of 10240
    for shard in shards(out):
        for sample in webdataset.WebDataset(shard, shardshuffle=False).decode():
            split = manifest[sample["json"]["model"]]["split"]
            assert Path(shard).name.startswith(f"{split}-")
    assert json.loads((out / "shards.json").read_text()).keys() == sizes.keys()


def test_bytes_are_a_function_of_the_data(data: Path, out: Path, tmp_path: Path) -> None:
    assert export(data, "--to", "webdataset", "--shard-megabytes", "0.05", tmp_path / "again") == 0
    assert files_in(tmp_path / "again") == files_in(out)
    with tarfile.open(shards(out)[0]) as tar:
        assert {(entry.mtime, entry.uid, entry.uname) for entry in tar} == {(0, 0, "")}


def test_data_without_classes_and_cameras(tmp_path: Path) -> None:
    """Photographs as `gp3d data pack` leaves them, with names that a key cannot have."""
    data = tmp_path / "photos"
    data.mkdir()
    for name in ("a.b.png", "__c__.png", "50%.jpg"):
        Image.new("RGB", (16, 16), (len(name), 0, 0)).save(data / name)
    index = {"format": "gp3d-dataset", "version": 1, "resolution": 16, "classes": [], "labels": []}
    (data / "dataset.json").write_text(json.dumps(index))
    assert export(data, "--to", "webdataset", tmp_path / "out") == 0
    found = {sample["json"]["name"]: sample for sample in samples(tmp_path / "out")}
    assert found.keys() == {"a.b.png", "__c__.png", "50%.jpg"}
    assert not any("cls" in sample for sample in found.values())
    assert export(tmp_path / "out", "--to", "gp3d", tmp_path / "back") == 0
    assert files_in(tmp_path / "back") == files_in(data)

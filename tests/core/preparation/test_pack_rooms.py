"""Rooms in two zips that travel: whole models, classes in turn, true views, held-out rooms unchanged."""

import json
import shutil

import numpy as np
import pytest

from benchmarks import pack_rooms
from gp3d_core.datasets.archive import depth_name
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.vq3d.toyscenes import write_toys
from gp3d_core.vq3d.training.true_views import true_pairs

VIEWS = 3


def write_rooms(folder, scenes, seed):
    """Toy scenes as if rendered: a manifest as well, and models that are called after the folder."""
    write_toys(folder, scenes, 16, views=VIEWS, seed=seed)
    cameras = json.loads((folder / "cameras.json").read_text())
    for said in cameras["views"].values():
        said["model"] = f"{folder.name}/{said['model']}"
    (folder / "cameras.json").write_text(json.dumps(cameras))
    models = {said["model"]: {"split": "train"} for said in cameras["views"].values()}
    (folder / "manifest.json").write_text(json.dumps({"format": "gp3d-manifest", "models": models}))
    return folder


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    return write_rooms(folder / "train", 40, 0), write_rooms(folder / "held", 12, 1)


def models_of(dataset):
    views = json.loads(dataset.archive.read("cameras.json"))["views"]
    return [views[name]["model"] for name in dataset.names]


def test_zips_fit_and_hold_whole_models_of_every_class_in_turn(rooms, tmp_path, capsys):
    pack_rooms.main([*map(str, rooms), str(tmp_path / "out"), "--megabytes", "0.1", "--held-views", "7"])
    said = capsys.readouterr()
    assert "rooms.zip: 0." in said.out
    assert "held.zip" in said.err  # a bar
    packed, held = Dataset(tmp_path / "out/rooms.zip"), Dataset(tmp_path / "out/held.zip")
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert 0.7e5 < size < 1e5
    train, whole = Dataset(rooms[0]), models_of(Dataset(rooms[0]))
    assert packed.classes == train.classes
    models = models_of(packed)
    assert all(models.count(model) == whole.count(model) == VIEWS for model in models)
    assert len(held) == 9  # the first models with at least 7 views
    most = {k: len(set(np.array(whole)[train.labels == k])) for k in range(train.num_classes)}
    found = [len(set(np.array(models)[packed.labels == k])) for k in range(train.num_classes)]
    assert VIEWS < sum(found) < 40
    assert all(n >= min(max(found) - 1, most[k]) for k, n in enumerate(found))
    manifest = json.loads(packed.archive.read("manifest.json"))
    assert set(manifest["models"]) == set(models)
    assert (packed.t_near, packed.t_far, packed.resolution) == (train.t_near, train.t_far, 16)


def test_views_are_what_they_were_and_know_one_another(rooms, tmp_path):
    pack_rooms.main([*map(str, rooms), str(tmp_path), "--megabytes", "0.1", "--held-views", "6"])
    for name, source, exact in (("rooms", rooms[0], False), ("held", rooms[1], True)):
        packed, whole = Dataset(tmp_path / f"{name}.zip"), Dataset(source)
        stems = [path.rsplit(".", 1)[0] for path in whole.names]
        for k, path in enumerate(packed.names):
            number = stems.index(path.rsplit(".", 1)[0])
            (image, depth), (true_image, true_depth) = packed.load(k), whole.load(number)
            assert packed.labels[k] == whole.labels[number]
            assert np.array_equal(image, true_image)
            off = np.abs(depth.astype(int) - true_depth)
            assert off.max() <= (0 if exact else 8)
            if exact:
                both = (path, depth_name(path))
                assert all(packed.archive.read(file) == (source / file).read_bytes() for file in both)
        assert len(true_pairs(packed, unit=1.0, limit=60).source) == (VIEWS - 1) * len(packed)


def test_rounded_depth_keeps_the_background_apart():
    depth = np.array([0, 7, 8, 65520, 65529, 65534, 65535], dtype=np.uint16)
    assert pack_rooms.rounded(depth).tolist() == [0, 0, 16, 65520, 65520, 65520, 65535]


def changed(folder, target, name, change):
    """A copy of the rooms in `folder` whose JSON file `name` is changed."""
    shutil.copytree(folder, target)
    said = json.loads((target / name).read_text())
    change(said)
    (target / name).write_text(json.dumps(said))
    return target


def test_unfit_rooms_are_refused_in_a_line_and_leave_nothing(rooms, tmp_path):
    train, held = rooms
    bare = shutil.copytree(train, tmp_path / "bare", ignore=shutil.ignore_patterns("manifest.json"))
    strange = changed(train, tmp_path / "strange", "manifest.json", lambda said: said["models"].popitem())
    blind = changed(train, tmp_path / "blind", "cameras.json", lambda said: said["views"].popitem())
    other = tmp_path / "held"
    write_toys(other, 2, 32, seed=2)
    (other / "manifest.json").write_text(json.dumps({"models": {}}))
    cases = [
        ([train, train], r"is not held out: train/.* is in .*train as well"),
        ([bare, held], r"expected dataset.json, cameras.json, manifest.json of synthetic.render"),
        ([strange, held], r"manifest.json does not know the model"),
        ([blind, held], r"expected dataset.json, cameras.json"),
        ([train, tmp_path / "none"], r"no data set at"),
        ([train, held, "--megabytes", "99"], r"at most 60.8 megabytes"),
        ([train, held, "--megabytes", "0.001"], r"not one model of .*held fits"),
    ]
    for words, message in cases:
        target = tmp_path / "out"
        with pytest.raises(SystemExit, match=message) as error:
            pack_rooms.main([*map(str, words[:2]), str(target), *map(str, words[2:])])
        assert "\n" not in str(error.value)
        assert not list(target.glob("*")) + list(target.glob(".*"))

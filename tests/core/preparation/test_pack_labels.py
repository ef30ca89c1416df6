"""Which class a photograph has, in the layouts in which people keep ImageNet and its relatives."""

from __future__ import annotations

import pytest

from gp3d_core.cli.main import main
from gp3d_core.preparation.sources.naming import class_records, name_all
from gp3d_core.preparation.sources.pictures import Source
from gp3d_core.preparation.sources.trees import SourceError
from tests.core.preparation.test_pack_sources import classes_of, fill

TRAIN = "ILSVRC/Data/CLS-LOC/train"
LAYOUTS = {
    "Stanford Dogs": (
        ["Images/n02085620-Chihuahua/n02085620_1.jpg", "Images/n02085782-Japanese_spaniel/n02085782_2.jpg"],
        ["n02085620", "n02085782"],
        {},
    ),
    "flat, ids in names": (
        ["n01440764_tench.JPEG", "n01443537_goldfish.JPEG"],
        ["n01440764", "n01443537"],
        {},
    ),
    "a hierarchy of ids": (["n02084071/n02085620/a.jpg", "n02084071/b.jpg"], ["n02085620", "n02084071"], {}),
    "Kaggle": (
        [
            f"{TRAIN}/n01440764/n01440764_1.JPEG",
            f"{TRAIN}/n01443537/n01443537_1.JPEG",
            "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG",
            "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG",
            "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000002.JPEG",
        ],
        ["n01440764", "n01443537"],
        {"pictures of val without a class": 1, "pictures of test without a class": 2},
    ),
    "Tiny ImageNet without annotations": (
        [
            "tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG",
            "tiny-imagenet-200/val/images/val_0.JPEG",
            "tiny-imagenet-200/test/images/test_0.JPEG",
        ],
        ["n01443537"],
        {"pictures of val without a class": 1, "pictures of test without a class": 1},
    ),
    "splits, one without classes": (
        ["train/cat/a.png", "train/dog/b.png", "test/c.png"],
        ["cat", "dog"],
        {"pictures of test without a class": 1},
    ),
    "splits without classes": (["train/a.png", "val/b.png"], [None, None], {}),
    "splits in capitals": (
        ["Train/cat/a.png", "Test/c.png"],
        ["cat"],
        {"pictures of Test without a class": 1},
    ),
    "named folders beside an id": (["n01440764/a.png", "my things/b.png"], ["n01440764", "my things"], {}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ids_decide_and_splits_are_no_classes(tmp_path, layout):
    names, labels, left_out = LAYOUTS[layout]
    listing = Source(fill(tmp_path / "s", *names)).list()
    found = classes_of(listing)
    assert [found[name] for name in names if name in found] == labels
    assert len(found) == len(labels)
    assert listing.left_out == left_out


def test_tiny_imagenet_takes_the_labels_of_its_annotations(tmp_path):
    names = ["train/n01443537/images/n01443537_0.JPEG", "val/images/val_0.JPEG", "val/images/val_1.JPEG"]
    root = fill(tmp_path / "s", *names, "test/images/test_0.JPEG")
    (root / "val/val_annotations.txt").write_text("val_0.JPEG\tn03444034\t0\t32\t44\t62\n")
    listing = Source(root).list()
    assert classes_of(listing) == {names[0]: "n01443537", names[1]: "n03444034"}
    assert listing.left_out == {
        "pictures of val without a class": 1,
        "pictures of test without a class": 1,
    }


@pytest.mark.parametrize(
    "table",
    [
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01751748 111 108 230 366 \n",
        "ILSVRC2012_val_00000001.JPEG,n01751748\n",
        "file_name,label\nILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG,n01751748\n",
        "\ufeffimage\tclass\nILSVRC2012_val_00000001\tn01751748\n",
    ],
    ids=["solution of the challenge", "names", "paths", "tabs and a byte order mark"],
)
def test_a_table_that_the_user_names_labels_the_rest(tmp_path, table):
    names, labels, _ = LAYOUTS["Kaggle"]
    (tmp_path / "labels.csv").write_text(table, encoding="utf-8")
    listing = Source(fill(tmp_path / "s", *names), labels=tmp_path / "labels.csv").list()
    found = classes_of(listing)
    assert found[names[2]] == "n01751748"
    assert [found[name] for name in names[:2]] == labels
    assert listing.left_out == {"pictures of test without a class": 2}


def test_a_table_labels_a_flat_folder(tmp_path):
    root = fill(tmp_path / "s", "a.png", "b.png", "c.png")
    (tmp_path / "labels.csv").write_text("a.png,cat\nb,dog\n")
    listing = Source(root, labels=tmp_path / "labels.csv").list()
    assert classes_of(listing) == {"a.png": "cat", "b.png": "dog"}
    assert listing.left_out == {"pictures without a row in the table": 1}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("490\n361\n", "row 1 is '490'.*several orders"),
        ("a.png,cat\na.png,dog\n", "a.png has two labels, 'cat' and 'dog'"),
        ("", "has no rows"),
        ("name,label\n", "has no rows"),
        ("a.png,\n", "expected a picture's name and its class"),
    ],
)
def test_a_table_that_says_nothing_is_one_line(tmp_path, table, reason):
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(SourceError, match=reason):
        Source(fill(tmp_path / "s", "a.png"), labels=tmp_path / "labels.csv").list()


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["n01440764/a.png", "n01440764/n01443537_1.png"],
            "lies in the folder of n01440764 and is called n01443537",
        ),
        (
            ["pets/n01440764/a.png", "pets/b.png", "c/d.png"],
            "1 pictures have a WordNet id.*2 have none.*`layout` ids",
        ),
        (["train/cat/a.png", "extra/dog/b.png"], "train look like splits, and extra/dog/b.png lies in none"),
    ],
)
def test_mixed_evidence_is_refused_with_the_option_that_decides(tmp_path, names, reason):
    root = fill(tmp_path / "s", *names)
    with pytest.raises(SourceError, match=f"{reason}.*`layout` classes"):
        Source(root).list()


def test_the_option_decides(tmp_path):
    root = fill(tmp_path / "s", "pets/n01440764/a.png", "other/b.png", "train/n01443537_1.png")
    ids = Source(root, layout="ids").list()
    assert classes_of(ids) == {"pets/n01440764/a.png": "n01440764", "train/n01443537_1.png": "n01443537"}
    assert ids.left_out == {"pictures without a WordNet id": 1}
    folders = Source(root, layout="classes").list()
    assert set(classes_of(folders).values()) == {"pets", "other", "train"}
    with pytest.raises(SourceError, match="no path has a part that begins with a WordNet id"):
        Source(fill(tmp_path / "t", "cat/a.png"), layout="ids").list()


@pytest.mark.parametrize(
    ("folder", "ids"),
    [
        ("crane", ("n02012849", "n03126707")),
        ("maillot", ("n03710637", "n03710721")),
        ("cardigan", ("n02113186", "n02963159")),
        ("Cardigan", ("n02113186", "n02963159")),
    ],
)
def test_a_name_of_two_classes_is_refused_by_name_with_both_ids(tmp_path, capsys, folder, ids):
    root = fill(tmp_path / "s", f"{folder}/a.png", "tench/b.png")
    command = ["data", "pack", str(root), str(tmp_path / "out"), "--resolution", "8", "--imagenet-names"]
    assert main([*command, "--workers", "1"]) == 2
    said = capsys.readouterr().err
    assert repr(folder) in said
    assert all(wnid in said for wnid in ids)
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    (root / folder).rename(root / f"{ids[1]}-{folder}")
    assert main([*command, "--workers", "1"]) == 0


def test_the_id_gives_the_class_its_name(tmp_path):
    listing = Source(fill(tmp_path / "s", "n02085620-Chihuahua/a.jpg", "n01440764_tench.JPEG")).list()
    names = name_all(listing)
    records, _ = class_records(names, [entry.label for entry in listing.entries])
    assert [(one["name"], one["imagenet_index"], one["wnid"]) for one in records] == [
        ("tench", 0, "n01440764"),
        ("Chihuahua", 151, "n02085620"),
    ]
    assert names.images == ["n01440764/n01440764_tench.png", "n02085620/a.png"]

"""Every layout of a source, and sources that mean harm."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from gp3d_core.datasets.decoding import PictureError
from gp3d_core.preparation.sources import trees
from gp3d_core.preparation.sources.naming import name_all, readable
from gp3d_core.preparation.sources.pictures import Source
from gp3d_core.preparation.sources.trees import SourceError


def picture(color: object = (1, 2, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def fill(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture())
    return root


def classes_of(listing):
    return {entry.key: entry.label for entry in listing.entries}


LAYOUTS = {
    "flat": (["b.png", "a.JPG"], {"a.JPG": None, "b.png": None}, "flat folder"),
    "one folder below": (["x/a.png", "x/b.png"], {"x/a.png": "x", "x/b.png": "x"}, "folder per class"),
    "classes": (["cat/a.png", "dog/b.png"], {"cat/a.png": "cat", "dog/b.png": "dog"}, "folder per class"),
    "wrapped": (
        ["all/cat/a.png", "all/dog/b.png"],
        {"all/cat/a.png": "cat", "all/dog/b.png": "dog"},
        "folder per class",
    ),
    "splits": (
        ["train/cat/a.png", "val/dog/b.png"],
        {"train/cat/a.png": "cat", "val/dog/b.png": "dog"},
        "folder per class",
    ),
    "deep": (
        ["cat/1/a.png", "dog/2/b.png"],
        {"cat/1/a.png": "cat", "dog/2/b.png": "dog"},
        "folder per class",
    ),
    "imagenet": (
        ["train/n01440764/n01440764_1.JPEG", "train/n01443537/n01443537_2.JPEG"],
        {"train/n01440764/n01440764_1.JPEG": "n01440764", "train/n01443537/n01443537_2.JPEG": "n01443537"},
        "ImageNet",
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_understood_in_folder_and_zip(tmp_path, layout, packed):
    names, expected, kind = LAYOUTS[layout]
    root = fill(tmp_path / "s", *names, ".hidden/x.png", "__MACOSX/._a.png")
    (root / "notes.txt").write_text("hello")
    if packed:
        with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
            for path in sorted(root.rglob("*")):
                archive.write(path, path.relative_to(root).as_posix())
    source = Source(tmp_path / ("s.zip" if packed else "s"))
    listing = source.list()
    assert (classes_of(listing), listing.kind) == (expected, kind)
    assert listing.left_out == {"other files (notes.txt)": 1}
    reader = source.open()
    assert all(reader.read(entry.key) == picture() for entry in listing.entries)


def test_pictures_beside_class_folders_are_refused_unless_classes_are_not_wanted(tmp_path):
    root = fill(tmp_path / "s", "a.png", "cat/b.png")
    with pytest.raises(SourceError, match=r"a\.png lies in no class folder, cat/b\.png does"):
        Source(root).list()
    assert set(classes_of(Source(root, layout="flat").list()).values()) == {None}


def test_depth_maps_and_foreign_formats_are_not_taken_for_pictures(tmp_path):
    root = fill(tmp_path / "s", "a.jpg", "a_depth.png", "scuba_depth.png", "b.heic", "c.eps")
    listing = Source(root).list()
    assert list(classes_of(listing)) == ["a.jpg", "scuba_depth.png"]
    assert set(listing.refused) == {"b.heic", "c.eps"}
    assert listing.left_out == {"depth maps": 1}
    assert name_all(listing).images == ["a.png", "scuba-depth.png"]


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "C:/x.png", "a\\..\\x.png"])
def test_zip_that_points_outside_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("good.png", picture())
        archive.writestr(name, picture())
    with pytest.raises(SourceError, match="points outside"):
        Source(tmp_path / "s.zip").list()


def test_zip_with_a_link_or_a_name_twice_is_refused(tmp_path):
    entry = zipfile.ZipInfo("a.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(SourceError, match="has a link as an entry"):
        Source(tmp_path / "link.zip").list()
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", picture())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", picture())
    with pytest.raises(SourceError, match="twice"):
        Source(tmp_path / "twice.zip").list()


def test_reading_is_bounded_whatever_the_zip_claims(tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "MOST_BYTES", 1000)
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10**6))
    with pytest.raises(PictureError, match="has more than"):
        Source(path).open().read("a.png")
    (tmp_path / "a.png").write_bytes(bytes(1001))
    with pytest.raises(PictureError, match="has more than"):
        Source(tmp_path).open().read("a.png")


def test_damaged_and_encrypted_entries_are_named(tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", os.urandom(500))
    content = bytearray(path.read_bytes())
    start = content.index(b"a.png") + 5
    damaged = content[:start] + bytes(100) + content[start + 100 :]
    path.write_bytes(damaged)
    with pytest.raises(PictureError, match="cannot be unpacked"):
        Source(path).open().read("a.png")
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(PictureError, match="encrypted"):
        Source(path).open().read("a.png")


def test_links_out_of_the_source_are_named_and_followed_only_when_asked(tmp_path):
    fill(tmp_path / "elsewhere", "a.png", "more/b.png")
    root = fill(tmp_path / "s", "c.png")
    (root / "a.png").symlink_to(tmp_path / "elsewhere/a.png")
    (root / "more").symlink_to(tmp_path / "elsewhere/more")
    (root / "same.png").symlink_to(root / "c.png")
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "loop").symlink_to(root)
    (root / "circle.png").symlink_to(root / "circle.png")
    listing = Source(root).list()
    assert list(classes_of(listing)) == ["c.png", "same.png"]
    assert "leads out" in listing.refused["a.png"]
    assert "link to a folder" in listing.refused["more"]
    assert "cannot be read" in listing.refused["gone.png"]
    assert "cannot be read" in listing.refused["circle.png"]
    followed = Source(root, follow_links=True, layout="flat").list()
    assert list(classes_of(followed)) == ["a.png", "c.png", "more/b.png", "same.png"]


def test_a_pipe_among_the_pictures_is_named_and_not_waited_for(tmp_path):
    root = fill(tmp_path / "s", "a.png")
    os.mkfifo(root / "b.png")
    assert Source(root).list().refused == {"b.png": "is no regular file"}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata_file_gives_the_classes(tmp_path, kind):
    root = fill(tmp_path / "s", "train/a.png", "train/b.png", "train/c.png")
    rows = [("a.png", 10), ("b.png", 9)]
    if kind == "csv":
        text = "file_name,label\n" + "".join(f"{name},{label}\n" for name, label in rows)
    else:
        text = "".join(
            json.dumps({"file_name": n, "label": k, "text": "\u2028"}, ensure_ascii=False) + "\n"
            for n, k in rows
        )
    (root / f"train/metadata.{kind}").write_text(text)
    listing = Source(root).list()
    assert classes_of(listing) == {"train/a.png": "10", "train/b.png": "09"}
    assert listing.names == {"09": "class 9", "10": "class 10"}
    assert listing.refused == {"train/c.png": "has no row in the metadata"}


BAD_METADATA = {
    "no file name": ('{"label": 1}', "has no file_name"),
    "no json": ("{", "cannot be read"),
    "a list": ("[1]", "expected an object"),
    "odd label": ('{"file_name": "a.png", "label": [1]}', "has the label"),
    "two labels": ('{"file_name": "a.png", "label": 1}\n{"file_name": "a.png", "label": 2}', "two labels"),
    "outside": ('{"file_name": "../a.png", "label": 1}', "names none of the 1 pictures"),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_bad_metadata_is_one_clear_line(tmp_path, name):
    text, said = BAD_METADATA[name]
    root = fill(tmp_path / "s", "a.png")
    (root / "metadata.jsonl").write_text(text)
    with pytest.raises(SourceError, match=said):
        Source(root).list()


def test_label_column_can_be_chosen_and_must_exist(tmp_path):
    root = fill(tmp_path / "s", "a.png")
    (root / "metadata.csv").write_text("file_name,kind\na.png,cat\n")
    assert classes_of(Source(root).list()) == {"a.png": None}
    assert classes_of(Source(root, label_column="kind").list()) == {"a.png": "cat"}
    with pytest.raises(SourceError, match="no column 'sort' for `label_column`; it has file_name, kind"):
        Source(root, label_column="sort").list()


@pytest.mark.parametrize("content", [None, b"", b"no zip", b"PK\x03\x04 cut"])
def test_what_is_no_source_is_one_clear_line(tmp_path, content):
    path = tmp_path / "s.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"no source at|neither a folder nor a readable zip"):
        Source(path).list()


def test_names_are_safe_and_never_meet(tmp_path):
    names = ["ä b/x.png", "ä b/x.jpg", "ä b/X.png", "a-b/x.png", "a-b/x-2.png", "a-b/.../--.png"]
    root = fill(tmp_path / "s", *names)
    listing = Source(root).list()
    packed = name_all(listing)
    assert len({name.lower() for name in packed.images}) == len(listing.entries) == 5
    for name in packed.images:
        assert name.isascii()
        assert not any(part.startswith((".", "-")) or not part for part in name.split("/"))
    assert {record["wnid"] for record in packed.classes.values()} == {"a-b", "a-b-2"}
    flat = Source(fill(tmp_path / "flat", "a/b.png", "a_B.png"), layout="flat").list()
    assert name_all(flat).images == ["a_b.png", "a_B-2.png"]


def test_names_of_classes_are_text_on_one_line(tmp_path):
    """File names may hold line breaks and bytes that are no text; what draws and prints class names cannot."""
    root = fill(tmp_path / "s", "two\nlines/a.png", "\udce9t\udce9/b.png", "日本/c.png")
    records = name_all(Source(root).list()).classes.values()
    assert {record["name"] for record in records} == {"two lines", "?t?", "日本"}
    assert readable("\x07\n") == "class"


def test_imagenet_classes_are_known_by_id_by_all_their_names_and_by_one_only_when_asked(tmp_path):
    root = fill(
        tmp_path / "s", "n01440764/a.png", "goldfish, Carassius auratus/b.png", "coffee mug/c.png", "7/d.png"
    )

    def indices(**options):
        return {
            r["name"]: r["imagenet_index"] for r in name_all(Source(root).list(), **options).classes.values()
        }

    assert indices() == {"tench": 0, "goldfish": 1, "coffee mug": None, "7": None}
    assert indices(imagenet_names=True) == {"tench": 0, "goldfish": 1, "coffee mug": 504, "7": None}


def tables(folder, kind, rows=5, names=("small cat", "dog")):
    """A data set as `datasets` writes it, by hand."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    declared = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(names)}}
    images = [{"bytes": picture((k, 0, 0)), "path": f"{k}.png"} for k in range(rows)]
    kinds = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table(
        {"image": pyarrow.array(images, kinds), "label": pyarrow.array([k % 2 for k in range(rows)])}
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": declared}})})
    folder.mkdir(parents=True)
    if kind == "parquet":
        parquet.write_table(table, folder / "train-00000-of-00001.parquet", row_group_size=2)
        return folder
    path = str(folder / "data-00000-of-00001.arrow")
    with pyarrow.OSFile(path, "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    )
    return folder


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_tables_give_pictures_in_any_order_and_their_classes(tmp_path, kind):
    source = Source(tables(tmp_path / "s", kind))
    listing = source.list()
    assert [entry.label for entry in listing.entries] == ["0", "1", "0", "1", "0"]
    assert [r["name"] for r in name_all(listing).classes.values()] == ["small cat", "dog"]
    reader = source.open()
    for k in (0, 1, 4, 2, 3, 0):
        assert reader.read(listing.entries[k].key) == picture((k, 0, 0))


def test_table_beside_pictures_is_the_source_only_where_the_hub_puts_it(tmp_path):
    root = tables(tmp_path / "s", "parquet")
    fill(root, "preview/a.png")
    assert len(Source(root).list().entries) == 5
    (root / "train-00000-of-00001.parquet").rename(root / "embeddings.parquet")
    assert [entry.key for entry in Source(root).list().entries] == ["preview/a.png"]


def test_classes_of_imagenet_tables_are_known_by_their_number(tmp_path):
    from gp3d_core.datasets.imagenet import imagenet_classes

    names = [", ".join(entry.names) for entry in imagenet_classes()]
    listing = Source(tables(tmp_path / "s", "parquet", names=names)).list()
    records = name_all(listing).classes
    assert {label: r["wnid"] for label, r in records.items()} == {"000": "n01440764", "001": "n01443537"}


def test_splits_are_chosen_and_never_lead_outside(tmp_path):
    root = tmp_path / "s"
    tables(root / "test", "arrow")
    tables(root / "train", "arrow", rows=3)
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["test", "train", "../s"]}))
    assert len(Source(root).list().entries) == 3
    assert len(Source(root, split="test").list().entries) == 5
    with pytest.raises(SourceError, match=r"no split 'val'; choose with `split`: \.\./s, test, train"):
        Source(root, split="val").list()
    with pytest.raises(SourceError, match="outside itself"):
        Source(root, split="../s").list()
    (root / "train/state.json").write_text(json.dumps({"_data_files": [{"filename": "../test/x.arrow"}]}))
    with pytest.raises(SourceError, match="outside itself"):
        Source(root).list()


def read_all(root):
    source = Source(root)
    reader = source.open()
    return [reader.read(entry.key) for entry in source.list().entries]


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
@pytest.mark.parametrize("damage", ["empty", "end", "most", "zeros"])
def test_damaged_table_is_one_clear_line(tmp_path, kind, damage):
    root = tables(tmp_path / "s", kind)
    assert len(read_all(root)) == 5
    file = next(p for p in root.iterdir() if p.suffix != ".json")
    whole = file.read_bytes()
    file.write_bytes(
        {"empty": b"", "end": whole[:-200], "most": whole[:100], "zeros": bytes(len(whole))}[damage]
    )
    with pytest.raises((SourceError, PictureError)) as caught:
        read_all(root)
    assert "\n" not in str(caught.value)


def test_table_row_without_a_picture_or_class_is_named(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = [
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": b"", "path": None},
        {"bytes": picture(), "path": None},
    ]
    table = pyarrow.table({"image": images, "label": [0, 1, None]})
    (tmp_path / "s").mkdir()
    parquet.write_table(table, tmp_path / "s/train.parquet")
    source = Source(tmp_path / "s")
    listing = source.list()
    assert listing.refused == {"train.parquet#00000002": "has no label"}
    for entry, said in zip(listing.entries, ("only names '/etc/passwd'", "is empty"), strict=True):
        with pytest.raises(PictureError, match=said):
            source.open().read(entry.key)


def test_tables_without_pyarrow_name_the_remedy(tmp_path, monkeypatch):
    import sys

    (tmp_path / "s.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceError, match=r"needs pyarrow: pip install 'gp3d\[tables\]'"):
        Source(tmp_path / "s.parquet").list()


def test_options_of_tables_are_refused_for_folders(tmp_path):
    root = fill(tmp_path / "s", "a.png")
    with pytest.raises(SourceError, match="`split` is for tables"):
        Source(root, split="train").list()
    assert np.array(Image.open(root / "a.png")).shape == (8, 8, 3)

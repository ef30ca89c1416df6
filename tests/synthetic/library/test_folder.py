"""A tree of mesh files with a table: what becomes of its rows, good and bad."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic.layouts.shapenet import load_library
from synthetic.library import folder
from synthetic.library.__main__ import main
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic.library.furniture import BOX, MTL, red_png
from tests.synthetic.small_library import REAL_MODELS

TRIANGLES = "v 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n"
CC0 = {"licence": "CC0-1.0", "author": "Somebody"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("mugs/one.obj", "mugs/two.obj", "chairs/deep/three.obj", "four.obj"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(TRIANGLES)
    (tmp_path / "secret.obj").write_text(TRIANGLES)
    return root


def table(tmp_path: Path, rows: Sequence[Mapping[str, Any]], suffix: str = ".tsv") -> Path:
    path = tmp_path / f"table{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(list(rows)))
        return path
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t" if suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


def made(tmp_path: Path, root: Path, where: Path, *options: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The class records of the library that is made, and the failures."""
    out = tmp_path / "out"
    main(["folder", str(root), str(out), "--table", str(where), *options])
    path = out / "failures.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    failures = {entry["model"]: entry["reason"] for entry in map(json.loads, lines)}
    return json.loads((out / "classes.json").read_text()), failures


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".json"])
def test_files_patterns_and_classes(suffix: str, tree: Path, tmp_path: Path) -> None:
    """An ImageNet class by name, one by pattern, a category of ShapeNetCore, a noun with an id and a name."""
    rows = [
        {"class": "coffee mug", "file": "mugs/one.obj", "id": "first", **CC0, "source": "a shop", "name": ""},
        {"class": "504", "file": "mugs/t*.obj", "id": "", **CC0, "source": "", "name": ""},
        {"class": "chair", "file": "chairs/**/*.obj", "id": "", **CC0, "source": "", "name": ""},
        {"class": "n02882894", "file": "four.obj", "id": "", **CC0, "source": "", "name": "bow"},
    ]
    records, failures = made(tmp_path, tree, table(tmp_path, rows, suffix))
    assert failures == {}
    assert {
        key: (record["name"], record["wnid"], record["imagenet_index"]) for key, record in records.items()
    } == {
        "03797390/first": ("coffee mug", "n03063599", 504),
        "03797390/mugs-two": ("coffee mug", "n03063599", 504),
        "03001627/chairs-deep-three": ("chair", "n03001627", None),
        "02882894/four": ("bow", "n02882894", None),
    }
    models = {model.key: model for model in load_library(tmp_path / "out")}
    assert models.keys() == records.keys()
    credit = models["03797390/first"].credit
    assert credit is not None
    assert (credit.author, credit.licence, credit.source) == ("Somebody", "CC0-1.0", "a shop")
    other = models["03797390/mugs-two"].credit
    assert other is not None
    assert other.source == "mugs/two.obj"


def test_rows_that_are_no_models(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counted and named, each with its reason; the others are made."""
    (tree / "link.obj").symlink_to(tmp_path / "secret.obj")
    (tree / "notes.txt").write_text("text")
    (tree / "empty.obj").write_text("")
    rows = [
        {"class": "504", "file": "mugs/one.obj", **CC0},
        {"class": "504", "file": "mugs/one.obj", **CC0},
        {"class": "504", "file": "gone.obj", **CC0},
        {"class": "504", "file": "mugs/*.glb", **CC0},
        {"class": "504", "file": "../secret.obj", **CC0},
        {"class": "504", "file": "/etc/passwd", **CC0},
        {"class": "504", "file": "link.obj", **CC0},
        {"class": "504", "file": "notes.txt", **CC0},
        {"class": "thingummy", "file": "four.obj", **CC0},
        {"class": "n00000123", "file": "four.obj", **CC0},
        {"class": "crane", "file": "four.obj", **CC0},
        {"class": "504", "file": "mugs/two.obj", "licence": "", "author": ""},
        {"class": "504", "file": "mugs/two.obj", "licence": "as you like", "author": ""},
        {"class": "504", "file": "", **CC0},
        {"class": "504", "file": "four.obj", **CC0, "front": "up"},
        {"class": "504", "file": "mugs/*.obj", **CC0, "id": "mug"},
        {"class": "504", "file": "empty.obj", **CC0},
    ]
    records, failures = made(tmp_path, tree, table(tmp_path, rows))
    assert list(records) == ["03797390/mugs-one"]
    expected = {
        "row 2: mugs/one.obj": "is in row 1 already",
        "row 3: gone.obj": "the file is missing",
        "row 4: mugs/*.glb": "no mesh file is of that pattern",
        "row 5: ../secret.obj": "leads out of the folder",
        "row 6: /etc/passwd": "leads out of the folder",
        "row 7: link.obj": "leads out of the folder",
        "row 8: notes.txt": ".txt is not read",
        "row 9: four.obj": "'thingummy' is none of ImageNet or ShapeNetCore",
        "row 10: four.obj": "has no name",
        "row 11: four.obj": "n02012849 (crane) and n03126707 (crane)",
        "row 12: mugs/two.obj": "it has no licence",
        "row 13: mugs/two.obj": "'as you like' is no SPDX identifier",
        "row 14: ": "no file is named",
        "row 15: four.obj": "front and up must be two of",
        "row 16: mugs/*.obj": "would be that of 2 files",
        "03797390/empty": "empty.obj is empty",
    }
    assert failures.keys() == expected.keys()
    for key, reason in expected.items():
        assert reason in failures[key], key
    assert "16 models failed" in capsys.readouterr().err


def test_one_licence_for_all(tree: Path, tmp_path: Path) -> None:
    where = table(tmp_path, [{"class": "504", "file": "mugs/*.obj"}])
    records, _ = made(tmp_path, tree, where, "--licence", "cc-by-4.0", "--author", "Somebody")
    assert len(records) == 2
    lines = (tmp_path / "out/licences.jsonl").read_text().splitlines()
    assert {(entry["licence"], entry["author"]) for entry in map(json.loads, lines)} == {
        ("CC-BY-4.0", "Somebody")
    }


@pytest.mark.parametrize(
    ("front", "up", "expected"),
    [("+z", "+y", (1, 2, 3)), ("-x", "+y", (3, 2, 1)), ("-y", "+z", (1, 3, 2))],
)
def test_axes(front: str, up: str, expected: tuple[int, ...], tree: Path, tmp_path: Path) -> None:
    """The sides of a shape of 1 x 2 x 3, in our world frame."""
    where = table(tmp_path, [{"class": "504", "file": "four.obj", **CC0, "front": front, "up": up}])
    made(tmp_path, tree, where)
    (model,) = load_library(tmp_path / "out")
    staged = stage_model(model.path, model.folder, tmp_path / "staged", ModelLimits(), Treatment())
    positions = staged.surface.positions
    sides = positions.max(axis=0) - positions.min(axis=0)
    np.testing.assert_allclose(sides, np.array(expected) / np.linalg.norm(expected), atol=1e-7)


def test_changes_are_those_of_the_table_and_those_made_here(tree: Path, tmp_path: Path) -> None:
    """Licences ask for them: nobody is told that nothing was changed."""
    rows = [{"class": "504", "file": f"mugs/{name}.obj", **CC0} for name in ("one", "two")]
    made(tmp_path, tree, table(tmp_path, [{**rows[0], "changes": "handle removed"}, rows[1]]))
    lines = map(json.loads, (tmp_path / "out/licences.jsonl").read_text().splitlines())
    assert [entry["changes"] for entry in lines] == [
        "handle removed; converted to OBJ, scaled to a box of diagonal 1",
        "converted to OBJ, scaled to a box of diagonal 1",
    ]


def test_an_axis_with_a_minus_is_an_axis_and_no_option(tree: Path, tmp_path: Path) -> None:
    where = table(tmp_path, [{"class": "504", "file": "four.obj", **CC0}])
    records, failures = made(tmp_path, tree, where, "--front", "-x", "--up", "+y")
    assert (len(records), failures) == (1, {})
    assert json.loads((tmp_path / "out/library.json").read_text())["settings"]["front"] == "-x"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.tsv", None, "cannot be read"),
        ("bad.tsv", b"\xff\xfe\0", "is no text in UTF-8"),
        ("bad.tsv", b"class\tpath\n", "expected columns class, file"),
        ("bad.tsv", b"class\tfile\n", "has no rows"),
        ("bad.tsv", b"class\tfile\tclass\n504\ta\t505\n", "has the column 'class' twice"),
        ("bad.tsv", b"", "expected columns class, file"),
        ("bad.tsv", b"class\tfile\n504\ta\tb\n", "row 1 has 3 cells"),
        ("bad.json", b"{", "is not readable as JSON"),
        ("bad.json", b"{}", "expected a list of objects"),
        ("bad.json", b'[{"class": "504", "file": ["a"]}]', "expected texts"),
    ],
)
def test_tables_that_cannot_be_read(
    name: str,
    content: bytes | None,
    said: str,
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, status 2, nothing written."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["folder", str(tree), str(tmp_path / "out"), "--table", str(path)]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_table_without_end_is_not_read_to_its_end(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_MOST_BYTES", 2**20)
    assert main(["folder", str(tree), str(tmp_path / "out"), "--table", "/dev/zero"]) == 2
    assert "/dev/zero: expected a file" in capsys.readouterr().err
    (tmp_path / "large.tsv").write_bytes(b"x" * (2**20 + 1))
    assert main(["folder", str(tree), str(tmp_path / "out"), "--table", str(tmp_path / "large.tsv")]) == 2
    assert "has more than 1 MB" in capsys.readouterr().err


def test_textures_beside_the_file(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for name, content in (("box.obj", BOX.encode()), ("box.mtl", MTL.encode()), ("red.png", red_png())):
        (root / name).write_bytes(content)
    made(tmp_path, root, table(tmp_path, [{"class": "504", "file": "box.obj", **CC0}]))
    assert [path.name for path in (tmp_path / "out").rglob("*.png")] == ["texture0.png"]


def test_real_models_by_their_index(tmp_path: Path) -> None:
    """The table of docs/libraries.md, of some of the models that are given in its index."""
    if not REAL_MODELS.is_dir():
        pytest.skip(f"{REAL_MODELS} is not there")
    index = json.loads((REAL_MODELS / "index.json").read_text())[::20]
    rows = [
        {
            "class": entry["synset"],
            "name": entry["category"],
            "file": entry["path"],
            "licence": entry["license"],
            "author": entry["author"],
            "source": f"{entry['repo']} {entry['source_path']}",
            "front": "-z",
        }
        for entry in index
    ]
    records, failures = made(tmp_path, REAL_MODELS, table(tmp_path, rows))
    assert failures == {}
    assert len(records) == len(index)
    assert {record["file"] for record in records.values()} == {entry["path"] for entry in index}
    assert {key.partition("/")[0] for key in records} == {entry["synset"] for entry in index}

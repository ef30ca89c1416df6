"""`gp3d data card`, and the licences of parts of data sets."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gp3d_core.cli.main import main
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.licences.parts import Part
from tests.support.balls import write_balls

CREDITS = [
    {"licence": "CC-BY-3.0", "author": "Scopia", "source": "furniture", "changes": ""},
    {"licence": "CC-BY-SA-3.0", "author": "Wildfire Games", "source": "0 A.D.", "changes": ""},
    None,
]


def rewrite(path: Path, **changes: Any) -> None:
    """Puts other values into a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def balls(tmp_path: Path) -> Path:
    """Six models, two of each credit, as synthetic.render says it."""
    folder = write_balls(tmp_path / "balls", views=2)
    facts = {f"ball/ball{k:02d}": {"licence": CREDITS[k % 3]} if CREDITS[k % 3] else {} for k in range(6)}
    (folder / "manifest.json").write_text(json.dumps({"models": facts}))
    listed = [{**credit, "models": 2} for credit in CREDITS if credit]
    listed.append({"licence": "unknown", "author": "", "source": "", "changes": "", "models": 2})
    words = "CC-BY-3.0, CC-BY-SA-3.0 and unknown; see licences"
    rewrite(folder / "dataset.json", licences=listed, license=words)
    return folder


def test_the_card_says_what_is_in_it_and_what_is_owed(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "card", str(balls)]) == 0
    page = capsys.readouterr().out
    for words in (
        "# balls\n",
        "Licence of the pictures: CC-BY-3.0, CC-BY-SA-3.0 and unknown; see licences",
        "- 12 images of 16 px, all with depth",
        "| coffee mug | n03063599 | 6 |",
        "| CC-BY-3.0 | 2 | 1 |",
        "- Wildfire Games (2 models); 0 A.D.; licence CC-BY-SA-3.0",
        "**Share alike:**",
        "### unknown\n\n**Warning:**",
    ):
        assert words in page
    assert main(["data", "card", str(balls), "--out", str(tmp_path / "new" / "CARD.md")]) == 0
    assert (tmp_path / "new" / "CARD.md").read_text() == page
    assert main(["data", "zip", str(balls), str(tmp_path / "balls.zip")]) == 0
    capsys.readouterr()
    assert main(["data", "card", str(tmp_path / "balls.zip")]) == 0
    assert capsys.readouterr().out == page


def test_steps_stand_in_the_same_card(balls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = {"format": "gp3d-card", "version": 1, "title": "<b>T</b>", "license": "x"}
    (balls / "card.json").write_text(json.dumps(card | {"steps": [{"step": "depth", "model": "![m](evil)"}]}))
    assert main(["data", "card", str(balls)]) == 0
    page = capsys.readouterr().out
    assert "# &lt;b&gt;T&lt;/b&gt;" in page
    assert "## Depth\n\n- model: !\\[m\\](evil)" in page


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("[", "is not valid JSON"),
        ('{"format": "gp3d-card", "version": 1, "steps": [3]}', "expected gp3d-card"),
    ],
)
def test_a_damaged_card_is_one_line(
    balls: Path, card: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (balls / "card.json").write_text(card)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        for path in filter(Path.is_file, balls.rglob("*")):
            file.write(path, path.relative_to(balls).as_posix())
    for data in (balls, tmp_path / "b.zip"):
        assert main(["data", "card", str(data)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


def test_wrong_lists_and_names_are_one_line(balls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "card", str(balls), "--out", "card.txt"]) == 2
    assert "expects the name of a .md file" in capsys.readouterr().err
    rewrite(balls / "dataset.json", licences=[{"licence": 3}])
    assert main(["data", "card", str(balls)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "dataset.json: licences: expected objects" in line


def select(balls: Path, out: Path, rows: list[int]) -> None:
    """Keeps the images of these rows: the features of the others lie to both sides of theirs."""
    features = np.where(np.arange(12) % 2, 1000.0, -1000.0)[:, None]
    features[rows] = 0
    np.save(balls.parent / "mine.npy", features)
    assert main(["data", "features", str(balls), "--teacher", str(balls.parent / "mine.npy")]) == 0
    assert main(["data", "select", str(balls), str(out), "--keep", str(len(rows))]) == 0


def test_a_selection_owes_only_to_those_whose_models_it_shows(balls: Path, tmp_path: Path) -> None:
    names = Dataset(balls).names
    views = json.loads((balls / "cameras.json").read_text())["views"]
    wanted = [k for k, name in enumerate(names) if views[name]["model"] in ("ball/ball01", "ball/ball04")]
    select(balls, tmp_path / "few", wanted)
    few = Dataset(tmp_path / "few")
    assert {views[name]["model"] for name in few.names} == {"ball/ball01", "ball/ball04"}
    assert few.licences.parts == (Part("CC-BY-SA-3.0", "Wildfire Games", "0 A.D.", "", 2),)
    assert few.license == "CC-BY-SA-3.0; see licences"


def test_a_selection_without_a_manifest_keeps_the_whole_list(balls: Path, tmp_path: Path) -> None:
    (balls / "manifest.json").unlink()
    rewrite(balls / "dataset.json", license="mine")
    select(balls, tmp_path / "few", [0, 1])
    assert Dataset(tmp_path / "few").licences == Dataset(balls).licences
    assert Dataset(tmp_path / "few").license == "mine"

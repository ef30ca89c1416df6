"""From a data set to a mesh: who made the models arrives at every stage, in all four trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gp3d_core.cli.main import main
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.licences.parts import Licences, Part
from gp3d_core.snapshots.metadata import kind_of, read_header
from gp3d_core.snapshots.run_folder import newest_snapshot
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer
from tests.support.micro import micro_snapshot
from tests.support.tasks import KINDS, Small

WILDFIRE = {
    "licence": "CC-BY-SA-3.0",
    "author": "Wildfire Games",
    "source": "0 A.D.",
    "changes": "",
    "models": 2,
}
SCOPIA = {
    "licence": "CC-BY-3.0",
    "author": "Scopia",
    "source": "furniture",
    "changes": "upright",
    "models": 3,
}
NOBODY = {"licence": "CC0-1.0", "author": "Nobody <b>", "source": "", "changes": "", "models": 1}
OWED = [SCOPIA, WILDFIRE, NOBODY]
TEACHER = Part("CC-BY-4.0", "Tokenizer's author", "elsewhere")


def stamp(data: Path, licences: list[dict[str, Any]] | None, license: str = "") -> None:
    """Makes the data set in the folder `data` say whose models it shows."""
    header = json.loads((data / "dataset.json").read_text())
    header |= {"licences": licences} if licences else {}
    header |= {"license": license} if license else {}
    (data / "dataset.json").write_text(json.dumps(header))


def learnt(file: Path) -> list[dict[str, Any]]:
    """What the header of a model says that it owes."""
    found: list[dict[str, Any]] = read_header(file, kind_of(file)).get("licences", [])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_all_trainings_and_their_exports_name_the_authors(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Small(kind, tmp_path / "small").write()
    stamp(small.folder / "data", OWED)
    if kind == "prior":  # builds on what its tokenizer has learnt from
        file = small.folder / "tokenizer.safetensors"
        before = load_tokenizer(file)
        save_tokenizer(file, before.tokenizer, before.config, [], 0, Licences((TEACHER,)))
    assert main(small.command(tmp_path / "run", "kimg=0.008")) == 0
    file = newest_snapshot(tmp_path / "run")
    of_teacher = [
        {**NOBODY, "licence": "CC-BY-4.0", "author": TEACHER.author, "source": "elsewhere", "models": 0}
    ]
    wanted = sorted(OWED + (of_teacher if kind == "prior" else []), key=lambda part: part["licence"])
    assert sorted(learnt(file), key=lambda part: part["licence"]) == wanted
    shipped = tmp_path / "run" / "shipped.safetensors"
    ship = ["ship"] if kind in ("gan", "ground") else ["vq3d", "ship"]
    assert main([*ship, str(file), str(shipped)]) == 0
    assert learnt(shipped) == learnt(file)
    capsys.readouterr()
    assert main(["card", str(shipped)]) == 0
    page = capsys.readouterr().out
    assert "Wildfire Games (2 models); 0 A.D.; licence CC-BY-SA-3.0" in page
    assert "Scopia (3 models); furniture; licence CC-BY-3.0" in page
    assert "Nobody &lt;b&gt;" in page
    assert "<b>" not in page
    assert (TEACHER.author in page) == (kind == "prior")


def test_meshes_name_whose_models_their_generator_learnt_from(tmp_path: Path) -> None:
    small = Small("gan", tmp_path / "small").write()
    stamp(small.folder / "data", OWED)
    assert main(small.command(tmp_path / "run", "kimg=0.004")) == 0
    words = (
        f"mesh {tmp_path / 'run'} --class mushroom --grid 24 --color vertex --format obj,ply,glb --device cpu"
    )
    assert main([*words.split(), "--out", str(tmp_path / "meshes")]) == 0
    recipe = json.loads(next((tmp_path / "meshes").glob("*.recipe.json")).read_text())
    credits = "Learnt from models by Scopia (CC-BY-3.0); Wildfire Games (CC-BY-SA-3.0)."
    assert (recipe["license"], recipe["credits"]) == ("unknown", credits)
    for suffix in ("obj", "ply", "glb"):
        assert (
            credits.encode()
            in next((tmp_path / "meshes").glob(f"*.{suffix}")).read_bytes().split(b"recipe")[0]
        )


def test_a_run_that_begins_with_a_model_owes_what_that_owes(tmp_path: Path) -> None:
    small = Small("gan", tmp_path / "small").write()
    stamp(small.folder / "data", [SCOPIA])
    assert main(small.command(tmp_path / "first", "kimg=0.004")) == 0
    first = newest_snapshot(tmp_path / "first")
    stamp(small.folder / "data", [{**SCOPIA, "models": 1}, WILDFIRE])
    second = [*small.command(tmp_path / "second", "kimg=0.008"), "--init", str(first)]
    assert main([*second, "--max-minutes", "0"]) == 0
    assert main(second) == 0  # goes on from its checkpoint
    assert learnt(newest_snapshot(tmp_path / "second")) == [SCOPIA, WILDFIRE]


def test_what_nobody_has_stated_is_unknown_and_never_forgotten(tmp_path: Path) -> None:
    silent = micro_snapshot(tmp_path / "silent", 12)
    assert learnt(silent) == []
    small = Small("gan", tmp_path / "small").write()
    stamp(small.folder / "data", None, "mine alone")
    assert main([*small.command(tmp_path / "run", "kimg=0.004"), "--init", str(silent)]) == 0
    found = {(part["licence"], part["source"]) for part in learnt(newest_snapshot(tmp_path / "run"))}
    assert found == {("mine alone", "data set data"), ("unknown", f"model {silent.name}")}


def test_licences_decide_nothing_of_what_is_learnt(tmp_path: Path) -> None:
    small = Small("gan", tmp_path / "small").write()
    assert main(small.command(tmp_path / "without", "kimg=0.008")) == 0
    before = Dataset(small.folder / "data").fingerprint
    stamp(small.folder / "data", OWED)
    assert Dataset(small.folder / "data").fingerprint == before
    assert main(small.command(tmp_path / "with", "kimg=0.008")) == 0
    one, other = (load_file(newest_snapshot(tmp_path / name)) for name in ("without", "with"))
    assert all(torch.equal(one[name], other[name]) for name in one)

"""From a library's licences.jsonl to the card of a model: whoever made a model is named by all that learnt from it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from gp3d_core.cli.main import main
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.licences.parts import Part
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.run_folder import newest_snapshot
from synthetic.layouts.licences import LICENCES, Credit, licence_lines
from synthetic.layouts.shapenet import Model, ObjectClass, split_of
from synthetic.render import choose_models
from synthetic.workers.run import Shard
from tests.support.tasks import GROUND, SCHEDULE
from tests.synthetic import small_library as library

DOTS = "04379243/dots"
CREDITS = {
    "02876657/blocks": Credit("Scopia", "CC-BY-3.0", "furniture", ""),
    "03797390/ball": Credit("Nobody", "CC0-1.0", "", ""),
    DOTS: Credit("Wildfire Games", "CC-BY-SA-3.0", "0 A.D.", ""),
    f"{DOTS}-v01": Credit("Wildfire Games", "CC-BY-SA-3.0", "0 A.D.", "bent", DOTS),
    f"{DOTS}-v02": Credit("Wildfire Games", "CC-BY-SA-3.0", "0 A.D.", "bent", f"{DOTS}-v01"),
}
OPTIONS = ("--views", 2, "--resolution", 16, "--samples", 1, "--licences", "CC-BY-3.0,cc-by-sa")
WANTED = (
    Part("CC-BY-3.0", "Scopia", "furniture", "", 1),
    Part("CC-BY-SA-3.0", "Wildfire Games", "0 A.D.", "", 1),
    Part("CC-BY-SA-3.0", "Wildfire Games", "0 A.D.", "bent", 2),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three licences, with two variants of a model, and one model of which nothing is said."""
    root = tmp_path_factory.mktemp("licences") / "models"
    library.write_facts(root)
    for key, parts in library.SHAPES.items():
        library.write_model(root, key, parts)
    for variant in ("-v01", "-v02"):
        library.write_model(root, f"{DOTS}{variant}", library.SHAPES[DOTS][:4])
    (root / LICENCES).write_text(licence_lines(CREDITS))
    return root


@pytest.mark.blender
@pytest.mark.slow
def test_authors_go_from_a_library_to_the_card_of_a_model(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = library.run(tmp_path / "scratch", "synthetic.render", models, whole, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "--licences leaves 2 of 6 models out: CC0-1.0 (1), unknown (1)" in done.stderr
    assert "04379243/pane (unknown): no line of licences.jsonl is about it" in done.stderr
    for shard in ("2/2", "1/2", "1/1"):  # the last one finds all done
        again = library.run(
            tmp_path / "scratch", "synthetic.render", models, parts, *OPTIONS, "--shard", shard
        )
        assert again.returncode == 0, again.stderr
    for name in ("dataset.json", "manifest.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    assert Dataset(whole).licences.parts == WANTED
    assert Dataset(whole).license == "CC-BY-3.0 and CC-BY-SA-3.0; see licences"
    manifest = json.loads((whole / "manifest.json").read_text())["models"]
    assert {key: facts.get("parent") for key, facts in manifest.items()} == {
        "02876657/blocks": None,
        DOTS: None,
        f"{DOTS}-v01": DOTS,
        f"{DOTS}-v02": DOTS,
    }
    assert len({facts["split"] for key, facts in manifest.items() if key.startswith(DOTS)}) == 1
    options = ("--points", 64, "--workers", 1, "--licences", "CC-BY-3.0,cc-by-sa")
    points = library.run(tmp_path / "scratch", "synthetic.points", models, whole, *options)
    assert points.returncode == 0, points.stderr
    assert {path.stem for path in (whole / "points").glob("*/*.npz")} == {
        key.split("/")[1] for key in manifest
    }

    settings = [*GROUND, *(f"training.{item}" for item in (*SCHEDULE, "kimg=0.004"))]
    words = [word for item in settings for word in ("--set", item)]
    run = tmp_path / "run"
    assert main(["ground", str(whole), str(run), "--preset", "box-64", "--device", "cpu", *words]) == 0
    assert read_snapshot_facts(newest_snapshot(run)).licences.parts == WANTED
    assert main(["ship", str(run), str(tmp_path / "model.safetensors")]) == 0
    for command in (["card", str(tmp_path / "model.safetensors")], ["data", "card", str(whole)]):
        capsys.readouterr()
        assert main(command) == 0
        page = capsys.readouterr().out
        assert "Scopia (1 model); furniture; licence CC-BY-3.0" in page
        assert "Wildfire Games (3 models); 0 A.D.; licence CC-BY-SA-3.0" in page
        assert "Nobody" not in page


def test_a_side_of_the_split_has_the_variants_of_its_models() -> None:
    mug = ObjectClass("n03797390", "mug", None, "03797390")
    bases = [Model(f"03797390/{k}", Path(), mug) for k in range(60)]
    variants = [Model(f"{base.key}-v01", Path(), mug, parent=base.key) for base in bases]
    for side in ("train", "test"):
        arguments = argparse.Namespace(split=side, limit=None, per_class=None, shard=Shard(), models=[Path()])
        keys = {model.key for model in choose_models(arguments, [*bases, *variants])[0]}
        assert {f"{base.key}-v01" in keys for base in bases if base.key in keys} == {True}
        assert len(keys) == 2 * sum(split_of(base.key) == side for base in bases)


@pytest.mark.parametrize("program", ["synthetic.render", "synthetic.points", "synthetic.contact"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ccby", "expected families (cc0, public-domain"),
        ("gpl", "no model has a licence that --licences allows"),
    ],
)
def test_licences_that_choose_nothing_are_one_line(
    program: str, words: str, said: str, models: Path, tmp_path: Path
) -> None:
    done = library.run(tmp_path / "scratch", program, models, tmp_path / "out.png", "--licences", words)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out.png").exists()

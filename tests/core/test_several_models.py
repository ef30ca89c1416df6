"""Several pretrained models: a class finds the one that has it, names stand for files, recipes find theirs by hash."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from gp3d_core import ObjectPipeline
from gp3d_core import pretrained as box
from gp3d_core.cli import doctor
from gp3d_core.cli.main import main
from gp3d_core.hashing import digest
from gp3d_core.snapshots.catalogue import catalogue, duty
from gp3d_core.snapshots.metadata import handed_on, read_snapshot_facts
from tests.support.shipped import HORSE, MUG, TABBY, ZOO_LICENSE, write_model, write_models

SMALL = ("--grid", "16", "--color", "none", "--device", "cpu")


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A machine with three pretrained models, by their names."""
    folder = (tmp_path / "installed").resolve()
    monkeypatch.setattr(box, "FOLDER", folder)
    return write_models(folder)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder; exit code, lines of stdout, lines of stderr."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


def recipe_at(path):
    return json.loads(path.read_text())


# Which model has a class


def test_a_class_belongs_to_the_first_model_that_has_it(models):
    known = [(box.name_of(facts.path), record["name"]) for facts, record in catalogue().known]
    assert known == [("box", "coffee mug"), ("box", "mushroom"), ("zoo", "tabby"), ("zoo", "horse")]
    assert [record["label"] for record in catalogue().classes] == [0, 1, 2, 3]
    horse = catalogue().by_model([3, 1])
    assert [(box.name_of(facts.path), own) for facts, own in horse] == [("box", {1}), ("zoo", {2})]
    models["box"].unlink()
    assert [record["name"] for record in catalogue().classes] == ["tabby", "mushroom", "horse"]


@pytest.mark.slow
def test_meshes_of_several_models_in_one_command(models, run):
    code, files, said = run("mesh", "--class", "horse,coffee mug,mushroom", *SMALL, "--out", "m")
    assert (code, files) == (
        0,
        ["m/coffee_mug-0000.obj", "m/mushroom-0000.obj", "m/horse-0000.obj"],
    )
    made = {
        name: recipe_at(models["box"].parent.parent / f"here/m/{name}-0000.recipe.json")
        for name in ("coffee_mug", "mushroom", "horse")
    }
    for name, model, label in (("coffee_mug", "box", 0), ("mushroom", "box", 1), ("horse", "zoo", 2)):
        recipe = made[name]
        assert (recipe["snapshot"], recipe["snapshot_sha256"]) == (model, digest(models[model])), name
        assert recipe["class"]["label"] == label
        assert recipe["snapshot_classes"] == {"box": 2, "zoo": 3}[model]
        assert "snapshot_path" not in recipe
    assert said.count("using the pretrained models box and zoo: 4 classes; see gp3d classes") == 1


@pytest.mark.slow
def test_what_a_class_owes_is_said_in_a_line_and_stands_in_its_files(models, run, tmp_path):
    code, _, said = run("mesh", "--class", "horse", *SMALL, "--format", "obj,glb", "--out", "m")
    assert code == 0
    credits = "Learnt from models by Ada Lovelace (CC-BY-4.0); Wildfire Games (CC-BY-SA-3.0)."
    [line] = [line for line in said if "made by the model zoo" in line]
    assert (
        line
        == f"horse: made by the model zoo (licence {ZOO_LICENSE}). {credits} gp3d card zoo says what is owed"
    )
    recipe = recipe_at(tmp_path / "here/m/horse-0000.recipe.json")
    assert (recipe["license"], recipe["credits"]) == (ZOO_LICENSE, credits)
    for name in ("horse-0000.obj", "horse-0000.glb"):
        content = (tmp_path / "here/m" / name).read_bytes()
        assert ZOO_LICENSE.encode() in content, name
        assert b"Wildfire Games" in content, name
    code, _, said = run("mesh", "--class", "coffee mug", *SMALL, "--out", "n")
    assert code == 0
    assert not any("Learnt from" in line for line in said)
    assert recipe_at(tmp_path / "here/n/coffee_mug-0000.recipe.json")["license"] == "Apache-2.0"


@pytest.mark.slow
def test_a_model_that_is_named_alone_is_asked(models, run):
    code, files, said = run("mesh", "zoo", "--class", "mushroom", *SMALL, "--out", "m")
    assert (code, files) == (0, ["m/mushroom-0000.obj"])
    assert not any("using the pretrained" in line for line in said)
    assert recipe_at(models["box"].parent.parent / "here/m/mushroom-0000.recipe.json")["snapshot"] == "zoo"
    code, _, said = run("mesh", "zoo", "--class", "coffee mug", *SMALL)
    assert code == 2
    assert "does not know 'coffee mug'" in said[-1]
    code, _, said = run("mesh", "--class", "teapot", *SMALL)  # only the older model has it
    assert code == 2
    assert run("mesh", "box-1", "--class", "teapot", *SMALL, "--out", "o")[0] == 0


@pytest.mark.slow
def test_pictures_of_several_models(models, run, tmp_path):
    code, files, _ = run("render", "--class", "horse,coffee mug", "--seeds", "0,1", "--device", "cpu")
    assert (code, files) == (0, ["sheet.png"])
    both = np.asarray(Image.open(tmp_path / "here/sheet.png"))
    run("render", "zoo", "--class", "horse", "--seeds", "0,1", "--device", "cpu", "--out", "one.png")
    one = np.asarray(Image.open(tmp_path / "here/one.png"))
    row = len(both) - len(one)
    assert row > len(one) / 2
    assert np.array_equal(both[row + 2 :], one[2:])  # below the two models' border
    code, files, _ = run("render", "--class", "tabby,mushroom", "--kind", "stills", "--device", "cpu")
    assert code == 0
    assert {name.split("/")[1].split("-")[0] for name in files} == {"mushroom", "tabby"}
    films = ("--kind", "turntable", "--frames", "2", "--device", "cpu")
    code, _, said = run("render", "--class", "tabby,mushroom", *films, "--out", "x.gif")
    assert code == 2
    assert "expects a folder for the films of 2 objects" in said[-1]


# Names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("mesh", "zooo", "--class", "horse"),
            r"no snapshot at zooo; did you mean the model zoo or --class zooo\?",
        ),
        (("classes", "bx"), r"no snapshot at bx, and no model of that name; did you mean the model box\?"),
        (("card", "box-2"), r"did you mean the model box-1\?"),
        (("evaluate", "zo", "nowhere", "--out", "x"), r"nothing is at zo; did you mean the model zoo\?"),
        (("mesh", "mug"), r"no snapshot at mug; did you mean --class mug\?$"),
    ],
)
def test_a_slip_of_a_name_is_one_line_with_the_nearest(models, run, words, said):
    code, _, lines = run(*words)
    assert (code, len(lines)) == (2, 1)
    assert re.search(said, lines[0]), lines[0]


def test_a_name_without_its_file_says_so(models, run):
    models["zoo"].unlink()
    for words in (
        ("classes", "zoo"),
        ("mesh", "zoo", "--class", "horse"),
        ("card", "zoo"),
        ("render", "zoo"),
    ):
        code, _, (line,) = run(*words)
        assert code == 2
        assert f"the pretrained model zoo is not at {models['zoo']}" in line
    with pytest.raises(box.PretrainedError, match=r"called lion; those that are here: box, box-1"):
        box.pretrained_path("lion")


def test_what_lies_at_a_path_goes_before_a_name(models, run, tmp_path):
    write_model(tmp_path / "here/zoo/snapshots/snapshot-000000.02.safetensors", [MUG], 5)
    assert [line.split()[-1] for line in run("classes", "zoo")[1]] == ["containers"]
    assert len(run("classes", models["zoo"])[1]) == 3


def test_classes_say_whose_they_are(models, run):
    code, rows, said = run("classes")
    assert code == 0
    owners = {row[24:48].strip(): row.split()[-1] for row in rows}
    assert owners == {"coffee mug": "box", "mushroom": "box", "tabby": "zoo", "horse": "zoo"}
    badges = {row[24:48].strip(): row[17:22].strip() for row in rows}
    assert badges == {"coffee mug": "good", "mushroom": "rough", "tabby": "fair", "horse": "good"}
    assert "also there, for who names it: box-1 (gp3d classes box-1)" in said
    assert any(line.startswith("3 classes: made by the model zoo (licence CC-BY-SA-4.0)") for line in said)
    entries = json.loads("\n".join(run("classes", "--json")[1]))
    assert [(entry["name"], entry["model"]) for entry in entries] == [
        ("coffee mug", "box"),
        ("mushroom", "box"),
        ("tabby", "zoo"),
        ("horse", "zoo"),
    ]
    assert [entry["label"] for entry in entries] == [0, 1, 0, 2]  # those of their models
    assert [line.split()[3] for line in run("classes", "box-1")[1]] == ["coffee", "teapot"]


def test_cards_go_by_name_and_claim_nothing_of_a_file_that_says_nothing(models, run):
    code, page, _ = run("card", "zoo")
    assert code == 0
    assert page[0] == "# zoo"
    assert f"Licence of the model: {ZOO_LICENSE}" in page
    assert any("Wildfire Games (5 models)" in line for line in page)
    assert any("Share alike" in line for line in page)
    for name in ("box", "box-1"):
        assert "Licence of the model: Apache-2.0" in run("card", name)[1]
    write_model(models["zoo"], [TABBY], 2)
    page = run("card", "zoo")[1]
    assert "Licence of the model: unknown: nobody has stated one" in page
    assert not any("procedural" in line for line in page)
    assert read_snapshot_facts(models["zoo"]).license == ""
    owed = handed_on(models["zoo"], read_snapshot_facts(models["zoo"]).licences)
    assert [part.licence for part in owed.parts] == ["unknown"]
    assert duty(read_snapshot_facts(models["box"]), ["coffee mug"]) == ""


# Recipes


@pytest.mark.slow
def test_a_recipe_of_the_model_before_finds_it_under_its_new_name(models, run, tmp_path):
    """What happens when the main file is replaced: the old one stays as box-1, and recipes that say box mean it."""
    code, _, _ = run("mesh", "--class", "coffee mug", "--seeds", "3", *SMALL, "--out", "first")
    assert code == 0
    old = models["box"].read_bytes()
    models["box-1"].write_bytes(old)
    write_model(models["box"], [MUG, HORSE | {"label": 1}], 9)
    recipe = tmp_path / "here/first/coffee_mug-0003.recipe.json"
    assert run("mesh", "--recipe", recipe, "--out", "again", "--device", "cpu")[0] == 0
    name = "coffee_mug-0003.obj"
    first, again = ((tmp_path / "here" / folder / name).read_text() for folder in ("first", "again"))
    shape = [[line for line in text.splitlines() if line[:2] in ("v ", "f ")] for text in (first, again)]
    assert shape[0] == shape[1]
    assert len(shape[0]) > 10
    assert recipe_at(tmp_path / "here/again/coffee_mug-0003.recipe.json")["snapshot"] == "box-1"
    code, _, (line,) = run("mesh", "box", "--recipe", recipe, "--out", "wrong", "--device", "cpu")
    assert code == 2
    assert line.endswith(f"; the recipe's is box-1, at {models['box-1']}: name that one, or none")
    code, _, _ = run("mesh", "--class", "coffee mug", "--seeds", "3", *SMALL, "--out", "new")
    new = (tmp_path / "here/new" / name).read_text()
    assert [line for line in new.splitlines() if line[:2] in ("v ", "f ")] != shape[0]


@pytest.mark.slow
def test_a_recipe_without_its_model_says_which_it_needs(models, run, tmp_path):
    run("mesh", "--class", "horse", *SMALL, "--out", "m")
    recipe = tmp_path / "here/m/horse-0000.recipe.json"
    mark = digest(models["zoo"])[:12]
    aside = models["zoo"].rename(tmp_path / "aside.safetensors")
    code, _, (line,) = run("mesh", "--recipe", recipe)
    assert code == 2
    assert f"made with the pretrained model zoo (SHA-256 {mark}…, 3 classes), which is not here" in line
    assert re.search(
        r"it was the one of gp3d 0\.1\.0; say where its file is: gp3d mesh MODEL_FILE --recipe", line
    )
    write_model(models["zoo"], [TABBY], 7)
    code, _, (line,) = run("mesh", "--recipe", recipe)
    assert code == 2
    assert f"zoo.safetensors is not the recipe's snapshot: expected SHA-256 {mark}…, 3 classes, found" in line
    assert run("mesh", aside, "--recipe", recipe, "--out", "n", "--device", "cpu")[0] == 0


def test_a_recipe_of_a_released_model_says_what_it_is_called_by_now(models, run, tmp_path):
    (release,) = [one for one in box.RELEASES if one.classes == 48]
    assert (release.name, release.now, release.version) == ("box", "box-1", "0.1.0")
    recipe = tmp_path / "x.recipe.json"
    facts = {"class": MUG, "seed": 0, "truncation": 0.7, "level": 1.0, "grid": 16}
    named = {"snapshot": "box", "snapshot_sha256": release.sha256, "format": "gp3d-recipe", "version": 1}
    recipe.write_text(json.dumps(facts | named))
    code, _, (line,) = run("mesh", "--recipe", recipe)
    assert code == 2
    assert "expected SHA-256 87ab32c58256…, 48 classes" in line
    assert "it was the one of gp3d 0.1.0, by now called box-1" in line


def test_every_release_is_here_or_under_its_name_by_now():
    """A file that is replaced gets its line in RELEASES, so that its recipes say what they need."""
    there = {digest(one.path): one.name for one in box.shipped_models(also_named=True)}
    known = {one.sha256: {one.name, one.now} for one in box.RELEASES}
    for sha256, name in there.items():
        if sha256 in known:
            assert name in known[sha256]
    for one in box.MODELS:
        assert not (one.only_named and one.path.is_file()) or digest(one.path) in known, one.name


# In Python


def test_a_pipeline_opens_the_model_that_has_the_class(models):
    pipeline = ObjectPipeline.from_pretrained(device="cpu")
    assert pipeline.classes == ["coffee mug", "mushroom", "tabby", "horse"]
    assert repr(pipeline) == "ObjectPipeline(models box, zoo, 4 classes)"
    mug, horse = pipeline.generate("coffee mug", seed=1), pipeline.generate("horse", seed=1)
    assert (mug.snapshot.path, horse.snapshot.path) == (models["box"], models["zoo"])
    assert (horse.spec.label, horse.spec.record["name"]) == (2, "horse")
    assert pipeline.generate("tabby").snapshot is horse.snapshot  # opened once
    alone = ObjectPipeline.from_pretrained("zoo", device="cpu")
    assert alone.classes == ["tabby", "mushroom", "horse"]
    assert (alone.generate("horse", seed=1).generated.planes == horse.generated.planes).all()
    models["zoo"].unlink()
    assert ObjectPipeline.from_pretrained(device="cpu").classes == ["coffee mug", "mushroom"]


def test_doctor_tells_of_every_model(models):
    (zoo, older) = doctor.check_more_models()
    mark = {name: digest(path)[:12] for name, path in models.items()}
    assert (zoo.name, zoo.status) == ("zoo", "ok")
    assert re.fullmatch(rf"a further pretrained model: 3 classes, 0\.\d MB, SHA-256 {mark['zoo']}", zoo.found)
    assert older.found.startswith("an earlier model, used where it is named: 2 classes")
    models["zoo"].write_bytes(b"no model")
    assert next(doctor.check_more_models()).status == "note"
    models["box-1"].unlink()
    assert [check.name for check in doctor.check_more_models()] == ["zoo"]

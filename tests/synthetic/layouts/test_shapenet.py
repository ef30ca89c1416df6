"""Model libraries: classes, order, split and the rules for broken models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthetic.layouts.shapenet import (
    BrokenModelError,
    LibraryError,
    Model,
    ObjectClass,
    interleave,
    load_library,
    split_of,
)
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic import small_library as library


@pytest.fixture
def models(tmp_path: Path) -> Path:
    library.write_facts(tmp_path)
    for key in library.SHAPES:
        (tmp_path / key).mkdir(parents=True)
    return tmp_path


def test_models_take_their_class_from_classes_json_else_from_the_taxonomy(models: Path) -> None:
    found = {model.key: model for model in load_library(models)}
    assert list(found) == sorted(library.SHAPES)
    assert found["02876657/blocks"].object_class == ObjectClass(
        "n02823428", "building blocks", 440, "02876657"
    )
    assert found["03797390/ball"].object_class == ObjectClass("n03797390", "mug", None, "03797390")
    assert found["03797390/ball"].path == models / "03797390/ball/models/model_normalized.obj"
    assert found["03797390/ball"].identifier == "ball"


def test_name_of_a_class_is_its_first_lemma(models: Path) -> None:
    (models / "02958343/one").mkdir(parents=True)
    assert {model.object_class.name for model in load_library(models)} >= {"car"}


def test_folders_that_are_no_models_are_left_alone(models: Path) -> None:
    for stray in ("03797390/.half", "notes/mine", "123/short"):
        (models / stray).mkdir(parents=True)
    (models / "03797390/readme.txt").write_text("mine")
    assert [model.key for model in load_library(models)] == sorted(library.SHAPES)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("taxonomy.json", "{", "not readable as JSON"),
        ("taxonomy.json", "{}", "expected a JSON list"),
        ("taxonomy.json", '[{"name": "mug"}]', "lacks synsetId or name"),
        ("taxonomy.json", '[{"synsetId": "03797390", "name": " ,cup"}]', "lacks synsetId or name"),
        (
            "taxonomy.json",
            '[{"synsetId": "03797390", "name": "mug"}, {"synsetId": "03797390", "name": "cup"}]',
            "entry 2 calls 03797390 'cup', an earlier one 'mug'",
        ),
        ("taxonomy.json", "[]", "knows this class"),
        ("classes.json", "[]", "expected a JSON mapping"),
        ("classes.json", '{"03797390/ball": {"wnid": "n03797390"}}', "lacks"),
        (
            "classes.json",
            json.dumps(
                {"03797390/ball": {"wnid": "../../x", "name": "mug", "imagenet_index": None, "synset": None}}
            ),
            "expected a wnid",
        ),
        (
            "classes.json",
            json.dumps(
                {
                    "03797390/ball": {
                        "wnid": "n04379243",
                        "name": "mug",
                        "imagenet_index": None,
                        "synset": None,
                    }
                }
            ),
            "while other models say",
        ),
    ],
)
def test_unreadable_or_contradictory_libraries_raise(
    models: Path, name: str, content: str, message: str
) -> None:
    (models / name).write_text(content)
    with pytest.raises(LibraryError, match=message):
        load_library(models)


def test_two_models_that_would_share_a_file_name_raise(models: Path) -> None:
    (models / "03797390/blocks").mkdir()
    facts = library.CLASSES["02876657/blocks"]
    (models / "classes.json").write_text(json.dumps({"02876657/blocks": facts, "03797390/blocks": facts}))
    with pytest.raises(LibraryError, match="has class and id of 02876657/blocks"):
        load_library(models)


def test_interleaved_classes_take_turns() -> None:
    first, second = ObjectClass("n00000001", "a", None, None), ObjectClass("n00000002", "b", None, None)
    models = [Model(f"00000001/{i}", Path(), first) for i in range(3)]
    models += [Model("00000002/9", Path(), second)]
    assert [model.identifier for model in interleave(models)] == ["0", "9", "1", "2"]


def test_split_is_stable_and_keeps_a_tenth_for_tests() -> None:
    splits = [split_of(f"03797390/{number}") for number in range(5000)]
    assert 0.085 < splits.count("test") / 5000 < 0.115
    assert [split_of(f"03797390/{number}") for number in range(60)].index("test") == FIRST_TEST_MODEL


FIRST_TEST_MODEL = 9  # a later version must split the same


def faces(path: Path) -> int:
    return stage_model(path, path.parent, path.parent / "copy", ModelLimits(), Treatment()).faces


@pytest.mark.parametrize(
    "text",
    [
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 3 2 1\n",
        "# assimp\r\nv\t0 0 0\r\nv 1 0 0\r\nv 0 1 0\r\ng nan\r\nf 1/1 2/1 3/1\r\nf 1 2 3 1\r\n",
    ],
)
def test_checking_a_good_model_counts_its_faces(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.obj").write_bytes(text.encode())
    assert faces(tmp_path / "model.obj") == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n", "empty"),
        ("f 1 2 3\n", "no vertices"),
        ("vt 0 0\nv 0 0 0\nvn 0 0 1\n", "no faces"),
        ("v 0 0 0\nv 1 0 NaN\nf 1 2 1\n", "not finite"),
        ("v 0 -inf 0\nf 1 1 1\n", "not finite"),
        (None, "missing"),
    ],
)
def test_broken_models_raise_with_the_reason(tmp_path: Path, text: str | None, reason: str) -> None:
    if text is not None:
        (tmp_path / "model.obj").write_text(text)
    with pytest.raises(BrokenModelError, match=reason):
        faces(tmp_path / "model.obj")

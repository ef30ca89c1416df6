"""Plain libraries as people keep them: what is a model, what is not used, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthetic.layouts.plain import unused_meshes
from synthetic.layouts.shapenet import LibraryError, ObjectClass, load_library
from synthetic.options import command_line, placement_of, with_axes


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return root


def models_of(root: Path) -> dict[str, str]:
    return {model.key: model.path.relative_to(root).as_posix() for model in load_library(root)}


def unused_of(root: Path) -> dict[str, str]:
    return unused_meshes(root, {model.path for model in load_library(root)})


def test_every_mesh_is_a_model_or_is_named_with_its_reason(tmp_path: Path) -> None:
    root = fill(
        tmp_path / "library",
        "chair/a.glb",
        "chair/a.obj",
        "chair/a.fbx",
        "chair/b.GLTF",
        "chair/c.stl",
        "chair/d/source/model.glb",
        "chair/d/textures/wood.png",
        "chair/e/high.obj",
        "chair/e/low.obj",
        "chair/f/chair.blend",
        "chair/.g.obj",
        "loose.ply",
    )
    assert models_of(root) == {
        "chair/a": "chair/a.glb",
        "chair/b": "chair/b.GLTF",
        "chair/c": "chair/c.stl",
        "chair/d": "chair/d/source/model.glb",
    }
    unused = unused_of(root)
    assert {name: reason.partition(";")[0] for name, reason in unused.items()} == {
        "chair/a.obj": "another mesh beside it is the model",
        "chair/a.fbx": ".fbx is not read",
        "chair/e/high.obj": "one of several meshes, or in no place of a model",
        "chair/e/low.obj": "one of several meshes, or in no place of a model",
        "chair/f/chair.blend": ".blend is not read",
        "loose.ply": "one of several meshes, or in no place of a model",
    }


def test_links_to_folders_count_as_folders_and_links_in_a_circle_as_nothing(tmp_path: Path) -> None:
    root, elsewhere = fill(tmp_path / "library", "chair/a/a.glb"), fill(tmp_path / "other", "b.glb")
    (root / "chair/b").symlink_to(elsewhere)
    (root / "chair/c").symlink_to(root / "chair/d")
    (root / "chair/d").symlink_to(root / "chair/c")
    (root / "chair/e").symlink_to(root / "nothing")
    assert models_of(root) == {"chair/a": "chair/a/a.glb", "chair/b": "chair/b/b.glb"}


def test_names_that_cannot_be_names_of_files_cost_their_models_alone(tmp_path: Path) -> None:
    root = fill(
        tmp_path / "library",
        "chair/model (1).glb",
        "chair/good.glb",
        "chair/d:1/model.glb",
        "#odd/a.glb",
        "chair/ok/model (2).glb",
    )
    assert models_of(root) == {"chair/good": "chair/good.glb", "chair/ok": "chair/ok/model (2).glb"}
    unused = unused_of(root)
    assert list(unused) == ["#odd/a.glb", "chair/model (1).glb", "chair/d:1/model.glb"]
    assert unused["chair/model (1).glb"].endswith("found 'model (1)'; rename it")
    assert unused["#odd/a.glb"].endswith("found '#odd'; rename it")


def test_meshes_beside_those_of_shapenet_are_named(tmp_path: Path) -> None:
    root = fill(
        tmp_path / "library",
        "03797390/x/models/model_normalized.obj",
        "03797390/x/models/model_normalized.stl",
        "extra/lamp.glb",
    )
    assert list(models_of(root)) == ["03797390/x"]
    assert list(unused_of(root)) == ["03797390/x/models/model_normalized.stl", "extra/lamp.glb"]


def test_textures_of_a_nested_model_lie_below_its_own_folder(tmp_path: Path) -> None:
    root = fill(tmp_path / "library", "chair/d/source/model.gltf", "chair/single.obj")
    folders = {model.key: model.folder.relative_to(root).as_posix() for model in load_library(root)}
    assert folders == {"chair/d": "chair/d", "chair/single": "chair"}


@pytest.mark.parametrize(
    ("folder", "wnid", "name"),
    [
        ("n03797390-mug", "n03797390", "mug"),
        ("n03063599_coffee_mug", "n03063599", "coffee mug"),
        ("n03797390", "n03797390", "n03797390"),
        ("n037973901", "n037973901", "n037973901"),
        ("coffee mug", "coffee_mug", "coffee mug"),
    ],
)
def test_an_id_at_the_beginning_of_a_name_decides(tmp_path: Path, folder: str, wnid: str, name: str) -> None:
    (model,) = load_library(fill(tmp_path / "library", f"{folder}/a.glb"))
    assert model.object_class == ObjectClass(wnid, name, None, None)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("taxonomy.json", [{"synsetId": 3797390, "name": "mug"}], "entry 1 lacks synsetId or name"),
        ("taxonomy.json", ["mug"], "entry 1 lacks synsetId or name.*known without it"),
        ("taxonomy.json", {"a": 1}, "expected a JSON list, found dict"),
        (
            "classes.json",
            {"03797390": {"wnid": 3, "name": "mug", "imagenet_index": 1, "synset": None}},
            "found 3",
        ),
        (
            "classes.json",
            {"03797390": {"wnid": "n03797390", "name": None, "imagenet_index": 1, "synset": None}},
            "expected a name, found None",
        ),
        (
            "classes.json",
            {"03797390": {"wnid": "n03797390", "name": "mug", "imagenet_index": "504", "synset": None}},
            "expected an imagenet_index of 0 to 999 or null, found '504'",
        ),
        (
            "classes.json",
            {"03797390": {"wnid": "n03797390", "name": "mug", "imagenet_index": True, "synset": None}},
            "found True",
        ),
        (
            "classes.json",
            {"03797390": {"wnid": "n03797390", "name": "mug", "imagenet_index": 504, "synset": 1}},
            "expected a synset as text or null, found 1",
        ),
        ("classes.json", [], "expected a JSON mapping, found list"),
    ],
)
def test_odd_facts_of_classes_are_one_line_with_a_way_on(
    tmp_path: Path, file: str, content: object, reason: str
) -> None:
    root = fill(tmp_path / "library", "03797390/x/models/model_normalized.obj")
    (root / file).write_text(json.dumps(content))
    with pytest.raises(LibraryError, match=reason):
        load_library(root)


@pytest.mark.parametrize("content", [b'{"a": ', b"\xff\xfe", b"[" * 100_000, b""])
@pytest.mark.parametrize("file", ["taxonomy.json", "classes.json"])
def test_damaged_facts_of_classes_are_one_line_with_a_way_on(
    tmp_path: Path, file: str, content: bytes
) -> None:
    root = fill(tmp_path / "library", "03797390/x/models/model_normalized.obj")
    (root / file).write_bytes(content)
    with pytest.raises(LibraryError, match=r"is not readable as JSON.*mend it, or remove it") as error:
        load_library(root)
    assert "\n" not in str(error.value)


def test_axes_with_a_minus_are_values_and_no_options() -> None:
    words = with_axes(["models", "out", "--front", "-z", "--up", "-y", "--views", "3"])
    assert placement_of(command_line("").parse_args(words)) == {"front": "-z", "up": "-y"}
    assert with_axes(["--front=-x", "-z"]) == ["--front=-x", "-z"]

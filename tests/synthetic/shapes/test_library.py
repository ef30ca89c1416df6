"""The procedural library on disk: class facts, ShapeNet layout, determinism, resume, the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from synthetic.layouts.shapenet import load_library
from synthetic.shapes import __main__ as shapes_command
from synthetic.shapes.family import SHAPENET_NAMES, build_model, model_id
from synthetic.shapes.library import FAMILIES, select_families
from synthetic.shapes.shapenet_writer import Written, write_library

ROOT = Path(__file__).parents[3]
CLASS_LISTS = ROOT.parent / "shared" / "data" / "class-lists"
BY_NAME = {family.name: family for family in FAMILIES}

FACTS = {  # name: ImageNet index, WordNet id, ShapeNetCore synset
    "acorn": (988, "n12267677", None),
    "acoustic guitar": (402, "n02676566", "03467517"),
    "airliner": (404, "n02690373", "02691156"),
    "balloon": (417, "n02782093", None),
    "banana": (954, "n07753592", None),
    "barn": (425, "n02793495", None),
    "barrel": (427, "n02795169", None),
    "baseball": (429, "n02799071", None),
    "basketball": (430, "n02802426", None),
    "beacon": (437, "n02814860", "04460130"),
    "bell pepper": (945, "n07720875", None),
    "bookcase": (453, "n02870880", "02871439"),
    "bucket": (463, "n02909870", None),
    "cab": (468, "n02930766", "02958343"),
    "candle": (470, "n02948072", None),
    "castle": (483, "n02980441", None),
    "cheeseburger": (933, "n07697313", None),
    "chest": (492, "n03014705", None),
    "church": (497, "n03028079", None),
    "coffee mug": (504, "n03063599", "03797390"),
    "corn": (987, "n12144580", None),
    "cowboy hat": (515, "n03124170", None),
    "daisy": (985, "n11939491", None),
    "dining table": (532, "n03201208", "04379243"),
    "drum": (541, "n03249569", None),
    "folding chair": (559, "n03376595", "03001627"),
    "gas pump": (571, "n03425413", None),
    "goldfish": (1, "n01443537", None),
    "Granny Smith": (948, "n07742313", None),
    "hotdog": (934, "n07697537", None),
    "hourglass": (604, "n03544143", None),
    "ice cream": (928, "n07614500", None),
    "king penguin": (145, "n02056570", None),
    "laptop": (620, "n03642806", "03642806"),
    "lemon": (951, "n07749582", None),
    "mailbox": (637, "n03710193", "03710193"),
    "mosque": (668, "n03788195", None),
    "mushroom": (947, "n07734744", None),
    "orange": (950, "n07747607", None),
    "park bench": (703, "n03891251", "02828884"),
    "piggy bank": (719, "n03935335", None),
    "pineapple": (953, "n07753275", None),
    "pot": (738, "n03991062", "03991062"),
    "pretzel": (932, "n07695742", None),
    "rocking chair": (765, "n04099969", "03001627"),
    "school bus": (779, "n04146614", "02924116"),
    "snail": (113, "n01944390", None),
    "soccer ball": (805, "n04254680", None),
    "sombrero": (808, "n04259630", None),
    "starfish": (327, "n02317335", None),
    "steam locomotive": (820, "n04310018", "04468005"),
    "strawberry": (949, "n07745940", None),
    "street sign": (919, "n06794110", None),
    "studio couch": (831, "n04344873", "04256520"),
    "table lamp": (846, "n04380533", "03636649"),
    "teapot": (849, "n04398044", None),
    "teddy": (850, "n04399382", None),
    "television": (851, "n04404412", None),
    "tennis ball": (852, "n04409515", None),
    "throne": (857, "n04429376", "03001627"),
    "traffic light": (920, "n06874185", None),
    "umbrella": (879, "n04507155", None),
    "vase": (883, "n04522168", "03593526"),
    "volleyball": (890, "n04540053", None),
    "wall clock": (892, "n04548280", "03046257"),
    "washer": (897, "n04554684", "04554684"),
    "water tower": (900, "n04562935", "04460130"),
    "wine bottle": (907, "n04591713", "02876657"),
}


def test_family_facts_are_those_of_imagenet_and_shapenet() -> None:
    assert {f.name: (f.imagenet_index, f.wnid, f.synset) for f in FAMILIES} == FACTS
    assert [f.name for f in FAMILIES] == sorted(FACTS, key=str.casefold)
    assert all(f.synset in SHAPENET_NAMES for f in FAMILIES if f.synset)


def test_family_facts_agree_with_the_published_lists() -> None:
    if not CLASS_LISTS.is_dir():
        pytest.skip(
            f"{CLASS_LISTS} is absent: class facts were compared with the constants of this file only"
        )
    rows = (CLASS_LISTS / "imagenet1k_synsets_names.tsv").read_text(encoding="utf-8").splitlines()[1:]
    published = {int(index): (wnid, lemmas) for index, wnid, lemmas, _ in (row.split("\t") for row in rows)}
    shapenet = json.loads((CLASS_LISTS / "shapenet_synset_dict_v1.json").read_text(encoding="utf-8"))
    for family in FAMILIES:
        wnid, lemmas = published[family.imagenet_index]
        assert (wnid, lemmas.split(",")[0]) == (family.wnid, family.name)
        assert family.synset is None or shapenet[family.synset] == SHAPENET_NAMES[family.synset]


# Files


def read_obj(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Vertices and (v, vt, vn) corners [F, 3, 3] of every group, by a reader of our own; checks the ranges."""
    table: dict[str, list] = {"v": [], "vt": [], "vn": []}
    groups: dict[str, list] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, *words = line.split()
        if key in table:
            table[key].append([float(word) for word in words])
        elif key == "g":
            current = groups.setdefault(words[0], [])
        elif key == "f":
            current.append([[int(number) - 1 for number in word.split("/")] for word in words])
    v, normals = np.array(table["v"]), np.array(table["vn"])
    result = {}
    for name, faces in groups.items():
        corners = np.array(faces)
        assert (corners.reshape(-1, 3).max(axis=0) < [len(table[key]) for key in ("v", "vt", "vn")]).all()
        a, b, c = np.moveaxis(v[corners[..., 0]], 1, 0)
        area = np.cross(b - a, c - a)
        cosine = np.einsum("fj,fkj->fk", area, normals[corners[..., 2]])
        assert (cosine[np.linalg.norm(area, axis=1) > 1e-6] > 0).all()
        result[name] = (v, corners)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=2e-4)
    return result


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shapes") / "library"
    write_library(out, FAMILIES, 2, 0)
    return out


@pytest.mark.slow
def test_library_has_the_layout_of_shapenet(library: Path) -> None:
    classes = json.loads((library / "classes.json").read_text(encoding="utf-8"))
    taxonomy = {
        entry["synsetId"]: entry
        for entry in json.loads((library / "taxonomy.json").read_text(encoding="utf-8"))
    }
    assert set(classes) == {f"{p.parent.name}/{p.name}" for p in library.glob("*/*") if p.is_dir()}
    assert len(classes) == 2 * len(FAMILIES)
    assert sum(entry["numInstances"] for entry in taxonomy.values()) == len(classes)
    assert (taxonomy["03001627"]["name"], taxonomy["03001627"]["numInstances"]) == ("chair", 6)
    assert taxonomy["02795169"] == {
        "synsetId": "02795169",
        "name": "barrel",
        "children": [],
        "numInstances": 2,
    }
    for key, record in classes.items():
        assert len(key.split("/")[1]) == 32
        assert FACTS[record["name"]] == (record["imagenet_index"], record["wnid"], record["synset"])
        assert key.split("/")[0] == (record["synset"] or record["wnid"][1:])
        facts = json.loads((library / key / "models" / "model_normalized.json").read_text(encoding="utf-8"))
        assert {"min", "max", "centroid", "id", "numVertices"} == set(facts)


@pytest.mark.slow
def test_nobody_has_to_be_named_for_a_model(library: Path) -> None:
    models = load_library(library)
    assert models
    assert {model.credit.licence for model in models if model.credit} == {"CC0-1.0"}
    assert not [model.key for model in models if model.credit is None or model.credit.fault]


def test_library_files_hold_closed_normalised_parts(library: Path) -> None:
    for family in FAMILIES:
        path = library / family.folder / model_id(family, 0, 0) / "models" / "model_normalized.obj"
        groups = read_obj(path)
        for points, corners in groups.values():
            mesh = trimesh.Trimesh(points, corners[..., 0], process=False)
            assert mesh.is_watertight
            assert mesh.is_winding_consistent
        points = next(iter(groups.values()))[0]
        np.testing.assert_allclose(points.min(axis=0) + points.max(axis=0), 0, atol=3e-6)
        assert np.linalg.norm(np.ptp(points, axis=0)) == pytest.approx(1, abs=3e-6)


@pytest.mark.slow
def test_library_files_open_in_another_reader(library: Path) -> None:
    for family in FAMILIES[::8]:
        path = library / family.folder / model_id(family, 0, 0) / "models" / "model_normalized.obj"
        points = next(iter(read_obj(path).values()))[0]
        loaded = trimesh.load(path, force="mesh")
        np.testing.assert_allclose(loaded.bounds, [points.min(axis=0), points.max(axis=0)], atol=1e-9)


@pytest.mark.slow
def test_library_materials_are_complete(library: Path) -> None:
    for path in library.glob("*/*/models/model_normalized.obj"):
        materials = path.with_suffix(".mtl").read_text(encoding="utf-8").splitlines()
        names = [line.split()[1] for line in materials if line.startswith("newmtl")]
        used = {
            line.split()[1]
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("usemtl")
        }
        assert len(names) == len(set(names))
        assert set(names) == used
        images = {
            (path.parent / line.split()[1]).resolve() for line in materials if line.startswith("map_Kd")
        }
        assert images == set((path.parents[1] / "images").resolve().glob("*"))


def test_library_writes_colours_as_linear_light(tmp_path: Path) -> None:
    write_library(tmp_path, [BY_NAME["traffic light"]], 1, 0)
    text = next(tmp_path.glob("*/*/models/*.mtl")).read_text(encoding="utf-8").split("newmtl ")
    red = next(block for block in text if block.startswith("pole"))
    model = build_model(BY_NAME["traffic light"], 0, 0)
    value = int(str(model.parameters["pole"])[1:3], 16) / 255
    assert float(red.split("Kd ")[1].split()[0]) == pytest.approx(((value + 0.055) / 1.055) ** 2.4, abs=1e-3)


@pytest.mark.slow
def test_library_is_the_same_byte_for_byte_in_another_process(library: Path, tmp_path: Path) -> None:
    names = ",".join(family.name for family in FAMILIES)
    command = [
        sys.executable,
        "-m",
        "synthetic.shapes",
        str(tmp_path / "again"),
        "--classes",
        names,
        "--per-class",
        "2",
    ]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run(command, check=True, timeout=120, cwd=ROOT, env=environment, capture_output=True)
    assert tree(tmp_path / "again") == tree(library)


def test_library_grows_without_changing_what_is_there(tmp_path: Path) -> None:
    families = select_families("mug, n02795169, rocking chair")
    first = write_library(tmp_path, families, 1, 3)
    before = {name: data for name, data in tree(tmp_path).items() if "/" in name}
    stamps = {name: (tmp_path / name).stat().st_mtime_ns for name in before}
    second = write_library(tmp_path, families, 3, 3)
    after = tree(tmp_path)
    assert (first.new, first.kept, second.new, second.kept) == (3, 0, 6, 3)
    assert (first.others, second.others) == (0, 0)
    assert write_library(tmp_path, select_families("barrel"), 1, 3) == Written(0, 1, others=8)
    assert before.items() <= after.items()
    assert all((tmp_path / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())
    write_library(tmp_path / "direct", families, 3, 3)
    assert tree(tmp_path / "direct") == after


@pytest.mark.parametrize("index_lost", [True, False])
def test_library_mends_what_an_interrupted_run_left(index_lost: bool, tmp_path: Path) -> None:
    family = BY_NAME["coffee mug"]
    write_library(tmp_path, [family], 2, 0)
    whole = tree(tmp_path)
    folder = tmp_path / family.folder
    broken, reason_to_stop = model_id(family, 0, 0), model_id(family, 0, 1)
    (folder / broken / "models" / "model_normalized.obj").unlink()
    (folder / reason_to_stop).rename(folder / f".{reason_to_stop}.partial")
    if index_lost:
        (tmp_path / "classes.json").unlink()
        (tmp_path / "taxonomy.json").unlink()
    assert write_library(tmp_path, [family], 2, 0).new == 2
    assert tree(tmp_path) == whole


# Command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["OUT", "--classes", "cofee mug"], "did you mean coffee mug?"),
        (["OUT", "--classes", "chair"], "did you mean folding chair or rocking chair?"),
        (["OUT", "--classes", "blah"], "unknown class 'blah': known are"),
        (["OUT", "--classes", "phone"], "unknown class 'phone': known are"),
        (["OUT", "--classes", "dog"], "unknown class 'dog': known are"),
        (["OUT", "--classes", "bucket,xyzzy"], "unknown class 'xyzzy': known are"),
        (["OUT", "--classes", ","], "no class was named"),
        (["OUT", "--per-class", "0"], "--per-class must be from 1 to 1000000, got 0"),
        (["OUT", "--per-class", "999999999999"], "--per-class must be from 1 to 1000000, got 999999999999"),
        (["OUT", "--seed", "-1"], "--seed must be 0 or more"),
        (["FILE/out"], "cannot write"),
        (["FILE"], "cannot write"),
        ([], "no output folder was named"),
    ],
)
def test_command_answers_bad_input_in_one_line(arguments, message, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments = [
        a.replace("OUT", str(tmp_path / "out")).replace("FILE", str(tmp_path / "file")) for a in arguments
    ]
    assert shapes_command.main(arguments) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert (output.err.count("\n"), output.out) == (1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_command_leaves_foreign_folders_alone(tmp_path: Path, capsys) -> None:
    (tmp_path / "taxonomy.json").write_text("[]")
    assert shapes_command.main([str(tmp_path), "--classes", "vase", "--per-class", "1"]) == 2
    assert "choose another folder" in capsys.readouterr().err
    for text, message in (
        ('{"03593526/x": ', "not readable JSON"),
        ('{"a":' * 100_000, "not readable JSON"),
        ('{"03593526/x": ' + "9" * 5000 + "}", "not readable JSON"),
        ('{"03593526/x": 5}', "should map model folders to class records"),
    ):
        (tmp_path / "classes.json").write_text(text)
        assert shapes_command.main([str(tmp_path), "--classes", "vase", "--per-class", "1"]) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.json", "taxonomy.json"]


def test_models_of_others_are_neither_mixed_with_nor_given_away(tmp_path: Path, capsys) -> None:
    record = {"wnid": "n02129165", "name": "lion", "imagenet_index": 291, "synset": None}
    (tmp_path / "classes.json").write_text(json.dumps({"02129165/lion": record}))
    assert shapes_command.main([str(tmp_path), "--classes", "teapot", "--per-class", "1"]) == 2
    assert "holds models that are not from this library, such as 02129165/lion" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["classes.json"]


def test_command_lists_its_classes(capsys) -> None:
    assert shapes_command.main(["--class-list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "504\tn03063599\t03797390\tcoffee mug" in lines
    assert len(lines) == 1 + len(FAMILIES)


def test_classes_are_found_by_name_word_index_and_wnid() -> None:
    for request in ("coffee mug", "coffee_mug", "COFFEE-MUG", "coffeemug", "mugs", "Mug", "504", "n03063599"):
        assert [family.name for family in select_families(request)] == ["coffee mug"]
    assert select_families("vase,all") == FAMILIES

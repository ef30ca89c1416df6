from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.layouts.licences import Credit, licence_lines, origins, read_licences
from synthetic.layouts.shapenet import load_library
from synthetic.library.__main__ import main
from synthetic.library.models import LibraryModel
from synthetic.library.variation.draws import VariantSeed
from synthetic.library.variation.kinds import Kind
from synthetic.library.variation.variants import vary
from synthetic.staging.surface import Material
from tests.synthetic.library.variation.made_models import picture, surface_of

CREDIT = Credit("A. Maker", "CC-BY-4.0", "her shop", "none")
# Of the variant below: it is the same on every machine. Whoever changes what a seed stands for raises VERSION.
POSITIONS = "07e28adb570e6129"
PIXELS = "1400792d0e38ecd1"


def parent(folder: Path) -> LibraryModel:
    """A ball with a picture, from numbers that every machine makes alike."""
    mesh = trimesh.Trimesh(*_octahedron(4), process=False)
    pixels = (np.arange(16 * 16 * 3).reshape(16, 16, 3) * 37 % 256).astype(np.uint8)
    surface = surface_of(mesh, Material("skin", (1.0, 1.0, 1.0), picture(folder / "skin.png", pixels)))
    return LibraryModel(replace(surface, normals=None), CREDIT, {"size": [1, 2, 3]})


def _octahedron(fine: int) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.Trimesh(
        [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 2], [0, 0, -2]],
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]],
        process=False,
    )
    for _ in range(fine):
        mesh = mesh.subdivide()
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def variant(
    model: LibraryModel, folder: Path, number: int, seed: int = 0, body: Kind | None = None
) -> LibraryModel:
    folder.mkdir(exist_ok=True)
    return vary(
        model, body or Kind("limbless", "natural"), VariantSeed(seed, "02512053/carp", number), folder
    )


def digests(model: LibraryModel) -> tuple[str, str]:
    """Of positions and of the pixels of the first material's texture."""
    texture = model.surface.materials[0].color_texture
    assert texture is not None
    with Image.open(texture.path) as image:
        pixels = np.asarray(image).tobytes()
    return tuple(  # type: ignore[return-value]
        hashlib.sha256(content).hexdigest()[:16] for content in (model.surface.positions.tobytes(), pixels)
    )


def test_a_seed_stands_for_one_variant_on_every_machine(tmp_path: Path) -> None:
    assert digests(variant(parent(tmp_path), tmp_path / "v", 1)) == (POSITIONS, PIXELS)


def test_order_and_neighbours_do_not_matter(tmp_path: Path) -> None:
    model = parent(tmp_path)
    forwards = [digests(variant(model, tmp_path / f"f{number}", number)) for number in (1, 2, 3)]
    backwards = [digests(variant(model, tmp_path / f"b{number}", number)) for number in (3, 2, 1)]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 3
    assert digests(variant(model, tmp_path / "s", 1, seed=1)) not in forwards


def test_a_variant_says_what_it_is(tmp_path: Path) -> None:
    made = variant(parent(tmp_path), tmp_path / "v", 2, seed=7)
    assert made.credit.parent == "02512053/carp"
    assert replace(made.credit, parent="", changes="none") == CREDIT
    assert "seed 7, number 2" in made.credit.changes
    tag = json.loads(json.dumps(made.tags["variation"]))
    assert made.tags["size"] == [1, 2, 3]
    assert (tag["seed"], tag["number"], tag["parent"]) == (7, 2, "02512053/carp")
    assert [one["kind"] for one in tag["shape"]] == ["stretch", "swell", "swell", "bend"]
    assert set(tag["colors"]) == {"natural"}


def test_what_the_parent_was_changed_by_stays_said(tmp_path: Path) -> None:
    model = replace(parent(tmp_path), credit=replace(CREDIT, changes="cut in half"))
    assert variant(model, tmp_path / "v", 1).credit.changes.startswith("cut in half; varied")


def library(folder: Path) -> Path:
    """A folder a class, with two models as GLB files."""
    for name in ("first", "second"):
        path = folder / "n02512053 fish" / f"{name}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        mesh = trimesh.creation.icosphere(2, 1.0)
        mesh.apply_scale((1, 1, 2) if name == "first" else (2, 1, 1))
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(path)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_vary_writes_variants_of_a_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = library(tmp_path / "in"), tmp_path / "out"
    before = content(source)
    assert main(["vary", str(source), str(out), "--variants", "2", "--seed", "5"]) == 0
    assert "4 written" in capsys.readouterr().err
    models = {model.key: model for model in load_library(out)}
    assert sorted(models) == [
        "02512053/first-v01",
        "02512053/first-v02",
        "02512053/second-v01",
        "02512053/second-v02",
    ]
    credits = read_licences(out, list(models))
    parents = {key: credit.parent for key, credit in credits.items()}
    assert parents["02512053/first-v02"] == "n02512053 fish/first"
    assert set(origins(credits).values()) == {"n02512053 fish/first", "n02512053 fish/second"}
    records = json.loads((out / "classes.json").read_text())
    assert records["02512053/first-v01"]["variation"]["seed"] == 5
    assert content(source) == before


def test_more_variants_leave_those_that_are_there(tmp_path: Path) -> None:
    source = library(tmp_path / "in")
    few, many = tmp_path / "few", tmp_path / "many"
    main(["vary", str(source), str(few), "--variants", "1"])
    main(["vary", str(source), str(many), "--variants", "3"])
    main(["vary", str(source), str(few), "--variants", "3"])
    assert content(few) == content(many)


def test_a_source_writes_its_models_and_their_variants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = library(tmp_path / "in"), tmp_path / "out"
    table = tmp_path / "table.tsv"
    table.write_text("class\tfile\tname\nn02512053\t**/*.glb\tfish\n")
    command = ["folder", str(source), str(out), "--table", str(table), "--licence", "CC0-1.0"]
    assert main([*command, "--variants", "2"]) == 0
    assert "6 written, 0 kept, 0 others" in capsys.readouterr().err
    before = content(out)
    models = [model.key for model in load_library(out)]
    assert len(models) == 6
    parents = {key: credit.parent for key, credit in read_licences(out, models).items()}
    assert sorted(filter(None, parents.values())) == sorted(2 * [key for key in models if not parents[key]])
    assert main([*command, "--variants", "2"]) == 0
    assert "0 written, 6 kept, 0 others" in capsys.readouterr().err
    assert content(out) == before
    assert main(["vary", str(out), str(tmp_path / "more"), "--variants", "1"]) == 0
    assert "2 written" in capsys.readouterr().err  # of the models, none of their variants
    assert main(command) == 0
    assert "0 written, 2 kept, 4 others" in capsys.readouterr().err
    assert main([*command, "--seed", "1"]) == 2
    assert "seed was 0, is 1" in capsys.readouterr().err


def test_classes_are_filled_up_with_variants_of_models_and_their_poses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three models, one a pose of another: with five variants they are eight, and each is on its origin's side."""
    source, out = library(tmp_path / "in"), tmp_path / "out"
    shutil.copy(source / "n02512053 fish/first.glb", source / "n02512053 fish/first-pose01.glb")
    shutil.copy(source / "n02512053 fish/first.glb", source / "n02512053 fish/first-v01.glb")
    key = "n02512053 fish/{}".format
    credits = {
        key(name): Credit("Jane", "CC0-1.0", "", "none", parent=parent)
        for name, parent in {
            "first": "",
            "second": "",
            "first-pose01": key("first"),
            "first-v01": key("first-pose01"),  # a variant, of which there are none
        }.items()
    }
    (source / "licences.jsonl").write_text(licence_lines(credits))
    assert main(["vary", str(source), str(out), "--per-class", "8", "--variants", "9"]) == 0
    assert "5 written" in capsys.readouterr().err
    models = {model.identifier: model for model in load_library(out)}
    assert {name: model.parent for name, model in models.items()} == {
        "first-v01": key("first"),
        "first-v02": key("first"),
        "first-pose01-v01": key("first"),
        "first-pose01-v02": key("first"),
        "second-v01": key("second"),
    }
    for wanted, most, written in (("3", "9", 0), ("100", "2", 6)):
        few = tmp_path / f"few{wanted}"
        main(["vary", str(source), str(few), "--per-class", wanted, "--variants", most, "--classes", "fish"])
        assert f"{written} written" in capsys.readouterr().err
    assert (
        content(out)["02512053/first-v01/models/model_normalized.obj"]
        == content(few)["02512053/first-v01/models/model_normalized.obj"]
    )


def test_bad_requests_are_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = library(tmp_path / "in"), tmp_path / "out"
    for options, words in (
        ([str(source), str(out)], "how many variants"),
        ([str(source), str(source), "--variants", "1"], "the library itself"),
        ([str(source), str(source / "v"), "--variants", "1"], "the library itself"),
        ([str(source), str(out), "--variants", "1000"], "0 to 999"),
        ([str(source), str(out), "--variants", "2", "--per-class", "0"], "--per-class must be at least 1"),
        ([str(tmp_path / "none"), str(out), "--variants", "1"], "no such folder"),
    ):
        assert main(["vary", *options]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert words in error
        assert not out.exists()


def test_a_broken_parent_is_named_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = library(tmp_path / "in"), tmp_path / "out"
    (source / "n02512053 fish/first.glb").write_bytes(b"glTF broken")
    assert main(["vary", str(source), str(out), "--variants", "2"]) == 0
    assert "2 models failed" in capsys.readouterr().err
    failures = [json.loads(line)["model"] for line in (out / "failures.jsonl").read_text().splitlines()]
    assert failures == ["02512053/first-v01", "02512053/first-v02"]

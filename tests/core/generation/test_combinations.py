"""Blends, mixes and variations: sums of style codes whose ends are the objects themselves, and recipes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gp3d_core import ObjectPipeline
from gp3d_core.cli.main import main
from gp3d_core.generation.combinations import (
    Combining,
    blend,
    blends,
    combined,
    mix,
    specs_combined,
    together,
    variation,
)
from gp3d_core.generation.objects import ObjectSpec, RequestError, object_specs
from gp3d_core.generation.recipes import RecipeError, read_recipe
from gp3d_core.generation.sampling import generate, open_snapshot
from gp3d_core.networks.generator import Generator
from gp3d_core.snapshots.catalogue import Catalogue
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.snapshot import save_snapshot
from tests.support.micro import micro_config
from tests.support.shipped import HORSE, MUG, MUSHROOM, TABBY, write_models

SMALL = ["--grid", "16", "--faces", "200", "--color", "vertex", "--format", "npz,ply", "--device", "cpu"]


def grounded(folder: Path, *more: str) -> Path:
    """An untrained micro model whose noise passes through a mixture around six known objects."""
    torch.manual_seed(5)
    config = micro_config("generator.known_objects=6", *more)
    generator = Generator(config, num_classes=2)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert generator.mapping.prior is not None
    generator.mapping.prior.set_known(torch.randn(6, config.generator.z_dim), labels, 0.4)
    save_snapshot(folder / "own.safetensors", generator, config, [MUG, MUSHROOM], 24)
    return folder / "own.safetensors"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("combined")
    return {**write_models(folder / "models"), "grounded": grounded(folder)}


@pytest.fixture(scope="module", params=["box", "grounded"])
def model(places, request):
    return open_snapshot(places[request.param], "cpu")


def spec_of(model, name, seed):
    (found,) = object_specs(model, [name], [seed])
    return found


def codes(model, spec):
    return generate(model, spec, 0.7).ws


def test_the_ends_of_a_blend_are_the_objects_to_the_bit(model):
    first, second = spec_of(model, "coffee mug", 3), spec_of(model, "mushroom", 8)
    assert (blend(first, second, 0), blend(first, second, 1)) == (first, second)
    row = blends(first, second, 4)
    assert (row[0], row[-1]) == (first, second)
    for end, own in ((row[0], first), (row[-1], second)):
        assert torch.equal(generate(model, end, 0.7).planes, generate(model, own, 0.7).planes)
    assert len({spec.stem for spec in row}) == 4


def test_codes_are_those_sums_that_the_words_say(model):
    first, second = spec_of(model, "coffee mug", 3), spec_of(model, "mushroom", 8)
    a, b = codes(model, first), codes(model, second)
    assert not torch.allclose(a, b)
    torch.testing.assert_close(codes(model, blend(first, second, 0.25)), 0.75 * a + 0.25 * b)
    late = a.shape[1] // 2 - 1
    mixed = codes(model, mix(first, second))
    assert torch.equal(mixed[:, :late], a[:, :late])
    assert torch.equal(mixed[:, late:], b[:, late:])
    varied = variation(first, 2, 0.5)
    assert torch.equal(codes(model, varied)[:, :late], a[:, :late])
    assert not torch.allclose(codes(model, varied)[:, late:], a[:, late:])
    assert variation(first, 2, 0.0) == variation(first, 0) == first
    assert varied == variation(first, 2)
    assert len({variation(first, number).stem for number in range(20)}) == 20


def test_what_is_combined_can_be_combined_again(model):
    first, second, third = (spec_of(model, "coffee mug", seed) for seed in (3, 4, 5))
    again = blend(mix(first, second), third, 0.5)
    a, b, c = (codes(model, spec) for spec in (first, second, third))
    late = a.shape[1] // 2 - 1
    expected = torch.cat([(a + c)[:, :late] / 2, (b + c)[:, late:] / 2], dim=1)
    torch.testing.assert_close(codes(model, again), expected)
    assert blend(blend(first, second, 0.5), first, 1) == first  # what has no share is no parent
    assert (again.record["name"], again.seed) == ("coffee mug", 3)


def test_impossible_combinations_are_one_line(model, places, tmp_path, capsys):
    first, second = spec_of(model, "coffee mug", 3), spec_of(model, "mushroom", 8)
    with pytest.raises(RequestError, match="`at`: expected a number from 0 to 1"):
        blend(first, second, 1.5)
    many = [ObjectSpec(first.record, first.label, seed) for seed in range(65)]
    with pytest.raises(RequestError, match="at most 64 objects"):
        combined([(spec, 1 / 65, 1 / 65) for spec in many])
    with pytest.raises(RequestError, match="call other style codes late"):
        combined([(ObjectSpec(*args, parents=mix(first, second).parents, late_from=k), 0.5, 0.5)
                  for k, args in ((2, (first.record, 0, 3)), (3, (first.record, 0, 3)))])  # fmt: skip
    small = tmp_path / "small"
    small.mkdir()
    flat = open_snapshot(grounded(small, "generator.plane_resolution=8", "generator.texel_square=2"), "cpu")
    with pytest.raises(
        RequestError, match="has no late style codes to take colours from: its objects have 2"
    ):
        generate(flat, mix(first, second))
    late = replace(blend(first, second, 0.5), late_from=99)
    with pytest.raises(RequestError, match=r"late_from: expected a whole number from 1 to 2, .* found 99"):
        generate(flat, late)
    assert generate(flat, blend(first, second, 0.5)).planes.isfinite().all()
    command = ["mesh", str(small / "own.safetensors"), "--class", "mug", "--variations", "2"]
    assert main([*command, "--out", str(tmp_path / "out"), *SMALL]) == 2
    assert "own.safetensors has no late style codes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_objects_of_two_classes_are_made_by_the_model_that_knows_both(places):
    models = Catalogue(tuple(read_snapshot_facts(places[name]) for name in ("box", "zoo")))
    labels = {str(record["name"]): label for label, (_, record) in enumerate(models.known)}
    owner, records = together(models, [labels["mushroom"], labels["horse"]])
    assert owner.path == places["zoo"]  # although box is the first that knows mushrooms
    assert {record["name"]: record["label"] for record in records.values()} == {"mushroom": 1, "horse": 2}
    assert {HORSE["label"], TABBY["label"]} == {2, 0}
    with pytest.raises(RequestError, match="no model knows coffee mug and horse together"):
        together(models, [labels["coffee mug"], labels["horse"]])
    ((owner, row),) = specs_combined(models, ["horse"], [2], Combining(blend_with="mushroom:9", steps=3))
    assert (owner.path, [spec.label for spec in row]) == (places["zoo"], [2, 2, 1])
    with pytest.raises(RequestError, match="expected SEED or CLASS:SEED"):
        specs_combined(models, ["horse"], [2], Combining(colors_of="mushroom"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["box", "grounded"])
def test_a_recipe_makes_a_combined_mesh_again(places, tmp_path, kind, capsys):
    source, out = str(places[kind]), tmp_path / "meshes"
    asked = ["mesh", source, "--class", "mug", "--seeds", "3", *SMALL, "--out", str(out)]
    assert main([*asked, "--blend", "mushroom:8", "--at", "0.3"]) == 0
    assert main([*asked, "--colors-of", "9"]) == 0
    assert main([*asked, "--variations", "1", "--strength", "0.4"]) == 0
    recipes = sorted(out.glob("coffee_mug-0003-*.recipe.json"))
    assert len(recipes) == 3
    for path in recipes:
        recipe = json.loads(path.read_text())
        assert (recipe["version"], recipe["seed"], recipe["late_from"]) == (2, 3, 2)
        again = tmp_path / path.name
        assert main(["mesh", source, "--recipe", str(path), "--device", "cpu", "--out", str(again)]) == 0
        for made in again.iterdir():
            if made.suffix in (".npz", ".ply"):
                assert made.read_bytes() == (out / made.name).read_bytes()
    plain = json.loads(
        (out / "coffee_mug-0003.recipe.json").read_text()
    )  # the object itself, beside its variation
    assert plain["version"] == 1
    assert "parents" not in plain
    both = ["mesh", "--recipe", str(recipes[0]), "--blend", "4"]
    assert main(both) == 2
    assert "do not go with --recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (
            {"version": 1},
            "expected parents in a recipe of version 2, and in no other; found version 1 with them",
        ),
        ({"parents": None}, "parents: expected 1 to 64 parents"),
        ({"seed": 2}, "seed: expected 1, that of the parent with the largest early share, found 2"),
        ({"class": {**MUG, "name": "cup"}}, "class: expected 'coffee mug', that of the parent"),
        ({"late_from": 0}, "late_from: expected a whole number above 0"),
        ({"version": 3}, "expected gp3d-recipe version 1 or 2, found gp3d-recipe version 3"),
    ],
)
def test_recipes_of_combinations_are_doubted(tmp_path, change, answer):
    half = {"class": MUG, "seed": 1, "early": 0.5, "late": 0.5}
    recipe = {"format": "gp3d-recipe", "version": 2, "parents": [half, {**half, "seed": 2}], "late_from": 2}
    recipe |= {"class": MUG, "seed": 1, "truncation": 0.7, "level": 1, "grid": 16, "snapshot_sha256": "0"}
    path = tmp_path / "a.recipe.json"
    path.write_text(json.dumps(recipe))
    assert read_recipe(path)["late_from"] == 2
    path.write_text(json.dumps(recipe | change))
    with pytest.raises(RecipeError, match=answer):
        read_recipe(path)
    for odd in ({**half, "middle": 0.5}, {key: half[key] for key in ("class", "seed", "early")}):
        path.write_text(json.dumps(recipe | {"parents": [half, odd]}))
        with pytest.raises(RecipeError, match="with class, seed, early and late alone"):
            read_recipe(path)
    path.write_text(json.dumps(recipe | {"parents": [half]}))
    with pytest.raises(RecipeError, match="whose shares add up to 1"):
        read_recipe(path)


def test_objects_are_combined_in_python(places, tmp_path):
    pipeline = ObjectPipeline.from_pretrained(places["box"], device="cpu")
    mug, cap = pipeline.generate("coffee mug", seed=3), pipeline.generate("mushroom", seed=8)
    assert torch.equal(mug.blend(cap, 1.0).generated.planes, cap.generated.planes)
    assert mug.with_colors_of(cap).spec.parents[1].late == 1.0
    assert mug.variation(1).spec != mug.variation(2).spec
    with pytest.raises(RequestError, match=r"objects of one `truncation` are combined, found 0\.7 and 1"):
        mug.blend(pipeline.generate("mushroom", seed=8, truncation=1.0))
    other = ObjectPipeline.from_pretrained(places["box-1"], device="cpu").generate("coffee mug")
    with pytest.raises(RequestError, match="within one model"):
        mug.blend(other)


def test_options_that_would_be_dropped_are_refused(capsys):
    for flags, answer in (
        (["--steps", "3"], "--steps is for --blend"),
        (["--strength", "1"], "--strength is for --variations"),
        (["--blend", "4", "--steps", "3", "--at", "0.5"], "--at is one step"),
    ):
        assert main(["mesh", "--class", "mug", *flags]) == 2
        assert answer in capsys.readouterr().err

"""Options of meshes: one description, and all borders that derive from it say the same."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import math
import random
import re
from dataclasses import replace

import pytest

from gp3d_core.cli.arguments import Parser, UsageError, bound
from gp3d_core.cli.generate import add_mesh_options, mesh_options
from gp3d_core.cli.main import main
from gp3d_core.errors import GP3DError
from gp3d_core.generation.meshes import write_meshes
from gp3d_core.generation.objects import DEFAULT_TRUNCATION, MOST_TRUNCATION
from gp3d_core.generation.recipes import RecipeError, option_facts, options_of
from gp3d_core.generation.sampling import generate
from gp3d_core.generation.video import write_films, write_stills
from gp3d_core.meshing.level import AUTO, Level
from gp3d_core.meshing.option_values import Bytes, Number, OneOf
from gp3d_core.meshing.options import MeshOptions, OptionError, SceneMeshOptions, defaults, specs
from gp3d_core.rendering.activation import DensityActivation
from gp3d_core.worker.protocol import OPERATIONS, Problem, read_request
from tests.support.source_tree import ROOT

KINDS = (MeshOptions, SceneMeshOptions)
BOX = DensityActivation(64.0, 10.0, -3.0)


def some_options(kind, seed):
    """Options with every value drawn from its range, ends and words and None included."""
    draw = random.Random(seed)
    chosen = {}
    for name, option in specs(kind).items():
        values = option.values
        if isinstance(values, Number):
            between = draw.uniform(values.low, values.high)
            pool = [values.low, values.high, between, *values.words, *([None] * (values.nothing is not None))]
            value = draw.choice(pool)
            if isinstance(value, int | float):
                value = math.ceil(value * option.unit) if values.whole or option.unit != 1 else float(value)
        elif isinstance(values, OneOf):
            value = draw.choice(values.names)
        elif isinstance(values, Bytes):
            value = draw.choice([None, values.low, draw.randint(values.low, 10**12), 10**12])
        elif name == "level":
            levels = [AUTO, Level(draw.uniform(1e-9, 1e3))]
            levels += [Level(draw.uniform(-99, 99), raw=True)] * (kind is MeshOptions)
            value = draw.choice(levels)
        else:
            low = [draw.uniform(-1, 0) for _ in range(3)]
            value = draw.choice([None, (*low, *(draw.uniform(0.1, 1) for _ in range(3)))])
        chosen[name] = value
    return kind(**chosen)


def parsed(kind, words):
    parser = Parser()
    add_mesh_options(parser, kind)
    return mesh_options(parser.parse_args(bound(words)), kind)


def words_of(options):
    """The command line that says the options."""
    words = []
    for name, option in specs(type(options)).items():
        value = getattr(options, name)
        flag = f"--{option.flag or name.replace('_', '-')}"
        words += [flag, option.values.to_text(value / option.unit if option.unit != 1 else value)]
    return words


def asked(op, fields):
    """The options of a request for `op` with these fields."""
    needed = {"dir": "/tmp", "id": "1", "op": op}
    needed |= {"seed": 1} if op == "mesh" else {"picture": "a.png", "tokenizer": "box"}
    return read_request(json.dumps(needed | fields).encode()).options


@pytest.mark.parametrize("kind", KINDS)
def test_command_lines_requests_and_recipes_come_back_as_they_were(kind):
    op = "mesh" if kind is MeshOptions else "picture"
    for seed in range(150):
        options = some_options(kind, seed)
        limited = replace(options, max_bytes=defaults(kind)["max_bytes"])  # of the machine, not of the mesh
        line = parsed(kind, words_of(options))
        assert replace(line, max_bytes=options.max_bytes) == options
        assert line.max_bytes == pytest.approx(options.max_bytes, abs=1)
        request = json.loads(json.dumps(options.to_request()))
        assert kind.of_request(asked(op, request)) == limited
        recipe = json.loads(json.dumps(options.to_recipe()))
        assert kind.of_recipe(recipe) == limited


def test_recipe_of_a_finished_mesh_makes_it_again_everywhere():
    made = MeshOptions(grid=1024, faces=None, components=1, crop_depth=0.25, color="vertex")
    recipe = json.loads(json.dumps({**option_facts(made), "level": 12.5, "faces": 1234}))
    again = options_of(recipe)
    assert again == replace(made, level=Level(12.5))
    assert parsed(MeshOptions, words_of(again)) == again
    assert MeshOptions.of_request(asked("mesh", again.to_request())) == again


def test_recipes_and_requests_keep_the_words_of_version_1():
    recipe = {
        **{"grid": 64, "face_budget": 5000, "color": "texture", "texture_size": 256},
        **{"compress": "none", "print_height": 100.0},
        **{"max_size": 250_000, "lods": 3, "collision": 16, "quads": 2000, "size": "real", "pivot": "bottom"},
        **{"largest": 1, "crop_box": [-1.0, -1, -1, 1, 1, 1], "crop_depth": None, "level": 10.0},
    }
    options = options_of(recipe)
    assert options == MeshOptions(
        grid=64,
        level=Level(10.0),
        faces=5000,
        texture_size=256,
        components=1,
        crop_box=(-1, -1, -1, 1, 1, 1),
        max_size=250_000,
        lods=3,
        collision=16,
        quads=2000,
        size="real",
        pivot="bottom",
    )
    assert {"level": 10.0} | option_facts(options) == recipe
    assert options_of(recipe | {"largest": None, "face_budget": None}) == replace(
        options, components=None, faces=None
    )
    assert set(options.to_request()) == {
        *("grid", "level", "faces", "color", "texture_size", "keep", "crop_box", "crop_depth"),
        *("compress", "print_height", "max_size", "lods", "collision", "quads", "size", "pivot"),
    }
    older = {name: value for name, value in recipe.items() if name in ("grid", "level", "largest")}
    kept = MeshOptions(grid=64, level=Level(10.0), components=1)
    assert options_of(older) == kept  # units of the model, no pivot, one level: what there was before
    assert (kept.size, kept.pivot, kept.lods, kept.collision) == (None, "none", 1, None)
    scene = SceneMeshOptions().to_recipe()
    assert scene == {
        **{"grid": 128, "level": "auto", "faces": 30000, "color": "texture", "texture_size": "auto"},
        **{"largest": "auto", "crop_depth": "auto", "compress": "none", "print_height": 100.0},
    }


def test_a_raw_level_comes_back_exactly():
    level = Level.parse("raw:-80")
    assert level.to_raw(BOX) == -80.0
    assert BOX.density(-80.0) == 0.0  # so that a density alone would not lead back
    recipe = option_facts(MeshOptions(level=level)) | {"level": 0.0, "raw_level": -80.0}
    assert options_of(recipe).level == level
    with pytest.raises(RecipeError, match="`level`"):
        options_of(recipe | {"raw_level": None})
    assert Level(30.0).to_raw(BOX) == BOX.inverse(30.0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("500k", 500_000), ("2M", 2_000_000), ("1.5M", 1_500_000), ("1000", 1000), ("none", None)),
        *(("500K", 500_000), ("2MB", 2_000_000), ("0.5g", 500_000_000)),
    ],
)
def test_sizes_of_files_count_in_thousands_and_millions(text, size):
    assert parsed(MeshOptions, ["--max-size", text]).max_size == size
    assert MeshOptions.of_request(asked("mesh", {"max_size": size})).max_size == size


@pytest.mark.parametrize("text", ["", "999", "-5k", "500kiB", "2 M", "1e6", "k", "nan"])
def test_other_sizes_of_files_are_refused_in_one_line(text):
    with pytest.raises(
        UsageError, match="--max-size: expects a size such as 500k or 2M, at least 1000 bytes"
    ):
        parsed(MeshOptions, [f"--max-size={text}"])


def test_collision_alone_means_sixteen_parts():
    assert parsed(MeshOptions, ["--collision"]).collision == 16
    assert parsed(MeshOptions, ["--collision", "3"]).collision == 3
    assert parsed(MeshOptions, ["--collision", "0"]).collision is None
    assert parsed(MeshOptions, []).collision is None


@pytest.mark.parametrize("text", ["auto", "10.0", "1e-09", "raw:-80.0", "raw:0.0"])
def test_levels_are_read_as_they_are_said(text):
    assert str(Level.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "nan", "inf", "1e31", "raw:", "raw:nan", "raw:raw:1", "Auto", "10 20"]
)
def test_other_levels_are_refused_in_one_line(text):
    with pytest.raises(GP3DError, match=re.escape(f"found {text!r}")):
        Level.parse(text)
    with pytest.raises(UsageError, match="--level: expects auto"):
        parsed(MeshOptions, ["--level", text])


def borders_of(kind, name):
    """What each border makes of a value of the option, and the error with which it refuses one."""
    option, op = specs(kind)[name], "mesh" if kind is MeshOptions else "picture"
    flag = f"--{option.flag or name.replace('_', '-')}"
    yield UsageError, lambda value: getattr(parsed(kind, [flag, str(value)]), name)
    if option.kept:
        yield OptionError, lambda value: getattr(kind(**{name: value}), name)
        field = option.field or name
        yield Problem, lambda value: getattr(kind.of_request(asked(op, {field: value})), name)


@pytest.mark.parametrize("kind", KINDS)
def test_ranges_are_the_same_on_every_border(kind):
    for name, option in specs(kind).items():
        values = option.values
        if not isinstance(values, Number):
            continue
        step = 1 if values.whole else 1e-3 * abs(values.low)
        for error, border in borders_of(kind, name):
            for value in (values.low, values.high):
                assert border(value) == pytest.approx(value * option.unit, abs=0 if option.unit == 1 else 1)
            for value in (values.low - step, values.high + step, -values.high - step):
                if value != 0:  # which stands for None where one counts
                    with pytest.raises(error, match=re.escape(values.expected.split(", or")[0])):
                        border(value)


def test_defaults_are_the_same_on_every_border():
    for kind, op in zip(KINDS, ("mesh", "picture"), strict=True):
        assert parsed(kind, []) == kind()
        assert kind.of_request(asked(op, {})) == kind()
        assert set(kind().to_request()) <= set(OPERATIONS[op])
    assert replace(SceneMeshOptions(), crop_depth=None) == SceneMeshOptions(
        **{name: value for name, value in defaults(MeshOptions).items() if name in specs(SceneMeshOptions)}
    )


def panel_numbers():
    """The keywords of the numeric properties of the add-on, by name; its constants, by name."""
    numbers, constants = {}, {}
    for node in ast.walk(ast.parse((ROOT / "blender_addon/properties.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.annotation, ast.Call):
            words = {word.arg: word.value for word in node.annotation.keywords}
            numbers[node.target.id] = {
                name: eval_number(words[name]) for name in ("min", "max", "default") if name in words
            }
    for node in ast.parse((ROOT / "blender_addon/requests.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = (
                zip(target.elts, value.elts, strict=True)
                if isinstance(target, ast.Tuple)
                else [(target, value)]
            )
            constants |= {name.id: eval_number(number) for name, number in pairs}
    return numbers, constants


def eval_number(node):
    """The value of a literal, or of a power of literals; None for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return eval_number(node.left) ** eval_number(node.right)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def test_the_panel_has_the_same_ranges_and_defaults():
    numbers, constants = panel_numbers()
    values = {name: option.values for name, option in specs(MeshOptions).items()}
    usual = defaults(MeshOptions)
    assert numbers["faces"] == {"min": 0, "max": values["faces"].high, "default": usual["faces"]}
    assert constants["_FEWEST_FACES"] == values["faces"].low
    assert constants["_MOST_FACES"] == values["faces"].high
    assert numbers["depth_cut"] == {
        "min": values["crop_depth"].low,
        "max": values["crop_depth"].high,
        "default": 1.0,  # the far plane: nothing is cut
    }
    assert constants["_FINEST_GRID"] == values["grid"].high
    assert constants["_LARGEST_TEXTURE"] == values["texture_size"].high
    assert constants["GRIDS"]["STANDARD"] == usual["grid"]
    assert all(values["grid"].accepts(grid) for grid in constants["GRIDS"].values())
    assert numbers["texture_size"]["default"] == str(usual["texture_size"])
    assert numbers["keep_largest"].get("default", False) is False  # "auto", as everywhere


def test_truncation_has_one_range_and_one_default(capsys):
    numbers, _ = panel_numbers()
    wide = {"min": 0.0, "max": MOST_TRUNCATION, "default": DEFAULT_TRUNCATION}
    assert numbers["truncation"] == wide
    operators = (ROOT / "blender_addon/ui/operators.py").read_text(encoding="utf-8")
    [own] = [
        {word.arg: eval_number(word.value) for word in node.keywords if word.arg != "name"}
        for node in ast.walk(ast.parse(operators))
        if isinstance(node, ast.Call) and ast.unparse(node).startswith("FloatProperty(name='Variety'")
    ]
    assert own == wide
    assert asked("mesh", {})["truncation"] == DEFAULT_TRUNCATION
    assert asked("mesh", {"truncation": MOST_TRUNCATION})["truncation"] == MOST_TRUNCATION
    for value, code in ((MOST_TRUNCATION + 0.001, 2), (-0.001, 2)):
        with pytest.raises(Problem, match="truncation"):
            asked("mesh", {"truncation": value})
        assert main(["mesh", "--class", "mushroom", "--truncation", str(value)]) == code
        assert "--truncation: expects a number from 0 to 2" in capsys.readouterr().err
    for function in (generate, write_meshes, write_films, write_stills):
        assert inspect.signature(function).parameters["truncation"].default == DEFAULT_TRUNCATION


def test_help_says_what_each_option_is_and_its_default(capsys):
    for words, kind in ((["mesh"], MeshOptions), (["vq3d", "mesh"], SceneMeshOptions)):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        told = " ".join(capsys.readouterr().out.split())
        for option in specs(kind).values():
            assert option.help in told
            assert all(f"--{alias} " in told for alias in option.aliases)
        assert "all but specks (default auto)" in told
        assert "in GiB (default 4.0)" in told
        assert "(default 30000)" in told


def test_the_old_flag_of_components_is_still_read():
    for text, value in (("1", 1), ("0", None), ("auto", "auto")):
        assert parsed(MeshOptions, ["--keep", text]).components == value
        assert parsed(MeshOptions, ["--components", text]).components == value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grid": True}, "`grid`: expected a whole number from 8 to 2048, found True"),
        (
            {"components": 0},
            "`components`: expected a whole number from 1 to 1e+06, or auto, or None, found 0",
        ),
        ({"level": 10.0}, "`level`: expected auto, a density above 0"),
        ({"crop_depth": "auto"}, "`crop_depth`: expected a number from -1 to 1, or None"),
        ({"crop_depth": math.nan}, "`crop_depth`"),
        ({"crop_box": (0, 0, 0, 1, 1, 0)}, "`crop_box`: expected six numbers"),
        ({"max_bytes": 1}, "`max_bytes`: expected a number from 0.1 to 1e+06 times 1073741824, found 1"),
    ],
)
def test_python_hears_of_the_parameter(change, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        MeshOptions(**change)


def test_scenes_have_no_raw_level_and_no_box():
    with pytest.raises(OptionError, match="`level`: expected auto, or a density above 0"):
        SceneMeshOptions(level=Level(1.0, raw=True))
    with pytest.raises(Problem, match="unknown field"):
        asked("picture", {"crop_box": None})
    with pytest.raises(UsageError, match="--level: expects auto, or a density above 0"):
        parsed(SceneMeshOptions, ["--level", "raw:1"])


def test_arguments_are_those_of_the_options_and_no_others():
    parser = argparse.ArgumentParser(add_help=False)
    add_mesh_options(parser)
    assert {action.dest for action in parser._actions} == set(specs(MeshOptions))

"""Messages name parameters as Python does; the command line says its flags instead."""

from __future__ import annotations

import pytest

from gp3d_core.cli.arguments import Parser, spelling
from gp3d_core.cli.main import main
from gp3d_core.errors import spell


def parser():
    top = Parser()
    commands = top.add_subparsers()
    mesh = commands.add_parser("mesh")
    mesh.add_argument("snapshot", nargs="?")
    mesh.add_argument("pictures", nargs="*", metavar="IMG")
    mesh.add_argument("--class", dest="classes")
    mesh.add_argument("-k", "--components", "--keep", dest="components")
    verbs = commands.add_parser("vq3d").add_subparsers()
    verbs.add_parser("mesh").add_argument("--class", dest="query")
    return top


@pytest.mark.parametrize(
    ("words", "parameter", "name"),
    [
        (["mesh"], "classes", "--class"),
        (["mesh", "a"], "components", "--components"),
        (["mesh"], "snapshot", "SNAPSHOT"),
        (["mesh"], "pictures", "IMG"),
        (["mesh"], "min_side", "--min-side"),
        (["mesh"], "training.batch", "--set training.batch"),
        (["vq3d", "mesh"], "query", "--class"),
        (["vq3d", "mesh"], "classes", "--classes"),
        ([], "level", "--level"),
    ],
)
def test_parameters_are_called_as_the_command_calls_them(words, parameter, name):
    assert spell(f"no `{parameter}` at all", spelling(parser(), words)) == f"no {name} at all"


def test_only_names_of_parameters_are_spelled():
    message = "`gp3d data features` makes `Level`, `3d`, ``, it's `a-b`"
    assert spell(message, str.upper) == message


def test_the_command_line_says_flags_and_python_says_names(tmp_path, capsys):
    from gp3d_core.generation.meshes import write_meshes

    with pytest.raises(ValueError, match="fbx") as error:
        next(write_meshes(None, [], tmp_path, formats=["fbx"]))
    assert " --" not in str(error.value)
    assert main(["mesh", "--class", "mushroom", "--format", "fbx", "--out", str(tmp_path)]) == 2
    assert "--format fbx: expected obj, glb, ply, npz, stl, 3mf, usdz" in capsys.readouterr().err

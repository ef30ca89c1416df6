"""Every argument of every program of `synthetic` that may name a file refuses a pipe, a socket and a device at once."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
from importlib import import_module
from pathlib import Path

import pytest
import torch

import synthetic
from tests.support.two_processes import run_alone
from tests.synthetic.exchange.boxes_data import write_boxes, write_library

pytestmark = pytest.mark.slow
CHILDREN = {"synthetic.library.infinigen.child", "synthetic.workers.worker"}  # that other programs start
# What a program needs, by argument, when another of its arguments is tried; NEW is a name that nothing has.
GIVEN = {
    "synthetic.check": {"dataset": "BOXES", "models": "MODELS"},
    "synthetic.contact": {"meshes": "MODELS", "out": "NEW.png"},
    "synthetic.export": {"data": "BOXES", "out": "NEW", "to": "nerf"},
    "synthetic.library 0ad": {"source": "MODELS", "out": "NEW"},
    "synthetic.library folder": {"source": "MODELS", "out": "NEW", "table": "TABLE.tsv"},
    "synthetic.library infinigen": {"out": "NEW"},
    "synthetic.library sh3f": {"source": "MODELS", "out": "NEW"},
    "synthetic.library vary": {"source": "MODELS", "out": "NEW", "variants": "1"},
    "synthetic.points": {"models": "MODELS", "dataset": "NEW"},
    "synthetic.preview": {"meshes": "MESH/mesh.obj", "out": "NEW.png"},
    "synthetic.render": {"models": "MODELS", "out": "NEW"},
    "synthetic.shapes": {"out": "NEW"},
    "synthetic.shapes.sheet": {"out": "NEW.png", "classes": "barrel", "models": "1"},
}


class _Found(Exception):
    """A parser that was about to read a command line."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def programs() -> list[str]:
    """The modules of `synthetic` that can be run."""
    root = Path(synthetic.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        if re.search(r'^if __name__ == "__main__":', path.read_text(), re.MULTILINE):
            parts = ("synthetic", *path.relative_to(root).with_suffix("").parts)
            found.append(".".join(parts).removesuffix(".__main__"))
    return found


def _main(program: str):
    module = import_module(program)
    return module.main if hasattr(module, "main") else import_module(f"{program}.__main__").main


def parsers(program: str) -> dict[str, argparse.ArgumentParser]:
    """What reads a program's arguments, one for each of its commands, by the words that begin a command line."""
    usual = argparse.ArgumentParser.parse_known_args

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Found(parser)

    argparse.ArgumentParser.parse_known_args = stop  # type: ignore[assignment]
    try:
        _main(program)([])
    except _Found as found:
        parser = found.parser
    finally:
        argparse.ArgumentParser.parse_known_args = usual  # type: ignore[method-assign]
    commands = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not commands:
        return {program: parser}
    return {f"{program} {name}": one for name, one in commands[0].choices.items()}


def _is_text(action: argparse.Action) -> bool:
    """Whether an argument's word may be the name of a file."""
    return action.nargs != 0 and action.choices is None and action.type not in (int, float)


def words(program: str, tried: str, place: Path, odd: Path) -> list[str]:
    """A command line of `program` whose argument `tried` is `odd`."""
    begin, *command = program.split()
    parser = parsers(begin)[program]
    needed = {
        name: str(place / value) if value[0].isupper() else value for name, value in GIVEN[program].items()
    }
    line: list[str] = [*command]
    for action in parser._actions:
        value = str(odd) if action.dest == tried else needed.get(action.dest)
        if value is None:
            continue
        if action.option_strings:
            line += [action.option_strings[-1], value]
    line += ["--"]
    for action in parser._actions:
        if not action.option_strings:
            line.append(str(odd) if action.dest == tried else needed[action.dest])
    return line


ARGUMENTS = [
    (program, action.dest, action.type is Path)
    for module in programs()
    if module not in CHILDREN
    for program, parser in parsers(module).items()
    for action in parser._actions
    if _is_text(action)
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)  # threads of OpenMP do not survive a fork
    folder = tmp_path_factory.mktemp("place")
    write_library(folder / "MODELS")
    write_boxes(folder / "BOXES", folder / "MODELS", folder / "scratch")
    model = next((folder / "MODELS").rglob("*.obj"))
    shutil.copytree(model.parent, folder / "MESH")
    (folder / "MESH" / model.name).rename(folder / "MESH" / "mesh.obj")
    (folder / "TABLE.tsv").write_text("file\tclass\nnone.obj\tbarrel\n")
    return folder


def test_every_program_is_tried() -> None:
    assert {
        program for module in programs() for program in ([] if module in CHILDREN else parsers(module))
    } == set(GIVEN)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize(("program", "tried", "is_path"), ARGUMENTS)
def test_it_is_refused_at_once(
    program: str,
    tried: str,
    is_path: bool,
    kind: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ending = Path(GIVEN[program].get(tried, "")).suffix
    odd = tmp_path / f"odd{ending}"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(odd.name)
    else:
        odd.symlink_to("/dev/zero")
    line = [word.replace(f"{place}/NEW", f"{tmp_path}/new") for word in words(program, tried, place, odd)]

    def limited() -> int:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # libraries that wait in C hear no other
        signal.alarm(30)
        return int(_main(program.split()[0])(line))

    code = run_alone(limited, tmp_path / "log")
    said = (tmp_path / "log").read_text()
    if is_path:
        assert (code, len(said.splitlines())) == (2, 1), said
    else:  # a text like any other, or read as names, of which the parser knows none
        assert code in (0, 2), said
        assert "Traceback" not in said
    assert not odd.is_file()
    assert odd.exists()

"""The command `gp3d`: reads arguments, calls one function, reports errors in one line.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 2 bad input, 3 environment, 5 training gave up,
130, 143 or 129 stopped by Ctrl-C, SIGTERM or SIGHUP. Nothing heavy is imported before the arguments are known to be
right.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from gp3d_core.cli.arguments import Parser, bound, check_driver, command_of, new_path, number, spelling
from gp3d_core.cli.process.memory import EXIT_CODE, NO_MEMORY, keep_freed_memory, take_buffers
from gp3d_core.errors import GP3DError, lacks_memory, one_line, spell
from gp3d_core.signals import RAISED, Stopped


class _Command(NamedTuple):
    """A command: its name, the module below `gp3d_core.cli` that has `add_<name>(parser)`, and its help."""

    name: str
    module: str
    help: str


COMMANDS = (
    _Command("demo", "main", "from nothing to meshes: shapes, renders, training, export"),
    _Command("train", "train", "train 3DGP on a data set; the same command again resumes"),
    _Command("presets", "train", "list the settings that training can begin with"),
    _Command(
        "ground", "ground", "learn from rendered models with known shapes; the same command again resumes"
    ),
    _Command("data", "data", "prepare data sets, look at them, check them"),
    _Command("mesh", "generate", "write textured meshes"),
    _Command("render", "generate", "draw generated objects: a sheet, stills or films"),
    _Command("gallery", "generate", "one page of a folder's meshes, to turn and search (docs/gallery.md)"),
    _Command("view", "generate", "write the gallery of a folder and open it in the browser"),
    _Command("classes", "models", "list what a model knows, and how well"),
    _Command("card", "models", "say what a model learnt from, and what it owes to whom"),
    _Command("evaluate", "evaluate", "score a snapshot against a data set (docs/evaluation.md)"),
    _Command("ship", "models", "halve a snapshot, and badge its classes (docs/snapshot.md)"),
    _Command(
        "lift",
        "photographs.lift",
        "a photo and its depth to a relief that can be turned (docs/photographs.md)",
    ),
    _Command("vq3d", "vq3d.training", "a photo to a scene in one pass, and new scenes (docs/vq3d.md)"),
    _Command("serve", "serve", "work for another program over pipes (docs/serve.md)"),
    _Command("mcp", "serve", "tools for assistants, by the Model Context Protocol (docs/mcp.md)"),
    _Command("doctor", "main", "check this machine"),
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_EPILOG = """\
first steps:
  gp3d classes                                    what the model that comes along knows
  gp3d mesh --class "coffee mug" --seeds 0-3      four textured meshes, in the folder meshes
  gp3d render --class mushroom --kind turntable   a film of one
  gp3d COMMAND --help                             all that a command can do
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = command_line(words[0] if words else "")
    if not words:
        parser.print_help(sys.stderr)
        return 2
    try:
        options, unknown = parser.parse_known_args(bound(words))
        if unknown:  # answered by the command that does not know them, whose help is shorter
            command_of(parser, words).error(f"unrecognized arguments: {' '.join(unknown)}")
        command: Callable[[argparse.Namespace], int] = options.command
        check_driver(getattr(options, "device", None) or "auto")
        if hasattr(options, "device"):  # it computes
            take_buffers()
            keep_freed_memory()
        code = command(options)
        return _flushed(code)
    except KeyboardInterrupt as error:
        return _interrupted(error.number if isinstance(error, Stopped) else signal.SIGINT)
    except Exception as error:
        if RAISED.requested:
            return _interrupted(RAISED.signal)
        if not isinstance(error, GP3DError) and lacks_memory(error):
            sys.stderr.write(NO_MEMORY)
            return EXIT_CODE
        if not isinstance(error, (GP3DError, OSError)):
            raise
        if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
            _print_nowhere()  # what is still to be printed would fail again at the end
        print(f"gp3d: {spell(_one_line(error), spelling(parser, words))}", file=sys.stderr)
        return getattr(error, "exit_code", 2)


def _interrupted(number: int) -> int:
    """Says that the signal `number` ended the command; the exit code."""
    print(
        "gp3d: interrupted; every file that is there is whole, and the same command makes the rest",
        file=sys.stderr,
    )
    return 128 + number


def _flushed(code: int) -> int:
    """The exit code once what was printed is out."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _print_nowhere()  # or Python complains once more at its end
        print(f"gp3d: its output could not be printed: {error.strerror}", file=sys.stderr)
        return 2
    return code


def _print_nowhere() -> None:
    """Whatever is printed from now on is lost."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        advice = (
            "; make room there, then the same command goes on"
            if error.filename and error.errno in _FULL
            else ""
        )
        return one_line(f"{error.filename or 'what is printed, or a file'}: {error.strerror}{advice}")
    return one_line(str(error))


def command_line(only: str | None = None) -> Parser:
    """The parser of all commands; with `only` of that one, while the others are known by name and help alone.

    Each command's arguments stand in a module of its own, which is imported when they are added: so help is instant.
    """
    parser = Parser(
        prog="gp3d",
        description="Make textured 3D objects from a class and a seed; train your own model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        arguments = commands.add_parser(command.name, help=command.help)
        if only in (None, command.name):
            module = import_module(f"gp3d_core.cli.{command.module}")
            getattr(module, f"add_{command.name}")(arguments)
    return parser


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d demo`."""
    add = parser.add_argument
    add("--out", type=new_path, default=Path("runs/demo"), help="folder of the results")
    add(
        "--objects",
        type=number(int, 8, 1e9),
        default=8000,
        help="to see while learning from known shapes (default %(default)s; the same number, the same model)",
    )
    add(
        "--images",
        type=number(int, 8, 1e9),
        default=400,
        help="to see in the adversarial game that follows (default %(default)s)",
    )
    add(
        "--minutes",
        type=number(float, 0.01, 1e6),
        default=math.inf,
        help="stop learning after so long, if sooner (default: no limit)",
    )
    parser.set_defaults(command=_demo)


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d doctor`."""
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.set_defaults(command=_doctor)


def _demo(options: argparse.Namespace) -> int:
    from gp3d_core.atomic import check_writable

    check_writable(options.out)
    from gp3d_core.cli.demo import Budget, run_demo

    return run_demo(options.out, Budget(options.objects, options.images, options.minutes))


def _doctor(options: argparse.Namespace) -> int:
    from gp3d_core.cli.doctor import report

    return report(as_json=options.json)

"""The command `gp3d`: reads arguments, calls one function, reports errors in one line.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 2 bad input, 3 environment, 5 training gave up,
130 or 143 interrupted. Nothing heavy is imported before the arguments are known to be right.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gp3d_core.cli.arguments import Parser, bound, number, spelling
from gp3d_core.cli.data import add_data
from gp3d_core.cli.evaluate import add_evaluate
from gp3d_core.cli.generate import add_mesh, add_render
from gp3d_core.cli.ground import add_ground
from gp3d_core.cli.models import add_classes, add_ship
from gp3d_core.cli.serve import add_serve
from gp3d_core.cli.train import add_train
from gp3d_core.cli.vq3d.training import add_vq3d
from gp3d_core.errors import GP3DError, spell

Command = Callable[[argparse.Namespace], int]
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
    parser = _parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    try:
        options = parser.parse_args(bound(words))
        command: Command = options.command
        code = command(options)
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (GP3DError, OSError) as error:
        print(f"gp3d: {spell(_one_line(error), spelling(parser, words))}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    except KeyboardInterrupt:
        print("gp3d: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gp3d",
        description="Make textured 3D objects from a class and a seed; train your own model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    add_train(commands)
    add_ground(commands)
    add_data(commands)
    add_mesh(commands)
    add_render(commands)
    add_classes(commands)
    add_evaluate(commands)
    add_ship(commands)
    add_vq3d(commands)
    add_serve(commands)
    _add_doctor(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("demo", help="from nothing to meshes: shapes, renders, training, export")
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/demo"), help="folder of the results")
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


def _add_doctor(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("doctor", help="check this machine")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.set_defaults(command=_doctor)


def _demo(options: argparse.Namespace) -> int:
    from gp3d_core.cli.demo import Budget, run_demo

    return run_demo(options.out, Budget(options.objects, options.images, options.minutes))


def _doctor(options: argparse.Namespace) -> int:
    from gp3d_core.cli.doctor import report

    return report(as_json=options.json)

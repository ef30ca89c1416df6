"""What the command lines of `gp3d` share: a parser whose errors are one line, numbers with ranges, options of meshes.

Also how the command line calls the parameters that messages name (gp3d_core.errors).
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gp3d_core.errors import GP3DError, no_cuda
from gp3d_core.generation.objects import MOST_SEEDS
from gp3d_core.meshing.option_values import Number, Values, expected
from gp3d_core.pretrained import is_name, nearest_name

_NEGATIVE = re.compile(r"-[\d.][\d.,eE+-]*")  # numbers, not an option: none begins with a digit
_DRIVER = "libcuda.so.1"
_AMD = Path("/dev/kfd")  # builds of torch for AMD's cards call those cuda, too
_OPTION = re.compile(r"--[a-z][a-z0-9-]*")


class UsageError(GP3DError):
    """A command line that cannot be read."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError with the message and where to read more."""
        raise UsageError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def bound(words: Sequence[str]) -> list[str]:
    """The words of a command line with negative numbers bound to the options before them: `--shift=-0.3,0,0`.

    argparse takes what begins with a minus and is not just one number for an option.
    """
    joined: list[str] = []
    for word in words:
        if joined and _NEGATIVE.fullmatch(word) and _OPTION.fullmatch(joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], Any]:
    """Reads a number from `low` to `high`."""
    return reader(Number(low, high, whole=kind is int))


def reader(values: Values, unit: int = 1) -> Callable[[str], Any]:
    """A reader of what a command line says; numbers are counted in `unit`."""

    def read(text: str) -> Any:
        value = values.of_text(text)
        if values.accepts(value):
            return math.ceil(value * unit) if unit != 1 else value
        raise argparse.ArgumentTypeError(f"expects {expected(values, 'none')}, found {text!r}")

    return read


def any_path(text: str) -> Path:
    """The path of a file or folder that may be there; pipes and devices are refused before somebody waits for them."""
    from gp3d_core.hashing import FileKindError, ordinary

    try:
        return ordinary(Path(text))
    except FileKindError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None


def new_path(text: str) -> Path:
    """The path of what is to be written; an empty one would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("expects a path, found ''")
    return any_path(text)


def add_page(parser: argparse.ArgumentParser) -> None:
    """Adds where a page of Markdown goes, as `show_page` takes it."""
    parser.add_argument(
        "--out", type=_new_page, metavar="FILE.md", help="write it there instead of printing it"
    )


def _new_page(text: str) -> Path:
    path = new_path(text)
    if path.suffix.lower() != ".md":
        raise argparse.ArgumentTypeError(f"expects the name of a .md file, found {text!r}")
    return path


def show_page(page: str, out: Path | None) -> int:
    """Exit code 0, after the page was printed, or written to `out`, whose path is printed then."""
    from gp3d_core.atomic import write_text

    if out is None:
        print(page, end="")
        return 0
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    print(out)
    return 0


def existing(text: str) -> Path:
    """The path of a file or folder that is there."""
    path = any_path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"nothing is at {text}; expected a file or folder")
    return path


def model_path(text: str) -> Path:
    """The path of a model that is there, or the name of a pretrained one."""
    if is_name(text):
        return Path(text)
    if not Path(text).exists() and (near := nearest_name(text)):
        raise argparse.ArgumentTypeError(f"nothing is at {text}; did you mean the model {near}?")
    return existing(text)


def dataset_path(text: str) -> Path:
    """The path of what may be a data set, found out before anything heavy is imported."""
    from gp3d_core.datasets.archive import DatasetError, check_path

    path = any_path(text)
    try:
        check_path(path)
    except DatasetError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path


def check_run(run: Path) -> None:
    """Raises a GP3DError unless `run` can be the folder of a run; found out before anything heavy is imported."""
    from gp3d_core.snapshots.run_folder import RunFolder

    RunFolder(run).check_place()


def has_driver() -> bool:
    """Whether a driver of cards is there that torch may use; on Linux, elsewhere only torch can tell."""
    if sys.platform != "linux" or _AMD.exists():
        return True
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True


def check_driver(wanted: str) -> None:
    """Raises DeviceError for "cuda" where no driver is: no reason to load torch and a model first."""
    if wanted == "cuda" and not has_driver():
        raise no_cuda()


def share_cores() -> None:
    """Lets threads that wait for one another sleep: on a busy machine spinning costs several times the work."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def report(note: str) -> None:
    """Says on stderr what was understood or chosen: "mug → coffee mug"."""
    print(note, file=sys.stderr)


def parse_seeds(text: str) -> list[int]:
    """Seeds of "0-3,9": [0, 1, 2, 3, 9], each once. Raises UsageError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:\s*-\s*(\d{1,18}))?\s*", part)
        if not match:
            raise UsageError(f"--seeds expects numbers and ranges like 0-3,9, found {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MOST_SEEDS:
            raise UsageError(f"--seeds: {part.strip()} is not a range of 1 to {MOST_SEEDS} seeds")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def spelling(parser: argparse.ArgumentParser, words: Sequence[str]) -> Callable[[str], str]:
    """Names of parameters to flags of the command that `words` call, and to the names of its positional arguments.

    A setting becomes `--set training.batch`; what the command does not have, a flag of that name: another command's.
    """
    actions = {action.dest: action for action in command_of(parser, words)._actions}

    def name_of(parameter: str) -> str:
        action = actions.get(parameter)
        if action is None:
            return flag_of(parameter)
        if action.option_strings:
            return max(action.option_strings, key=lambda flag: flag.startswith("--"))
        return str(action.metavar or parameter.upper())

    return name_of


def command_of(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command, or of the verb of a command, that `words` call."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for number, word in enumerate(words):
                if word in action.choices:
                    chosen: argparse.ArgumentParser = action.choices[word]
                    return command_of(chosen, words[number + 1 :])
    return parser


def flag_of(parameter: str) -> str:
    """The flag of a parameter that is called like it; settings are set."""
    return f"--set {parameter}" if "." in parameter else f"--{parameter.replace('_', '-')}"

"""`python -m synthetic.library NAME SOURCE OUT`: writes models of a source as a library in ShapeNetCore.v2 layout.

What is there already is kept, so the same command continues an interrupted run; docs/libraries.md says what to fetch
and what comes out. Exit status: 0, 2 for bad input or when OUT holds no model, 130 or 143 if stopped by Ctrl-C or
SIGTERM.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from synthetic.layouts.shapenet import LibraryError
from synthetic.library import folder
from synthetic.library.infinigen import source as infinigen
from synthetic.library.models import LibrarySource
from synthetic.library.sh3f import source as sh3f
from synthetic.library.variation import source as variation
from synthetic.library.variation.source import MOST_VARIANTS, variant_jobs
from synthetic.library.writing import FAILURES, Written, chosen, write_library
from synthetic.library.zeroad import source as zeroad
from synthetic.options import add_licences_option, with_axes
from synthetic.workers.blender_process import stop_signals

_VARY = "vary"
_SOURCES = {"0ad": zeroad, "sh3f": sh3f, "folder": folder, "infinigen": infinigen, _VARY: variation}
_SHOWN = 12  # reasons on the screen


class _Stopped(Exception):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.library",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, module in _SOURCES.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        one = names.add_parser(name, help=summary, description=summary)
        if module.SOURCE_HELP:  # what makes its models itself reads nothing
            one.add_argument("source", type=Path, metavar="SOURCE", help=module.SOURCE_HELP)
        one.add_argument("out", type=Path, metavar="OUT", help="the library; made if it does not exist")
        group = one.add_argument_group("models")
        add_licences_option(group)
        group.add_argument(
            "--classes",
            default="",
            metavar="LIST",
            help="only these: names, ImageNet indices or WordNet ids (default: all)",
        )
        group.add_argument(
            "--limit", type=int, metavar="N", help="at most N models, the classes taking turns"
        )
        group.add_argument("--retry", action="store_true", help="try again what failed in earlier runs")
        group.add_argument(
            "--variants",
            type=int,
            default=0,
            metavar="N",
            help="also N variants of each model, in shape and colour (default: 0; docs/libraries.md)",
        )
        group.add_argument(
            "--seed", type=int, default=0, help="another gives other variants and objects (default: 0)"
        )
        module.add_options(one)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Does what the command line asks; the exit status. Raises LibraryError, OSError."""
    if arguments.limit is not None and arguments.limit < 1:
        raise LibraryError(f"--limit must be at least 1, found {arguments.limit}")
    if not 0 <= arguments.variants <= MOST_VARIANTS:
        raise LibraryError(f"--variants must be 0 to {MOST_VARIANTS}, found {arguments.variants}")
    source = _SOURCES[arguments.name].open_source(arguments)
    sys.stderr.writelines(f"{line}\n" for line in source.notes)
    source = chosen(source, arguments.classes, arguments.limit)
    source = replace(source, settings={**source.settings, "seed": arguments.seed})
    done = _written(arguments, source)
    if arguments.variants and arguments.name != _VARY and done.new + done.kept:
        parents = {job.key for job in source.jobs}
        jobs = variant_jobs(arguments.out, arguments.variants, arguments.seed, parents)
        done = done.followed_by(_written(arguments, replace(source, jobs=jobs, unusable={})))
    sys.stderr.write(report(arguments.out, done))
    return 0 if done.new + done.kept + done.others else 2


def _written(arguments: argparse.Namespace, source: LibrarySource) -> Written:
    """What was done to write a source's models into the library."""
    return write_library(
        arguments.out,
        arguments.name,
        source,
        licences=arguments.licences,
        retry=arguments.retry,
        progress=lambda jobs: tqdm(jobs, unit="model", desc=arguments.name, disable=None),
    )


def report(out: Path, done: Written) -> str:
    """What a run did, for people: a line of numbers, then what failed by reason, what was left out, and notes."""
    lines = [f"{out}: {done.new} written, {done.kept} kept, {done.others} others in it"]
    if done.left_out:
        lines.append(f"--licences leaves {done.left_out.total()} models out: {_listed(done.left_out)}")
    if done.unwanted:
        lines.append(
            f"{done.unwanted.total()} models of earlier runs stay in it that --licences leaves out: "
            f"{_listed(done.unwanted)}; give what reads it the same --licences, or choose another folder"
        )
    if done.failed:
        lines.append(f"{len(done.failed)} models failed, all in {FAILURES}:")
        lines += _counted(Counter(map(kind_of, done.failed.values())))
    lines += [f"models with {phrase}: {count}" for phrase, count in sorted(done.notes.items())]
    return "\n".join(lines) + "\n"


def _listed(licences: Mapping[str, int]) -> str:
    return ", ".join(f"{licence} ({count})" for licence, count in sorted(licences.items()))


def kind_of(reason: str) -> str:
    """A reason without the names and numbers in it, so that reasons of one kind are counted together."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason)
    return re.sub(r"\S*(?:\d|\w\.\w)\S*(?: (?=\S*\.\w{2,4}\b))?", "…", plain)


def _counted(reasons: Mapping[str, int]) -> list[str]:
    ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    lines = [f"  {count} x {reason}" for reason, count in ordered[:_SHOWN]]
    rest = sum(count for _, count in ordered[_SHOWN:])
    return [*lines, f"  {rest} for other reasons"] if rest else lines


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    arguments = _parser().parse_args(with_axes(sys.argv[1:] if argv is None else argv))
    previous = {number: signal.signal(number, _stop) for number in stop_signals()}
    try:
        return run(arguments)
    except _Stopped as stopped:
        sys.stderr.write("stopped; the same command continues\n")
        return 128 + stopped.number
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or arguments.out}: {error.strerror or error}\n")
        return 2
    except ValueError as error:
        if type(error) is not LibraryError:
            raise
        sys.stderr.write(f"error: {error}\n")
        return 2
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())

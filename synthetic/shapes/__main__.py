"""`python -m synthetic.shapes OUT --classes all --per-class 10 --seed 0`: writes a library of procedural objects."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from synthetic.shapes.library import FAMILIES, select_families
from synthetic.shapes.shapenet_writer import MOST_PER_CLASS, write_library

BAD_INPUT = 2
STOPPED = 128 + signal.SIGINT


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line as a namespace of out, classes, per_class, seed and class_list."""
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.shapes",
        description="Write procedural objects of ImageNet classes in ShapeNetCore.v2 layout. What is already there is "
        "kept; the same arguments always give the same files.",
    )
    parser.add_argument("out", nargs="?", type=Path, help="folder to write to; made if it does not exist")
    parser.add_argument(
        "--classes", "--class", default="all", help="names, indices or WordNet ids, comma-separated, or all"
    )
    parser.add_argument(
        "--per-class", type=int, default=10, metavar="N", help="models of each class (default 10)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="another seed gives other models (default 0)"
    )
    parser.add_argument(
        "--class-list", action="store_true", help="print index, WordNet id, ShapeNet synset and name"
    )
    return parser.parse_args(arguments)


def class_list() -> str:
    """Table of all classes, one line each, columns separated by tabs."""
    rows = [("index", "wnid", "synset", "name")]
    rows += [(str(f.imagenet_index), f.wnid, f.synset or "-", f.name) for f in FAMILIES]
    return "\n".join("\t".join(row) for row in rows) + "\n"


def run(options: argparse.Namespace) -> str:
    """The text to print, after what the command line asks is done; raises ValueError or OSError on bad input."""
    if options.class_list:
        return class_list()
    if options.out is None:
        raise ValueError("no output folder was named; say python -m synthetic.shapes OUT")
    if not 1 <= options.per_class <= MOST_PER_CLASS:
        raise ValueError(f"--per-class must be from 1 to {MOST_PER_CLASS}, got {options.per_class}")
    if options.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {options.seed}")
    families = select_families(options.classes)
    written = write_library(
        options.out,
        families,
        options.per_class,
        options.seed,
        lambda jobs: tqdm(jobs, unit="model", desc="shapes", disable=None),
    )
    others = f"; {written.others} of other commands are there, too" if written.others else ""
    return f"{options.out}: {written.new} written, {written.kept} kept, {len(families)} classes{others}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status: 0, 2 for bad input, 130, 143 or 129 if stopped by Ctrl-C,
    SIGTERM or SIGHUP.
    """
    try:
        sys.stdout.write(run(parse_arguments(arguments)))
    except OSError as error:
        sys.stderr.write(f"error: cannot write {error.filename or 'the models'}: {error.strerror or error}\n")
        return BAD_INPUT
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return BAD_INPUT
    except KeyboardInterrupt as interrupt:
        sys.stderr.write("stopped; the same command continues\n")
        return getattr(interrupt, "status", STOPPED)  # Stopped is of a floor above
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m synthetic.export DATA --to FORMAT OUT`: a data set in the layout of other programs, and back.

    --to nerf        a scene a model with transforms.json, as nerfstudio and readers of NeRF's Blender scenes take it
    --to bop         BOP: poses of known objects; with --models LIBRARY their meshes, too
    --to webdataset  tar shards, as the webdataset library reads them
    --to gp3d        DATA is one of the above: the data set that it was made of, to the byte; or holds somebody
                     else's transforms.json: what of its frames fits, as objects of the class --class-name

DATA is a data set as docs/dataset.md describes it, a folder or a zip. The same command finishes an interrupted export.
docs/exchange.md says how frames, units and pixels stand in each format.
Exit status: 0, 2 for bad input, 130 or 143 if stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthetic.exchange.conversion import convert
from synthetic.exchange.files import ExchangeError, Files, is_safe, is_seen
from synthetic.exchange.folder import DONE, StoppedError, writing_export
from synthetic.exchange.restore import Export, restore
from synthetic.exchange.source import DataSet
from synthetic.exchange.write import write_bop, write_nerf, write_webdataset
from synthetic.layouts.imagenet import imagenet_classes, imagenet_names
from synthetic.layouts.shapenet import LibraryError, ObjectClass, load_library
from synthetic.workers.blender_process import StopRequest

_OPTIONS: dict[str, set[str]] = {
    "nerf": {"masks"},
    "bop": {"models", "millimetres"},
    "webdataset": {"shard_megabytes"},
    "gp3d": {"class_name", "resolution", "license"},
}
_DEFAULTS: dict[str, Any] = {
    "masks": False,
    "models": None,
    "millimetres": 100.0,
    "shard_megabytes": 250.0,
    "class_name": None,
    "resolution": None,
    "license": "not stated",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="data set or, with --to gp3d, an export")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write, new or of the same export")
    parser.add_argument("--to", choices=sorted(_OPTIONS), required=True)
    parser.add_argument(
        "--masks",
        action="store_true",
        default=None,
        help="nerf: frames name their masks, so that trainings ignore the background (default: it is learnt as empty)",
    )
    parser.add_argument(
        "--models", type=Path, metavar="LIBRARY", help="bop: the library that was rendered, for its meshes"
    )
    parser.add_argument(
        "--millimetres",
        type=float,
        metavar="MM",
        help="bop: of a world unit, which is the diagonal of a model's box (default: 100)",
    )
    parser.add_argument(
        "--shard-megabytes", type=float, metavar="MB", help="webdataset: at most (default: 250)"
    )
    foreign = parser.add_argument_group("gp3d, of scenes that were not exported here")
    foreign.add_argument(
        "--class-name",
        metavar="CLASS",
        help="what they show: a name or WordNet id of ImageNet, or another name",
    )
    foreign.add_argument(
        "--resolution", type=int, metavar="R", help="pixels a side (default: the smallest square's)"
    )
    foreign.add_argument("--license", metavar="TEXT", help="terms of the pictures (default: not stated)")
    return parser


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the format, by name. Raises ExchangeError for one of another format or out of range."""
    given = {key for key in _DEFAULTS if getattr(arguments, key) is not None}
    strange = sorted(given - _OPTIONS[arguments.to])
    if strange:
        raise ExchangeError(f"--{strange[0].replace('_', '-')} means nothing with --to {arguments.to}")
    chosen = {
        key: getattr(arguments, key) if key in given else _DEFAULTS[key]
        for key in sorted(_OPTIONS[arguments.to])
    }
    for key in {"millimetres", "shard_megabytes"} & chosen.keys():
        if not 0 < chosen[key] <= 1e6:
            raise ExchangeError(f"--{key.replace('_', '-')} must lie above 0 and not above a million")
    return chosen


def run(arguments: argparse.Namespace) -> int:
    """Does what the command line asks; the exit status. Raises ExchangeError, LibraryError, OSError."""
    data, out, to, options = arguments.data, arguments.out, arguments.to, _options(arguments)
    if out.resolve() == data.resolve() or out.resolve().is_relative_to(data.resolve()):
        raise ExchangeError(f"{out}: lies in {data}; choose a folder beside it")
    with StopRequest() as stop:
        try:
            done = _back(data, out, options, stop) if to == "gp3d" else _there(data, out, to, options, stop)
        except StoppedError:
            sys.stderr.write(f"stopped; the same command goes on with {out}\n")
            return 128 + (stop.signal or 0)
    sys.stderr.write(f"{out} holds {done}\n")
    return 0


def _there(data: Path, out: Path, to: str, options: Mapping[str, Any], stop: StopRequest) -> str:
    dataset = DataSet(Files(data))
    models = {m.key: m for m in load_library(options["models"])} if options.get("models") else None
    told = {key: value.name if isinstance(value, Path) else value for key, value in options.items()}
    facts = {"format": "gp3d-export", "version": 1, "to": to, "data": dataset.digest(), **told}
    with writing_export(out, facts, stop) as folder:
        if to == "nerf":
            return write_nerf(dataset, folder, options["masks"])
        if to == "bop":
            return write_bop(dataset, folder, models, options["millimetres"])
        return write_webdataset(dataset, folder, options["shard_megabytes"])


def _back(data: Path, out: Path, options: Mapping[str, Any], stop: StopRequest) -> str:
    files = Files(data, top=DONE)
    if DONE in files.sizes:
        export = Export(files)
        facts = {"format": "gp3d-restore", "version": 1, "data": export.dataset.digest()}
        with writing_export(out, facts, stop, marked=False) as folder:
            return restore(export, folder)
    if not options["class_name"]:
        raise ExchangeError(
            f"{data}: has no {DONE}; for scenes with transforms.json that were made elsewhere say what they show "
            "(--class-name)"
        )
    shown = _class(options["class_name"])
    facts = {"format": "gp3d-conversion", "version": 1, "files": sorted(files.sizes.items()), **options}
    with writing_export(out, facts, stop, marked=False) as folder:
        return convert(files, folder, shown, options["resolution"], options["license"])


def _class(name: str) -> ObjectClass:
    """The class of ImageNet that a name or WordNet id means; else one of this name. Raises ExchangeError."""
    known = imagenet_classes().get(name)
    meant = (known,) if known else imagenet_names().get(name.lower(), ())
    if len(meant) > 1:
        raise ExchangeError(f"{name!r} is the name of {' and '.join(one.wnid for one in meant)}; say which")
    folder = name.replace(" ", "_")
    if not meant and ("/" in folder or not is_safe(folder) or not is_seen(folder)):
        raise ExchangeError(f"{name!r} makes no name of a folder; choose another --class-name")
    return meant[0] if meant else ObjectClass(folder, name, None, None)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return run(arguments)
    except (ExchangeError, LibraryError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        named = error.filename and error.strerror
        sys.stderr.write(f"error: {f'{error.filename}: {error.strerror}' if named else error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""The command `gp3d`: reads arguments, calls one function, reports errors in one line.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 2 bad input, 3 environment, 5 training gave up,
130 or 143 interrupted. Nothing heavy is imported before the arguments are known to be right.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gp3d_core.cli.arguments import Parser, UsageError, bound, number
from gp3d_core.cli.data import add_data
from gp3d_core.cli.evaluate import add_evaluate
from gp3d_core.cli.ground import add_ground
from gp3d_core.cli.models import add_classes, add_model, add_ship, chosen_model
from gp3d_core.cli.vq3d.training import add_vq3d
from gp3d_core.errors import GP3DError

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    try:
        options = _parser().parse_args(bound(sys.argv[1:] if arguments is None else arguments))
        command: Command = options.command
        return command(options)
    except (GP3DError, OSError) as error:
        print(f"gp3d: {_one_line(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    except KeyboardInterrupt:
        print("gp3d: interrupted", file=sys.stderr)
        return 130


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gp3d", description="Make textured 3D objects from a class and a seed; train your own model."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_train(commands)
    add_ground(commands)
    add_data(commands)
    _add_mesh(commands)
    _add_render(commands)
    add_classes(commands)
    add_evaluate(commands)
    add_ship(commands)
    add_vq3d(commands)
    _add_serve(commands)
    _add_doctor(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("demo", help="from nothing to meshes: shapes, renders, training, export")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the results")
    parser.add_argument(
        "--minutes", type=number(float, 0.01, 1e6), default=4.5, help="training time (default 4.5)"
    )
    parser.set_defaults(command=_demo)


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("train", help="train 3DGP on a data set; the same command again resumes")
    parser.add_argument("dataset", type=Path, help="folder or zip (docs/dataset.md)")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument(
        "--preset", default="tiny", help="tiny (default), shapenet-64, ... (gp3d_core/config/presets.py)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.kimg=50"
    )
    parser.add_argument(
        "--features", type=Path, help="distillation features with a <stem>_desc.json beside them"
    )
    parser.add_argument(
        "--init", type=Path, metavar="SNAPSHOT", help="begin with the generator of a snapshot or run folder"
    )
    parser.add_argument(
        "--overfit",
        type=number(int, 1, 1e9),
        metavar="N",
        help="train on N images only, to prove data and machine",
    )
    parser.add_argument(
        "--max-minutes",
        type=number(float, 0, 1e9),
        default=math.inf,
        help="stop after this much training, over all resumes",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print configuration, sizes and memory; train nothing"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_train)


def _add_snapshot_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        metavar="NAME",
        help="name, ImageNet index or WordNet id; repeatable",
    )
    parser.add_argument("--seeds", default="0", help="e.g. 0-3,9 (default 0)")
    parser.add_argument(
        "--truncation", type=number(float, 0, 2), default=0.7, help="0 typical … 1 wild (default 0.7)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _add_mesh(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("mesh", help="write textured meshes")
    _add_snapshot_arguments(parser)
    add = parser.add_argument
    add("--recipe", type=Path, metavar="FILE", help="make the mesh of this recipe again; the rest is in it")
    add("--out", type=Path, default=Path("meshes"), help="folder of the meshes")
    grid = number(int, 8, 2048)
    add("--grid", type=grid, default=128, help="samples along an edge of the box (default 128)")
    add("--level", default="auto", help="density of the surface, raw:NUMBER before activation, or auto")
    budget = number(int, 4, 1e8, or_zero=True)
    add("--faces", type=budget, default=30000, help="most faces, 0 for all (default 30000)")
    add("--color", choices=("texture", "vertex", "both", "none"), default="texture")
    add("--texture-size", type=number(int, 16, 8192), default=512, help="pixels (default 512)")
    add("--format", default="obj", help="obj, glb, ply, npz; several with commas")
    add(
        "--keep",
        type=number(int, 0, 1e6),
        default=1,
        help="largest components to keep, 0 for all (default 1)",
    )
    add("--crop-box", metavar="X,Y,Z,X,Y,Z", help="keep what lies between these two corners")
    add("--crop-depth", type=number(float, -1, 1), metavar="D", help="keep what is nearer: -1 near … 1 far")
    add(
        "--max-mem",
        type=number(float, 0.1, 1e6),
        default=4,
        metavar="GIB",
        help="limit of the grid (default 4)",
    )
    add("--compare", action="store_true", help="also draw field and mesh side by side")
    parser.set_defaults(command=_mesh)


def _add_render(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("render", help="draw generated objects: a sheet, stills or films")
    _add_snapshot_arguments(parser)
    kinds = ("sheet", "stills", "points", "turntable", "front-circle", "line", "wiggle")
    add = parser.add_argument
    add("--kind", choices=kinds, default="sheet", help="a sheet (default), PNGs (stills, points) or a film")
    add("--out", type=Path, help="picture; folder of stills; film in .gif or .mp4, or a folder of films")
    add("--resolution", type=number(int, 2, 4096), help="pixels of a view (default: as trained)")
    add("--frames", type=number(int, 2, 10_000), help="of a film (default 64)")
    add("--depth", action="store_true", help="stills and films: also the depth")
    add("--normals", action="store_true", help="stills and films: also the normals, from the depth")
    parser.set_defaults(command=_render)


def _add_serve(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("serve", help="work for another program over pipes (docs/serve.md)")
    add_model(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--cache-mb",
        type=number(int, 0, 1e6),
        default=256,
        help="memory for objects made before (default 256)",
    )
    parser.add_argument(
        "--idle-seconds",
        type=number(float, 0, 1e9),
        default=600.0,
        help="end after so long without work, 0 for never (default 600)",
    )
    parser.set_defaults(command=_serve)


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("doctor", help="check this machine")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.set_defaults(command=_doctor)


def _demo(options: argparse.Namespace) -> int:
    from gp3d_core.cli.demo import run_demo

    return run_demo(options.out, minutes=options.minutes)


def _train(options: argparse.Namespace) -> int:
    from gp3d_core.config.presets import resolve

    config = resolve(options.preset, options.set)
    from gp3d_core.distributed import pick_device
    from gp3d_core.training.launch import describe, start_training

    if options.dry_run:
        print(describe(config, options.dataset, options.features, options.overfit))
        return 0
    return start_training(
        config,
        options.dataset,
        options.run,
        device=pick_device(options.device).type,
        features=options.features,
        overfit=options.overfit,
        max_minutes=options.max_minutes,
        init=options.init,
    )


def _share_cores() -> None:
    """Lets threads that wait for one another sleep: on a busy machine spinning costs several times the work."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _mesh(options: argparse.Namespace) -> int:
    _share_cores()
    from gp3d_core.generation.recipes import options_of, read_recipe, snapshot_of
    from gp3d_core.generation.sampling import (
        object_specs,
        open_snapshot,
        parse_level,
        parse_seeds,
        spec_of_recipe,
        write_meshes,
    )

    formats = [name.strip() for name in options.format.split(",")]
    if options.recipe:
        if options.classes:
            raise UsageError("--class does not go with --recipe, which names its class and seed")
        recipe = read_recipe(options.recipe)
        snapshot = open_snapshot(snapshot_of(recipe, options.recipe, options.snapshot), options.device)
        objects, truncation = [spec_of_recipe(snapshot, recipe)], recipe["truncation"]
        chosen = options_of(recipe)
    else:
        if options.snapshot is None and not options.classes:
            raise UsageError("expected --class NAME (gp3d classes lists them), a snapshot, or --recipe FILE")
        chosen = {
            "grid": options.grid,
            "level": parse_level(options.level),
            "faces": options.faces or None,
            "color": options.color,
            "texture_size": options.texture_size,
            "largest": options.keep or None,
            "crop_box": _corners(options.crop_box),
            "crop_depth": options.crop_depth,
        }
        seeds, truncation = parse_seeds(options.seeds), options.truncation
        snapshot = open_snapshot(chosen_model(options.snapshot), options.device)
        objects = object_specs(snapshot, options.classes, seeds)
    for path in write_meshes(
        snapshot,
        objects,
        options.out,
        formats=formats,
        truncation=truncation,
        picture=options.compare,
        max_bytes=int(options.max_mem * 2**30),
        **chosen,
    ):
        print(path)
    return 0


def _corners(text: str | None) -> tuple[float, ...] | None:
    """Six numbers "x,y,z,x,y,z", the first three below the others."""
    if text is None:
        return None
    try:
        corners = tuple(float(part) for part in text.split(","))
    except ValueError:
        corners = ()
    if len(corners) != 6 or not all(low < high for low, high in zip(corners[:3], corners[3:], strict=True)):
        raise UsageError(f"--crop-box expects six numbers, the first three below the others, found {text!r}")
    return corners


def _render(options: argparse.Namespace) -> int:
    still = options.kind in ("sheet", "stills", "points")
    if still and options.frames:
        raise UsageError(f"--frames is for films, --kind {options.kind} has none")
    if options.kind == "sheet" and (options.depth or options.normals):
        raise UsageError("--depth and --normals are for stills and films: choose another --kind")
    from gp3d_core.generation.sampling import object_specs, open_snapshot, parse_seeds, write_sheet
    from gp3d_core.generation.video import FRAMES, write_films, write_stills

    seeds = parse_seeds(options.seeds)
    snapshot = open_snapshot(chosen_model(options.snapshot), options.device)
    objects = object_specs(snapshot, options.classes, seeds)
    seen = {"truncation": options.truncation, "resolution": options.resolution}
    if options.kind == "sheet":
        out = options.out or Path("sheet.png")
        write_sheet(snapshot, objects, out, **seen)
        print(out)
        return 0
    seen |= {"kind": options.kind, "depth": options.depth, "normals": options.normals}
    if still:
        paths = write_stills(snapshot, objects, options.out or Path("stills"), **seen)
    else:
        frames = options.frames or FRAMES
        paths = write_films(snapshot, objects, options.out or Path("films"), frames=frames, **seen)
    for path in paths:
        print(path)
    return 0


def _serve(options: argparse.Namespace) -> int:
    _share_cores()
    from gp3d_core.pretrained import has_pretrained
    from gp3d_core.worker.server import serve

    if options.snapshot is None and has_pretrained():  # without it the client is told, and may load another
        chosen_model(None)
    return serve(
        options.snapshot,
        device=options.device,
        cache_bytes=options.cache_mb * 2**20,
        idle_seconds=options.idle_seconds,
    )


def _doctor(options: argparse.Namespace) -> int:
    from gp3d_core.cli.doctor import report

    return report(as_json=options.json)

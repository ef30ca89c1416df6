"""The commands `gp3d mesh`, `render`, `gallery` and `view`: objects of a model as files, and pages of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gp3d_core.cli.arguments import (
    UsageError,
    existing,
    new_path,
    number,
    parse_seeds,
    reader,
    report,
    share_cores,
)
from gp3d_core.cli.models import add_model, chosen_models, report_duties
from gp3d_core.cli.process.imports import for_good
from gp3d_core.generation.combinations import MOST_STEPS, STEPS, STRENGTH, Combining, specs_combined
from gp3d_core.generation.objects import DEFAULT_TRUNCATION, MOST_TRUNCATION
from gp3d_core.meshing.files.formats import FORMATS
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.option_values import Levels, OneOf
from gp3d_core.meshing.options import MeshOptions, Option, defaults, specs

if TYPE_CHECKING:
    from gp3d_core.generation.objects import ObjectSpec
    from gp3d_core.snapshots.metadata import SnapshotFacts

_USERS = {"compress": ("glb",), "print_height": ("stl", "3mf")}  # the formats that an option is about
_Kind = TypeVar("_Kind", bound=MeshOptions)


def add_truncation(parser: argparse.ArgumentParser, default: float, meaning: str) -> None:
    """Adds how far objects may be from the most typical one of their class."""
    reach = number(float, 0, MOST_TRUNCATION)
    parser.add_argument(
        "--truncation", type=reach, default=argparse.SUPPRESS, help=f"{meaning} (default {default:g})"
    )


def add_mesh_options(parser: argparse.ArgumentParser, kind: type[MeshOptions] = MeshOptions) -> None:
    """Adds one argument for every option of meshes of this kind."""
    for name, option in specs(kind).items():
        flags = [f"--{flag}" for flag in (option.flag or name.replace("_", "-"), *option.aliases)]
        default = defaults(kind)[name]
        named: dict[str, Any] = {
            "dest": name,
            "default": argparse.SUPPRESS,
        }  # so that one sees what was asked for
        if isinstance(option.values, OneOf):
            named["choices"] = option.values.names
        else:
            named |= {"type": reader(option.values, option.unit), "metavar": option.metavar}
        if option.bare is not None:
            named |= {"nargs": "?", "const": option.bare}
        parser.add_argument(*flags, **named, help=f"{option.help}{_usual(option, default)}")


def mesh_options(arguments: argparse.Namespace, kind: type[_Kind]) -> _Kind:
    """The options that a command line has chosen."""
    return kind(**{name: getattr(arguments, name) for name in _given(arguments, kind)})


def check_formats_use(arguments: argparse.Namespace, formats: Sequence[str]) -> None:
    """Raises UsageError for an option of files that none of `formats` has: it would be dropped in silence."""
    for name, users in _USERS.items():
        if hasattr(arguments, name) and not set(users) & set(formats):
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} is for {' and '.join(users)}, and the format is {', '.join(formats)}")


def _given(arguments: argparse.Namespace, kind: type[MeshOptions]) -> list[str]:
    """The options of meshes that a command line says."""
    return [name for name in specs(kind) if hasattr(arguments, name)]


def level(text: str) -> Level:
    """The level that a command line says."""
    found: Level = reader(Levels())(text)
    return found


def _usual(option: Option, default: Any) -> str:
    if default is None:
        return ""
    return f" (default {option.values.to_text(default / option.unit if option.unit != 1 else default)})"


def _add_snapshot_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        metavar="NAME",
        help="name, index, WordNet id or word that fits one class; several with commas; repeatable",
    )
    parser.add_argument("--seeds", default=argparse.SUPPRESS, help="e.g. 0-3,9 (default 0)")
    add_truncation(parser, DEFAULT_TRUNCATION, "0 typical … 1 wild … 2 exaggerated")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _add_combining(parser: argparse.ArgumentParser) -> None:
    """Adds what may be made of every object that is named (docs/combinations.md)."""
    group = parser.add_argument_group("combinations", "of every object that --class and --seeds name")
    share = number(float, 0, 1)
    other = group.add_mutually_exclusive_group()
    other.add_argument("--blend", dest="blend_with", metavar="OTHER", help="blends with SEED or CLASS:SEED")
    other.add_argument(
        "--colors-of", metavar="OTHER", help="its shape with the colours of SEED or CLASS:SEED"
    )
    other.add_argument(
        "--variations", type=number(int, 1, 63), metavar="N", help="itself and N others much like it"
    )
    group.add_argument(
        "--steps",
        type=number(int, 2, MOST_STEPS),
        default=argparse.SUPPRESS,
        help=f"of --blend, its ends among them (default {STEPS})",
    )
    group.add_argument(
        "--at", type=share, default=argparse.SUPPRESS, help="of --blend: one object, 0 itself … 1 the other"
    )
    group.add_argument(
        "--strength",
        type=share,
        default=argparse.SUPPRESS,
        help=f"of --variations: 0 the same … 1 other colours (default {STRENGTH:g})",
    )


def _combining(options: argparse.Namespace) -> Combining | None:
    """What is asked for of every object, None for itself. Raises UsageError for an option that would be dropped."""
    wanted = {
        "blend_with": options.blend_with,
        "colors_of": options.colors_of,
        "variations": options.variations,
    }
    for name, owner in (("steps", "blend_with"), ("at", "blend_with"), ("strength", "variations")):
        if hasattr(options, name) and wanted[owner] is None:
            raise UsageError(f"--{name} is for {'--blend' if owner == 'blend_with' else '--variations'}")
        wanted[name] = getattr(options, name, None)
    if wanted["steps"] is not None and wanted["at"] is not None:
        raise UsageError("--at is one step, --steps several; leave out one of the two")
    return Combining(**wanted) if any(value is not None for value in wanted.values()) else None


def _parts(options: argparse.Namespace) -> list[tuple[SnapshotFacts, list[ObjectSpec]]]:
    """The objects that a command line asks for, by the model that makes them."""
    from gp3d_core.generation.objects import specs_by_model

    models, seeds, how = chosen_models(options.snapshot), _seeds(options), _combining(options)
    if how is None:
        return specs_by_model(models, options.classes, seeds, report)
    return specs_combined(models, options.classes, seeds, how, report)


def add_mesh(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d mesh`."""
    _add_snapshot_arguments(parser)
    add = parser.add_argument
    add(
        "--recipe",
        type=existing,
        metavar="FILE",
        help="make the mesh of this recipe again; the rest is in it",
    )
    add("--out", type=new_path, default=Path("meshes"), help="folder of the meshes (default meshes)")
    _add_combining(parser)
    add_mesh_options(parser)
    formats = f"obj (default; of a recipe what lies beside it), {', '.join(FORMATS[1:])}; several with commas"
    add("--format", dest="formats", metavar="FORMAT", help=formats)
    add("--thumbnail", action="store_true", help="also a small picture of each object")
    add("--compare", action="store_true", help="also draw field and mesh side by side")
    parser.set_defaults(command=_mesh)


def add_render(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d render`."""
    _add_snapshot_arguments(parser)
    kinds = ("sheet", "stills", "points", "turntable", "front-circle", "line", "wiggle")
    add = parser.add_argument
    add(
        "--kind",
        choices=kinds,
        default="sheet",
        help="a sheet (default), PNGs (stills: from the front; points: from three sides) or a film",
    )
    add(
        "--out",
        type=new_path,
        help="picture (default sheet.png); folder of PNGs (default stills); film in .gif or .mp4, or a folder (films)",
    )
    add("--resolution", type=number(int, 2, 4096), help="pixels of a view (default: as trained)")
    add("--frames", type=number(int, 2, 10_000), help="of a film (default 64)")
    add("--views", type=number(int, 1, 64), help="of every object of a sheet, from left to right (default 1)")
    add("--depth", action="store_true", help="also the depth")
    add("--normals", action="store_true", help="stills and films: also the normals")
    _add_combining(parser)
    parser.set_defaults(command=_render)


def add_gallery(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d gallery`."""
    _add_folder(parser, "of meshes, as gp3d mesh writes them; what lies below it counts")
    parser.add_argument(
        "--out", type=new_path, metavar="FILE.html", help="the page (default FOLDER/gallery.html)"
    )
    parser.add_argument("--title", help="what stands above it (default: the folder's name)")
    parser.set_defaults(command=_gallery)


def add_view(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d view`."""
    _add_folder(parser, "of meshes, whose gallery is written first, or the .html page of a gallery")
    parser.set_defaults(command=_view)


def _add_folder(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("folder", type=existing, metavar="FOLDER", help=meaning)


def _gallery(options: argparse.Namespace) -> int:
    from gp3d_core.gallery.page import NAME, write_gallery

    folder = options.folder
    out, title = options.out or folder / NAME, options.title or folder.resolve().name
    shown = write_gallery(folder, out, title, report)
    report(f"{shown} mesh{'es' * (shown != 1)} can be turned; gp3d view opens the page")
    print(out)
    return 0


def _view(options: argparse.Namespace) -> int:
    from gp3d_core.gallery.opening import find_browser, open_page
    from gp3d_core.gallery.page import NAME, write_gallery

    browser = find_browser()
    page = options.folder
    if page.is_dir():
        page = page / NAME
        write_gallery(options.folder, page, options.folder.resolve().name, report)
    open_page(browser, page)
    print(page)
    return 0


def _mesh(options: argparse.Namespace) -> int:
    from gp3d_core.generation.objects import (
        check_asset_options,
        check_mesh_files,
        spec_of_recipe,
    )

    share_cores()
    formats, thumbnail = _formats(options), options.thumbnail
    check_formats_use(options, formats)
    check_mesh_files(options.out, formats, mesh_options(options, MeshOptions).compress)
    if options.recipe:
        _check_alone(options)
        from gp3d_core.generation.recipes import UnknownPlaceError, options_of, read_recipe, snapshot_of
        from gp3d_core.snapshots.metadata import read_snapshot_facts

        recipe = read_recipe(options.recipe)
        thumbnail = thumbnail or "thumbnail" in recipe
        try:
            path = snapshot_of(recipe, options.recipe, options.snapshot)
        except UnknownPlaceError as error:
            raise UsageError(f"{error}: gp3d mesh MODEL_FILE --recipe {options.recipe}") from error
        facts, truncation = read_snapshot_facts(path), recipe["truncation"]
        parts = [(facts, [spec_of_recipe(facts, recipe)])]
        chosen = replace(options_of(recipe), max_bytes=mesh_options(options, MeshOptions).max_bytes)
    else:
        if options.snapshot is None and not options.classes:
            raise UsageError("expected --class NAME (gp3d classes lists them), a snapshot, or --recipe FILE")
        truncation, chosen = _truncation(options), mesh_options(options, MeshOptions)
        parts = _parts(options)
    for _, objects in parts:
        check_asset_options(objects, chosen)
    report_duties(parts)
    with for_good():
        from gp3d_core.generation.meshes import write_meshes
        from gp3d_core.generation.sampling import open_snapshot

    for facts, objects in parts:
        for file in write_meshes(
            open_snapshot(facts.path, options.device),
            objects,
            options.out,
            formats=formats,
            truncation=truncation,
            picture=options.compare,
            thumbnail=thumbnail,
            options=chosen,
        ):
            print(file)
    return 0


def _seeds(options: argparse.Namespace) -> list[int]:
    return parse_seeds(getattr(options, "seeds", "0"))


def _truncation(options: argparse.Namespace) -> float:
    return float(getattr(options, "truncation", DEFAULT_TRUNCATION))


def _formats(options: argparse.Namespace) -> list[str]:
    """The formats that are asked for, each once; of a recipe those of the meshes beside it, for it does not say."""
    if options.formats is not None:
        return list(dict.fromkeys(name.strip().lower() for name in options.formats.split(",")))
    if options.recipe is None:
        return ["obj"]
    stem = options.recipe.name.removesuffix(".recipe.json")
    return [name for name in FORMATS if options.recipe.with_name(f"{stem}.{name}").is_file()] or ["obj"]


def _check_alone(options: argparse.Namespace) -> None:
    """Raises UsageError for an option beside --recipe that the recipe decides: it would be dropped in silence."""
    if options.classes:
        raise UsageError("--class does not go with --recipe, which names its class and seed")
    if _combining(options) is not None:
        raise UsageError(
            "--blend, --colors-of and --variations do not go with --recipe, which names its object"
        )
    decided = [name for name in ("seeds", "truncation") if hasattr(options, name)]
    decided += [name for name in _given(options, MeshOptions) if name != "max_bytes"]
    if decided:
        option = specs(MeshOptions).get(decided[0])
        flag = (option.flag if option else "") or decided[0].replace("_", "-")
        raise UsageError(f"--{flag} does not go with --recipe, which says it; leave out one of the two")


def _render(options: argparse.Namespace) -> int:
    still = options.kind in ("sheet", "stills", "points")
    if still and options.frames:
        raise UsageError(f"--frames is for films, --kind {options.kind} has none")
    if options.views and options.kind != "sheet":
        raise UsageError(f"--views is for a sheet, --kind {options.kind} has its own")
    if options.normals and options.kind == "sheet":
        raise UsageError("--normals is for stills and films: choose another --kind")
    from gp3d_core.generation.objects import check_sheet
    from gp3d_core.generation.outputs import FRAMES, check_stills, film_paths

    out = options.out or Path("sheet.png" if options.kind == "sheet" else "stills" if still else "films")
    if still:
        check_sheet(out) if options.kind == "sheet" else check_stills(out, options.kind)
    parts = _parts(options)
    if not still:
        film_paths([spec for _, objects in parts for spec in objects], out, options.kind)
    report_duties(parts)
    with for_good():
        from gp3d_core.generation.sampling import open_snapshot, write_sheet_of
        from gp3d_core.generation.video import write_films, write_stills

    opened = ((open_snapshot(facts.path, options.device), objects) for facts, objects in parts)
    seen = {"truncation": _truncation(options), "resolution": options.resolution}
    if options.kind == "sheet":
        write_sheet_of(opened, out, views=options.views or 1, depth=options.depth, **seen)
        print(out)
        return 0
    seen |= {"kind": options.kind, "depth": options.depth, "normals": options.normals}
    for snapshot, objects in opened:
        if still:
            paths = write_stills(snapshot, objects, out, **seen)
        else:
            paths = write_films(snapshot, objects, out, frames=options.frames or FRAMES, **seen)
        for path in paths:
            print(path)
    return 0

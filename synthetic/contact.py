"""`python -m synthetic.contact MESHES OUT`: one picture of many meshes, class by class, as Blender renders them.

MESHES holds a folder a class, in it OBJ (with vertex colours or a texture), GLB or PLY files with y up and their front
towards +z, as `gp3d mesh` writes them; or it is a model library. A row under each class's name shows its first meshes
by name, all centred, of one size and from one side, lit as in the data sets. A broken mesh leaves its place empty.
Where OUT is no .png it becomes a folder with a picture a class, of all its meshes, each under its own name.
Exit status: 0, 2 for bad input or when no mesh could be drawn.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from synthetic.atomic import write_whole
from synthetic.dataset import Settings
from synthetic.layouts.permitted import permitted
from synthetic.layouts.plain import unused_in_words, unused_meshes
from synthetic.layouts.shapenet import BrokenModelError, LibraryError, Model, load_library
from synthetic.options import add_alpha_options, add_licences_option
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from synthetic.viewpoints import Viewpoint
from synthetic.workers.blender_process import (
    CapturedOutput,
    LeaveWithoutDestructors,
    prepare_blender,
    untested_blender,
)
from synthetic.workers.scratch import scratch_folder

Pixels = npt.NDArray[np.uint8]
_INK, _FAINT = "#333333", "#999999"
_HEAD, _GAP = 20, 14  # pixels of a name's line, and between classes beside each other


def first_of_each_class(models: Sequence[Model], columns: int) -> dict[str, list[Model]]:
    """The first `columns` models of every class by its name, all in order of name; one file a model."""
    rows: dict[str, dict[str, Model]] = {}
    for model in models:
        rows.setdefault(model.object_class.name, {}).setdefault(model.key, model)
    return {name: list(rows[name].values())[:columns] for name in sorted(rows, key=str.lower)}


def of_classes(models: Sequence[Model], text: str) -> list[Model]:
    """The models of some classes: names, ImageNet indices or WordNet ids with commas between, "" for all.

    Raises LibraryError for one that no model is of.
    """
    wanted = {word.strip().lower().replace("_", " ") for word in text.split(",") if word.strip()}
    called = {model: _names_of(model) for model in models}
    unknown = sorted(wanted - set().union(*called.values()))
    if unknown:
        raise LibraryError(f"no model is of the class {unknown[0]!r}; expected names, indices or WordNet ids")
    return [model for model in models if not wanted or wanted & called[model]]


def _names_of(model: Model) -> set[str]:
    shown = model.object_class
    return {shown.name.lower().replace("_", " "), shown.wnid.lower(), str(shown.imagenet_index)}


def _pass(key: str, picture: Pixels) -> None:
    """Does nothing with a picture."""


def render_meshes(
    models: Sequence[Model],
    viewpoint: Viewpoint,
    settings: Settings,
    treatment: Treatment,
    drawn: Callable[[str, Pixels], None] = _pass,
) -> tuple[dict[str, Pixels], dict[str, str]]:
    """Pictures [R,R,3] of models by key, and why the others have none; `drawn` gets each as soon as it is there.

    Once in a process: Blender does not start again.
    """
    pictures: dict[str, Pixels] = {}
    failures: dict[str, str] = {}
    with (
        scratch_folder("contact") as folder,
        os.fdopen(os.dup(2), "w") as screen,
        CapturedOutput(folder / "blender.log"),
    ):
        workspace = folder
        prepare_blender(workspace)
        from synthetic.blender.scene import BlenderScene

        scene = BlenderScene(settings.resolution, settings.samples, workspace)
        for model in tqdm(models, unit="mesh", file=screen, disable=None):
            try:
                staged = stage_model(
                    model.path,
                    model.folder,
                    workspace / "model",
                    ModelLimits(),
                    treatment,
                    model.placement,
                )
                scene.load(staged)
                picture = scene.render(viewpoint)
                if picture is None:
                    raise BrokenModelError("nothing of it can be seen")
                pictures[model.key] = picture.color
                drawn(model.key, picture.color)
            except BrokenModelError as error:
                failures[model.key] = str(error)
    return pictures, failures


def compose(
    rows: Mapping[str, Sequence[Model]], pictures: Mapping[str, Pixels], columns: int, across: int, side: int
) -> Image.Image:
    """The sheet: classes down, then `across` beside each other, each `columns` pictures of `side` pixels wide."""
    down = -(-len(rows) // across)
    block, line = columns * side + _GAP, side + _HEAD
    sheet = Image.new("RGB", (across * block - _GAP, down * line), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, (name, models) in enumerate(rows.items()):
        x, y = place // down * block, place % down * line
        pen.text((x + 4, y + 2), _fitted(name, block - _GAP - 4, font), _INK, font)
        for column, model in enumerate(models):
            corner = (x + column * side, y + _HEAD)
            if model.key in pictures:
                sheet.paste(Image.fromarray(pictures[model.key]), corner)
            else:
                pen.text((corner[0] + side // 2, corner[1] + side // 2), "broken", _FAINT, font, anchor="mm")
    return sheet


def _fitted(name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A name, or as much of its end as is no wider than `width`: names of a library's models begin alike."""
    shown = name
    while len(shown) > 1 and font.getlength(shown) > width:
        shown = f"…{shown.removeprefix('…')[1:]}"
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.contact",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("meshes", type=Path, metavar="MESHES", help="a folder a class, or a model library")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="the picture (.png), or a folder for one a class"
    )
    parser.add_argument("--columns", type=int, default=4, metavar="N", help="meshes a class (default: 4)")
    parser.add_argument("--across", type=int, default=3, help="classes beside each other (default: 3)")
    parser.add_argument("--resolution", type=int, default=128, help="pixels a side of a mesh (default: 128)")
    parser.add_argument("--samples", type=int, default=32, help="light samples a pixel (default: 32)")
    parser.add_argument("--yaw", type=float, default=-0.6, help="of the camera, radians (default: -0.6)")
    parser.add_argument(
        "--pitch", type=float, default=1.2, help="radians from straight above (default: %(default)s)"
    )
    parser.add_argument("--fov", type=float, default=29.0, help="field of view in degrees (default: 29)")
    parser.add_argument(
        "--classes",
        default="",
        metavar="LIST",
        help="only these: names, ImageNet indices or WordNet ids (default: all)",
    )
    add_licences_option(parser)
    add_alpha_options(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Does what the command line asks; the exit status. Raises ValueError, LibraryError, OSError."""
    if min(arguments.columns, arguments.across) < 1:
        raise ValueError(
            f"--columns and --across must be 1 or more, found {arguments.columns} and {arguments.across}"
        )
    settings = Settings(resolution=arguments.resolution, samples=arguments.samples)
    distance = 0.5 / math.sin(math.radians(arguments.fov) / 2) if 0 < arguments.fov < 180 else 2.0
    viewpoint = Viewpoint(yaw=arguments.yaw, pitch=arguments.pitch, radius=distance, fov=arguments.fov)
    library = load_library(arguments.meshes)
    allowed, said = permitted(library, arguments.licences)
    unused = unused_in_words(unused_meshes(arguments.meshes, {model.path for model in library}))
    sys.stderr.writelines(f"{line}\n" for line in [*said, unused] if line)
    chosen = of_classes(allowed, arguments.classes)
    single = arguments.out.suffix.lower() == ".png"
    rows = first_of_each_class(chosen, arguments.columns if single else len(chosen))
    models = [model for row in rows.values() for model in row]
    sys.stderr.write(untested_blender())
    treatment = Treatment(transparent=arguments.transparent, cutouts=arguments.cutouts)
    pictures, failures = render_meshes(models, viewpoint, settings, treatment)
    for key, reason in failures.items():
        sys.stderr.write(f"{key}: {reason}\n")
    if not pictures:
        raise LibraryError(f"{arguments.meshes}: none of its {len(models)} meshes could be drawn")
    side = settings.resolution
    if single:
        across = min(arguments.across, len(rows))
        _save(compose(rows, pictures, arguments.columns, across, side), arguments.out)
        return 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, row in rows.items():
        named = {model.identifier: [model] for model in row}
        across = min(arguments.columns * arguments.across, len(row))
        file = re.sub(r"[^\w-]+", "_", f"{row[0].object_class.wnid}-{name}")
        _save(compose(named, pictures, 1, across, side), arguments.out / f"{file}.png")
    return 0


def _save(sheet: Image.Image, path: Path) -> None:
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    write_whole(path, stream.getvalue())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return run(arguments)
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and type(error) not in (ValueError, LibraryError):
            raise
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        sys.exit(main())

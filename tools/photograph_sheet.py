"""Draws what GP3D finds in photographs: each beside its depth, its mask and its relief, turned in Blender.

    .venv/bin/python tools/photograph_sheet.py OUT.jpg PHOTO... --model DEPTH [--mask-model MASKS]

A row a photograph: the picture, its depth (near is light), the subject on white, the relief from the camera that took
the picture, and from 15° to either side. Blender imports the GLB files that `gp3d lift` writes and turns their cameras
about the origin. Exit code 0, 2 for bad input, 1 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gp3d_core.cli.arguments import Parser, existing, new_path, number  # noqa: E402  the path comes first
from gp3d_core.errors import GP3DError  # noqa: E402
from gp3d_core.lifting.distances import distances_of_model, usual_ratio  # noqa: E402
from gp3d_core.lifting.files import save_relief  # noqa: E402
from gp3d_core.lifting.photograph import Photograph, read_photograph  # noqa: E402
from gp3d_core.lifting.relief import grid_of, lift  # noqa: E402
from gp3d_core.preparation.depth.making import DepthSource  # noqa: E402
from gp3d_core.preparation.depth.monocular import open_model  # noqa: E402
from gp3d_core.preparation.maps.mask_network import NetworkMasks  # noqa: E402
from gp3d_core.visualization import save_picture  # noqa: E402
from synthetic.workers.blender_process import CapturedOutput, LeaveWithoutDestructors, prepare_blender  # noqa: E402

TURNS = (0.0, -15.0, 15.0)  # degrees
_TILE = (240, 160)
_GAP = 4
_SAMPLES = 8

Pixels = NDArray[Any]


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for."""
    parser = Parser(prog="tools/photograph_sheet.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=new_path, metavar="OUT.jpg")
    parser.add_argument("photos", type=existing, nargs="+", metavar="PHOTO")
    parser.add_argument("--model", required=True, help="network of depth, as for gp3d lift")
    parser.add_argument("--mask-model", type=existing, help="network of masks, as for gp3d data mask")
    parser.add_argument(
        "--grid", type=number(int, 16, 2048), default=384, help="as for gp3d lift (default 384)"
    )
    return parser.parse_args(arguments)


def draw(options: argparse.Namespace) -> None:
    """Writes the sheet."""
    depth = open_model(options.model, None, kind=None, ratio=usual_ratio(53.13), device=torch.device("cpu"))
    masks = None if options.mask_model is None else NetworkMasks(options.mask_model)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gp3d-photographs-") as folder:
        for path in options.photos:
            photograph = read_photograph(path)
            tiles = [photograph.rgb]
            file = Path(folder) / f"{path.stem}.glb"
            tiles.append(_relief(photograph, path.name, depth, options.grid, file))
            if masks is not None:
                tiles.append(_on_white(photograph.rgb, masks))
            height, width = photograph.rgb.shape[:2]
            tiles += turned(file, width / height, Path(folder))
            rows.append([_fitted(tile) for tile in tiles])
    white = np.full((_TILE[1], _GAP, 3), 255, np.uint8)
    lines = [np.concatenate([part for tile in row for part in (tile, white)], axis=1) for row in rows]
    space = np.full((_GAP, lines[0].shape[1], 3), 255, np.uint8)
    sheet = np.concatenate([part for line in lines for part in (line, space)])
    save_picture(Image.fromarray(sheet[:-_GAP, :-_GAP]), options.out)


def _relief(photograph: Photograph, name: str, depth: DepthSource, grid: int, file: Path) -> Pixels:
    """Writes the relief to `file`; inverse depth, 255 nearest."""
    height, width = photograph.rgb.shape[:2]
    cells = grid_of(width, height, grid)
    distances = distances_of_model(depth, photograph.rgb, name, cells, usual_ratio(photograph.fov))
    save_relief(lift(photograph, distances), file, {"photograph": name, "license": "unknown"})
    inverse = 1 / distances.t
    share = (inverse - inverse.min()) / max(float(np.ptp(inverse)), 1e-9)
    return np.repeat(np.rint(255 * share).astype(np.uint8)[..., None], 3, axis=2)


def _on_white(rgb: Pixels, masks: NetworkMasks) -> Pixels:
    picture = Image.fromarray(rgb)
    (mask,) = masks.masks([picture])
    return np.asarray(Image.composite(picture, Image.new("RGB", picture.size, "white"), mask))


def turned(file: Path, aspect: float, workspace: Path) -> list[Pixels]:
    """Blender's pictures of the relief in `file` from its own camera, and turned about the origin by TURNS."""
    import bpy
    from mathutils import Matrix

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(file))
    scene = bpy.context.scene
    scene.camera = next(one for one in bpy.data.objects if one.type == "CAMERA")
    scene.render.engine, scene.cycles.samples = "CYCLES", _SAMPLES
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("grey")
    longer = 2 * max(_TILE)
    scene.render.resolution_x = longer if aspect >= 1 else round(longer * aspect)
    scene.render.resolution_y = round(longer / aspect) if aspect >= 1 else longer
    taken, pictures = scene.camera.matrix_world.copy(), []
    for turn in TURNS:
        scene.camera.matrix_world = Matrix.Rotation(math.radians(turn), 4, "Z") @ taken
        scene.render.filepath = str(workspace / f"{file.stem}-{turn:g}.png")
        bpy.ops.render.render(write_still=True)
        pictures.append(np.asarray(Image.open(scene.render.filepath).convert("RGB")))
    return pictures


def _fitted(tile: Pixels) -> Pixels:
    """The tile inside _TILE, white beside it."""
    picture = Image.fromarray(tile)
    picture.thumbnail(_TILE, Image.Resampling.LANCZOS)
    if picture.width < _TILE[0] and picture.height < _TILE[1]:
        scale = min(_TILE[0] / picture.width, _TILE[1] / picture.height)
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = Image.fromarray(tile).resize(size, Image.Resampling.LANCZOS)
    whole = Image.new("RGB", _TILE, "white")
    whole.paste(picture, ((_TILE[0] - picture.width) // 2, (_TILE[1] - picture.height) // 2))
    return np.asarray(whole)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws; an error is one line."""
    options = read_options(arguments)
    with tempfile.TemporaryDirectory(prefix="gp3d-blender-") as folder:
        prepare_blender(Path(folder))
        try:
            with CapturedOutput(Path(folder) / "blender.log"):
                draw(options)
        except GP3DError as error:
            print(f"photograph_sheet: {error}", file=sys.stderr)
            return error.exit_code
    print(options.out)
    return 0


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        try:
            sys.exit(main())
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            sys.exit(1)

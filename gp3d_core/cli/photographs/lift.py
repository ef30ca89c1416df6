"""The command `gp3d lift`: a photograph and its depth to a relief."""

from __future__ import annotations

import argparse
import sys

from gp3d_core.cli.arguments import (
    any_path,
    new_path,
    number,
)
from gp3d_core.lifting.options import BORDER, BORDERS, FOVS, GRID, GRIDS, RATIOS, LiftOptions
from gp3d_core.preparation.depth.kinds import MEANINGS

_PIXELS, _FRAMES = 512, 64


def add_lift(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d lift`."""
    add = parser.add_argument
    add("photo", type=any_path, metavar="PHOTO", help="photograph of any size")
    add("--depth", type=any_path, metavar="FILE", help="its depth map: 16-bit or 8-bit PNG, npy, npz or exr")
    add("--model", help="or a network that estimates it, as for gp3d data depth")
    add(
        "--kind",
        choices=MEANINGS,
        help="what the map says: depth (default) or disparity, of any scale, or metres (PNG: millimetres)",
    )
    add(
        "--ratio",
        type=number(float, *RATIOS),
        help="farthest / nearest distance, unless the map is metric (default: as deep as the picture is wide)",
    )
    add("--fov", type=number(float, *FOVS), help="degrees of the longer side (default: EXIF, else 53.13)")
    add("--grid", type=number(int, *GRIDS), default=GRID, help="cells of the longer side (default 512)")
    add(
        "--border",
        type=number(float, *BORDERS),
        default=BORDER,
        help="how far the picture is carried on around it, in longer sides (default 0.2)",
    )
    add(
        "--mask",
        type=any_path,
        metavar="FILE",
        help="picture of the subject, white or opaque: nothing else stays",
    )
    add("--out", type=new_path, required=True, help="relief in .glb")
    add("--orbit", type=new_path, metavar="FILM", help="also a film, .gif or .mp4")
    add("--yaw", type=number(float, 0, 80), default=15.0, help="film: degrees to either side (default 15)")
    add("--pitch", type=number(float, 0, 60), default=5.0, help="film: degrees up and down (default 5)")
    add("--frames", type=number(int, 2, 10_000), default=_FRAMES, help="film: frames (default 64)")
    add("--resolution", type=number(int, 16, 4096), default=_PIXELS, help="film: longer side (default 512)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_lift)


def _lift(options: argparse.Namespace) -> int:
    from gp3d_core.distributed import pick_device
    from gp3d_core.generation.video import save_film
    from gp3d_core.lifting.files import check_outputs, save_relief
    from gp3d_core.lifting.making import lift_picture
    from gp3d_core.lifting.views import swing_frames
    from gp3d_core.signals import shown_progress

    check_outputs(
        options.out, options.orbit, [path for path in (options.photo, options.depth, options.mask) if path]
    )
    wanted = LiftOptions(
        depth=options.depth,
        model=options.model,
        kind=options.kind,
        ratio=options.ratio,
        fov=options.fov,
        grid=options.grid,
        border=options.border,
        mask=options.mask,
    )
    device = pick_device(options.device)
    with shown_progress() as progress:
        relief, recipe = lift_picture(options.photo, wanted, device=device, say=_say, progress=progress)
        save_relief(relief, options.out, recipe)
        print(options.out)
        if options.orbit is not None:
            swing = {"yaw": options.yaw, "pitch": options.pitch, "count": options.frames}
            save_film(
                swing_frames(relief, **swing, longer=options.resolution, progress=progress), options.orbit
            )
            print(options.orbit)
    _say(f"{relief.faces} faces")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)

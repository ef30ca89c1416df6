"""The command `gp3d lift`: a photograph and its depth to a relief."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gp3d_core.cli.arguments import UsageError, new_path, number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gp3d_core.lifting.distances import Distances, Meaning
    from gp3d_core.lifting.photograph import Photograph

_GRID, _PIXELS, _FRAMES = 512, 512, 64


def add_lift(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d lift`."""
    add = parser.add_argument
    add("photo", type=Path, metavar="PHOTO", help="photograph of any size")
    add("--depth", type=Path, metavar="FILE", help="its depth map: 16-bit or 8-bit PNG, npy or npz")
    add("--model", help="or a network that estimates it, as for gp3d data depth")
    add(
        "--kind",
        choices=("depth", "disparity", "metric"),
        help="what the map says: depth (default) or disparity, of any scale, or metres (PNG: millimetres)",
    )
    add(
        "--ratio",
        type=number(float, 1.001, 1000),
        help="farthest / nearest distance, unless the map is metric (default: as deep as the picture is wide)",
    )
    add("--fov", type=number(float, 1, 150), help="degrees of the longer side (default: EXIF, else 53.13)")
    add("--grid", type=number(int, 16, 2048), default=_GRID, help="cells of the longer side (default 512)")
    add(
        "--border",
        type=number(float, 0, 1),
        default=0.2,
        help="how far the picture is carried on around it, in longer sides (default 0.2)",
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
    if (options.depth is None) == (options.model is None):
        raise UsageError("expected the depth of the picture: either --depth FILE or --model MODEL")
    if options.kind == "metric" and options.ratio is not None:
        raise UsageError("--ratio is for maps of any scale, and --kind metric knows the distances")
    from gp3d_core.generation.video import save_film
    from gp3d_core.lifting.files import check_outputs, save_relief
    from gp3d_core.lifting.photograph import read_photograph
    from gp3d_core.lifting.relief import lift
    from gp3d_core.lifting.views import swing_frames
    from gp3d_core.signals import shown_progress

    inputs = [options.photo, *([options.depth] if options.depth else [])]
    check_outputs(options.out, options.orbit, inputs)
    photograph = read_photograph(options.photo, options.fov)
    _say(f"field of view {photograph.fov:.4g}°, {photograph.fov_source}")
    distances, recipe = _distances(photograph, options)
    with shown_progress() as progress:
        relief = lift(photograph, distances, border=options.border, progress=progress)
        save_relief(relief, options.out, recipe | {"photograph": options.photo.name, "fov": photograph.fov})
        print(options.out)
        if options.orbit is not None:
            wanted = {"yaw": options.yaw, "pitch": options.pitch, "count": options.frames}
            save_film(
                swing_frames(relief, **wanted, longer=options.resolution, progress=progress), options.orbit
            )
            print(options.orbit)
    faces = len(relief.seen.faces) + (0 if relief.filled is None else len(relief.filled.faces))
    _say(f"{faces} faces; behind {relief.revealed:.1%} of the picture something hidden was filled in")
    return 0


def _distances(photograph: Photograph, options: argparse.Namespace) -> tuple[Distances, dict[str, Any]]:
    """The distances of the picture, and what the relief keeps of their making."""
    from gp3d_core.hashing import digest
    from gp3d_core.lifting.distances import distances_of_file, usual_ratio
    from gp3d_core.lifting.relief import grid_of

    rgb = photograph.rgb
    grid = grid_of(rgb.shape[1], rgb.shape[0], options.grid)
    ratio = options.ratio or usual_ratio(photograph.fov)
    if options.model is not None:
        return _estimated(rgb, grid, ratio, options)
    kind: Meaning = options.kind or "depth"
    distances = distances_of_file(options.depth, (rgb.shape[0], rgb.shape[1]), grid, kind, ratio)
    if distances.missing:
        _say(f"{distances.missing:.1%} of the depth map holds no distance; the nearest that does was taken")
    scale = {} if kind == "metric" else {"ratio": ratio}
    return distances, {"depth": options.depth.name, "sha256": digest(options.depth), "kind": kind, **scale}


def _estimated(
    rgb: NDArray[np.uint8], grid: tuple[int, int], ratio: float, options: argparse.Namespace
) -> tuple[Distances, dict[str, Any]]:
    from gp3d_core.distributed import pick_device
    from gp3d_core.lifting.distances import distances_of_model
    from gp3d_core.preparation.depth.monocular import open_model

    if options.kind == "metric":
        raise UsageError("--kind metric is for --depth; of what a network says the scale is not kept")
    source = open_model(
        options.model, None, kind=options.kind, ratio=ratio, device=pick_device(options.device)
    )
    return distances_of_model(source, rgb, options.photo.name, grid, ratio), dict(source.record)


def _say(line: str) -> None:
    print(line, file=sys.stderr)

"""`python -m synthetic.preview MESH.obj ... OUT.png`: a picture of meshes in our world frame, as we read them.

One row a mesh, one column a yaw. Meshes have y up and their front towards +z, as `gp3d mesh` writes them; they are
read as those of a model library are, so what is seen here (colours, orientation) is what a data set would show.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.atomic import write_whole
from synthetic.dataset import Settings
from synthetic.layouts.shapenet import BrokenModelError, Placement
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


def render_preview(
    meshes: Sequence[Path], viewpoints: Sequence[Viewpoint], resolution: int, samples: int
) -> npt.NDArray[np.uint8]:
    """[rows*H, columns*W, 3] sheet of `meshes` (down) seen from `viewpoints` (across).

    Raises BrokenModelError with the mesh at fault in its message.
    """
    with scratch_folder("preview") as folder:
        workspace = folder
        with CapturedOutput(workspace / "blender.log"):
            prepare_blender(workspace)
            from synthetic.blender.scene import BlenderScene

            scene = BlenderScene(resolution, samples, workspace)
            rows = []
            for mesh in meshes:
                try:
                    staged = stage_model(
                        mesh,
                        mesh.parent,
                        workspace / "model",
                        ModelLimits(),
                        Treatment(),
                        Placement(front="+z"),
                        reach=min(view.radius for view in viewpoints),
                    )
                    scene.load(staged)
                    pictures = [scene.render(view) for view in viewpoints]
                except BrokenModelError as error:
                    raise BrokenModelError(f"{mesh}: {error}") from None
                if not all(pictures):
                    raise BrokenModelError(f"{mesh}: nothing of it can be seen")
                rows.append(np.hstack([picture.color for picture in pictures if picture]))
    return np.vstack(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.preview",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("meshes", type=Path, nargs="+", metavar="MESH.obj", help="one row each")
    parser.add_argument("out", type=Path, metavar="OUT.png", help="the picture")
    parser.add_argument("--resolution", type=int, default=256, help="pixels a side (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=16, help="light samples a pixel (default: 16)")
    parser.add_argument(
        "--yaws",
        type=float,
        nargs="+",
        default=(-0.6, 0.0, 0.6),
        metavar="YAW",
        help="radians, one column each (default: -0.6 0 0.6)",
    )
    parser.add_argument("--pitch", type=float, default=math.pi / 2 - 0.25, help="radians from straight above")
    parser.add_argument("--radius", type=float, default=2.0, help="distance of the camera (default: 2)")
    parser.add_argument("--fov", type=float, default=40.0, help="field of view in degrees (default: 40)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings(resolution=arguments.resolution, samples=arguments.samples)
        viewpoints = [
            Viewpoint(yaw=yaw, pitch=arguments.pitch, radius=arguments.radius, fov=arguments.fov)
            for yaw in arguments.yaws
        ]
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stderr.write(untested_blender())
    try:
        sheet = render_preview(arguments.meshes, viewpoints, settings.resolution, settings.samples)
        stream = io.BytesIO()
        Image.fromarray(sheet).save(stream, format="PNG")
        write_whole(arguments.out, stream.getvalue())
    except (BrokenModelError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        sys.exit(main())

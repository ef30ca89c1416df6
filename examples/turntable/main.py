"""A teapot on a turntable, colour beside depth, as a GIF; then by hand, from any camera."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from gp3d_core import ObjectPipeline
from gp3d_core.rendering.cameras import mean_camera
from gp3d_core.rendering.trajectories import front_circle


def main(out: Path) -> None:
    """Writes teapot.gif into `out`, and says how much of each view the teapot fills."""
    teapot = ObjectPipeline.from_pretrained().generate("teapot", seed=2)
    print(teapot.turntable(out / "teapot.gif", frames=16, resolution=64, depth=True))

    generator, planes, ws = teapot.snapshot.generator, teapot.generated.planes, teapot.generated.ws
    cameras = front_circle(mean_camera(teapot.snapshot.config.camera), 4)
    for k in range(len(cameras)):
        with torch.no_grad():
            seen = generator.view(ws, cameras[k], resolution=64, planes=planes)  # colour, depth, opacity
        yaw, pitch = (float(angle) for angle in cameras[k].angles[0, :2].rad2deg())
        print(f"yaw {yaw:+.0f}°, pitch {pitch:.0f}°: {float(seen.opacity.mean()):.0%} of the picture")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples"))
    except KeyboardInterrupt:
        sys.exit("stopped")

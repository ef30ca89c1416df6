"""A teapot on a turntable, colour beside depth, as a GIF."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gp3d_core.generation.objects import object_specs
from gp3d_core.generation.sampling import generate, open_snapshot
from gp3d_core.generation.video import save_film
from gp3d_core.rendering.cameras import mean_camera
from gp3d_core.rendering.trajectories import turntable
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8


def frames(count: int = 16, resolution: int = 64) -> Iterator[np.ndarray]:
    """The pictures of the film, uint8 [H,2W,3]."""
    snapshot = open_snapshot()
    [spec] = object_specs(snapshot, ["teapot"], seeds=[2])
    teapot = generate(snapshot, spec)
    space = snapshot.config.camera
    cameras = turntable(mean_camera(space), count)
    for k in range(count):
        seen = snapshot.generator.view(teapot.ws, cameras[k], resolution=resolution, planes=teapot.planes)
        depth = depth_to_uint8(seen.depth, space.t_near, space.t_far)[0]
        yield np.concatenate([rgb_to_uint8(seen.rgb)[0], np.asarray(depth)], axis=1)


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples") / "teapot.gif"
    save_film(frames(), path)
    print(path)

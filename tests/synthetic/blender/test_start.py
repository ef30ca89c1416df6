"""How Blender starts: without the libraries that BlenderProc does not use here, and with one thread if asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = """
import os, sys
from pathlib import Path
from synthetic.workers.blender_process import prepare_blender
prepare_blender(Path(sys.argv[1]))
{before}
from synthetic.blender.scene import BlenderScene
BlenderScene(8, 1, Path(sys.argv[1]), 1)
unused = "trimesh scipy.stats git requests h5py cv2 imageio rich rich.console bl_ui bl_operators cycles.ui bl_pkg"
print(*[name for name in unused.split() if name in sys.modules])
import trimesh
import scipy.stats
import cv2, rich.console
cv2.imread, rich.console.Console
print(trimesh.creation.box((1, 2, 3)).volume, scipy.stats.norm.cdf(0.0))
sys.stdout.flush()
os._exit(0)
"""
THREADS = """
import os, sys
from contextlib import nullcontext
from pathlib import Path
from synthetic.workers.blender_process import one_processor, prepare_blender
prepare_blender(Path(sys.argv[1]))
with {how}():
    from synthetic.blender.scene import BlenderScene, bpy
    BlenderScene(8, 1, Path(sys.argv[1]), 1)
side = 400
mesh = bpy.data.meshes.new("grid")
corners = [(x, y, 0) for x in range(side) for y in range(side)]
first = [side * x + y for x in range(side - 1) for y in range(side - 1)]
mesh.from_pydata(corners, [], [(k, k + side, k + side + 1, k + 1) for k in first])
print(mesh.vertex_normals[0].vector[2], len(os.listdir("/proc/self/task")))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.blender
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="Blender takes one thread on one processor")
def test_blender_started_on_one_processor_has_no_thread_for_the_others(tmp_path: Path) -> None:
    (up, fewer), (_, usual) = (
        subprocess.run(
            [sys.executable, "-c", THREADS.format(how=how), str(tmp_path)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-2:]
        for how in ("one_processor", "nullcontext")
    )
    assert up == "1.0"
    assert int(fewer) < int(usual)


@pytest.mark.blender
@pytest.mark.parametrize(("before", "there"), [("", ""), ("import trimesh, requests", "trimesh requests")])
def test_libraries_that_blenderproc_needs_elsewhere_are_left_to_those_who_use_them(
    before: str, there: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before), str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-2:] == [there, "6.0 0.5"]
    assert "Traceback" not in done.stdout + done.stderr

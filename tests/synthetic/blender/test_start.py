"""What a worker imports: BlenderProc without the libraries that it does not use here, which stay whole for others."""

from __future__ import annotations

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

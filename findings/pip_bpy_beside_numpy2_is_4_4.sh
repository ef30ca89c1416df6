#!/usr/bin/env bash
# pip and the wheel bpy: "bpy>=4.2,<5" beside "numpy>=2" on Python 3.11 is answered with bpy 4.4.0, a version that has
# had no corrections since Blender 4.5 came out, instead of 4.5.15. No warning: the wheels of 4.5 declare "numpy<2.0",
# that of 4.4.0 declares "numpy" without a bound. Yet 4.5.15 runs with numpy 2 all the same (it prints that a module was
# compiled for NumPy 1 and goes on). What to do: name the version, and install it without its wishes after all else:
# pip install --no-deps "bpy==4.5.15".
# Downloads 1 to 2 GB, since pip reads the wishes of wheels in the wheels. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
chosen=$("$folder/venv/bin/pip" install --dry-run "bpy>=4.2,<5" "numpy==2.2.6" 2>/dev/null |
    grep -o "Would install.*" | grep -o "bpy-[0-9.]*")
echo "chosen: $chosen"
[ "$chosen" = bpy-4.4.0 ]
"$folder/venv/bin/pip" install -q "numpy==2.2.6" requests zstandard cython
"$folder/venv/bin/pip" install -q --no-deps "bpy==4.5.15"
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import os

import bpy
import numpy

with open("seen", "w") as file:
    file.write(f"{bpy.app.version_string} with numpy {numpy.__version__}")
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add()
mesh = bpy.context.object.data
points = numpy.empty(24, numpy.float32)
mesh.vertices.foreach_get("co", points)
assert numpy.abs(points).tolist() == [1.0] * 24
os._exit(0)
PYTHON
seen=$(cat seen)
[ "$seen" = "4.5.15 LTS with numpy 2.2.6" ]
echo "seen: pip chooses bpy-4.4.0, and $seen runs"

#!/usr/bin/env bash
# In an OBJ file numbers below zero count back from the line that they stand in: -1 is the last vertex before that face. trimesh 5.2.0
# counts back from the last vertex of the file. Programs that write such numbers write each part's vertices before its faces, so all
# parts but the last get the corners of the last: a file of three triangles apart has one, three times, without a word. Open3D 0.20.0 reads it right.
# What to do: rewrite such numbers as positive ones before trimesh sees the file. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "trimesh==5.2.0" "open3d==0.20.0" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import sys

import numpy as np
import open3d
import trimesh

path = f"{sys.argv[1]}/parts.obj"
with open(path, "w") as file:
    for x in (0, 1, 2):  # three triangles, each in a plane of its own
        file.write(f"v {x} 0 0\nv {x} 1 0\nv {x} 0 1\nf -3 -2 -1\n")
mesh = trimesh.load(path, force="mesh", process=False)
print("trimesh", sorted(mesh.triangles[:, :, 0].mean(axis=1).tolist()))
mesh = open3d.io.read_triangle_mesh(path)
corners = np.asarray(mesh.vertices)[np.asarray(mesh.triangles)]
print("Open3D", sorted(corners[:, :, 0].mean(axis=1).tolist()))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder")
echo "$seen"
[ "$seen" = "trimesh [2.0, 2.0, 2.0]
Open3D [0.0, 1.0, 2.0]" ]

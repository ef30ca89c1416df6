#!/usr/bin/env bash
# trimesh 5.2.0 and Open3D 0.20.0 read colours of a PLY file that are declared `ushort` (0 to 65535), which the
# format allows, without a word and each wrongly in its own way. trimesh keeps the lower byte: half of full
# green, 32768, becomes 0, and 300, hardly any blue, 44 of 255. Open3D divides by 255, whatever the type: full red becomes
# 257 where 1 is full. What to do: read the elements themselves (trimesh keeps them in metadata["_ply_raw"], as written)
# and divide by the largest number of their type; or write colours as `uchar`. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "trimesh==5.2.0" "open3d==0.20.0" "numpy==2.2.6"
cat >"$folder/triangle.ply" <<'PLY'
ply
format ascii 1.0
element vertex 3
property float x
property float y
property float z
property ushort red
property ushort green
property ushort blue
element face 1
property list uchar int vertex_indices
end_header
0 0 0 65535 32768 300
1 0 0 65535 32768 300
0 1 0 65535 32768 300
3 0 1 2
PLY
cat >"$folder/seen.py" <<'PYTHON'
import sys

import numpy as np
import open3d
import trimesh

mesh = trimesh.load(sys.argv[1])
print("trimesh, of 255:", mesh.visual.vertex_colors[0, :3].tolist())
raw = mesh.metadata["_ply_raw"]["vertex"]["data"]
print("trimesh, as written:", [int(raw[name].ravel()[0]) for name in ("red", "green", "blue")])
print("Open3D, of 1:", np.asarray(open3d.io.read_triangle_mesh(sys.argv[1]).vertex_colors)[0].round(3).tolist())
PYTHON
expected='trimesh, of 255: [255, 0, 44]
trimesh, as written: [65535, 32768, 300]
Open3D, of 1: [257.0, 128.502, 1.176]'
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder/triangle.ply")
echo "$seen"
[ "$seen" = "$expected" ]

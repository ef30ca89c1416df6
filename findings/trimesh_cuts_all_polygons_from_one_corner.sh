#!/usr/bin/env bash
# Polygons of OBJ, PLY and OFF files need not be convex: Blender writes such faces as they are. trimesh 5.2.0 joins all corners of a
# polygon to its first, so of one that is not convex triangles lie outside it, others on each other, some turned over, without a word: an
# arrow of area 10 becomes 22. Open3D 0.20.0 cuts it rightly in PLY and OFF; of an OBJ file it leaves out every face of more than three
# corners, squares too, and says so only as information about a "primitive geometry of type 8": nothing is left of a cube of quads.
# What to do: let the program that writes cut faces into triangles (Blender: Triangulated Mesh), or cut them with mapbox_earcut.
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "trimesh==5.2.0" "open3d==0.20.0" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import sys

import open3d
import trimesh

ARROW = [(0, 0, 0), (4, 0, 0), (4, 4, 0), (2, 1, 0), (0, 4, 0)]  # area 10
SQUARE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]


def written(outline, suffix):
    """The file of one polygon that begins with its third corner."""
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in outline)
    count = len(outline)
    order = [(k + 2) % count for k in range(count)]
    face = f"{count} {' '.join(map(str, order))}\n"
    texts = {
        "off": f"OFF\n{count} 1 0\n{rows}{face}",
        "ply": f"ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face 1\nproperty list uchar int vertex_indices\nend_header\n{rows}{face}",
        "obj": "".join(f"v {row}\n" for row in rows.splitlines()) + f"f {' '.join(str(k + 1) for k in order)}\n",
    }
    path = f"{sys.argv[1]}/polygon.{suffix}"
    with open(path, "w") as file:
        file.write(texts[suffix])
    return path


for name, outline in (("arrow", ARROW), ("square", SQUARE)):
    for suffix in ("obj", "ply", "off"):
        path = written(outline, suffix)
        one = trimesh.load(path, force="mesh", process=False).area
        other = open3d.io.read_triangle_mesh(path).get_surface_area()
        print(f"{name} in {suffix}: trimesh {one:g}, Open3D {other:g}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder" 2>/dev/null | grep " in ")
echo "$seen"
[ "$seen" = "arrow in obj: trimesh 22, Open3D 0
arrow in ply: trimesh 22, Open3D 10
arrow in off: trimesh 22, Open3D 10
square in obj: trimesh 1, Open3D 0
square in ply: trimesh 1, Open3D 1
square in off: trimesh 1, Open3D 1" ]

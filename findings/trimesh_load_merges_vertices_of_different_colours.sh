#!/usr/bin/env bash
# trimesh 5.2.0, read with the settings as they are, makes one vertex of all that stand at the same place, whatever their
# colours: a cube whose six sides have a colour each (vertices of their own for every triangle, as PLY and OBJ with
# colours of vertices need for a hard edge between colours) comes back with eight vertices, and 2 of 12 triangles still
# have one colour. Different texture coordinates and normals do keep vertices apart. Open3D 0.20.0 keeps colours apart. What to
# do: trimesh.load(path, process=False). Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "trimesh==5.2.0" "open3d==0.20.0" "numpy==2.2.6"
cat >"$folder/cube.py" <<'PYTHON'
import sys

import numpy as np
import open3d
import trimesh

folder = sys.argv[1]
box = trimesh.creation.box()
sides = np.argmax(np.abs(box.face_normals), axis=1) * 2 + (box.face_normals.sum(axis=1) > 0)
palette = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]])
corners, colours = box.vertices[box.faces].reshape(-1, 3), palette[sides].repeat(3, axis=0)
faces = np.arange(36).reshape(-1, 3)
HEAD = """ply
format ascii 1.0
element vertex 36
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 12
property list uchar int vertex_indices
end_header
"""
with open(f"{folder}/cube.ply", "w") as file:
    file.write(HEAD)
    file.writelines(" ".join(map(str, [*at, *colour])) + "\n" for at, colour in zip(corners, colours))
    file.writelines(" ".join(map(str, [3, *face])) + "\n" for face in faces)
with open(f"{folder}/cube.obj", "w") as file:
    file.writelines(" ".join(map(str, ["v", *at, *colour])) + "\n" for at, colour in zip(corners, colours / 255))
    file.writelines(" ".join(map(str, ["f", *face])) + "\n" for face in faces + 1)


def told(name, faces, colours):
    of_faces = np.asarray(colours)[:, :3][np.asarray(faces)]
    plain = np.ptp(of_faces.astype(float), axis=1).max(axis=1) < 1e-3
    print(f"seen: {name}: {len(colours)} vertices, {plain.sum()} of {len(faces)} faces have one colour")


for ending in ("ply", "obj"):
    path = f"{folder}/cube.{ending}"
    for settings in ({}, {"process": False}):
        mesh = trimesh.load_mesh(path, **settings)
        told(f"{ending}, trimesh {settings or ''}".rstrip(), mesh.faces, mesh.visual.vertex_colors)
    mesh = open3d.io.read_triangle_mesh(path)
    told(f"{ending}, Open3D", mesh.triangles, mesh.vertex_colors)
PYTHON
expected="seen: ply, trimesh: 8 vertices, 2 of 12 faces have one colour
seen: ply, trimesh {'process': False}: 36 vertices, 12 of 12 faces have one colour
seen: ply, Open3D: 36 vertices, 12 of 12 faces have one colour
seen: obj, trimesh: 8 vertices, 2 of 12 faces have one colour
seen: obj, trimesh {'process': False}: 36 vertices, 12 of 12 faces have one colour
seen: obj, Open3D: 24 vertices, 12 of 12 faces have one colour"
seen=$("$folder/venv/bin/python" "$folder/cube.py" "$folder" | grep "^seen")
echo "$seen"
[ "$seen" = "$expected" ]

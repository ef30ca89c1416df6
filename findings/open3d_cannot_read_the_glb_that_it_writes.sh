#!/usr/bin/env bash
# Open3D 0.20.0 writes GLB files without a chunk of numbers: the first buffer has them as base64 in its address (a third
# larger). glTF 2.0 allows that, and trimesh 5.2.0 and Blender (bpy 4.2.23) read such files; Open3D itself, whose reader is
# Assimp, prints a warning and returns an empty mesh for them. Of .gltf files that it writes it reads all. What to do: write
# .gltf or OBJ for Open3D, or write GLB files with another library; look at the number of triangles after reading.
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for name in open3d bpy; do python3.11 -m venv "$folder/$name"; done
"$folder/open3d/bin/pip" install -q "open3d==0.20.0" "trimesh==5.2.0" "numpy==2.2.6"
"$folder/bpy/bin/pip" install -q "bpy==4.2.23" "numpy==1.26.4"
cat >"$folder/write.py" <<'PYTHON'
import json
import struct
import sys

import open3d
import trimesh

folder = sys.argv[1]
sphere = open3d.geometry.TriangleMesh.create_sphere()
for ending in ("glb", "gltf"):
    path = f"{folder}/sphere.{ending}"
    print(f"seen: {ending}: written {open3d.io.write_triangle_mesh(path, sphere)}, {len(sphere.triangles)} triangles")
    print(f"seen: {ending}: Open3D reads {len(open3d.io.read_triangle_mesh(path).triangles)}")
    print(f"seen: {ending}: trimesh reads {len(trimesh.load_mesh(path).faces)}")
with open(f"{folder}/sphere.glb", "rb") as file:
    content = file.read()
(length,) = struct.unpack("<I", content[12:16])
(buffer,) = json.loads(content[20 : 20 + length])["buffers"]
print(f"seen: glb: {len(content) - 20 - length} bytes behind the JSON, its buffer's address begins {buffer['uri'][:37]}")
PYTHON
cat >"$folder/read.py" <<'PYTHON'
import os
import sys

import bpy

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=f"{sys.argv[1]}/sphere.glb")
print(f"\nseen: glb: Blender reads {sum(len(mesh.polygons) for mesh in bpy.data.meshes)}", flush=True)
os._exit(0)  # bpy may crash while Python ends, after all is done
PYTHON
expected='seen: glb: written True, 1520 triangles
seen: glb: Open3D reads 0
seen: glb: trimesh reads 1520
seen: gltf: written True, 1520 triangles
seen: gltf: Open3D reads 1520
seen: gltf: trimesh reads 1520
seen: glb: 0 bytes behind the JSON, its buffer'"'"'s address begins data:application/octet-stream;base64,
seen: glb: Blender reads 1520'
seen=$("$folder/open3d/bin/python" "$folder/write.py" "$folder" | grep "^seen"
  "$folder/bpy/bin/python" "$folder/read.py" "$folder" | grep "^seen")
echo "$seen"
[ "$seen" = "$expected" ]

#!/usr/bin/env bash
# Blender 4.2.23 (the wheel bpy), import_scene.gltf: a GLB with a skin brings one mesh object more than the file has, an
# "Icosphere" of 80 faces that gives bones their shape in the viewport. It lies in a hidden collection, but
# scene.objects lists it like any other, so who takes "all mesh objects of the scene" after an import measures, joins
# and joins a ball of radius 1 to the model. What to do: import with disable_bone_shape=True (also shown below), or leave
# out the objects of the collection "glTF_not_exported".
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "bpy==4.2.23" "numpy==1.26.4"
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
import struct

import bpy

points = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
faces = struct.pack("<3H2x", 0, 1, 2)
joints = bytes(12)
weights = struct.pack("<12f", *(3 * (1, 0, 0, 0)))
binary = points + faces + joints + weights
scene = {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"nodes": [0, 1]}],
    "nodes": [{"mesh": 0, "skin": 0}, {"name": "bone"}],
    "skins": [{"joints": [1]}],
    "meshes": [
        {"primitives": [{"attributes": {"POSITION": 0, "JOINTS_0": 2, "WEIGHTS_0": 3}, "indices": 1}]}
    ],
    "buffers": [{"byteLength": len(binary)}],
    "bufferViews": [
        {"buffer": 0, "byteOffset": 0, "byteLength": 36},
        {"buffer": 0, "byteOffset": 36, "byteLength": 6},
        {"buffer": 0, "byteOffset": 44, "byteLength": 12},
        {"buffer": 0, "byteOffset": 56, "byteLength": 48},
    ],
    "accessors": [
        {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
        {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
        {"bufferView": 2, "componentType": 5121, "count": 3, "type": "VEC4"},
        {"bufferView": 3, "componentType": 5126, "count": 3, "type": "VEC4"},
    ],
}
text = json.dumps(scene).encode()
text += b" " * (-len(text) % 4)
with open("skin.glb", "wb") as file:
    file.write(struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary)))
    file.write(struct.pack("<I4s", len(text), b"JSON") + text)
    file.write(struct.pack("<I4s", len(binary), b"BIN\0") + binary)

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath="skin.glb")
meshes = {item.name: len(item.data.polygons) for item in bpy.context.scene.objects if item.type == "MESH"}
hidden = [item.name for item in bpy.data.collections["glTF_not_exported"].objects]
print(bpy.app.version_string, meshes, hidden)
assert bpy.app.version_string.startswith("4.2.23"), bpy.app.version_string
assert meshes == {"Mesh_0": 1, "Icosphere": 80}, meshes
assert hidden == ["Icosphere"], hidden
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath="skin.glb", disable_bone_shape=True)
meshes = {item.name: len(item.data.polygons) for item in bpy.context.scene.objects if item.type == "MESH"}
assert meshes == {"Mesh_0": 1}, meshes
PYTHON
echo "seen: 4.2.23 LTS {'Mesh_0': 1, 'Icosphere': 80} ['Icosphere']"

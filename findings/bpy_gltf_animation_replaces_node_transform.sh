#!/usr/bin/env bash
# Blender 4.2.23 (the wheel bpy), import_scene.gltf: a node that has no scale of its own and an animation whose only keys
# say 100 comes out a hundred times as large, before any frame is set: the first key of an animation takes the place of
# the node's own transform. A glTF viewer that plays nothing shows the node as it stands in the file. Packs of game
# assets carry such animations (a constant scale, a first key that is turned), so the same model has two sizes or
# directions in two programs. What to do: read the pose from the file's nodes, or clear the animation data and set the
# node's transform again.
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "bpy==4.2.23" "numpy==1.26.4" "trimesh==5.2.0"
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
import struct

import bpy
import trimesh

points = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
faces = struct.pack("<3H2x", 0, 1, 2)
times = struct.pack("<2f", 0, 1)
scales = struct.pack("<6f", *(6 * (100,)))
binary = points + faces + times + scales
scene = {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0}],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
    "animations": [
        {"samplers": [{"input": 2, "output": 3}], "channels": [{"sampler": 0, "target": {"node": 0, "path": "scale"}}]}
    ],
    "buffers": [{"byteLength": len(binary)}],
    "bufferViews": [
        {"buffer": 0, "byteOffset": 0, "byteLength": 36},
        {"buffer": 0, "byteOffset": 36, "byteLength": 6},
        {"buffer": 0, "byteOffset": 44, "byteLength": 8},
        {"buffer": 0, "byteOffset": 52, "byteLength": 24},
    ],
    "accessors": [
        {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
        {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
        {"bufferView": 2, "componentType": 5126, "count": 2, "type": "SCALAR", "min": [0], "max": [1]},
        {"bufferView": 3, "componentType": 5126, "count": 2, "type": "VEC3"},
    ],
}
text = json.dumps(scene).encode()
text += b" " * (-len(text) % 4)
with open("scaled.glb", "wb") as file:
    file.write(struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary)))
    file.write(struct.pack("<I4s", len(text), b"JSON") + text)
    file.write(struct.pack("<I4s", len(binary), b"BIN\0") + binary)

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath="scaled.glb")
blender = list(bpy.context.scene.objects[0].matrix_world.to_scale())
other = trimesh.load("scaled.glb", force="mesh").extents.tolist()
print(bpy.app.version_string, "scale in Blender", blender, "size in trimesh", other)
assert bpy.app.version_string.startswith("4.2.23"), bpy.app.version_string
assert blender == [100.0, 100.0, 100.0], blender
assert other == [1.0, 1.0, 0.0], other
PYTHON
echo "seen: 4.2.23 LTS scale in Blender [100.0, 100.0, 100.0] size in trimesh [1.0, 1.0, 0.0]"

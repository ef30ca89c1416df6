#!/usr/bin/env bash
# trimesh 5.2.0 and Open3D 0.20.0 (by Assimp) read parts of glTF 2.0 that need no extension wrongly, each without a word:
#   texture coordinates as normalised 16-bit numbers (3.7.2.1; gltfpack writes such):
#     trimesh gives 65535 where 1 is meant, and turns v over within 16 bits; Open3D takes the bytes for floats.
#   sparse changes of positions (3.6.2.3): trimesh forgets them, and gives zeros where the accessor has nothing else.
#   triangle fans (3.9.3, mode 6): trimesh leaves them out, as if there was no mesh. Open3D reads both of these.
# What to do: write such files with floats, plain accessors and triangles, or make them so before reading.
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "trimesh==5.2.0" "open3d==0.20.0" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import json
import struct
import sys

import numpy as np
import open3d
import trimesh

CORNERS = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0]])
POSITION = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}


def write(name, accessors, arrays, primitive):
    """A GLB file of one primitive; every array has a view of its own."""
    chunk, views = b"", []
    for array in arrays:
        chunk += b"\0" * (-len(chunk) % 4)
        views.append({"buffer": 0, "byteOffset": len(chunk), "byteLength": array.nbytes})
        chunk += array.tobytes()
    chunk += b"\0" * (-len(chunk) % 4)
    tree = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}]}
    tree |= {"meshes": [{"primitives": [primitive]}], "accessors": accessors, "bufferViews": views}
    tree["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}]
    text = json.dumps(tree | {"buffers": [{"byteLength": len(chunk)}]}).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(chunk))
    blocks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(chunk), b"BIN\0") + chunk
    path = f"{sys.argv[1]}/{name}.glb"
    with open(path, "wb") as file:
        file.write(head + blocks)
    return path


def read(path):
    first, second = trimesh.load(path, force="mesh"), open3d.io.read_triangle_mesh(path)
    return first, second


shares = np.uint16([[0, 0], [65535, 0], [65535, 65535]])
coordinates = {"bufferView": 1, "componentType": 5123, "normalized": True, "count": 3, "type": "VEC2"}
attributes = {"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "mode": 4, "material": 0}
first, second = read(write("shares", [POSITION, coordinates], [CORNERS, shares], attributes))
right = [[0, 1], [1, 1], [1, 0]]  # v upwards, as both turn it
print("coordinates, trimesh:", np.asarray(first.visual.uv).astype(int).tolist())
print("coordinates, Open3D right:", np.allclose(np.asarray(second.triangle_uvs), right))

change = {"count": 1, "indices": {"bufferView": 1, "componentType": 5123}, "values": {"bufferView": 2}}
moved = POSITION | {"sparse": change, "max": [5, 1, 0]}
arrays = [CORNERS, np.uint16([1]), np.float32([[5, 0, 0]])]
first, second = read(write("sparse", [moved], arrays, {"attributes": {"POSITION": 0}, "mode": 4}))
print("second corner, trimesh:", first.vertices[1].tolist())
print("second corner, Open3D:", np.asarray(second.vertices)[1].tolist())

square = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
fan = POSITION | {"count": 4}
first, second = read(write("fan", [fan], [square], {"attributes": {"POSITION": 0}, "mode": 6}))
print("faces of a fan, trimesh and Open3D:", len(first.faces), len(second.triangles))
PYTHON
expected='coordinates, trimesh: [[0, 1], [65535, 1], [65535, 2]]
coordinates, Open3D right: False
second corner, trimesh: [1.0, 0.0, 0.0]
second corner, Open3D: [5.0, 0.0, 0.0]
faces of a fan, trimesh and Open3D: 0 2'
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder")
echo "$seen"
[ "$seen" = "$expected" ]

#!/usr/bin/env bash
# trimesh 5.2.0 multiplies the vertical angle of a glTF camera by the aspect ratio to get the horizontal one, and divides one angle by
# the other to write it. glTF 2.0 (3.10.3) means the ratio of the sides of the picture, so it is the tangents of the half angles that
# are in proportion: 2 atan(aspect · tan(yfov / 2)).
#   A camera of 60° and 16:9 has 91.5°; trimesh gives 106.7°, and focal lengths that say its pixels are not square.
#   A panorama of 60° and 3.5:1 has 127.3°; trimesh gives 210°, and a negative focal length: all of it is behind the camera.
#   A camera that trimesh writes, 90° and 58.7°, square pixels, 16:9, has an aspect ratio of 1.53 in the file.
# All without a word. Its own files come back right, as both errors undo each other; those of others do not, nor its own elsewhere.
# What to do: take yfov and aspectRatio from the file's JSON (cameras[].perspective), and write them there. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "trimesh==5.2.0" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import json
import math
import struct
import sys

import numpy as np
import trimesh

CORNERS = np.float32([[0, 0, -2], [1, 0, -2], [1, 1, -2]])


def camera(aspect):
    """What trimesh reads of a GLB file with a triangle and a camera of 60 degrees upright and that aspect ratio."""
    perspective = {"yfov": math.radians(60), "aspectRatio": aspect, "znear": 0.1}
    tree = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0, 1]}], "nodes": [{"mesh": 0}, {"camera": 0}]}
    tree |= {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "buffers": [{"byteLength": CORNERS.nbytes}]}
    tree |= {"bufferViews": [{"buffer": 0, "byteLength": CORNERS.nbytes}], "cameras": [{"type": "perspective"}]}
    tree["cameras"][0]["perspective"] = perspective
    limits = {"min": CORNERS.min(0).tolist(), "max": CORNERS.max(0).tolist()}
    tree["accessors"] = [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", **limits}]
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + CORNERS.nbytes)
    blocks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", CORNERS.nbytes, b"BIN\0")
    path = f"{sys.argv[1]}/camera.glb"
    with open(path, "wb") as file:
        file.write(head + blocks + CORNERS.tobytes())
    return trimesh.load_scene(path).camera


for aspect in (16 / 9, 3.5):
    found = camera(aspect)
    found.resolution = (round(900 * aspect), 900)
    right = math.degrees(2 * math.atan(aspect * math.tan(math.radians(30))))
    print(f"aspect {aspect:.3f}: {found.fov[0]:.1f} degrees, should be {right:.1f};", found.focal.round(1).tolist())

upright = math.degrees(2 * math.atan(9 / 16))
scene = trimesh.Scene([trimesh.creation.box()])
scene.camera = trimesh.scene.Camera(resolution=(1600, 900), fov=(90, upright))
written = scene.export(file_type="glb")
tree = json.loads(written[20 : 20 + struct.unpack("<I", written[12:16])[0]])
print("written aspect:", round(tree["cameras"][0]["perspective"]["aspectRatio"], 3), "should be", round(16 / 9, 3))
PYTHON
expected='aspect 1.778: 106.7 degrees, should be 91.5; [595.6, 779.4]
aspect 3.500: 210.0 degrees, should be 127.3; [-422.0, 779.4]
written aspect: 1.533 should be 1.778'
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder")
echo "$seen"
[ "$seen" = "$expected" ]

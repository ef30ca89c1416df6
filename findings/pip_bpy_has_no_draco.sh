#!/usr/bin/env bash
# Blender as a Python module, wheels bpy 4.2.23 and 5.2.3 for Linux, comes without the library that its glTF add-on
# compresses with. An export with export_draco_mesh_compression_enable=True says FINISHED and writes a file that is not
# compressed, without the extension; the reason is one ERROR line in the log. An import of a file with
# KHR_draco_mesh_compression ends in a RuntimeError whose last words are an OSError (the 4.2.23 wheel looks in a folder 4.2 beside
# the working directory). Downloaded Blenders have the library. What to do: decode such files before, by DracoPy
# or another tool, and look at extensionsUsed of what was written. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/draco.py" <<'PYTHON'
import json
import os
import struct
import sys
from pathlib import Path

import bpy
import DracoPy
import numpy as np

folder = Path(sys.argv[1])


def glb(document, binary):
    """A GLB file of a JSON document and its buffer."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts


packed = DracoPy.encode(np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.uint32([[0, 1, 2]]))
buffer = packed + bytes(-len(packed) % 4)
name = "KHR_draco_mesh_compression"
shape = {
    "attributes": {"POSITION": 0},
    "indices": 1,
    "extensions": {name: {"bufferView": 0, "attributes": {"POSITION": 0}}},
}
document = {
    "asset": {"version": "2.0"},
    "extensionsUsed": [name],
    "extensionsRequired": [name],
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0}],
    "meshes": [{"primitives": [shape]}],
    "accessors": [
        {"componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
        {"componentType": 5125, "count": 3, "type": "SCALAR"},
    ],
    "bufferViews": [{"buffer": 0, "byteLength": len(packed)}],
    "buffers": [{"byteLength": len(buffer)}],
}
(folder / "draco.glb").write_bytes(glb(document, buffer))

bpy.ops.wm.read_factory_settings(use_empty=True)
try:
    print("seen: import:", bpy.ops.import_scene.gltf(filepath=str(folder / "draco.glb")))
except RuntimeError as error:
    print("\nseen: import:", [line.split(":")[0] for line in str(error).splitlines() if "Error: " in line][-1])

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_uv_sphere_add()
for compress in (False, True):
    path = folder / f"{compress}.glb"
    said = bpy.ops.export_scene.gltf(filepath=str(path), export_draco_mesh_compression_enable=compress)
    content = path.read_bytes()
    (length,) = struct.unpack("<I", content[12:16])
    used = json.loads(content[20 : 20 + length]).get("extensionsUsed", [])
    print(f"seen: export, compressed {compress}: {said}, {len(content)} bytes, {used}", flush=True)
os._exit(0)  # bpy may crash while Python ends, after all is done
PYTHON
check() {
  "$1" -m venv "$folder/$2"
  "$folder/$2/bin/pip" install -q "bpy==$2" "$3" "DracoPy==$5"
  mkdir "$folder/out-$2"
  seen=$("$folder/$2/bin/python" "$folder/draco.py" "$folder/out-$2" 2>/dev/null | grep "^seen")
  echo "bpy $2"
  echo "$seen"
  [ "$seen" = "seen: import: OSError
seen: export, compressed False: {'FINISHED'}, $4 bytes, []
seen: export, compressed True: {'FINISHED'}, $4 bytes, []" ]
}
check python3.11 4.2.23 "numpy==1.26.4" 70216 2.2.0
check "${PYTHON313:-python3.13}" 5.2.3 "numpy==2.3.5" 70216 2.2.0

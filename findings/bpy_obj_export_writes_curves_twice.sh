#!/usr/bin/env bash
# Blender 4.2.23 and 5.2.3 (bpy) write a curve with a bevel into an OBJ file twice, as two objects of one name whose faces
# lie on each other: renderers show them speckled, and areas and counts are double. STL and PLY have it once.
# What to do: make the curve a mesh before (Object > Convert), or drop doubled faces after reading.
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/seen.py" <<'PYTHON'
import sys

import bpy

path = f"{sys.argv[1]}/curve"
bpy.ops.wm.read_factory_settings(use_empty=True)
curve = bpy.data.curves.new("curve", "CURVE")
curve.dimensions, curve.bevel_depth, curve.bevel_resolution = "3D", 0.1, 0
spline = curve.splines.new("POLY")
spline.points.add(1)
spline.points[1].co = (1, 0, 0, 1)
bpy.context.scene.collection.objects.link(bpy.data.objects.new("curve", curve))
bpy.ops.wm.obj_export(filepath=f"{path}.obj")
bpy.ops.wm.ply_export(filepath=f"{path}.ply", ascii_format=True)
with open(f"{path}.obj") as file:
    lines = file.read().splitlines()
with open(f"{path}.ply") as file:
    [count] = [line.split()[2] for line in file if line.startswith("element face")]
faces, objects = (sum(line.startswith(word) for line in lines) for word in ("f ", "o "))
print(f"seen: {faces} faces of {objects} objects in OBJ, {count} faces in PLY")
PYTHON
expected='seen: 8 faces of 2 objects in OBJ, 4 faces in PLY'
check() {
  "$1" -m venv "$folder/$2"
  "$folder/$2/bin/pip" install -q "bpy==$2" "$3"
  seen=$("$folder/$2/bin/python" "$folder/seen.py" "$folder" | grep "^seen")
  echo "bpy $2"
  echo "$seen"
  [ "$seen" = "$expected" ]
}
check python3.11 4.2.23 "numpy==1.26.4"
check "${PYTHON313:-python3.13}" 5.2.3 "numpy==2.3.5"

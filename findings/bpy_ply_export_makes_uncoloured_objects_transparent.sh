#!/usr/bin/env bash
# Blender 4.2.23 and 5.2.3 write a scene to PLY as one mesh. Where one of its objects has vertex colours, the vertices of
# all others are written with red, green, blue and alpha 0, black and wholly transparent, whatever their material: readers
# that mind alpha show the coloured objects alone, others show the rest in black. Nothing is said.
# What to do: give every object a colour attribute, export with export_colors="NONE", or write GLB. Readers may take
# vertices of four zeros beside others for such without a colour.
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/seen.py" <<'PYTHON'
import sys

import bpy

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_plane_add()
bpy.ops.mesh.primitive_plane_add(location=(3, 0, 0))
colors = bpy.context.object.data.color_attributes.new("Color", "BYTE_COLOR", "CORNER")
for corner in colors.data:
    corner.color = (0, 0, 0, 1)
bpy.ops.wm.ply_export(filepath=f"{sys.argv[1]}/two.ply", ascii_format=True)
with open(f"{sys.argv[1]}/two.ply") as file:
    rows = file.read().partition("end_header\n")[2].splitlines()[:8]
found = [[float(word) for word in row.split()] for row in rows]
print("plane without colours:", sorted({tuple(map(int, row[3:7])) for row in found if row[0] < 2}))
print("plane in black:", sorted({tuple(map(int, row[3:7])) for row in found if row[0] >= 2}))
PYTHON
expected='plane without colours: [(0, 0, 0, 0)]
plane in black: [(0, 0, 0, 255)]'
check() {
  "$1" -m venv "$folder/$2"
  "$folder/$2/bin/pip" install -q "bpy==$2" "$3"
  seen=$("$folder/$2/bin/python" "$folder/seen.py" "$folder" | grep "^plane")
  echo "bpy $2"
  echo "$seen"
  [ "$seen" = "$expected" ]
}
check python3.11 4.2.23 "numpy==1.26.4"
check "${PYTHON313:-python3.13}" 5.2.3 "numpy==2.3.5"

#!/usr/bin/env bash
# Blender's glTF importer (bpy 4.2.23 and 5.2.3) makes colours of 8 bits in sRGB, one a corner of a face, of vertex colours
# that a GLB file has as linear floats, one a vertex: of 1,000 values from 0 to 1 only 237 stay apart, 0.5 becomes 0.5029. The
# exporter of the same Blender writes the floats, so that a mesh that goes through a file comes back with less. An
# attribute whose name begins with "_" comes back as the floats that it was (export_attributes=True). What to do:
# keep numbers that are measured, not looked at, in such attributes. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/through.py" <<'PYTHON'
import os
import sys

import bpy

path, count = sys.argv[1], 1000
values = [number / (count - 1) for number in range(count)]
bpy.ops.wm.read_factory_settings(use_empty=True)
mesh = bpy.data.meshes.new("strip")
mesh.from_pydata([(number // 2, number % 2, 0) for number in range(count)], [], [(n, n + 1, n + 2) for n in range(count - 2)])
colours = mesh.color_attributes.new("Color", "FLOAT_COLOR", "POINT")
for value, colour in zip(values, colours.data):
    colour.color = (value, value, value, 1)
numbers = mesh.attributes.new("_VALUE", "FLOAT", "POINT")
for value, number in zip(values, numbers.data):
    number.value = value
material = bpy.data.materials.new("shown")
material.use_nodes = True
node = material.node_tree.nodes.new("ShaderNodeVertexColor")
node.layer_name = "Color"
surface = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
material.node_tree.links.new(node.outputs["Color"], surface.inputs["Base Color"])
mesh.materials.append(material)
bpy.context.collection.objects.link(bpy.data.objects.new("strip", mesh))
bpy.ops.export_scene.gltf(filepath=path, export_attributes=True)

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=path)
(mesh,) = bpy.data.meshes
(colours,) = mesh.color_attributes
kept = {round(corner.color[0], 6) for corner in colours.data}
half = min((corner.color[0] for corner in colours.data), key=lambda value: abs(value - 0.5))
numbers = {round(point.value, 6) for point in mesh.attributes["_VALUE"].data}
print("seen", colours.data_type, colours.domain, len(kept), round(half, 4), "beside", len(numbers), flush=True)
os._exit(0)  # the module may crash while Python ends, after all is done
PYTHON
expected="seen BYTE_COLOR CORNER 237 0.5029 beside 1000"
check() {
  "$1" -m venv "$folder/$2"
  "$folder/$2/bin/pip" install -q "bpy==$2" "$3"
  seen=$("$folder/$2/bin/python" "$folder/through.py" "$folder/strip.glb" | grep "^seen")
  echo "bpy $2: $seen"
  [ "$seen" = "$expected" ]
}
check python3.11 4.2.23 "numpy==1.26.4"
check "${PYTHON313:-python3.13}" 5.2.3 "numpy==2.3.5"

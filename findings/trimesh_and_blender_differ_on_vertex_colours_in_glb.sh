#!/usr/bin/env bash
# trimesh 5.2.0 and Blender (bpy 4.2.23) mean different light by the vertex colours of a GLB file. glTF 2.0 (3.9.2, 3.7.2.1)
# wants COLOR_0 linear, and Blender writes and reads it so. trimesh writes the bytes of its colours, which are sRGB
# for everybody who looks at them, as they are: a middle grey of 128 is 188 in Blender. Blender's 128 comes out as 55 of 255
# in trimesh, which leaves linear numbers linear (beside a material they are floats in vertex_attributes, and lost
# with force="mesh"). There and back through trimesh alone nothing shows. What to do: give trimesh linear floats as
# an attribute to write, and turn what it has read to sRGB; textures are right.
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "bpy==4.2.23" "numpy==1.26.4" "trimesh==5.2.0"
cat >"$folder/grey.py" <<'PYTHON'
import os
import sys

import bpy
import numpy as np
import trimesh

folder = sys.argv[1]
corners, faces = np.float64([[0, 0, 0], [1, 0, 0], [0, 1, 0]]), [[0, 1, 2]]
trimesh.Trimesh(corners, faces, vertex_colors=[[128] * 3 + [255]] * 3).export(f"{folder}/trimesh.glb")
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=f"{folder}/trimesh.glb")
seen = [attribute for mesh in bpy.data.meshes for attribute in mesh.color_attributes]
print("grey 128 of trimesh in Blender:", round(255 * seen[0].data[0].color_srgb[0]))
print("grey 128 of trimesh in trimesh:", int(trimesh.load(f"{folder}/trimesh.glb", force="mesh").visual.vertex_colors[0, 0]))

bpy.ops.wm.read_factory_settings(use_empty=True)
mesh = bpy.data.meshes.new("triangle")
mesh.from_pydata(corners.tolist(), [], faces)
colour = mesh.color_attributes.new("Color", "FLOAT_COLOR", "POINT")
for corner in colour.data:
    corner.color_srgb = [128 / 255] * 3 + [1]
material = bpy.data.materials.new("shown")
material.use_nodes = True
node = material.node_tree.nodes.new("ShaderNodeVertexColor")
node.layer_name = "Color"
surface = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
material.node_tree.links.new(node.outputs["Color"], surface.inputs["Base Color"])
mesh.materials.append(material)
bpy.context.collection.objects.link(bpy.data.objects.new("triangle", mesh))
bpy.ops.export_scene.gltf(filepath=f"{folder}/blender.glb")
(read,) = trimesh.load_scene(f"{folder}/blender.glb", process=False).geometry.values()
found = read.visual.vertex_attributes["color"]  # beside a material
print("grey 128 of Blender in trimesh, of 255:", round(255 * float(found[0][0])), flush=True)
os._exit(0)  # bpy beside trimesh may crash while Python ends, after all is done
PYTHON
expected='grey 128 of trimesh in Blender: 188
grey 128 of trimesh in trimesh: 128
grey 128 of Blender in trimesh, of 255: 55'
seen=$("$folder/venv/bin/python" "$folder/grey.py" "$folder" | grep "^grey")
echo "$seen"
[ "$seen" = "$expected" ]

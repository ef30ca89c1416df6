#!/usr/bin/env bash
# Blender 4.2.23 and 5.2.3 (bpy): an OBJ export leaves out every texture that is packed, also with path_mode="COPY": no
# map_Kd in the MTL file, no picture beside it, no warning, and the operator says FINISHED. Textures of an imported GLB
# file are packed, so that GLB to OBJ by Blender loses all of them; the same picture as a file of its own is copied.
# What to do: bpy.ops.file.unpack_all(method="WRITE_LOCAL") before (shown below). Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/export.py" <<'PYTHON'
import os
import sys
from pathlib import Path

import bpy

folder = Path(sys.argv[1])


def with_cube():
    """A new file with a cube whose colour is a texture of 8² texels."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add()
    picture = bpy.data.images.new("grey", 8, 8)
    picture.pixels = [0.5] * 256
    material = bpy.data.materials.new("textured")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    texture = nodes.new("ShaderNodeTexImage")
    texture.image = picture
    principled = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    links.new(texture.outputs["Color"], principled.inputs["Base Color"])
    bpy.context.object.data.materials.append(material)
    return picture


def exported(name):
    """The operator's word, and what lies in the folder then."""
    out = folder / name
    out.mkdir()
    said = bpy.ops.wm.obj_export(filepath=str(out / "cube.obj"), path_mode="COPY")
    maps = [line.strip() for line in (out / "cube.mtl").read_text().splitlines() if line.startswith("map")]
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    print(f"seen: {name}: {said}, {files}, {maps}", flush=True)


with_cube().pack()
bpy.ops.export_scene.gltf(filepath=str(folder / "cube.glb"))
exported("packed")
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=str(folder / "cube.glb"))
exported("from GLB")
bpy.ops.wm.save_as_mainfile(filepath=str(folder / "cube.blend"))
bpy.ops.file.unpack_all(method="WRITE_LOCAL")
exported("from GLB, unpacked")
picture = with_cube()
picture.filepath_raw, picture.file_format = str(folder / "grey.png"), "PNG"
picture.save()
exported("a file of its own")
os._exit(0)  # bpy may crash while Python ends, after all is done
PYTHON
expected="seen: packed: {'FINISHED'}, ['cube.mtl', 'cube.obj'], []
seen: from GLB: {'FINISHED'}, ['cube.mtl', 'cube.obj'], []
seen: from GLB, unpacked: {'FINISHED'}, ['cube.mtl', 'cube.obj', 'grey.png'], ['map_Kd grey.png']
seen: a file of its own: {'FINISHED'}, ['cube.mtl', 'cube.obj', 'grey.png'], ['map_Kd grey.png']"
check() {
  "$1" -m venv "$folder/$2"
  "$folder/$2/bin/pip" install -q "bpy==$2" "$3"
  mkdir "$folder/out-$2"
  seen=$("$folder/$2/bin/python" "$folder/export.py" "$folder/out-$2" | grep "^seen")
  echo "bpy $2"
  echo "$seen"
  [ "$seen" = "$expected" ]
}
check python3.11 4.2.23 "numpy==1.26.4"
check "${PYTHON313:-python3.13}" 5.2.3 "numpy==2.3.5"

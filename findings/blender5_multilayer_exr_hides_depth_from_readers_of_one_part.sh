#!/usr/bin/env bash
# Blender 5.0.1 and 4.5.15 (the wheels bpy), and OpenEXR 3.5.3 from Python: a rendering saved as OPEN_EXR_MULTILAYER with
# the passes depth and normal has all channels in one part when 4.5.15 writes it, and a part of its own for every pass
# when 5.0.1 does. Readers of the first part alone, as OpenEXR.InputFile is (the module's older interface, which most
# scripts for Blender's passes use), list ViewLayer.Depth.Z for the one file and nothing but ViewLayer.Combined for the
# other: no error, the depth is just not there. What to do: read all parts, OpenEXR.File(path).parts (also shown below).
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/draw.py" <<'PYTHON'
import os
import sys

import bpy

bpy.ops.wm.read_factory_settings(use_empty=True)
scene, layer = bpy.context.scene, bpy.context.view_layer
bpy.ops.object.camera_add(location=(0, 0, 4))
scene.camera = bpy.context.object
bpy.ops.mesh.primitive_plane_add(size=2)
scene.render.engine, scene.cycles.samples = "CYCLES", 1
scene.render.resolution_x = scene.render.resolution_y = 8
layer.use_pass_z = layer.use_pass_normal = True
picture = scene.render.image_settings
if bpy.app.version >= (5, 0):
    picture.media_type = "MULTI_LAYER_IMAGE"
picture.file_format = "OPEN_EXR_MULTILAYER"
scene.render.filepath = sys.argv[1]
bpy.ops.render.render(write_still=True)
os._exit(0)
PYTHON
cat >"$folder/read.py" <<'PYTHON'
import sys

import OpenEXR

for version, several in (("4.5.15", False), ("5.0.1", True)):
    path = f"{sys.argv[1]}/{version}.exr"
    first = set(OpenEXR.InputFile(path).header()["channels"])
    parts = [set(part.channels) for part in OpenEXR.File(path, separate_channels=True).parts]
    print(version, "parts", len(parts), "InputFile sees depth:", "ViewLayer.Depth.Z" in first)
    assert ("ViewLayer.Depth.Z" in first) is not several, (version, sorted(first))
    assert (len(parts) > 1) is several, (version, parts)
    assert sum("ViewLayer.Depth.Z" in part for part in parts) == 1, (version, parts)
    assert not several or first == {f"ViewLayer.Combined.{channel}" for channel in "RGBA"}, sorted(first)
PYTHON
for version in 4.5.15 5.0.1; do
    python3.11 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "bpy==$version" "numpy==1.26.4"
    "$folder/$version/bin/python" "$folder/draw.py" "$folder/$version.exr" >"$folder/log" 2>&1 ||
        { cat "$folder/log" && exit 1; }
    rm -rf "${folder:?}/$version"
done
python3.11 -m venv "$folder/reader"
"$folder/reader/bin/pip" install -q "OpenEXR==3.5.3" "numpy==1.26.4"
"$folder/reader/bin/python" "$folder/read.py" "$folder"
echo "seen: the depth of the file of 5.0.1 lies in a part of its own, which OpenEXR.InputFile does not look at"

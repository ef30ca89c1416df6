#!/usr/bin/env bash
# Blender 5.0.1 (the wheel bpy), File Output node of the compositor: a still rendering, bpy.ops.render.render(), writes
# "depth_.exr" where Blender 4.5.15 writes "depth_0007.exr", the number of the frame. No error, no warning: a script that
# reads the numbered name finds nothing, or an older file of the same name, and one that renders frame after frame as
# stills overwrites its own files. Renderings of animations are numbered in both. What to do: put the marks into the
# name, "depth_####", which both replace by the number for stills and animations alike (also shown below).
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/still.py" <<'PYTHON'
import os
import sys
import tempfile

import bpy


def written(name, **how):
    """The files that a rendering of frame 7 leaves, where a File Output node is to write `name`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.frame_start = scene.frame_end = 7
    scene.frame_set(7)
    bpy.ops.object.camera_add()
    scene.camera = bpy.context.object
    folder = tempfile.mkdtemp()
    scene.render.filepath = os.path.join(tempfile.mkdtemp(), "picture")
    if bpy.app.version < (5, 0):
        scene.use_nodes = True
        tree = scene.node_tree
        node = tree.nodes.new("CompositorNodeOutputFile")
        node.base_path = folder
        node.file_slots.clear()
        node.file_slots.new(name)
        node.format.file_format = "OPEN_EXR"
    else:
        tree = scene.compositing_node_group = bpy.data.node_groups.new("compositor", "CompositorNodeTree")
        node = tree.nodes.new("CompositorNodeOutputFile")
        node.directory, node.file_name = folder, ""
        node.format.media_type = "IMAGE"
        node.format.file_format = "OPEN_EXR"
        node.file_output_items.new("RGBA", name)
    layers = tree.nodes.new("CompositorNodeRLayers")
    tree.links.new(layers.outputs["Image"], node.inputs[name])
    bpy.ops.render.render(**how)
    return os.listdir(folder)


found = [written("depth_"), written("depth_", animation=True), written("depth_####"), written("depth_####", animation=True)]
sys.stderr.write(f"{bpy.app.version_string} {found}\n")
number = ["depth_0007.exr"]
wanted = [number, number, number, number] if bpy.app.version < (5, 0) else [["depth_.exr"], number, number, number]
assert found == wanted, (bpy.app.version_string, found)
os._exit(0)
PYTHON
for version in 4.5.15 5.0.1; do
    python3.11 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "bpy==$version" "numpy==1.26.4"
    "$folder/$version/bin/python" "$folder/still.py" 2>&1 >"$folder/log" | grep "^$version" ||
        { cat "$folder/log" && exit 1; }
done
echo "seen: stills of 5.0.1 are written as depth_.exr, those of 4.5.15 as depth_0007.exr; depth_#### is numbered in both"

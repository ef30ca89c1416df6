#!/usr/bin/env bash
# BlenderProc 2.8.0 with Blender as a Python module, the wheels bpy 4.5.15 and 5.0.1: its first call, Initializer.init(),
# ends in both, because the wheels know no language but DEFAULT, and it sets "en_US". What it does next, its default
# settings, works with 4.5.15 and ends with 5.0.1: they switch the compositor's denoiser, whose nodes are taken from
# Scene.node_tree; Blender 5.0 has no such property (Scene.compositing_node_group is in its place). What to do: call
# the default settings alone, and with Blender 5 replace RendererUtility.set_denoiser by two lines that set Cycles' own
# use_denoising; cameras, lights and materials need no compositor, and a cube is drawn (also shown below).
# Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/draw.py" <<'PYTHON'
import os
import sys

os.environ["OUTSIDE_OF_THE_INTERNAL_BLENDER_PYTHON_ENVIRONMENT_BUT_IN_RUN_SCRIPT"] = "1"
import bpy
from blenderproc.python.renderer import RendererUtility
from blenderproc.python.utility import Initializer


def cycles_alone(denoiser=None):
    bpy.context.scene.cycles.use_denoising = False
    bpy.context.view_layer.cycles.use_denoising = False


def attempt(what, call):
    try:
        call()
        ending = "done"
    except (AttributeError, TypeError) as error:
        ending = str(error)
    print(f"SEEN Blender {bpy.app.version_string.split()[0]}, {what}: {ending}")


attempt("init", Initializer.init)
attempt("default settings", Initializer._Initializer.set_default_parameters)
RendererUtility.set_denoiser = cycles_alone
attempt("default settings without the compositor", Initializer._Initializer.set_default_parameters)
scene = bpy.context.scene
bpy.ops.mesh.primitive_cube_add()
scene.camera.location = (0, 0, 6)
scene.render.engine, scene.cycles.samples = "CYCLES", 1
scene.render.resolution_x = scene.render.resolution_y = 8
scene.render.filepath = sys.argv[1]
attempt("picture", lambda: bpy.ops.render.render(write_still=True))
assert os.path.isfile(sys.argv[1])
PYTHON
seen=$(for version in 4.5.15 5.0.1; do
  python3.11 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install -q "bpy==$version" "blenderproc==2.8.0" "numpy==1.26.4" "scipy==1.17.1" \
    "rich==15.0.0" "GitPython==3.2.1" "requests==2.34.2" "h5py==3.16.0" "imageio==2.38.1" "trimesh==5.2.0" \
    "opencv-python-headless==4.11.0.86" >&2
  "$folder/$version/bin/python" "$folder/draw.py" "$folder/$version.png" | grep -o "SEEN.*" | cut -c6-
done)
language="bpy_struct: item.attr = val: enum \"en_US\" not found in ('DEFAULT')"
expected="Blender 4.5.15, init: $language
Blender 4.5.15, default settings: done
Blender 4.5.15, default settings without the compositor: done
Blender 4.5.15, picture: done
Blender 5.0.1, init: $language
Blender 5.0.1, default settings: 'Scene' object has no attribute 'node_tree'
Blender 5.0.1, default settings without the compositor: done
Blender 5.0.1, picture: done"
echo "$seen"
[ "$seen" = "$expected" ]

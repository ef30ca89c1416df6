#!/usr/bin/env bash
# Between map_Kd and the name of the picture an MTL file may have options, of place, size and edges (-o, -s, -clamp). trimesh 5.2.0
# takes all of the line for the name, finds no such file, and goes on without the picture: no error, no warning, a grey object, though
# the options change nothing here. So it does with quotes, with the backslashes of Windows on Linux, and with all but the first of
# several mtllib lines.
# What to do: compare what the MTL file names with what was loaded, or rewrite the lines. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "trimesh==5.2.0" "pillow==13.0.0" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import os
import sys

import trimesh
from PIL import Image

os.chdir(sys.argv[1])
os.mkdir("pictures")
for name in ("wood.png", "pictures/wood.png"):
    Image.new("RGB", (4, 4), (200, 50, 0)).save(name)
BODY = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl wood\nf 1/1 2/2 3/3\n"


def shown(statement, libraries=("a.mtl",)):
    with open("a.mtl", "w") as file:
        file.write(f"newmtl wood\nKd 1 1 1\n{statement}\n")
    with open("a.obj", "w") as file:
        file.write("".join(f"mtllib {name}\n" for name in libraries) + BODY)
    image = getattr(trimesh.load("a.obj", force="mesh", process=False).visual.material, "image", None)
    return "grey" if image is None or image.getpixel((0, 0))[:3] != (200, 50, 0) else "its picture"


for statement in (
    "map_Kd wood.png",
    "map_Kd -s 1 1 1 wood.png",
    "map_Kd -clamp on wood.png",
    'map_Kd "wood.png"',
    "map_Kd pictures/wood.png",
    "map_Kd pictures\\wood.png",
):
    print(f"{statement}: {shown(statement)}")
with open("other.mtl", "w") as file:
    file.write("newmtl other\nKd 0 1 0\n")
print("second library:", shown("map_Kd wood.png", ("other.mtl", "a.mtl")))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder" 2>&1)
echo "$seen"
[ "$seen" = 'map_Kd wood.png: its picture
map_Kd -s 1 1 1 wood.png: grey
map_Kd -clamp on wood.png: grey
map_Kd "wood.png": grey
map_Kd pictures/wood.png: its picture
map_Kd pictures\wood.png: grey
second library: grey' ]

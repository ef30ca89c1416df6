#!/usr/bin/env bash
# Pillow 13.0.0 reads two kinds of TIFF that TIFF 6.0 allows and cameras, scanners and microscopes write, without a word, wrongly at
# 16 bits and rightly at 8:
#   channels in planes of their own (PlanarConfiguration 2), smaller byte first: it takes the lower byte of every number,
#     which is noise; with the larger byte first it takes the upper one, as it does where channels lie side by side.
#   grey in which 0 is white (PhotometricInterpretation 0): it gives the negative. Of 8 bits it gives light.
# What to do: look at the tags 284, 258 and 262 (image.tag_v2) before pixels, turn the second about by 65535 - x, and read the
# first with tifffile. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "pillow==13.0.0" "tifffile==2026.3.3" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import sys

import numpy as np
import tifffile
from PIL import Image

path = f"{sys.argv[1]}/picture.tif"
for bits in (8, 16):
    kind, scale = (np.uint8, 1) if bits == 8 else (np.uint16, 256)
    red = np.zeros((3, 2, 2), kind)
    red[0] = 200 * scale  # red of 200/255, no green, no blue
    for order in "<>":
        tifffile.imwrite(path, red, photometric="rgb", planarconfig="separate", byteorder=order)
        print(f"{bits} bits in planes, {order}:", np.asarray(Image.open(path))[0, 0].tolist())
    white = np.zeros((2, 2), kind)
    tifffile.imwrite(path, white, photometric="miniswhite", byteorder="<")
    seen = Image.open(path)
    print(f"{bits} bits, 0 is white: {np.asarray(seen)[0, 0]} ({seen.mode})")
PYTHON
expected='8 bits in planes, <: [200, 0, 0]
8 bits in planes, >: [200, 0, 0]
8 bits, 0 is white: 255 (L)
16 bits in planes, <: [0, 0, 0]
16 bits in planes, >: [200, 0, 0]
16 bits, 0 is white: 0 (I;16)'
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder")
echo "$seen"
[ "$seen" = "$expected" ]

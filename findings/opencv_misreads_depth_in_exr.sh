#!/usr/bin/env bash
# opencv-python-headless 4.14.0.94 (and 4.12.0.88, 4.13.0.92) reads a depth map in OpenEXR, without a word, as
#   zeros, where its one channel is called Z, the name that OpenEXR itself reserves for depth: the right shape, float32, all 0;
#   1.09 times as deep, where depth stands in R, G and B alike and the file is asked for as one channel (IMREAD_ANYDEPTH): red
#   counts 0.64, green 0.30, blue 0.15. These are the x coordinates of the three primaries of Rec. 709, not their shares of luminance,
#   which add up to 1.
# Read with IMREAD_UNCHANGED, and in a channel called Y, depths are right. Channels of any other name (V, depth.V) give None, and so
# does all of OpenEXR with opencv-python-headless 5.0.0.93, which is built without it: its cv2.getBuildInformation() says NO.
# What to do: read depth with OpenEXR's own module by the channel's name; with OpenCV take the first of three channels of
# IMREAD_UNCHANGED, and look whether all is 0. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "opencv-python-headless==4.14.0.94" "OpenEXR==3.5.3" "numpy==2.4.6"
cat >"$folder/write.py" <<'PYTHON'
import sys

import numpy as np
import OpenEXR

DEPTH = np.full((4, 6), 2, np.float32)  # everything lies two units away
HEAD = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
for name in ("Z", "Y", "R", "G", "B", "V"):
    OpenEXR.File(HEAD, {name: DEPTH.copy()}).write(f"{sys.argv[1]}/{name}.exr")
OpenEXR.File(HEAD, {"RGB": np.dstack([DEPTH] * 3)}).write(f"{sys.argv[1]}/RGB.exr")
for name in ("Z", "RGB"):  # an independent reader sees what was written
    assert (OpenEXR.File(f"{sys.argv[1]}/{name}.exr").channels()[name].pixels == 2).all()
PYTHON
cat >"$folder/seen.py" <<'PYTHON'
import os
import sys

os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
import cv2


def read(name, flag):
    found = cv2.imread(f"{sys.argv[1]}/{name}.exr", flag)
    return None if found is None else f"{found[0, 0].max():.2f}"


print("OpenCV", cv2.__version__)
for name in ("Z", "Y", "RGB", "R", "G", "B", "V"):
    print(f"2 in {name}: {read(name, cv2.IMREAD_ANYDEPTH)}, unchanged {read(name, cv2.IMREAD_UNCHANGED)}")
PYTHON
"$folder/venv/bin/python" "$folder/write.py" "$folder"
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder" 2>/dev/null)
"$folder/venv/bin/pip" install -q "opencv-python-headless==5.0.0.93"
seen="$seen
$("$folder/venv/bin/python" "$folder/seen.py" "$folder" 2>/dev/null | head -3)"
echo "$seen"
[ "$seen" = "OpenCV 4.14.0
2 in Z: 0.00, unchanged 0.00
2 in Y: 2.00, unchanged 2.00
2 in RGB: 2.18, unchanged 2.00
2 in R: 1.28, unchanged 2.00
2 in G: 0.60, unchanged 2.00
2 in B: 0.30, unchanged 2.00
2 in V: None, unchanged None
OpenCV 5.0.0
2 in Z: None, unchanged None
2 in Y: None, unchanged None" ]

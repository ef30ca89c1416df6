#!/usr/bin/env bash
# webdataset 1.0.2 (PyPI) with Pillow 13.0.0: `.decode("l")`, "l8", "rgb", "rgb8", "pil" and "pill" leave 17 of the
# 4096 depths of a 16-bit grey PNG: whatever is above 255 becomes white. No error, no warning. The decoder calls
# `img.convert("L")` (or "RGB") whatever the picture's mode is, and Pillow cuts a 16-bit grey picture at 255 then.
# A sample "000.depth.png" with depth in millimetres, as BOP, nerfstudio and most RGB-D data have it, therefore arrives
# as its own mask. What to do: give such files an ending that is no picture's to the library ("000.depth.png16": it
# arrives as bytes, also shown below), or put a decoder of your own before the library's. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q webdataset==1.0.2 pillow==13.0.0 numpy==2.2.6
cat >"$folder/see.py" <<'PYTHON'
import io
import sys
import tarfile

import numpy as np
import webdataset
from PIL import Image

depth = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)  # 4096 different depths
stream = io.BytesIO()
Image.fromarray(depth).save(stream, "PNG")
assert (np.asarray(Image.open(stream)) == depth).all()  # Pillow itself reads all of them
path = f"{sys.argv[1]}/shard.tar"
with tarfile.open(path, "w") as tar:
    for ending in ("depth.png", "depth.png16"):
        entry = tarfile.TarInfo(f"000.{ending}")
        entry.size = len(stream.getvalue())
        tar.addfile(entry, io.BytesIO(stream.getvalue()))
for spec in ("l", "l8", "rgb", "rgb8", "pil", "pill"):
    sample = next(iter(webdataset.WebDataset(path, shardshuffle=False).decode(spec)))
    got = np.asarray(sample["depth.png"])
    left, white = len(np.unique(got)), float((got == got.max()).mean())
    print(f"{spec}: {got.dtype}, {left} of 4096 values left, {white:.3f} of the pixels are the largest")
    assert left <= 17, "more depths than that survive now"
    assert white > 0.99
    assert sample["depth.png16"] == stream.getvalue()
PYTHON
"$folder/venv/bin/python" "$folder/see.py" "$folder"
echo "seen: a 16-bit depth map decodes to white, without a word; under the ending .png16 it arrives whole"

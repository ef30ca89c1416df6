#!/usr/bin/env bash
# infinigen 1.15.5 with Blender 4.2 (the wheel bpy): importing its factories switches Blender's online access on and asks
# extensions.blender.org for its list of add-ons, although its `require_blender_addon(addon, fail="warn",
# allow_online=False)` is called with online installs forbidden: with "warn" it logs "online install is disabled" and
# goes on to `bpy.ops.extensions.userpref_allow_online()` all the same. The preference use_online_access = False, set
# before the import, is True after it. Without a network the import goes on with errors in the log; with one it installs
# add-ons. What to do: take the operators away before the import, addon_utils.disable("bl_pkg"); then the call raises
# AttributeError, which infinigen catches, and the access stays off (also shown below).
# Downloads 0.4 GB. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
# infinigen without its wishes (numpy < 2, scikit-image < 0.20, bpy == 4.2.0, ...): it runs with newer versions of all
"$folder/venv/bin/pip" install -q "bpy==4.2.23" "numpy==2.2.6" gin-config imageio matplotlib networkx opencv-python-headless \
    OpenEXR psutil scikit-image scikit-learn shapely tqdm trimesh
"$folder/venv/bin/pip" install -q --no-deps "infinigen==1.15.5"
cat >"$folder/access.py" <<'PYTHON'
import os
import sys

import bpy
import addon_utils  # which bpy brings along

bpy.context.preferences.system.use_online_access = False
if sys.argv[1] == "without operators":
    addon_utils.disable("bl_pkg")
import infinigen.assets.objects.rocks

with open(sys.argv[2], "w") as file:
    file.write(f"{bpy.context.preferences.system.use_online_access}")
os._exit(0)
PYTHON
for how in "as it is" "without operators"; do
    mkdir "$folder/$how"
    # nothing may be reached: what would be the network answers at once that it is not there
    BLENDER_USER_RESOURCES="$folder/$how" https_proxy=127.0.0.1:9 \
        "$folder/venv/bin/python" "$folder/access.py" "$how" "$folder/seen" >"$folder/$how/log" 2>&1 ||
        { cat "$folder/$how/log" && exit 1; }
    echo "$how: online access $(cat "$folder/seen"), asked $(grep -c "Refreshing extensions list" "$folder/$how/log" || true) times" |
        tee -a "$folder/all"
done
grep -q "as it is: online access True, asked [1-9]" "$folder/all"
grep -q "without operators: online access False, asked 0 times" "$folder/all"
echo "seen: importing infinigen's factories switches online access on and asks, unless the operators are gone"

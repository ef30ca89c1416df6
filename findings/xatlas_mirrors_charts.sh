#!/usr/bin/env bash
# xatlas 0.0.11 (Python) lays charts into its atlas mirrored. With the options as they are (rotate_charts), 803 of the 1280
# faces of a sphere are wound the other way in the atlas than in space, and 160 of 192 of a box: a quarter turn swaps u and v.
# Without rotate_charts the sphere has none, yet every face of the box has: flat charts are drawn mirrored from
# the start. Colours that are baked through the same coordinates look right; a normal map does not where a reader
# takes the bitangent without the sign that glTF's tangents have, nor does a picture that is painted on the atlas.
# What to do: compare the signs of areas by chart, and mirror those that differ, or pack charts of one's own with
# rotate_charts=False. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "xatlas==0.0.11" "trimesh==5.2.0" "numpy==2.2.6"
cat >"$folder/charts.py" <<'PYTHON'
import numpy as np
import trimesh
import xatlas

SHAPES = {
    "sphere": trimesh.creation.icosphere(subdivisions=3),
    "box": trimesh.creation.box(extents=(1, 2, 3)).subdivide().subdivide(),
}
for name, shape in SHAPES.items():
    assert shape.volume > 0  # faces are wound counter-clockwise, seen from outside
    for turned in (True, False):
        atlas, options = xatlas.Atlas(), xatlas.PackOptions()
        assert options.rotate_charts
        options.rotate_charts = turned
        atlas.add_mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.uint32))
        atlas.generate(xatlas.ChartOptions(), options)
        _, faces, uv = atlas.get_mesh(0)
        (ax, ay), (bx, by) = (uv[faces[:, 1]] - uv[faces[:, 0]]).T, (uv[faces[:, 2]] - uv[faces[:, 0]]).T
        mirrored = int((ax * by < ay * bx).sum())
        print(f"{name}, rotate_charts {turned}: {mirrored} of {len(faces)} faces in {atlas.chart_count} charts are mirrored")
PYTHON
expected='sphere, rotate_charts True: 803 of 1280 faces in 8 charts are mirrored
sphere, rotate_charts False: 0 of 1280 faces in 8 charts are mirrored
box, rotate_charts True: 160 of 192 faces in 6 charts are mirrored
box, rotate_charts False: 192 of 192 faces in 6 charts are mirrored'
seen=$("$folder/venv/bin/python" "$folder/charts.py")
echo "$seen"
[ "$seen" = "$expected" ]

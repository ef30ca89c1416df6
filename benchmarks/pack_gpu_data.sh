#!/usr/bin/env bash
# Training data for a machine without the renderer: all procedural classes at 64 px in one zip.
#
#   benchmarks/pack_gpu_data.sh [MODELS_PER_CLASS] [VIEWS] [FILE]      (40, 2, runs/gpu-data/views.zip: some 40 MB)
#
# Resumes: models and views that are there are not made again.
set -euo pipefail

models=${1:-40} views=${2:-2} file=${3:-runs/gpu-data/views.zip}
work=runs/gpu-data/work
python=.venv/bin/python
[ -x "$python" ] || { echo "pack_gpu_data.sh: there is no $python; run make setup first" >&2; exit 1; }
mkdir -p "$work" "$(dirname "$file")"
"$python" -m synthetic.shapes "$work/models" --classes all --per-class "$models" --seed 0
"$python" -m synthetic.render "$work/models" "$work/views" --resolution 64 --views "$views" --seed 0
"$python" - "$work/views" "$file" <<'EOF'
import sys
import zipfile
from pathlib import Path

source, target = map(Path, sys.argv[1:])
part = target.with_suffix(".part")
with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:  # PNG files do not get smaller
    for path in sorted(source.rglob("*")):
        if path.is_file() and (path.suffix == ".png" or path.name == "dataset.json"):
            archive.write(path, path.relative_to(source).as_posix())
part.replace(target)
print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
EOF
"$python" -m gp3d_core.cli data check "$file"

#!/usr/bin/env bash
# Everything that waits for a GPU, unattended, from the repository root; a short table comes last.
#
#   benchmarks/gpu.sh [--minutes M] [--parts test,kernels,step] [--train M [--data FILE]] [--python PYTHON] [--toy 1]
#
# Needs Python 3.11 or 3.12 with torch (CUDA), triton, numpy, pillow, safetensors and tqdm; pytest for the tests, and for
# --train also matplotlib, scipy and tensorboard. Nothing is installed or downloaded, the project runs where it stands.
# --minutes (9) is what tests and measurements may take together: tests a fifth, kernels and step two fifths each.
# --train trains shapenet-64 for so many minutes on --data (runs/gpu-data/views.zip, which benchmarks/pack_gpu_data.sh makes
# on any machine with the renderer), in runs/gpu-train; the same command goes on there as long as that folder lives.
# --toy 1 does everything at toy size on a CPU and keeps no figure: it proves this script, and measures nothing.
# Logs, results.csv and the snapshot go to $OUT (default runs/gpu-out); figures are also added to benchmarks/results.csv.
set -uo pipefail

minutes=9 train=0 data=runs/gpu-data/views.zip python=python3 parts=test,kernels,step toy=
preset=shapenet-64 device=cuda folder=runs/gpu-train
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || { echo "gpu.sh: $1 needs a value" >&2; exit 2; }
    case $1 in
        --minutes) minutes=$2 ;;
        --train) train=$2 ;;
        --data) data=$2 ;;
        --python) python=$2 ;;
        --parts) parts=$2 ;;
        --toy) toy=--toy preset=tiny device=cpu folder=$(mktemp -d)/train ;;
        *) echo "gpu.sh: expected --minutes, --parts, --train, --data or --python or --toy, found $1" >&2; exit 2 ;;
    esac
    shift 2
done
out=${OUT:-runs/gpu-out}
mkdir -p "$out"
rows=$out/results.csv
rm -f "$rows"
export PYTHONPATH=. PYTHONUNBUFFERED=1
failed=

wants() { case ",$parts," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
seconds() { "$python" -c "print(int($minutes * 60 * $1))"; }

# part NAME SECONDS COMMAND...: runs it within its time, keeps its log, remembers whether it failed
part() {
    local name=$1 limit=$2 begun=$SECONDS
    shift 2
    echo "== $name (at most $limit s)"
    timeout --signal=INT --kill-after=20 "$limit" "$@" 2>&1 | tee "$out/$name.log" | tail -n 60
    local code=${PIPESTATUS[0]}
    [ "$code" = 0 ] || failed="$failed $name($code)"
    echo "== $name: exit $code after $((SECONDS - begun)) s"
}

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv 2>/dev/null
"$python" - $toy <<'EOF' || exit 1
import importlib.util, sys
needed, optional = ("torch", "numpy", "PIL", "safetensors", "tqdm"), ("pytest", "matplotlib", "scipy", "tensorboard", "trimesh", "mcubes")
missing = [name for name in needed if importlib.util.find_spec(name) is None]
if missing:
    sys.exit(f"gpu.sh: this Python lacks {', '.join(missing)}; choose another with --python")
import torch
print("python", sys.version.split()[0], "torch", torch.__version__, "without", [n for n in optional if importlib.util.find_spec(n) is None])
if not torch.cuda.is_available() and "--toy" not in sys.argv:
    sys.exit("gpu.sh: torch sees no CUDA device; check the driver, or choose another Python with --python")
EOF

if wants test; then
    if "$python" -c "import pytest" 2>/dev/null; then
        # no plugin is needed, and the settings in pyproject.toml ask for one that may be missing
        part test "$(seconds 0.2)" "$python" -m pytest -c /dev/null --rootdir=. -q -p no:cacheprovider \
            --import-mode=importlib tests/ops tests/core/test_discriminator.py tests/core/test_stepping.py
    else
        echo "== test: left out, this Python has no pytest"
    fi
fi
wants kernels && part kernels "$(seconds 0.4)" "$python" -m benchmarks.bench_kernels $toy --seconds "$(seconds 0.33)" --csv "$rows"
wants step && part step "$(seconds 0.4)" "$python" -m benchmarks.bench_step $toy --seconds "$(seconds 0.33)" --csv "$rows"

if [ "$train" != 0 ]; then
    if [ -f "$data" ]; then
        limit=$("$python" -c "print(int($train * 60 + 90))")
        # --max-minutes counts all calls together, so that each adds its own
        spent=$("$python" -c "
import json, pathlib
status = pathlib.Path('$folder/status.json')
print(json.loads(status.read_text())['training_seconds'] / 60 if status.exists() else 0)")
        part train "$limit" "$python" -m gp3d_core.cli train "$data" "$folder" --preset $preset --device $device \
            --max-minutes "$("$python" -c "print($spent + $train)")"
        newest=$(ls "$folder"/snapshots/*.safetensors 2>/dev/null | tail -n 1)
        if [ -n "$newest" ]; then # in parts, since a transfer may limit the size of a file
            rm -f "$out"/snapshot.part-*
            split -b 15m "$newest" "$out/snapshot.part-"
            echo "== train: put together with: cat snapshot.part-* > $(basename "$newest")"
        fi
        sample=$(ls "$folder"/samples/sample-*.png 2>/dev/null | tail -n 1)
        [ -n "$sample" ] && cp "$sample" "$out/sample.png"
    else
        echo "== train: left out, there is no $data; make it with benchmarks/pack_gpu_data.sh and bring it along"
    fi
fi

echo
if [ -f "$rows" ]; then
    [ -n "$toy" ] || tail -n +2 "$rows" >>benchmarks/results.csv
    "$python" -m benchmarks.measuring "$rows"
fi
echo "figures and logs: $out${failed:+; failed:$failed}"
[ -z "$failed" ]

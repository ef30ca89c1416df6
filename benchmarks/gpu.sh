#!/usr/bin/env bash
# Everything that waits for a GPU, unattended, from the repository root; a short table comes last.
#
#   benchmarks/gpu.sh [--minutes M] [--parts test,kernels,step] [--ground M] [--train M] [--data FILE] [--init SNAPSHOT]
#                     [--weights FILE] [--python PYTHON] [--toy 1]
#
# Needs Python 3.11 or 3.12 with torch (CUDA), triton, numpy, pillow, safetensors and tqdm; pytest for the tests, and for
# --ground and --train also matplotlib, scipy and tensorboard. Nothing is installed or downloaded, the project runs where
# it stands.
# --minutes (9) is what tests and measurements may take together: tests a fifth, kernels and step two fifths each.
# --ground learns box-64 from known shapes for so many minutes, 400,000 objects in all, in runs/gpu-ground.
# --train trains shapenet-64 for so many minutes, in runs/gpu-train, with cameras like the data's; with --init SNAPSHOT
#   (a file, or a run folder such as runs/gpu-ground) box-64 from there instead, the discriminator first alone. What comes
#   back is the best snapshot: by the Fréchet distance of SqueezeNet's features with --weights FILE, else the newest.
# Both learn from --data (runs/gpu-data/views.zip, made by python -m benchmarks.pack_gpu_data out of `make box-data`), and
# the same command goes on as long as its folder in runs lives.
# --toy 1 does everything at toy size on a CPU and keeps no figure: it proves this script, and measures nothing.
# To $OUT (default runs/gpu-out): log.txt, results.csv, and for each model its weights in half precision, in parts of at
# most 15 MiB, and a picture. Figures are also added to benchmarks/results.csv.
set -uo pipefail

minutes=9 ground=0 train=0 data=runs/gpu-data/views.zip init= weights= python=python3 parts=test,kernels,step toy=
runs=runs device=cuda preset=shapenet-64 ground_settings=(--set training.kimg=400) train_settings=() images=2048
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || { echo "gpu.sh: $1 needs a value" >&2; exit 2; }
    case $1 in
        --minutes) minutes=$2 ;;
        --ground) ground=$2 ;;
        --train) train=$2 ;;
        --data) data=$2 ;;
        --init) init=$2 ;;
        --weights) weights=$2 ;;
        --python) python=$2 ;;
        --parts) parts=$2 ;;
        --toy) toy=--toy ;;
        *) echo "gpu.sh: expected --minutes, --parts, --ground, --train, --data, --init, --weights, --python or --toy, found $1" >&2
           exit 2 ;;
    esac
    shift 2
done
out=${OUT:-runs/gpu-out}
mkdir -p "$out"
rows=$out/results.csv log=$out/log.txt
rm -f "$rows" "$log"
export PYTHONPATH=. PYTHONUNBUFFERED=1
failed=

wants() { case ",$parts," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
share() { "$python" -c "print(max(1, int($minutes * 60 * $1)))"; }
say() { echo "$@" | tee -a "$log"; }

# part NAME SECONDS COMMAND...: runs it within its time, keeps what it says, remembers whether it failed
part() {
    local name=$1 limit=$2 begun=$SECONDS
    shift 2
    say "== $name (at most $limit s)"
    timeout --kill-after=30 "$limit" "$@" 2>&1 | tr '\r' '\n' | tee -a "$log" | tail -n 60
    local code=${PIPESTATUS[0]}
    [ "$code" = 0 ] || failed="$failed $name($code)"
    say "== $name: exit $code after $((SECONDS - begun)) s"
}

# limit MINUTES: seconds that learning for so long may take, loading and the end of it included
limit() { "$python" -c "print(int($1 * 60 + 240))"; }

# total RUN MINUTES: minutes of all calls together, which is what --max-minutes counts
total() {
    "$python" - "$1" "$2" <<'EOF'
import json, pathlib, sys
run, minutes, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2]), 0.0
if (run / "status.json").exists():
    seconds = json.loads((run / "status.json").read_text())["training_seconds"]
elif (run / "stats.jsonl").exists():
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    seconds = max((line.get("seconds", 0.0) for line in lines), default=0.0)
print(seconds / 60 + minutes)
EOF
}

# bring NAME SNAPSHOT PICTURES...: half-precision weights in parts, and the newest of the pictures
bring() {
    local name=$1 snapshot=$2 pictures=("${@:3}")
    [ -f "$snapshot" ] || { failed="$failed $name(no snapshot)"; return; }
    rm -f "$out/$name".*
    if "$python" -m gp3d_core.cli ship "$snapshot" "$runs/$name.safetensors" >>"$log" 2>&1; then
        split -b 15m "$runs/$name.safetensors" "$out/$name.safetensors.part-"
        say "== $name: $snapshot; put together with: cat $name.safetensors.part-* > $name.safetensors"
    else
        failed="$failed $name(ship)"
    fi
    [ -f "${pictures[-1]}" ] && cp "${pictures[-1]}" "$out/$name.png"
}

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv 2>/dev/null
"$python" - $toy <<'EOF' || exit 1
import importlib.util, sys
needed, optional = ("torch", "numpy", "PIL", "safetensors", "tqdm"), ("pytest", "triton", "matplotlib", "scipy", "tensorboard")
missing = [name for name in needed if importlib.util.find_spec(name) is None]
if missing:
    sys.exit(f"gpu.sh: this Python lacks {', '.join(missing)}; choose another with --python")
import torch
print("python", sys.version.split()[0], "torch", torch.__version__, "without", [n for n in optional if importlib.util.find_spec(n) is None])
if not torch.cuda.is_available() and "--toy" not in sys.argv:
    sys.exit("gpu.sh: torch sees no CUDA device; check the driver, or choose another Python with --python")
EOF
if [ "$ground$train" != 00 ] && [ ! -e "$data" ]; then
    echo "gpu.sh: there is no $data; make it with python -m benchmarks.pack_gpu_data and bring it along" >&2
    exit 2
fi

tests=(tests/ops tests/core/test_discriminator.py tests/core/test_stepping.py)
if [ -n "$toy" ]; then
    runs=$(mktemp -d) device=cpu preset=tiny images=32 tests=(tests/ops/test_reference.py)
    trap 'rm -rf "$runs"' EXIT
    ground_settings=(--set generator.plane_resolution=16 --set generator.channel_base=256 --set generator.w_dim=32
        --set grounding.points=64 --set grounding.rays=16 --set grounding.held_out=1 --set grounding.prior_steps=20
        --set training.batch=4 --set training.micro_batch=4)
    [ -z "$init" ] || train_settings=("${ground_settings[@]}" --set patch.resolution=16)
fi

if wants test; then
    if "$python" -c "import pytest" 2>/dev/null; then
        # no plugin is needed, and the settings in pyproject.toml ask for one that may be missing
        part test "$(share 0.2)" "$python" -m pytest -c /dev/null --rootdir=. -q -p no:cacheprovider \
            --import-mode=importlib "${tests[@]}"
    else
        say "== test: left out, this Python has no pytest"
    fi
fi
wants kernels && part kernels "$(share 0.4)" "$python" -m benchmarks.bench_kernels $toy --seconds "$(share 0.33)" --csv "$rows"
wants step && part step "$(share 0.4)" "$python" -m benchmarks.bench_step $toy --seconds "$(share 0.33)" --csv "$rows"

if [ "$ground" != 0 ]; then
    run=$runs/gpu-ground
    # whole precision: so small a network is bound by launches, not products, and half precision moves its losses by 1 %
    part ground "$(limit "$ground")" "$python" -m gp3d_core.cli ground "$data" "$run" --preset box-64 --device $device \
        --set training.precision=float32 "${ground_settings[@]}" --max-minutes "$(total "$run" "$ground")"
    bring ground "$(ls "$run"/snapshots/*.safetensors 2>/dev/null | tail -n 1)" "$run"/samples/new-*.png
fi
if [ "$train" != 0 ]; then
    run=$runs/gpu-train
    if [ -n "$init" ]; then
        run=$runs/gpu-train-on preset=box-64
        [ -n "$toy" ] && [ -d "$runs/gpu-ground" ] && init=$runs/gpu-ground
        train_settings+=(--init "$init" --set training.head_start_kimg=20)
    else
        train_settings+=(--set camera.yaw.kind=custom --set camera.pitch.kind=custom)
    fi
    part train "$(limit "$train")" "$python" -m gp3d_core.cli train "$data" "$run" --preset $preset --device $device \
        "${train_settings[@]}" --max-minutes "$(total "$run" "$train")"
    best=$("$python" -m benchmarks.best_snapshot "$run" "$data" ${weights:+--weights "$weights"} --images $images \
        --device $device 2>>"$log")
    tail -n 8 "$log" | grep -E "squeezenet-fid|best_snapshot"
    bring train "$best" "$run"/samples/sample-*.png
fi

echo
if [ -f "$rows" ]; then
    [ -n "$toy" ] || tail -n +2 "$rows" >>benchmarks/results.csv
    "$python" -m benchmarks.measuring "$rows"
fi
echo "figures and logs: $out${failed:+; failed:$failed}"
[ -z "$failed" ]

#!/usr/bin/env bash
# Everything that waits for a GPU, unattended, from the repository root; a short table comes last.
#
#   benchmarks/gpu.sh --call check|bench|train
#   benchmarks/gpu.sh [--minutes M] [--parts test,kernels,step,vq3d] [--ground M] [--train M] [--data FILE]
#                     [--init SNAPSHOT] [--vq3d M] [--rooms DIR] [--true-views 1] [--set "KEY=VALUE ..."]
#                     [--weights FILE] [--python PYTHON] [--toy 1]
#
# Needs Python 3.11 or 3.12 with torch (CUDA), triton, numpy, pillow, safetensors and tqdm; pytest for the tests, and for
# --ground and --train also matplotlib, scipy and tensorboard. Nothing is installed or downloaded, the project runs where
# it stands.
# --call is one of three that together fit a quarter of an hour, each on its own: check (at most 3.5 minutes) runs the
#   tests of kernels and networks compiled and names the first failures, bench (3.5) measures kernels and step, train (5 of
#   learning, 7 at most) learns box-64 from known shapes and then against a discriminator. What is done when the time is
#   used up is kept, and so it is after SIGTERM or Ctrl-C, which end the call with its table. Further options change it.
# --minutes (9) is what tests and measurements may take together: of ten shares of those that are asked for tests have
#   two, kernels and step three each, the steps of VQ3D two.
# --ground learns box-64 from known shapes for so many minutes, 400,000 objects in all, in runs/gpu-ground.
# --train trains shapenet-64 for so many minutes, in runs/gpu-train, with cameras like the data's; with --init SNAPSHOT
#   (a file, or a run folder such as runs/gpu-ground) box-64 from there instead, the discriminator first alone. What comes
#   back is the best snapshot: by the Fréchet distance of SqueezeNet's features with --weights FILE, else the newest.
# Both learn from --data (runs/gpu-data/views.zip, made by python -m benchmarks.pack_gpu_data out of `make box-data`), and
# the same command goes on as long as its folder in runs lives.
# --vq3d trains small64 of VQ3D, with critics, for two thirds of so many minutes (runs/gpu-vq3d), then a prior on what it
#   ships for one third, and scores both on rooms that they have not seen; leave two minutes for that. --rooms (runs/gpu-data)
#   holds rooms.zip and held.zip, made by python -m benchmarks.pack_rooms, or the folders rooms and held. The same command
#   trains the tokenizer on and a new prior. --true-views 1 is the short cut of docs/vq3d.md, true views beside the
#   critics, in a run of its own (runs/gpu-vq3d-true); --set changes settings of the tokenizer, for a new run.
# --toy 1 does everything at toy size on a CPU and keeps no figure: it proves this script, and measures nothing.
# To $OUT (default runs/gpu-out): log.txt, results.csv, and for each model its weights in half precision, in parts of at
# most 15 MiB, and a picture; of VQ3D both models with report and scores in one tar, in such parts, and two pictures.
# Figures are also added to benchmarks/results.csv.
set -uo pipefail

minutes=9 ground=0 train=0 data=runs/gpu-data/views.zip init= weights= python=python3 parts=test,kernels,step,vq3d toy=
vq3d=0 rooms=runs/gpu-data true_views= vq3d_preset=small64 pictures=400 samples=16 prior_settings=()
call= around=240 # seconds of the whole call, if it has a limit, and of loading and ending beside learning
# the cameras of these rooms; minutes are the only budget
vq3d_settings=(camera.fov=40 camera.near=0.6 camera.far=5 depth.unit=1.5
    training.kimg=10000 training.snapshot_kimg=40 training.checkpoint_kimg=20)
runs=runs device=cuda preset=shapenet-64 ground_settings=(--set training.kimg=400) train_settings=() images=2048
case ${1:-} in -h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || { echo "gpu.sh: $1 needs a value" >&2; exit 2; }
    case $1 in
        --call)
            case $2 in
                check) parts=test minutes=3.5 call=210 ;;
                bench) parts=kernels,step minutes=3.5 call=210 ;;
                train) parts=none ground=2.5 train=2.5 init=runs/gpu-ground call=420 around=45 ;;
                *) echo "gpu.sh: expected --call check, bench or train, found $2" >&2; exit 2 ;;
            esac ;;
        --minutes) minutes=$2 ;;
        --ground) ground=$2 ;;
        --train) train=$2 ;;
        --data) data=$2 ;;
        --init) init=$2 ;;
        --vq3d) vq3d=$2 ;;
        --rooms) rooms=$2 ;;
        --true-views) true_views=-true vq3d_settings+=(loss.view=1 loss.view_source=true) ;;
        --set) read -r -a more <<<"$2"; vq3d_settings+=("${more[@]}") ;;
        --weights) weights=$2 ;;
        --python) python=$2 ;;
        --parts) parts=$2 ;;
        --toy) toy=--toy ;;
        *) echo "gpu.sh: expected --call, --minutes, --parts, --ground, --train, --data, --init, --vq3d, --rooms, --true-views, --set," \
                "--weights, --python or --toy, found $1" >&2
           exit 2 ;;
    esac
    shift 2
done
out=${OUT:-runs/gpu-out}
mkdir -p "$out"
exec 9<"$out" # held until the script and all that it began have ended
! command -v flock >/dev/null || flock -n 9 || { echo "gpu.sh: another call writes to $out; wait for it, or set OUT to another folder" >&2; exit 2; }
rows=$out/results.csv log=$out/log.txt
rm -f "$rows" "$log"
export PYTHONPATH=. PYTHONUNBUFFERED=1
failed= running= stopped=

# what was begun ends with the script, however that ends
bound=()
command -v setpriv >/dev/null && bound=(setpriv --pdeathsig TERM)
stop() {
    stopped=1
    [ -z "$running" ] || kill -TERM "$running" 2>/dev/null
}
trap stop TERM INT HUP

wants() { case ",$parts," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
share() { "$python" -c "print(max(1, int($minutes * 60 * $1 / $asked)))"; }
asked=0 # shares of ten
for each in test:2 kernels:3 step:3 vq3d:2; do
    wants "${each%:*}" && asked=$((asked + ${each#*:}))
done
say() { echo "$@" | tee -a "$log"; }

# within SECONDS: so many, or what is left of the call
within() {
    local left=$((${call:-1000000} - SECONDS))
    echo $((left < $1 ? left : $1))
}

# part NAME SECONDS COMMAND...: runs it within its time, keeps what it says, remembers whether it failed
part() {
    local name=$1 limit begun=$SECONDS before code
    limit=$(within "$2")
    shift 2
    [ -z "$stopped" ] || { failed="$failed $name(stopped)"; return; }
    [ "$limit" -gt 5 ] || { failed="$failed $name(no time left)"; return; }
    say "== $name (at most $limit s)"
    before=$(stat -c %s "$log")
    "${bound[@]}" timeout --kill-after=15 "$((limit > 60 ? limit - 15 : limit))" "$@" >>"$log" 2>&1 &
    running=$!
    wait "$running"
    code=$?
    while kill -0 "$running" 2>/dev/null; do # a signal ends the waiting, not yet the part
        wait "$running"
        code=$?
    done
    running=
    tail -c "+$((before + 1))" "$log" | tr '\r' '\n' | tail -n 60
    [ "$code" = 0 ] || failed="$failed $name($code)"
    say "== $name: exit $code after $((SECONDS - begun)) s"
}

# keep COMMAND...: what brings files to $OUT; they are whole, or none of them is left and it is said
keep() {
    local name=$1
    shift
    "$@" || { failed="$failed $name(not kept)"; rm -f "$out/$name".*; return 1; }
}

# limit MINUTES: seconds that learning for so long may take, loading and the end of it included
limit() { "$python" -c "print(int($1 * 60 + $around))"; }

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
        keep "$name" split -b 15m "$runs/$name.safetensors" "$out/$name.safetensors.part-" &&
            say "== $name: $snapshot; put together with: cat $name.safetensors.part-* > $name.safetensors"
    else
        failed="$failed $name(ship)"
    fi
    [ ! -f "${pictures[-1]}" ] || cp "${pictures[-1]}" "$out/$name.png" ||
        { failed="$failed $name(picture)"; rm -f "$out/$name.png"; }
}

# rooms_of NAME: the zip or folder of --rooms that is called so
rooms_of() {
    local place
    for place in "$rooms/$1.zip" "$rooms/$1"; do
        [ ! -e "$place" ] || { echo "$place"; return; }
    done
    echo "gpu.sh: there is no $rooms/$1.zip; make it with python -m benchmarks.pack_rooms and bring it along" >&2
    return 1
}

# give FOLDER: all of it in one tar, in parts
give() {
    rm -f "$out"/vq3d.tar.part-*
    tar -C "$1" -cf - . | split -b 15m - "$out/vq3d.tar.part-" ||
        { failed="$failed vq3d(not kept)"; rm -f "$out"/vq3d.tar.part-*; }
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

if [ "$vq3d" != 0 ]; then
    seen=$(rooms_of rooms) && held=$(rooms_of held) || exit 2
    name_with=(--name-with "$seen")
    "$python" -c "from PIL import features; raise SystemExit(not features.check('webp'))" ||
        { echo "gpu.sh: this Python's pillow cannot read WebP, which the zips of rooms are made of" >&2; exit 1; }
fi

# not those of what is compiled: they need no card
tests=(tests/core/ops/test_reference.py tests/core/ops/test_checks.py tests/core/ops/test_resampling.py
    tests/core/ops/test_triton_ops.py tests/core/ops/test_triton_rendering.py tests/core/ops/test_upsample.py
    tests/core/networks/test_discriminator.py tests/core/training/test_step.py tests/core/vq3d/test_devices.py)
if [ -n "$toy" ]; then
    runs=$(mktemp -d) device=cpu preset=tiny images=32 tests=(tests/core/ops/test_reference.py)
    trap 'rm -rf "$runs"' EXIT
    ground_settings=(--set generator.plane_resolution=16 --set generator.channel_base=256 --set generator.w_dim=32
        --set grounding.points=64 --set grounding.rays=16 --set grounding.held_out=1 --set grounding.prior_steps=20
        --set training.batch=4 --set training.micro_batch=4)
    [ -z "$init" ] || train_settings=("${ground_settings[@]}" --set patch.resolution=16)
    vq3d_preset=tiny32 pictures=8 samples=2 prior_settings=(--set prior.layers=1) name_with=()
    vq3d_settings+=(training.resolution=64 encoder.patch=16 render.steps=8 training.patch=16 training.stride=4)
fi

if wants test; then
    if "$python" -c "import pytest" 2>/dev/null; then
        part test "$(share 2)" "$python" -m benchmarks.gpu_tests "${tests[@]}"
    else
        say "== test: left out, this Python has no pytest"
        failed="$failed test(no pytest)"
    fi
fi
wants kernels && part kernels "$(share 3)" "$python" -m benchmarks.bench_kernels $toy --seconds "$(share 2.5)" --csv "$rows"
wants step && part step "$(share 3)" "$python" -m benchmarks.bench_step $toy --seconds "$(share 2.5)" --csv "$rows"
wants vq3d && part vq3d-step "$(share 2)" "$python" -m benchmarks.bench_vq3d $toy --seconds "$(share 1.6)" --csv "$rows"

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
    # what stands on its output is the snapshot; half a minute stays for what brings it
    part choice $(($(within 330) - 30)) bash -c '"${@:2}" >"$1"' - "$run/best.txt" "$python" -m benchmarks.best_snapshot \
        "$run" "$data" ${weights:+--weights "$weights"} --images $images --device $device
    best=$(cat "$run/best.txt" 2>/dev/null)
    if [ ! -f "$best" ]; then
        best=$(ls "$run"/snapshots/*.safetensors 2>/dev/null | tail -n 1)
        say "== train: none was chosen, so the newest is taken"
    fi
    bring train "$best" "$run"/samples/sample-*.png
fi

if [ "$vq3d" != 0 ]; then
    run=$runs/gpu-vq3d$true_views gp3d=("$python" -m gp3d_core.cli vq3d)
    long=$("$python" -c "print($vq3d * 2 / 3)") short=$("$python" -c "print($vq3d / 3)")
    part vq3d "$(limit "$long")" "${gp3d[@]}" train "$seen" "$run" --preset $vq3d_preset --device $device \
        "${vq3d_settings[@]/#/--set=}" --max-minutes "$(total "$run" "$long")"
    newest=$(ls "$run"/snapshots/*.safetensors 2>/dev/null | tail -n 1)
    # a prior speaks the codes of one file, so that it learns from the tokenizer that is given away
    prior=$run-prior-$(basename "$newest" .safetensors) kept=$run-kept
    rm -rf "$kept" "$out"/vq3d.*; mkdir -p "$kept"
    if [ -n "$newest" ] && "${gp3d[@]}" ship "$newest" "$kept/tokenizer.safetensors" >>"$log" 2>&1; then
        part prior "$(limit "$short")" "${gp3d[@]}" train-prior "$kept/tokenizer.safetensors" "$seen" "$prior" \
            --device $device "${prior_settings[@]}" --max-minutes "$(total "$prior" "$short")"
        "${gp3d[@]}" ship "$prior" "$kept/prior.safetensors" >>"$log" 2>&1 || failed="$failed prior(ship)"
        give "$kept" # already, should the machine be taken away while it scores
        part scores 180 "${gp3d[@]}" evaluate "$kept/tokenizer.safetensors" "$held" --prior "$kept/prior.safetensors" \
            --images $pictures --out "$kept/scores" --device $device "${name_with[@]}" \
            ${weights:+--features torchvision:squeezenet1_0 --weights "$weights"}
        part samples 60 "$python" -m benchmarks.vq3d_samples "$kept/prior.safetensors" "$out/vq3d.samples.png" \
            --count $samples --device $device
        give "$kept"
        [ ! -f "$kept/scores/samples.png" ] || cp "$kept/scores/samples.png" "$out/vq3d.png" ||
            { failed="$failed vq3d(picture)"; rm -f "$out/vq3d.png"; }
        say "== vq3d: $newest; put together with: cat vq3d.tar.part-* | tar -xf -"
    else
        failed="$failed vq3d(no tokenizer)"
    fi
fi

echo
{ tr '\r' '\n' <"$log" >"$log.lines" && mv "$log.lines" "$log"; } || rm -f "$log.lines"
grep -E "^tests    " "$log"
grep -E "^[a-z0-9]+ .*: (failed|left out), " "$log"
if [ -f "$rows" ]; then
    [ -n "$toy" ] || tail -n +2 "$rows" >>benchmarks/results.csv
    "$python" -m benchmarks.measuring "$rows"
fi
echo "figures and logs: $out${failed:+; failed:$failed}${stopped:+; stopped}"
[ -z "$failed$stopped" ]

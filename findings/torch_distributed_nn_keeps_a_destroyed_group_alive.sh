#!/usr/bin/env bash
# torch 2.13.0, gloo on the CPU: a module that is imported between init_process_group and destroy_process_group keeps
# the group alive for ever. The functions of torch.distributed.nn have `group.WORLD` as a default argument, which is
# read when they are defined; torch._dynamo imports them, and the first optimizer imports that. The threads of gloo
# then outlive destroy_process_group, and now and then one of them aborts the process while Python ends ("terminate
# called without an active exception", exit code -6), after all work is done and saved: torchrun reports a failure.
# What to do: `import torch.distributed.nn` before init_process_group. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import sys
from pathlib import Path

import torch
import torch.distributed as dist

if sys.argv[1] == "early":
    import torch.distributed.nn


def gloo_threads():
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    return sum("gloo" in name for name in names)


dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
held = sys.getrefcount(dist.group.WORLD)
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).step()
print(f"{sys.argv[1]}: references that the optimizer adds: {sys.getrefcount(dist.group.WORLD) - held}")
dist.destroy_process_group()
print(f"{sys.argv[1]}: threads of gloo live on: {gloo_threads() > 0}")
PYTHON
expected='late: references that the optimizer adds: 10
late: threads of gloo live on: True
early: references that the optimizer adds: 0
early: threads of gloo live on: False'
seen=$(for when in late early; do "$folder/venv/bin/python" "$folder/seen.py" "$when"; done)
echo "$seen"
[ "$seen" = "$expected" ]

#!/usr/bin/env bash
# PyTorch 2.13.0 on a CPU with AMX (oneDNN's brg_conv_fwd:avx10_1_512_amx): a convolution in bfloat16 whose kernel is as
# large as the picture, with padding and fewer than 16 channels, returns numbers that have nothing to do with the right
# ones; no warning. Nobody writes such a layer, but the second derivative of any 3x3 convolution is one, with as many
# channels as there are images: R1, path lengths and other gradient penalties of small batches train on noise, while
# losses and first gradients are right. The kernels for AVX-512 BF16 of the same library are right. What to do: compute
# what is differentiated twice in float32, or set ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16. Of the kind of
# https://github.com/pytorch/pytorch/issues/163347. Needs a CPU with amx_bf16 (exit code 77 without). Fails if that has
# changed.
set -euo pipefail
grep -q amx_bf16 /proc/cpuinfo || { echo "this CPU has no amx_bf16: nothing to see"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import torch
from torch.nn import functional

torch.manual_seed(0)


def off(value, right):
    return float((value.float() - right).norm() / right.norm())


for channels, kernel in ((4, 16), (4, 15), (16, 16)):
    images, weights = torch.randn(32, channels, 16, 16), torch.randn(32, channels, kernel, kernel)
    images, weights = images.bfloat16(), weights.bfloat16()
    right = functional.conv2d(images.float(), weights.float(), padding=1)
    print(f"{channels} channels, kernel {kernel}:", "wrong" if off(functional.conv2d(images, weights, padding=1), right) > 0.5 else "right")

images = torch.randn(4, 8, 16, 16, requires_grad=True)
weights = torch.randn(8, 8, 3, 3, requires_grad=True)


def penalty_slope(kind):
    answer = functional.conv2d(images.to(kind), weights.to(kind), padding=1).float().square().sum()
    (slope,) = torch.autograd.grad(answer, images, create_graph=True)
    return torch.autograd.grad(slope.square().sum(), weights)[0]


print("gradient penalty of 4 images:", "wrong" if off(penalty_slope(torch.bfloat16), penalty_slope(torch.float32)) > 0.2 else "right")
PYTHON
expected='4 channels, kernel 16: wrong
4 channels, kernel 15: right
16 channels, kernel 16: right
gradient penalty of 4 images: wrong'
seen=$("$folder/venv/bin/python" "$folder/seen.py")
echo "$seen"
[ "$seen" = "$expected" ]
[ "$(ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 "$folder/venv/bin/python" "$folder/seen.py" | grep -c right)" = 4 ]
echo "seen: wrong with AMX, right with AVX-512 BF16"

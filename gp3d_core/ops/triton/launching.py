"""What every kernel's launch needs: memory layouts, padded sizes, numbers of programs and the precision of products.

Letters: B batch, C channels, H W plane height and width, S samples of a ray.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from gp3d_core.ops.triton.lookup import Planes

_BLOCK = 64  # points that a program holds at a time
_PROGRAMS = 4  # per multiprocessor, of kernels that sum over many blocks
_INTERPRETED = 2  # programs of such a kernel in the interpreter


def texels_first(planes: Tensor) -> Tensor:
    """Planes [B,3,C,H,W] as [B,3,H,W,C] with a texel's channels side by side; copied only if they are not yet.

    Raises ValueError for a plane of 2³¹ elements or more.
    """
    moved = planes.permute(0, 1, 3, 4, 2)
    moved = moved if moved.stride(-1) == 1 else moved.contiguous()
    height, width, channels = moved.shape[2:]
    if moved.stride(2) * (height - 1) + moved.stride(3) * (width - 1) + channels >= 2**31:
        raise ValueError(
            f"a plane of {height} × {width} × {channels} is too large for 32-bit offsets; use backend=reference"
        )
    return moved


def as_planes(moved: Tensor) -> Planes:
    """Planes [B,3,H,W,C] as kernels take them."""
    obj, plane, row, texel, _ = moved.stride()
    return Planes(moved, obj, plane, row, texel, height=moved.shape[2], width=moved.shape[3])


def padded(size: int, least: int = 1) -> int:
    """The power of two that holds `size`, at least `least`."""
    return max(least, triton.next_power_of_2(size))


def rays_per_program(samples: int) -> int:
    """Rays of a block whose padded number of samples is `samples`."""
    return max(1, _BLOCK // samples)


def warps(rays: int, samples: int) -> int:
    """Warps of a program whose padded block is that large; comparing samples in pairs wants more."""
    return 4 if rays * samples <= _BLOCK and samples < _BLOCK else 8


def program_count(blocks: int, device: torch.device) -> int:
    """Programs that share `blocks` blocks where each keeps sums of its own."""
    if device.type != "cuda":
        return min(blocks, _INTERPRETED)
    return min(blocks, _PROGRAMS * torch.cuda.get_device_properties(device).multi_processor_count)


def precision(*, backward: bool = False) -> str:
    """How products of matrices are rounded: like torch's own, to float32 unless TF32 is allowed for them.

    float32 is made of three TF32 products, whose error is some 2⁻²²; in backward kernels it is the plain one, since
    three spill ten times as much there (docs/kernels.md, "Compiled").
    """
    if torch.backends.cuda.matmul.allow_tf32:
        return "tf32"
    return "ieee" if backward else "tf32x3"

"""`reference.sample_importance` as a kernel, and the same inside the renderer.

Letters: R rays of a block, S coarse and F new samples of a ray, both padded to the power of two M.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gp3d_core.ops.triton.compositing import positions
from gp3d_core.ops.triton.launching import padded, rays_per_program, warps


@torch.no_grad()
def sample_importance(s: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """As `reference.sample_importance`."""
    coarse, fine = s.shape[-1], u.shape[-1]
    s, weights, u = s.contiguous(), weights.contiguous(), u.contiguous()
    found = torch.empty_like(u)
    wide = padded(max(coarse, fine))
    rays = rays_per_program(wide)
    if found.numel():
        count = found.numel() // fine
        importance_kernel[(triton.cdiv(count, rays),)](
            s, weights, u, found, count, coarse, fine, R=rays, M=wide, num_warps=warps(rays, wide)
        )
    return found


@triton.jit
def invert_distribution(
    s: tl.tensor, weights: tl.tensor, u: tl.tensor, coarse: int, R: tl.constexpr, M: tl.constexpr
) -> tl.tensor:
    """Positions [R,M] at the numbers u [R,M] of the distribution of `weights` [R,M] over the positions s [R,M]."""
    k = positions(R, M)
    density = tl.where((k >= 1) & (k <= coarse - 2), weights + 2e-5, 0.0)
    cdf = tl.cumsum(density / tl.sum(density, axis=1)[:, None], axis=1)  # at the border behind sample k
    borders = 0.5 * (tl.gather(s, tl.minimum(k + 1, M - 1), axis=1) + s)
    passed = (cdf[:, None, :] <= u[:, :, None]) & (k <= coarse - 2)[:, None, :]
    index = tl.sum(passed.to(tl.int32), axis=2)
    below, above = tl.maximum(index - 1, 0), tl.minimum(index, coarse - 2)
    cdf_below = tl.gather(cdf, below, axis=1)
    width = tl.gather(cdf, above, axis=1) - cdf_below
    start = tl.gather(borders, below, axis=1)
    fraction = (u - cdf_below) / tl.where(width < 1e-5, 1.0, width)
    return start + fraction * (tl.gather(borders, above, axis=1) - start)


@triton.jit
def importance_kernel(
    s: tl.tensor,
    weights: tl.tensor,
    u: tl.tensor,
    found: tl.tensor,
    count: int,
    coarse: int,
    fine: int,
    R: tl.constexpr,
    M: tl.constexpr,
) -> None:
    """A block of R rays."""
    ray = tl.cast(tl.program_id(0), tl.int64) * R + tl.arange(0, R)
    k = positions(R, M)
    real = (ray < count)[:, None]
    given, asked = ray[:, None] * coarse + k, ray[:, None] * fine + k
    new = invert_distribution(
        tl.load(s + given, mask=real & (k < coarse), other=0.0),
        tl.load(weights + given, mask=real & (k < coarse), other=0.0),
        tl.load(u + asked, mask=real & (k < fine), other=0.0),
        coarse,
        R,
        M,
    )
    tl.store(found + asked, new, mask=real & (k < fine))

"""The two-pass renderer of a tri-plane field in two launches: one forward, one backward, which computes it all again.

The plain body is `gp3d_core.rendering.volume`. Letters: B batch, R rays, S coarse and F fine samples of a ray,
M all of them padded to a power of two, C channels, H W plane size.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from gp3d_core.ops.reference import Composite, Perceptron
from gp3d_core.ops.triton.decoding import empty_partials, layer_gradients, layer_sizes
from gp3d_core.ops.triton.launching import (
    as_planes,
    padded,
    precision,
    program_count,
    rays_per_program,
    texels_first,
    warps,
)
from gp3d_core.ops.triton.marching import Rays, Scene, Seen, render_kernel
from gp3d_core.ops.triton.marching_backward import Found, Slopes, render_backward_kernel
from gp3d_core.ops.triton.perceptron import Layers


def render_rays(
    planes: Tensor,
    perceptron: Perceptron,
    rays_o: Tensor,
    rays_d: Tensor,
    s_coarse: Tensor,
    u_fine: Tensor,
    noise: Tensor | None,
    scene: Scene,
    *,
    background: str,
    empty_outside: bool,
    metric: bool,
) -> tuple[Composite, Tensor]:
    """What rays [B,R,3] see of planes [B,3,C,H,W], and the distances t [B,R,S+F] of their samples, nearest first.

    s_coarse [B,R,S] in increasing order, u_fine [B,R,F], noise [B,R,S+F] on the raw density, coarse samples first;
    metric: whether fine samples are guided by intervals in world units instead of fractions. Gradients go to planes,
    perceptron, origins and directions.
    """
    *layers, bounded = perceptron
    rays_o, rays_d = rays_o.float(), rays_d.float()
    s_coarse, u_fine = s_coarse.float(), u_fine.float()
    sizes = {
        "COARSE": s_coarse.shape[-1],
        "FINE": u_fine.shape[-1],
        "BOUNDED": bounded,
        "BACKGROUND": background,
        "EMPTY": empty_outside,
        "METRIC": metric,
        "NOISE": noise is not None,
    }
    *seen, t = _Render.apply(planes, *layers, rays_o, rays_d, s_coarse, u_fine, noise, scene, sizes)
    return Composite(*seen), t


class _Render(torch.autograd.Function):
    """(planes, four layers' tensors, origins, directions, …) → rgb, depth, opacity, weights, t."""

    @staticmethod
    def forward(
        ctx: Any,
        planes: Tensor,
        hidden_weight: Tensor,
        hidden_bias: Tensor,
        output_weight: Tensor,
        output_bias: Tensor,
        rays_o: Tensor,
        rays_d: Tensor,
        s_coarse: Tensor,
        u_fine: Tensor,
        noise: Tensor | None,
        scene: Scene,
        sizes: dict[str, Any],
    ) -> tuple[Tensor, ...]:
        moved = texels_first(planes)
        layers = Layers(*(w.contiguous() for w in (hidden_weight, hidden_bias, output_weight, output_bias)))
        some = rays_o if noise is None else noise  # without noise no kernel looks
        rays = Rays(*(x.contiguous() for x in (rays_o, rays_d, s_coarse, u_fine, some)))
        batch, count = rays_o.shape[:2]
        seen = _empty(batch, count, sizes["COARSE"] + sizes["FINE"], rays_o, noisy=noise is not None)
        wide = padded(max(sizes["COARSE"], sizes["FINE"]))
        held = rays_per_program(wide)
        blocks = triton.cdiv(count, held)
        render_kernel[(batch * blocks,)](
            as_planes(moved), layers, rays, seen, scene, count, blocks,
            R=held, P=wide, num_warps=warps(held, wide), **layer_sizes(moved, layers), **sizes,
        )  # fmt: skip
        ctx.save_for_backward(moved, *layers, *rays, seen.t, seen.noise)
        ctx.scene, ctx.sizes = scene, sizes
        ctx.mark_non_differentiable(seen.t)
        ctx.set_materialize_grads(False)
        return seen[:5]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        moved, *saved = ctx.saved_tensors
        layers, rays, (t, noise) = Layers(*saved[:4]), Rays(*saved[4:9]), saved[9:]
        batch, count, samples = t.shape
        to_planes, *to_layers, to_origins, to_directions = ctx.needs_input_grad[:7]
        to_rgb, to_depth, to_opacity = (
            t.new_zeros(batch, count, size) if slope is None else slope.contiguous()
            for slope, size in zip(given[:3], (3, 1, 1), strict=True)
        )
        to_weights = t if given[3] is None else given[3].contiguous()
        wide = padded(samples)
        held = rays_per_program(wide)
        blocks = triton.cdiv(count, held)
        programs = program_count(batch * blocks, t.device)
        sizes = layer_sizes(moved, layers) | {"PRECISION": precision(backward=True)}
        # texels are added to by many programs at once, in float32 whatever the planes' type
        texels = torch.zeros_like(moved, dtype=torch.float32) if to_planes else moved
        found = Found(
            torch.empty_like(rays.origins),
            torch.empty_like(rays.directions),
            empty_partials(programs, sizes, t),
        )
        choices = ("BOUNDED", "BACKGROUND", "EMPTY", "NOISE")
        render_backward_kernel[(programs,)](
            as_planes(moved), layers, rays, t, noise, Slopes(to_rgb, to_depth, to_opacity, to_weights),
            as_planes(texels), found, ctx.scene, count, blocks, batch * blocks,
            SAMPLES=samples, R=held, M=wide, num_warps=8, num_stages=1, **sizes,
            **{name: ctx.sizes[name] for name in choices},
            TO_PLANES=to_planes, TO_RAYS=to_origins or to_directions, TO_LAYERS=any(to_layers),
            TO_WEIGHTS=given[3] is not None,
        )  # fmt: skip
        return (
            texels.permute(0, 1, 4, 2, 3).to(moved.dtype) if to_planes else None,
            *layer_gradients(found.layers, layers, sizes, to_layers),
            found.origins if to_origins else None,
            found.directions if to_directions else None,
            *(None,) * 5,
        )


def _empty(batch: int, count: int, samples: int, like: Tensor, *, noisy: bool) -> Seen:
    """Room for what rays see."""
    rgb, depth, opacity = (like.new_empty(batch, count, size) for size in (3, 1, 1))
    weights, t = (like.new_empty(batch, count, samples) for _ in range(2))
    return Seen(rgb, depth, opacity, weights, t, torch.empty_like(t) if noisy else t)

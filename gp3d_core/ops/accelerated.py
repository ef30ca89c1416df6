"""The reference's operations with a choice of body: `backend` as in `backends`, everything else as in `reference`.

Kernels give gradients once, in float32; those to the planes and to weights are sums of atomic or parallel additions,
whose last bits differ from run to run.
"""

from __future__ import annotations

import torch

from gp3d_core.ops import reference
from gp3d_core.ops.backends import Backend, runs_triton
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.reference import Background, Composite, Perceptron


def decode_triplane(
    planes: torch.Tensor,
    points: torch.Tensor,
    perceptron: Perceptron,
    *,
    box: float = 1.0,
    backend: Backend = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `reference.decode_triplane`; kernels keep the features on chip."""
    if not (runs_triton(points, backend) and runs_triton(planes, backend)):
        return reference.decode_triplane(planes, points, perceptron, box=box)
    from gp3d_core.ops.triton import decoding

    sizes = check_shape("planes", planes, "B 3 C H W")
    check_shape("points", points, "B N 3", sizes)
    return decoding.decode_triplane(planes, points.float(), perceptron, box=box)


def composite_rays(
    rgb: torch.Tensor,
    sigma: torch.Tensor,
    t: torch.Tensor,
    *,
    last_interval: float,
    background: Background = "none",
    t_far: float,
    backend: Backend = "auto",
) -> Composite:
    """As `reference.composite_rays`, in one launch for each direction."""
    if not runs_triton(sigma, backend):
        return reference.composite_rays(
            rgb, sigma, t, last_interval=last_interval, background=background, t_far=t_far
        )
    from gp3d_core.ops.triton import compositing

    sizes = check_shape("sigma", sigma, "B R S")
    check_shape("rgb", rgb, "B R S C", sizes)
    check_shape("t", t, "B R S", sizes)
    rgb, sigma, t = rgb.float(), sigma.float(), t.float()
    return compositing.composite_rays(
        rgb, sigma, t, last_interval=last_interval, background=background, t_far=t_far
    )


@torch.no_grad()
def sample_importance(
    s: torch.Tensor, weights: torch.Tensor, u: torch.Tensor, *, backend: Backend = "auto"
) -> torch.Tensor:
    """As `reference.sample_importance`, in one launch."""
    if s.shape[-1] < 3 or not runs_triton(s, backend):
        return reference.sample_importance(s, weights, u)
    from gp3d_core.ops.triton import importance

    sizes = check_shape("s", s, "B R S")
    check_shape("weights", weights, "B R S", sizes)
    check_shape("u", u, "B R F", sizes)
    return importance.sample_importance(s.float(), weights.float(), u.float())

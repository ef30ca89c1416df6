"""Non-flatness score: how far the depths of generated images spread over the space between near and far plane.

3DGP §4.1 and appendix (its Eq. 8 misprints the entropy without a logarithm; the score is exp of the entropy). A
generator may paint on a flat wall and still score well on images alone; this score notices.
"""

from __future__ import annotations

import torch

from gp3d_core.ops.checks import check_shape

BINS = 64


def depth_entropy(depth: torch.Tensor, t_near: float, t_far: float) -> torch.Tensor:
    """Entropy [N] in nats of each depth map's histogram, float64; `depth` [N,P] holds N maps of P pixels.

    64 equal bins from `t_near` to `t_far`; depths outside count in the outer bins. Raises ValueError for empty or
    non-finite depth and for t_near ≥ t_far.
    """
    sizes = check_shape("depth", depth, "N P")
    if not t_near < t_far:
        raise ValueError(f"t_near must lie before t_far, got {t_near} and {t_far}")
    if depth.numel() == 0 or not torch.isfinite(depth).all():
        raise ValueError("depth must be finite and hold at least one map of one pixel")
    fraction = (depth.double() - t_near) / (t_far - t_near)
    bins = (fraction * BINS).floor().clamp(0, BINS - 1).long()
    counts = torch.zeros(sizes["N"], BINS, dtype=torch.float64, device=depth.device)
    counts.scatter_add_(1, bins, torch.ones_like(fraction))
    p = counts / sizes["P"]
    return -(p * torch.log(p + 1e-12)).sum(dim=1)


def non_flatness_score(depth: torch.Tensor, t_near: float, t_far: float) -> float:
    """Mean over maps of exp(entropy of the depth histogram), from 1 (flat) to 64 (depths spread evenly).

    `depth` [N,P] is the distance along unit rays, in world units, of N generated images of P pixels. What to know
    before quoting a score, in the setting of the released code (256 images at 256 × 256 pixels):

    * It measures spread, not truth: noise in depth, or a tilted plane, scores higher than a good flat-backed object.
    * Render with `cut_quantile=0.5`, over all rays and images of a batch at once; a quantile of each chunk gives
      another score.
    * Rays that lose density to the cut have weights that sum to less than 1, and depth is Σw·t *not* divided by Σw,
      so their depth shrinks towards 0 and lands in the first bin. A white background gives the missing light the far
      plane's depth instead, which fills the last bin: scores with and without it do not compare.
    * "Frontal" cameras are frontal only before the camera generator: it adapts the angles (0, π/2) like any others.
    * It depends on t_near and t_far: compare only models with the same bounds.
    """
    return depth_entropy(depth, t_near, t_far).exp().mean().item()

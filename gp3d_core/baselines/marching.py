"""Two passes along rays through a field of features (NeRF §5.2), for systems whose field is not just coloured.

Legend: B batch, R rays, S coarse samples, F fine samples of a ray, C feature channels.
The samples stay in the order of the passes, coarse then fine: sums over a ray do not need another, and features, the
largest tensors here, are not moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gp3d_core.ops.accelerated import sample_importance
from gp3d_core.ops.reference import cut_density, ray_weights

Query = Callable[[Tensor, bool], tuple[Tensor, Tensor]]
"""Features [B,C,R,S] and density times length per unit of t [B,R,S], at distances t [B,R,S]; the flag tells that it is
the pass of fine samples."""

PDF_FLOOR = 2e-5  # that `sample_importance` adds to weights


@dataclass(frozen=True, eq=False)
class Marched:
    """All samples of rays: features [B,C,R,S+F], densities, compositing weights and distances [B,R,S+F]."""

    features: Tensor
    density: Tensor
    weights: Tensor
    t: Tensor

    def composite(self) -> Tensor:
        """Σ w · feature over each ray, [B,C,R]."""
        return (self.features * self.weights[:, None]).sum(dim=-1)


def march(
    query: Query,
    t: Tensor,
    u_fine: Tensor,
    *,
    last_interval: float,
    floor: float = PDF_FLOOR,
    cut_quantile: float = 0.0,
) -> Marched:
    """Samples at increasing distances `t` [B,R,S] and where these found something, at the numbers `u_fine` [B,R,F].

    `last_interval` as for `ops.reference.ray_weights`: 0 gives the last sample no weight. `floor` is what keeps bins of
    the distribution from being empty. Densities below the `cut_quantile`, over all rays of a pass, count as 0.
    """

    def cut(density: Tensor) -> Tensor:
        return cut_density(density, cut_quantile) if cut_quantile > 0 else density

    features, density = query(t, False)
    if u_fine.shape[-1]:
        guide = ray_weights(cut(density.detach()), t, last_interval=last_interval)
        t_fine = sample_importance(t, guide + (floor - PDF_FLOOR), u_fine)
        fine, fine_density = query(t_fine, True)
        t = torch.cat([t, t_fine], dim=-1)
        features = torch.cat([features, fine], dim=-1)
        density = torch.cat([density, fine_density], dim=-1)
    density = cut(density)
    nearest_first, order = t.sort(dim=-1)
    weights = ray_weights(density.gather(-1, order), nearest_first, last_interval=last_interval)
    return Marched(features, density, torch.zeros_like(weights).scatter(-1, order, weights), t)

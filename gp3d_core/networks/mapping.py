"""From noise and class to style codes (3DGP §3.1, after StyleGAN2), with truncation towards an average.

Letters: B batch, L style codes per object, D their width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gp3d_core.networks.layers import EqualisedLinear, normalise_second_moment
from gp3d_core.networks.mixture_prior import MixturePrior
from gp3d_core.ops.checks import check_shape

AVERAGE_DECAY = 0.998
LAYER_LR_MULTIPLIER = 0.01


def required(name: str, tensor: Tensor | None, width: int) -> Tensor:
    """`tensor` [B,width] itself; TypeError if it is missing, ValueError if it has another shape."""
    if tensor is None:
        raise TypeError(
            f"{name}: this network is conditioned on it; expected a tensor [B, {width}], found None"
        )
    check_shape(name, tensor, f"B {width}")
    return tensor


class ConditionedMLP(nn.Module):
    """Normalised noise beside a normalised embedding of the condition, then leaky-ReLU layers; either may be
    absent.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        width: int,
        layers: int,
        *,
        embedding: int | None = None,
        outputs: int | None = None,
    ) -> None:
        """`z_dim` or `c_dim` 0 leaves that input out; ValueError if both are.

        The condition's `embedding` and the last layer's `outputs` are as wide as all layers if not given.
        """
        super().__init__()
        if z_dim == 0 and c_dim == 0:
            raise ValueError("an MLP needs noise (z_dim > 0), a condition (c_dim > 0) or both, found neither")
        self.z_dim = z_dim
        self.c_dim = c_dim
        embedding = width if embedding is None else embedding
        self.embed = EqualisedLinear(c_dim, embedding) if c_dim else None
        widths = [z_dim + (embedding if c_dim else 0), *[width] * (layers - 1), outputs or width]
        self.layers = nn.Sequential(
            *(
                EqualisedLinear(widths[i], widths[i + 1], "lrelu", lr_multiplier=LAYER_LR_MULTIPLIER)
                for i in range(layers)
            )
        )

    def forward(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        """Codes [B,width] of `z` [B,z_dim] and `c` [B,c_dim]; an input of width 0 is not looked at.

        Raises TypeError or ValueError for an input that is missing or of another width.
        """
        parts = []
        if self.z_dim:
            parts.append(normalise_second_moment(required("z", z, self.z_dim)))
        if self.embed is not None:
            parts.append(normalise_second_moment(self.embed(required("c", c, self.c_dim))))
        return self.layers(torch.cat(parts, dim=1))


class Mapping(nn.Module):
    """z [B,z_dim] and c [B,c_dim] → ws [B,L,D]: one style code per object, repeated for every layer."""

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int,
        layers: int,
        *,
        known_objects: int = 0,
        width: int | None = None,
        embedding: int | None = None,
        average_decay: float = AVERAGE_DECAY,
    ) -> None:
        """`c_dim` 0 makes it unconditional. With `known_objects`, noise passes through a mixture around these first.

        Inner layers of `width` and the class's `embedding` are as wide as a code if not given.
        """
        super().__init__()
        self.network = ConditionedMLP(
            z_dim, c_dim, width or w_dim, layers, embedding=embedding or w_dim, outputs=w_dim
        )
        self.average_decay = average_decay
        self.prior = MixturePrior(known_objects, max(c_dim, 1), z_dim) if known_objects else None
        self.num_ws = num_ws
        self.register_buffer("w_avg", torch.zeros(w_dim))

    @property
    def truncates_to_class(self) -> bool:
        """Whether truncation pulls towards an average; with known objects it pulls towards the nearest of these."""
        return self.prior is None

    def forward(
        self,
        z: Tensor,
        c: Tensor | None,
        *,
        truncation: float = 1.0,
        centre: Tensor | None = None,
        update_average: bool = False,
    ) -> Tensor:
        """Style codes ws [B,num_ws,w_dim] = centre + truncation · (w - centre).

        `centre` [w_dim] or [B,w_dim] defaults to the running average over all classes; for class-conditional
        models a mean per class keeps more of the class. With known objects there is no centre: truncation narrows the
        distributions around them. `update_average` moves the running average towards this batch.
        """
        if self.prior is not None:
            labels = torch.zeros(len(z), dtype=torch.int64, device=z.device) if c is None else c.argmax(dim=1)
            z = self.prior(z, labels, truncation)
        w = self.network(z, c)
        if update_average:
            with torch.no_grad():
                self.w_avg.lerp_(w.mean(dim=0), 1.0 - self.average_decay)
        if truncation != 1.0 and self.truncates_to_class:
            w = torch.lerp((self.w_avg if centre is None else centre).expand_as(w), w, truncation)
        return w[:, None].expand(-1, self.num_ws, -1)

"""Noise to latents of a mixture: one normal distribution around the latent of every known object of a class.

A kernel density estimate with Silverman's shrinkage (Silverman, Density Estimation, 1986, §6.4): the mixture keeps mean
and covariance of the class's latents, whatever its bandwidth. Unlike one normal distribution it has no mass half-way
between kinds of a class that have nothing between them. Letters: B samples, C classes, M known objects, Z numbers of
a latent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_EDGE = 1e-6  # a normal quantile is finite from there on


class MixturePrior(nn.Module):
    """z ~ N(0, I) and a class → latents [B,Z] near those of known objects, each of which is drawn equally often."""

    latents: Tensor
    counts: Tensor
    means: Tensor
    factors: Tensor
    bandwidth: Tensor

    def __init__(self, objects: int, classes: int, z_dim: int) -> None:
        """A prior of `objects` known objects in `classes`, to be filled by `set_known` or from a file."""
        super().__init__()
        self.register_buffer("latents", torch.zeros(objects, z_dim))  # class after class
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.int64))  # objects of each class
        self.register_buffer("means", torch.zeros(classes, z_dim))
        self.register_buffer(
            "factors", torch.zeros(classes, z_dim, z_dim)
        )  # A of each covariance A·Aᵀ, lower
        self.register_buffer(
            "bandwidth", torch.zeros(())
        )  # h: 0 gives known objects, 1 a normal distribution

    @torch.no_grad()
    def set_known(self, latents: Tensor, labels: Tensor, bandwidth: float) -> None:
        """Makes the latents [M,Z] of objects with the `labels` [M] those that samples lie near.

        Objects of a class are ordered by their first principal component, so that noise of nearly the same first number
        gives like objects. ValueError for a class without objects.
        """
        rows: list[Tensor] = []
        for label in range(len(self.counts)):
            members = latents[labels == label].double()
            if not len(members):
                raise ValueError(f"class {label} has no known object")
            centred = members - members.mean(dim=0)
            covariance = centred.T @ centred / len(members)
            axis = torch.linalg.eigh(covariance).eigenvectors[:, -1]
            rows.append(members[(centred @ (axis * axis.sum().sign())).argsort(stable=True)])
            eye = torch.eye(latents.shape[1], dtype=covariance.dtype, device=covariance.device)
            self.counts[label] = len(members)
            self.means[label] = members.mean(dim=0).float()
            self.factors[label] = torch.linalg.cholesky(covariance + 1e-6 * eye).float()
        self.latents.copy_(torch.cat(rows))
        self.bandwidth.fill_(bandwidth)

    def forward(self, z: Tensor, labels: Tensor, spread: float = 1.0) -> Tensor:
        """Latents [B,Z] of noise `z` [B,Z] in the classes `labels` [B].

        The first number of z chooses the known object, by its place among equal parts of N(0, 1); the rest of that
        number and all others say how far from it. `spread` scales that distance: 0 gives known objects.
        """
        counts, dtype = (
            self.counts[labels],
            torch.float64,
        )  # half of float32's digits would be lost to the place
        place = 0.5 * (1.0 + torch.erf(z[:, 0].to(dtype) / math.sqrt(2.0))) * counts
        number = place.long().minimum(counts - 1)
        rest = torch.special.ndtri((place - number).clamp(_EDGE, 1.0 - _EDGE)).to(z.dtype)
        noise = torch.cat([rest[:, None], z[:, 1:]], dim=1)
        known = self.latents[self.counts.cumsum(0)[labels] - counts + number].to(z.dtype)
        means, factors = self.means[labels].to(z.dtype), self.factors[labels].to(z.dtype)
        h = float(self.bandwidth)
        moved = means + math.sqrt(1.0 - h * h) * (known - means)
        return torch.lerp(known, moved, spread) + spread * h * (factors @ noise[..., None])[..., 0]

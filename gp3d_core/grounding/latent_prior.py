"""After grounding: z ~ N(0, I) with a class comes to mean objects like the known ones.

Either the mapping is given a mixture around the known latents (`networks.mixture_prior`), or it learns one normal
distribution for each class: N(μ, Σ), Σ = A·Aᵀ. Then the new mapping learns z ↦ M(μ + A·z), where M is the mapping that
was trained with the latents; so plain noise lands where the known models lie, with their spread and their
correlations. Letters: C classes, N models of one, Z noise, D width of a code.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import trange

from gp3d_core.config.schema import RunConfig
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import one_hot
from gp3d_core.networks.layers import normalise_second_moment
from gp3d_core.networks.mapping import Mapping
from gp3d_core.rng import generator_for

_BATCH = 512
_RATE = 0.01
_SMALLEST = 1e-6  # variance, so that a direction in which a class never varies does not break the factor


@dataclass(frozen=True, eq=False)
class LatentPrior:
    """Normal distributions of C classes over latents: means [C,Z] and factors [C,Z,Z], lower triangular."""

    means: Tensor
    factors: Tensor

    def latents(self, z: Tensor, labels: Tensor) -> Tensor:
        """Latents [B,Z] of the noise z [B,Z] in the classes `labels` [B]."""
        return self.means[labels] + (self.factors[labels] @ z[..., None])[..., 0]


def fit_latents(latents: Tensor, labels: Tensor, classes: int) -> LatentPrior:
    """The normal distribution of every class over the directions of its `latents` [M,Z], scaled to mean square one.

    A class of one model has no spread.
    """
    z = normalise_second_moment(latents.detach()).double()
    means, factors = [], []
    for label in range(classes):
        members = z[labels == label]
        centred = members - members.mean(dim=0)
        covariance = centred.T @ centred / max(len(members) - 1, 1)
        eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        means.append(members.mean(dim=0))
        factors.append(torch.linalg.cholesky(covariance + _SMALLEST * eye))
    return LatentPrior(torch.stack(means).float(), torch.stack(factors).float())


def fit_mapping(
    mapping: Mapping, prior: LatentPrior, *, steps: int, seed: int, progress: bool = True
) -> float:
    """Trains `mapping` to give from plain noise what it gave from latents of the `prior`; sets its average code.

    Fresh noise every step. Returns the share of the codes' variance within classes that stays unexplained (0 perfect,
    1 as good as the class mean).
    """
    device, teacher = mapping.w_avg.device, copy.deepcopy(mapping)
    parameters = list(mapping.parameters())
    layers = {id(p) for p in mapping.network.layers.parameters()}
    variance = _variance_within(teacher, prior, generator_for(seed, "prior variance", device=device))
    mapping.requires_grad_(True)
    # the layers carry a learning rate multiplier of 0.01, made for the adversarial game
    optimizer = torch.optim.Adam(
        [
            {"params": [p for p in parameters if id(p) in layers], "lr": 10.0 * _RATE},
            {"params": [p for p in parameters if id(p) not in layers], "lr": _RATE},
        ],
        betas=(0.9, 0.99),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min((k + 1) / 100, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * k / steps)))
    )
    for k in trange(steps, desc="fitting the mapping", unit="step", disable=None if progress else True):
        loss = (
            _prior_error(mapping, teacher, prior, generator_for(seed, "prior", k, device=device)) / variance
        )
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    mapping.requires_grad_(False)
    with torch.no_grad():
        checks = [generator_for(seed, "prior check", k, device=device) for k in range(8)]
        left = torch.stack([_prior_error(mapping, teacher, prior, draws) for draws in checks]).mean()
        z, labels = _noise(
            mapping, prior, 64 * len(prior.means), generator_for(seed, "average", device=device)
        )
        mapping.w_avg.copy_(mapping.network(z, one_hot(labels, len(prior.means))).mean(dim=0))
    return float(left / variance)


def with_mixture(
    generator: Generator, config: RunConfig, latents: Tensor, labels: Tensor
) -> tuple[Generator, RunConfig]:
    """The `generator` with a mixture around the `latents` [M,Z] of models with the `labels` [M], and its configuration.

    Its average code becomes the mean of those of the models.
    """
    told = replace(config, generator=replace(config.generator, known_objects=len(latents)))
    whole = Generator(told, generator.c_dim).to(latents.device).eval().requires_grad_(False)
    whole.load_state_dict(
        whole.state_dict() | generator.state_dict()
    )  # all but the prior, which is filled below
    mapping, z = whole.mapping, normalise_second_moment(latents.detach())
    if mapping.prior is None:
        raise ValueError("expected at least one model")
    mapping.prior.set_known(z, labels, config.grounding.bandwidth)
    mapping.w_avg.copy_(mapping.network(z, one_hot(labels, generator.c_dim)).mean(dim=0))
    return whole, told


def _noise(mapping: Mapping, prior: LatentPrior, count: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise z [count,Z] and labels [count], the classes taking turns."""
    z = torch.randn(count, mapping.network.z_dim, generator=draws, device=draws.device)
    return z, torch.arange(count, device=draws.device) % len(prior.means)


def _prior_error(mapping: Mapping, teacher: Mapping, prior: LatentPrior, draws: torch.Generator) -> Tensor:
    """Mean squared difference between the mapping's and the teacher's codes at fresh noise, over all classes."""
    z, labels = _noise(mapping, prior, max(_BATCH, 8 * len(prior.means)), draws)
    c = one_hot(labels, len(prior.means))
    with torch.no_grad():
        target = teacher.network(prior.latents(z, labels), c)
    return (mapping.network(z, c) - target).square().mean()


@torch.no_grad()
def _variance_within(teacher: Mapping, prior: LatentPrior, draws: torch.Generator) -> Tensor:
    """Mean variance of the target codes around their class means."""
    z, labels = _noise(teacher, prior, 256 * len(prior.means), draws)
    w = teacher.network(prior.latents(z, labels), one_hot(labels, len(prior.means)))
    by_class = w.unflatten(0, (256, len(prior.means)))
    return by_class.var(dim=0).mean().clamp(min=1e-12)

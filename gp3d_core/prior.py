"""After grounding: the mapping learns that z ~ N(0, I) with a class means objects like the known ones.

The target is a kernel map. Per class the codes w_i of the known models become whitened principal coordinates p_i in
k dimensions, and w(z) = Σ_i softmax_i(−‖z_1..k − p_i‖² / 2τ² + b_i) · w_i, with b_i such that every model owns the
same mass of N(0, I). Small τ stays near single models, large τ blends. Letters: C classes, N models of one, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import trange

from gp3d_core.descriptors import whitened
from gp3d_core.networks.mapping import LAYER_LR_MULTIPLIER, Mapping
from gp3d_core.phases import one_hot
from gp3d_core.streams import stream

_BALANCING_DRAWS = 4000
_BALANCING_STEPS = 300
_BATCH = 512
_RATE = 0.005


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Noise to style codes of one class: anchors [N,k], their codes [N,D] and biases [N]; `temperature` is τ."""

    anchors: Tensor
    codes: Tensor
    biases: Tensor
    temperature: float

    def weights(self, z: Tensor) -> Tensor:
        """Share [B,N] that every model has in the objects of noise z [B,≥k]."""
        k = self.anchors.shape[1]
        return torch.softmax(_affinity(z[:, :k], self.anchors, self.temperature) + self.biases, dim=1)

    def __call__(self, z: Tensor) -> Tensor:
        """Style codes [B,D] of noise z [B,≥k]."""
        return self.weights(z) @ self.codes


def _affinity(z: Tensor, anchors: Tensor, temperature: float) -> Tensor:
    return -torch.cdist(z, anchors).square() / (2.0 * temperature**2)


def build_kernel_map(codes: Tensor, dims: int, temperature: float, generator: torch.Generator) -> KernelMap:
    """The kernel map over the `codes` [N,D] of one class; its masses are balanced on noise from `generator`."""
    k = max(min(dims, len(codes) - 1), 1)
    anchors = whitened(codes.cpu(), k).to(codes)
    z = torch.randn(_BALANCING_DRAWS, k, generator=generator, device=generator.device).to(codes)
    affinity = _affinity(z, anchors, temperature)
    biases = torch.zeros(len(codes), device=codes.device, dtype=codes.dtype)
    for _ in range(_BALANCING_STEPS):
        mass = torch.softmax(affinity + biases, dim=1).mean(dim=0)
        biases = biases - (mass * len(codes)).clamp(min=1e-8).log()
    return KernelMap(anchors, codes, biases, temperature)


def fit_mapping(
    mapping: Mapping, maps: list[KernelMap], *, steps: int, seed: int, progress: bool = True
) -> float:
    """Trains `mapping` towards the kernel map of every class, fresh noise every step; sets its average code.

    Returns the share of the codes' variance within classes that stays unexplained (0 perfect, 1 as good as the class
    mean).
    """
    device = mapping.w_avg.device
    variance = torch.stack([m.codes.var(dim=0, unbiased=False).mean() for m in maps]).mean().clamp(min=1e-12)
    layers = list(mapping.network.layers.parameters())
    ours = {id(p) for p in layers}
    others = [p for p in mapping.parameters() if id(p) not in ours]
    mapping.requires_grad_(True)
    optimizer = torch.optim.Adam(
        [{"params": layers, "lr": _RATE / LAYER_LR_MULTIPLIER * 0.1}, {"params": others, "lr": _RATE}],
        betas=(0.9, 0.99),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min((k + 1) / 100, 0.5 * (1 + math.cos(math.pi * k / steps)) + 0.01)
    )
    for k in trange(steps, desc="fitting the mapping", unit="step", disable=not progress):
        loss = _prior_error(mapping, maps, stream(seed, "prior", k, device=device)) / variance
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    mapping.requires_grad_(False)
    with torch.no_grad():
        left = torch.stack(
            [_prior_error(mapping, maps, stream(seed, "prior check", k, device=device)) for k in range(8)]
        )
        mapping.w_avg.copy_(torch.stack([m.codes.mean(dim=0) for m in maps]).mean(dim=0))
    return float(left.mean() / variance)


def _prior_error(mapping: Mapping, maps: list[KernelMap], draws: torch.Generator) -> Tensor:
    """Mean squared difference between mapping and kernel maps at fresh noise, over all classes."""
    z_dim, count = mapping.network.z_dim, len(maps)
    each = max(_BATCH // count, 1)
    z = torch.randn(count, each, z_dim, generator=draws, device=draws.device)
    with torch.no_grad():
        target = torch.cat([m(part) for m, part in zip(maps, z, strict=True)])
    labels = torch.arange(count, device=z.device).repeat_interleave(each)
    w = mapping.network(z.flatten(0, 1), one_hot(labels, count))
    return (w - target).square().mean()

"""Non-flatness score of a snapshot, in the two readings of 3DGP's "frontal" cameras (its Eq. 8)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace

import torch
from tqdm import tqdm

from gp3d_core.evaluation.samples import Sampler
from gp3d_core.metrics.nfs import depth_entropy
from gp3d_core.metrics.score import Score
from gp3d_core.networks.latents import Latents
from gp3d_core.rendering.cameras import Cameras

SAMPLES = 256
CUT_QUANTILE = 0.5
_BATCH = 4  # samples whose densities share one quantile


def measure_flatness(sampler: Sampler, n: int = SAMPLES) -> list[Score]:
    """Scores `nfs`, as released, and `nfs/frontal`, of the same `n` samples.

    `nfs` puts the prior's angles at (0, π/2) and hands them to the camera generator like any others, as the released
    code does; `nfs/frontal` puts the cameras there for certain. Field of view and look-at point are the posterior's
    in both. Depth is Σw·t, of densities whose lower half, within each four samples, counts as empty. Of a system that
    draws pictures without depth the score is NaN, of no samples.
    """
    if sampler.snapshot.config.dimensions < 3:
        facts = {**sampler.facts, "reason": "pictures without depth"}
        return [Score(metric="nfs", value=math.nan, n=0, facts=facts)]
    readings: dict[str, Callable[[Latents], Cameras]] = {
        "nfs": lambda latents: sampler.posterior(replace(latents, prior=_in_front(latents.prior))),
        "nfs/frontal": lambda latents: _in_front(sampler.posterior(latents)),
    }
    scores = []
    for name, adapt in readings.items():
        values = _samples_scores(sampler, adapt, n, name)
        facts = {
            **sampler.facts,
            "reading": "angles (0, π/2) before the camera generator"
            if name == "nfs"
            else "cameras at (0, π/2)",
            "cut_quantile": CUT_QUANTILE,
            "std": float(values.std(correction=0)),
            "resolution": sampler.snapshot.config.training.resolution,
            "t_near": sampler.snapshot.config.camera.t_near,
            "t_far": sampler.snapshot.config.camera.t_far,
        }
        scores.append(Score(metric=name, value=float(values.mean()), n=n, facts=facts))
    return scores


def _samples_scores(
    sampler: Sampler, adapt: Callable[[Latents], Cameras], n: int, title: str
) -> torch.Tensor:
    """exp(entropy) [n] of each sample's depth histogram, float64."""
    camera = sampler.snapshot.config.camera
    values = []
    for number in tqdm(range(-(-n // _BATCH)), desc=title, unit="batch", file=sys.stderr, disable=None):
        latents = sampler.latents("depth", number, _BATCH)
        seen = sampler.view(latents, adapt, "depth", number, cut_quantile=CUT_QUANTILE)
        values.append(depth_entropy(seen.depth.flatten(1), camera.t_near, camera.t_far).exp().cpu())
    return torch.cat(values)[:n]


def _in_front(cameras: Cameras) -> Cameras:
    """The cameras moved to yaw 0, pitch π/2."""
    angles = torch.zeros_like(cameras.angles)
    angles[:, 1] = math.pi / 2
    return replace(cameras, angles=angles)

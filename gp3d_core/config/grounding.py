"""Configuration of grounding: what a step learns from, in which order, and what noise means in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class GroundingConfig:
    """Learning from known shapes before, or instead of, adversarial training (docs/grounding.md).

    Three stages, as shares of `training.kimg` (which counts objects): points alone, rays alone, then both.
    """

    colour: Literal["picture", "albedo"] = (
        "picture"  # what the field's colour is: as pictured, or without light
    )
    points: int = 1536  # of an object and step: half near its surface, half anywhere in the box
    surface_points: int = (
        0  # of an object and step, on its surface with their colour; 0: colour is of the rays alone
    )
    colour_jitter: float = (
        0.01  # world units around a surface within which its colour is learnt, standard deviation
    )
    free_weight: float = 0.0  # of empty points anywhere, beside their part of all: against mist
    rays: int = 160  # of an object and step: half on the object
    ray_steps: int = 16  # stratified samples of a ray ...
    surface_steps: int = 8  # ... and samples around the true depth
    surface_spread: float = 0.03  # their standard deviation, world units
    point_share: float = 0.14  # of training.kimg with points alone
    ray_share: float = 0.07  # of training.kimg with rays alone
    point_weight: float = 0.15  # of the points in the last stage
    latent_dims: int = 16  # of z that start as the principal components of the shapes; the rest starts at 0
    latent_noise: float = 0.3  # s: the mapping sees sqrt(1 - s²) z + s ε
    latent_lr: float = 0.05  # learning rate of the latents
    held_out: int = 2  # models of each class whose last view is only measured
    noise_maps: Literal["const", "none"] = (
        "const"  # the backbone's spatial noise; none leaves it at strength 0
    )
    prior: Literal["normal", "mixture"] = "normal"  # what a class's latents are taken for in the end
    prior_steps: int = 4000  # normal: in which the mapping learns where noise should land
    bandwidth: float = 0.3  # mixture: spread around a known object's latent, relative to its class's

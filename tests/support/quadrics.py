"""Tri-plane fields with a known surface: unions of axis-parallel ellipsoids, which a tri-plane can hold exactly.

q = Σ ((p − centre) / radius)² comes apart into functions of two coordinates. Two hidden units, 1 − q and q − 1, make
relu(1 − q) out of leaky ones: relu(x) = (lrelu(x) + s lrelu(−x)) / (1 − s²). Colours are smooth noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from gp3d_core.config.schema import GeneratorConfig
from gp3d_core.networks.decoder import TriplaneDecoder, TriplaneField

SLOPE = 0.2
AXES = ((0, 1), (0, 2), (1, 2))


def quadric_field(
    ellipsoids: Sequence[tuple[Sequence[float], Sequence[float]]],
    *,
    resolution: int = 256,
    channels: int = 32,
    width: int = 64,
    box: float = 0.5,
    strength: float = 1.0,
    rest: float = -0.25,
    roughness: float = 0.0,
) -> TriplaneField:
    """The field of ellipsoids (centre, radii): raw = `rest` + `strength` Σ relu(1 − q); rgb is noise.

    A single ellipsoid has the surface q = 1 − (level − rest) / strength. `roughness` adds noise to the density.
    """
    noise = torch.Generator().manual_seed(0)
    config = GeneratorConfig(plane_resolution=resolution, plane_channels=channels, decoder_width=width)
    decoder = TriplaneDecoder(config).requires_grad_(False)
    coarse = torch.randn(3, channels, 12, 12, generator=noise)
    planes = F.interpolate(coarse, size=resolution, mode="bicubic", align_corners=True)
    decoder.hidden.weight.copy_(torch.randn(width, channels, generator=noise))
    decoder.output.weight.copy_(torch.randn(4, width, generator=noise) * 0.5)
    decoder.output.bias.zero_()
    gain = decoder.hidden.weight_gain
    decoder.output.weight[3] = roughness * torch.randn(width, generator=noise)
    line = torch.linspace(-box, box, resolution)
    for unit, (centre, radii) in enumerate(ellipsoids):
        for plane, (across, down) in enumerate(AXES):
            v, u = torch.meshgrid(line, line, indexing="ij")
            square = ((u - centre[across]) / radii[across]) ** 2 + ((v - centre[down]) / radii[down]) ** 2
            planes[plane, unit] = 1.0 - 1.5 * square  # the mean of three planes, each axis in two of them
        weight = strength / (1 - SLOPE**2) / decoder.output.weight_gain / 2**0.5
        for row, sign, share in ((2 * unit, 1.0, 1.0), (2 * unit + 1, -1.0, SLOPE)):
            decoder.hidden.weight[row] = 0.0
            decoder.hidden.weight[row, unit] = sign / gain
            decoder.output.weight[:3, row] = 0.0
            decoder.output.weight[3, row] = weight * share
    decoder.hidden.weight[2 * len(ellipsoids) :, : len(ellipsoids)] = (
        0.0  # other units see the other channels
    )
    decoder.output.bias[3] = rest
    return TriplaneField(planes[None], decoder, box)


MUG = (
    ((0.0, 0.0, 0.0), (0.22, 0.3, 0.22)),
    ((0.24, 0.05, 0.0), (0.1, 0.16, 0.05)),
    ((-0.1, 0.32, 0.05), (0.12, 0.06, 0.1)),
    ((0.0, -0.3, 0.0), (0.26, 0.05, 0.26)),
)

"""Where the latents of known shapes begin: alike shapes close together, spread like N(0, I) within a class.

A shape's descriptor is its coarse occupancy and the colours of its surface by place, or of its views by height; the
principal components within its class, whitened, are the first numbers of its latent.
Letters: M models, N points, g cells an edge, k components.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gp3d_core.datasets import depth_codes
from gp3d_core.grounding.ground_truth import Truth
from gp3d_core.grounding.surfaces import Surfaces

_CELLS = 12  # along an edge of the box, for occupancy
_COLOUR_CELLS = 8
_HEIGHTS = 8
_PART = 256  # models at a time


def initial_latents(truth: Truth, z_dim: int, dims: int) -> Tensor:
    """Latents [M,z_dim] float32: `dims` whitened principal components within each class, the rest 0.

    A class of N models has at most N - 1 of them.
    """
    colours = colours_by_height(truth) if truth.surface is None else colours_by_place(truth.surface)
    features = torch.cat([_balanced(occupancy_cells(truth)), _balanced(colours)], dim=1)
    z = torch.zeros(len(truth), z_dim)
    for label in range(len(truth.classes)):
        members = torch.nonzero(truth.labels.cpu() == label)[:, 0]
        k = min(dims, z_dim, len(members) - 1)
        if k > 0:
            z[members, :k] = whitened(features[members], k)
    return z


def whitened(features: Tensor, k: int) -> Tensor:
    """The first k principal components [M,k] of `features` [M,·], each of mean 0 and variance 1 (0 if there is none).

    Signs are fixed so that the component's largest deviation is positive.
    """
    centred = (features - features.mean(dim=0)).double()
    gram = centred @ centred.T
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
    components = vectors * (len(features) ** 0.5)
    largest = components.gather(0, components.abs().argmax(dim=0, keepdim=True))
    components = components * torch.where(largest < 0, -1.0, 1.0)
    return torch.where(values > 1e-9 * values[:1].clamp(min=1e-30), components, 0.0).float()


def _balanced(features: Tensor) -> Tensor:
    """Features with a total variance of 1 over all models."""
    return features / features.var(dim=0).sum().clamp(min=1e-12).sqrt()


def occupancy_cells(truth: Truth) -> Tensor:
    """Smoothed share of occupied points [M,g³] in the cells of a grid over the box, from the uniform points."""
    half = truth.positions.shape[1] // 2
    box = float(truth.positions[:, half:].abs().max())
    rows = []
    for positions, occupied in zip(
        truth.positions[:, half:].split(_PART), truth.occupied[:, half:].split(_PART), strict=True
    ):
        flat = _cells(positions, box, _CELLS)
        sums = torch.zeros(len(flat), _CELLS**3, device=flat.device)
        counts = sums.clone()
        sums.scatter_add_(1, flat, occupied.float())
        counts.scatter_add_(1, flat, torch.ones_like(occupied, dtype=torch.float32))
        smooth = [
            F.avg_pool3d(
                x.unflatten(1, (1, _CELLS, _CELLS, _CELLS)), 3, stride=1, padding=1, count_include_pad=False
            )
            for x in (sums, counts)
        ]
        rows.append((smooth[0] / smooth[1].clamp(min=1e-6)).flatten(1).cpu())
    return torch.cat(rows)


def colours_by_place(surface: Surfaces) -> Tensor:
    """Mean colour of the surface in the cells of a coarser grid, times the root of its points there, [M,3·g³].

    Colours count from grey, which cells without a surface have.
    """
    box = float(surface.positions.abs().max())
    rows = []
    for positions, albedo in zip(surface.positions.split(_PART), surface.albedo.split(_PART), strict=True):
        flat = _cells(positions, box, _COLOUR_CELLS)
        sums = torch.zeros(len(flat), _COLOUR_CELLS**3, 3, device=flat.device)
        sums.scatter_add_(1, flat[..., None].expand(-1, -1, 3), albedo.float() / 255 - 0.5)
        counts = torch.zeros(sums.shape[:2], device=flat.device)
        counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float32))
        rows.append((sums * counts.clamp(min=1.0).rsqrt()[..., None]).flatten(1).cpu())
    return torch.cat(rows)


def _cells(positions: Tensor, box: float, edge: int) -> Tensor:
    """Numbers [M,N] of the cells that positions [M,N,3] within ±box lie in, of `edge`³."""
    cell = ((positions.float() / box * 0.5 + 0.5) * edge).long().clamp(0, edge - 1)
    return (cell[..., 0] * edge + cell[..., 1]) * edge + cell[..., 2]


def colours_by_height(truth: Truth) -> Tensor:
    """Mean colour of the object in bands of image rows, averaged over a model's views, [M,3·bands].

    The last view, which may be held out, is not looked at unless it is the only one.
    """
    rows = []
    for views in truth.views[:, : max(truth.views.shape[1] - 1, 1)].split(_PART):
        images = truth.images[views.flatten()].float() / 255
        on_object = (truth.depth[views.flatten()] < depth_codes.BACKGROUND).float()[..., None]
        bands = [
            (a * b).sum(dim=(1, 2)) / b.sum(dim=(1, 2)).clamp(min=1.0)
            for a, b in zip(images.chunk(_HEIGHTS, dim=1), on_object.chunk(_HEIGHTS, dim=1), strict=True)
        ]
        rows.append(torch.cat(bands, dim=1).unflatten(0, views.shape).mean(dim=1).cpu())
    return torch.cat(rows)

"""Normals of surfaces in a field of density."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gp3d_core.rendering.volume import Field

# Least cosine to the reference normal. At a cube's corner it is 0.58 (55°), and both normals are right there; beyond
# that the differences have stepped over the feature, and their direction says nothing of it.
_STEEPEST = 0.5
_POINTS = 2**18  # of the field at a time


@torch.no_grad()
def gradient_normals(
    field: Field,
    points: torch.Tensor,
    reference: NDArray[Any],
    *,
    step: float,
    chunk: int = _POINTS,
    device: torch.device | str = "cpu",
) -> NDArray[Any]:
    """Unit normals [N,3] at `points` [N,3]: against the gradient of the density, else the reference.

    The gradient is that of central differences over ±`step` world units; the field is asked for at most `chunk` points
    at a time, on `device`. Where the two are more than 60° apart, as on features smaller than the step, or the
    `reference` normal [N,3] is zero, the reference stays.
    """
    offsets = step * torch.cat([torch.eye(3), -torch.eye(3)]).to(points)
    found = []
    for part in points.split(max(1, chunk // 6)):
        around = (part[:, None] + offsets).reshape(1, -1, 3).to(device)
        raw = field(around)[1].reshape(len(part), 6).float().cpu()
        found.append(raw[:, 3:] - raw[:, :3])
    downhill = torch.cat(found).numpy()
    length = np.linalg.norm(downhill, axis=1, keepdims=True)
    smooth = downhill / np.where(length > 0, length, 1)
    agree = np.einsum("vd,vd->v", smooth, reference) >= _STEEPEST  # false for NaN
    return np.where(agree[:, None], smooth, reference).astype(reference.dtype)

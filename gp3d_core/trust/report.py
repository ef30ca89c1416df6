"""A generated object's surface and how far it can be relied on, in arrays and in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gp3d_core.config.schema import RunConfig
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.pipeline import quick_field
from gp3d_core.rendering.activation import DensityActivation
from gp3d_core.rendering.volume import ShapeField
from gp3d_core.signals import Progress, no_progress
from gp3d_core.trust.disagreement import VIEWS, Disagreement, all_around, disagreement
from gp3d_core.trust.supervision import CAMERAS, Supervision, supervision, training_cameras
from gp3d_core.trust.thickness import THIN, thickness


@dataclass(frozen=True, eq=False)
class Trust:
    """What is known of a surface in the frame of its field: supervision and disagreement of vertices, thickness."""

    supervision: Supervision
    disagreement: Disagreement
    thickness: NDArray[Any]

    def facts(self) -> dict[str, float | None]:
        """The numbers: shares of the area, and lengths as shares of the longest side of the box.

        never_seen, well_supervised: shares of the area. supervision: its mean, 0 to 1. disagreement, disagreement_95:
        mean, and what 95 % of the area stay below; None where no camera looks. thickness: the median. thin: share that
        is thinner than 2 %. thin_parts_kept: of thin parts of the field's silhouettes, the share that the mesh has.
        """
        weights, amount = self.supervision.weights, self.disagreement.amount
        known = np.isfinite(amount) & (weights > 0)
        some = bool(known.any())
        return {
            "never_seen": self.supervision.never_seen,
            "well_supervised": self.supervision.well,
            "supervision": float(weights @ self.supervision.amount),
            "disagreement": float(np.average(amount[known], weights=weights[known])) if some else None,
            "disagreement_95": _quantile(amount[known], weights[known], 0.95) if some else None,
            "thickness": float(np.median(self.thickness)),
            "thin": float((self.thickness < THIN).mean()),
            "thin_parts_kept": self.disagreement.thin_kept,
        }


@torch.no_grad()
def examine(
    mesh: Mesh,
    field: ShapeField,
    config: RunConfig,
    level: float,
    *,
    cameras: int = CAMERAS,
    views: int = VIEWS,
    progress: Progress = no_progress,
) -> Trust:
    """How far the `mesh` of a field, its surface at density `level` after activation, can be relied on.

    `mesh` is in the field's frame. `progress` hears of supervision, disagreement and thickness.
    """
    device = field.device
    progress("supervision", 0, 1)
    seen = supervision(mesh, training_cameras(config.camera, cameras))
    progress("disagreement", 0, 1)
    around = all_around(config.camera, views).to(device)
    apart = disagreement(mesh, quick_field(field, config), around, config.camera, config.render)
    progress("thickness", 0, 1)
    raw = DensityActivation.of(config.render).inverse(level)
    return Trust(seen, apart, thickness(mesh, field.fast(), raw, device=device))


def _quantile(values: NDArray[Any], weights: NDArray[Any], share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)])

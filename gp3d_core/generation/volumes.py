"""An object's field as grids of density and colour, for programs that render volumes; the add-on makes OpenVDB of them.

Where a surface is a poor likeness (hair, leaves, fog), the grids show what the field shows: light that is emitted and
absorbed along a ray, C = ∫ T σ c dt with T = exp(−∫ σ dt) (NeRF §4), σ per world unit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gp3d_core.generation.recipes import combination_facts, versions
from gp3d_core.generation.sampling import Generated
from gp3d_core.licences.page import short_credits
from gp3d_core.meshing.colors import unit_to_bytes
from gp3d_core.meshing.extraction import density_grid
from gp3d_core.meshing.files.description import UNKNOWN
from gp3d_core.pretrained import name_of
from gp3d_core.rendering.activation import DensityActivation
from gp3d_core.signals import Progress, no_progress
from gp3d_core.snapshots.snapshot import Snapshot

FORMAT, VERSION = "gp3d-volume", 1
GRIDS = (8, 256)  # samples an axis
_FAINT = 0.02  # optical depth of the whole box, below which a sample counts as empty: it dims light by 2 %
_CHUNK = 2**18  # points at a time


@dataclass(frozen=True, eq=False)
class Volume:
    """density float32 [N,N,N] per world unit and color uint8 [N,N,N,3] (sRGB), 0 where it is empty.

    Index [i,j,k] is the sample at x, y, z = `box` · (2 (i, j, k) / (N − 1) − 1), in the frame of meshes.
    """

    density: NDArray[Any]
    color: NDArray[Any]
    box: float
    recipe: Mapping[str, Any]


@torch.no_grad()
def make_volume(snapshot: Snapshot, obj: Generated, grid: int, progress: Progress = no_progress) -> Volume:
    """The grids of an object, `grid` samples an axis. `progress` hears of density and color, and may raise to stop.

    Raises MeshError if the field returns NaN or infinity.
    """
    field, config = snapshot.generator.field(obj.planes), snapshot.config
    box = config.camera.box
    progress("density", 0, 1)
    raw = density_grid(field, box=box, grid=grid, device=field.device)
    density = DensityActivation.of(config.render)(raw).numpy().astype(np.float32)
    density[density < _FAINT / (2 * box)] = 0.0
    progress("density", 1, 1)
    full = np.argwhere(density > 0)
    points = torch.from_numpy((box * (2 * full / (grid - 1) - 1)).astype(np.float32))
    color = np.zeros((*density.shape, 3), np.uint8)
    quick = field.fast()
    for first in range(0, len(points), _CHUNK):
        progress("color", first, len(points))
        rgb = quick(points[None, first : first + _CHUNK].to(field.device))[0][0].float().cpu().numpy()
        color[tuple(full[first : first + _CHUNK].T)] = unit_to_bytes((rgb + 1) / 2)
    progress("color", len(points), len(points))
    return Volume(density, color, box, _recipe(snapshot, obj, grid))


def _recipe(snapshot: Snapshot, obj: Generated, grid: int) -> dict[str, Any]:
    credits = short_credits(snapshot.licences)
    return {
        "class": obj.spec.record,
        "seed": obj.spec.seed,
        **combination_facts(obj.spec),
        "truncation": obj.truncation,
        "snapshot": name_of(snapshot.path),
        "snapshot_sha256": snapshot.digest,
        "license": snapshot.license or UNKNOWN,
        **({"credits": credits} if credits else {}),
        "grid": grid,
        "versions": versions(),
    }


def write_volume(volume: Volume, path: Path) -> None:
    """Writes the npz that docs/serve.md describes."""
    with path.open("wb") as file:  # of a name alone numpy would make another one
        np.savez_compressed(
            file,
            format=FORMAT,
            version=VERSION,
            recipe=json.dumps(volume.recipe),
            box=np.float64(volume.box),
            density=volume.density,
            color=volume.color,
        )

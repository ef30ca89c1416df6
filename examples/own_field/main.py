"""A striped torus: a function of points, its surface, its texture."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from gp3d_core import Mesh, save_mesh
from gp3d_core.meshing.components import signed_volumes
from gp3d_core.meshing.extraction import extract_mesh
from gp3d_core.meshing.texture.bake import bake_texture

RING, TUBE = 0.6, 0.25  # radii, world units


def torus(points: Tensor) -> tuple[Tensor, Tensor]:
    """Colours and signed distances (positive inside) of `points` [1,N,3]; y is up."""
    x, y, z = points.unbind(dim=-1)
    inside = TUBE - torch.hypot(torch.hypot(x, z) - RING, y)
    stripes = torch.sin(12 * torch.atan2(z, x)).sign()
    rgb = torch.stack([0.8 * stripes, -0.4 * stripes, -0.6 * torch.ones_like(stripes)], dim=-1)
    return rgb, inside[..., None]


def main(out: Path) -> Mesh:
    """Writes torus.glb into `out` and returns the mesh."""
    surface = extract_mesh(torus, box=1.0, grid=64, level=0.0).mesh
    mesh = bake_texture(surface, torus, size=256)
    path = out / "torus.glb"
    out.mkdir(parents=True, exist_ok=True)
    save_mesh(mesh, path)
    volume, truth = (
        float(abs(signed_volumes(surface.vertices, surface.faces).sum())),
        2 * math.pi**2 * RING * TUBE**2,
    )
    print(f"{path}: {len(mesh.faces)} faces, volume {volume:.4f}, exactly {truth:.4f}")
    return mesh


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples"))
    except KeyboardInterrupt:
        sys.exit("stopped")

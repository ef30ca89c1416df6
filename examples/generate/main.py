"""Two mugs as GLB files, made by the pretrained model."""

from __future__ import annotations

import sys
from pathlib import Path

from gp3d_core.generation.objects import object_specs
from gp3d_core.generation.sampling import generate, make_mesh, open_snapshot
from gp3d_core.meshing.mesh_io import save_mesh
from gp3d_core.meshing.options import MeshOptions


def main(out: Path) -> None:
    """Writes the meshes into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    snapshot = open_snapshot()  # or a snapshot file, or a run folder
    for spec in object_specs(snapshot, ["coffee mug"], seeds=[7, 8]):
        mug = generate(snapshot, spec, truncation=0.7)
        mesh, recipe = make_mesh(snapshot, mug, MeshOptions(grid=96, faces=10_000, texture_size=256))
        path = out / f"mug-{spec.seed}.glb"
        save_mesh(mesh, path, recipe)
        print(f"{path}: {len(mesh.faces)} faces, silhouette IoU with the field {recipe['iou']:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples"))

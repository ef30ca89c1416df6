"""Two mugs as GLB files, made by the pretrained model."""

from __future__ import annotations

import sys
from pathlib import Path

from gp3d_core import ObjectPipeline


def main(out: Path) -> None:
    """Writes the meshes into `out`."""
    pipeline = ObjectPipeline.from_pretrained()  # or from_pretrained("runs/mine"), a run folder or a snapshot
    for seed in (7, 8):
        mug = pipeline.generate("coffee mug", seed=seed, truncation=0.7)
        mesh = mug.mesh(grid=96, faces=10_000, texture_size=256)
        path = mesh.save(out / f"mug-{seed}.glb")
        print(f"{path}: {len(mesh.faces)} faces, silhouette IoU with the field {mesh.recipe['iou']:.3f}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples"))
    except KeyboardInterrupt:
        sys.exit("stopped")

"""How symmetric are generated objects? One score a class, as lines of metrics.jsonl."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from gp3d_core.generation.objects import object_specs
from gp3d_core.generation.sampling import Generated, generate, open_snapshot
from gp3d_core.meshing.extraction import density_grid
from gp3d_core.metrics.score import Score
from gp3d_core.snapshots.snapshot import Snapshot

GRID, LEVEL = 48, 10.0
CLASSES = ("coffee mug", "school bus", "king penguin")
SEEDS = (0, 1, 2)


def symmetry(snapshot: Snapshot, obj: Generated) -> float:
    """Intersection over union of an object's solid with its mirror image at x = 0: 1 for perfect symmetry."""
    field, config = snapshot.generator.field(obj.planes), snapshot.config
    raw = density_grid(field, box=config.camera.box, grid=GRID)  # [x, y, z]
    render = config.render
    sigma = render.density_scale * torch.nn.functional.softplus(
        render.density_gain * raw + render.density_shift
    )
    solid = sigma > LEVEL
    mirrored = solid.flip(0)
    return float((solid & mirrored).sum() / (solid | mirrored).sum().clamp(min=1))


def main(out: Path) -> list[Score]:
    """Appends a score for each class to metrics.jsonl in `out`, and returns them."""
    out.mkdir(parents=True, exist_ok=True)
    snapshot, scores = open_snapshot(), []
    for name in CLASSES:
        values = [
            symmetry(snapshot, generate(snapshot, spec)) for spec in object_specs(snapshot, [name], SEEDS)
        ]
        facts = {"class": name, "grid": GRID, "level": LEVEL, "truncation": 0.7, "seeds": list(SEEDS)}
        scores.append(Score(metric="symmetry", value=sum(values) / len(values), n=len(values), facts=facts))
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(score.as_json()) + "\n" for score in scores)
    for score in scores:
        print(f"{score.facts['class']}: {score.value:.3f}")
    return scores


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples"))

"""How symmetric are generated objects? One score a class, as lines of metrics.jsonl."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gp3d_core import ObjectPipeline
from gp3d_core.generation.pipeline import GeneratedObject
from gp3d_core.meshing.extraction import density_grid
from gp3d_core.metrics.score import Score
from gp3d_core.rendering.activation import DensityActivation

GRID, LEVEL = 48, 10.0
CLASSES = ("coffee mug", "school bus", "king penguin")
SEEDS = (0, 1, 2)


def symmetry(obj: GeneratedObject) -> float:
    """Intersection over union of an object's solid with its mirror image at x = 0: 1 for perfect symmetry."""
    config = obj.snapshot.config
    field = obj.snapshot.generator.field(obj.generated.planes)
    raw = density_grid(field, box=config.camera.box, grid=GRID)  # [x, y, z]
    solid = DensityActivation.of(config.render)(raw) > LEVEL
    mirrored = solid.flip(0)
    return float((solid & mirrored).sum() / (solid | mirrored).sum().clamp(min=1))


def main(out: Path) -> list[Score]:
    """Appends a score for each class to metrics.jsonl in `out`, and returns them."""
    out.mkdir(parents=True, exist_ok=True)
    pipeline, scores = ObjectPipeline.from_pretrained(), []
    for name in CLASSES:
        values = [symmetry(pipeline.generate(name, seed=seed)) for seed in SEEDS]
        facts = {"class": name, "grid": GRID, "level": LEVEL, "truncation": 0.7, "seeds": list(SEEDS)}
        scores.append(Score(metric="symmetry", value=sum(values) / len(values), n=len(values), facts=facts))
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(score.as_json()) + "\n" for score in scores)
    for score in scores:
        print(f"{score.facts['class']}: {score.value:.3f}")
    return scores


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples"))
    except KeyboardInterrupt:
        sys.exit("stopped")

"""The sheet of an evaluation: real images and generated ones of the same classes, with depth, none of them chosen."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.evaluation.samples import Sampler
from gp3d_core.rng import generator_for
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, sheet

_COLUMNS = 8
_TILE = 128


def draw_samples(sampler: Sampler, dataset: Dataset) -> Image.Image:
    """The evaluation's first 16 generated images below real ones of the same classes, drawn at random.

    Real depth is shown where every image of the data set has it.
    """
    seen, camera = sampler.block(0), sampler.snapshot.config.camera
    rgb, solid = rgb_to_uint8(seen.rgb), sampler.snapshot.config.dimensions > 2
    depth = depth_to_uint8(seen.depth, camera.t_near, camera.t_far) if solid else None
    classes = sampler.latents("images", 0, len(rgb)).c
    labels = None if classes is None else classes.argmax(dim=1).cpu()
    draws = generator_for("evaluation", "sheet", sampler.seed)
    rows = []
    for start in range(0, len(rgb), _COLUMNS):
        part = range(start, min(start + _COLUMNS, len(rgb)))
        chosen = [_like(sampler.labels, None if labels is None else int(labels[k]), draws) for k in part]
        rows.append(("real, of the classes below", [dataset.load_image(i) for i in chosen]))
        if not dataset.without_depth:
            codes = np.stack([dataset.load_depth(i).astype(np.float32) for i in chosen])
            normalised = depth_codes.to_normalised(torch.from_numpy(codes))[:, None]
            rows.append(("depth (bright is near)", list(depth_to_uint8(normalised, -1, 1))))
        rows.append(("generated, the first of the evaluation", [rgb[k] for k in part]))
        if depth is not None:
            rows.append(("depth", [depth[k] for k in part]))
    return sheet(rows, tile=_TILE)


def _like(labels: torch.Tensor, label: int | None, draws: torch.Generator) -> int:
    """A random image of the class `label`, of any class for None."""
    chosen = torch.arange(len(labels)) if label is None else (labels == label).nonzero()[:, 0]
    return int(chosen[torch.randint(len(chosen), (1,), generator=draws)])

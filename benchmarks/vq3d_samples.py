"""A sheet of what a prior of VQ3D dreams up: `python -m benchmarks.vq3d_samples PRIOR PICTURE [--count N]`.

One scene each of N classes, evenly chosen. It asks for no meshing library, as `gp3d vq3d sample` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from gp3d_core.distributed import pick_device
from gp3d_core.visualization import save_picture
from gp3d_core.vq3d.files.prior_file import load_prior
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.scenes.figures import columns
from gp3d_core.vq3d.scenes.reconstruction import scenes_of_codes


def main(arguments: list[str] | None = None) -> None:
    """Writes the sheet and says of which classes it is, from left to right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    prior = load_prior(options.prior, device=pick_device(options.device))
    names = [record["name"] for record in prior.classes]
    chosen = np.linspace(0, len(names) - 1, min(options.count, len(names))).round().astype(int)
    asked = [names[k] for k in chosen] or [None] * options.count
    codes = torch.cat([prior.sample(name, [seed], Sampling()) for seed, name in enumerate(asked)])
    scenes = scenes_of_codes(prior.tokenizer, codes, [name or "any" for name in asked])
    save_picture(columns(scenes, tile=96), options.picture)
    print(f"{options.picture}: {', '.join(name or 'any' for name in asked)}")


if __name__ == "__main__":
    main()

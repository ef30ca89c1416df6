"""The best snapshot of a run: `python -m benchmarks.best_snapshot RUN DATASET [--weights FILE]` prints its path.

With weights of SqueezeNet the measure is the Fréchet distance of its features between 2048 generated images and all of
DATASET (docs/evaluation.md; not comparable with FID); without them nothing is measured, and the newest is taken. What
was measured goes to standard error. It asks for no meshing library, as `gp3d evaluate` does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import pick_device
from gp3d_core.metrics.features import SQUEEZENET, FeatureNetwork, open_network
from gp3d_core.metrics.frechet import fit_gaussian, frechet_distance
from gp3d_core.networks.latents import sample_latents
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.snapshot import load_snapshot
from gp3d_core.visualization import rgb_to_uint8

_BATCH = 32


def main(arguments: list[str] | None = None) -> None:
    """Prints the path of the best snapshot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--weights", type=Path, help="of torchvision's squeezenet1_0")
    parser.add_argument("--images", type=int, default=2048, help="generated of each snapshot (2048)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    snapshots = sorted((options.run / "snapshots").glob("*.safetensors"))
    if not snapshots:
        sys.exit(f"best_snapshot: there is none in {options.run}")
    if options.weights is None:
        print("best_snapshot: no --weights, so the newest is taken, unmeasured", file=sys.stderr)
        print(snapshots[-1])
        return
    device = pick_device(options.device)
    network, dataset = open_network(SQUEEZENET, options.weights, device), Dataset(options.dataset)
    real = fit_gaussian(features(network, real_images(dataset), device))
    distances = []
    for path in snapshots:
        fake = fit_gaussian(features(network, generated(path, dataset, options.images, device), device))
        distances.append(frechet_distance(real, fake))
        print(
            f"{path.name}: squeezenet-fid of {options.images} images {distances[-1]:.2f}",
            file=sys.stderr,
        )
    print(snapshots[int(np.argmin(distances))])


def features(network: FeatureNetwork, batches: Iterator[Tensor], device: torch.device) -> Iterator[Tensor]:
    """What the network sees in batches of images uint8 [B,3,R,R]."""
    return (network(batch.to(device))[0] for batch in batches)


def real_images(dataset: Dataset) -> Iterator[Tensor]:
    """All images of the data set."""
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(dataset), _BATCH):
            loaded = pool.map(dataset.load, range(start, min(start + _BATCH, len(dataset))))
            yield torch.from_numpy(np.stack([image for image, _ in loaded])).permute(0, 3, 1, 2)


@torch.no_grad()
def generated(path: Path, dataset: Dataset, count: int, device: torch.device) -> Iterator[Tensor]:
    """`count` images of plain noise, classes like the data's, cameras of the prior; the same for every snapshot."""
    snapshot = load_snapshot(path, device)
    generator, config = snapshot.generator, snapshot.config
    labels = torch.from_numpy(dataset.labels)
    angles = None if dataset.angles is None else torch.from_numpy(dataset.angles)
    custom = angles if config.camera.yaw.kind == "custom" else None
    for start in range(0, count, _BATCH):
        # drawn on the CPU: the same on every device
        some = sample_latents(
            config,
            labels,
            len(snapshot.classes),
            min(_BATCH, count - start),
            nimg=snapshot.nimg,
            generator=generator_for("best snapshot", start),
            angles=custom,
        )
        z, c = some.z.to(device), None if some.c is None else some.c.to(device)
        cameras = generator.cameras(some.prior.to(device), z, c)
        seen = generator.view(generator.mapping(z, c), cameras, chunk=rays_at_a_time(len(z)))
        yield torch.from_numpy(rgb_to_uint8(seen.rgb)).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()

"""Does the point network see shapes? Real models of known categories, classified by it, from four sides.

    python -m benchmarks.pointnet_classes pointnet_modelnet40.t7 MODELS

MODELS is a library in ShapeNet's layout; categories count that ModelNet40 has as well. The network is right for
fronts along −z, as `cloud_features` turns the clouds; other yaws, and lying models, show what a wrong frame costs.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path

import torch

from gp3d_core.evaluation.shapes.library import model_clouds, read_library
from gp3d_core.metrics.pointnet import cloud_features, load_pointnet

_NAMES = (
    "airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain queue door dresser flower_pot "
    "glass_box guitar keyboard lamp laptop mantel monitor night_stand person piano plant radio range_hood sink sofa "
    "stairs stool table tent toilet tv_stand vase wardrobe xbox"
)
MODELNET40 = _NAMES.split()
SAME = {"flowerpot": "flower_pot", "display": "monitor", "mug": "cup"}  # ShapeNet's name: ModelNet's


def main() -> None:
    """Prints the share that is named right for every yaw, and by category for the right one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("models", type=Path)
    options = parser.parse_args()
    network = load_pointnet(options.weights)
    models = [(m, SAME.get(m.names[-1], m.names[-1])) for m in read_library(options.models)]
    models = [(model, name) for model, name in models if name in MODELNET40]
    clouds = model_clouds([model for model, _ in models])
    truth = [name for _, name in models]
    for yaw in (0, 90, 180, 270):
        turned = clouds @ _about_y(math.radians(yaw)).T
        named = [MODELNET40[k] for k in cloud_features(network, turned)[1].argmax(dim=1).tolist()]
        print(
            f"yaw {yaw:3d}: {_share(named, truth):.1%} of {len(truth)} models in {len(set(truth))} categories"
        )
        if yaw == 0:
            right = Counter(t for n, t in zip(named, truth, strict=True) if n == t)
            print("  " + ", ".join(f"{name} {right[name]}/{count}" for name, count in Counter(truth).items()))
    lying = cloud_features(network, clouds[:, :, [0, 2, 1]])[1].argmax(dim=1).tolist()
    print(f"lying  : {_share([MODELNET40[k] for k in lying], truth):.1%}")


def _about_y(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _share(named: list[str], truth: list[str]) -> float:
    return sum(n == t for n, t in zip(named, truth, strict=True)) / len(truth)


if __name__ == "__main__":
    main()

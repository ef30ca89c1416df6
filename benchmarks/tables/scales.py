"""What FPD and NFS come to for shapes that are right, or wrong in a known way: `python -m benchmarks.tables.scales
MODELS DATA --pointnet FILE`. No network is trained; the scores of a table's rows can be read against it.

FPD: real models beside other real ones, then fewer of them, then with points that are off. NFS: the data's own depth,
then with holes, then with a background that is no plane.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gp3d_core.cli.arguments import Parser, dataset_path, existing, number
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.errors import GP3DError
from gp3d_core.evaluation.shapes.library import Model, draw_models, model_clouds, read_library
from gp3d_core.metrics.frechet import Gaussian, fit_gaussian, frechet_distance
from gp3d_core.metrics.nfs import non_flatness_score
from gp3d_core.metrics.pointclouds import unit_clouds
from gp3d_core.metrics.pointnet import PointNet, PointNet2, cloud_features, load_pointnet
from gp3d_core.rng import generator_for

SHAPES = 96  # of all classes together, and as many to compare with
MAPS = 256  # of depth
OFF = (0.02, 0.05, 0.1)  # deviation of a point, radii of the object
HOLES = (0.25, 1.0)  # share of an object's pixels
WALL = (0.01, 0.05, 0.1, 0.2)  # deviation of the background's depth, shares of the range


def wrong_shapes(real: Mapping[str, Tensor], seed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Titles and clouds [N,P,3] of all classes, of `real` ones [M,P,3] of each by its name: as they are, then wrong.

    Of every kind there are as many in all.
    """
    rng, classes, many = generator_for("tables", "scales", seed), list(real.values()), len(real)
    yield "other real models", torch.cat(classes)
    yield "one of each class", torch.cat([own[:1].expand_as(own) for own in classes])
    for kept in (many // 2, many // 3):
        if 0 < kept < many:
            yield f"{kept} of {many} classes", torch.cat([classes[i % kept] for i in range(many)])
    for name, own in real.items():
        yield f"one {name} for all", torch.cat([own[:1].expand_as(other) for other in classes])
    for deviation in OFF:
        whole = torch.cat(classes)
        moved = whole + deviation * torch.randn(whole.shape, generator=rng)
        yield f"points off by {deviation:g}", unit_clouds(moved)


def wrong_depths(depth: Tensor, seed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Titles and depth maps [N,P] of true ones `depth` in shares of the range, the background 1: as they are, then
    wrong. A hole has the depth 0, as where a row renders nothing.
    """
    rng, seen = generator_for("tables", "depths", seed), depth < 1.0
    yield "true depth", depth
    for share in HOLES:
        hit = torch.rand(depth.shape, generator=rng, dtype=depth.dtype) < share
        yield f"{share:.0%} of an object are holes", torch.where(seen & hit, 0.0, depth)
    for deviation in WALL:
        wall = depth + deviation * torch.randn(depth.shape, generator=rng, dtype=depth.dtype)
        yield f"background off by {deviation:.0%} of the range", torch.where(seen, depth, wall)


def true_depths(data: Path, count: int, seed: int = 0) -> Tensor:
    """Depth maps [N,P] float64 of `count` of the data's pictures in shares of the range, the background 1."""
    dataset = Dataset(data)
    order = torch.randperm(len(dataset), generator=generator_for("tables", "maps", seed))[:count]
    codes = np.stack([dataset.load_depth(index) for index in order.tolist()])
    shares = np.where(codes == depth_codes.BACKGROUND, 1.0, depth_codes.to_unit(codes.astype(np.int64)))
    return torch.from_numpy(shares).flatten(1)


def shape_scores(models: Sequence[Model], network: PointNet | PointNet2, shapes: int) -> dict[str, float]:
    """FPD by title, of about so many `shapes`, spread evenly over the classes of the `models`."""
    classes: dict[tuple[str, ...], list[Model]] = {}
    for model in models:
        classes.setdefault(model.names, []).append(model)
    real, others = [], {}
    for names, own in sorted(classes.items()):
        count = min(max(1, shapes // len(classes)), len(own) // 2)
        drawn = draw_models(own, 2 * count, *names)
        real.append(model_clouds(drawn[:count]))
        others[names[-1] if names else "model"] = model_clouds(drawn[count:])

    def fit(clouds: Tensor) -> Gaussian:
        return fit_gaussian([cloud_features(network, clouds)[0]])

    reference = fit(torch.cat(real))
    return {title: frechet_distance(fit(made), reference) for title, made in wrong_shapes(others)}


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m benchmarks.tables.scales", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("models", type=existing, metavar="MODELS", help="that the data were rendered from")
    add("data", type=dataset_path, metavar="DATA", help="data set with depth")
    add("--pointnet", type=existing, metavar="FILE", required=True, help="weights of the point network")
    add("--shapes", type=number(int, 4, 1e5), default=SHAPES, help=f"of all classes ({SHAPES})")
    add("--maps", type=number(int, 1, 1e5), default=MAPS, help=f"of depth ({MAPS})")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints both tables in Markdown; an error is one line."""
    try:
        options = read_options(arguments)
        network = load_pointnet(options.pointnet)
        depth = true_depths(options.data, options.maps)
        print("| shapes | FPD |\n|---|---|")
        for title, score in shape_scores(read_library(options.models), network, options.shapes).items():
            print(f"| {title} | {score:.3g} |")
        print("\n| depth maps | NFS |\n|---|---|")
        for title, maps in wrong_depths(depth):
            print(f"| {title} | {non_flatness_score(maps, 0.0, 1.0):.3g} |")
    except GP3DError as error:
        print(f"scales: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Fréchet distance of lifted pictures seen from beside: a table and a sheet over the angle.

    python -m synthetic.render MODELS rooms --stage room --views 1 --resolution 128
    python -m benchmarks.lifted_views rooms OUT --features torchvision:squeezenet1_0 --weights FILE

Half of the pictures, drawn by the seed, is lifted (docs/photographs.md) with the data set's exact depth; the other half
is what they are compared with. The row `picture` has the pictures themselves, which the views at 0° should equal; then
the camera goes around them, to the left for every other picture.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from gp3d_core.atomic import write_text
from gp3d_core.cli.arguments import Parser, dataset_path, existing, new_path, number
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.errors import GP3DError
from gp3d_core.evaluation.true_views import TruthViews, read_views
from gp3d_core.lifting.distances import Distances
from gp3d_core.lifting.photograph import Photograph
from gp3d_core.lifting.relief import Relief, lift
from gp3d_core.lifting.views import view
from gp3d_core.metrics.features import SQUEEZENET, FeatureNetwork, open_network
from gp3d_core.metrics.frechet import Gaussian, fit_gaussian, frechet_distance
from gp3d_core.rendering.cameras import Cameras, sample_rays
from gp3d_core.rng import generator_for
from gp3d_core.visualization import save_picture, sheet

ANGLES = (0.0, 5.0, 10.0, 20.0, 30.0)  # degrees
_PART = 32  # pictures at a time
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Row:
    """What is seen from `angle`, None of the pictures themselves: uint8 [N,H,W,3], and the mean share of holes."""

    angle: float | None
    pictures: NDArray[Any]
    holes: float


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for."""
    parser = Parser(prog="python -m benchmarks.lifted_views", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "dataset", type=dataset_path, metavar="DATASET", help="views of python -m synthetic.render"
    )
    parser.add_argument("out", type=new_path, metavar="OUT")
    parser.add_argument("--features", default=SQUEEZENET)
    parser.add_argument("--weights", type=existing, metavar="FILE")
    parser.add_argument(
        "--pictures", type=number(int, 4, 1e6), default=512, help="at most, both halves (default 512)"
    )
    parser.add_argument("--seed", type=number(int, 0, 1e9), default=0)
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> None:
    """Writes OUT/lifted.md, lifted.json and lifted.png, and prints the table."""
    network = open_network(options.features, options.weights, torch.device("cpu"))
    views = read_views(options.dataset)
    order = torch.randperm(len(views.dataset), generator=generator_for("lifted views", options.seed))
    chosen = order[: options.pictures].tolist()
    if len(chosen) < 4:
        raise DatasetError(f"{options.dataset} has {len(chosen)} pictures; expected 4 or more")
    half = len(chosen) // 2
    others = _fitted(np.stack([views.image(k) for k in chosen[half:]]), network)
    rows = seen_from(views, chosen[:half])
    found = [(row, frechet_distance(_fitted(row.pictures, network), others)) for row in rows]
    options.out.mkdir(parents=True, exist_ok=True)
    facts = {"pictures": half, "others": len(chosen) - half, "seed": options.seed, **network.facts}
    lines = [{"angle": row.angle, "frechet": value, "holes": row.holes} for row, value in found]
    write_text(options.out / "lifted.json", json.dumps({**facts, "rows": lines}, indent=1))
    text = table(found)
    write_text(options.out / "lifted.md", text)
    save_picture(
        sheet([(title(row), list(row.pictures[:_SHOWN])) for row in rows], tile=128),
        options.out / "lifted.png",
    )
    print(text, end="")


def seen_from(views: TruthViews, indices: Sequence[int]) -> list[Row]:
    """A row of the pictures themselves, then one for each of ANGLES."""
    reliefs = [relief_of(views, k) for k in tqdm(indices, desc="lifting", unit="picture", disable=None)]
    rows = [Row(None, np.stack([views.image(k) for k in indices]), 0.0)]
    for angle in ANGLES:
        sides = [angle if i % 2 else -angle for i in range(len(reliefs))]
        drawn = [view(relief, side) for relief, side in zip(reliefs, sides, strict=True)]
        rows.append(
            Row(angle, np.stack([one.rgb for one in drawn]), float(np.mean([one.holes for one in drawn])))
        )
    return rows


def relief_of(views: TruthViews, index: int) -> Relief:
    """Image `index`, lifted with its exact depth; background is at the far plane."""
    rgb, codes = views.dataset.load(index)
    near, far = views.dataset.t_near, views.dataset.t_far
    if near is None or far is None:
        raise DatasetError(f"{views.dataset.path}/dataset.json has no t_near and t_far: depth has no unit")
    camera, size = views.cameras[index], len(rgb)
    along = depth_codes.to_distance(depth_codes.to_unit(codes), near, far)
    central = views.cameras.flat()[index : index + 1].clone()
    central[:, :3] = torch.tensor([0.0, math.pi / 2, 0.0])  # looks along −z from +z, so that axis depth is −z
    central[:, 5:] = torch.tensor([0.0, math.pi / 2, 0.0])
    directions = sample_rays(Cameras.from_flat(central), size)[1][0].reshape(size, size, 3)
    # fov is between the centres of the outer pixels, a photograph's between their edges
    half = math.tan(math.radians(float(camera.fov[0])) / 2) * size / (size - 1)
    photograph = Photograph(rgb, 2 * math.degrees(math.atan(half)), "of the data set")
    return lift(photograph, Distances(along * -directions[..., 2].numpy(), True, 0.0))


def _fitted(pictures: NDArray[Any], network: FeatureNetwork) -> Gaussian:
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    return fit_gaussian(network(part)[0] for part in images.split(_PART))


def title(row: Row) -> str:
    """What the row shows."""
    return "picture" if row.angle is None else f"{row.angle:g}° beside"


def table(found: Sequence[tuple[Row, float]]) -> str:
    """The rows in Markdown, with the ratio to the pictures themselves."""
    first = found[0][1]
    lines = ["| seen from | Fréchet distance | ratio | holes |", "|---|---|---|---|"]
    lines += [
        f"| {title(row)} | {value:.4g} | {value / first:.3f} | {row.holes:.1%} |" for row, value in found
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures; an error is one line."""
    try:
        measure(read_options(arguments))
    except GP3DError as error:
        print(f"lifted_views: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

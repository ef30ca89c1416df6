"""The row "2D + photo lifting": generated pictures get estimated depth, become reliefs, and are seen from beside.

    python -m benchmarks.tables.lifting SNAPSHOT DATA OUT --depth-model FILE --weights FILE

Of every picture one view, as in the paper (3DGP appendix I): yaw from N(0, 0.3), pitch from N(π/2, 0.15), about the
point on the camera's axis at median depth. Fréchet distance and Inception Score of the views against DATA, the same of
the pictures themselves, of the views from where the picture was taken, and over the angle.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.tables.measures import real_features
from benchmarks.tables.page import figure
from gp3d_core.atomic import write_text
from gp3d_core.cli.arguments import Parser, dataset_path, existing, flag_of, new_path, number
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.errors import GP3DError, spell
from gp3d_core.evaluation.run import usual_cache
from gp3d_core.evaluation.samples import BLOCK, Sampler, labels_in, to_uint8
from gp3d_core.lifting.distances import distances_of_model, usual_ratio
from gp3d_core.lifting.options import Edges
from gp3d_core.lifting.photograph import USUAL_FOV, Photograph
from gp3d_core.lifting.released import RATIO
from gp3d_core.lifting.relief import Relief, grid_of, lift
from gp3d_core.lifting.views import view
from gp3d_core.metrics.features import SQUEEZENET, FeatureNetwork, open_network
from gp3d_core.metrics.frechet import Gaussian, fit_gaussian, frechet_distance
from gp3d_core.metrics.inception_score import SPLITS, inception_score
from gp3d_core.preparation.depth.monocular import open_model
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import find_snapshot
from gp3d_core.snapshots.snapshot import load_snapshot
from gp3d_core.visualization import save_picture, sheet

YAW, PITCH = 0.3, 0.15  # radians, deviations of the row's cameras
CROP = (0.03, 0.05, 0.03, 0.03)  # of the release's views, above, left, below and right
ANGLES = (0.0, 5.0, 10.0, 20.0, 30.0)  # degrees to either side
PICTURES = 2048
_PART, _SHOWN = 32, 8


@dataclass(frozen=True, eq=False)
class Lifted:
    """Views of one kind: uint8 [N,H,W,3], and the mean share of each where nothing is."""

    title: str
    pictures: NDArray[Any]
    holes: float = 0.0


@dataclass(frozen=True)
class LiftedScores:
    """Of views of one kind: Fréchet distance to the real pictures, Inception Score, share of holes."""

    title: str
    fid: float
    is_: float
    holes: float


def lifted_row(
    snapshot: Path,
    data: Path,
    out: Path,
    *,
    depth_model: str,
    network: FeatureNetwork,
    cache: Path,
    pictures: int = PICTURES,
    seed: int = 0,
    device: str = "cpu",
    angles: Sequence[float] = (),
    edges: Edges = "sharpened",
) -> list[LiftedScores]:
    """Scores of the pictures, then of views of the row's cameras, then of `angles`; writes OUT/lifted.json and .png.

    With `edges` of the release depth is stretched and views are cropped as it does, too.
    What was measured of this snapshot is read again. Raises a GP3DError for models and data that do not fit.
    """
    path = find_snapshot(snapshot)
    told = out / "lifted.json"
    asked = {
        "snapshot": path.name,
        "pictures": pictures,
        "seed": seed,
        "angles": list(angles),
        "edges": edges,
    }
    if told.exists():
        known = json.loads(told.read_text(encoding="utf-8"))
        if known["asked"] == asked:
            return [LiftedScores(**line) for line in known["scores"]]
    where = torch.device(device)
    model, dataset = load_snapshot(path, where), Dataset(data, needs_depth=False)
    sampler = Sampler(model, labels_in(model, dataset), None, seed, 1.0)
    drawn = [to_uint8(sampler.block(k).rgb) for k in range(math.ceil(pictures / BLOCK))]
    flat = torch.cat(drawn)[:pictures].permute(0, 2, 3, 1).cpu().numpy()
    kinds = seen_from_beside(flat, reliefs_of(flat, depth_model, where, edges), angles, seed)
    if edges == "released":
        kinds = [kinds[0], *(replace(kind, pictures=cropped(kind.pictures)) for kind in kinds[1:])]
    real = fit_gaussian([real_features(sampler, dataset, network, cache)])
    scores = [_scored(kind, real, network) for kind in kinds]
    out.mkdir(parents=True, exist_ok=True)
    rows = [(f"{kind.title}, {kind.holes:.1%} holes", list(kind.pictures[:_SHOWN])) for kind in kinds]
    save_picture(sheet(rows, tile=max(64, flat.shape[1])), out / "lifted.png")
    write_text(told, json.dumps({"asked": asked, "scores": [vars(score) for score in scores]}, indent=1))
    return scores


def reliefs_of(
    pictures: NDArray[Any], depth_model: str, device: torch.device, edges: Edges = "sharpened"
) -> list[Relief]:
    """The reliefs of pictures uint8 [N,H,W,3] whose depth the network estimates, under the usual field of view."""
    ratio = RATIO if edges == "released" else usual_ratio(USUAL_FOV)
    source = open_model(depth_model, None, kind=None, ratio=ratio, device=device)
    reliefs = []
    for k, rgb in enumerate(tqdm(pictures, desc="lifting", unit="picture", disable=None)):
        grid = grid_of(rgb.shape[1], rgb.shape[0])
        distances = distances_of_model(source, rgb, f"picture {k}", grid, ratio)
        reliefs.append(lift(Photograph(rgb, USUAL_FOV, "assumed"), distances, edges=edges))
    return reliefs


def cropped(pictures: NDArray[Any]) -> NDArray[Any]:
    """Pictures uint8 [N,H,W,3] without their rim, brought to the same size again, as the release's views are."""
    height, width = pictures.shape[1:3]
    above, left, below, right = CROP
    inner = (left * width, above * height, (1 - right) * width, (1 - below) * height)
    method = Image.Resampling.BILINEAR
    drawn = (Image.fromarray(one).resize((width, height), method, box=inner) for one in pictures)
    return np.stack([np.asarray(one) for one in drawn])


def seen_from_beside(
    pictures: NDArray[Any], reliefs: Sequence[Relief], angles: Sequence[float], seed: int
) -> list[Lifted]:
    """The pictures themselves, one view of each by the row's cameras, and views from `angles` to alternate sides."""
    draws = generator_for("tables", "lifted", seed)
    turns = torch.randn(len(reliefs), 2, generator=draws) * torch.tensor([YAW, PITCH])
    asked = [(f"yaw ± {YAW:g}, pitch ± {PITCH:g}", torch.rad2deg(turns).tolist())]
    for angle in angles:
        sides = [[angle if k % 2 else -angle, 0.0] for k in range(len(reliefs))]
        asked.append((f"{angle:g}° beside", sides))
    kinds = [Lifted("pictures", pictures)]
    for title, directions in asked:
        drawn = [view(relief, *turn) for relief, turn in zip(reliefs, directions, strict=True)]
        holes = float(np.mean([one.holes for one in drawn]))
        kinds.append(Lifted(title, np.stack([one.rgb for one in drawn]), holes))
    return kinds


def _scored(kind: Lifted, real: Gaussian, network: FeatureNetwork) -> LiftedScores:
    seen = [network(part) for part in torch.from_numpy(kind.pictures).permute(0, 3, 1, 2).split(_PART)]
    fid = frechet_distance(fit_gaussian(features for features, _ in seen), real)
    logits = torch.cat([scores for _, scores in seen])
    splits = min(SPLITS, len(logits))
    return LiftedScores(kind.title, fid, inception_score(logits, splits)[0], kind.holes)


def table(scores: Sequence[LiftedScores]) -> str:
    """The scores in Markdown."""
    lines = ["| seen from | Fréchet distance | Inception Score | holes |", "|---|---|---|---|"]
    lines += [f"| {s.title} | {figure(s.fid)} | {s.is_:.3g} | {s.holes:.1%} |" for s in scores]
    return "\n".join(lines) + "\n"


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for."""
    lines = (__doc__ or "").splitlines()
    parser = Parser(prog="python -m benchmarks.tables.lifting", description=lines[0])
    add = parser.add_argument
    add(
        "snapshot",
        type=existing,
        metavar="SNAPSHOT",
        help="file or run folder of a system that draws pictures",
    )
    add("data", type=dataset_path, metavar="DATA")
    add("out", type=new_path, metavar="OUT")
    add(
        "--depth-model",
        required=True,
        metavar="MODEL",
        help="network that estimates depth: file, folder or id",
    )
    add(
        "--network",
        default=SQUEEZENET,
        help="that sees the pictures: inception, or torchvision:squeezenet1_0",
    )
    add("--weights", type=existing, metavar="FILE", help="its weights")
    add(
        "--edges",
        choices=get_args(Edges),
        default="sharpened",
        help="how depth becomes a surface: as gp3d lift does, or as the release",
    )
    add("--pictures", type=number(int, 2, 1e6), default=PICTURES)
    add("--seed", type=number(int, 0, 1e9), default=0)
    add("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; an error is one line."""
    try:
        options = read_options(arguments)
        scores = lifted_row(
            options.snapshot,
            options.data,
            options.out,
            depth_model=options.depth_model,
            network=open_network(options.network, options.weights, torch.device(options.device)),
            cache=usual_cache(),
            pictures=options.pictures,
            seed=options.seed,
            device=options.device,
            angles=ANGLES,
            edges=options.edges,
        )
        write_text(options.out / "lifted.md", table(scores))
        print(table(scores), end="")
    except GP3DError as error:
        print(f"lifting: {spell(str(error), flag_of)}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

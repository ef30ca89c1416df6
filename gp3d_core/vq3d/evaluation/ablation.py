"""What depth supervision is worth: the same run with each kind of depth loss, measured and shown side by side."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from gp3d_core.atomic import write_json, write_text
from gp3d_core.config.assignments import override
from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.generation.video import save_film
from gp3d_core.visualization import save_picture, sheet
from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.evaluation.run import (
    SceneEvaluationOptions,
    Subject,
    novel_scores,
    pictures_of,
    reconstruction_scores,
)
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer
from gp3d_core.vq3d.scenes.figures import render_pair, to_picture
from gp3d_core.vq3d.scenes.reconstruction import reconstruct
from gp3d_core.vq3d.scenes.scenefile import Scene
from gp3d_core.vq3d.training.tokenizer import start_tokenizer_training
from gp3d_core.vq3d.training.validation import load_images

MODES = ("point", "accum", "none", "dsnerf", "urf")
_TURN = 15.0  # degrees
_FRAMES = 24
_SHOWN = 128  # pixels


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one mode came to: its scores by name, and the scene of the first picture."""

    mode: str
    scores: dict[str, float]
    scene: Scene


def ablate_depth(
    config: Vq3dConfig,
    training: Path,
    test: Path,
    out: Path,
    *,
    modes: Sequence[str],
    device: str,
    max_minutes: float = math.inf,
) -> int:
    """Trains each of `modes` on the data set `training` in `out`/<mode>, measures on `test`; the same command goes on.

    Writes ablation.json, ablation.md, ablation.png and ablation.gif. Returns the exit code of an interruption, or 0.
    """
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ConfigError(f"`modes` {unknown[0]}: expected {', '.join(MODES)}")
    snapshots = {}
    for mode in modes:
        tried: Vq3dConfig = override(config, f"depth.mode={mode}")
        ending = start_tokenizer_training(tried, training, out / mode, device=device, max_minutes=max_minutes)
        tqdm.write(f"{mode}: {ending.message}", file=sys.stderr)
        if ending.exit_code or ending.snapshot is None:
            return ending.exit_code
        snapshots[mode] = ending.snapshot
    dataset = Dataset(test)
    numbers, which = pictures_of(dataset, SceneEvaluationOptions().images)
    image = load_images(dataset, numbers[:1])[0]
    outcomes = []
    for mode, path in snapshots.items():
        snapshot = load_tokenizer(path, torch.device(device))
        subject = Subject(snapshot, None, dataset, numbers, which)
        scores = [*reconstruction_scores(subject), *novel_scores(subject, SceneEvaluationOptions().limit)]
        named = {score.metric.removeprefix("vq3d/"): score.value for score in scores}
        outcomes.append(Outcome(mode, named, reconstruct(snapshot, image, dataset.names[numbers[0]])))
    write_json(out / "ablation.json", {outcome.mode: outcome.scores for outcome in outcomes})
    write_text(out / "ablation.md", table(outcomes))
    save_picture(_sheet(outcomes, to_picture(image)), out / "ablation.png")
    save_film(_film(outcomes), out / "ablation.gif")
    return 0


def table(outcomes: Sequence[Outcome]) -> str:
    """The scores as a Markdown table, one row a mode."""
    names = list(outcomes[0].scores)
    head = f"| depth loss | {' | '.join(name.replace('_', ' ') for name in names)} |"
    rows = [
        f"| {outcome.mode} | {' | '.join(f'{outcome.scores[name]:.4g}' for name in names)} |"
        for outcome in outcomes
    ]
    return "\n".join([head, "|---" * (len(names) + 1) + "|", *rows, ""])


def _sheet(outcomes: Sequence[Outcome], image: NDArray[Any]) -> Image.Image:
    rows = []
    for yaw in (0.0, _TURN):
        seen = [render_pair(outcome.scene, yaw, resolution=_SHOWN) for outcome in outcomes]
        names = ", ".join(outcome.mode for outcome in outcomes)
        rows.append((f"input, then {names}: yaw {yaw:g}", [image, *(colour for colour, _ in seen)]))
        rows.append(("disparity", [np.full_like(image, 255), *(disparity for _, disparity in seen)]))
    return sheet(rows, tile=_SHOWN)


def _film(outcomes: Sequence[Outcome]) -> Iterator[NDArray[Any]]:
    """Frames with a column a mode: colour above disparity, swinging from side to side."""
    for k in tqdm(range(_FRAMES), desc="film", unit="frame", file=sys.stderr, disable=None):
        yaw = _TURN * math.sin(2 * math.pi * k / _FRAMES)
        seen = [np.concatenate(render_pair(o.scene, yaw, resolution=_SHOWN), axis=0) for o in outcomes]
        yield np.concatenate(seen, axis=1)

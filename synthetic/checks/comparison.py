"""Views of a dataset compared with what Open3D's ray caster sees of the same models, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from synthetic.checks.colors import ColorScore, score_colors, shown_base
from synthetic.checks.fusion import Chamfer, chamfer
from synthetic.checks.light import SKIES
from synthetic.checks.models import Rendered, Truth, UncheckedModelError, staged_truth
from synthetic.checks.passes import score_passes
from synthetic.checks.pixels import depth_edges, pixel_centres, pixel_rays
from synthetic.checks.rays import Array, Hits
from synthetic.dataset import ViewRecord
from synthetic.layouts.shapenet import Model

_GREY = 128  # in the picture of errors, where there is no albedo


@dataclass(frozen=True)
class Score:
    """How far one view is from the truth; depths and distances as shares of the camera's radius.

    `pixels` are those of the model or of the view's mask, `passes` the shares of pixels in which a pass is wrong.
    """

    view: str
    pixels: int
    median: float
    p999: float
    worst: float
    iou: float
    normal_cosine: float | None
    reprojection: float
    color: ColorScore
    passes: dict[str, float] = field(default_factory=dict)


@dataclass
class Comparison:
    """Scores of the views, all errors off depth edges, and by key the models that could not be checked, and why.

    `moved` are models that stand otherwise than their library says.
    """

    scores: list[Score] = field(default_factory=list)
    errors: list[Array] = field(default_factory=list)
    unchecked: dict[str, str] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)


def score_depth(
    record: ViewRecord, arrays: Mapping[str, npt.NDArray[Any]], surface: Truth, hits: Hits
) -> tuple[dict[str, Any], Array]:
    """The parts of a view's Score that are of shape, and the errors of depth off depth edges.

    Depth is that of the object and its ground, the mask that of the object alone.
    """
    depth, mask, rays = arrays["z_depth"].astype(np.float64), arrays["mask"], surface.rays
    origin, directions = pixel_rays(record, pixel_centres(len(depth)))
    truth, normals = hits.distance, hits.normals
    hit, found, radius = np.isfinite(truth), np.isfinite(depth), float(record["radius"])
    ground = surface.is_ground(hits)
    model = hit & ~ground
    both = hit & found
    error = np.abs(depth[both] - truth[both]) / radius
    clean = (
        np.abs(np.where(both, depth, 0) - np.where(both, truth, 0))[both & ~depth_edges(truth, ground)]
        / radius
    )
    points = origin + directions[both] * depth[both][:, None]
    away = rays.distance(points) / radius if len(points) else np.zeros(1)
    cosine = None
    if "normals" in arrays and both.any():
        agreement = np.abs((arrays["normals"][both] * normals[both]).sum(axis=-1))
        cosine = float(np.median(agreement))
    return {
        "pixels": int((model | mask).sum()),
        "median": float(np.median(error)) if error.size else 0.0,
        "p999": float(np.quantile(clean, 0.999)) if clean.size else 0.0,
        "worst": float(error.max(initial=0.0)),
        "iou": min(_overlap(model, mask), _overlap(hit, found)),
        "normal_cosine": cosine,
        "reprojection": float(np.quantile(away, 0.999)),
    }, clean


def _overlap(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def score_view(
    folder: Path, name: str, record: ViewRecord, truth: Truth, rendered: Rendered
) -> tuple[Score, Array]:
    """The score of a view of a data set, and the errors of depth off depth edges."""
    arrays, picture = _read_view(folder, name)
    hits = truth.rays.cast(*pixel_rays(record, pixel_centres(len(picture))))
    sky = SKIES.get(rendered.surroundings.light)
    shape, clean = score_depth(record, arrays, truth, hits)
    color = score_colors(picture, arrays.get("albedo"), record, truth, hits, rendered.samples, sky)
    passes = score_passes(rendered.passes, arrays, record, truth, hits)
    return Score(view=name, **shape, color=color, passes=passes), clean


def _read_view(folder: Path, name: str) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.uint8]]:
    with np.load(folder / f"{name.removesuffix('.png')}_geometry.npz", allow_pickle=False) as arrays:
        content = dict(arrays)
    with Image.open(folder / name) as picture:
        return content, np.asarray(picture.convert("RGB"))


def check_dataset(folder: Path, models: Mapping[str, Model], limit: int | None) -> Comparison:
    """The comparison of the first `limit` views, model by model. Raises LibraryError where the folder is no dataset."""
    rendered, found = Rendered.read(folder), Comparison()
    chosen = sorted(rendered.views, key=lambda name: (rendered.views[name]["model"], name))[:limit]
    for name, truth in _with_truth(rendered, chosen, models, found):
        score, clean = score_view(folder, name, rendered.views[name], truth, rendered)
        found.scores.append(score)
        found.errors.append(clean)
    return found


def _with_truth(
    rendered: Rendered, names: Sequence[str], models: Mapping[str, Model], found: Comparison
) -> Iterator[tuple[str, Truth]]:
    """The views of models that can be checked, with the truth, which is staged once while a model's views follow."""
    loaded, truth = "", None
    with ExitStack() as staged:
        for name in tqdm(names, unit="view", disable=None):
            key = rendered.views[name]["model"]
            if key != loaded:
                staged.close()
                loaded, truth = key, None
                try:
                    truth = staged.enter_context(staged_truth(rendered, key, models))
                except UncheckedModelError as error:
                    found.unchecked[key] = str(error)
                if truth and truth.moved:
                    found.moved.append(key)
            if truth:
                yield name, truth


def picture_of_errors(
    folder: Path, worst: Sequence[Score], models: Mapping[str, Model]
) -> npt.NDArray[np.uint8]:
    """[rows*R, 6*R, 3]: colour, base colour, albedo (grey: none), depth, true depth and their difference.

    The difference is white from 1e-3 of the radius on.
    """
    rendered = Rendered.read(folder)
    by_model = sorted((score.view for score in worst), key=lambda name: (rendered.views[name]["model"], name))
    rows = {
        name: _row(folder, name, rendered.views[name], truth)
        for name, truth in _with_truth(rendered, by_model, models, Comparison())
    }
    return np.vstack([rows[score.view] for score in worst])


def _row(folder: Path, name: str, record: ViewRecord, truth: Truth) -> npt.NDArray[np.uint8]:
    arrays, color = _read_view(folder, name)
    hits = truth.rays.cast(*pixel_rays(record, pixel_centres(len(color))))
    depth, radius = arrays["z_depth"].astype(np.float64), float(record["radius"])
    both = np.isfinite(depth) & np.isfinite(hits.distance)
    off = np.abs(np.where(both, depth, 0) - np.where(both, hits.distance, 0)) / radius
    off[np.isfinite(depth) != np.isfinite(hits.distance)] = 1.0
    shades = [np.clip((radius + 0.55 - image) / 1.1, 0, 1) for image in (depth, hits.distance)]
    grey = [(image * 255).astype(np.uint8) for image in (*shades, np.clip(off / 1e-3, 0, 1))]
    albedo = arrays.get("albedo", np.full_like(color, _GREY))
    return np.hstack(
        [color, shown_base(truth, hits), albedo, *(np.repeat(code[..., None], 3, axis=-1) for code in grey)]
    )


def chamfer_by_class(folder: Path, models: Mapping[str, Model]) -> dict[str, Chamfer]:
    """Mean distances between models and what their views fuse to, by class, where there are enough views to tell."""
    rendered = Rendered.read(folder)
    views: dict[str, dict[str, ViewRecord]] = {}
    for name, view in rendered.views.items():
        views.setdefault(view["model"], {})[name] = view
    by_class: dict[str, list[Chamfer]] = {}
    for key in tqdm(sorted(views), unit="model", disable=None):
        try:
            with staged_truth(rendered, key, models) as truth:
                found = chamfer(folder, views[key], truth.model_rays)
        except UncheckedModelError:
            continue  # named by check_dataset
        if found is not None:
            by_class.setdefault(models[key].object_class.name, []).append(found)
    return {
        name: Chamfer(
            float(np.mean([one.fused_to_model for one in found])),
            float(np.mean([one.model_to_fused for one in found])),
        )
        for name, found in sorted(by_class.items())
    }

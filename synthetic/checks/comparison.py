"""Views of a dataset compared with what Open3D's ray caster sees of the same models, pixel by pixel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from synthetic.checks.fusion import Chamfer, chamfer
from synthetic.checks.surface import Surface, SurfaceError, read_surface
from synthetic.dataset import ViewRecord
from synthetic.dataset_index import ManifestEntry
from synthetic.library.shapenet import LibraryError, Model

Array = npt.NDArray[np.float64]
_EDGE = 0.02  # neighbours farther apart than this are the two sides of a depth edge


@dataclass(frozen=True)
class Score:
    """How far one view is from the truth; depths and distances as shares of the camera's radius."""

    view: str
    median: float
    p999: float
    worst: float
    iou: float
    normal_cosine: float | None
    reprojection: float


BOUNDS = {
    "median": 1e-5,
    "p999": 1e-4,
    "iou": 0.999,
}  # over a whole dataset: medians of median and IoU, all pixels


def pixel_rays(record: ViewRecord, resolution: int) -> tuple[Array, Array]:
    """Origin [3] and directions [R,R,3] of z-depth 1 of a view's rays, from its entry in cameras.json."""
    matrix, pose = np.array(record["intrinsics"]), np.array(record["cam2world"])
    row, column = np.mgrid[:resolution, :resolution]
    local = np.stack(
        [
            (column - matrix[0, 2]) / matrix[0, 0],
            -(row - matrix[1, 2]) / matrix[1, 1],
            -np.ones((resolution, resolution)),
        ],
        axis=-1,
    )
    return pose[:3, 3], local @ pose[:3, :3].T


def depth_edges(depth: Array) -> npt.NDArray[np.bool_]:
    """[R,R] pixels beside another surface or the background: there a ray may fall to either side."""
    padded = np.pad(np.where(np.isfinite(depth), depth, 1e3), 1, mode="edge")
    side = len(depth)
    steps = [
        np.abs(padded[1 + y : 1 + y + side, 1 + x : 1 + x + side] - padded[1:-1, 1:-1])
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    ]
    return np.asarray(np.max(steps, axis=0) > _EDGE)


def score_view(
    name: str, record: ViewRecord, arrays: Mapping[str, npt.NDArray[Any]], surface: Surface
) -> tuple[Score, Array, Array]:
    """The score, the errors of pixels off depth edges, and the true depth [R,R] (inf: nothing)."""
    depth, mask = arrays["z_depth"].astype(np.float64), arrays["mask"]
    origin, directions = pixel_rays(record, len(depth))
    truth, normals = surface.cast(origin, directions)
    hit, radius = np.isfinite(truth), float(record["radius"])
    both = hit & mask
    error = np.abs(depth[both] - truth[both]) / radius
    clean = np.abs(np.where(both, depth, 0) - np.where(both, truth, 0))[both & ~depth_edges(truth)] / radius
    points = origin + directions[both] * depth[both][:, None]
    away = surface.distance(points) / radius if len(points) else np.zeros(1)
    cosine = None
    if "normals" in arrays and both.any():
        agreement = np.abs((arrays["normals"][both] * normals[both]).sum(axis=-1))
        cosine = float(np.median(agreement))
    iou = float(both.sum() / max(1, (hit | mask).sum()))
    score = Score(
        name,
        float(np.median(error)) if error.size else 0.0,
        float(np.quantile(clean, 0.999)) if clean.size else 0.0,
        float(error.max(initial=0.0)),
        iou,
        cosine,
        float(np.quantile(away, 0.999)),
    )
    return score, clean, truth


def check_dataset(
    folder: Path, models: Mapping[str, Model], limit: int | None
) -> tuple[list[Score], Array, list[str]]:
    """Scores of the views, all errors off depth edges, and the models that could not be checked, with the reason.

    Raises LibraryError where the folder is no dataset.
    """
    views, sources = _records(folder)
    scores: list[Score] = []
    errors: list[Array] = []
    unchecked: list[str] = []
    surface, loaded = None, ""
    chosen = sorted(views.items(), key=lambda item: (item[1]["model"], item[0]))[:limit]
    for name, record in tqdm(chosen, unit="view", disable=None):
        key = record["model"]
        if key != loaded:
            surface, loaded = None, key
            try:
                surface = _surface(models.get(key), sources.get(key))
            except SurfaceError as error:
                unchecked.append(f"{key}: {error}")
        if surface is not None:
            with np.load(folder / f"{name.removesuffix('.png')}_geometry.npz", allow_pickle=False) as arrays:
                score, clean, _ = score_view(name, record, dict(arrays), surface)
            scores.append(score)
            errors.append(clean)
    return scores, np.concatenate(errors) if errors else np.zeros(0), unchecked


def _records(folder: Path) -> tuple[dict[str, ViewRecord], dict[str, ManifestEntry]]:
    """Views by name and models by key. Raises LibraryError where the folder is no dataset."""
    try:
        views = json.loads((folder / "cameras.json").read_text(encoding="utf-8"))["views"]
        sources = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["models"]
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise LibraryError(f"{folder}: is no dataset with cameras.json and manifest.json ({error})") from None
    return views, sources


def _surface(model: Model | None, source: ManifestEntry | None) -> Surface:
    if model is None or source is None:
        raise SurfaceError("is not in this library")
    digest = hashlib.sha256(model.path.read_bytes()).hexdigest() if model.path.is_file() else "no file"
    if digest != source["sha256"].get(model.path.name):
        raise SurfaceError("has changed since it was rendered")
    return read_surface(model.path, np.array(source["to_world"]))


def picture_of_errors(
    folder: Path, worst: Sequence[Score], models: Mapping[str, Model]
) -> npt.NDArray[np.uint8]:
    """[rows*R, 4*R, 3]: colour, depth, true depth and their difference (white from 1e-3 of the radius on)."""
    views, sources = _records(folder)
    rows = []
    for score in worst:
        record = views[score.view]
        with np.load(
            folder / f"{score.view.removesuffix('.png')}_geometry.npz", allow_pickle=False
        ) as arrays:
            depth = arrays["z_depth"].astype(np.float64)
        surface = _surface(models[record["model"]], sources[record["model"]])
        truth, _ = surface.cast(*pixel_rays(record, len(depth)))
        radius = float(record["radius"])
        both = np.isfinite(depth) & np.isfinite(truth)
        off = np.abs(np.where(both, depth, 0) - np.where(both, truth, 0)) / radius
        off[np.isfinite(depth) != np.isfinite(truth)] = 1.0
        shades = [np.clip((radius + 0.55 - image) / 1.1, 0, 1) for image in (depth, truth)]
        grey = [*shades, np.clip(off / 1e-3, 0, 1)]
        color = np.asarray(Image.open(folder / score.view).convert("RGB"))
        codes = [(image * 255).astype(np.uint8)[..., None] for image in grey]
        rows.append(np.hstack([color, *(np.repeat(code, 3, axis=-1) for code in codes)]))
    return np.vstack(rows)


def chamfer_by_class(folder: Path, models: Mapping[str, Model]) -> dict[str, Chamfer]:
    """Mean distances between models and what their views fuse to, by class, where there are enough views to tell."""
    views, sources = _records(folder)
    by_class: dict[str, list[Chamfer]] = {}
    for key in tqdm(sorted(sources), unit="model", disable=None):
        mine = {name: view for name, view in views.items() if view["model"] == key}
        found = chamfer(folder, mine, _surface(models.get(key), sources[key]))
        if found is not None:
            by_class.setdefault(models[key].object_class.name, []).append(found)
    return {
        name: Chamfer(
            float(np.mean([one.fused_to_model for one in found])),
            float(np.mean([one.model_to_fused for one in found])),
        )
        for name, found in sorted(by_class.items())
    }


def summarise(scores: Sequence[Score], errors: Array) -> dict[str, float]:
    """The numbers over a whole dataset."""
    summary = {
        "views": float(len(scores)),
        "median": float(np.median(errors)),
        "p999": float(np.quantile(errors, 0.999)),
        "share_below_1e-4": float((errors <= 1e-4).mean()),
        "iou": float(np.mean([score.iou for score in scores])),
        "worst_iou": min(score.iou for score in scores),
        "reprojection_p999": float(np.median([score.reprojection for score in scores])),
    }
    cosines = [score.normal_cosine for score in scores if score.normal_cosine is not None]
    return summary | ({"normal_cosine": float(np.median(cosines))} if cosines else {})

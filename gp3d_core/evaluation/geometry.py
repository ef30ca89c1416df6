"""The shape that generated views show, against rendered truth of the same class.

Generated objects have no truth of their own, so each is seen by the camera of a real view and compared with the real
view of its class that looks most like it: of those seen from within 15° of there, the one with the nearest silhouette.
The floor is what real views get in the same way against views of *other* models. Other measures need no partner.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.evaluation.report.cards import Card, save_cards
from gp3d_core.evaluation.shapes.objects import class_records, objects_of
from gp3d_core.evaluation.true_views import TruthViews, read_views, thinned
from gp3d_core.generation.sampling import generate
from gp3d_core.metrics.depthviews import (
    FLAT,
    DepthView,
    Difference,
    agreement,
    difference,
    fullness,
    relief,
    silhouette_iou,
    view_of_distance,
)
from gp3d_core.metrics.score import Score
from gp3d_core.rendering.cameras import Cameras, sample_rays, turn_camera
from gp3d_core.rendering.volume import Field, Rendering, ShapeField, rays_at_a_time, render
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.visualization import rgb_to_uint8

NEAR = 15.0  # degrees between cameras whose views are compared
TURN = math.radians(30.0)  # between the cameras that have to agree
THIN = 0.02  # of the camera's radius: bodies thinner than this are shells; also what agreement tolerates
_CANDIDATES = 24  # views that silhouettes are compared with, at the most
MEASURES = {
    "depth_error": "aligned depth error, world units",
    "normal_error": "normal error, degrees",
    "silhouette_iou": "silhouette IoU with the nearest real view",
    "completeness": "share of pixels behind which the body goes on",
    "consistency": "share of points that another view does not contradict",
    "flat": f"share of views with relief below {FLAT}",
    "relief": "relief, 0 for a plane, 0.47 for a ball",
    "empty": "share of views with nothing in them",
}


@dataclass(frozen=True, eq=False)
class Seen:
    """What one camera sees of a field: colours uint8 [h,h,3], where surfaces begin and where bodies end.

    `front` and `back` [h,h] are mean distances along the rays, from the camera, of light that comes from it and of
    light that comes from behind; infinite where less than half of it is stopped.
    """

    rgb: NDArray[Any]
    front: Tensor
    back: Tensor
    view: DepthView


@torch.no_grad()
def look(field: Field, camera: Cameras, snapshot_config: Any, size: int, stride: int = 1) -> Seen:
    """What the camera [1] sees of the field, in both directions along its rays: of `stride` h pixels each h."""
    picture, front = look_once(field, camera, snapshot_config, size, stride)
    space = snapshot_config.camera
    rays_o, rays_d = _rays(camera, size, stride)
    reach = space.t_near + space.t_far
    behind = _along(field, rays_o + reach * rays_d, -rays_d, snapshot_config)
    back = reach - _distance(behind.weights, behind.t).reshape(size, size).cpu()
    back = torch.where(torch.isfinite(front), back, torch.inf)
    return Seen(picture, front, back, view_of_distance(front, camera.to("cpu")))


@torch.no_grad()
def look_once(
    field: Field, camera: Cameras, snapshot_config: Any, size: int, stride: int = 1
) -> tuple[NDArray[Any], Tensor]:
    """Colours uint8 [h,h,3] and `front` [h,h] as `Seen` has them, for half of its price: ends of bodies are unknown."""
    there = _along(field, *_rays(camera, size, stride), snapshot_config)
    front = _distance(there.weights, there.t).reshape(size, size).cpu()
    return rgb_to_uint8(there.rgb.transpose(1, 2).unflatten(2, (size, size)))[0], front


def _rays(camera: Cameras, size: int, stride: int) -> tuple[Tensor, Tensor]:
    """Origins and directions [1,h²,3] of the rays of every `stride`-th pixel, `size` an edge."""
    pixels = torch.arange((size * stride) ** 2).reshape(size * stride, -1)
    kept = thinned(pixels, stride).flatten().to(camera.fov.device)
    rays_o, rays_d = sample_rays(camera, size * stride)
    return rays_o[:, kept], rays_d[:, kept]


def _along(field: Field, rays_o: Tensor, rays_d: Tensor, snapshot_config: Any) -> Rendering:
    space, config = snapshot_config.camera, snapshot_config.render
    return render(field, rays_o, rays_d, space, config, jitter=False, chunk=rays_at_a_time(1))


def _distance(weights: Tensor, t: Tensor) -> Tensor:
    """Mean distance [R] of what stops the light, from weights and t [1,R,S]; infinite where less than half is."""
    opacity = weights[0].sum(dim=1)
    return torch.where(opacity > 0.5, (weights[0] * t[0]).sum(dim=1) / opacity.clamp(min=1e-6), torch.inf)


def nearest_view(view: DepthView, truth: TruthViews, candidates: Sequence[int]) -> tuple[int, DepthView]:
    """Of the truth's images `candidates` the one with the silhouette most like that of `view`, and its depth."""
    views = [truth.view(index) for index in candidates]
    scores = silhouette_iou(view.mask[None], torch.stack([each.mask for each in views]))
    best = int(scores.argmax())
    return candidates[best], views[best]


def partner_of(
    view: DepthView, truth: TruthViews, images: Sequence[int], index: int
) -> tuple[int, DepthView]:
    """Of the truth's `images` seen from near the camera of image `index` the one most like `view`, and its depth."""
    return nearest_view(view, truth, _few(truth.near_views(index, images, NEAR), index))


def own_measures(seen: Seen, other: DepthView, radius: float) -> dict[str, float | None]:
    """Measures that need no partner, of a view and of one from 30° beside it."""
    bulge = relief(seen.view)
    return {
        "completeness": fullness(seen.front, seen.back, THIN * radius),
        "consistency": agreement(seen.view, other, THIN * radius),
        "relief": bulge,
        "flat": float(bulge < FLAT),
        "empty": float(not bool(seen.view.mask.any())),
    }


def partner_measures(found: Difference) -> dict[str, float | None]:
    """The measures of a view against its nearest real one."""
    return {"depth_error": found.depth, "normal_error": found.normals, "silhouette_iou": found.iou}


def measure_geometry(
    snapshot: Snapshot,
    dataset: Path,
    *,
    n: int,
    seed: int,
    out: Path,
    truncation: float = 1.0,
    pixels: int | None = None,
) -> list[Score]:
    """Scores geometry/<measure> of about `n` objects, spread over the classes that snapshot and data set share.

    Values are means over classes, with classes and floors in the facts. Writes the report cards `out`/geometry.png.
    Views are compared on `pixels` an edge, every k-th of the data set's; None: on all.
    Raises DatasetError for a data set without depth and cameras or without a class of the snapshot.
    """
    truth = read_views(dataset, pixels)
    classes = [(record, truth.of_class(record)) for record in class_records(snapshot)]
    shared = [(record, images) for record, images in classes if images]
    if not shared:
        raise DatasetError(
            f"{dataset} shows none of the snapshot's classes, such as {classes[0][0]['name']!r}"
        )
    count = max(1, n // len(shared))
    rows: dict[str, dict[str, float | None]] = {}
    floors: dict[str, dict[str, float | None]] = {}
    cards: list[Card] = []
    with tqdm(
        total=count * len(shared), desc="geometry", unit="object", file=sys.stderr, disable=None
    ) as bar:
        for record, images in shared:
            samples = [
                _sample(snapshot, truth, images, spec, index, truncation, bar)
                for spec, index in zip(
                    objects_of(record, count, seed),
                    draw_views(images, count, seed, record["name"]),
                    strict=True,
                )
            ]
            name = str(record["name"])
            rows[name] = _means([measures for measures, _ in samples])
            drawn = draw_views(images, count, seed, record["name"])
            floors[name] = _means([_floor(truth, images, index) for index in drawn])
            middle = sorted(range(count), key=lambda i: samples[i][0]["depth_error"] or math.inf)[count // 2]
            cards.append(replace(samples[middle][1], title=_title(name, rows[name], floors[name])))
    save_cards(cards, out / "geometry.png")
    facts = {"truncation": truncation, "reference": dataset.name, "classes": len(shared), "seed": seed}
    facts["pixels"] = truth.size
    missing = [str(record["name"]) for record, images in classes if not images]
    return _scores(rows, floors, count * len(shared), facts | {"classes_without_truth": missing})


def _sample(
    snapshot: Snapshot,
    truth: TruthViews,
    images: Sequence[int],
    spec: Any,
    index: int,
    truncation: float,
    bar: tqdm[Any],
) -> tuple[dict[str, float | None], Card]:
    """All measures of one object as the camera of the truth's image `index` sees it, and its card."""
    config, size = snapshot.config, (truth.size, truth.stride)
    field: ShapeField = snapshot.generator.field(generate(snapshot, spec, truncation).planes)
    camera = truth.cameras[index].to(field.device)
    seen = look(field.fast(), camera, config, *size)
    beside = turn_camera(camera.to("cpu"), TURN)
    other = view_of_distance(look_once(field.fast(), beside.to(field.device), config, *size)[1], beside)
    partner, real = partner_of(seen.view, truth, images, index)
    measures = own_measures(seen, other, float(camera.radius)) | partner_measures(difference(seen.view, real))
    bar.update()
    return measures, Card("", seen.rgb, seen.view, truth.image(partner), real)


def _floor(truth: TruthViews, images: Sequence[int], index: int) -> dict[str, float | None]:
    """The measures of a real view, against the nearest one of another model."""
    view = truth.view(index)
    others = [k for k in images if truth.models[k] != truth.models[index]]
    bulge = relief(view)
    found: dict[str, float | None] = {"relief": bulge, "flat": float(bulge < FLAT), "empty": 0.0}
    if others:
        _, real = partner_of(view, truth, others, index)
        found |= partner_measures(difference(view, real))
    same = [k for k in images if truth.models[k] == truth.models[index] and k != index]
    if same:
        found["consistency"] = agreement(view, truth.view(same[0]), THIN * float(truth.cameras.radius[index]))
    return found


def _few(candidates: Sequence[int], index: int) -> list[int]:
    """At most 24 of the candidates, always the same for one image, itself among them if it was."""
    order = torch.randperm(len(candidates), generator=generator_for("candidates", index))[:_CANDIDATES]
    kept = [candidates[i] for i in order.tolist()]
    return [index, *kept[1:]] if index in candidates and index not in kept else kept


def draw_views(images: Sequence[int], count: int, seed: int, name: str) -> list[int]:
    """Drawn by seed and class name, `count` of a class's images, each as often as any other, but for one."""
    order = torch.randperm(len(images), generator=generator_for("truth views", seed, name)).tolist()
    return [images[order[i % len(order)]] for i in range(count)]


def _means(found: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Mean of every measure over those that have it; None where none has."""
    known = {name: [row[name] for row in found if row.get(name) is not None] for name in MEASURES}
    return {
        name: fmean(float(v) for v in values if v is not None) if values else None
        for name, values in known.items()
    }


def _title(name: str, row: Mapping[str, float | None], floor: Mapping[str, float | None]) -> str:
    def shown(measure: str, form: str) -> str:
        value, real = row[measure], floor[measure]
        own = "–" if value is None else form.format(value)
        return own if real is None else f"{own} (real {form.format(real)})"

    return (
        f"{name}: depth error {shown('depth_error', '{:.3f}')}, normals {shown('normal_error', '{:.0f}°')}, "
        f"IoU {shown('silhouette_iou', '{:.2f}')}, complete {shown('completeness', '{:.0%}')}, "
        f"consistent {shown('consistency', '{:.0%}')}, flat {shown('flat', '{:.0%}')}"
    )


def _scores(
    rows: Mapping[str, Mapping[str, float | None]],
    floors: Mapping[str, Mapping[str, float | None]],
    n: int,
    facts: Mapping[str, Any],
) -> list[Score]:
    scores = []
    for measure, words in MEASURES.items():
        values = [row[measure] for row in rows.values() if row[measure] is not None]
        real = [row[measure] for row in floors.values() if row[measure] is not None]
        if not values:
            continue
        own = {
            "what": words,
            "floor": fmean(float(v) for v in real if v is not None) if real else None,
            "per_class": {name: row[measure] for name, row in rows.items()},
            "floor_per_class": {name: row[measure] for name, row in floors.items()},
            **facts,
        }
        value = fmean(float(v) for v in values if v is not None)
        scores.append(Score(metric=f"geometry/{measure}", value=value, n=n, facts=own))
    return scores

"""What finished assets take and are like: `python -m benchmarks.bench_assets [--csv FILE] [--sheet PICTURE]`.

Twelve objects of the pretrained model: levels of detail, quads and collision hulls, each checked as `gp3d mesh` does.
Figures are medians over the objects, or the worst of them; CPU-seconds count the libraries' processes, too. The sheet
shows them all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.measuring import Rows
from gp3d_core.assets.collision import CollisionHull, collision_hull
from gp3d_core.assets.distance import face_vectors
from gp3d_core.assets.lods import Level, coarser
from gp3d_core.assets.quads import QuadError, Quads, quad_mesh
from gp3d_core.generation.meshes import make_asset, written_size
from gp3d_core.generation.objects import ObjectSpec, object_specs
from gp3d_core.generation.sampling import Generated, generate, open_snapshot
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.rasterizer import project, render_mesh
from gp3d_core.rendering.cameras import Cameras, cam2world, mean_camera, turn_camera
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.visualization import save_picture, sheet

CLASSES = (
    *("coffee mug", "school bus", "table lamp", "teapot", "king penguin", "acoustic guitar"),
    *("throne", "wine bottle", "mailbox", "pretzel", "balloon", "piggy bank"),
)
_QUADS, _PARTS, _BUDGET = 2000, 16, 500_000
_TILE, _FINE = 170, 6  # pixels of a picture, and how many times finer it is drawn
_YAW = 0.5
_HUES = (  # of the parts of a hull, one after the other
    *((230, 85, 70), (245, 160, 50), (240, 215, 70), (120, 190, 80), (60, 170, 160), (80, 150, 220)),
    *((120, 110, 210), (190, 100, 190), (230, 130, 160), (150, 120, 90)),
)
_Result = TypeVar("_Result")


@dataclass
class Shown:
    """One object with all that was made of it; `quads` None where they failed."""

    spec: ObjectSpec
    mesh: Mesh
    levels: list[Level]
    quads: Quads | None
    hull: CollisionHull
    seconds: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, help="append the figures to this file")
    parser.add_argument("--sheet", type=Path, help="draw the objects into this PNG")
    parser.add_argument("--toy", action="store_true", help="two coarse objects: to see that it runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = Rows("assets", options.csv, torch.device("cpu"), float("inf"))
    snapshot = open_snapshot(None, "cpu")
    chosen = MeshOptions(grid=48, faces=1500, texture_size=64) if options.toy else MeshOptions()
    objects = object_specs(snapshot, CLASSES[: 2 if options.toy else None], [1])
    shown = []
    for spec in objects:
        shown.append(_made(snapshot, spec, chosen, 300 if options.toy else _QUADS))
        print(f"assets   {spec.stem}", flush=True)
    _figures(rows, shown)
    _budgets(rows, snapshot, objects[: 2 if options.toy else 4], chosen, 60_000 if options.toy else _BUDGET)
    if options.sheet is not None:
        camera = turn_camera(mean_camera(snapshot.config.camera), _YAW)
        save_picture(_sheet(shown, camera).quantize(256), options.sheet)  # a third of the bytes


def _made(snapshot: Snapshot, spec: ObjectSpec, options: MeshOptions, quads: int) -> Shown:
    obj = generate(snapshot, spec)
    seconds: dict[str, float] = {}
    asset, _ = _timed("mesh", seconds, lambda: make_asset(snapshot, obj, options))
    levels = [
        _timed(f"LOD{number} and its distance", seconds, lambda number=number: coarser(asset.mesh, number))
        for number in (1, 2)
    ]
    hull = _timed("hull", seconds, lambda: collision_hull(asset.mesh, _PARTS))
    return Shown(
        spec, asset.mesh, levels, _timed("quads", seconds, lambda: _quads(asset.mesh, quads)), hull, seconds
    )


def _quads(mesh: Mesh, count: int) -> Quads | None:
    try:
        return quad_mesh(mesh, count)
    except QuadError as error:
        print(f"assets   {error}")
        return None


def _timed(name: str, seconds: dict[str, float], work: Callable[[], _Result]) -> _Result:
    before = _cpu()
    result = work()
    seconds[name] = _cpu() - before
    return result


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _figures(rows: Rows, shown: Sequence[Shown]) -> None:
    for name in shown[0].seconds:
        rows.add(
            f"{name}, median of {len(shown)}", statistics.median(one.seconds[name] for one in shown), "CPU-s"
        )
    for number in (1, 2):
        distances = [one.levels[number - 1].distance for one in shown]
        rows.add(
            f"LOD{number}, mean distance, median",
            100 * statistics.median(d.mean for d in distances),
            "%diagonal",
        )
        rows.add(
            f"LOD{number}, largest distance, worst", 100 * max(d.largest for d in distances), "%diagonal"
        )
    passed = [one.quads for one in shown if one.quads is not None]
    rows.add("quads that pass all checks", len(passed), f"of_{len(shown)}")
    if passed:
        rows.add(
            "quads, mean distance, median",
            100 * statistics.median(q.distance.mean for q in passed),
            "%diagonal",
        )
        rows.add("quads, largest distance, worst", 100 * max(q.distance.largest for q in passed), "%diagonal")
    rows.add("hull, parts, median", statistics.median(len(one.hull.parts) for one in shown), "parts")
    rows.add("hull, volume ratio, median", statistics.median(one.hull.volume_ratio for one in shown), "x")
    rows.add("hull, volume ratio, worst", max(one.hull.volume_ratio for one in shown), "x")
    rows.add(
        "hull, farthest sample outside, worst", 100 * max(one.hull.outside for one in shown), "%diagonal"
    )
    with tempfile.TemporaryDirectory() as folder:
        sizes = [save_mesh(one.mesh, Path(folder, "a.glb"))[0].stat().st_size for one in shown]
    rows.add("GLB of LOD0, median", statistics.median(sizes) / 1e6, "MB")


def _budgets(
    rows: Rows, snapshot: Snapshot, objects: Sequence[ObjectSpec], options: MeshOptions, budget: int
) -> None:
    seconds, shares, faces = [], [], []
    for spec in objects:
        obj: Generated = generate(snapshot, spec)
        taken: dict[str, float] = {}
        limited = MeshOptions(**{**_fields(options), "max_size": budget})
        asset, recipe = _timed(
            "all", taken, lambda obj=obj, limited=limited: make_asset(snapshot, obj, limited)
        )
        seconds.append(taken["all"])
        shares.append(written_size(asset.mesh, ["glb"], recipe) / budget)
        faces.append(len(asset.mesh.faces))
    name = f"GLB of at most {budget // 1000} kB"
    rows.add(f"{name}, median of {len(objects)}", statistics.median(seconds), "CPU-s")
    rows.add(f"{name}, share of it that is used, least", 100 * min(shares), "%")
    rows.add(f"{name}, share of it that is used, most", 100 * max(shares), "%")
    rows.add(f"{name}, faces, median", statistics.median(faces), "faces")


def _fields(options: MeshOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("grid", "faces", "texture_size")}


def _sheet(shown: Sequence[Shown], camera: Cameras) -> Image.Image:
    """Two objects a row, five pictures each."""
    rows = []
    for start in range(0, len(shown), 2):
        pair = shown[start : start + 2]
        rows.append(
            (" · ".join(map(_caption, pair)), [picture for one in pair for picture in _pictures(one, camera)])
        )
    heads = [["LOD0"], ["LOD1"], ["LOD2"], ["quads"], ["hull"]] * min(2, len(shown))
    return sheet(rows, tile=_TILE, heads=heads)


def _caption(one: Shown) -> str:
    faces = ", ".join(str(len(mesh.faces)) for mesh in (one.mesh, *(level.mesh for level in one.levels)))
    quads = "no quads" if one.quads is None else f"{len(one.quads.faces)} quads"
    return f"{one.spec.record['name']}: {faces} faces, {quads}, {len(one.hull.parts)} convex parts"


def _pictures(one: Shown, camera: Cameras) -> list[NDArray[Any]]:
    view = render_mesh(one.mesh, camera, _FINE * _TILE)
    first, place = view.rgb, _place(view.mask)
    drawn = [_with_edges(level.mesh, level.mesh.faces, camera) for level in one.levels]
    if one.quads is None:
        drawn.append(np.full_like(first, 255))
    else:
        drawn.append(_with_edges(one.quads.triangles(), one.quads.faces, camera))
    drawn.append(_hull_picture(one.hull, camera))
    return [
        np.asarray(Image.fromarray(picture).resize((_TILE, _TILE), Image.Resampling.LANCZOS, place))
        for picture in (first, *drawn)
    ]


def _place(mask: NDArray[Any]) -> tuple[float, float, float, float]:
    """The square around what a picture shows, with a margin: left, upper, right, lower."""
    row, column = np.nonzero(mask)
    x, y = (column.min() + column.max()) / 2, (row.min() + row.max()) / 2
    half = 0.55 * max(np.ptp(column), np.ptp(row))
    limit = len(mask)
    half = float(min(half, x, y, limit - x, limit - y))
    return float(x - half), float(y - half), float(x + half), float(y + half)


def _shaded(mesh: Mesh, color: tuple[int, int, int], camera: Cameras) -> Mesh:
    """`mesh`, each face apart, in a colour that is darker where it looks away from the camera and the sky."""
    normal = face_vectors(mesh)
    normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-12)[:, None]
    light = cam2world(camera)[0, :3, 2].double().numpy() + np.array([0.3, 0.8, 0.0])
    shade = 0.45 + 0.55 * np.clip(normal @ (light / np.linalg.norm(light)), 0, 1)
    colors = np.round(np.array(color) * shade[:, None]).astype(np.uint8)
    corners = np.arange(3 * len(mesh.faces), dtype=np.int32).reshape(-1, 3)
    return Mesh(mesh.vertices[mesh.faces.reshape(-1)], corners, vertex_colors=np.repeat(colors, 3, axis=0))


def _with_edges(mesh: Mesh, polygons: NDArray[Any], camera: Cameras) -> NDArray[Any]:
    """The shaded mesh, and the edges of those `polygons` [P,N] of its vertices that one sees."""
    size = _FINE * _TILE
    view = render_mesh(_shaded(mesh, (205, 215, 230), camera), camera, size)
    pixel, _, _ = project(mesh.vertices, camera, size)
    middle = mesh.vertices[polygons].mean(axis=1)
    at, _, distance = project(middle, camera, size)
    column, row = np.clip(np.round(at), 0, size - 1).astype(int).T
    image = Image.fromarray(view.rgb)
    draw = ImageDraw.Draw(image)
    for polygon in polygons[distance <= view.depth[row, column] * 1.004]:
        ring = [tuple(point) for point in pixel[[*polygon, polygon[0]]]]
        draw.line(ring, fill=(40, 60, 100), width=2)
    return np.asarray(image)


def _hull_picture(hull: CollisionHull, camera: Cameras) -> NDArray[Any]:
    size = _FINE * _TILE
    depth = np.full((size, size), np.inf)
    picture = np.full((size, size, 3), 255, np.uint8)
    for number, part in enumerate(hull.parts):
        view = render_mesh(_shaded(part, _HUES[number % len(_HUES)], camera), camera, size)
        nearer = view.depth < depth
        picture[nearer], depth[nearer] = view.rgb[nearer], view.depth[nearer]
    return picture


if __name__ == "__main__":
    main()

"""`python benchmarks/measure_variants.py LIBRARY ...`: how variants differ from their parents, and what they keep.

Takes `--parents` models of each library, the classes in turn, and makes `--variants` of each. Prints a Markdown table,
which docs/libraries.md shows:

    closedness   variants whose number of edges with one triangle is not their parent's, corners at one place being one
    crossings    edges that go through a triangle, with both ends off its plane by a thousandth of the model's size, of
                 1000 triangles: mean of parents, of variants (most models are put together of parts that cross)
    turned over  share of the area of triangles that face away from where the map of space turns them, worst variant
    stretch      the ratio of singular values that 99.9 % of the area keep to, worst variant
    ground       how far a lowest point of the parent may end above the variant's lowest, of its diagonal, worst variant
    IoU          of the silhouettes of parent and variant from three sides, both centred and of one size; without sides
                 from which the parent covers less than a hundredth of the picture

What `limbless` is has no ground.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open3d as o3d
from tqdm import tqdm

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from synthetic.layouts.shapenet import (  # noqa: E402  the path comes first
    BrokenModelError,
    Model,
    interleave,
    load_library,
)
from synthetic.library.variation.draws import VariantSeed  # noqa: E402
from synthetic.library.variation.kinds import BODIES, kind_of  # noqa: E402
from synthetic.library.variation.shape import (  # noqa: E402
    Deformation,
    anisotropy,
    deform,
    draw_deformation,
)
from synthetic.staging.stage import stage_model  # noqa: E402
from synthetic.staging.surface import Surface, area_vectors, face_normals  # noqa: E402
from synthetic.staging.treatment import ModelLimits, Treatment  # noqa: E402
from synthetic.viewpoints import Viewpoint  # noqa: E402

DEPTH = 1e-3  # of the size: parts that touch may end less than that in each other
SIDES = [Viewpoint(yaw=yaw, pitch=1.3, fov=29.0) for yaw in (0.0, 0.8, 1.57)]
RESOLUTION = 128
LEAST_SEEN = 0.01  # of a picture: thinner silhouettes are a matter of single pixels


@dataclass(frozen=True)
class Measured:
    """One variant against its parent."""

    body: str
    closed: bool
    crossings: tuple[float, float]
    turned: float
    stretch: float
    ground: float
    iou: tuple[float, ...]


def welded(surface: Surface, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Triangles by numbers of places: positions that are equal (-0 and 0, too) are one."""
    return np.unique(positions + 0.0, axis=0, return_inverse=True)[1].reshape(-1)[surface.triangles]


def border_edges(triangles: npt.NDArray[np.int64]) -> int:
    """How many edges belong to one triangle alone."""
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    return int((np.unique(edges, axis=0, return_counts=True)[1] == 1).sum())


def crossings(
    positions: npt.NDArray[np.float64], triangles: npt.NDArray[np.int64], faces: npt.NDArray[np.int64]
) -> int:
    """How many pairs of edge and triangle cross and share no corner; `triangles` count places, `faces` positions."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    where = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends, first = np.unique(np.sort(ends, axis=1), axis=0, return_index=True)
    start, end = positions[where[first, 0]], positions[where[first, 1]]
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(positions.astype(np.float32), faces.astype(np.uint32))
    hits = scene.list_intersections(np.concatenate([start, end - start], axis=1).astype(np.float32))
    edge, face = (hits[key].numpy().astype(np.int64) for key in ("ray_ids", "primitive_ids"))
    normals = face_normals(positions, faces)[face]
    corner = positions[faces[face, 0]]
    near, far = (((place[edge] - corner) * normals).sum(axis=1) for place in (start, end))
    depth = DEPTH * np.linalg.norm(np.ptp(positions, axis=0))
    apart = (ends[edge][:, :, None] != triangles[face][:, None, :]).all(axis=(1, 2))
    apart &= (near * far < 0) & (np.minimum(np.abs(near), np.abs(far)) > depth)
    return int(apart.sum())


def silhouettes(surface: Surface) -> npt.NDArray[np.bool_]:
    """[sides,H,W] what is seen of a surface that is centred and has a diagonal of 1."""
    low, high = surface.positions.min(axis=0), surface.positions.max(axis=0)
    positions = (surface.positions - (low + high) / 2) / np.linalg.norm(high - low)
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(positions.astype(np.float32), surface.triangles.astype(np.uint32))
    span = np.tan(np.radians(SIDES[0].fov) / 2) * np.linspace(-1, 1, RESOLUTION)
    x, y = np.meshgrid(span, -span)
    seen = []
    for side in SIDES:
        camera = side.cam2world()
        directions = np.stack([x, y, -np.ones_like(x)], axis=-1) @ camera[:3, :3].T
        rays = np.concatenate([np.broadcast_to(camera[:3, 3], directions.shape), directions], axis=-1)
        seen.append(np.isfinite(scene.cast_rays(rays.astype(np.float32))["t_hit"].numpy()))
    return np.stack(seen)


def turned_over(parent: Surface, variant: Surface, deformation: Deformation) -> float:
    """The share of the area whose normal is not where the map of space turns it."""
    inverse = np.linalg.inv(deformation.jacobian(parent.positions)).transpose(0, 2, 1)
    before = area_vectors(parent.positions, parent.triangles)
    expected = np.einsum("nij,nj->ni", inverse[parent.triangles].mean(axis=1), before)
    after = area_vectors(variant.positions, variant.triangles)
    area = np.linalg.norm(before, axis=1)
    return float(area[(expected * after).sum(axis=1) < 0].sum() / area.sum())


def quantile_of_area(surface: Surface, values: npt.NDArray[np.float64], share: float) -> float:
    """The value that `share` of a surface's area keeps to."""
    area = np.linalg.norm(area_vectors(surface.positions, surface.triangles), axis=1)
    order = np.argsort(values)
    place = np.searchsorted(np.cumsum(area[order]), share * area.sum())
    return float(values[order][min(place, len(order) - 1)])


def measure(model: Model, parent: Surface, variants: int) -> Iterator[Measured]:
    """Every variant of a model against it."""
    kind = kind_of(model.object_class)
    before = welded(parent, parent.positions)
    edges, seen = border_edges(before), silhouettes(parent)
    crossing = crossings(parent.positions, before, parent.triangles)
    low = parent.positions[:, 1] <= parent.positions[:, 1].min() + 1e-9
    for number in range(1, variants + 1):
        deformation = draw_deformation(
            parent, BODIES[kind.body], VariantSeed(0, model.key, number).draws("shape")
        )
        variant = deform(parent, deformation)
        after = welded(variant, variant.positions)
        crossing_now = crossings(variant.positions, before, parent.triangles)
        size = float(np.linalg.norm(np.ptp(variant.positions, axis=0)))
        ground = float(np.ptp(variant.positions[low, 1])) / size if BODIES[kind.body].stands else 0.0
        if BODIES[kind.body].stands:
            ground = max(
                ground, float(variant.positions[low, 1].max() - variant.positions[:, 1].min()) / size
            )
        sides = silhouettes(variant)
        both, either = (seen & sides).sum(axis=(1, 2)), (seen | sides).sum(axis=(1, 2))
        yield Measured(
            kind.body,
            border_edges(after) == edges,
            (1000 * crossing / len(parent), 1000 * crossing_now / len(parent)),
            turned_over(parent, variant, deformation),
            quantile_of_area(parent, anisotropy(parent, variant.positions), 0.999),
            ground,
            tuple((both / either)[seen.mean(axis=(1, 2)) >= LEAST_SEEN].tolist()),
        )


def row(name: str, found: list[Measured]) -> str:
    """A line of the table."""
    iou = [value for one in found for value in one.iou]
    numbers = [
        f"{len(found)}",
        f"{sum(not one.closed for one in found)}",
        " → ".join(f"{value:.1f}" for value in np.mean([one.crossings for one in found], axis=0)),
        f"{max(one.turned for one in found):.1e}",
        f"{max(one.stretch for one in found):.2f}",
        f"{max(one.ground for one in found):.0e}",
        " / ".join(f"{value:.2f}" for value in np.quantile(iou, (0, 0.1, 0.5, 0.9, 1))),
    ]
    return f"| {name} | " + " | ".join(numbers) + " |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("libraries", type=Path, nargs="+", metavar="LIBRARY")
    parser.add_argument("--parents", type=int, default=40, help="of each library (default: 40)")
    parser.add_argument("--variants", type=int, default=5, help="of each parent (default: 5)")
    arguments = parser.parse_args()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="gp3d-variants-") as folder:
        for library in arguments.libraries:
            for model in tqdm(interleave(load_library(library))[: arguments.parents], unit="model"):
                try:
                    staged = stage_model(
                        model.path, model.folder, Path(folder), ModelLimits(), Treatment(), model.placement
                    )
                except BrokenModelError as error:
                    sys.stderr.write(f"{model.key}: {error}\n")
                    continue
                found += measure(model, staged.surface, arguments.variants)
    print(
        "| body | variants | not closed alike | crossings | turned over | stretch | ground "
        "| IoU: least, 10 %, median, 90 %, most |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for body in BODIES:
        those = [one for one in found if one.body == body]
        if those:
            print(row(body, those))
    print(row("all", found))


if __name__ == "__main__":
    main()

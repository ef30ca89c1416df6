"""Surfaces of fields: density grid -> level -> closed triangle surface -> clean -> simplify.

Conventions. A field takes world points [1,N,3] and returns rgb [1,N,3] and raw density [1,N,1]. Grids are
[N,N,N] with axes x, y, z; sample 0 lies at -box and sample N-1 at +box. The surface encloses what is denser
than the level; beyond the box there is nothing, so that it is always closed. Faces are counter-clockwise seen
from outside.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import fast_simplification
import mcubes
import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gp3d_core.meshfile import Mesh, MeshError, merge_positions
from gp3d_core.rendering import Field

_SMALLEST_SHARE = 1e-4  # of the grid's samples that an automatic level may leave inside
_LARGEST_SHARE = 0.5
_SHEET_GAP = 1e-3  # of the way to the neighbouring faces: how far separated sheets withdraw


class EmptyMeshError(MeshError):
    """No surface at the level; the message says the level and the density that was found."""


@dataclass(frozen=True, eq=False)
class Extraction:
    """A surface, the level it was taken at and the range of the density, after `sigma_of`, on the grid."""

    mesh: Mesh
    level: float
    density_min: float
    density_max: float


@dataclass(frozen=True)
class MeshReport:
    """What there is to know about a surface; positions that coincide count as one vertex.

    `euler` = V - E + F (2 for a sphere, 0 for a torus); `volume` is positive if faces look outwards.
    """

    vertices: int
    faces: int
    components: int
    watertight: bool
    euler: int
    area: float
    volume: float
    bounds: tuple[tuple[float, float, float], tuple[float, float, float]]


@torch.no_grad()
def density_grid(
    field: Field, *, box: float, grid: int, chunk: int = 2**18, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Raw density float32 [N,N,N] on the CPU, of `field` at the N = `grid` samples per axis of [-box, box]³.

    The field gets at most `chunk` points at a time, on `device`. Raises ValueError for a grid below 2 or a
    box that is not positive, MeshError if the field returns NaN or infinity.
    """
    if grid < 2 or box <= 0 or chunk < 1:
        raise ValueError(f"expected grid >= 2, box > 0, chunk >= 1, found {grid}, {box}, {chunk}")
    axis = torch.linspace(-box, box, grid, device=device)
    raw = torch.empty(grid**3)
    for start in range(0, grid**3, chunk):
        index = torch.arange(start, min(start + chunk, grid**3), device=device)
        points = torch.stack([axis[index // grid**2], axis[index // grid % grid], axis[index % grid]], dim=1)
        raw[start : start + chunk] = field(points[None])[1].reshape(-1).float().cpu()
    broken = int((~torch.isfinite(raw)).sum())
    if broken:
        raise MeshError(f"the field's density is NaN or infinite at {broken} of {grid**3} samples")
    return raw.reshape(grid, grid, grid)


def auto_level(sigma: np.ndarray, box: float) -> float:
    """The level at which `sigma` [N,N,N], density after activation, splits into object and emptiness.

    1. Opaque: a layer of a 32nd of the box that lets half of the light through, sigma = 32 ln 2 / (2 box).
       That is 22 in the box of photographs (0.5) and 9.2 in that of ShapeNet (1.2; the paper uses 10),
       whatever the grid.
    2. If the densest sample has not twice that, or if less than 1e-4 or more than half of the samples are
       denser, the field is too weak or too foggy for 1: Otsu's threshold, the split with the largest
       variance between its two sides.
    3. If that fails the same test: the level that leaves the densest tenth inside.
    Raises EmptyMeshError if the density is the same everywhere or nowhere positive.
    """
    low, high = float(sigma.min()), float(sigma.max())
    if not high > max(low, 0.0):
        raise EmptyMeshError(f"no surface: the density is {high:.4g} everywhere or nowhere positive")
    opaque = 32 * math.log(2) / (2 * box)
    for level in (opaque, _otsu_level(sigma)) if high >= 2 * opaque else (_otsu_level(sigma),):
        if low < level < high and _SMALLEST_SHARE <= float((sigma > level).mean()) <= _LARGEST_SHARE:
            return level
    return float(np.clip(np.quantile(sigma, 0.9), np.nextafter(low, high), np.nextafter(high, low)))


def extract_surface(sigma: np.ndarray, *, box: float, level: float) -> Mesh:
    """The closed surface of `sigma` > `level` for a density grid [N,N,N] over [-box, box]³, without colours.

    Where the density reaches the box, the box's face closes the surface. Raises EmptyMeshError if nothing or
    everything is inside.
    """
    low, high = float(sigma.min()), float(sigma.max())
    if not low <= level < high:
        raise EmptyMeshError(
            f"no surface at level {level:.4g}: the density lies between {low:.4g} and {high:.4g}"
        )
    padded = np.pad(sigma.astype(np.float64), 1, constant_values=2 * low - high)
    corners, faces = mcubes.marching_cubes(padded, level)
    spacing = 2 * box / (sigma.shape[0] - 1)
    vertices = np.clip((corners - 1) * spacing - box, -box, box)  # caps lie in the box's faces
    vertices, faces = _drop_degenerate(vertices.astype(np.float32), faces.astype(np.int64))
    if len(faces) == 0:
        raise EmptyMeshError(
            f"no surface at level {level:.4g}: what is inside has no volume; use a finer grid"
        )
    return Mesh(vertices, faces if _signed_volumes(vertices, faces).sum() > 0 else faces[:, ::-1].copy())


def extract_mesh(
    field: Field,
    *,
    box: float,
    grid: int = 128,
    level: float | Literal["auto"] = "auto",
    sigma_of: Callable[[torch.Tensor], torch.Tensor] | None = None,
    faces: int | None = None,
    largest_only: bool = True,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
) -> Extraction:
    """The surface of `field` in [-box, box]³, with smooth normals and no colours, and the level it was taken
    at.

    `sigma_of` turns raw density into the density that `level` speaks of (None: the raw density itself);
    `auto_level` says what "auto" chooses. `largest_only` keeps the component with the largest volume. `faces`
    is the most that are wanted: decimation stops there, and is given up with a warning if it tears a closed
    surface. Raises EmptyMeshError if there is no surface, ValueError for arguments out of range, MeshError
    for NaNs.
    """
    if faces is not None and faces < 4:
        raise ValueError(f"a closed surface needs at least 4 faces, found a budget of {faces}")
    raw = density_grid(field, box=box, grid=grid, chunk=chunk, device=device)
    sigma = (raw if sigma_of is None else sigma_of(raw)).numpy()
    used = auto_level(sigma, box) if level == "auto" else float(level)
    mesh = extract_surface(sigma, box=box, level=used)
    if largest_only:
        mesh = keep_largest(mesh)
    if faces is not None:
        mesh = simplify(mesh, faces)
        mesh = keep_largest(mesh) if largest_only else mesh
    mesh = Mesh(mesh.vertices, mesh.faces, normals=vertex_normals(mesh))
    return Extraction(mesh, used, float(sigma.min()), float(sigma.max()))


def keep_largest(mesh: Mesh) -> Mesh:
    """The connected component of `mesh` that encloses the largest volume, without colours; cavities in it are
    filled.
    """
    count, labels = _components(len(mesh.vertices), mesh.faces)
    if count == 1:
        return mesh
    volumes = np.bincount(
        labels[mesh.faces[:, 0]], weights=_signed_volumes(mesh.vertices, mesh.faces), minlength=count
    )
    faces = mesh.faces[labels[mesh.faces[:, 0]] == np.abs(volumes).argmax()]
    used, inverse = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], inverse.reshape(-1, 3).astype(np.int32))


def simplify(mesh: Mesh, faces: int) -> Mesh:
    """`mesh` with at most `faces` faces, or one more, by quadric edge collapse; without colours.

    Sheets that the collapse glues together are separated again. If a watertight mesh is torn nevertheless,
    the budget is doubled until it is not, and a warning says so. Bounds do not grow.
    """
    closed, target = _is_watertight(mesh.faces), faces
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    while target < len(mesh.faces):
        points, triangles = fast_simplification.simplify(
            mesh.vertices, mesh.faces, target_count=target, agg=5.0
        )
        points, triangles = _drop_degenerate(
            np.clip(points, low, high, dtype=np.float32), triangles.astype(np.int64)
        )
        for flip in (False, True):
            if closed and len(triangles) and not _is_watertight(triangles):
                points, triangles = _separate_sheets(points, triangles, flip)
        if len(triangles) and (not closed or _is_watertight(triangles)):
            mesh = Mesh(points, triangles)
            break
        target *= 2
    if len(mesh.faces) > faces + 1:
        warnings.warn(
            f"kept {len(mesh.faces)} faces: a budget of {faces} would tear the surface", stacklevel=2
        )
    return mesh


def vertex_normals(mesh: Mesh) -> np.ndarray:
    """Unit normals float32 [V,3], the area-weighted mean over adjacent faces; +y where no face has an area."""
    first, second, third = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    weighted = np.cross(second - first, third - first)
    total = np.stack(
        [np.bincount(mesh.faces.reshape(-1), weighted[:, i].repeat(3), len(mesh.vertices)) for i in range(3)],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    normals = np.where(length > 0, total / np.where(length > 0, length, 1), (0.0, 1.0, 0.0))
    return normals.astype(np.float32)


def mesh_report(mesh: Mesh) -> MeshReport:
    """Size, health and measure of `mesh`."""
    vertices, faces = merge_positions(mesh)
    count, _ = _components(len(vertices), faces)
    edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    first, second, third = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return MeshReport(
        vertices=len(vertices),
        faces=len(faces),
        components=count,
        watertight=_is_watertight(faces),
        euler=len(vertices) - len(edges) + len(faces),
        area=float(np.linalg.norm(np.cross(second - first, third - first), axis=1).sum() / 2),
        volume=float(_signed_volumes(vertices, faces).sum()),
        bounds=(tuple(vertices.min(axis=0).tolist()), tuple(vertices.max(axis=0).tolist())),
    )


def _otsu_level(sigma: np.ndarray) -> float:
    """The split of the densities with the largest variance between its sides; the few densest do not stretch
    it.
    """
    values = np.minimum(sigma, np.quantile(sigma, 1 - _SMALLEST_SHARE))
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    gap = mass / np.maximum(below, 1) - (mass[-1] - mass) / np.maximum(above, 1)
    return float(edges[1 + np.argmax(below * above * gap**2)])


def _signed_volumes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Volume [F] of the tetrahedra between each face and the origin, positive if the face looks away from it."""
    first, second, third = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return np.einsum("ij,ij->i", first, np.cross(second, third)) / 6


def _components(count: int, faces: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of connected components and the label [V] of each vertex; vertices without faces do not count."""
    links = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    used, inverse = np.unique(labels[faces[:, 0]], return_inverse=True)
    dense = np.full(count, -1)
    dense[faces.reshape(-1)] = inverse.repeat(3)
    return len(used), dense


def _is_watertight(faces: np.ndarray) -> bool:
    """Whether every directed edge occurs once and once the other way round: closed, manifold, one way wound."""
    if len(faces) == 0:
        return False
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    size = int(faces.max()) + 1
    forward, backward = edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0]
    unique = np.unique(forward)
    return len(unique) == len(edges) and np.array_equal(unique, np.unique(backward))


def _separate_sheets(vertices: np.ndarray, faces: np.ndarray, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """The closed surface cut into two sheets along every edge at which four faces meet.

    Pairs of faces back to back vanish. Across every edge, faces that run along it in opposite directions are
    joined in pairs; corners that are still connected share a vertex, the others get copies, set a little
    apart. Four faces make two pairs in two ways, one of which may separate nothing: `flip` takes the other.
    A surface with holes stays as it is.
    """
    _, group, count = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    faces = faces[count[group.reshape(-1)] == 1]
    start = faces.reshape(-1).astype(np.int64)
    end, corner = faces[:, [1, 2, 0]].reshape(-1).astype(np.int64), np.arange(len(start))
    following = corner.reshape(-1, 3)[:, [1, 2, 0]].reshape(-1)
    order = -corner if flip else corner
    key = np.minimum(start, end) * len(vertices) + np.maximum(start, end)
    there, back = np.flatnonzero(start < end), np.flatnonzero(start > end)
    there, back = there[np.argsort(key[there], kind="stable")], back[np.lexsort((order[back], key[back]))]
    if not np.array_equal(key[there], key[back]):
        return vertices, faces.astype(np.int32)
    links = np.concatenate([there, following[there]]), np.concatenate([following[back], back])
    graph = coo_array((np.ones(len(links[0]), np.int8), links), shape=(len(start), len(start)))
    count, labels = connected_components(graph, directed=False)
    source, near = np.zeros(count, np.int64), np.zeros((count, 3))
    source[labels] = start
    centres = vertices[faces].mean(axis=1).repeat(3, axis=0)
    for axis in range(3):
        near[:, axis] = np.bincount(labels, centres[:, axis]) / np.bincount(labels)
    copied = (np.bincount(source, minlength=len(vertices)) > 1)[source]
    apart = vertices[source] + _SHEET_GAP * copied[:, None] * (near - vertices[source])
    return apart.astype(np.float32), labels.reshape(-1, 3).astype(np.int32)


def _drop_degenerate(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that coincide become one, faces that lose a corner by it and vertices without faces vanish."""
    merged, inverse = np.unique(vertices, axis=0, return_inverse=True)
    faces = inverse.reshape(-1)[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used, inverse = np.unique(faces, return_inverse=True)
    return merged[used], inverse.reshape(-1, 3).astype(np.int32)

"""Connected components of a surface, and which of them belong to the object.

Faces are counter-clockwise seen from outside: a component whose faces look inwards is a cavity, and has a negative
volume. V vertices, F faces, C components, N paths, S points of a path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.mesh import Mesh

# The share [N] of light that is stopped along paths, points float32 [N,S,3] on straight lines, evenly spaced.
Opacity = Callable[[NDArray[Any]], NDArray[Any]]
Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # x, y and z of vectors: faster than rows

_SPECK = 0.005  # of the surface of the main component: what is smaller is never kept
_FAR = 4.0  # by how much that grows over a gap as long as the main component
_CLEAR = 1 / 3  # of the highest opacity: what stops less light is not there for who looks
_MAIN = 0.1  # of the largest volume: less cannot be the main component
_PATHS, _STEPS = 64, 8  # through a component, and points on each
_FIRST = 4  # points of a component that are tried first


@dataclass(frozen=True, eq=False)
class Components:
    """The component [F] of each face, and the signed volumes and the areas [C] of the components."""

    label: NDArray[Any]
    volumes: NDArray[Any]
    areas: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Kept:
    """What is left of a surface, how many components went, cavities aside, and the share of the surface they had."""

    mesh: Mesh
    dropped: int
    area: float


def keep_components(
    mesh: Mesh,
    components: int | Literal["auto"] | None,
    opacity: Opacity | None = None,
    *,
    fill: bool = False,
) -> Kept:
    """`mesh` with the components that are asked for: all, so many of the largest volume, or those of `belonging`.

    Without colours, unless all stay. `fill` fills cavities before; where some components go, cavities go, too.
    """
    if components is None and not fill:
        return Kept(mesh, 0, 0.0)
    parts = find_components(mesh)
    if fill and (parts.volumes < 0).any() and (parts.volumes > 0).any():
        mesh, parts = _chosen(mesh, parts, parts.volumes > 0)
    if components is None:
        return Kept(mesh, 0, 0.0)
    kept = belonging(mesh, parts, opacity) if components == "auto" else _largest(parts.volumes, components)
    if kept.all():
        return Kept(mesh, 0, 0.0)
    gone = ~kept & (parts.volumes > 0)
    area = float(parts.areas[gone].sum() / parts.areas[parts.volumes > 0].sum()) if gone.any() else 0.0
    return Kept(_chosen(mesh, parts, kept)[0], int(gone.sum()), area)


def loss_in_words(dropped: int, area: float) -> str:
    """What follows a mesh's faces: ", without 2 pieces (1.2% of the surface)"; nothing if nothing went."""
    pieces = "1 piece" if dropped == 1 else f"{dropped} pieces"
    return f", without {pieces} ({area:.1%} of the surface)" if dropped else ""


def keep_largest(mesh: Mesh, count: int = 1) -> Mesh:
    """The `count` parts of `mesh` that enclose the largest volumes, without colours; cavities are filled."""
    return keep_components(mesh, count).mesh


def belonging(mesh: Mesh, parts: Components, opacity: Opacity | None = None) -> NDArray[Any]:
    """Which components [C] of `mesh` belong to the object.

    Those do not that stop less than a third of the light that the most opaque large one does, from their faces inwards
    over 6 V / A, a ball's diameter; large are those of a tenth of the largest volume. Of the others the main one, with
    the largest volume, does, and each one whose surface has at least 0.5 % · (1 + 4 g) of the main one's, at a gap of g
    diagonals of the main one to what belongs; but not what lies within another one, where a cavity was. Without
    `opacity` all components stop the same light.
    """
    solid = parts.volumes > 0
    if not solid.any():
        return _largest(parts.volumes, 1)
    some = np.flatnonzero(solid & (parts.areas >= _SPECK * parts.areas[parts.volumes.argmax()]))
    volumes = parts.volumes[some]
    if opacity is not None and len(some) > 1:
        stopped = _stopped(mesh, parts, some, opacity)
        clear = stopped >= _CLEAR * stopped[volumes >= _MAIN * volumes.max()].max()
        some, volumes = some[clear], volumes[clear]
    main, size = int(volumes.argmax()), parts.areas[some] / parts.areas[some[volumes.argmax()]]
    points = [mesh.vertices[_named(mesh, parts.label == number)] for number in some]
    diagonal = float(np.linalg.norm(np.ptp(points[main], axis=0)))
    near = _within_reach(points, main, diagonal * (size / _SPECK - 1) / _FAR)
    kept = np.zeros(len(parts.volumes), bool)
    kept[some[near]] = True
    for number in some[near]:
        if number != some[main] and _lies_inside(mesh, parts, number, kept):
            kept[number] = False
    return kept


def find_components(mesh: Mesh) -> Components:
    """The connected components of `mesh`, vertices with different numbers being different."""
    total, labels = label_components(len(mesh.vertices), mesh.faces)
    label = labels[mesh.faces[:, 0]]
    volumes, areas = signed_volumes(mesh.vertices, mesh.faces), face_areas(mesh.vertices, mesh.faces)
    return Components(
        label, np.bincount(label, volumes, minlength=total), np.bincount(label, areas, minlength=total)
    )


def label_components(count: int, faces: NDArray[Any]) -> tuple[int, NDArray[Any]]:
    """Number of connected components and the label [V] of each vertex; vertices without faces do not count."""
    links = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    labels = label_linked(count, links[:, 0], links[:, 1])
    used, inverse = np.unique(labels[faces[:, 0]], return_inverse=True)
    dense = np.full(count, -1)
    dense[faces.reshape(-1)] = inverse.repeat(3)
    return len(used), dense


def label_linked(count: int, one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """The label [count] of the connected component of each node; `one` and `other` [N] are the ends of its links.

    Components are numbered by their first nodes. SciPy's function of sparse matrices does the same in three quarters of
    the time, and takes 0.3 s to import, a tenth of a mesh from the command line.
    """
    first = np.arange(count)  # of what a node is known to hang together with; so far, itself
    while True:
        here, there = first[one], first[other]
        apart = here != there
        if not apart.any():
            break
        one, other, here, there = one[apart], other[apart], here[apart], there[apart]
        np.minimum.at(first, np.maximum(here, there), np.minimum(here, there))
        while not np.array_equal(nearer := first[first], first):
            first = nearer
    labels: NDArray[Any] = (np.cumsum(first == np.arange(count)) - 1)[first]
    return labels


def signed_volumes(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    """Volume [F] of the tetrahedra between each face and the origin, positive if the face looks away from it."""
    first, second, third = _corners(vertices, faces)
    volumes: NDArray[Any] = _dot(first, _cross(second, third)) / 6
    return volumes


def face_areas(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    """The area [F] of each face."""
    x, y, z = _crosses(vertices, faces)
    areas: NDArray[Any] = np.sqrt(x * x + y * y + z * z) / 2
    return areas


def stopped_light(sigma: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """The share [N] of light stopped along `points` [N,S,3] whose densities per unit of length are `sigma` [N,S]."""
    steps = np.linalg.norm(np.diff(points, axis=1), axis=2)
    return 1 - np.exp(-((sigma[:, 1:] + sigma[:, :-1]) / 2 * steps).sum(axis=1))


def _largest(volumes: NDArray[Any], count: int) -> NDArray[Any]:
    """Which components [C] are the `count` largest; cavities are not, unless there is nothing else."""
    largest = np.argsort(-volumes, kind="stable")[:count]
    chosen = np.zeros(len(volumes), bool)
    chosen[largest[volumes[largest] > 0] if volumes.max() > 0 else largest[:1]] = True
    return chosen


def _chosen(mesh: Mesh, parts: Components, chosen: NDArray[Any]) -> tuple[Mesh, Components]:
    """The mesh of the `chosen` [C] components, with the vertices they name, and what is known of them."""
    faces = chosen[parts.label]
    used = _named(mesh, faces)
    place = np.zeros(len(mesh.vertices), np.int32)
    place[used] = np.arange(len(used))
    number = np.cumsum(chosen) - 1
    rest = Components(number[parts.label[faces]], parts.volumes[chosen], parts.areas[chosen])
    return Mesh(mesh.vertices[used], place[mesh.faces[faces]]), rest


def _named(mesh: Mesh, faces: NDArray[Any]) -> NDArray[Any]:
    """The vertices, in order, that a mask [F] of faces names."""
    used = np.zeros(len(mesh.vertices), bool)
    used[mesh.faces[faces]] = True
    return np.flatnonzero(used)


def _corners(vertices: NDArray[Any], faces: NDArray[Any]) -> tuple[Columns, Columns, Columns]:
    """The faces' first, second and third corners."""
    x, y, z = vertices.T.astype(np.float64)
    first, second, third = ((x[corner], y[corner], z[corner]) for corner in faces.T)
    return first, second, third


def _crosses(vertices: NDArray[Any], faces: NDArray[Any]) -> Columns:
    """Outward vectors [F], twice as long as the faces are large."""
    first, second, third = _corners(vertices, faces)
    return _cross(_minus(second, first), _minus(third, first))


def _minus(a: Columns, b: Columns) -> Columns:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _cross(a: Columns, b: Columns) -> Columns:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: Columns, b: Columns) -> NDArray[Any]:
    dot: NDArray[Any] = (a[0] * b[0] + a[2] * b[2]) + a[1] * b[1]
    return dot


def _stopped(mesh: Mesh, parts: Components, numbers: NDArray[Any], opacity: Opacity) -> NDArray[Any]:
    """The share of light that each of the components with these `numbers` stops, a mean over its faces."""
    paths, areas, owner = [], [], []
    for place, number in enumerate(numbers):
        faces = mesh.faces[parts.label == number]
        faces = faces[:: -(-len(faces) // _PATHS)]
        crosses = np.stack(_crosses(mesh.vertices, faces), axis=1)
        area = np.linalg.norm(crosses, axis=1)
        inwards = -crosses / np.maximum(area, 1e-30)[:, None]
        chord = np.linspace(0, 6 * parts.volumes[number] / parts.areas[number], _STEPS)
        paths.append(mesh.vertices[faces].mean(axis=1)[:, None] + inwards[:, None] * chord[:, None])
        areas.append(area)
        owner.append(np.full(len(faces), place))
    weight, place = np.concatenate(areas), np.concatenate(owner)
    share = opacity(np.concatenate(paths).astype(np.float32))
    means: NDArray[Any] = np.bincount(place, weight * share) / np.maximum(np.bincount(place, weight), 1e-30)
    return means


def _within_reach(points: list[NDArray[Any]], main: int, reach: NDArray[Any]) -> NDArray[Any]:
    """Which sets of `points` are within their `reach` of the `main` one, or of others that are."""
    near = np.zeros(len(points), bool)
    near[main] = True
    newly = [main]
    while newly:
        reached = np.concatenate([points[number] for number in newly]).astype(np.float64)
        # a few points decide nearly always, in a fraction of the time that a tree of all takes
        newly = [
            number for number in np.flatnonzero(~near) if _is_near(points[number], reached, reach[number])
        ]
        near[newly] = True
        if (~near).any():
            from scipy.spatial import cKDTree  # slow to import

            tree = cKDTree(reached)
            found = [
                number
                for number in np.flatnonzero(~near)
                if tree.query(points[number], distance_upper_bound=reach[number])[0].min() <= reach[number]
            ]
            near[found] = True
            newly += found
    return near


def _is_near(points: NDArray[Any], others: NDArray[Any], reach: float) -> bool:
    """Whether one of a few of `points` [N,3] is within `reach` of some of `others` [M,3]."""
    few = points[:: -(-len(points) // _FIRST)]
    return any(float(((others - point) ** 2).sum(axis=1).min()) <= reach**2 for point in few)


def _lies_inside(mesh: Mesh, parts: Components, number: int, kept: NDArray[Any]) -> bool:
    """Whether the component lies within the others that are kept: their winding number at one of its points."""
    own = mesh.vertices[mesh.faces[parts.label == number]].reshape(-1, 3)
    others = mesh.faces[kept[parts.label] & (parts.label != number)]
    around = mesh.vertices[_named(mesh, kept[parts.label] & (parts.label != number))]
    if (own.min(axis=0) < around.min(axis=0)).any() or (own.max(axis=0) > around.max(axis=0)).any():
        return False
    return float(_solid_angles(mesh.vertices - own[0], others).sum()) > 2 * np.pi


def _solid_angles(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    """What the faces [F] cover of the sphere around the origin, in steradians: van Oosterom & Strackee 1983."""
    a, b, c = _corners(vertices, faces)
    la, lb, lc = (np.sqrt(_dot(side, side)) for side in (a, b, c))
    below = la * lb * lc + _dot(a, b) * lc + _dot(b, c) * la + _dot(c, a) * lb
    angles: NDArray[Any] = 2 * np.arctan2(_dot(a, _cross(b, c)), below)
    return angles

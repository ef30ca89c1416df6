"""Collision hulls: a few convex parts that together cover an object, as physics engines want them.

CoACD cuts a coarse copy of the object into parts. Each part is then drawn anew around the points of the whole surface
that are nearest to it, so that what the coarse copy lacks is covered, too, with as few corners as that takes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.assets.distance import diagonal, sample
from gp3d_core.assets.native import NativeError, call
from gp3d_core.meshing.cleaning import simplify
from gp3d_core.meshing.components import signed_volumes
from gp3d_core.meshing.mesh import Mesh, merge_positions
from gp3d_core.signals import Progress, no_progress

TOLERANCE = 0.01  # of the diagonal: no sample of the surface lies farther outside
_AIM = 0.004  # as TOLERANCE, what corners are added for until there are _CORNERS
_CORNERS = 64  # of a part
_MOST_CORNERS = 255  # what PhysX accepts
_COARSE = 1500  # faces of the copy that is cut
_CONCAVITY = 0.05  # CoACD's own choice: a part may be so much less convex than its hull
_SAMPLES = 20_000
_SECONDS = 600.0
_FLAT = 1e-5  # of the diagonal: how far a corner of a convex part may lie outside one of its planes


class CollisionError(NativeError):
    """A collision hull that could not be made, or does not cover its object; the message says why."""


@dataclass(frozen=True, eq=False)
class CollisionHull:
    """Convex parts that cover an object, closed and wound outwards, and what is known about them.

    `outside`: how far the worst sample of the surface lies outside all parts, in shares of the diagonal.
    `volume_ratio`: the sum of their volumes to that of the object; 1 is perfect, and parts that overlap count twice.
    """

    parts: list[Mesh]
    outside: float
    volume_ratio: float

    def facts(self) -> dict[str, Any]:
        """What a recipe says of it."""
        corners = [len(part.vertices) for part in self.parts]
        return {
            "parts": len(self.parts),
            "corners": max(corners),
            "outside": self.outside,
            "volume_ratio": self.volume_ratio,
        }


def collision_hull(mesh: Mesh, parts: int, progress: Progress = no_progress) -> CollisionHull:
    """At most `parts` convex parts that cover `mesh`; one is its convex hull, for which no library is needed.

    `progress` hears of the stage collision. Raises LibraryError without CoACD, NativeError where it fails,
    CollisionError for a flat object.
    """
    vertices, faces = merge_positions(mesh)
    closed = Mesh(vertices, faces)
    points = np.concatenate([vertices[np.unique(faces)].astype(np.float64), sample(closed, _SAMPLES)[0]])
    scale = diagonal(vertices)
    clouds = [points] if parts == 1 else _cut(closed, parts, progress)
    planes = [hull.equations for hull in (_hull(cloud) for cloud in clouds) if hull is not None]
    clouds = [cloud for cloud in clouds if _hull(cloud) is not None]
    if not clouds:
        raise CollisionError("no collision hull: the object is flat")
    owner = np.argmin(np.stack([_beyond(each, points) for each in planes]), axis=0)
    drawn = [
        _drawn(np.concatenate([cloud, points[owner == number]]), scale) for number, cloud in enumerate(clouds)
    ]
    outside = np.min([_beyond(_planes(part), points) for part in drawn], axis=0).max() / scale
    volume = float(signed_volumes(vertices, faces).sum())
    total = sum(float(signed_volumes(part.vertices, part.faces).sum()) for part in drawn)
    made = CollisionHull(drawn, max(0.0, float(outside)), total / volume if volume > 0 else float("inf"))
    _check(made, scale)
    return made


def is_convex(part: Mesh, scale: float) -> bool:
    """Whether no corner of `part` lies outside a plane of its faces by more than float32 rounds.

    `scale` is the diagonal of the object that it is a part of.

    Faces wound inwards fail, and so do slivers, whose planes rounding turns, only if a corner is that far away.
    """
    return float(_beyond(_planes(part), part.vertices.astype(np.float64)).max()) <= _FLAT * scale


def _cut(mesh: Mesh, parts: int, progress: Progress) -> list[NDArray[Any]]:
    """Corners [P,3] of each of the parts that CoACD cuts a coarse copy of `mesh` into."""
    with warnings.catch_warnings():  # a copy with more faces than wanted serves as well
        warnings.simplefilter("ignore")
        coarse = simplify(mesh, _COARSE)
    arrays = {
        "vertices": coarse.vertices.astype(np.float64),
        "faces": coarse.faces,
        "parts": parts,
        "concavity": _CONCAVITY,
    }
    made = call("collision", arrays, _SECONDS, progress)
    return np.split(made["points"], np.cumsum(made["sizes"])[:-1])


def _drawn(points: NDArray[Any], scale: float) -> Mesh:
    """A convex mesh around the `points` [N,3], with as few of them for corners as leave the others close to it."""
    hull = _hull(points)
    if hull is None:
        raise CollisionError("no collision hull: a part is flat")
    points = points[hull.vertices]
    directions = np.concatenate([np.eye(3), -np.eye(3)])
    chosen = list(dict.fromkeys((points @ directions.T).argmax(axis=0).tolist()))
    while len(chosen) < min(len(points), _MOST_CORNERS):
        hull = _hull(points[chosen])
        if hull is None:  # of few corners, which happen to lie in a plane
            chosen.append(_farthest(points, chosen))
            continue
        beyond = _beyond(hull.equations, points)
        worst = beyond.max() / scale
        if worst <= _AIM * 1e-3 or worst <= (_AIM if len(chosen) < _CORNERS else 0.8 * TOLERANCE):
            break
        chosen.append(int(beyond.argmax()))
    hull = _hull(points[chosen])
    if hull is None:
        raise CollisionError("no collision hull: a part is flat")
    return _mesh_of(points[chosen], hull)


def _farthest(points: NDArray[Any], chosen: list[int]) -> int:
    """The point that is farthest from the plane through those `chosen`."""
    centre = points[chosen].mean(axis=0)
    normal = np.linalg.svd(points[chosen] - centre)[2][-1]
    return int(np.abs((points - centre) @ normal).argmax())


def _mesh_of(points: NDArray[Any], hull: Any) -> Mesh:
    """The hull of `points` [N,3] with faces wound outwards."""
    faces = hull.simplices.astype(np.int64)
    first, second, third = (points[faces[:, i]] for i in range(3))
    inwards = np.einsum("ij,ij->i", np.cross(second - first, third - first), hull.equations[:, :3]) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    used, corners = np.unique(faces, return_inverse=True)
    return Mesh(points[used].astype(np.float32), corners.reshape(-1, 3).astype(np.int32))


def _hull(points: NDArray[Any]) -> Any:
    """Their convex hull; None for points in a plane."""
    from scipy.spatial import ConvexHull, QhullError

    if len(points) < 4:
        return None
    try:
        return ConvexHull(points)
    except QhullError:
        return None


def _planes(part: Mesh) -> NDArray[Any]:
    """The planes [F,4] of the faces: unit normals and minus the distance of the origin; slivers have none."""
    first, second, third = (part.vertices[part.faces[:, i]].astype(np.float64) for i in range(3))
    normal = np.cross(second - first, third - first)
    length = np.linalg.norm(normal, axis=1)
    longest = np.ptp(part.vertices.astype(np.float64), axis=0).max()
    broad = length > 1e-7 * longest**2  # thinner ones have no direction in float32
    normal = normal[broad] / length[broad][:, None]
    return np.concatenate([normal, -np.einsum("ij,ij->i", normal, first[broad])[:, None]], axis=1)


def _beyond(planes: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """How far [N] each of the `points` is beyond the worst of the `planes`; negative inside.

    Beyond an edge or a corner that is less than its distance, by a third at a right angle.
    """
    far = np.full(len(points), -np.inf)
    for start in range(0, len(points), 4096):
        part = slice(start, start + 4096)
        far[part] = (points[part] @ planes[:, :3].T + planes[:, 3]).max(axis=1)
    return far


def _check(made: CollisionHull, scale: float) -> None:
    """Raises CollisionError unless every part is convex and all of the surface is covered."""
    for number, part in enumerate(made.parts):
        if not is_convex(part, scale):
            raise CollisionError(f"no collision hull: part {number} is not convex")
    if made.outside > TOLERANCE:
        raise CollisionError(
            f"no collision hull: a point of the surface lies {made.outside:.2%} of the diagonal outside of it, "
            f"expected at most {TOLERANCE:.0%}"
        )

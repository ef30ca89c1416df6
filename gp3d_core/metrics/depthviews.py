"""Depth maps as surfaces seen by a camera: aligned, compared, examined for flatness, fullness and agreement.

Camera frame: x right, y up, looking along −z. `z` is the distance along the optical axis, infinite where there is
nothing. Rays and pixels are those of `cameras.sample_rays`. Letters: h picture size, P pixels of a mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.rendering.cameras import Cameras, cam2world, sample_rays

FLAT = 0.1  # relief below which a view counts as flat
FEWEST = 16  # pixels of a surface that anything can be said about
_NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True, eq=False)
class DepthView:
    """z-depth [h,h] of the surface that one camera [1] sees; infinite where it sees none."""

    z: Tensor
    camera: Cameras

    @property
    def mask(self) -> Tensor:
        """Where there is a surface, bool [h,h]."""
        return torch.isfinite(self.z)

    def points(self) -> Tensor:
        """The surface in the camera's frame [h,h,3]; not finite outside the mask."""
        return self.z[..., None] * _directions(self.camera, len(self.z))

    def normals(self) -> tuple[Tensor, Tensor]:
        """Unit normals [h,h,3] towards the camera by central differences, and where there are some, bool [h,h]."""
        points, mask = self.points(), self.mask
        known = mask.clone()
        for rows, columns in _NEIGHBOURS:
            known &= torch.roll(mask, (rows, columns), (0, 1))
        known[0], known[-1], known[:, 0], known[:, -1] = False, False, False, False
        points = torch.where(mask[..., None], points, 0.0)
        across = torch.roll(points, -1, 1) - torch.roll(points, 1, 1)
        up = torch.roll(points, 1, 0) - torch.roll(points, -1, 0)
        return F.normalize(torch.linalg.cross(across, up), dim=-1), known


def view_of_distance(distance: Tensor, camera: Cameras) -> DepthView:
    """The view of distances [h,h] along unit rays."""
    along = -F.normalize(_directions(camera, len(distance)), dim=-1)[..., 2]
    return DepthView(distance * along, camera)


def _directions(camera: Cameras, size: int) -> Tensor:
    """Rays [h,h,3] in the camera's frame with unit length along the optical axis."""
    _, rays_d = sample_rays(camera, size)
    local = rays_d[0] @ cam2world(camera)[0, :3, :3]
    return (local / -local[:, 2:]).reshape(size, size, 3)


def align(values: Tensor, truth: Tensor) -> tuple[float, float]:
    """Scale ≥ 0 and shift for which scale · values + shift is nearest to `truth`, both [P], in squares.

    Without spread, or where the best scale is negative, the scale is 0 and the shift the mean of `truth`.
    """
    x, y = values.double(), truth.double()
    spread = x - x.mean()
    power = float(spread.square().sum())
    scale = max(float((spread * (y - y.mean())).sum()) / power, 0.0) if power > 1e-12 * len(x) else 0.0
    return scale, float(y.mean()) - scale * float(x.mean())


@dataclass(frozen=True)
class Difference:
    """How far two views differ: silhouettes by intersection over union; depth after scale and shift, mean absolute, in
    world units; normals of the aligned surface, mean angle in degrees. None where too little of both is seen.
    """

    iou: float
    depth: float | None
    normals: float | None


def silhouette_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union [...] of masks [...,h,h]; 1 where both are empty."""
    common = (first & second).sum(dim=(-2, -1)).double()
    either = (first | second).sum(dim=(-2, -1)).double()
    return torch.where(either > 0, common / either.clamp(min=1), 1.0)


def aligned(view: DepthView, truth: DepthView) -> DepthView:
    """`view` as `truth`'s camera would have it, scaled and shifted in depth to fit `truth` where both see something."""
    both = view.mask & truth.mask
    scale, shift = align(view.z[both], truth.z[both])
    return DepthView(torch.where(view.mask, scale * view.z + shift, view.z), truth.camera)


def difference(view: DepthView, truth: DepthView) -> Difference:
    """How far `view` differs from `truth`."""
    iou = float(silhouette_iou(view.mask, truth.mask))
    both = view.mask & truth.mask
    if int(both.sum()) < FEWEST:
        return Difference(iou, None, None)
    fitted = aligned(view, truth)
    depth = float((fitted.z[both] - truth.z[both]).abs().mean())
    (mine, known), (real, real_known) = fitted.normals(), truth.normals()
    valid = known & real_known
    if int(valid.sum()) < FEWEST:
        return Difference(iou, depth, None)
    cosine = (mine[valid] * real[valid]).sum(dim=1).clamp(-1, 1)
    return Difference(iou, depth, math.degrees(float(cosine.double().acos().mean())))


def relief(view: DepthView) -> float:
    """How much the visible surface bulges: its smallest spread over its largest, 0 for any plane, 0.47 for a ball.

    Spreads are standard deviations of its points along their principal axes; 0 also for fewer than 16 points.
    """
    points = view.points()[view.mask].double()
    if len(points) < FEWEST:
        return 0.0
    spreads = torch.linalg.svdvals(points - points.mean(dim=0))
    return float(spreads[2] / spreads[0])


def fullness(front: Tensor, back: Tensor, thinnest: float) -> float:
    """Share of the pixels with a surface behind which the body goes on: it ends more than `thinnest` farther.

    `front` and `back` [h,h] are the distances along the same rays at which it begins and ends; infinite for none.
    Shells and cards have no such pixels. 0 if nothing is seen.
    """
    seen = torch.isfinite(front)
    return float((back[seen] - front[seen] > thinnest).double().mean()) if bool(seen.any()) else 0.0


def agreement(view: DepthView, other: DepthView, tolerance: float) -> float | None:
    """Share of the points of `view` that `other` does not contradict: it sees a surface there, or one in front.

    A point is contradicted if `other` sees through it: farther, by more than `tolerance`, in all the pixels around.
    Points outside the other's picture do not count. None if no point is left.
    """
    points = view.points()[view.mask]
    pose, there = cam2world(view.camera)[0], cam2world(other.camera)[0]
    world = points @ pose[:3, :3].T + pose[:3, 3]
    local = (world - there[:3, 3]) @ there[:3, :3]
    ahead = -local[:, 2]
    size = len(other.z)
    half = math.tan(math.radians(float(other.camera.fov[0])) / 2)
    place = local[:, :2] / (ahead * half)[:, None]
    column, row = (place[:, 0] + 1) * (size - 1) / 2, (1 - place[:, 1]) * (size - 1) / 2
    inside = (ahead > 0) & (column >= 0) & (column <= size - 1) & (row >= 0) & (row <= size - 1)
    if not bool(inside.any()):
        return None
    nearest = -F.max_pool2d(-other.z[None, None], 3, 1, padding=1)[0, 0]
    found = nearest[row[inside].round().long(), column[inside].round().long()]
    return float((found <= ahead[inside] + tolerance).double().mean())

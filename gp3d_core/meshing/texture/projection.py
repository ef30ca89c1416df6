"""The colours of photographs on a surface, where their cameras see it.

A photograph lies over the colours that a surface has already. How much of it a point takes is a weight: 1 where its
camera sees the surface plainly, falling to 0 where the surface turns away from the camera, 0 where something else is
in the way, and 0 beside what is in the way. There a model's outlines are less exact than the photograph's, and the
colours of what is near would land on what lies behind. Where a surface goes on behind its own rim, so does the
photograph for a little.

Conventions. Depth is the distance in front of the camera's plane, and inverse depth is linear in the picture on every
plane (docs/conventions.md). A map is square, S pixels a side, whose outer centres lie on the photograph's edges.
N points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import project, render_mesh
from gp3d_core.meshing.texture.outlines import Edges, ramp
from gp3d_core.meshing.texture.tones import Tones
from gp3d_core.rendering.cameras import Cameras, cam2world
from gp3d_core.rendering.volume import Field

_MAP = 512  # pixels a side of the maps of depth and weight, unless the photograph's outlines need more
_GRAZING = (0.05, 0.2)  # cosines between surface and ray from which, and to which, a photograph comes in
_JUMP = 0.03  # of the depth: a larger step between two pixels of the map is an edge, unless the surface is that steep
_SLACK = 0.004  # of the depth: how far behind the nearest surface a point is seen; from there to _JUMP it is carried on
_SOFT = 0.5  # outlines: deviation of the blur of weights
_EVERY = 4  # pixels of the map: one point of the surface is compared with the model's colour
_PLAIN = 0.5  # weight, from which it is


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture rgb uint8 [S,S,3] and the `camera` [1] that took it; its field of view lies between the outer *edges*.

    `outline` is how exact the outlines of the surface are, as a share of the picture's width: a pixel of what the
    model sees. `upright` [3,3] turns the world about its origin to where that camera, which never rolls, sees it.
    """

    rgb: NDArray[Any]
    camera: Cameras
    outline: float
    upright: NDArray[Any] = field(default_factory=lambda: np.eye(3))


@dataclass(frozen=True, eq=False)
class Projection:
    """What a photograph says of a surface: its colours, and the weights that they have.

    `inverse` [S,S] is the inverse depth of what the camera sees, 0 where that is nothing; `slopes` [2,S,S] how it
    changes from pixel to pixel along rows and columns of the surface there; `weights` [S,S] the map of weights.
    """

    rgb: NDArray[Any]
    camera: Cameras
    outline: float
    inverse: NDArray[Any]
    slopes: NDArray[Any]
    weights: NDArray[Any]
    upright: NDArray[Any] = field(default_factory=lambda: np.eye(3))

    @classmethod
    def onto(cls, mesh: Mesh, photograph: Photograph) -> Projection:
        """The projection of `photograph` onto `mesh`, whose colours do not matter."""
        size, camera = max(_MAP, round(4 / photograph.outline)), photograph.camera
        vertices = (mesh.vertices @ photograph.upright.T).astype(np.float32)
        distance = render_mesh(Mesh(vertices, mesh.faces), camera, size).depth
        reach = float(np.tan(np.deg2rad(float(camera.fov[0])) / 2))
        line = np.linspace(-1, 1, size) * reach
        inverse = np.sqrt(line[None] ** 2 + line[:, None] ** 2 + 1) / distance  # 0 of an infinite distance
        slopes = _slopes(inverse)
        seen = cls(
            photograph.rgb,
            camera,
            photograph.outline,
            inverse,
            slopes,
            np.zeros_like(inverse),
            photograph.upright,
        )
        outline = photograph.outline * size
        weights = _facing(inverse, slopes, reach, outline)
        edges = Edges.of(inverse, _least(2 * reach / (size - 1)), outline)
        if edges is not None:
            rows = np.linspace(0, 1, size)
            places = np.stack(np.meshgrid(rows, 1 - rows), axis=-1).reshape(-1, 2)
            rgb = sample_texture(seen.at_most(size).rgb, places).reshape(size, size, 3)
            weights = weights * edges.taken(rgb, outline)
        return replace(seen, weights=weights)

    def at_most(self, pixels: float) -> Projection:
        """The projection of a photograph of about so many pixels a side, unless it has fewer.

        For surfaces whose colours lie less close than its pixels.
        """
        fewer = max(1, round(pixels))
        if fewer >= len(self.rgb):
            return self
        small = Image.fromarray(self.rgb).resize((fewer, fewer), Image.Resampling.BOX)
        return replace(self, rgb=np.asarray(small))

    def place(self, points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Where [N,2] (column, row) world points [N,3] are in the picture, 0 to 1 between its edges, and depths [N]."""
        place, ahead, _ = project(points @ self.upright.T, self.camera, 2)
        return place, ahead

    @torch.no_grad()
    def tones(self, field: Field, device: torch.device | str) -> Tones:
        """What the colours of `field` lack where the photograph is taken."""
        size = len(self.inverse)
        row, column = np.nonzero(self.weights[::_EVERY, ::_EVERY] >= _PLAIN)
        row, column = row * _EVERY, column * _EVERY
        place, depth = np.stack([column, row], axis=1) / (size - 1), 1 / self.inverse[row, column]
        pose, reach = cam2world(self.camera)[0].double().numpy(), self._reach
        plane = np.stack([2 * place[:, 0] - 1, 1 - 2 * place[:, 1]], axis=1) * reach
        local = np.concatenate([plane, -np.ones((len(plane), 1))], axis=1) * depth[:, None]
        points = torch.from_numpy((local @ pose[:3, :3].T + pose[:3, 3]) @ self.upright).float()
        own = field(points[None].to(device))[0][0].double().cpu().numpy()
        shown = self.at_most(size / _EVERY)(points.double().numpy())[0] / 127.5 - 1
        return Tones.of(place, depth, shown - own, self.outline, 2 * reach)

    @property
    def _reach(self) -> float:
        return float(np.tan(np.deg2rad(float(self.camera.fov[0])) / 2))

    def __call__(self, points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Colours uint8 [N,3] at world points [N,3], their weights [N] in [0, 1], and those of what is carried on.

        Where a surface turns behind itself the photograph goes on over its rim as it came, and fades: there is no line
        where it ends. That lies under what any photograph shows.
        """
        place, ahead = self.place(points)
        inside = (np.abs(place - 0.5) <= 0.5).all(axis=1) & (ahead > 0)
        weights = np.zeros((2, len(points)))
        weights[:, inside] = self._weights_at(place[inside] * (len(self.inverse) - 1), 1 / ahead[inside])
        return sample_texture(self.rgb, np.stack([place[:, 0], 1 - place[:, 1]], axis=1)), *weights

    def _weights_at(self, place: NDArray[Any], inverse: NDArray[Any]) -> NDArray[Any]:
        """Weights [2,N] of points at `place` [N,2] (column, row) of the map, at these inverse depths: seen, carried on.

        Bilinear between those of the four pixels that see the same surface: none comes over an edge.
        """
        left, top = np.clip(np.floor(place), 0, len(self.inverse) - 2).astype(int).T
        total, mixed = np.zeros((2, len(place))), np.zeros((2, len(place)))
        for pixel in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            right, down = place[:, 0] - pixel[1], place[:, 1] - pixel[0]
            surface = self.inverse[pixel] + self.slopes[0][pixel] * right + self.slopes[1][pixel] * down
            off = np.abs(inverse - surface) / np.maximum(surface, 1e-12)
            near = np.stack([off <= _SLACK, 1 - ramp(off, _SLACK, _JUMP)]) * (self.inverse[pixel] > 0)
            share = (near > 0) * (1 - np.abs(right)) * (1 - np.abs(down))
            total += share
            mixed += share * near * self.weights[pixel]
        seen, both = mixed / np.maximum(total, 1e-12)
        return np.stack([seen, np.clip((both - seen) / np.maximum(1 - seen, 1e-12), 0, 1)])


def projected(field: Field, projections: Sequence[Projection], device: torch.device | str = "cpu") -> Field:
    """`field` with the colours of photographs over its own, which get their `Tones` beside these.

    Where several photographs see a point, the squares of their weights count, so that the better one is sharp.
    """
    tones = [projection.tones(field, device) for projection in projections]

    def pictured(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rgb, density = field(points)
        places = points[0].double().cpu().numpy()
        seen = [projection(places) for projection in projections]
        toned = [tone(*projection.place(places)) for tone, projection in zip(tones, projections, strict=True)]
        lacking, share = _together(toned)
        made = rgb + torch.from_numpy(lacking * share).to(rgb)
        for which in (2, 1):  # what is carried on, and over it what is seen
            over, taken = _together([(one[0] / 127.5 - 1, one[which]) for one in seen])
            made = made + torch.from_numpy(taken).to(rgb) * (torch.from_numpy(over).to(rgb) - made)
        return made, density

    return pictured


def _together(seen: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """One value [N,3] of several with weights [N], and its weight [N,1], the largest of theirs."""
    weights = np.stack([weight for _, weight in seen])
    shares = weights**2 / np.maximum((weights**2).sum(axis=0), 1e-12)
    mixed = np.einsum("kn,knc->nc", shares, np.stack([value for value, _ in seen]))
    return mixed, weights.max(axis=0)[:, None]


def _slopes(inverse: NDArray[Any]) -> NDArray[Any]:
    """The change [2,S,S] of `inverse` from a pixel to the next, along rows and columns, on the surface at each pixel.

    The smaller of the changes to both sides: across an edge only one side is of the same surface.
    """
    found = []
    for axis in (1, 0):
        steps = np.diff(inverse, axis=axis)
        before = np.concatenate([np.take(steps, [0], axis), steps], axis)
        after = np.concatenate([steps, np.take(steps, [-1], axis)], axis)
        found.append(np.where(np.abs(before) < np.abs(after), before, after))
    return np.stack(found)


def _facing(inverse: NDArray[Any], slopes: NDArray[Any], reach: float, outline: float) -> NDArray[Any]:
    """The map [S,S] of how plainly the surface faces the camera.

    `reach` is the tangent of half the field of view, `outline` in pixels of the map.
    """
    size = len(inverse)
    line = np.linspace(-1, 1, size) * reach
    across, down = slopes / (2 * reach / (size - 1))
    ahead = (
        inverse - across * line[None] - down * line[:, None]
    )  # of the plane: its normal is (across, down, ahead)
    length = np.sqrt((line[None] ** 2 + line[:, None] ** 2 + 1) * (across**2 + down**2 + ahead**2))
    cosine = inverse / np.maximum(length, 1e-12)
    facing = np.where(inverse > 0, ramp(cosine, *_GRAZING), 0.0)
    shown = (inverse > 0).astype(float)
    soft = [scipy.ndimage.gaussian_filter(one, _SOFT * outline) for one in (facing * shown, shown)]
    blurred: NDArray[Any] = soft[0] / np.maximum(soft[1], 1e-6) * shown
    return blurred


def _least(step: float) -> float:
    """The share of a neighbour's inverse depth below which a pixel, `step` wide at depth 1, is beyond an edge."""
    steep = step * np.sqrt(1 / _GRAZING[0] ** 2 - 1)  # of a surface that is seen under the smallest angle
    return float(1 - max(_JUMP, steep))

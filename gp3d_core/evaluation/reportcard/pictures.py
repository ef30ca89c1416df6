"""What a report card shows of a class: an object, what was seen of it, where it disagrees, its nearest real view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.evaluation.geometry import look_once, partner_of
from gp3d_core.evaluation.report.cards import HEADINGS, Card, card_tiles
from gp3d_core.evaluation.true_views import TruthViews
from gp3d_core.meshing.cleaning import vertex_normals
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import render_mesh
from gp3d_core.metrics.depthviews import view_of_distance
from gp3d_core.rendering.cameras import Cameras, mean_camera, turn_camera
from gp3d_core.rendering.volume import ShapeField
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.trust.colors import disagreement_colors, supervision_colors
from gp3d_core.trust.report import Trust
from gp3d_core.visualization import caption, sheet, stack

_YAWS = (0.5, 0.5 + math.pi)
_BELOW = 2.4  # pitch of the last view, from below
_TILE = 128
_CLOSER = 0.75  # times the field of view of training, so that objects fill the picture
_FIELD = 80  # pixels of the field's views
_LIGHT = np.array([-0.6, 0.7, 0.4]) / np.linalg.norm([-0.6, 0.7, 0.4])
_DARKEST = 0.6  # of a colour, on faces away from the light


def draw_object(
    snapshot: Snapshot,
    field: ShapeField,
    mesh: Mesh | None,
    trust: Trust | None,
    truth: TruthViews,
    images: Sequence[int],
    index: int,
) -> Image.Image:
    """The sheet of one object: views, supervision and disagreement from around and below, and its nearest real view.

    `images` are the truth's images of its class, `index` the one whose camera it is seen by beside the nearest one.
    """
    device, config = field.device, snapshot.config
    views = _views(snapshot)
    rows = [("the field", [look_once(field.fast(), one.to(device), config, _FIELD)[0] for one in views])]
    if mesh is not None and trust is not None:
        painted = {
            "supervision of the mesh: vermilion never seen, yellow half, green well": supervision_colors(
                trust.supervision.amount
            ),
            "distance of mesh and field: green none, vermilion 5 % and more, grey unknown": disagreement_colors(
                trust.disagreement.amount
            ),
        }
        rows += [(title, _painted(mesh, colors, views)) for title, colors in painted.items()]
    camera = truth.cameras[index]
    colors, front = look_once(field.fast(), camera.to(device), config, truth.size, truth.stride)
    seen = view_of_distance(front, camera)
    partner, real = partner_of(seen, truth, images, index)
    beside = card_tiles(Card("", colors, seen, truth.image(partner), real))
    picture = sheet([*rows, ("beside the nearest real view of its class", beside)], tile=_TILE)
    return stack([picture, caption(HEADINGS, picture.width)])


def _views(snapshot: Snapshot) -> list[Cameras]:
    """A camera in front of the object, one behind it, and one that looks from below."""
    middle = mean_camera(snapshot.config.camera)
    middle = replace(middle, fov=_CLOSER * middle.fov)
    around = [turn_camera(middle, yaw) for yaw in _YAWS]
    below = replace(middle, angles=torch.tensor([[_YAWS[0], _BELOW, 0.0]]))
    return [*around, below]


def _painted(mesh: Mesh, colors: NDArray[Any], views: Sequence[Cameras]) -> list[NDArray[Any]]:
    """Pictures of the mesh with `colors` [V,3] of its vertices, a little shaded."""
    light = _DARKEST + (1 - _DARKEST) * (1 + vertex_normals(mesh) @ _LIGHT)[:, None] / 2
    lit = Mesh(mesh.vertices, mesh.faces, vertex_colors=np.rint(colors * light).astype(np.uint8))
    return [render_mesh(lit, one, _TILE).rgb for one in views]

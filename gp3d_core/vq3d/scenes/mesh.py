"""Scenes to meshes, through the same extraction, cleaning, simplification, texturing and files as generated objects.

The grid spans what the input camera sees: in the cube [-1, 1]³ x and y are those of the image plane and z is normalised
inverse depth, from −1 far to +1 near. So all pixels get equally many samples, near objects more depth than far ones,
which is how the field was learnt. Vertices are then put back into space. What the picture does not show, outside its
frame or behind the far plane, was never learnt and is no part of the mesh.

The backdrop is the least certain part of a scene: a sheet with holes somewhere near the far plane. So it is cut off
unless it is asked for, and so is every speck; what is left is the subject on its piece of ground.

A scene that was made of a picture keeps it (`input_views`). Where its camera sees the mesh, the picture's own pixels
are the colours, which are sharper than the model's (`meshing.texture.projection`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gp3d_core.meshing.cleaning import mesh_report, vertex_normals
from gp3d_core.meshing.components import stopped_light
from gp3d_core.meshing.extraction import extract_mesh
from gp3d_core.meshing.files.description import UNKNOWN
from gp3d_core.meshing.isosurface import SignedDistance
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.meshing.texture.bake import (
    atlas_use,
    bake_texture,
    fitting_size,
    texel_width,
    vertex_colors,
)
from gp3d_core.meshing.texture.projection import Projection, projected
from gp3d_core.signals import Progress, no_progress
from gp3d_core.vq3d.rendering.depth import DepthSpace
from gp3d_core.vq3d.rendering.views import RADIUS, Field, to_image
from gp3d_core.vq3d.scenes.editing import WHOLE
from gp3d_core.vq3d.scenes.scenefile import Scene
from gp3d_core.vq3d.scenes.segmentation import nearest_in, outline_distance, surroundings

_SUBJECT = 0.75  # of the nearness of what the camera turns about: nothing nearer is ever taken for backdrop
_FARTHEST = 0.02  # share of a subject's pixels that may be farther than where it is said to end


@dataclass(frozen=True, eq=False)
class CubeField:
    """A scene over the cube: points [1,N,3] to rgb [1,N,3] in [-1, 1] and density [1,N,1], per scene unit."""

    field: Field
    space: DepthSpace
    reach: float
    device: torch.device | str = "cpu"

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Colour as meshes want it, and density after activation."""
        rgb, sigma = self.field(self.to_world(points))
        return to_image(rgb), sigma

    def to_world(self, points: Tensor) -> Tensor:
        """World points [...,3] of points of the cube [...,3]."""
        inverse = self.space.inverse((points[..., 2] + 1) / 2).clamp(min=self.space.low / 2)
        depth = 1 / inverse
        plane = points[..., :2] * (self.reach * depth)[..., None]
        return torch.cat([plane, (RADIUS - depth)[..., None]], dim=-1)

    def opacity(self, points: NDArray[Any]) -> NDArray[Any]:
        """The share [N] of light that the scene stops along `points` [N,S,3] of the cube."""
        world = self.to_world(torch.from_numpy(points))
        sigma = self.field(world.reshape(1, -1, 3).to(self.device))[1].reshape(points.shape[:2])
        return stopped_light(sigma.cpu().numpy(), world.numpy())


def mesh_of(
    scene: Scene, options: SceneMeshOptions, progress: Progress = no_progress, mask: Tensor | None = None
) -> tuple[Mesh, dict[str, Any]]:
    """The mesh of `scene` in scene units, and what is known about it (JSON values), with the `cut` that was made.

    With a `mask` [h,h] of the input view, 1 = subject, only what lies under it stays, and "auto" cuts behind that.
    `progress` hears of density, surface, atlas, texels and color. Raises EmptyMeshError when there is no surface at the
    level, MemoryLimitError for a grid that is too large, RegionError for a mask that shows nothing.
    """
    camera, device = scene.camera, scene.parts[0].planes.device
    field = CubeField(scene.field(), DepthSpace.of(camera), math.tan(math.radians(camera.fov) / 2), device)
    outline = None if mask is None else outline_distance(mask)
    cut = options.crop_depth if options.crop_depth != "auto" else backdrop(scene, mask)
    extraction = extract_mesh(
        field,
        box=1.0,
        grid=options.grid,
        level="auto" if options.level.value is None else options.level.value,
        faces=options.faces,
        components=options.components,
        opacity=field.opacity,
        crop=_crop(cut, outline),
        max_bytes=options.max_bytes,
        device=device,
        progress=progress,
    )
    mesh = _colored(extraction.mesh, scene, field, options, progress)
    mesh = replace(mesh, vertices=_placed(field, mesh.vertices), normals=None)
    mesh = replace(mesh, normals=vertex_normals(mesh).astype(np.float32))
    report = mesh_report(mesh)
    facts = {
        name: getattr(report, name) for name in ("vertices", "faces", "components", "watertight", "area")
    }
    facts |= {
        "dropped": extraction.dropped,
        "dropped_area": extraction.dropped_area,
        "atlas_use": atlas_use(mesh),
    }
    if scene.inputs:
        facts["input_pictures"] = [{"pixels": len(one.rgb)} | one.angles() for one in scene.inputs]
    if mesh.texture is not None:  # the number that "auto" found
        facts["texture_size"] = len(mesh.texture)
    return mesh, facts | {"level": extraction.level, "cut": cut}


def _colored(
    mesh: Mesh, scene: Scene, field: CubeField, options: SceneMeshOptions, progress: Progress
) -> Mesh:
    """The `mesh` of the cube with the colours that the options ask for, the scene's input pictures over them.

    Triangles are flat in the cube and in space, but their middles are not the same points. Therefore colours of
    pictures are read in space, as they are going to be drawn, on an atlas of the cube, where pixels are equally large.
    """
    device = field.device
    places = _placed(field, mesh.vertices) if scene.inputs else None
    seen = [] if places is None else _projections(scene, replace(mesh, vertices=places))
    if options.color in ("vertex", "both"):
        width = texel_width(mesh, round(len(mesh.vertices) ** 0.5))
        mesh = vertex_colors(
            mesh, _over(field, scene, seen, width), places=places, device=device, progress=progress
        )
    if options.color in ("texture", "both"):
        size = options.texture_size
        if size == "auto":  # two units of the cube are the picture's width
            finest = max((len(one.rgb) for one in scene.inputs), default=1)
            size = fitting_size(mesh, 2 / scene.resolution, 2 / finest)
        source = _over(field, scene, seen, texel_width(mesh, size))
        mesh = bake_texture(mesh, source, size=size, places=places, device=device, progress=progress)
    return mesh


def _projections(scene: Scene, mesh: Mesh) -> list[Projection]:
    """The scene's input pictures on its `mesh` in space."""
    about = (scene.camera, scene.resolution, scene.pivot)
    return [Projection.onto(mesh, one.photograph(*about)) for one in scene.inputs]


def shown_by_inputs(scene: Scene, mesh: Mesh) -> NDArray[Any]:
    """How much [V], 0 to 1, the scene's input pictures show of each vertex of its `mesh` in space.

    1 where a camera sees the surface plainly, 0 where it is turned away, hidden or outside the picture, and all over a
    scene that was made of none: there the model has made it up.
    """
    shown = np.zeros(len(mesh.vertices))
    for projection in _projections(scene, mesh):
        shown = np.maximum(shown, projection(mesh.vertices.astype(np.float64))[1])
    return shown


def _over(cube: CubeField, scene: Scene, seen: Sequence[Projection], width: float) -> Field:
    """What colours are read from, each `width` of the cube: the `cube`, or pictures in space over the scene's field."""
    if not seen:
        return cube
    field = scene.field()

    def in_space(points: Tensor) -> tuple[Tensor, Tensor]:
        rgb, sigma = field(points)
        return to_image(rgb), sigma

    return projected(in_space, [one.at_most(2 / width) for one in seen], cube.device)


def _placed(field: CubeField, points: NDArray[Any]) -> NDArray[Any]:
    """World points float32 [N,3] of points of the cube."""
    places: NDArray[Any] = field.to_world(torch.from_numpy(points).double()).float().numpy()
    return places


def backdrop(scene: Scene, mask: Tensor | None = None) -> float | None:
    """Where the backdrop of the picture begins, as a `crop_depth`; None for a scene without one.

    With the `mask` of a subject: midway between the farthest of it that is seen and what is around it, but at least
    somewhat behind it. Without:
    Midway between what Otsu's threshold of the inverse depths that the camera sees takes for far and for near, but no
    nearer than somewhat behind the subject, by which the object that views turn about is meant.
    """
    inverse = scene.view().disparity[0]
    if mask is not None:
        return _behind(DepthSpace.of(scene.camera), inverse, mask.to(inverse) >= 0.5)
    far = nearest_in(inverse, WHOLE) == 0
    if not bool(far.any()):
        return None
    space = DepthSpace.of(scene.camera)
    border = float(space.normalise((inverse[far].max() + inverse[~far].min()) / 2))
    subject = float(space.normalise(torch.tensor(1 / scene.pivot)))
    return min(1.0, 1 - 2 * min(border, _SUBJECT * subject))


def recipe_of(scene: Scene, options: SceneMeshOptions, facts: dict[str, Any]) -> dict[str, Any]:
    """What made a mesh, to be kept in its file: JSON values."""
    size = facts.get("texture_size", options.texture_size)
    return {
        "scene": scene.source,
        "tokenizer": scene.parts[0].tokenizer,
        "license": UNKNOWN,  # the picture's decides, and nobody has said it
        "options": replace(options, texture_size=size).to_recipe(),
        **facts,
    }


def _behind(space: DepthSpace, inverse: Tensor, inside: Tensor) -> float:
    """A `crop_depth` behind what the view with surface `inverse` [h,h] shows where `inside`.

    A mask reaches a little beyond its subject: what is nearer to the surroundings than to its median does not count.
    """
    shown = space.normalise(inverse[inside])
    around = float(space.normalise(surroundings(inverse, inside)[inside]).median())
    middle = float(shown.median())
    subject = shown[shown >= min(middle, (middle + around) / 2)]
    seen = float(torch.quantile(subject, _FARTHEST))
    return min(1.0, 1 - (seen + min(around, _SUBJECT * seen)))


def _crop(depth: float | None, outline: SignedDistance | None) -> SignedDistance | None:
    """Distance inside what stays: nearer than `depth`, and within the `outline`; None for all."""
    if outline is None:
        return None if depth is None else lambda points: points[:, 2] + depth
    if depth is None:
        return outline
    return lambda points: np.minimum(outline(points), points[:, 2] + depth)

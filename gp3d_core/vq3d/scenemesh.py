"""Scenes to meshes, through the same extraction, cleaning, simplification, texturing and files as generated objects.

The grid spans what the input camera sees: in the cube [-1, 1]³ x and y are those of the image plane and z is normalised
inverse depth, from −1 far to +1 near. So all pixels get equally many samples, and near things more depth than far ones,
which is how the field was learnt. Vertices are then put back into space. What the picture does not show, outside its
frame or behind the far plane, was never learnt and is no part of the mesh.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gp3d_core.cleaning import mesh_report, vertex_normals
from gp3d_core.isosurface import SignedDistance
from gp3d_core.meshfile import Mesh, save_mesh
from gp3d_core.meshing import extract_mesh
from gp3d_core.meshmaking import Coloring
from gp3d_core.signals import Progress, quiet
from gp3d_core.texturing import bake_texture, vertex_colors
from gp3d_core.vq3d.depth import DepthSpace
from gp3d_core.vq3d.scenefile import Scene
from gp3d_core.vq3d.viewing import RADIUS, Field

_MAX_BYTES = 4 * 2**30  # for a grid, as `gp3d mesh` has it


@dataclass(frozen=True, kw_only=True)
class SceneMeshOptions:
    """How a scene becomes a mesh, as MeshOptions; `crop_depth` cuts off what is farther, −1 near to 1 far plane."""

    grid: int = 128
    level: float | Literal["auto"] = "auto"
    faces: int | None = 30000
    color: Coloring = "texture"
    texture_size: int = 512
    largest: int | None = 1
    crop_depth: float | None = None


@dataclass(frozen=True, eq=False)
class CubeField:
    """A scene over the cube: points [1,N,3] to rgb [1,N,3] in [-1, 1] and density [1,N,1], per scene unit."""

    field: Field
    space: DepthSpace
    reach: float

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Colour as meshes want it, and density after activation."""
        rgb, sigma = self.field(self.to_world(points))
        return rgb * 2 - 1, sigma

    def to_world(self, points: Tensor) -> Tensor:
        """World points [...,3] of points of the cube [...,3]."""
        inverse = self.space.inverse((points[..., 2] + 1) / 2).clamp(min=self.space.low / 2)
        depth = 1 / inverse
        plane = points[..., :2] * (self.reach * depth)[..., None]
        return torch.cat([plane, (RADIUS - depth)[..., None]], dim=-1)


def mesh_of(
    scene: Scene, options: SceneMeshOptions, progress: Progress = quiet
) -> tuple[Mesh, dict[str, Any]]:
    """The mesh of `scene` in scene units, and what is known about it (JSON values).

    `progress` hears of density, surface, atlas, texels and color. Raises EmptyMeshError when there is no surface at the
    level, MemoryLimitError for a grid that is too large.
    """
    camera, device = scene.camera, scene.parts[0].planes.device
    field = CubeField(scene.field(), DepthSpace.of(camera), math.tan(math.radians(camera.fov) / 2))
    extraction = extract_mesh(
        field,
        box=1.0,
        grid=options.grid,
        level=options.level,
        faces=options.faces,
        largest=options.largest,
        keep=_crop(options.crop_depth),
        max_bytes=_MAX_BYTES,
        device=device,
        progress=progress,
    )
    mesh = extraction.mesh
    if options.color in ("vertex", "both"):
        mesh = vertex_colors(mesh, field, device=device, progress=progress)
    if options.color in ("texture", "both"):
        mesh = bake_texture(mesh, field, size=options.texture_size, device=device, progress=progress)
    places = field.to_world(torch.from_numpy(mesh.vertices).double()).float().numpy()
    mesh = replace(mesh, vertices=places, normals=None)
    mesh = replace(mesh, normals=vertex_normals(mesh).astype(np.float32))
    report = mesh_report(mesh)
    facts = {
        name: getattr(report, name) for name in ("vertices", "faces", "components", "watertight", "area")
    }
    return mesh, facts | {"level": extraction.level}


def recipe_of(scene: Scene, options: SceneMeshOptions, facts: dict[str, Any]) -> dict[str, Any]:
    """What made a mesh, to be kept in its file: JSON values."""
    return {
        "scene": scene.source,
        "tokenizer": scene.parts[0].tokenizer,
        "options": asdict(options),
        **facts,
    }


def write_scene_mesh(
    scene: Scene, stem: Path, formats: Sequence[str], options: SceneMeshOptions
) -> Iterator[Path]:
    """Writes the mesh of `scene` as `<stem>.<format>` and yields the files, each whole."""
    mesh, facts = mesh_of(scene, options)
    for suffix in formats:
        path = stem.with_name(f"{stem.name}.{suffix}")
        save_mesh(mesh, path, recipe_of(scene, options, facts))
        yield path


def _crop(depth: float | None) -> SignedDistance | None:
    return None if depth is None else lambda points: points[:, 2] + depth

"""From a field to a finished asset: mesh, as triangles or quads, levels of detail, a hull, a size and a pivot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from gp3d_core.assets.collision import CollisionHull, collision_hull
from gp3d_core.assets.lods import Level, coarser, texture_size
from gp3d_core.assets.native import NativeError
from gp3d_core.assets.placement import Placement, placement_of
from gp3d_core.assets.quads import quad_mesh
from gp3d_core.assets.real_sizes import RealSize
from gp3d_core.config.schema import RunConfig
from gp3d_core.meshing.agreement import Agreement
from gp3d_core.meshing.extraction import field_normals
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.pipeline import Surface, color_surface, find_surface, finish_surface
from gp3d_core.rendering.volume import ShapeField
from gp3d_core.signals import Progress, counted, no_progress


@dataclass(frozen=True, eq=False)
class Asset:
    """An object's mesh, its coarser levels of detail, from 1 on, and its collision hull, in one frame.

    `facts` (JSON values) say what is known of them; `remarks`, in a line each, what came out otherwise than asked for.
    """

    mesh: Mesh
    lods: list[Mesh]
    hull: list[Mesh]
    facts: dict[str, Any]
    remarks: list[str]
    agreement: Agreement


@torch.no_grad()
def finish_asset(
    field: ShapeField,
    config: RunConfig,
    options: MeshOptions,
    known: RealSize | None = None,
    progress: Progress = no_progress,
) -> Asset:
    """The asset of one object's field; `known` is how large things of its class are in the world.

    `progress` hears of density, surface, quads, atlas, texels, color, compare, lods and collision. Where quads fail
    their checks, triangles stay, and where a hull does, there is none; a remark says so. Raises EmptyMeshError when
    there is no surface at the level, MemoryLimitError for a grid that is too large, LibraryError for one that is not
    installed.
    """
    surface = find_surface(field, config, options, progress)
    remarks: list[str] = []
    drawn = surface
    facts: dict[str, Any] = {}
    if options.quads is not None:
        drawn, facts = _in_quads(surface, options.quads, field, options, remarks, progress)
    finished = finish_surface(drawn, field, config, options, progress)
    levels = []
    for number in counted(range(1, options.lods), "lods", progress) if options.lods > 1 else ():
        smaller = _with_smaller_texture(options, finished.mesh, number)
        levels.append(_level(surface.mesh, number, field, config, smaller, progress))
    hull = None if options.collision is None else _hull(surface.mesh, options.collision, remarks, progress)
    placement = placement_for(finished.mesh, options, known)
    if options.lods > 1:
        facts["lod_levels"] = [level.facts() for level in levels]
    if options.collision is not None:
        facts["collision_hull"] = None if hull is None else hull.facts()
    if options.size is not None:
        facts["meters_per_unit"] = 1.0
    elif known is not None and known.metres is not None:
        facts["meters_per_unit"] = placement_of(finished.mesh, known.metres, known.measure).scale
    return Asset(
        placement(finished.mesh),
        [placement(level.mesh) for level in levels],
        [] if hull is None else [placement(part) for part in hull.parts],
        placement.measured(finished.facts) | facts,
        remarks,
        finished.agreement,
    )


def _in_quads(
    surface: Surface,
    count: int,
    field: ShapeField,
    options: MeshOptions,
    remarks: list[str],
    progress: Progress,
) -> tuple[Surface, dict[str, Any]]:
    """The surface as quads, if they can be had, and what is known of them."""
    try:
        quads = quad_mesh(surface.mesh, count, progress)
    except NativeError as error:
        remarks.append(f"{error}; the triangles stay")
        return surface, {"quad_faces": None, "quads_failed": str(error)}
    mesh = _with_normals(quads.triangles(), field, options)
    found = quads.facts()
    return replace(surface, mesh=mesh), {"quad_faces": found["faces"], "quad_distance": found["distance"]}


def _level(
    mesh: Mesh,
    number: int,
    field: ShapeField,
    config: RunConfig,
    options: MeshOptions,
    progress: Progress,
) -> Level:
    """One coarser level in colour; its texture is baked anew, for decimation does not keep the seams of an atlas."""
    level = coarser(mesh, number)
    made = _with_normals(level.mesh, field, options)
    return replace(level, mesh=color_surface(made, field, config, options, progress))


def _with_smaller_texture(options: MeshOptions, mesh: Mesh, number: int) -> MeshOptions:
    """The options of level `number` of `mesh`."""
    if mesh.texture is None:
        return options
    return replace(options, texture_size=texture_size(len(mesh.texture), number))


def _hull(mesh: Mesh, parts: int, remarks: list[str], progress: Progress) -> CollisionHull | None:
    try:
        return collision_hull(mesh, parts, progress)
    except NativeError as error:
        remarks.append(str(error))
        return None


def _with_normals(mesh: Mesh, field: ShapeField, options: MeshOptions) -> Mesh:
    normals = field_normals(mesh, field, step=2 * field.box / (options.grid - 1), device=field.device)
    return replace(mesh, normals=normals)


def placement_for(mesh: Mesh, options: MeshOptions, known: RealSize | None) -> Placement:
    """Where the options put a `mesh` in the frame of its field; `known` is how large things of its class are."""
    if options.size == "real" and known is not None:
        return placement_of(mesh, known.metres, known.measure, options.pivot)
    metres = None if isinstance(options.size, str) else options.size
    return placement_of(mesh, metres, pivot=options.pivot)

"""From a trained field to a finished mesh: level, surface, what was seen, colours, and how well it all agrees.

Conventions of `meshing` and `texturing`; the frame is that of docs/conventions.md. "Depth" of a crop is the training
data's: normalised, -1 at the near plane of the mean camera, +1 at the far plane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from gp3d_core.config.schema import CameraConfig, RunConfig
from gp3d_core.meshing.agreement import Agreement, agreeing_level, compare
from gp3d_core.meshing.cleaning import mesh_report
from gp3d_core.meshing.extraction import (
    SURVEY_GRID,
    EmptyMeshError,
    Extraction,
    auto_level,
    density_grid,
    extract_mesh,
    raw_level,
)
from gp3d_core.meshing.isosurface import SignedDistance, check_memory
from gp3d_core.meshing.mesh_io import Mesh
from gp3d_core.meshing.rasterizer import seen_vertices
from gp3d_core.meshing.texture.bake import bake_texture, vertex_colors
from gp3d_core.networks.decoder import TriplaneField
from gp3d_core.ops.reference import activate_density
from gp3d_core.rendering.cameras import cam2world, mean_camera, sample_cameras
from gp3d_core.rendering.empty_space import skip_empty
from gp3d_core.rendering.volume import Field
from gp3d_core.rng import generator_for
from gp3d_core.signals import Progress, no_progress

Coloring = Literal["texture", "vertex", "both", "none"]

_VIEWS = 4  # of a comparison
_WATCHERS = 12  # cameras that decide what was seen
_FAINT = 2e-3  # optical depth over the whole ray, below which density is not looked at


@dataclass(frozen=True)
class RawLevel:
    """A level of the density before activation."""

    value: float


@dataclass(frozen=True, kw_only=True)
class MeshOptions:
    """What a mesh is made like. Levels are densities after activation if they are plain numbers.

    `faces` None: all. `largest` None: all components. `crop_box` (x, y, z from, x, y, z to) and `crop_depth` (-1 near
    to 1 far) cut away what lies outside or behind. `max_bytes` limits the memory of the grid.
    """

    grid: int = 128
    level: float | RawLevel | Literal["auto"] = "auto"
    faces: int | None = 30000
    color: Coloring = "texture"
    texture_size: int = 512
    largest: int | None = 1
    crop_box: tuple[float, ...] | None = None
    crop_depth: float | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, eq=False)
class Finished:
    """A mesh, what is known about it (JSON values), and how it compares with its field."""

    mesh: Mesh
    facts: dict[str, Any]
    agreement: Agreement


@torch.no_grad()
def finish_mesh(
    field: TriplaneField, config: RunConfig, options: MeshOptions, progress: Progress = no_progress
) -> Finished:
    """The mesh of one object's field. `progress` hears of density, surface, atlas, texels, color and compare.

    Raises EmptyMeshError when there is no surface at the level, MemoryLimitError for a grid that is too large.
    """
    device = field.planes.device
    quick = _quick(field, config)
    if options.max_bytes is not None:
        check_memory(field, options.grid, options.max_bytes)
    progress("density", 0, 1)
    extraction = _extract(quick, field, config, options, progress)
    mesh = extraction.mesh
    report = mesh_report(mesh)
    watchers = sample_cameras(config.camera, _WATCHERS, generator_for("watchers"))
    mesh = replace(mesh, seen=seen_vertices(mesh, watchers).astype(np.uint8))
    if options.color in ("vertex", "both"):
        mesh = vertex_colors(mesh, field.fast(), device=device, progress=progress)
    if options.color in ("texture", "both"):
        mesh = bake_texture(mesh, field.fast(), size=options.texture_size, device=device, progress=progress)
    progress("compare", 0, 1)
    views = sample_cameras(config.camera, _VIEWS, generator_for("views")).to(device)
    agreement = compare(mesh, quick, views, config.camera, config.render)
    facts = {
        "level": extraction.level,
        "vertices": report.vertices,
        "faces": report.faces,
        "components": report.components,
        "watertight": report.watertight,
        "euler": report.euler,
        "self_intersections": report.self_intersections,
        "area": report.area,
        "volume": report.volume,
        "seen": float(mesh.seen.mean()) if mesh.seen is not None else None,
        "psnr": agreement.psnr if options.color != "none" else None,
        "iou": agreement.iou,
    }
    return Finished(mesh, facts, agreement)


def _extract(
    quick: Field, field: TriplaneField, config: RunConfig, options: MeshOptions, progress: Progress
) -> Extraction:
    """The surface of the field at the level of the options. Raises EmptyMeshError in the options' own words."""
    level = _level(quick, field, config, options)
    try:
        return extract_mesh(
            field,
            box=field.box,
            grid=options.grid,
            level=level,
            faces=options.faces,
            largest=options.largest,
            keep=_crop(config.camera, options),
            sigma_of=lambda raw: _sigma(raw, config),
            device=field.planes.device,
            progress=progress,
        )
    except EmptyMeshError as error:
        if not isinstance(options.level, RawLevel):
            raise
        asked = f"--level raw:{options.level.value:g} is the density {level:.4g} after activation"
        raise EmptyMeshError(f"{asked}; {error}") from error


def surface_levels(
    field: TriplaneField, config: RunConfig, level: float | Literal["auto"]
) -> tuple[float, float]:
    """The density after activation that `level` means for this object, and the raw density at which it has it."""
    after = _level(_quick(field, config), field, config, MeshOptions(level=level))
    return after, raw_level(after, lambda raw: _sigma(raw, config))


def _sigma(raw: torch.Tensor, config: RunConfig) -> torch.Tensor:
    render = config.render
    return activate_density(
        raw, scale=render.density_scale, gain=render.density_gain, shift=render.density_shift
    )


def _quick(field: TriplaneField, config: RunConfig) -> Field:
    """The field for rendering, without what is too faint to be seen."""
    faint = _FAINT / (config.camera.t_far - config.camera.t_near)
    return skip_empty(
        field.fast(),
        field.separable_density(),
        threshold=raw_level(faint, lambda raw: _sigma(raw, config)),
        empty_outside=config.render.outside_box == "empty",
    )


def _level(quick: Field, field: TriplaneField, config: RunConfig, options: MeshOptions) -> float:
    """The level after activation; "auto" becomes the level that agrees best, or else that of `auto_level`."""
    if isinstance(options.level, RawLevel):
        return float(_sigma(torch.tensor(options.level.value, dtype=torch.float64), config))
    if not isinstance(options.level, str):
        return options.level
    survey = _sigma(density_grid(field, box=field.box, grid=SURVEY_GRID), config).numpy()
    views = sample_cameras(config.camera, _VIEWS, generator_for("views")).to(field.planes.device)
    best = agreeing_level(quick, survey, lambda raw: _sigma(raw, config), views, config.camera)
    return auto_level(survey, field.box) if best is None else best


def _crop(camera: CameraConfig, options: MeshOptions) -> SignedDistance | None:
    """Distance inside the crop; None without one."""
    if options.crop_box is None and options.crop_depth is None:
        return None
    low, high = np.split(np.array(options.crop_box or [-np.inf] * 3 + [np.inf] * 3), 2)
    origin = cam2world(mean_camera(camera))[0, :3, 3].double().numpy()
    middle, half = (camera.t_near + camera.t_far) / 2, (camera.t_far - camera.t_near) / 2
    reach = np.inf if options.crop_depth is None else middle + options.crop_depth * half

    def inside(points: np.ndarray) -> np.ndarray:
        box = np.minimum(points - low, high - points).min(axis=1)
        return np.minimum(box, reach - np.linalg.norm(points - origin, axis=1))

    return inside

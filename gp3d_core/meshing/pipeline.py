"""From a trained field to a finished mesh: level, surface, what was seen, colours, and how well it all agrees.

Conventions of `extraction` and `texture`; the frame is that of docs/conventions.md. "Depth" of a crop is the training
data's: normalised, -1 at the near plane of the mean camera, +1 at the far plane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gp3d_core.config.schema import CameraConfig, RunConfig
from gp3d_core.meshing.agreement import Agreement, agreeing_level, compare
from gp3d_core.meshing.cleaning import mesh_report
from gp3d_core.meshing.components import Opacity, stopped_light
from gp3d_core.meshing.extraction import (
    SURVEY_GRID,
    EmptyMeshError,
    Extraction,
    NoSurfaceError,
    auto_level,
    density_grid,
    extract_mesh,
)
from gp3d_core.meshing.isosurface import SignedDistance, check_memory
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.rasterizer import seen_vertices
from gp3d_core.meshing.texture.bake import atlas_use, bake_texture, fitting_size, vertex_colors
from gp3d_core.rendering.activation import DensityActivation
from gp3d_core.rendering.cameras import cam2world, mean_camera, sample_cameras
from gp3d_core.rendering.empty_space import skip_empty
from gp3d_core.rendering.triplane_density import HasSeparableDensity
from gp3d_core.rendering.volume import Field, ShapeField
from gp3d_core.rng import generator_for
from gp3d_core.signals import Progress, no_progress

_VIEWS = 4  # of a comparison
_WATCHERS = 12  # cameras that decide what was seen
# Optical depth of a whole ray, below which density is not looked at: it changes a colour by half a step of 8 bits.
_FAINT = 2e-3


@dataclass(frozen=True, eq=False)
class Finished:
    """A mesh, what is known about it (JSON values), and how it compares with its field."""

    mesh: Mesh
    facts: dict[str, Any]
    agreement: Agreement


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface of a field, with normals and without colours, and the density after activation that it lies at.

    `quick` is the field as `quick_field` has it; `dropped` is how many pieces are no part of the surface,
    `dropped_area` the share of the whole surface that they had.
    """

    mesh: Mesh
    level: float
    quick: Field
    dropped: int = 0
    dropped_area: float = 0.0


@torch.no_grad()
def find_surface(
    field: ShapeField, config: RunConfig, options: MeshOptions, progress: Progress = no_progress
) -> Surface:
    """Where the field's surface is. `progress` hears of density and surface.

    Raises EmptyMeshError when there is no surface at the level, MemoryLimitError for a grid that is too large.
    """
    quick = quick_field(field, config)
    check_memory(field, options.grid, options.max_bytes)  # before seconds go into finding the level
    progress("density", 0, 1)
    level, extraction = _extract(quick, field, config, options, progress)
    return Surface(extraction.mesh, level, quick, extraction.dropped, extraction.dropped_area)


@torch.no_grad()
def finish_surface(
    surface: Surface,
    field: ShapeField,
    config: RunConfig,
    options: MeshOptions,
    progress: Progress = no_progress,
) -> Finished:
    """The surface coloured, and what is known about it. `progress` hears of atlas, texels, color and compare."""
    report = mesh_report(surface.mesh)
    mesh = color_surface(surface.mesh, field, config, options, progress)
    progress("compare", 0, 1)
    views = sample_cameras(config.camera, _VIEWS, generator_for("views")).to(field.device)
    agreement = compare(mesh, surface.quick, views, config.camera, config.render)
    facts = {
        "level": surface.level,
        "vertices": report.vertices,
        "faces": report.faces,
        "components": report.components,
        "dropped": surface.dropped,
        "dropped_area": surface.dropped_area,
        "watertight": report.watertight,
        "euler": report.euler,
        "self_intersections": report.self_intersections,
        "area": report.area,
        "volume": report.volume,
        "seen": float(mesh.seen.mean()) if mesh.seen is not None else None,
        "psnr": agreement.psnr if options.color != "none" else None,
        "iou": agreement.iou,
        "atlas_use": atlas_use(mesh),
    }
    if mesh.texture is not None:  # a recipe names the number that "auto" found
        facts["texture_size"] = len(mesh.texture)
    if options.level.raw:  # where activation underflows, the level alone does not lead back
        facts["raw_level"] = options.level.value
    return Finished(mesh, facts, agreement)


@torch.no_grad()
def color_surface(
    mesh: Mesh,
    field: ShapeField,
    config: RunConfig,
    options: MeshOptions,
    progress: Progress = no_progress,
) -> Mesh:
    """`mesh` with the colours that the options ask for, and with what was seen. `progress` hears of their stages."""
    device = field.device
    watchers = sample_cameras(config.camera, _WATCHERS, generator_for("watchers"))
    mesh = replace(mesh, seen=seen_vertices(mesh, watchers).astype(np.uint8))
    if options.color in ("vertex", "both"):
        mesh = vertex_colors(mesh, field.fast(), device=device, progress=progress)
    if options.color in ("texture", "both"):
        size = options.texture_size
        if size == "auto":
            size = fitting_size(mesh, field.texel)
        mesh = bake_texture(mesh, field.fast(), size=size, device=device, progress=progress)
    return mesh


def _extract(
    quick: Field, field: ShapeField, config: RunConfig, options: MeshOptions, progress: Progress
) -> tuple[float, Extraction]:
    """The density after activation that the options' level means, and the surface there.

    Raises EmptyMeshError in terms of density after activation.
    """
    survey = density_grid(field, box=field.box, grid=SURVEY_GRID, device=field.device)
    named = _named_levels(config, options.level)
    sigma, raw = _agreed_levels(quick, field, survey, config) if named is None else named
    try:
        return sigma, extract_mesh(
            field,
            box=field.box,
            grid=options.grid,
            level=raw,
            faces=options.faces,
            components=options.components,
            opacity=_opacity(quick, config, field.device),
            crop=_crop(config.camera, options),
            survey=survey,
            device=field.device,
            progress=progress,
        )
    except NoSurfaceError as error:
        density = DensityActivation.of(config.render).density
        raise _no_surface(options, sigma, density(error.low), density(error.high)) from error


def _opacity(field: Field, config: RunConfig, device: torch.device) -> Opacity:
    """The share of light that the field stops along paths."""
    activation = DensityActivation.of(config.render)

    def stopped(points: NDArray[Any]) -> NDArray[Any]:
        raw = field(torch.from_numpy(points).reshape(1, -1, 3).to(device))[1]
        return stopped_light(activation(raw).reshape(points.shape[:2]).cpu().numpy(), points)

    return stopped


def _no_surface(options: MeshOptions, level: float, low: float, high: float) -> EmptyMeshError:
    """Why there is none at the density `level`, while the field's lies between `low` and `high`."""
    crops = [f"`{name}`" for name in ("crop_box", "crop_depth") if getattr(options, name) is not None]
    if crops and low < level < high:
        return EmptyMeshError(f"{' and '.join(crops)} cut away all of the surface at level {level:.4g}")
    asked = f"`level` {options.level} is the density {level:.4g} after activation; " * options.level.raw
    return EmptyMeshError(f"{asked}{NoSurfaceError(level, low, high)}")


def surface_levels(field: ShapeField, config: RunConfig, level: Level) -> tuple[float, float]:
    """The density after activation that `level` means for this object, and the raw density at which it has it."""
    named = _named_levels(config, level)
    if named is not None:
        return named
    survey = density_grid(field, box=field.box, grid=SURVEY_GRID, device=field.device)
    return _agreed_levels(quick_field(field, config), field, survey, config)


def _named_levels(config: RunConfig, level: Level) -> tuple[float, float] | None:
    """As `surface_levels`, for a level that has a value; None for one that is to be found."""
    if level.value is None:
        return None
    activation = DensityActivation.of(config.render)
    raw = level.to_raw(activation)
    return (activation.density(raw) if level.raw else level.value), raw


def _agreed_levels(
    quick: Field, field: ShapeField, survey: torch.Tensor, config: RunConfig
) -> tuple[float, float]:
    """As `surface_levels`, the level that agrees best with views, or else that of `auto_level`.

    `survey` is the field's raw density on a coarse grid.
    """
    activation = DensityActivation.of(config.render)
    density = activation(survey).numpy()
    views = sample_cameras(config.camera, _VIEWS, generator_for("views")).to(field.device)
    best = agreeing_level(quick, density, activation, views, config.camera)
    sigma = auto_level(density, field.box) if best is None else best
    return sigma, activation.inverse(sigma)


def quick_field(field: ShapeField, config: RunConfig) -> Field:
    """The `field` for rendering, without what is too faint to be seen, where that is quickly known."""
    if not isinstance(field, HasSeparableDensity):
        return field.fast()
    faint = _FAINT / (config.camera.t_far - config.camera.t_near)
    return skip_empty(
        field.fast(),
        field.separable_density(),
        threshold=DensityActivation.of(config.render).inverse(faint),
        empty_outside=config.render.outside_box == "empty",
    )


def _crop(camera: CameraConfig, options: MeshOptions) -> SignedDistance | None:
    """Distance inside the crop; None without one."""
    if options.crop_box is None and options.crop_depth is None:
        return None
    low, high = np.split(np.array(options.crop_box or [-np.inf] * 3 + [np.inf] * 3), 2)
    origin = cam2world(mean_camera(camera))[0, :3, 3].double().numpy()
    middle, half = (camera.t_near + camera.t_far) / 2, (camera.t_far - camera.t_near) / 2
    depth = options.crop_depth
    reach = middle + depth * half if isinstance(depth, int | float) else np.inf

    def inside(points: NDArray[Any]) -> NDArray[Any]:
        box = np.minimum(points - low, high - points).min(axis=1)
        return np.minimum(box, reach - np.linalg.norm(points - origin, axis=1))

    return inside

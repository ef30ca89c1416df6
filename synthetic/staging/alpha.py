"""What becomes of transparent parts: kept, cut out, or removed as glass, by their alpha and not by their mode.

Alpha is looked at texel by texel where the triangles lie, for every triangle:

    alpha is 1 everywhere                            opaque, whatever the mode
    MASK, or BLEND of nearly only 0 and 1 (a leaf)   cut where alpha is below the cutoff; without the triangles of which
                                                     nothing would be left; or solid, as the treatment says
    BLEND with alphas in between, transmission       glass: removed or drawn opaque, as the treatment says

So one pane of glass in a material that is opaque elsewhere goes alone. Triangles of one material that are joined by
their vertices and let light through are one pane or one leaf.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.sampling import SurfaceColors
from synthetic.staging.surface import Floats, Indices, Material, Surface, components
from synthetic.staging.treatment import Treatment

Codes = npt.NDArray[np.int8]

_OPAQUE = 0.999
_LOW, _HIGH = 0.1, 0.9  # of a texture's alpha: near 0 and near 1
_SEAM = 0.02  # of a triangle: alphas below 1 that are but the soft edge of its neighbour in the texture
_LEAF = 1 / 3  # a leaf has at most such a share of alphas in between, at its soft edge
_CUTOFF = 0.5  # of what says BLEND and is cut
_MOST_STEPS = 256  # that the edges of a triangle are divided into, to look at every texel
_MOST_SAMPLES = 1_000_000
_KEEP, _CUT, _GONE, _GLASS = range(4)  # what becomes of a triangle


def settle_alpha(surface: Surface, treatment: Treatment, notes: Counter[str]) -> Surface:
    """The surface whose materials are opaque or cut ("mask"), without the triangles that are removed.

    It is the same where all materials are opaque. Raises BrokenModelError where nothing is left.
    """
    if all(material.alpha == "opaque" and not material.transmission for material in surface.materials):
        return surface
    fate = np.full(len(surface), _KEEP, np.int8)
    colors = SurfaceColors(surface)
    for number in np.unique(surface.material):
        material, here = surface.materials[number], np.flatnonzero(surface.material == number)
        if material.transmission > 1 - _OPAQUE:
            fate[here] = _GLASS
        elif material.alpha != "opaque":
            fate[here] = _fates(surface, material, here, colors)
    removed = np.zeros(len(fate), np.bool_)
    if treatment.transparent == "remove":
        removed |= fate == _GLASS
        _count(notes, "transparent faces removed", removed)
    else:
        _count(notes, "transparent faces drawn opaque", fate == _GLASS)
    if treatment.cutouts == "cut":
        removed |= fate == _GONE
        _count(notes, "faces cut out by their alpha", fate == _CUT)
        _count(notes, "faces cut away by their alpha", fate == _GONE)
    else:
        _count(notes, "faces drawn solid in spite of their alpha", (fate == _CUT) | (fate == _GONE))
    if removed.all():
        raise BrokenModelError("all of its faces are transparent")
    surface = _with_materials(surface, (fate == _CUT) & (treatment.cutouts == "cut"))
    return surface.subset(~removed) if removed.any() else surface


def _count(notes: Counter[str], phrase: str, which: npt.NDArray[np.bool_]) -> None:
    if which.any():
        notes[phrase] += int(which.sum())


def _with_materials(surface: Surface, cut: npt.NDArray[np.bool_]) -> Surface:
    """The surface with a cut and an opaque material for each that needs both."""
    materials, material = list(surface.materials), surface.material.copy()
    for number, given in enumerate(surface.materials):
        solid = replace(given, alpha="opaque", opacity=1.0, alpha_texture=None, transmission=0.0)
        here = surface.material == number
        parted = here & cut
        if parted.any():
            cutoff = given.cutoff if given.alpha == "mask" else _CUTOFF
            materials[number] = replace(given, alpha="mask", cutoff=cutoff, transmission=0.0)
            if (here & ~cut).any():
                material[here & ~cut] = len(materials)
                materials.append(solid)
        elif given != solid and (given.alpha != "opaque" or given.transmission):
            materials[number] = solid
    return replace(surface, materials=tuple(materials), material=material)


def _fates(surface: Surface, material: Material, here: Indices, colors: SurfaceColors) -> Codes:
    """What becomes of the triangles `here`, all of one material that is no "opaque" one."""
    lets_through = colors.lets_through(material)
    vertices = surface.colors is not None and float(surface.colors[here, :, 3].min()) < _OPAQUE
    if not lets_through and not vertices:
        if material.alpha == "mask":
            return np.full(len(here), _KEEP if material.opacity >= material.cutoff else _GONE, np.int8)
        return np.full(len(here), _KEEP if material.opacity >= _OPAQUE else _GLASS, np.int8)
    low, high = (material.cutoff, material.cutoff) if material.alpha == "mask" else (_LOW, _HIGH)
    clear, between, solid = _shares(surface, material, here, colors, low, high).T
    through = np.flatnonzero(solid < (1 if material.alpha == "mask" else 1 - _SEAM))
    fate = np.full(len(here), _KEEP, np.int8)
    fate[through] = np.where(clear[through] == 1, _GONE, _CUT)
    if material.alpha == "blend":
        patch, area = _joined(surface.triangles[here[through]]), _area(surface, here[through])
        soft = np.bincount(patch, area * between[through]) / np.bincount(patch, area)
        fate[through[(soft[patch] > _LEAF) & (solid[through] < 0.5)]] = _GLASS
    return fate


def _area(surface: Surface, triangles: Indices) -> Floats:
    corners = surface.positions[surface.triangles[triangles]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(np.maximum(np.linalg.norm(normals, axis=1), np.finfo(float).tiny))


def _joined(triangles: Indices) -> Indices:
    """[F] the number of the patch of triangles [F,3] that are joined by their vertices."""
    vertices, corner = np.unique(triangles, return_inverse=True)
    corner = corner.reshape(-1, 3)
    ends = np.concatenate([corner[:, [0, 1]], corner[:, [1, 2]]])
    patch = components(len(vertices), ends[:, 0], ends[:, 1])
    return np.asarray(np.unique(patch[corner[:, 0]], return_inverse=True)[1])


def _shares(
    surface: Surface, material: Material, here: Indices, colors: SurfaceColors, low: float, high: float
) -> Floats:
    """[F,3] the shares of triangles `here` with an alpha below `low`, between, and of `high` or more."""
    shares = np.empty((len(here), 3))
    steps = _steps(surface, material, here, colors)
    for count in np.unique(steps):
        weights = _spread(int(count))
        members = np.flatnonzero(steps == count)
        for part in np.split(members, range(0, len(members), max(1, 500_000 // len(weights)))[1:]):
            triangle = np.repeat(here[part], len(weights))
            alpha = colors.alpha(triangle, np.tile(weights, (len(part), 1)), exact=True)
            alpha = alpha.reshape(len(part), len(weights))
            below, above = (alpha < low).mean(axis=1), (alpha >= high).mean(axis=1)
            shares[part] = np.column_stack([below, 1 - below - above, above])
    return shares


def _steps(surface: Surface, material: Material, here: Indices, colors: SurfaceColors) -> Indices:
    """[F] how often the edges of triangles have to be divided for every texel to be looked at."""
    texture = material.alpha_texture or material.color_texture
    if texture is None:
        return np.full(len(here), 4)
    texels = surface.uvs[texture.uv_layer][here].astype(np.float64) * colors.size(texture)
    edges = np.abs(np.roll(texels, -1, axis=1) - texels).max(axis=(1, 2))
    steps = np.ceil(np.minimum(edges, _MOST_STEPS)).clip(2)
    total = float((steps**2).sum())
    if total > _MOST_SAMPLES:
        steps = np.maximum(np.floor(steps * np.sqrt(_MOST_SAMPLES / total)), 2)
    return np.asarray(steps.astype(np.int64))


def _spread(steps: int) -> Floats:
    """[steps²,2] a point in each of the equal triangles that a triangle is divided into, as weights of corners 1 and 2.

    The points are random ones, or those of a texture that is repeated often would all be the same texel; always the
    same random ones, so that a model always comes out the same.
    """
    i, j = np.mgrid[:steps, :steps].reshape(2, -1)
    cells = np.column_stack([i, j])
    inside = np.random.default_rng(steps).random((len(cells), 2))
    inside = np.where(inside.sum(axis=1, keepdims=True) > 1, 1 - inside, inside)
    low, high = i + j < steps, i + j < steps - 1
    return np.asarray(np.concatenate([(cells + inside)[low], (cells + 1 - inside)[high]]) / steps)

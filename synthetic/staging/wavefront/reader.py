"""OBJ files with their MTL files, read into parts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.files import ModelFiles
from synthetic.staging.numbers import Ints
from synthetic.staging.polygons import triangulate, with_normals
from synthetic.staging.surface import Material, Part, ReadModel, renumbered
from synthetic.staging.treatment import Treatment
from synthetic.staging.vertex_colors import linear_colors, paint
from synthetic.staging.wavefront.materials import Look, MaterialFiles
from synthetic.staging.wavefront.mtl import AS_IT_IS, decoded
from synthetic.staging.wavefront.statements import ObjText, read_statements

_FARTHEST = (
    1e5  # texture coordinates beyond mean nothing: texels of large pictures no longer fit into 32 bits
)
_MOST_PARTS = 256  # a file of more objects becomes one part


def read_obj(files: ModelFiles, treatment: Treatment) -> ReadModel:
    """The surface of an OBJ file. Raises BrokenModelError."""
    name = files.path.name
    text = read_statements(files.read(files.path), name, files.limits.max_faces)
    notes = text.notes
    if text.corners[:, 0].max(initial=0) >= len(text.positions):
        raise BrokenModelError(
            f"{name} has a face with a corner that is none of its {len(text.positions)} vertices"
        )
    small = int((text.counts < 3).sum())
    if small:
        notes["faces with fewer than 3 corners dropped"] += small
    chosen, face = triangulate(text.positions, text.corners[:, 0], text.counts)
    corners = text.corners.take(chosen, axis=0)
    if not len(corners):
        raise BrokenModelError(f"{name} has no faces")
    numbers, names = text.material.by_face(len(text.counts))
    used, place = renumbered(numbers[face])
    library = MaterialFiles(files, text.libraries, treatment, notes)
    looks = [library.look(names[number]) for number in used.tolist()]
    material: npt.NDArray[np.int32] = place.astype(np.int32)
    uvs = _uvs(text, corners[..., 1], material, looks, treatment, notes)
    materials: list[Material] = [look.material for look in looks]
    colors = None
    if text.colors is not None:
        raw = linear_colors(text.colors)[corners[..., 0]]
        materials, material, colors = paint(materials, material, raw, [look.defined for look in looks], notes)
    normals = with_normals(
        text.positions, corners[..., 0], text.normals, corners[..., 2], _smoothing(text, face)
    )
    whole = Part(text.positions, corners[..., 0], material, uvs, colors, normals)
    return ReadModel(_parts(whole, text, face), tuple(materials), len(text.counts), notes)


def _uvs(
    text: ObjText,
    texcoords: Ints,
    material: npt.NDArray[np.int32],
    looks: list[Look],
    treatment: Treatment,
    notes: Counter[str],
) -> tuple[npt.NDArray[np.float32], ...]:
    """[T,3,2] for as many layers as a material has, moved as its texture statements say."""
    textured = np.array([_has_texture(look.material) for look in looks])
    if not textured.any():
        return ()
    known = (texcoords >= 0) & (texcoords < len(text.texcoords))
    table = np.concatenate([text.texcoords, np.full((1, 2), np.nan)])
    base = table.take(np.where(known, texcoords, len(text.texcoords)), axis=0)
    if not np.isfinite(base).all():
        outside = ~np.isfinite(base).all(axis=-1)
        base[outside] = 0
        lost = outside.any(axis=1) & textured[material]
    else:
        lost = np.zeros(len(base), np.bool_)
    if max(base.max(), -base.min()) > _FARTHEST:  # renderers would show noise, each another one
        far = (np.abs(base) > _FARTHEST).any(axis=(1, 2))
        base[far] = 0
        if (far & textured[material]).any():
            notes["faces with nonsense for texture coordinates"] += int((far & textured[material]).sum())
    if lost.any():
        if treatment.missing_textures == "fail":
            raise BrokenModelError(f"{int(lost.sum())} of its triangles have a texture but no place in it")
        notes["faces without texture coordinates"] += int(lost.sum())
    layers = []
    for number in range(max(len(look.layers) for look in looks)):
        transforms = [look.layers[min(number, len(look.layers) - 1)] for look in looks]
        if set(transforms) == {AS_IT_IS}:
            layers.append(base.astype(np.float32))
            continue
        moves = np.array(transforms)[material]
        moved = base * moves[:, None, :2] + moves[:, None, 2:]
        layers.append(np.clip(moved, -_FARTHEST, _FARTHEST).astype(np.float32))
    return tuple(layers)


def _has_texture(material: Material) -> bool:
    return any(
        texture is not None
        for texture in (
            material.color_texture,
            material.alpha_texture,
            material.emission_texture,
            material.metallic_roughness_texture,
        )
    )


def _smoothing(text: ObjText, face: Ints) -> Ints:
    """[T] smoothing groups of triangles, 0 for none."""
    numbers, names = text.smoothing.by_face(len(text.counts))
    groups = [0 if name.lower() in (b"", b"0", b"off") else place for place, name in enumerate(names)]
    return np.array(groups, np.int64)[numbers[face]]


def _parts(whole: Part, text: ObjText, face: Ints) -> tuple[Part, ...]:
    """A part for every object of the file."""
    numbers, names = text.object.by_face(len(text.counts))
    used, place = renumbered(numbers[face])
    if not 1 < len(used) <= _MOST_PARTS:
        name = decoded(names[used[0]]) if len(used) == 1 else ""
        return (_part(whole, slice(None), name),)
    order = np.argsort(place, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(place))[:-1])
    return tuple(
        _part(whole, those, decoded(names[number])) for those, number in zip(groups, used, strict=True)
    )


def _part(whole: Part, those: Ints | slice, name: str) -> Part:
    """Some triangles, with the positions that they use."""
    corners = whole.triangles[those]
    low, high = int(corners.min()), int(corners.max()) + 1
    positions = whole.positions[low:high]
    corners = corners - low
    if len(positions) > 2 * corners.size:  # positions of other objects lie between
        used, corners = np.unique(corners, return_inverse=True)
        positions, corners = positions[used], corners.reshape(-1, 3)
    return Part(
        positions,
        corners,
        whole.material[those],
        tuple(layer[those] for layer in whole.uvs),
        None if whole.colors is None else whole.colors[those],
        None if whole.normals is None else whole.normals[those],
        object=name,
    )

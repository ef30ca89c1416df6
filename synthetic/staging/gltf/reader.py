"""glTF files read: the triangles that the default scene shows, moved to the scene, with their materials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.files import ModelFiles
from synthetic.staging.gltf.document import Document, parse, refuse_meshopt, split_glb
from synthetic.staging.gltf.fields import any_numbers, entries, extension, texts
from synthetic.staging.gltf.materials import Materials
from synthetic.staging.gltf.nodes import Drawing, SceneGraph, spacing, stretches
from synthetic.staging.gltf.pose import Posed, bend, place
from synthetic.staging.gltf.primitives import Primitive, count_triangles, note_left_out, read_primitive
from synthetic.staging.surface import Floats, Part, ReadModel, face_normals
from synthetic.staging.treatment import Treatment

_DONE = {  # extensions that change where a surface lies or how it is stored
    "EXT_mesh_gpu_instancing",
    "EXT_texture_webp",
    "EXT_texture_avif",
    "KHR_draco_mesh_compression",
    "KHR_mesh_quantization",
    "KHR_node_visibility",
    "KHR_texture_transform",
    "MSFT_texture_dds",
}
_HARMLESS = ("KHR_materials_", "KHR_lights_", "KHR_xmp", "KHR_animation", "KHR_audio", "EXT_lights_")
_BY_TEXTURE = "KHR_texture_basisu"  # each texture says what becomes of it


def read_glb(files: ModelFiles, treatment: Treatment) -> ReadModel:
    """What a .glb shows. Raises BrokenModelError."""
    content = files.read(files.path)
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":  # a .gltf by another name
        return read_gltf(files, treatment)
    text, binary = split_glb(content, files.path.name)
    return _read(Document(files, treatment, parse(text, files.path.name), binary))


def read_gltf(files: ModelFiles, treatment: Treatment) -> ReadModel:
    """What a .gltf shows, with the buffers and pictures that it names. Raises BrokenModelError."""
    content = files.read(files.path)
    if content[:4] == b"glTF":  # a .glb by another name
        return read_glb(files, treatment)
    return _read(Document(files, treatment, parse(content, files.path.name), None))


def _read(document: Document) -> ReadModel:
    _check_extensions(document)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found out when all is read
        return _read_scene(document)


def _read_scene(document: Document) -> ReadModel:
    drawings = SceneGraph(document).drawings()
    faces = _count_faces(document, drawings)
    if not faces:
        where = " in its default scene" if document.every("meshes") else ""
        raise BrokenModelError(f"{document.files.path.name} has no faces{where}")
    materials = Materials(document)
    parts: list[Part] = []
    by_mesh: dict[int, list[Drawing]] = {}
    for drawing in drawings:
        by_mesh.setdefault(drawing.mesh, []).append(drawing)
    for mesh, shown in by_mesh.items():
        weights = any_numbers(document.at("meshes", mesh), "weights") or ()
        for stored in _shown_primitives(document, mesh):
            for drawing in shown:
                chosen = weights if drawing.weights is None else drawing.weights
                parts.append(_part(stored, drawing, chosen, materials))
    variants = (extension(document.json, "KHR_materials_variants") or {}).get("variants")
    document.notes["material variants ignored"] += len(variants) if isinstance(variants, list) else 0
    return ReadModel(tuple(parts), materials.made, faces, +document.notes)


def _check_extensions(document: Document) -> None:
    required = texts(document.json, "extensionsRequired")
    refuse_meshopt(required)
    unknown = [
        name
        for name in required
        if name not in _DONE and name != _BY_TEXTURE and not name.startswith(_HARMLESS)
    ]
    if unknown:
        names = ", ".join(name[:60] for name in unknown[:3])
        raise BrokenModelError(
            f"it requires the glTF extension {names}, which is not supported: export it again without"
        )


def _count_faces(document: Document, drawings: Sequence[Drawing]) -> int:
    """The triangles that the scene shows, nothing being read. Raises BrokenModelError where they are too many."""
    claimed: dict[int, int] = {}
    faces, most = 0, document.files.limits.max_faces
    for drawing in drawings:
        if drawing.mesh not in claimed:
            mesh = entries(document.at("meshes", drawing.mesh), "primitives")
            claimed[drawing.mesh] = sum(count_triangles(document, primitive) for primitive in mesh)
            for primitive in mesh:
                note_left_out(document, primitive)
        faces += claimed[drawing.mesh] * len(drawing.matrices)
    if faces > most:
        raise BrokenModelError(f"{document.files.path.name} has {faces} faces, more than the {most} allowed")
    return faces


def _shown_primitives(document: Document, mesh: int) -> Iterator[Primitive]:
    for primitive in entries(document.at("meshes", mesh), "primitives"):
        if count_triangles(document, primitive):
            yield read_primitive(document, primitive)


def _part(stored: Primitive, drawing: Drawing, weights: Sequence[float], materials: Materials) -> Part:
    """A primitive as a node shows it."""
    positions = stored.values("POSITION", weights)
    if positions is None:
        raise BrokenModelError("its glTF has a primitive without positions")
    normals = stored.values("NORMAL", weights)
    influences = None if drawing.skin is None else stored.influences()
    step = spacing(positions) if stored.columns["POSITION"].is_float else 0.0
    if drawing.skin is None or influences is None:
        posed = place(drawing.matrices, positions, normals)
        step *= float(stretches(drawing.matrices).max(initial=0.0))
    else:  # the node's own matrix is of no account then (glTF §3.7.3.3)
        posed = bend(drawing.skin, *influences, positions, normals)
        step = step * float(stretches(drawing.skin.matrices).max()) + drawing.skin.step
    triangles = _wound(stored.triangles, posed.mirrored)
    copies = len(triangles)
    material, uvs = materials.use(stored, weights)
    colors = stored.colors(weights)
    flat = (triangles + len(positions) * np.arange(copies)[:, None, None]).reshape(-1, 3)
    placed = posed.positions.reshape(-1, 3)
    by_corner = triangles.reshape(-1, 3)
    return Part(
        placed,
        flat,
        np.full(len(flat), material, np.int32),
        tuple(layer[by_corner] for layer in uvs),
        None if colors is None else colors[by_corner],
        None if posed.normals is None else _unit_normals(posed, placed, flat),
        step,
        drawing.name[:200],
    )


def _wound(triangles: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """[N,F,3]: triangles whose outer side is kept where N placements mirror most of their corners."""
    if not mirrored.any():
        return np.broadcast_to(triangles, (len(mirrored), *triangles.shape))
    turned = mirrored[:, triangles].sum(axis=2) > 1
    return np.where(turned[..., None], triangles[:, [0, 2, 1]], triangles)


def _unit_normals(
    posed: Posed, positions: Floats, triangles: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """[F,3,3] of unit length; the face's own where a file gives none that can be used."""
    if posed.normals is None:
        raise ValueError("expected normals")
    normals = posed.normals.reshape(-1, 3)
    size = np.abs(normals).max(axis=1, keepdims=True, initial=0.0)
    normals = np.divide(normals, size, out=np.zeros_like(normals), where=size > 0)
    length = np.sqrt(np.einsum("vi,vi->v", normals, normals))[:, None]
    usable = np.isfinite(length) & (length > 0)
    normals = np.divide(normals, length, out=np.zeros_like(normals), where=usable).astype(np.float32)
    corners: npt.NDArray[np.float32] = normals[triangles]
    if not usable.all():
        faces = (~usable[triangles, 0]).any(axis=1)
        flat = face_normals(positions, triangles[faces])[:, None]
        corners[faces] = np.where(usable[triangles[faces]], corners[faces], flat)
    return corners

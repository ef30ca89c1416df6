"""PLY files read into parts: the properties that programs use for positions, colours, normals and textures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.files import ModelFiles, shown_name
from synthetic.staging.numbers import Ints, check_positions
from synthetic.staging.ply.elements import Element, PlyFile, read_header, read_rows
from synthetic.staging.polygons import triangulate, with_normals
from synthetic.staging.surface import Floats, Material, Part, ReadModel, Texture
from synthetic.staging.treatment import Treatment
from synthetic.staging.vertex_colors import linear_colors, paint

_COLORS = (
    ("red", "green", "blue", "alpha"),
    ("diffuse_red", "diffuse_green", "diffuse_blue", "diffuse_alpha"),
    ("r", "g", "b", "a"),
)
_COORDINATES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"), ("tx", "ty"))
_CORNERS = ("vertex_indices", "vertex_index")
_KNOWN = ("vertex", "face", "tristrips", "material")
_TEXTURE_COMMENT = "texturefile"


@dataclass
class _Polygons:
    """`corners` [C] number the vertices of all polygons one after the other, of which each has as many as `counts` [F]
    says; `rows` [F] of the element face, -1 where they come from strips.
    """

    corners: Ints
    counts: Ints
    rows: Ints


def read_ply(files: ModelFiles, treatment: Treatment) -> ReadModel:
    """The surface of a PLY file. Raises BrokenModelError."""
    content, name = files.read(files.path).removeprefix(b"\xef\xbb\xbf"), files.path.name
    file, order, start = read_header(content, name)
    _check_claims(file, len(content), files.limits.max_faces, name)
    read_rows(file, content, order, start, name)
    vertex = file.elements["vertex"]
    positions = _table(vertex, ("x", "y", "z"))
    if positions is None:
        raise BrokenModelError(f"{name} has vertices without x, y and z")
    check_positions(positions, name)
    polygons = _polygons(file, files.limits.max_faces, name)
    if len(polygons.corners) and not 0 <= polygons.corners.min() <= polygons.corners.max() < len(positions):
        raise BrokenModelError(
            f"{name} has a face with a corner that is none of its {len(positions)} vertices"
        )
    notes: Counter[str] = Counter()
    small = int((polygons.counts < 3).sum())
    if small:
        notes["faces with fewer than 3 corners dropped"] += small
    for other in file.elements.values():
        if other.name not in _KNOWN and other.count:
            notes["elements other than vertices and faces ignored"] += other.count
    chosen, polygon = triangulate(positions, polygons.corners, polygons.counts)
    triangles = polygons.corners[chosen]
    materials, material, uvs = _textures(file, polygons, chosen, polygon, files, treatment, notes)
    colors = _corner_colors(file, triangles, polygons.rows[polygon], notes)
    painted = None
    if colors is not None:
        named = [False] * len(materials)
        materials, material, painted = paint(materials, material, colors, named, notes)
    normals = _table(vertex, ("nx", "ny", "nz"))
    part = Part(
        positions,
        triangles,
        material,
        () if uvs is None else (uvs,),
        painted,
        None if normals is None else with_normals(positions, triangles, normals, triangles),
        0.0
        if file.text or vertex.type_of("x") != "f4"
        else float(np.spacing(np.float32(np.abs(positions).max()))),
    )
    return ReadModel((part,), tuple(materials), len(polygons.counts), notes)


def _check_claims(file: PlyFile, length: int, max_faces: int, name: str) -> None:
    counts = {kind: element.count for kind, element in file.elements.items()}
    vertices, faces = counts.get("vertex", 0), counts.get("face", 0)
    if not vertices or not (faces or counts.get("tristrips")):
        raise BrokenModelError(
            f"{name} is no PLY file of a surface: it has {vertices} vertices and {faces} faces"
        )
    if max(vertices, faces) > length:  # each takes more than a byte
        raise BrokenModelError(f"{name} claims {vertices} vertices and {faces} faces in {length} bytes")
    if faces > max_faces:
        raise BrokenModelError(f"{name} has {faces} faces, more than the {max_faces} allowed")


def _table(element: Element, names: Sequence[str]) -> Floats | None:
    """[N,K] scalars of an element, None where one is missing."""
    if not all(name in element.scalars for name in names):
        return None
    return np.stack([element.scalars[name].astype(np.float64) for name in names], axis=1)


def _whole(values: npt.NDArray[np.generic], name: str) -> Ints:
    """Numbers that have to be whole, which a text file may have written otherwise."""
    numbers = values.astype(np.float64)
    if not (np.abs(numbers) < 2**53).all() or (numbers != np.floor(numbers)).any():
        raise BrokenModelError(f"{name} has a face whose corners are no whole numbers")
    return numbers.astype(np.int64)


def _indices(values: npt.NDArray[np.generic]) -> Ints:
    """Numbers that should be whole, -1 for others."""
    numbers = values.astype(np.float64)
    return np.where((numbers >= 0) & (numbers < 2**31), numbers, -1).astype(np.int64)


def _polygons(file: PlyFile, max_faces: int, name: str) -> _Polygons:
    corners, counts, rows = list[Ints](), list[Ints](), list[Ints]()
    face = file.elements.get("face")
    if face is not None and face.count:
        key = next((key for key in _CORNERS if key in face.lists), None)
        if key is None:
            raise BrokenModelError(f"{name} has faces without {_CORNERS[0]}")
        corners.append(_whole(face.lists[key][1], name))
        counts.append(face.lists[key][0])
        rows.append(np.arange(face.count))
    strips = file.elements.get("tristrips")
    key = next((key for key in _CORNERS if strips is not None and key in strips.lists), None)
    if strips is not None and key is not None:
        lengths, values = strips.lists[key]
        made = _strip_triangles(_whole(values, name), lengths)
        corners.append(made.ravel())
        counts.append(np.full(len(made), 3))
        rows.append(np.full(len(made), -1))
    polygons = _Polygons(
        np.concatenate([*corners, np.empty(0, np.int64)]),
        np.concatenate([*counts, np.empty(0, np.int64)]),
        np.concatenate([*rows, np.empty(0, np.int64)]),
    )
    if not (polygons.counts >= 3).any():
        raise BrokenModelError(f"{name} has no faces")
    if len(polygons.counts) > max_faces:
        raise BrokenModelError(f"{name} has {len(polygons.counts)} faces, more than the {max_faces} allowed")
    return polygons


def _strip_triangles(values: Ints, lengths: Ints) -> Ints:
    """[T,3] triangles of strips, which end where a list does and at every -1; every other one is turned round."""
    place = np.arange(len(values))
    begins = np.zeros(len(values), np.int64)
    starts = np.cumsum(lengths) - lengths
    begins[starts[lengths > 0]] = starts[lengths > 0]
    after = np.flatnonzero(values[:-1] < 0) + 1
    begins[after] = after
    start = np.maximum.accumulate(begins) if len(begins) else begins
    third = np.flatnonzero((place - start >= 2) & (values >= 0))
    one, two, three = values[third - 2], values[third - 1], values[third]
    odd = (third - start[third]) % 2 == 1
    triangles = np.stack([np.where(odd, two, one), np.where(odd, one, two), three], axis=1)
    different = (one != two) & (two != three) & (one != three)
    return np.asarray(triangles[different], np.int64)


def _textures(
    file: PlyFile,
    polygons: _Polygons,
    chosen: Ints,
    polygon: Ints,
    files: ModelFiles,
    treatment: Treatment,
    notes: Counter[str],
) -> tuple[list[Material], npt.NDArray[np.int32], npt.NDArray[np.float32] | None]:
    """A plain material and one for every picture, [T] numbers into them, and [T,3,2] places in the pictures."""
    names = [
        comment[len(_TEXTURE_COMMENT) :].strip()
        for comment in file.comments
        if comment.lower().startswith(_TEXTURE_COMMENT)
    ]
    plain, material = Material(""), np.zeros(len(chosen), np.int32)
    if not names:
        return [plain], material, None
    uvs, texture = _coordinates(file, polygons, chosen, polygon)
    if uvs is None:
        _promise(
            treatment, notes, "it names a texture but no places in it", "textures without coordinates ignored"
        )
        return [plain], material, None
    inside = np.isfinite(uvs).all(axis=(1, 2)) & (texture >= 0) & (texture < len(names))
    materials = [plain]
    for number in np.unique(texture[inside]).tolist():
        try:
            path = files.find_texture(files.path.parent, names[number])
            picture = files.stage_texture(files.read(path), f"its texture {shown_name(path)}")
        except BrokenModelError as error:
            _promise(treatment, notes, str(error), "missing textures replaced by the plain colour")
            continue
        material[inside & (texture == number)] = len(materials)
        materials.append(Material(names[number], (1.0, 1.0, 1.0), Texture(picture)))
    return materials, material, np.clip(np.where(np.isfinite(uvs), uvs, 0), -1e9, 1e9).astype(np.float32)


def _promise(treatment: Treatment, notes: Counter[str], reason: str, phrase: str) -> None:
    if treatment.missing_textures == "fail":
        raise BrokenModelError(reason) from None
    notes[phrase] += 1


def _coordinates(
    file: PlyFile, polygons: _Polygons, chosen: Ints, polygon: Ints
) -> tuple[Floats | None, Ints]:
    """[T,3,2] places in the pictures, NaN where there is none, and [T] which picture."""
    face, number = file.elements.get("face"), np.asarray(np.zeros(len(chosen), np.int64))
    rows = polygons.rows[polygon]
    if face is not None and "texnumber" in face.scalars:
        number = np.asarray(np.where(rows >= 0, _indices(face.scalars["texnumber"])[rows], -1))
    if face is not None and "texcoord" in face.lists:
        lengths, values = face.lists["texcoord"]
        first = np.cumsum(polygons.counts) - polygons.counts
        corner = chosen - first[polygon][:, None]
        begin = (np.cumsum(lengths) - lengths)[rows]
        whole = (rows >= 0) & (lengths[rows] == 2 * polygons.counts[polygon])
        place = np.where(whole[:, None], begin[:, None] + 2 * corner, 0)
        padded = np.append(values.astype(np.float64), [np.nan, np.nan])
        uvs = np.stack([padded[place], padded[place + 1]], axis=-1)
        return np.where(whole[:, None, None], uvs, np.nan), number
    for names in _COORDINATES:
        table = _table(file.elements["vertex"], names)
        if table is not None:
            return table[polygons.corners[chosen]], number
    return None, number


def _corner_colors(file: PlyFile, triangles: Ints, rows: Ints, notes: Counter[str]) -> Floats | None:
    """[T,3,4] linear colours: of the vertices or, where these have none or but one, of the faces."""
    vertex, face = file.elements["vertex"], file.elements.get("face")
    of_vertices = _colors(vertex)
    of_faces = _colors(face) if face is not None else None
    listed = file.elements.get("material")
    if of_faces is None and face is not None and listed is not None and "material_index" in face.scalars:
        table, index = _colors(listed), _indices(face.scalars["material_index"])
        if table is not None and len(table) and ((index >= 0) & (index < len(table))).all():
            of_faces = table[index]
    if of_faces is not None and (of_vertices is None or (of_vertices == of_vertices[:1]).all()):
        colors = np.where((rows >= 0)[:, None], of_faces[rows], np.nan)
        return np.repeat(colors[:, None], 3, axis=1)
    if of_faces is not None and (of_faces != of_faces[:1]).any():
        notes["face colours beside vertex colours ignored"] += len(of_faces)
    return None if of_vertices is None else _without_blanks(of_vertices[triangles], notes)


def _without_blanks(colors: Floats, notes: Counter[str]) -> Floats:
    """Colours [T,3,4] without those of triangles that are black and wholly transparent beside others that are not.

    Blender writes such where an object of several has no colours
    (findings/bpy_ply_export_makes_uncoloured_objects_transparent.sh).
    """
    blank = (colors == 0).all(axis=(1, 2))
    if blank.all() or not blank.any():
        return colors
    notes["faces of black with alpha 0 taken for uncoloured"] += int(blank.sum())
    return np.where(blank[:, None, None], np.nan, colors)


def _colors(element: Element) -> Floats | None:
    """[N,4] linear colours of the rows of an element, None where it has none."""
    for names in _COLORS:
        count = 4 if names[3] in element.scalars else 3
        table = _table(element, names[:count])
        if table is not None:
            kind = element.type_of(names[0])
            return linear_colors(table, bytes_only=kind in ("u1", "i1"))
    return None

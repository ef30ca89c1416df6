"""PLY files of others in the form that trimesh 5.2.0 reads.

It takes all rows of a binary element for as long as the first, so that files of triangles among quads, which Blender
writes, are "of unexpected length" (findings/trimesh_refuses_binary_ply_of_mixed_faces.sh), though it reads the same as
text; it leaves out the colours of vertices that have texture coordinates, with a texture or without; and it joins the
corners of any polygon to its first, without giving the polygon's colour to all triangles that it becomes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from gp3d_core.meshing.files.plain.ply_rows import (
    Element,
    Rows,
    are_alike,
    as_text,
    byte_order,
    elements_of,
    first_row,
    read_rows,
)
from gp3d_core.meshing.files.plain.polygons import cut_up

_END = re.compile(rb"^end_header[ \t]*\r?\n", re.MULTILINE)
_TEXTURE = re.compile(rb"^comment\s+texturefile\b", re.MULTILINE | re.IGNORECASE)
_COORDINATES = re.compile(rb"^(property[ \t].*[ \t])(s|t|u|v|texture_u|texture_v|texcoord)\b", re.MULTILINE)
_CORNERS = ("vertex_indices", "vertex_index")


def plain_ply(content: bytes) -> bytes:
    """The content of a PLY file with the same surface and look: as text where rows of an element differ in length, with
    triangles where polygons are not convex or have more than their corners, and without texture coordinates where no
    texture is named. What is no PLY file stays as it is.

    Raises ValueError if it ends before its last row, KeyError for an unknown type, MeshError for polygons that are too
    intricate to be cut up.
    """
    end = _END.search(content)
    if end is None:
        return content
    head, data = content[: end.start()], content[end.end() :]
    if _TEXTURE.search(head) is None:
        head = _COORDINATES.sub(rb"\1not_\2", head)
    elements, order = elements_of(head), byte_order(head)
    mixed = order is not None and not are_alike(data, elements, order)
    if not mixed and not _may_have_polygons(data, elements, order):
        return head + end[0] + data
    rows = read_rows(data, elements, order)
    triangles = _triangles(elements, rows)
    if triangles is None:
        return as_text(head, rows) if mixed else head + end[0] + data
    return as_text(head, rows | {"face": triangles})


def _may_have_polygons(data: bytes, elements: list[Element], order: str | None) -> bool:
    """Whether a face may have more than three corners: False for sure, by the first row or the first byte of each."""
    face, corners = _faces(elements)
    if face is None:
        return False
    if order is not None:
        row = first_row(data, elements, order, "face")
        return bool(row) and len(face.split(row)[corners]) > 3
    start = sum(element.count for element in elements[: elements.index(face)])
    lines = data.splitlines()[start : start + face.count]
    return face.properties[0].name != corners or not all(line.startswith(b"3 ") for line in lines)


def _faces(elements: list[Element]) -> tuple[Element | None, str]:
    """The element that holds faces, if there is one, and the name of its list of corners."""
    for element in elements:
        for own in element.properties:
            if element.name == "face" and own.name in _CORNERS and own.length is not None:
                return element, own.name
    return None, ""


def _triangles(elements: list[Element], rows: Rows) -> list[list[str]] | None:
    """The rows of triangles in place of all faces; None where trimesh makes the same of these.

    A polygon's properties are those of all its triangles; lists of two numbers for each of its corners, which are
    texture coordinates, have those of the triangle's.
    """
    (face, corners), vertex = (
        _faces(elements),
        next((some for some in elements if some.name == "vertex"), None),
    )
    if face is None or vertex is None or not {"x", "y", "z"} <= {own.name for own in vertex.properties}:
        return None
    faces = [face.split(row) for row in rows["face"]]
    polygons = [[int(word) for word in own[corners]] for own in faces]
    if max(map(len, polygons), default=0) <= 3:
        return None
    whole = [
        number for number, own in enumerate(polygons) if own and min(own) >= 0 and max(own) < vertex.count
    ]
    places = (vertex.split(row) for row in rows["vertex"])
    positions = np.array([[place[axis][0] for axis in "xyz"] for place in places], np.float64)
    found = cut_up(positions, [polygons[number] for number in whole])
    if not found and len(face.properties) == 1:
        return None
    cut = {whole[number]: triangles.tolist() for number, triangles in found.items()}
    made: list[list[str]] = []
    for number, own in enumerate(faces):
        many = len(polygons[number])
        fan = ([0, k, k + 1] for k in range(1, many - 1))
        made += [_row(face, own, triangle, many) for triangle in cut.get(number, fan)]
    return made


def _row(face: Element, own: dict[str, Sequence[str]], triangle: Iterable[int], many: int) -> list[str]:
    """The row of a triangle between these corners of a polygon of so `many`, whose words by property are `own`."""
    words: list[str] = []
    for kind in face.properties:
        values = list(own[kind.name])
        if kind.length is not None:
            each = 1 if kind.name in _CORNERS else 2 if len(values) == 2 * many else 0
            if each:
                values = [values[each * corner + k] for corner in triangle for k in range(each)]
            words.append(str(len(values)))
        words += values
    return words

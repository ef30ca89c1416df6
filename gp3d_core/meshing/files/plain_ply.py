"""PLY files of others in the form that trimesh 5.2.0 reads.

It takes all rows of a binary element for as long as the first, so that files of triangles among quads, which Blender
writes, are "of unexpected length" (findings/trimesh_refuses_binary_ply_of_mixed_faces.sh), though it reads the same as
text; and it leaves out the colours of vertices that have texture coordinates, with a texture or without.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np

_KINDS = {
    word: kind
    for kind, words in {
        "b": "char int8",
        "B": "uchar uint8",
        "h": "short int16",
        "H": "ushort uint16",
        "i": "int int32",
        "I": "uint uint32",
        "f": "float float32",
        "d": "double float64",
    }.items()
    for word in words.split()
}
_END = re.compile(rb"^end_header[ \t]*\r?\n", re.MULTILINE)
_TEXTURE = re.compile(rb"^comment\s+texturefile\b", re.MULTILINE | re.IGNORECASE)
_COORDINATES = re.compile(rb"^(property[ \t].*[ \t])(s|t|u|v|texture_u|texture_v|texcoord)\b", re.MULTILINE)


@dataclass(frozen=True)
class _Element:
    """`count` rows; of each property the type as struct has it, and that of the length before it if it is a list."""

    name: str
    count: int
    properties: list[tuple[str, str | None]]


def plain_ply(content: bytes) -> bytes:
    """The content of a PLY file with the same surface and look: as text where rows of an element differ in length, and
    without texture coordinates where no texture is named. What is no PLY file stays as it is.

    Raises ValueError if a binary file ends before its last row, KeyError for an unknown type.
    """
    end = _END.search(content)
    if end is None:
        return content
    head, data = content[: end.start()], content[end.end() :]
    if _TEXTURE.search(head) is None:
        head = _COORDINATES.sub(rb"\1not_\2", head)
    form = re.search(rb"^format[ \t]+binary_(little|big)_endian\b", head, re.MULTILINE)
    if form is not None:
        order = "<" if form[1] == b"little" else ">"
        elements = _elements(head.decode("latin-1").splitlines())
        if not _alike(data, elements, order):
            head = head.replace(form[0], b"format ascii", 1)
            return head + b"end_header\n" + _text(data, elements, order)
    return head + end[0] + data


def _elements(lines: list[str]) -> list[_Element]:
    elements: list[_Element] = []
    for words in map(str.split, lines):
        if words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2]), []))
        elif words[:2] == ["property", "list"]:
            elements[-1].properties.append((_KINDS[words[3]], _KINDS[words[2]]))
        elif words[:1] == ["property"]:
            elements[-1].properties.append((_KINDS[words[1]], None))
    return elements


def _alike(data: bytes, elements: list[_Element], order: str) -> bool:
    """Whether every element's lists are as long in all rows as in the first."""
    at = 0
    for element in (some for some in elements if some.count and some.properties):
        _, size, lengths = _row(data, at, element, order)
        if at + element.count * size > len(data):
            return False
        rows = np.frombuffer(data, np.uint8, element.count * size, at).reshape(element.count, size)
        for start, stop in lengths:
            if (rows[:, start:stop] != rows[0, start:stop]).any():
                return False
        at += element.count * size
    return True


def _text(data: bytes, elements: list[_Element], order: str) -> bytes:
    lines, at = list[str](), 0
    for element in (some for some in elements if some.properties):
        for _ in range(element.count):
            values, size, _ = _row(data, at, element, order)
            lines.append(" ".join(map(repr, values)))
            at += size
    return ("\n".join(lines) + "\n").encode()


def _row(
    data: bytes, at: int, element: _Element, order: str
) -> tuple[list[int | float], int, list[tuple[int, int]]]:
    """The numbers of the row at that byte, its size, and where in it the lengths of its lists stand."""
    values, lengths, place = list[int | float](), list[tuple[int, int]](), at
    try:
        for kind, length in element.properties:
            many = 1
            if length is not None:
                [many] = struct.unpack_from(order + length, data, place)
                wide = struct.calcsize(order + length)
                lengths.append((place - at, place - at + wide))
                values.append(many)
                place += wide
            values += struct.unpack_from(f"{order}{many}{kind}", data, place)
            place += many * struct.calcsize(order + kind)
    except struct.error:
        raise ValueError(f"it ends amid its element {element.name}") from None
    return values, place - at, lengths

"""The rows of PLY files, text or binary, as words."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Rows = dict[str, list[list[str]]]  # of each element, its rows in words

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
_FORM = re.compile(rb"^format[ \t]+(ascii|binary_(little|big)_endian)\b", re.MULTILINE)


@dataclass(frozen=True)
class Property:
    """A column: its type as struct has it, and that of the length before it if it is a list."""

    name: str
    kind: str
    length: str | None = None


@dataclass(frozen=True)
class Element:
    """`count` rows of properties."""

    name: str
    count: int
    properties: list[Property]

    def split(self, row: Sequence[str]) -> dict[str, Sequence[str]]:
        """The words of a row by property, without the lengths of lists. Raises ValueError if it ends too early."""
        found, place = dict[str, Sequence[str]](), 0
        for own in self.properties:
            many = 1 if own.length is None else int(row[place])
            place += own.length is not None
            found[own.name] = row[place : place + many]
            place += many
        if place > len(row):
            raise _cut_off(self)
        return found


def elements_of(head: bytes) -> list[Element]:
    """The elements that the head of a file announces. Raises KeyError for an unknown type."""
    elements: list[Element] = []
    for words in map(str.split, head.decode("latin-1").splitlines()):
        if words[:1] == ["element"]:
            elements.append(Element(words[1], int(words[2]), []))
        elif words[:2] == ["property", "list"]:
            elements[-1].properties.append(Property(words[4], _KINDS[words[3]], _KINDS[words[2]]))
        elif words[:1] == ["property"]:
            elements[-1].properties.append(Property(words[2], _KINDS[words[1]]))
    return [element for element in elements if element.properties]


def byte_order(head: bytes) -> str | None:
    """The order of bytes as struct has it, None for a file of text. Raises ValueError for another format."""
    form = _FORM.search(head)
    if form is None:
        raise ValueError("its head names no format")
    return {b"little": "<", b"big": ">"}.get(form[2])


def as_text(head: bytes, rows: Rows) -> bytes:
    """A file of text with those rows, as many as they are now."""
    head = _FORM.sub(b"format ascii", head, count=1)
    for name, own in rows.items():
        counted = rb"^(element[ \t]+%b[ \t]+)\d+" % re.escape(name.encode("latin-1"))
        head = re.sub(counted, rb"\g<1>%d" % len(own), head, count=1, flags=re.MULTILINE)
    lines = (" ".join(row) for own in rows.values() for row in own)
    return head + b"end_header\n" + ("\n".join(lines) + "\n").encode("latin-1")


def read_rows(data: bytes, elements: list[Element], order: str | None) -> Rows:
    """All rows behind the head. Raises ValueError if the data end before the last one."""
    rows: Rows = {}
    if order is None:
        lines = iter([words for words in map(str.split, data.decode("latin-1").splitlines()) if words])
        for element in elements:
            rows[element.name] = [words for _, words in zip(range(element.count), lines, strict=False)]
            if len(rows[element.name]) < element.count:
                raise _cut_off(element)
        return rows
    at = 0
    for element in elements:
        rows[element.name] = []
        for _ in range(element.count):
            values, size, _ = _row(data, at, element, order)
            rows[element.name].append(list(map(repr, values)))
            at += size
    return rows


def are_alike(data: bytes, elements: list[Element], order: str) -> bool:
    """Whether the lists of every element of a binary file are as long in all rows as in the first."""
    at = 0
    for element in (some for some in elements if some.count):
        _, size, lengths = _row(data, at, element, order)
        if at + element.count * size > len(data):
            return False
        rows = np.frombuffer(data, np.uint8, element.count * size, at).reshape(element.count, size)
        for start, stop in lengths:
            if (rows[:, start:stop] != rows[0, start:stop]).any():
                return False
        at += element.count * size
    return True


def first_row(data: bytes, elements: list[Element], order: str, name: str) -> list[str]:
    """The first row of an element of a binary file whose rows are alike; none if it has none."""
    at = 0
    for element in (some for some in elements if some.count):
        values, size, _ = _row(data, at, element, order)
        if element.name == name:
            return list(map(repr, values))
        at += element.count * size
    return []


def _row(
    data: bytes, at: int, element: Element, order: str
) -> tuple[list[int | float], int, list[tuple[int, int]]]:
    """The numbers of the row at that byte, its size, and where in it the lengths of its lists stand."""
    values, lengths, place = list[int | float](), list[tuple[int, int]](), at
    try:
        for own in element.properties:
            many = 1
            if own.length is not None:
                [many] = struct.unpack_from(order + own.length, data, place)
                wide = struct.calcsize(order + own.length)
                lengths.append((place - at, place - at + wide))
                values.append(many)
                place += wide
            values += struct.unpack_from(f"{order}{many}{own.kind}", data, place)
            place += many * struct.calcsize(order + own.kind)
    except struct.error:
        raise _cut_off(element) from None
    return values, place - at, lengths


def _cut_off(element: Element) -> ValueError:
    return ValueError(f"it ends amid its element {element.name}")

"""The elements of a PLY file as arrays, in text or binary of either byte order.

Nothing is allocated for what a header claims before the file has been found to be long enough for it, lists included.
(The usual library takes 10 to 20 µs a row where lists differ in length or the file is text, minutes for a large model.)
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.numbers import Ints, converted, runs

Values = npt.NDArray[Any]

_HEADER_BYTES, _MOST_ELEMENTS = 2**20, 1000
_CHUNK = 4 * 2**20
_END = re.compile(rb"[\r\n][ \t]*(end_header)")
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}


@dataclass(frozen=True)
class Property:
    """A column of an element: the types, as NumPy names them, of its values and, for lists, of their lengths."""

    name: str
    type: str
    length_type: str = ""


@dataclass
class Element:
    """What a header says of an element, and its rows.

    `scalars` [N] by lower-case name of the property, `lists` (lengths [N], all values one after the other).
    """

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)
    scalars: dict[str, Values] = field(default_factory=dict)
    lists: dict[str, tuple[Ints, Values]] = field(default_factory=dict)

    def type_of(self, name: str) -> str:
        """The type of a property that is there, as NumPy names it."""
        return next(item.type for item in self.properties if item.name == name)


@dataclass(frozen=True)
class PlyFile:
    """Elements by name, the comments of the header, and whether the numbers are text."""

    elements: Mapping[str, Element]
    comments: list[str]
    text: bool


def read_header(content: bytes, name: str) -> tuple[PlyFile, str, int]:
    """What the header says, without any rows; the byte order ("" for text), and where the rows begin."""
    start = content[:_HEADER_BYTES]
    end = _END.search(start)
    head, found, rest = (start[: end.start(1)], end[1], start[end.end() :]) if end else (start, b"", b"")
    lines = head.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[0].strip() != "ply" or not found:
        raise BrokenModelError(f"{name} is no PLY file")
    ending = rest[: len(rest) - len(rest.lstrip(b" \t"))]
    rest = rest[len(ending) :]
    line_break = b"\r\n" if rest.startswith(b"\r\n") else rest[:1]
    elements: dict[str, Element] = {}
    comments: list[str] = []
    order = None
    for line in lines[1:]:
        words = line.split()
        if words[:1] == ["comment"]:
            comments.append(line.strip()[len("comment") :].strip())
        elif words[:1] == ["format"] and len(words) > 1:
            order = _FORMATS.get(words[1])
        elif words[:1] == ["element"] and len(words) == 3 and words[2].isdecimal() and len(words[2]) < 16:
            kind = words[1].lower()
            if kind in elements or len(elements) == _MOST_ELEMENTS:
                raise BrokenModelError(f"{name} has a header that names an element twice, or too many")
            elements[kind] = Element(kind, int(words[2]))
        elif words[:1] == ["property"] and elements:
            list(elements.values())[-1].properties.append(_property(words, name))
        elif words and words[0] != "obj_info":
            raise BrokenModelError(f"{name} has a header with the line {line.strip()[:60]!r}")
    if order is None:
        raise BrokenModelError(f"{name} has a header that names no known format")
    body = len(head) + len(found) + len(ending) + len(line_break)
    return PlyFile(elements, comments, order == ""), order, body


def read_rows(file: PlyFile, content: bytes, order: str, start: int, name: str) -> None:
    """Fills the elements of a file. Raises BrokenModelError where it is too short for what its header claims."""
    source = _Text(content, start, name) if file.text else _Binary(content, start, order, name)
    for element in file.elements.values():
        if element.properties:
            source.read(element)


def _property(words: list[str], name: str) -> Property:
    lengthy = words[1:2] == ["list"]
    types, names = (words[2:4], words[4:]) if lengthy else (words[1:2], words[2:])
    if len(names) != 1 or not all(kind in _TYPES for kind in types) or len(types) != (2 if lengthy else 1):
        raise BrokenModelError(f"{name} has a header with the line {' '.join(words)[:60]!r}")
    return Property(names[0].lower(), _TYPES[types[-1]], _TYPES[types[0]] if lengthy else "")


class _Source(ABC):
    """Rows, one after the other; places are counted in bytes, or in numbers where they are text."""

    def __init__(self, start: int, length: int, name: str) -> None:
        self._place, self._length, self._name = start, length, name

    @abstractmethod
    def size(self, kind: str) -> int:
        """How far apart two values of a type stand."""

    @abstractmethod
    def number(self, place: int, kind: str) -> int:
        """The whole number at a place."""

    @abstractmethod
    def gather(self, places: Ints, kind: str) -> Values:
        """The values at places."""

    def read(self, element: Element) -> None:
        """Fills an element."""
        empty = not element.count
        lengths = [0] * len(element.properties) if empty else self._first_lengths(element)
        if not self._read_regular(element, lengths):
            self._read_irregular(element)

    def _first_lengths(self, element: Element) -> list[int]:
        """How many values the properties of the next row have."""
        found, place = list[int](), self._place
        for item in element.properties:
            count = 1
            if item.length_type:
                if place + self.size(item.length_type) > self._length:
                    raise self._too_short(element)
                count = self.number(place, item.length_type)
                place += self.size(item.length_type)
            place += count * self.size(item.type)
            if count < 0:
                raise self._too_short(element)
            found.append(count)
        return found

    def _read_regular(self, element: Element, lengths: list[int]) -> bool:
        """Whether all rows have lists of the lengths of the first, and are read."""
        width = 0
        columns: list[tuple[Property, int, int]] = []
        for item, length in zip(element.properties, lengths, strict=True):
            columns.append((item, width, length))
            width += length * self.size(item.type) + (self.size(item.length_type) if item.length_type else 0)
        if element.count * width > self._length - self._place:
            return False
        rows = self._place + width * np.arange(element.count)
        for item, offset, length in columns:
            if item.length_type and (self.gather(rows + offset, item.length_type) != length).any():
                return False
        for item, offset, length in columns:
            if item.length_type:
                inner = self.size(item.length_type) + self.size(item.type) * np.arange(length)
                values = self.gather((rows[:, None] + offset + inner).ravel(), item.type)
                element.lists[item.name] = (np.full(element.count, length), values)
            else:
                element.scalars[item.name] = self.gather(rows + offset, item.type)
        self._place += width * element.count
        return True

    def _read_irregular(self, element: Element) -> None:
        starts: list[list[int]] = [[] for _ in element.properties]
        lengths: list[list[int]] = [[] for _ in element.properties]
        sizes = [
            (item.length_type, self.size(item.length_type) if item.length_type else 0, self.size(item.type))
            for item in element.properties
        ]
        place, end = self._place, self._length
        for _ in range(element.count):
            for column, (length_type, length_size, size) in enumerate(sizes):
                count = 1
                if length_type:
                    if place + length_size > end:
                        raise self._too_short(element)
                    count = self.number(place, length_type)
                    place += length_size
                    lengths[column].append(count)
                starts[column].append(place)
                place += count * size
                if count < 0 or place > end:
                    raise self._too_short(element)
        for column, item in enumerate(element.properties):
            first = np.array(starts[column], np.int64)
            if not item.length_type:
                element.scalars[item.name] = self.gather(first, item.type)
                continue
            counts = np.array(lengths[column], np.int64)
            inner = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            places = np.repeat(first, counts) + self.size(item.type) * inner
            element.lists[item.name] = (counts, self.gather(places, item.type))
        self._place = place

    def _too_short(self, element: Element) -> BrokenModelError:
        return BrokenModelError(
            f"{self._name} claims {element.count} rows of the element {element.name[:40]}, "
            "which its file is too short for"
        )


class _Binary(_Source):
    def __init__(self, content: bytes, start: int, order: str, name: str) -> None:
        super().__init__(start, len(content), name)
        self._content, self._bytes, self._order = content, np.frombuffer(content, np.uint8), order
        self._byteorder = "little" if order == "<" else "big"

    def size(self, kind: str) -> int:
        return int(kind[1])

    def number(self, place: int, kind: str) -> int:
        raw = self._content[place : place + int(kind[1])]
        if kind[0] == "f":
            value = float(np.frombuffer(raw, self._order + kind)[0])
            return int(value) if abs(value) < 2**31 else -1
        return int.from_bytes(raw, self._byteorder, signed=kind[0] == "i")  # type: ignore[arg-type]

    def gather(self, places: Ints, kind: str) -> Values:
        dtype = np.dtype(self._order + kind)
        if not len(places):
            return np.empty(0, dtype.newbyteorder("="))
        stride = int(places[1] - places[0]) if len(places) > 1 else dtype.itemsize
        if stride > 0 and (np.diff(places) == stride).all():
            view: Values = np.ndarray(len(places), dtype, self._content, int(places[0]), (stride,))
            return view.astype(dtype.newbyteorder("="))
        letters = self._bytes[places[:, None] + np.arange(dtype.itemsize)]
        return letters.view(dtype).reshape(-1).astype(dtype.newbyteorder("="))


class _Text(_Source):
    def __init__(self, content: bytes, start: int, name: str) -> None:
        parts: list[Values] = [np.empty(0)]
        while start < len(content):
            end = content.find(b"\n", start + _CHUNK) + 1 or len(content)
            chunk = b" " + content[start:end].translate(_BLANKS) + b" "
            buffer = np.frombuffer(chunk, np.uint8)
            values = converted(buffer, runs(buffer != 32), b" ")
            if values is None:
                raise BrokenModelError(f"{name} has rows with something that is no number")
            parts.append(values)
            start = end
        self._values = np.concatenate(parts)
        super().__init__(0, len(self._values), name)

    def size(self, kind: str) -> int:
        return 1

    def number(self, place: int, kind: str) -> int:
        value = float(self._values[place])
        return int(value) if abs(value) < 2**31 else -1

    def gather(self, places: Ints, kind: str) -> Values:
        return np.asarray(self._values[places])


_BLANKS = bytes(32 if code < 32 else code for code in range(256))

"""The statements of an OBJ text as arrays, read in chunks of whole lines.

Kinds of lines are told apart by their first bytes, all lines of a kind are then converted at once. Only what shows a
surface is kept; statements that name other files to be run or written are nothing but counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.numbers import Bytes, Ints, check_positions, converted, runs

Floats = npt.NDArray[np.float64]

_CHUNK = 4 * 2**20  # bytes: arrays that stay in the cache
_CONTINUED = re.compile(rb"\\(?:\r\n|\r|\n)")
_CONTROLS = bytes(32 if code < 32 and code != 10 else code for code in range(256))
_V, _VT, _VN, _F, _OTHER = range(5)
_NO_COLUMN = np.int64(2**62)
_IGNORED = {
    b"l": "lines ignored",
    b"p": "points ignored",
    b"curv": "free-form curves and surfaces ignored",
    b"curv2": "free-form curves and surfaces ignored",
    b"surf": "free-form curves and surfaces ignored",
    b"call": "commands ignored",
    b"csh": "commands ignored",
}


@dataclass
class Marks:
    """Something that changes from face to face, such as the material: values, and the faces from which they hold."""

    values: list[bytes] = field(default_factory=list)
    faces: list[int] = field(default_factory=list)

    def add(self, face: int, value: bytes) -> None:
        """From `face` on it is `value`."""
        self.values.append(value)
        self.faces.append(face)

    def by_face(self, count: int) -> tuple[npt.NDArray[np.int32], list[bytes]]:
        """[F] numbers into the list of distinct values, b"" before the first."""
        names: dict[bytes, int] = {b"": 0}
        numbers = [0] + [names.setdefault(value, len(names)) for value in self.values]
        lengths = np.diff([0, *self.faces, count])
        return np.repeat(np.array(numbers, np.int32), lengths), list(names)


@dataclass
class ObjText:
    """What an OBJ text says.

    `positions` [V,3]; `colors` [V,4] raw RGBA, NaN where the vertex has none; `texcoords` [T,2] and `normals` [N,3],
    NaN where they are no numbers; `corners` [C,3] zero-based indices into the three, -1 where there is none; `counts`
    [F] corners a face.
    """

    positions: Floats
    colors: Floats | None
    texcoords: Floats
    normals: Floats
    corners: Ints
    counts: Ints
    material: Marks
    object: Marks
    smoothing: Marks
    libraries: list[bytes]
    notes: Counter[str]


def read_statements(content: bytes, name: str, max_faces: int) -> ObjText:
    """The statements of an OBJ file. Raises BrokenModelError where it is none, or has more faces than allowed."""
    text = plain_text(content, name)
    if text.isspace():
        raise BrokenModelError(f"{name} is empty")
    reader = _Reader(name)
    for chunk in _chunks(text):
        reader.read(chunk)
        if reader.faces > max_faces:
            faces = len(re.findall(rb"\n *f ", text))
            raise BrokenModelError(f"{name} has {faces} faces, more than the {max_faces} allowed")
    return reader.result()


def plain_text(content: bytes, name: str) -> bytes:
    """The text with a statement a line, between line breaks; no byte but these is less than a blank.

    Raises BrokenModelError for UTF-16.
    """
    start = content[:512]
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or start.count(0) > len(start) // 4:
        raise BrokenModelError(f"{name} is UTF-16 text or binary: save it as plain text in UTF-8")
    text = content.removeprefix(b"\xef\xbb\xbf")
    if b"\\" in text:  # a single byte is found many times as fast as two
        text = _CONTINUED.sub(b" ", text)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    buffer = np.frombuffer(text, np.uint8)
    if np.count_nonzero(buffer < 32) > np.count_nonzero(buffer == 10):
        text = text.translate(_CONTROLS)
    return b"\n" + text + b"\n"


def _chunks(text: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(text):
        end = len(text) if start + _CHUNK >= len(text) else text.index(b"\n", start + _CHUNK) + 1
        yield text[start:end]
        start = end


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._counts = dict.fromkeys((_V, _VT, _VN, _F), 0)
        self._numbers: dict[int, list[Floats]] = {_V: [], _VT: [], _VN: []}
        self._colors: list[Floats] = []
        self._corners: list[Ints] = []
        self._face_sizes: list[Ints] = []
        self._painted: list[str] = []  # eight hexadecimal digits a vertex, in comments of ZBrush
        self._material, self._object, self._smoothing = Marks(), Marks(), Marks()
        self._libraries: list[bytes] = []
        self._notes: Counter[str] = Counter()

    @property
    def faces(self) -> int:
        """The faces read up to now."""
        return self._counts[_F]

    def read(self, chunk: bytes) -> None:
        """Adds some lines."""
        lines = _Lines(chunk)
        if (lines.buffer[lines.starts] == 32).any():
            chunk = re.sub(rb"(?:^|(?<=\n)) +", b"", chunk)
            lines = _Lines(chunk)
        kinds = lines.kinds
        face_lines = np.flatnonzero(kinds == _F)
        self._read_others(chunk, lines, face_lines)
        lines.buffer[lines.starts[kinds < _OTHER]] = 32
        lines.buffer[lines.starts[(kinds == _VT) | (kinds == _VN)] + 1] = 32
        for kind in (_V, _VT, _VN):
            if (kinds == kind).any():
                self._read_numbers(lines.words(kind), kind)
        if len(face_lines):
            self._read_faces(lines.words(_F), kinds, face_lines)
        for kind in self._counts:
            self._counts[kind] += int(np.count_nonzero(kinds == kind))

    def result(self) -> ObjText:
        """All that was read."""
        for kind, what in ((_V, "vertices"), (_F, "faces")):
            if not self._counts[kind]:
                raise BrokenModelError(f"{self._name} has no {what}")
        positions = np.concatenate(self._numbers[_V])
        check_positions(positions, self._name)
        colors = np.concatenate(self._colors) if any(len(part) for part in self._colors) else None
        if colors is None or np.isnan(colors[:, 0]).all():
            colors = self._painted_colors(len(positions))
        return ObjText(
            positions,
            colors,
            np.concatenate([*self._numbers[_VT], np.empty((0, 2))]),
            np.concatenate([*self._numbers[_VN], np.empty((0, 3))]),
            np.concatenate(self._corners),
            np.concatenate(self._face_sizes),
            self._material,
            self._object,
            self._smoothing,
            self._libraries,
            self._notes,
        )

    def _read_others(self, chunk: bytes, lines: _Lines, face_lines: Ints) -> None:
        """The few statements that are neither vertices nor faces."""
        others = np.flatnonzero(lines.kinds == _OTHER)
        before = self._counts[_F] + np.searchsorted(face_lines, others)
        places = zip(before.tolist(), lines.starts[others].tolist(), lines.ends[others].tolist(), strict=True)
        for face, start, end in places:
            keyword, _, rest = chunk[start:end].partition(b" ")
            keyword, rest = keyword.lower(), rest.strip()
            if keyword == b"usemtl":
                self._material.add(face, rest)
            elif keyword == b"o":
                self._object.add(face, rest)
            elif keyword == b"s":
                self._smoothing.add(face, rest)
            elif keyword == b"mtllib":
                self._libraries.append(rest)
            elif keyword == b"#mrgb":
                self._painted.append(rest.decode("latin-1"))
            elif keyword in _IGNORED:
                self._notes[_IGNORED[keyword]] += 1

    def _read_numbers(self, words: _Words, kind: int) -> None:
        values = words.floats()
        if values is None:
            if kind == _V:
                raise BrokenModelError(f"{self._name} has a vertex that is not finite or no number")
            values = words.lenient_floats()
        counts = words.per_line
        if kind == _V and counts.min() < 3:
            raise BrokenModelError(f"{self._name} has a vertex of fewer than three numbers")
        table = words.columns(values, counts, 0, 2 if kind == _VT else 3)
        if kind == _VT:
            table[counts == 1, 1] = 0
        self._numbers[kind].append(table)
        if kind == _V and (self._colors or counts.max() >= 6):
            colors = words.columns(values, np.where(counts >= 6, counts, 0), 3, 4)
            missing = self._counts[_V] - sum(len(part) for part in self._colors)
            self._colors += [np.full((missing, 4), np.nan), colors]

    def _read_faces(self, words: _Words, kinds: npt.NDArray[np.int8], face_lines: Ints) -> None:
        corners = words.corners()
        if corners is None:
            raise BrokenModelError(f"{self._name} has a face whose corners are no numbers")
        if corners.size and corners.min() < 0:  # counted back from the statement
            for column, kind in enumerate((_V, _VT, _VN)):
                known = self._counts[kind] + np.cumsum(kinds == kind)[face_lines]
                behind = np.repeat(known, words.per_line) + corners[:, column] + 1
                corners[:, column] = np.where(
                    corners[:, column] < 0,
                    np.where(behind > 0, behind, _NO_COLUMN),
                    corners[:, column],
                )
        if not corners[:, 0].all():
            raise BrokenModelError(f"{self._name} has a face with the corner 0, vertices count from 1")
        self._corners.append(corners - 1)
        self._face_sizes.append(words.per_line)

    def _painted_colors(self, count: int) -> Floats | None:
        try:
            digits = bytes.fromhex("".join(self._painted))
        except ValueError:
            return None
        if not count or len(digits) != 4 * count:
            return None
        colors = np.frombuffer(digits, np.uint8).reshape(-1, 4)[:, [1, 2, 3]] / 255
        return np.column_stack([colors, np.full(count, np.nan)])


class _Lines:
    """The lines of a chunk; `buffer` may be written to."""

    def __init__(self, chunk: bytes) -> None:
        self.buffer = np.frombuffer(chunk, np.uint8).copy()
        self.ends = np.flatnonzero(self.buffer == 10)
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])
        padded = np.concatenate([self.buffer, np.full(3, 10, np.uint8)])
        first, second, third = padded[self.starts], padded[self.starts + 1], padded[self.starts + 2]
        self.kinds = np.full(len(self.starts), _OTHER, np.int8)
        vertex, blank = first == ord("v"), second == 32
        self.kinds[vertex & blank] = _V
        self.kinds[vertex & (second == ord("t")) & (third == 32)] = _VT
        self.kinds[vertex & (second == ord("n")) & (third == 32)] = _VN
        self.kinds[(first == ord("f")) & blank] = _F

    def words(self, kind: int) -> _Words:
        """The words of all lines of a kind, their keywords overwritten by blanks."""
        chosen = self.kinds == kind
        lengths = self.ends + 1 - self.starts
        changes = np.flatnonzero(np.diff(chosen, prepend=False, append=False)).reshape(-1, 2)
        if len(changes) > 1000:
            buffer = self.buffer[np.repeat(chosen, lengths)]
        else:
            buffer = np.concatenate(
                [self.buffer[self.starts[low] : self.ends[high - 1] + 1] for low, high in changes.tolist()]
            )
        return _Words(buffer, np.cumsum(lengths[chosen]))


class _Words:
    """What stands between blanks in lines that begin with one."""

    def __init__(self, buffer: Bytes, ends: Ints) -> None:
        """`ends` are the places after the line breaks."""
        self._buffer = _without_comments(buffer) if (buffer == ord("#")).any() else buffer
        self._places = runs(self._buffer > 32)
        starts, lines, count = self._places[0], len(ends), len(self._places[0]) // len(ends)
        table = starts.reshape(lines, count) if count and len(starts) == lines * count else None
        if table is not None and (table[:, -1] < ends).all() and (table[1:, 0] >= ends[:-1]).all():
            self._regular = count  # the number of words that all lines have, else 0
            self.per_line: Ints = np.full(lines, count)
        else:
            self._regular = 0
            self.per_line = np.diff(np.searchsorted(starts, ends), prepend=0)

    def floats(self) -> Floats | None:
        """All words as numbers, None where one is none."""
        return converted(self._buffer, self._places, b" \n")

    def lenient_floats(self) -> Floats:
        """The same with NaN for what is no number."""

        def number(word: bytes) -> float:
            try:
                return float(word)
            except ValueError:
                return float("nan")

        return np.array([number(word) for word in self._buffer.tobytes().split()], np.float64)

    def columns(self, values: Floats, counts: Ints, start: int, width: int) -> Floats:
        """[L,width] the numbers `start` ... of every line, of which `counts` are there; else NaN."""
        if self._regular >= start + width and counts.min() >= start + width:
            return values.reshape(-1, self._regular)[:, start : start + width].copy()
        first = np.cumsum(self.per_line) - self.per_line
        place = np.arange(start, start + width)
        found = np.append(values, np.nan)[np.minimum(first[:, None] + place, len(values))]
        return np.where(place < counts[:, None], found, np.nan)

    def corners(self) -> Ints | None:
        """[C,3] of words such as 7, 7/8, 7//9 or 7/8/9; 0 where a number is left out, None where one is none."""
        slash = self._buffer == ord("/")
        slashes, count = int(np.count_nonzero(slash)), len(self._places[0])
        places = runs((self._buffer > 32) & ~slash) if slashes else self._places
        values = converted(self._buffer, places, b" \n/", whole=True)
        if values is None:
            return None
        starts = places[0]
        for columns in (1, 2, 3):  # all words of one form
            if (
                len(values) == columns * count
                and slashes == (columns - 1) * count
                and np.array_equal(starts[::columns], self._places[0])
            ):
                table = values.reshape(-1, columns)
                return table if columns == 3 else np.pad(table, ((0, 0), (0, 3 - columns)))
        where = np.flatnonzero(slash)
        word = np.searchsorted(self._places[0], starts, side="right") - 1
        column = np.searchsorted(where, starts) - np.searchsorted(where, self._places[0])[word]
        if len(column) and column.max() > 2:
            return None
        corners = np.zeros((count, 3), np.int64)
        corners[word, column] = values
        return corners


def _without_comments(buffer: Bytes) -> Bytes:
    """The lines with blanks from any # that follows a blank to the end of its line."""
    place = np.arange(len(buffer))
    begins = (buffer == ord("#")) & (np.concatenate([[32], buffer[:-1]]) <= 32)
    comment = np.maximum.accumulate(np.where(begins, place, -1))
    line = np.maximum.accumulate(np.where(buffer == 10, place, -1))
    return np.where(comment > line, np.uint8(32), buffer)

"""The statements of an OBJ text as arrays, read in chunks of whole lines.

Kinds of lines are told apart by their first bytes, all lines of a kind are then converted at once. Only what shows a
surface is kept; statements that name other files to be run or written are nothing but counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow

from synthetic.library.shapenet import BrokenModelError

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CHUNK = 4 * 2**20  # bytes: arrays that stay in the cache
_CONTINUED = re.compile(rb"\\(?:\r\n|\r|\n)")
_CONTROLS = bytes(32 if code < 32 and code != 10 else code for code in range(256))
_V, _VT, _VN, _F, _OTHER = range(5)
_COLUMNS = {_V: 3, _VT: 1, _VN: 3}
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
    if not text.strip():
        raise BrokenModelError(f"{name} is empty")
    if b"\nv " not in text:
        raise BrokenModelError(f"{name} has no vertices")
    faces = text.count(b"\nf ")
    if not faces:
        raise BrokenModelError(f"{name} has no faces")
    if faces > max_faces:
        raise BrokenModelError(f"{name} has {faces} faces, more than the {max_faces} allowed")
    reader = _Reader(name)
    for chunk in _chunks(text):
        reader.read(chunk)
    return reader.result()


def plain_text(content: bytes, name: str) -> bytes:
    """The text, one statement a line, each right after a line break, blanks and line breaks of one kind.

    Raises BrokenModelError for UTF-16.
    """
    start = content[:512]
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or start.count(0) > len(start) // 4:
        raise BrokenModelError(f"{name} is UTF-16 text or binary: save it as plain text in UTF-8")
    text = content.removeprefix(b"\xef\xbb\xbf")
    if b"\\\n" in text or b"\\\r" in text:
        text = _CONTINUED.sub(b" ", text)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = b"\n" + text.translate(_CONTROLS) + b"\n"
    return re.sub(rb"\n +", b"\n", text) if b"\n " in text else text


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

    def read(self, chunk: bytes) -> None:
        buffer = np.frombuffer(chunk, np.uint8).copy()
        ends = np.flatnonzero(buffer == 10)
        starts = np.concatenate([[0], ends[:-1] + 1])
        kinds = _kinds(buffer, starts)
        face_lines = np.flatnonzero(kinds == _F)
        self._read_others(chunk, starts, ends, np.flatnonzero(kinds == _OTHER), face_lines)
        buffer[starts[kinds < _OTHER]] = 32
        buffer[starts[(kinds == _VT) | (kinds == _VN)] + 1] = 32
        for kind in (_V, _VT, _VN):
            lines = _lines_of(buffer, starts, ends, kinds == kind)
            if len(lines):
                self._read_numbers(lines, kind)
        if len(face_lines):
            self._read_faces(_lines_of(buffer, starts, ends, kinds == _F), kinds, face_lines)
        for kind in self._counts:
            self._counts[kind] += int(np.count_nonzero(kinds == kind))

    def result(self) -> ObjText:
        positions = np.concatenate(self._numbers[_V])
        if not np.isfinite(positions).all():
            raise BrokenModelError(f"{self._name} has a vertex that is not finite")
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

    def _read_others(self, chunk: bytes, starts: Ints, ends: Ints, lines: Ints, face_lines: Ints) -> None:
        """The few statements that are neither vertices nor faces."""
        before = self._counts[_F] + np.searchsorted(face_lines, lines)
        for face, start, end in zip(
            before.tolist(), starts[lines].tolist(), ends[lines].tolist(), strict=True
        ):
            keyword, _, rest = chunk[start:end].partition(b" ")
            rest = rest.strip()
            if keyword == b"usemtl":
                self._material.add(face, rest)
            elif keyword in (b"o", b"g"):
                self._object.add(face, rest)
            elif keyword == b"s":
                self._smoothing.add(face, rest)
            elif keyword == b"mtllib":
                self._libraries.append(rest)
            elif keyword == b"#MRGB":
                self._painted.append(rest.decode("latin-1"))
            elif keyword in _IGNORED:
                self._notes[_IGNORED[keyword]] += 1

    def _read_numbers(self, lines: Bytes, kind: int) -> None:
        tokens = _Tokens(lines)
        wanted = _COLUMNS[kind]
        values = tokens.floats()
        if values is None:
            if kind == _V:
                raise BrokenModelError(f"{self._name} has a vertex that is not finite or no number")
            values = tokens.lenient_floats()
        counts = tokens.per_line
        if kind == _V and counts.min() < wanted:
            raise BrokenModelError(f"{self._name} has a vertex of fewer than three numbers")
        first = np.cumsum(counts) - counts
        width = 2 if kind == _VT else 3
        self._numbers[kind].append(_columns(values, first, counts, 0, width))
        if kind == _VT:
            table = self._numbers[kind][-1]
            table[:, 1] = np.where(counts == 1, 0.0, table[:, 1])
        if kind == _V:
            colored = counts >= 6
            if colored.any() or self._colors:
                table = _columns(values, first, np.where(colored, counts, 0), 3, 4)
                missing = self._counts[_V] - sum(len(part) for part in self._colors)
                self._colors += [np.full((missing, 4), np.nan), table]

    def _read_faces(self, lines: Bytes, kinds: npt.NDArray[np.int8], face_lines: Ints) -> None:
        tokens = _Tokens(lines)
        corners = tokens.corners()
        if corners is None:
            raise BrokenModelError(f"{self._name} has a face whose corners are no numbers")
        if corners.size and corners.min() < 0:  # counted back from the statement
            for column, kind in enumerate((_V, _VT, _VN)):
                known = self._counts[kind] + np.cumsum(kinds == kind)[face_lines]
                behind = np.repeat(known, tokens.per_line) + corners[:, column] + 1
                corners[:, column] = np.where(
                    corners[:, column] < 0,
                    np.where(behind > 0, behind, _NO_COLUMN),
                    corners[:, column],
                )
        if not corners[:, 0].all():
            raise BrokenModelError(f"{self._name} has a face with the corner 0, vertices count from 1")
        self._corners.append(corners - 1)
        self._face_sizes.append(tokens.per_line)

    def _painted_colors(self, count: int) -> Floats | None:
        try:
            digits = bytes.fromhex("".join(self._painted))
        except ValueError:
            return None
        if not count or len(digits) != 4 * count:
            return None
        colors = np.frombuffer(digits, np.uint8).reshape(-1, 4)[:, [1, 2, 3]] / 255
        return np.column_stack([colors, np.full(count, np.nan)])


class _Tokens:
    """The words between blanks in a buffer of whole lines."""

    def __init__(self, lines: Bytes) -> None:
        if (lines == ord("#")).any():
            lines = _without_comments(lines)
        self._lines = lines
        self._solid = lines > 32
        self._first = _first_of_runs(self._solid)
        self._starts = np.flatnonzero(self._first)
        self.per_line: Ints = np.diff(np.searchsorted(self._starts, np.flatnonzero(lines == 10)), prepend=0)

    def floats(self) -> Floats | None:
        """All words as numbers, None where one is none."""
        return _converted(self._lines, self._solid, self._first, pyarrow.float64())

    def lenient_floats(self) -> Floats:
        """The same with NaN for what is no number."""

        def number(word: bytes) -> float:
            try:
                return float(word)
            except ValueError:
                return float("nan")

        return np.array([number(word) for word in self._lines.tobytes().split()], np.float64)

    def corners(self) -> Ints | None:
        """[C,3] of words such as 7, 7/8, 7//9 or 7/8/9; 0 where a number is left out, None where one is none."""
        slash = self._lines == ord("/")
        solid = self._solid & ~slash
        first = _first_of_runs(solid)
        values = _converted(self._lines, solid, first, pyarrow.int64())
        if values is None:
            return None
        count, starts = len(self._starts), np.flatnonzero(first)
        corners = np.zeros((count, 3), np.int64)
        slashes = int(np.count_nonzero(slash))
        for columns, each in (([0], 0), ([0, 1], 1), ([0, 1, 2], 2)):  # all words of one form
            if (
                len(values) == len(columns) * count
                and slashes == each * count
                and np.array_equal(starts[:: len(columns)], self._starts)
            ):
                corners[:, columns] = values.reshape(-1, len(columns))
                return corners
        where = np.flatnonzero(slash)
        word = np.searchsorted(self._starts, starts, side="right") - 1
        column = np.searchsorted(where, starts) - np.searchsorted(where, self._starts)[word]
        if len(column) and column.max() > 2:
            return None
        corners[word, column] = values
        return corners


def _kinds(buffer: Bytes, starts: Ints) -> npt.NDArray[np.int8]:
    """[L] what the lines that begin at `starts` are."""
    padded = np.concatenate([buffer, np.full(3, 10, np.uint8)])
    first, second, third = padded[starts], padded[starts + 1], padded[starts + 2]
    kinds = np.full(len(starts), _OTHER, np.int8)
    blank = second == 32
    vertex = first == ord("v")
    kinds[vertex & blank] = _V
    kinds[vertex & (second == ord("t")) & (third == 32)] = _VT
    kinds[vertex & (second == ord("n")) & (third == 32)] = _VN
    kinds[(first == ord("f")) & blank] = _F
    return kinds


def _lines_of(buffer: Bytes, starts: Ints, ends: Ints, chosen: npt.NDArray[np.bool_]) -> Bytes:
    """The chosen lines one after the other."""
    changes = np.flatnonzero(np.diff(chosen, prepend=False, append=False)).reshape(-1, 2)
    if len(changes) > 1000:
        return buffer[np.repeat(chosen, ends + 1 - starts)]
    parts = [buffer[starts[low] : ends[high - 1] + 1] for low, high in changes.tolist()]
    return parts[0] if len(parts) == 1 else np.concatenate([*parts, buffer[:0]])


def _first_of_runs(solid: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    first = solid.copy()
    first[1:] &= ~solid[:-1]
    return first


def _without_comments(lines: Bytes) -> Bytes:
    """The lines with blanks from any # that follows a blank to the end of its line."""
    place = np.arange(len(lines))
    begins = (lines == ord("#")) & (np.concatenate([[32], lines[:-1]]) <= 32)
    comment = np.maximum.accumulate(np.where(begins, place, -1))
    line = np.maximum.accumulate(np.where(lines == 10, place, -1))
    return np.where(comment > line, np.uint8(32), lines)


def _converted(
    lines: Bytes, solid: npt.NDArray[np.bool_], first: npt.NDArray[np.bool_], kind: Any
) -> npt.NDArray[Any] | None:
    """The words, runs of `solid` that begin at `first`, as numbers of a kind of Arrow's; None where one is none.

    Arrow converts them several times as fast as NumPy does, and rounds as correctly.
    """
    letters = lines[solid]
    offsets = np.append(np.flatnonzero(first[solid]), len(letters)).astype(np.int32)
    words = pyarrow.StringArray.from_buffers(
        len(offsets) - 1, pyarrow.py_buffer(offsets), pyarrow.py_buffer(letters)
    )
    try:
        return np.array(words.cast(kind))
    except pyarrow.ArrowInvalid:
        return None


def _columns(values: Floats, first: Ints, counts: Ints, start: int, width: int) -> Floats:
    """[L,width] numbers `start` ... of every line, NaN where a line has fewer."""
    place = np.arange(start, start + width)
    inside = place < counts[:, None]
    if inside.all():
        return np.asarray(values[first[:, None] + place])
    found = values[np.minimum(first[:, None] + place, max(len(values) - 1, 0))] if len(values) else np.nan
    return np.where(inside, found, np.nan)

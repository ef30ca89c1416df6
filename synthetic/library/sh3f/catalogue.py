"""The catalogue of a Sweet Home 3D furniture library, PluginFurnitureCatalog.properties, and its licences.

It is a file of Java properties in latin-1: some of the whole library (name, version, license), the others of its n-th
piece (name#n, model#n, width#n ...). Sizes are centimetres: width along x, depth along z, height along y.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthetic.staging.surface import Floats

CATALOGUE = "PluginFurnitureCatalog.properties"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_LICENCE_URL = re.compile(
    r"creativecommons\.org/licenses/(by(?:-nc)?(?:-sa|-nd)?)/(\d\.\d)(?:/([a-z]{2})\b)?"
)
_ZERO_URL = re.compile(r"creativecommons\.org/(?:choose/zero|publicdomain/zero)")
_ATTRIBUTION = re.compile(r"Creative Commons (?:\d\.\d )?Attribution (\d\.\d)( United States)?")
_ZERO = re.compile(r"Creative Commons Zero|\bCC-?0\b")
_HOLDER = re.compile(r"(?:©|\(c\))\s*(?:copyrights?\s*)?(?:[\d\s,-]*\d\s+)?(.+)", re.IGNORECASE)
_DOWNLOADED = re.compile(r"https?://(?:www\.)?blendswap\.com/\S+?/(\d+)")


class EntryError(ValueError):
    """An entry of a catalogue that is no model; the message is the reason."""


@dataclass(frozen=True)
class Piece:
    """An entry of a catalogue.

    `identifier` is its own part of the id, `size` [3] in metres along x, y and z, `rotation` [3,3] what the file's
    coordinates are turned by before they are scaled to it.
    """

    identifier: str
    name: str
    category: str
    creator: str
    model: str
    size: tuple[float, float, float]
    rotation: Floats


def read_properties(text: str) -> dict[str, str]:
    r"""The entries of a file of Java properties; of a key that stands there twice the last counts.

    Lines may go on after a backslash at their end, and hold escapes such as \u20ac.
    """
    found: dict[str, str] = {}
    for line in _logical_lines(text):
        match = re.match(r"((?:\\.|[^\\=:\s])*)\s*[=:]?\s*(.*)", line, re.DOTALL)
        if match:
            found[_unescaped(match[1])] = _unescaped(match[2])
    return found


def _logical_lines(text: str) -> Iterator[str]:
    pending: list[str] = []
    for line in re.split(r"\r\n|\r|\n", text):
        line = line.lstrip(" \t\f")
        if not pending and (not line or line[0] in "#!"):
            continue
        goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        pending.append(line[:-1] if goes_on else line)
        if not goes_on:
            yield "".join(pending)
            pending = []
    if any(pending):
        yield "".join(pending)


def _unescaped(text: str) -> str:
    def sign(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        return _ESCAPES.get(match[2], match[2])

    joined = re.sub(r"\\u([0-9a-fA-F]{4})|\\(.)", sign, text, flags=re.DOTALL)
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def pieces(properties: Mapping[str, str]) -> Iterator[tuple[str, Piece | EntryError]]:
    """Every entry of a catalogue by what it is called in messages, as a piece, or why it is none."""
    entries: dict[int, dict[str, str]] = {}
    for key, text in properties.items():
        match = re.fullmatch(r"(\w+)#(\d{1,9})", key)
        if match:
            entries.setdefault(int(match[2]), {})[match[1]] = text.strip()
    for number, entry in sorted(entries.items()):
        called = entry.get("id") or entry.get("name") or f"entry {number}"
        try:
            yield called, _piece(entry)
        except EntryError as error:
            yield called, error


def _piece(entry: Mapping[str, str]) -> Piece:
    missing = [key for key in ("id", "name", "model", "width", "depth", "height") if not entry.get(key)]
    if missing:
        raise EntryError(f"the catalogue gives it no {missing[0]}")
    width, depth, height = (_number(entry, key) / 100 for key in ("width", "depth", "height"))
    return Piece(
        re.sub(r"[^\w.+-]+", "-", entry["id"].rpartition("#")[2], flags=re.ASCII).strip("-.") or "piece",
        entry["name"],
        entry.get("category", ""),
        html.unescape(entry.get("creator", "")),  # the only text in HTML: "Somebody &amp; eTeks" (1.8)
        entry["model"].lstrip("/"),
        (width, height, depth),
        _rotation(entry.get("modelRotation", "")),
    )


def _number(entry: Mapping[str, str], key: str) -> float:
    try:
        value = float(entry[key])
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise EntryError(f"its {key} is {entry[key]!r}, expected centimetres")
    return value


def _rotation(text: str) -> Floats:
    """[3,3] of nine numbers, row by row."""
    if not text:
        return np.eye(3)
    try:
        matrix = np.array([float(word) for word in text.split()]).reshape(3, 3)
    except ValueError:
        matrix = np.zeros((3, 3))
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3):
        raise EntryError(f"its modelRotation {text!r} is no rotation")
    return matrix


def licence_in(text: str) -> str:
    """The SPDX identifier of the first Creative Commons licence that a text names, "" where it names none."""
    found = _LICENCE_URL.search(text)
    if found:
        kind, version, country = found.groups()
        return f"CC-{kind.upper()}-{version}" + (f"-{country.upper()}" if country else "")
    worded = _ATTRIBUTION.search(text)
    if worded:
        return f"CC-BY-{worded[1]}" + ("-US" if worded[2] else "")
    return "CC0-1.0" if _ZERO_URL.search(text) or _ZERO.search(text) else ""


def stricter(licences: Sequence[str]) -> str:
    """Of several Creative Commons licences of one thing the one that asks for most, "" for none."""
    known = [licence for licence in licences if licence]
    return max(known, key=lambda licence: (licence != "CC0-1.0", licence.count("-")), default="")


def holder_in(text: str) -> str:
    """Who holds the rights, as a catalogue's license says behind its ©, "" where it does not."""
    found = _HOLDER.search(text)
    return " ".join(found[1].split()) if found else ""


def downloaded_from(text: str) -> str:
    """Where a model's own licence file says that it comes from, "" where it does not."""
    found = _DOWNLOADED.search(text)
    return f"blendswap.com {found[1]}" if found else ""

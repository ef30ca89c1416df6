"""The text of MTL files: numbers and textures by statement, as they stand there."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

Transform = tuple[float, float, float, float]  # scale and offset of u and v

AS_IT_IS: Transform = (1.0, 1.0, 0.0, 0.0)
_NUMBERS = {
    "ka": 3,
    "kd": 3,
    "ks": 3,
    "ke": 3,
    "ns": 1,
    "ni": 1,
    "d": 1,
    "tr": 1,
    "illum": 1,
    "pr": 1,
    "pm": 1,
}
USED_MAPS = ("map_kd", "map_ke", "map_d", "map_pr", "map_pm")
_SILENT_MAPS = ("map_ka", "map_aat")  # of light from all around, and a switch
IGNORED_MAPS = (
    "map_ns",
    "map_ks",
    "map_bump",
    "bump",
    "norm",
    "disp",
    "map_disp",
    "refl",
    "map_refl",
    "decal",
)
_OPTIONS = {
    "-bm": 1,
    "-blendu": 1,
    "-blendv": 1,
    "-boost": 1,
    "-cc": 1,
    "-clamp": 1,
    "-imfchan": 1,
    "-mm": 2,
    "-texres": 1,
    "-type": 1,
    "-s": 3,
    "-o": 3,
    "-t": 3,
}


@dataclass(frozen=True)
class TextureMap:
    """A texture statement: the file's name, where it lies, whether it ends at its borders, the channel that counts."""

    name: str
    transform: Transform = AS_IT_IS
    clamp: bool = False
    channel: str = ""


@dataclass
class Entry:
    """What an MTL file says of a material; `unread` are statements of numbers that could not be made out."""

    folder: Path
    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)
    maps: dict[str, TextureMap] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)

    def number(self, key: str) -> float | None:
        """The first number of a statement, None where there is none."""
        return self.numbers[key][0] if key in self.numbers else None


def read_entries(text: str, folder: Path) -> dict[str, Entry]:
    """What the text of an MTL file in `folder` says of materials; of those of one name the first counts."""
    entries: dict[str, Entry] = {}
    entry = Entry(folder)
    for line in text.split("\n"):
        keyword, _, rest = line.strip().partition(" ")
        keyword, rest = keyword.lower(), rest.strip()
        if keyword == "newmtl":
            entry = Entry(folder)
            entries.setdefault(rest, entry)
        elif keyword in _NUMBERS and keyword not in entry.numbers:
            numbers = _numbers(rest.split(), _NUMBERS[keyword])
            if numbers:
                entry.numbers[keyword] = numbers
            else:
                entry.unread.add(keyword)
        elif keyword in IGNORED_MAPS or (keyword.startswith("map_") and keyword not in _SILENT_MAPS):
            entry.maps.setdefault(keyword, _map(rest))
    return entries


def decoded(text: bytes) -> str:
    """Text in UTF-8 or, where it is none, in the Windows code page of Western Europe."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _numbers(words: list[str], count: int) -> tuple[float, ...] | None:
    """The first numbers of a statement, None where they are none; one grey value stands for three equal ones."""
    if words[:1] == ["-halo"]:
        words = words[1:]
    numbers = []
    for word in words[:count]:
        word = word.rstrip(",").replace(",", ".")  # between numbers, or before decimals as in half of Europe
        if not _is_number(word):
            break
        numbers.append(float(word))
    if count == 3 and len(numbers) == 1 and len(words) == 1:
        numbers *= 3
    return tuple(numbers) if len(numbers) == count else None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _map(rest: str) -> TextureMap:
    """A texture statement: options that matter, and the name of the file, which may have blanks."""
    words = re.findall(r"\S+\s*", rest)
    scale, offset, clamp, channel = [1.0, 1.0], [0.0, 0.0], False, ""
    while words and (option := words[0].strip().lower()) in _OPTIONS:
        wanted, values = _OPTIONS[option], list[str]()
        for word in words[1 : 1 + wanted]:
            if wanted == 3 and not _is_number(word):
                break
            values.append(word.strip().lower())
        if option in ("-s", "-o"):
            for place, value in enumerate(values[:2]):
                (scale if option == "-s" else offset)[place] = float(value)
        elif option == "-clamp":
            clamp = values == ["on"]
        elif option == "-imfchan":
            channel = "".join(values)
        words = words[1 + len(values) :]
    return TextureMap(unquoted("".join(words)), (scale[0], scale[1], offset[0], offset[1]), clamp, channel)


def unquoted(name: str) -> str:
    """A name without the quotes around it."""
    name = name.strip()
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name

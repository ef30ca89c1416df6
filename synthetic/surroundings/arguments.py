"""What the words of a command line ask for, found on disk and checked before anything is rendered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synthetic.surroundings import pictures, worlds
from synthetic.surroundings.settings import (
    SurroundingFiles,
    Surroundings,
    SurroundingsError,
    color_code,
    sha256,
)

MOST_FILES = 100_000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The words of the options, as they were typed."""

    light: str = "paper"
    light_each: Literal["model", "view"] = "model"
    ground: str = "none"
    background: str = "white"


def find_surroundings(asked: Asked, most_side: int) -> tuple[Surroundings, SurroundingFiles]:
    """The surroundings that are asked for, and their files, which may be `most_side` pixels wide.

    Raises SurroundingsError with the first thing that is wrong.
    """
    maps = _worlds(asked.light)
    for path in maps.values():
        worlds.read_world(path, most_side)
    behind, backdrops = _background(asked.background)
    for path in backdrops.values():
        pictures.check_picture(path, most_side)
    ground = (
        "none" if asked.ground == "none" else _color(asked.ground, "--ground", "none, random or a colour")
    )
    kind: Literal["paper", "flat", "hdri"] = "hdri" if maps else "flat" if asked.light == "flat" else "paper"
    listed = "".join(f"{name} {sha256(path)}\n" for name, path in backdrops.items())
    surroundings = Surroundings(
        light=kind,
        worlds=tuple(f"{name} {sha256(path)}" for name, path in maps.items()),
        light_each=asked.light_each,
        ground=ground,
        background=behind,
        pictures=hashlib.sha256(listed.encode()).hexdigest() if backdrops else "",
    )
    return surroundings, SurroundingFiles(maps, backdrops)


def _worlds(light: str) -> dict[str, Path]:
    if light in ("paper", "flat"):
        return {}
    word, _, names = light.partition(":")
    if word == "hdri":
        bundled = worlds.bundled_worlds()
        chosen = [name.strip() for name in names.split(",")] if names else list(bundled)
        unknown = [name for name in chosen if name not in bundled]
        if unknown or not chosen:
            raise SurroundingsError(
                f"--light {light}: expected names among {', '.join(bundled)}, found {', '.join(unknown) or 'none'}"
            )
        return {name: bundled[name] for name in sorted(set(chosen))}
    return _files(
        Path(light),
        worlds.SUFFIXES,
        f"--light {light}: expected paper, flat, hdri, hdri:NAME, or a file or folder",
    )


def _background(words: str) -> tuple[str, dict[str, Path]]:
    if words in ("white", "hdri"):
        return words, {}
    if words == "random" or color_code(words):
        return _color(words, "--background", ""), {}
    found = _files(
        Path(words),
        pictures.SUFFIXES,
        f"--background {words}: expected white, random, a colour, hdri, or a folder of pictures",
    )
    return "pictures", found


def _color(words: str, option: str, expected: str) -> str:
    code = words if words == "random" else color_code(words)
    if code is None:
        raise SurroundingsError(f"{option} {words}: expected {expected} such as sienna or #a0522d")
    return code


def _files(place: Path, suffixes: Sequence[str], expected: str) -> dict[str, Path]:
    """The files of a folder, or the one file, that end in `suffixes`, by name."""
    if place.is_file():
        return {place.name: place}
    if not place.is_dir():
        raise SurroundingsError(f"{expected} that is there")
    found = {
        path.name: path
        for path in sorted(place.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    }
    if not found:
        raise SurroundingsError(f"{place}: holds no {', '.join(suffixes)} file")
    if len(found) > MOST_FILES:
        raise SurroundingsError(f"{place}: holds {len(found)} files, at most {MOST_FILES} are allowed")
    return found

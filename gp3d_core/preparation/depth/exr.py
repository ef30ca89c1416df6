"""Depth maps in OpenEXR files, as Blender's depth pass is one: which channel is meant, and its numbers."""

from __future__ import annotations

import ctypes
import io
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_CHANNELS = 4  # times the most pixels: numbers of all channels, which the library reads together
_NOTHING = 1e9  # from here on a renderer means that a ray hit nothing: Blender writes 1e10


def read_exr(file: Path, most_pixels: int) -> NDArray[Any]:
    """Float32 [H,W], the depth in an OpenEXR file of at most so many pixels; infinite where nothing was hit.

    It is the channel Z, a channel of a pass called depth, the only channel there is, or any of red, green and blue
    where these are the same. Raises ImportError without the library OpenEXR, ValueError for a file without depth, with
    several or with too many numbers, RuntimeError for one that is damaged.
    """
    import OpenEXR  # an extra in C++; what files say of their sizes is looked at first

    with _silence():
        with OpenEXR.File(str(file), header_only=True) as found:
            _check_sizes([part.header for part in found.parts], most_pixels)
        with OpenEXR.File(str(file), separate_channels=True) as found:
            values = np.array(_depth_of(found.parts), dtype=np.float32)
    if values.ndim != 2:
        raise ValueError(f"expected flat pixels, found {list(values.shape)}")
    values[values >= _NOTHING] = np.inf
    return values


@contextmanager
def _silence() -> Iterator[None]:
    """A block that prints nothing: the library prints what it raises, too, some of it among the results."""
    _flush()
    screen = os.dup(1), os.dup(2)
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nothing, stream)
        os.close(nothing)
        with redirect_stdout(io.StringIO()):  # where Python's is another, as in notebooks
            yield
    finally:
        _flush()
        for stream, descriptor in zip((1, 2), screen, strict=True):
            os.dup2(descriptor, stream)
            os.close(descriptor)


def _flush() -> None:
    """Prints what Python's streams and C's hold; both are written to."""
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)


def _check_sizes(headers: Sequence[dict[str, Any]], most_pixels: int) -> None:
    numbers = 0
    for header in headers:
        low, high = header["dataWindow"]
        width, height = (int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
        if width * height > most_pixels:
            raise ValueError(f"{width}x{height}, more than {most_pixels / 1e6:g} million pixels")
        numbers += prod((width, height, len(header["channels"])))
    if numbers > (most := _MOST_CHANNELS * most_pixels):
        raise ValueError(
            f"{numbers / 1e6:.0f} million numbers in all channels, expected at most {most / 1e6:g} million"
        )


def _depth_of(parts: Sequence[Any]) -> Any:
    """The pixels of that channel of all `parts` which is depth."""
    found = {
        f"{_name(part)}:{name}".lstrip(":"): channel.pixels
        for part in parts
        for name, channel in part.channels.items()
        if _is_depth(_name(part), name, part.channels)
    }
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ValueError(f"expected one channel of depth, found {', '.join(sorted(found))}")
    channels = {name: channel.pixels for name, channel in parts[0].channels.items()}
    if len(parts) == len(channels) == 1:
        return next(iter(channels.values()))
    colours = [channels.get(name) for name in "RGB"]
    if len(parts) == 1 and channels.keys() <= set("RGBA") and _all_the_same(colours):
        return colours[0]
    named = ", ".join(sorted(name for part in parts for name in part.channels)[:8]) or "none"
    raise ValueError(f"expected a channel Z, or one of a pass called depth, found {named}")


def _name(part: Any) -> str:
    return str(part.header.get("name", "") or "")


def _all_the_same(colours: Sequence[Any]) -> bool:
    return all(each is not None and np.array_equal(colours[0], each) for each in colours)


def _is_depth(part: str, name: str, beside: Collection[str]) -> bool:
    """Whether the channel `name`, as in layer.pass.channel, is depth; normals, positions and mist have a Z, too."""
    *above, last = name.split(".")
    of_pass = (above or part.split("."))[-1].casefold()
    if of_pass == "depth":
        return last in ("Z", "V", "Y", "R")
    return name == "Z" and "X" not in beside and of_pass != "mist"

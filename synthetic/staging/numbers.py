"""The numbers of text files, converted by the million."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow

from synthetic.layouts.shapenet import BrokenModelError

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FARTHEST = 1e50  # products of four such numbers, as areas squared, are finite still


def runs(solid: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Where runs of True begin, and the places after their ends. `solid` begins and ends with False."""
    changes = np.flatnonzero(solid[1:] != solid[:-1]) + 1
    return changes[0::2], changes[1::2]


def converted(
    buffer: Bytes, places: tuple[Ints, Ints], between: bytes, whole: bool = False
) -> npt.NDArray[Any] | None:
    """The words at `places` as float64, or int64 where `whole`; None where one is no such number.

    Between the words stand only bytes of `between`. Arrow converts them several times as fast as NumPy does, and rounds
    as correctly.
    """
    letters = buffer.tobytes().translate(None, between)
    offsets = np.zeros(len(places[0]) + 1, np.int32)
    np.cumsum(places[1] - places[0], out=offsets[1:])
    words = pyarrow.StringArray.from_buffers(
        len(offsets) - 1, pyarrow.py_buffer(offsets), pyarrow.py_buffer(letters)
    )
    try:
        return np.array(words.cast(pyarrow.int64() if whole else pyarrow.float64()))
    except pyarrow.ArrowInvalid:
        return None


def check_positions(positions: Floats, name: str) -> None:
    """Raises BrokenModelError where a vertex of a file is not finite, or too far away to be reckoned with."""
    if not (np.abs(positions) < _FARTHEST).all():
        raise BrokenModelError(f"{name} has a vertex that is not finite")

"""Reading the game's binary files: numbers behind one another, little-endian, never beyond the end of the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError

FARTHEST = 1e6  # units (metres or so) from the origin: what claims to be beyond is damaged
_LONGEST_NAME = 256
STATE = np.dtype([("translation", "<f4", 3), ("rotation", "<f4", 4)])  # x y z, then a quaternion x y z w


class BinaryFile:
    """A file of the game: four letters, a version, the number of bytes that follow, and then records.

    Every method raises BrokenModelError, which names the file, where the file has less than is asked for.
    """

    def __init__(self, content: bytes, name: str, magic: bytes, version: int) -> None:
        self._content, self._name, self._place = content, name, 0
        found = self.records(np.dtype("S4"), 1, "its first letters")[0]
        if found != magic:
            raise BrokenModelError(
                f"{name}: expected a file that begins with {magic.decode()}, found {bytes(found)!r}"
            )
        number, size = self.count("its version"), self.count("its size")
        if number != version:
            raise BrokenModelError(f"{name}: expected version {version}, found {number}")
        if size != len(content) - self._place:
            raise BrokenModelError(
                f"{name}: says that {size} bytes follow, {len(content) - self._place} do; it is cut or damaged"
            )

    def count(self, what: str) -> int:
        """The next number."""
        return int(self.records(np.dtype("<u4"), 1, what)[0])

    def records(self, kind: np.dtype[Any], number: int, what: str) -> npt.NDArray[Any]:
        """The next `number` records; whether the file holds so many is looked up before room is made for them."""
        if number * kind.itemsize > len(self._content) - self._place:
            raise BrokenModelError(
                f"{self._name}: ends within {what} ({number} of them); it is cut or damaged"
            )
        found = np.frombuffer(self._content, kind, number, self._place)
        self._place += number * kind.itemsize
        return found

    def text(self, what: str) -> str:
        """The next text, its length before it."""
        length = self.count(what)
        if length > _LONGEST_NAME:
            raise BrokenModelError(f"{self._name}: {what} has {length} letters; it is damaged")
        return bytes(self.records(np.dtype("u1"), length, what)).decode("latin-1")

    def end(self) -> None:
        """Raises BrokenModelError where anything is left."""
        left = len(self._content) - self._place
        if left:
            raise BrokenModelError(f"{self._name}: {left} bytes are left at its end; it is damaged")


def matrices(states: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """[...,4,4] what STATE records do to points: rotation, then translation.

    Raises BrokenModelError for numbers that are none, quaternions of length 0, and places beyond FARTHEST.
    """
    x, y, z, w = np.moveaxis(states["rotation"].astype(np.float64), -1, 0)
    moved = states["translation"].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        squared = x * x + y * y + z * z + w * w
    if not (np.isfinite(squared).all() and (squared > 1e-12).all() and (np.abs(moved) <= FARTHEST).all()):
        raise BrokenModelError(
            f"{name}: a bone or a point of it stands nowhere (numbers that are none, or too large)"
        )
    s = 2 / squared  # so that quaternions need not be of length 1
    made = np.zeros((*squared.shape, 4, 4))
    made[..., 0, :3] = np.stack([1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)], axis=-1)
    made[..., 1, :3] = np.stack([s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)], axis=-1)
    made[..., 2, :3] = np.stack([s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)], axis=-1)
    made[..., :3, 3], made[..., 3, 3] = moved, 1
    return made

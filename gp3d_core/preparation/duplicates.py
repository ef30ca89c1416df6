"""Pictures that are there twice: the same pixels, or nearly the same look.

Look: 64 bits that say of an 8 × 8 grid of grey means whether each is brighter than its right neighbour ("difference
hash"). Two pictures look alike when at most three bits differ; brightness, contrast, size and mild compression change
few bits, a mirrored or cut picture changes many. Flat pictures (every bit 0) say nothing and are not compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NEAR = 3  # bits
_BANDS = 4  # of 16 bits: with three bits different one band at least is the same
MOST_PAIRS = 10_000


def look_of(image: Image.Image) -> int:
    """The 64 bits of a picture of any size."""
    grey = image.convert("L").resize((9, 8), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.int16)
    bits = (values[:, 1:] > values[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def exact_groups(hashes: Mapping[str, str]) -> list[list[str]]:
    """Groups of pictures (hash by name) that have the same pixels, sorted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, value in hashes.items():
        groups[value].append(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def near_pairs(looks: Mapping[str, int], *, most: int = MOST_PAIRS) -> list[tuple[str, str, int]]:
    """Up to `most` pairs that look alike, with the number of different bits, sorted by name."""
    names = sorted(name for name, look in looks.items() if look)
    values = np.array([looks[name] for name in names], dtype=np.uint64)
    found: dict[tuple[int, int], int] = {}
    for members in _candidates(values):
        for i, first in enumerate(members[:-1]):
            bits = np.bitwise_count(values[members[i + 1 :]] ^ values[first])
            for k in np.flatnonzero(bits <= NEAR):
                found[int(first), int(members[i + 1 + k])] = int(bits[k])
            if len(found) >= most:
                break
    return [(names[i], names[j], bits) for (i, j), bits in sorted(found.items())][:most]


def _candidates(values: NDArray[Any]) -> Iterable[NDArray[Any]]:
    """Groups of indices whose looks share a band."""
    for band in range(_BANDS):
        part = (values >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(part, kind="stable")
        edges = np.flatnonzero(np.diff(part[order])) + 1
        for group in np.split(order, edges):
            if len(group) > 1:
                yield group


def without_exact(
    pairs: Sequence[tuple[str, str, int]], groups: Sequence[Sequence[str]]
) -> list[tuple[str, str, int]]:
    """`pairs` without those that are the same picture anyway."""
    group_of = {name: k for k, group in enumerate(groups) for name in group}
    return [p for p in pairs if group_of.get(p[0], -1) != group_of.get(p[1], -2)]

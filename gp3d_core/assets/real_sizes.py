"""How large things of a class are in the world, by a table with sources (docs/assets.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from gp3d_core.assets.placement import MEASURES, Measure
from gp3d_core.errors import GP3DError

KINDS = ("rule", "species", "usual", "unknown")
_TABLE = Path(__file__).with_name("real_sizes.tsv")


class UnknownSizeError(GP3DError):
    """A class whose size nobody has stated."""


@dataclass(frozen=True)
class RealSize:
    """The `measure` of a typical thing of a class in metres, of which `kind` that is, and where it can be looked up.

    Kinds: "rule", a standard or law fixes it; "species", what adults of it measure; "usual", things of a class differ,
    and this is a usual one; "unknown", there is no usual one, and `metres` is None.
    """

    metres: float | None
    measure: Measure
    kind: str
    source: str


@cache
def real_sizes() -> Mapping[str, RealSize]:
    """The sizes of ImageNet's 1000 classes, and of others that pretrained models know, by WordNet id."""
    found = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith(("#", "wnid\t")):
            continue
        wnid, _, metres, measure, kind, source = line.split("\t")
        if kind not in KINDS or measure not in MEASURES or wnid in found:
            raise ValueError(
                f"{_TABLE.name}: expected a class once, with one of {KINDS} and {MEASURES}, found {line!r}"
            )
        size = None if kind == "unknown" else float(metres)
        found[wnid] = RealSize(size, cast(Measure, measure), kind, source)
    return found


def known_size(record: Mapping[str, Any], needed: bool) -> RealSize | None:
    """As `real_size`; None for a class without one, unless it is `needed`."""
    try:
        return real_size(record)
    except UnknownSizeError:
        if needed:
            raise
        return None


def real_size(record: Mapping[str, Any]) -> RealSize:
    """The size of a class, by its record as in docs/dataset.md. Raises UnknownSizeError, with what to do."""
    known = real_sizes().get(str(record.get("wnid")))
    if known is None or known.metres is None:
        raise UnknownSizeError(
            f"`size` real: how large {record.get('name', 'an object')} is in the world is not known; "
            "give its longest side in metres"
        )
    return known

"""Faces that lie on each other: doubles are dropped, labels are raised, so that no two are hit at one place.

A ray that meets two faces at one distance takes either, and the light that should fall on the one is blocked by the
other: the picture shows black or speckles.
"""

from __future__ import annotations

from collections import Counter

from synthetic.staging.surface import Surface


def separate_coplanar(surface: Surface, notes: Counter[str]) -> Surface:
    """The surface, in which no two triangles of one plane overlap; dropped and raised ones are counted in `notes`."""
    raise NotImplementedError

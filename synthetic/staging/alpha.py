"""What becomes of transparent parts: kept, cut out, or removed as glass, by their alpha and not by their mode.

A material that says BLEND and whose alpha is 1 wherever its triangles lie is opaque; one that says MASK and cuts
nothing is solid. Real glass is removed or drawn opaque as the treatment says. Whatever goes is counted.
"""

from __future__ import annotations

from collections import Counter

from synthetic.staging.surface import Surface
from synthetic.staging.treatment import Treatment


def settle_alpha(surface: Surface, treatment: Treatment, notes: Counter[str]) -> Surface:
    """The surface whose materials are opaque or cut ("mask"), without the triangles that are removed.

    Raises BrokenModelError where nothing is left.
    """
    raise NotImplementedError

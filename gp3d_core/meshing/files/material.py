"""What every format says of a mesh's material: how rough, whether metal, and its name."""

from __future__ import annotations

import re

ROUGHNESS = 0.9  # colours learnt from pictures contain their highlights: the material adds hardly any
METALLIC = 0.0


def material_name(stem: str) -> str:
    """The name of the material of the mesh in a file `stem`."""
    return re.sub(r"\W+", "_", stem)

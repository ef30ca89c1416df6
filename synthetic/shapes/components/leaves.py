"""Leaves: pointed blades that bend over, alone or in a rosette."""

from __future__ import annotations

import numpy as np

from synthetic.shapes.material import Material
from synthetic.shapes.parts import Part, sweep

GREENS = ("#3f7d3a", "#5a9a44", "#2f6b45", "#7aa84f", "#4a8a5f")
GOLDEN_ANGLE = 2.399963  # radians between one leaf of a rosette and the next


def leaf(material: Material, length: float, width: float, arch: float, bearing: float, tilt: float) -> Part:
    """A pointed leaf that rises from the origin at `tilt` above the ground and bends down by `arch` radians.

    bearing: 0 sends it to the front, pi / 2 towards +X.
    """
    t = np.linspace(0, 1, 10)
    angle = tilt - arch * t
    step = length / 9
    out = np.concatenate([[0], np.cumsum(np.cos(angle[1:]))]) * step
    up = np.concatenate([[0], np.cumsum(np.sin(angle[1:]))]) * step
    path = np.stack([out * np.sin(bearing), up, -out * np.cos(bearing)], axis=1)
    shape = np.interp(t, [0, 0.12, 0.5, 0.8, 1], [0.25, 0.5, 1.0, 0.65, 0.06])
    thick = max(0.012, 0.08 * width)
    section = [(width / 2, 0), (0, thick), (-width / 2, 0), (0, -thick)]
    return sweep(material, path, section, shape, up=(0, 1, 0))

"""Colours that a file gives at its vertices, and how they go together with its materials.

The finest statement of a colour counts. A colour texture replaces vertex colours, which then only repeat it coarsely
(scanners write both). Vertex colours replace a material that is plain grey, which is what exporters write where they
have nothing to say, and are multiplied by one that has a hue. Where all of a material's vertices are white they say
nothing, and the material stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from synthetic.staging.surface import Floats, Material

Colors = npt.NDArray[np.float32]


def linear_colors(raw: Floats, bytes_only: bool = False) -> Floats:
    """[V,4] linear RGB and alpha of sRGB colours [V,3] or [V,4].

    They reach from 0 to 1, 255 or 65535, as their largest shows; `bytes_only` says that it is 255. Fractions of which
    none is above 2 reach from 0 to 1, and what is more is cut. NaN in red means that a vertex has no colour, NaN in
    alpha that it is opaque; so does alpha that is 0 everywhere.
    """
    known: npt.NDArray[np.bool_] = np.isfinite(raw[:, 0])
    alpha = raw[:, 3] if raw.shape[1] > 3 else np.full(len(raw), np.nan)
    colors = np.column_stack([_in_unit(raw[:, :3], bytes_only), _in_unit(alpha, bytes_only)])
    if not known.any():
        return colors
    colors[np.isnan(alpha), 3] = 1
    if not colors[known, 3].any():
        colors[:, 3] = 1
    rgb = colors[:, :3]
    colors[:, :3] = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    colors[~known] = np.nan
    return colors


def _in_unit(raw: Floats, bytes_only: bool) -> Floats:
    """Numbers in [0, 1], 0 for what is none."""
    values = np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0)
    most = values.max(initial=0.0)
    brighter = (
        1.01 < most <= 2 and not (values == np.floor(values)).all()
    )  # as smoothing and baking make them
    if bytes_only or (1.01 < most < 256 and not brighter):
        return np.clip(values / 255, 0, 1)
    return np.clip(values / (65535 if most >= 256 else 1), 0, 1)


def paint(
    materials: Sequence[Material],
    material: npt.NDArray[np.int32],
    colors: Floats,
    named: Sequence[bool],
    notes: Counter[str],
) -> tuple[list[Material], npt.NDArray[np.int32], Colors | None]:
    """Materials, [T] numbers into them and [T,3,4] colours of triangles, None where none is left.

    `colors` [T,3,4] are linear, NaN at corners without. `named` says which materials the file itself defines: white
    vertices of others are white, not as grey as a missing material.
    """
    made, numbers = list(materials), material.copy()
    colored = np.asarray(np.isfinite(colors[..., 0]).all(axis=1))
    result = np.where(colored[:, None, None], colors, 1.0)
    for number in np.unique(material[colored]).tolist():
        look, those = materials[number], np.flatnonzero(colored & (material == number))
        if look.color_texture is not None:
            if (result[those] != 1).any():
                notes["vertex colours beside a texture ignored"] += len(those)
            result[those] = 1
        elif named[number] and (result[those] == 1).all():
            continue
        else:
            changed = look
            if min(look.color) == max(look.color):
                changed = replace(changed, color=(1.0, 1.0, 1.0))
            if (result[those, :, 3] < 1).any() and look.alpha == "opaque":
                changed = replace(changed, alpha="blend")
            if len(those) == np.count_nonzero(material == number):
                made[number] = changed
            elif changed != look:
                numbers[those] = len(made)
                made.append(changed)
    if (result == 1).all():
        return made, numbers, None
    return made, numbers, result.astype(np.float32)

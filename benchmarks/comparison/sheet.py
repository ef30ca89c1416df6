"""The renders that were measured, to look at: every shared class with objects of each snapshot beside real models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.comparison.references import pictures
from gp3d_core.evaluation.true_views import read_views
from synthetic.contact import Pixels, compose
from synthetic.layouts.shapenet import Model, ObjectClass

QUALITY = 85  # of the JPEG
_SHOWN = 2  # of each, the first by name
_SIDE, _ACROSS = 112, 2  # pixels of a picture, classes beside each other
_FILLED = 0.75  # of the edge of a render: where an object may be
_NOTHING = np.full((_SIDE, _SIDE, 3), 255, np.uint8)


def first_renders(
    renders: Path, called: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> dict[str, Tensor]:
    """The first views uint8 [N,3,R,R] of models in a data set, by class, which is there what `called` calls it."""
    views = read_views(renders)
    return {name: pictures(views, called[name], first=True)[0][:_SHOWN] for name in names}


def draw(columns: Mapping[str, Mapping[str, Tensor]]) -> Image.Image:
    """The sheet of pictures uint8 [N,3,R,R] by class and column: a block a class; missing ones stay empty."""
    rows: dict[str, list[Model]] = {}
    drawn: dict[str, Pixels] = {}
    for name in sorted(next(iter(columns.values())), key=str.lower):
        row = rows[f"{name}: {' | '.join(columns)}"] = []
        for column, images in columns.items():
            for place in range(_SHOWN):
                row.append(Model(f"{column}/{name}/{place}", Path(), ObjectClass(name, name, None, None)))
                seen = place < len(images[name])
                drawn[row[-1].key] = _cropped(images[name][place]) if seen else _NOTHING
    return compose(rows, drawn, _SHOWN * len(columns), min(_ACROSS, len(rows)), _SIDE)


def _cropped(image: Tensor) -> Pixels:
    whole = Image.fromarray(image.permute(1, 2, 0).numpy())
    edge = (1 - _FILLED) / 2 * whole.width
    inner = (edge, edge, whole.width - edge, whole.height - edge)
    return np.asarray(whole.resize((_SIDE, _SIDE), Image.Resampling.BOX, inner))

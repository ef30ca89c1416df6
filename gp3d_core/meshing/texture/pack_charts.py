"""A program that packs the charts of an atlas: `python pack_charts.py IN.npz OUT.npz`.

It runs in a process of its own, because the time of a packing has no bound, and imports numpy and xatlas only.

xatlas turns charts on request, but its quarter turns swap u and v, which mirrors what is drawn on them. So it is asked
for places alone, and a chart gets there as it was drawn: turned, shifted and scaled. W vertices, F faces, C charts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PADDING = (
    24  # of these between charts make up the width of the mean one: 4 texels for 25 charts of 512² texels
)
_MOST_PADDING = 4  # texels of the grid, and 1 at the least
_GRID = 512  # texels along an edge, at which charts of larger textures are packed too: time grows with their number
_FILLED = 0.5  # of the texels: first guess
_ROUNDS = 3  # of packing, until charts need about as many texels as there are
_POINT = 1e-12  # texels², weight of a face that xatlas makes a point of
_SEARCHED = (
    100  # charts, up to which the best places are searched for; of more the time would grow with the square
)

_KEPT: list[Any] = []  # atlases, which are never freed: xatlas 0.0.11 may then wait for ever


class PackError(RuntimeError):
    """The charts do not fit onto one page."""


def pack(request: Path, answer: Path) -> None:
    """Reads uv [W,2], faces [F,3], the chart [W] of each vertex and size; writes uv float32 [W,2] in [0,1]."""
    with np.load(request, allow_pickle=False) as data:
        drawn, faces, chart = data["uv"], data["faces"], data["chart"]
        size = min(int(data["size"]), _GRID)
    padding = int(np.clip(size / (chart.max() + 1) ** 0.5 / _PADDING, 1, _MOST_PADDING))
    scale = size * (_FILLED / np.abs(doubled_areas(drawn, faces)).sum() * 2) ** 0.5
    for _ in range(_ROUNDS):
        placed, extent = _best_placed(drawn * scale, faces, chart, padding)
        larger = extent.max() / size
        if larger < 1.1:
            break
        scale /= larger
    np.savez(answer, uv=np.clip(_drawn_in(placed / extent, chart), 0, 1).astype(np.float32))


def doubled_areas(uv: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    """Twice the signed area [F] of faces [F,3] in the plane, positive if counter-clockwise."""
    (ax, ay), (bx, by) = (uv[faces[:, 1]] - uv[faces[:, 0]]).T, (uv[faces[:, 2]] - uv[faces[:, 0]]).T
    doubled: NDArray[Any] = ax * by - ay * bx
    return doubled


def _best_placed(
    drawn: NDArray[Any], faces: NDArray[Any], chart: NDArray[Any], padding: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Positions [W,2] of the vertices in texels, and width and height of what they need.

    Few charts are packed as they are drawn and turned along their longest side, and the smaller atlas is taken.
    """
    few = bool(chart.max() < _SEARCHED)
    atlases = [
        _atlas(drawn, faces, padding, search=few, turn=turn) for turn in ((True, False) if few else (True,))
    ]
    best = min(atlases, key=lambda atlas: max(atlas.width, atlas.height))
    extent = np.array([best.width, best.height])
    _, corners, uv = best.get_mesh(0)
    return _moved(drawn, faces, chart, (uv * extent)[corners.astype(np.int64)]), extent


def _atlas(drawn: NDArray[Any], faces: NDArray[Any], padding: int, *, search: bool, turn: bool) -> Any:
    """xatlas's page."""
    import xatlas  # here, so that only the child needs it

    atlas = xatlas.Atlas()
    _KEPT.append(atlas)
    atlas.add_uv_mesh(drawn.astype(np.float32), faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.texels_per_unit, options.padding, options.bilinear = 1.0, padding, True
    options.rotate_charts = False  # quarter turns: these mirror
    options.rotate_charts_to_axis, options.bruteForce = turn, search
    atlas.generate(xatlas.ChartOptions(), options)
    if atlas.atlas_count != 1:
        raise PackError(f"xatlas needed {atlas.atlas_count} pages, expected 1")
    return atlas


def _moved(
    drawn: NDArray[Any], faces: NDArray[Any], chart: NDArray[Any], packed: NDArray[Any]
) -> NDArray[Any]:
    """The vertices [W,2] where the turn and shift of their chart take them that fit its `packed` corners [F,3,2] best.

    Faces count by their packed area: xatlas packs slivers alone, or makes points of them, as of charts that are much
    smaller than a texel. These stay as drawn, around that point.
    """
    flat = packed.reshape(-1, 2)
    weight = np.abs(doubled_areas(flat, np.arange(len(flat)).reshape(-1, 3))).repeat(3) + _POINT
    owner, before = chart[faces.reshape(-1)], _complex(drawn[faces.reshape(-1)])
    after = _complex(flat)
    total = np.bincount(owner, weight)

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        real, imag = (np.bincount(owner, weight * part) / total for part in (values.real, values.imag))
        middle: NDArray[Any] = real + 1j * imag
        return middle

    start, end = mean(before), mean(after)
    turn = mean((before - start[owner]).conj() * (after - end[owner]))
    turn = np.where(total > 1e3 * _POINT * np.bincount(owner), turn / np.maximum(np.abs(turn), _POINT), 1)
    moved = end[chart] + turn[chart] * (_complex(drawn) - start[chart])
    return np.stack([moved.real, moved.imag], axis=1)


def _drawn_in(uv: NDArray[Any], chart: NDArray[Any]) -> NDArray[Any]:
    """uv [W,2] with every chart shifted by what it sticks out of the unit square."""
    low, high = np.zeros((chart.max() + 1, 2)), np.ones((chart.max() + 1, 2))
    np.minimum.at(low, chart, uv)
    np.maximum.at(high, chart, uv)
    inside: NDArray[Any] = uv + (1 - low - high)[chart]
    return inside


def _complex(points: NDArray[Any]) -> NDArray[Any]:
    """Points [N,2] of the plane as complex numbers [N]."""
    numbers: NDArray[Any] = points[:, 0] + 1j * points[:, 1]
    return numbers


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
    # Freeing an atlas tells its threads to end without holding their locks. One that is just about to sleep
    # misses it, is waited for, and never ends: once in some hundred thousand atlases of an idle machine.
    os._exit(0)

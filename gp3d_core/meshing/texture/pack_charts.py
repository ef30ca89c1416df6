"""A program that packs the charts of an atlas: `python packing.py IN.npz OUT.npz`.

It runs in a process of its own, because the time of a packing has no bound, and imports numpy and xatlas only.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PADDINGS = (4, 2, 1)  # texels between charts; the smaller ones for surfaces of very many charts


class PackError(RuntimeError):
    """The charts do not fit onto one page."""


def pack(request: Path, answer: Path) -> None:
    """Reads uv [W,2], faces [F,3] and size; writes source [X], faces and uv [X,2] in [0,1]."""
    import xatlas  # here, so that only the child needs it

    with np.load(request, allow_pickle=False) as data:
        drawn, faces, size = data["uv"], data["faces"], int(data["size"])
    for padding in _PADDINGS:
        atlas = xatlas.Atlas()
        atlas.add_uv_mesh(drawn, faces.astype(np.uint32))
        options = xatlas.PackOptions()
        options.resolution, options.padding, options.bilinear = size, padding, True
        atlas.generate(xatlas.ChartOptions(), options)
        if atlas.atlas_count == 1:
            break
    else:
        raise PackError(f"xatlas needed {atlas.atlas_count} pages of {size} texels, expected 1")
    source, corners, uv = atlas.get_mesh(0)
    source, corners, uv = _settle_orphans(source.astype(np.int64), corners.astype(np.int64), uv)
    np.savez(answer, source=source, faces=corners.astype(np.int32), uv=uv.astype(np.float32))


def _settle_orphans(
    source: NDArray[Any], faces: NDArray[Any], uv: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The atlas with faces that got no area in it shrunk to a point of a neighbouring face that has one.

    They are slivers, which xatlas leaves at uv 0 or drops as a chart of their own on somebody else's.
    """
    (ax, ay), (bx, by) = (uv[faces[:, 1]] - uv[faces[:, 0]]).T, (uv[faces[:, 2]] - uv[faces[:, 0]]).T
    area = np.abs(ax * by - ay * bx)
    orphans = np.flatnonzero(area <= 1e-4 * np.median(area))
    placed = np.full(source.max() + 1, -1)  # a copy of each source vertex that has a place
    charted = np.delete(faces, orphans, axis=0)
    placed[source[charted]] = charted
    home = placed[source[faces[orphans]]].max(axis=1)
    orphans, home = orphans[home >= 0], home[home >= 0]
    corners = source[faces[orphans]].reshape(-1)
    faces = faces.copy()
    faces[orphans] = len(source) + np.arange(len(corners)).reshape(-1, 3)
    source, uv = np.concatenate([source, corners]), np.concatenate([uv, uv[home.repeat(3)]])
    used, renumbered = np.unique(faces, return_inverse=True)
    return source[used], renumbered.reshape(-1, 3), uv[used]


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))

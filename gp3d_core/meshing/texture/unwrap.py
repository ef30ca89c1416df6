"""UV atlases: charts of our own, packed by xatlas in a child process that ends when its time is over.

xatlas's own charts take seconds for a noisy surface of 30 000 faces, ours a fraction of one.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.atomic import scratch_folder
from gp3d_core.meshing.texture import charts, pack_charts, texels
from gp3d_core.signals import Progress, no_progress

_ROUNDS = 4  # of cutting charts that fold over themselves


class UnwrapError(RuntimeError):
    """No atlas: out of time, or xatlas failed; the message says which."""


def unwrap(
    vertices: NDArray[Any],
    faces: NDArray[Any],
    *,
    size: int,
    seconds: float,
    quads: NDArray[Any] | None = None,
    progress: Progress = no_progress,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """An atlas for a square texture of `size` texels: source [W], faces [F,3] int32, uv [W,2] float32 in [0, 1].

    `vertices` float32 [V,3], `faces` int32 [F,3]. The W vertices of the atlas are the given ones, repeated
    where a seam runs: `source` says which; faces keep their order, do not overlap, and none is mirrored: seen from
    outside, each is wound one way in space and in the atlas. `quads` int32 [Q,2] are pairs of faces that no seam should
    separate; one does where no direction sees both. `progress` hears of the stage atlas ten times a second,
    and may raise to stop. Raises UnwrapError after `seconds`, or if xatlas fails.
    """
    if len(vertices) == 0 or faces.max() >= len(vertices):
        raise UnwrapError(f"no atlas for {len(faces)} faces of {len(vertices)} vertices")
    end = time.monotonic() + seconds
    progress("atlas", 0, 1)
    pairs = charts.neighbours(faces)
    direction = charts.directions_of(vertices, faces, pairs)
    mate: NDArray[Any] = np.arange(len(faces))
    if quads is not None:
        direction = charts.joined_directions(vertices, faces, direction, quads)
        mate[quads] = quads[:, ::-1]
    chart = _flat_charts(vertices, faces, direction, pairs, mate, size)
    source, corners, uv = charts.draw_charts(vertices, faces, direction, chart)
    owner = np.empty(len(uv), np.int64)
    owner[corners] = chart[:, None]
    uv = _pack({"uv": uv, "faces": corners, "chart": owner, "size": size}, seconds, end, progress)
    return source.astype(np.int32), corners.astype(np.int32), uv


def _flat_charts(
    vertices: NDArray[Any],
    faces: NDArray[Any],
    direction: NDArray[Any],
    pairs: NDArray[Any],
    mate: NDArray[Any],
    size: int,
) -> NDArray[Any]:
    """The chart [F] of each face; charts that would fold over themselves are cut, so that the lower part is one.

    A face and its `mate` [F], which may be itself, go together: halves of a quad cannot lie on each other.
    """
    layer = np.zeros(len(faces), np.int64)
    suspects: NDArray[Any] = np.arange(len(faces))
    height = np.einsum("fd,fd->f", vertices[faces].mean(axis=1), charts.DIRECTIONS[direction])
    for left in reversed(range(_ROUNDS)):
        chart = charts.charts_of(direction + len(charts.DIRECTIONS) * layer, pairs)
        _, corners, uv = charts.draw_charts(vertices, faces, direction, chart)
        uv = uv.astype(np.float32)  # faster
        upper, lower = (
            suspects[found]
            for found in texels.overlaps(uv * _texels_per_unit(uv, corners, size), corners[suspects])
        )
        if len(upper) == 0:
            return chart
        suspects = np.flatnonzero(np.isin(chart, chart[upper]))
        behind = np.unique(np.where(height[upper] < height[lower], upper, lower))
        behind = np.union1d(behind, mate[behind])
        _, alone = np.unique(np.minimum(behind, mate[behind]), return_inverse=True)
        layer[behind] = layer.max() + 1 + (alone if left == 0 else 0)  # at last each alone
    return charts.charts_of(direction + len(charts.DIRECTIONS) * layer, pairs)


def _texels_per_unit(uv: NDArray[Any], faces: NDArray[Any], size: int) -> float:
    """About how many texels of an atlas of `size`² a unit of `uv` [W,2] will get; a little more."""
    area = float(np.abs(pack_charts.doubled_areas(uv, faces)).sum(dtype=np.float64)) / 2
    return size / max(area, 1e-12) ** 0.5


def _pack(request: Mapping[str, Any], seconds: float, end: float, progress: Progress) -> NDArray[Any]:
    """The uv [W,2] in the unit square of the charts of `request`, which `pack_charts.pack` reads.

    The clock must not show `end`, which is `seconds` after the start, before they are there.
    """
    count = len(request["faces"])
    with scratch_folder() as folder:
        asked, answer, log = folder / "request.npz", folder / "answer.npz", folder / "log"
        np.savez(asked, **request)
        with log.open("wb") as errors:
            command = [sys.executable, "-P", pack_charts.__file__, str(asked), str(answer)]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
            try:
                code = _wait(child, end, progress)
            finally:
                child.kill()
                child.wait()
        if code is None:
            raise UnwrapError(f"the atlas of {count} faces was not ready after {seconds:g} s")
        if code != 0:
            lines = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise UnwrapError(f"no atlas for {count} faces ({lines[-1]})")
        with np.load(answer, allow_pickle=False) as data:
            uv: NDArray[Any] = data["uv"]
            return uv


def _wait(child: subprocess.Popen[bytes], end: float, progress: Progress) -> int | None:
    """The child's exit code, or None when the clock shows `end`."""
    while True:
        progress("atlas", 0, 1)
        try:
            return child.wait(timeout=max(0.0, min(0.1, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= end:
                return None

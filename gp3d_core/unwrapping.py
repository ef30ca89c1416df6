"""UV atlases by xatlas, in a child process that ends when its time is over: the time of an unwrapping has no
bound.

Run as a program, this file is that child: `python unwrapping.py IN.npz OUT.npz`. It imports numpy and xatlas
only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_PADDING = 4  # texels between charts


class UnwrapError(RuntimeError):
    """No atlas: out of time, or xatlas failed; the message says which."""


def unwrap(
    vertices: np.ndarray, faces: np.ndarray, *, size: int, seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An atlas for a square texture of `size` texels: source [W], faces [F,3] int32, uv [W,2] float32 in [0,
    1].

    `vertices` float32 [V,3], `faces` int32 [F,3]. The W vertices of the atlas are the given ones, repeated
    where a seam runs: `source` says which; faces keep their order. Raises UnwrapError after `seconds`, or if
    xatlas fails.
    """
    with tempfile.TemporaryDirectory(prefix="gp3d-unwrap-") as folder:
        request, answer = Path(folder, "request.npz"), Path(folder, "answer.npz")
        np.savez(request, vertices=vertices, faces=faces, size=size)
        try:
            child = subprocess.run(
                [sys.executable, "-P", __file__, str(request), str(answer)],
                timeout=seconds,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UnwrapError(f"the atlas of {len(faces)} faces was not ready after {seconds:g} s") from None
        if child.returncode != 0:
            lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
            raise UnwrapError(f"no atlas for {len(faces)} faces ({lines[-1]})")
        with np.load(answer, allow_pickle=False) as data:
            return data["source"], data["faces"], data["uv"]


def _unwrap_here(request: Path, answer: Path) -> None:
    """Reads vertices, faces and size, and writes source, faces and uv."""
    import xatlas  # here, so that only the child needs it

    with np.load(request, allow_pickle=False) as data:
        vertices, faces, size = data["vertices"], data["faces"], int(data["size"])
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces.astype(np.uint32))
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_cost = 4.0  # twice the default: a third of the charts, and less time
    pack.resolution, pack.padding, pack.bilinear = size, _PADDING, True
    atlas.generate(charts, pack)
    if atlas.atlas_count != 1:
        raise UnwrapError(f"xatlas needed {atlas.atlas_count} pages of {size} texels, expected 1")
    source, corners, uv = atlas.get_mesh(0)
    source, corners, uv = _settle_orphans(source.astype(np.int64), corners.astype(np.int64), uv)
    np.savez(answer, source=source, faces=corners.astype(np.int32), uv=uv.astype(np.float32))


def _settle_orphans(
    source: np.ndarray, faces: np.ndarray, uv: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    _unwrap_here(Path(sys.argv[1]), Path(sys.argv[2]))

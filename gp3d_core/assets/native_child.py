"""The script of a child process that calls one native library, named by its argument; stdin and stdout are npz files.

It imports numpy and that library alone, and is started by its path (`native.call`): what the library prints, how long
it takes and how it dies are then of no harm to the process that asked. On Linux it dies with that process.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys
from typing import Any

import numpy as np


def quads(given: Any) -> dict[str, Any]:
    """Quads of Instant Meshes; `vertices` [V,3] and `faces` [Q,4], or [F,3] where it makes triangles."""
    from pyinstantmeshes import remesh

    vertices, faces = remesh(
        given["vertices"],
        given["faces"],
        target_face_count=int(given["target"]),
        crease_angle=-1.0,  # no angle is an edge: on surfaces of fields, edges of noise would be followed
        extrinsic=bool(given["extrinsic"]),
        pure_quad=True,
        deterministic=True,
    )
    return {"vertices": vertices, "faces": faces}


def collision(given: Any) -> dict[str, Any]:
    """Corners of convex parts by CoACD, one after the other in `points` [P,3]; `sizes` says how many each has."""
    import coacd

    coacd.set_log_level("off")
    parts = coacd.run_coacd(
        coacd.Mesh(given["vertices"], given["faces"]),
        threshold=float(given["concavity"]),
        max_convex_hull=int(given["parts"]),
        preprocess_mode="auto",
        mcts_iterations=60,  # a third of the library's time, and parts of about the same volume
        mcts_nodes=12,
        mcts_max_depth=2,
        seed=0,
    )
    return {
        "points": np.concatenate([points for points, _ in parts]),
        "sizes": np.array([len(points) for points, _ in parts]),
    }


TASKS = {"quads": quads, "collision": collision}
_DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)  # the library prints, too
        with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as arrays:
            made = TASKS[sys.argv[1]](dict(arrays))
        np.savez(answer, **made)

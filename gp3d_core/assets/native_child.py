"""The script of a child process that calls one native library: arguments are a task, a file to read, one to write.

Both files are npz. It imports numpy and that library alone, and is started by its path (`native.call`): what the
library prints, how long it takes and how it dies are then of no harm to the process that asked.
"""

from __future__ import annotations

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

if __name__ == "__main__":
    task, source, target = sys.argv[1:]
    with np.load(source, allow_pickle=False) as arrays:
        made = TASKS[task](dict(arrays))
    np.savez(target, **made)

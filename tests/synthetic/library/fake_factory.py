"""`python -m tests.synthetic.library.fake_factory KIND JOB`: behaves as a child that makes an object, or fails so."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from synthetic.library.infinigen.job import FAILURE, FactoryJob
from synthetic.staging.surface import Material, Part, Texture, merge


def good(job: FactoryJob) -> None:
    """A square as wide as the seed's last digit and one more, facing +z, with one texture."""
    half = (job.seed % 10 + 1) / 2
    corners = np.array([(-half, -1, 0), (half, -1, 0), (half, 1, 0), (-half, 1, 0.5)])
    triangles = np.array([(0, 1, 2), (0, 2, 3)])
    uv = ((corners[triangles][..., :2] / (half, 1) + 1) / 2).astype(np.float32)
    Image.new("RGB", (job.texture, job.texture), (200, job.seed % 256, 30)).save(job.folder / "color.png")
    look = Material(
        "m", (1, 1, 1), Texture(job.folder / "color.png", wrap=("clamp", "clamp")), roughness=0.25
    )
    normals = np.broadcast_to(np.float32([0, 0, 1]), (2, 3, 3))
    job.write(merge([Part(corners, triangles, np.zeros(2, np.int32), (uv,), normals=normals)], [look]))


def main() -> int:
    kind, job = sys.argv[1], FactoryJob.from_json(json.loads(sys.argv[2]))
    if kind == "good":
        good(job)
    elif kind == "fails":
        (job.folder / FAILURE).write_text("ValueError: no petals")
        return 1
    elif kind == "exits":
        sys.stderr.write("before\nthe very last line\n")
        return 3
    elif kind == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "grows":
        held = bytearray(os.urandom(1 << 20) * 600)
        time.sleep(60)
        del held
    elif kind.startswith("hangs"):
        if ":" in kind:
            Path(kind.partition(":")[2]).write_text(str(os.getpid()))
        time.sleep(600)
    return 0


if __name__ == "__main__":
    sys.exit(main())

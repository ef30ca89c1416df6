"""A teapot on a turntable, colour beside depth, as a GIF."""

from __future__ import annotations

import sys
from pathlib import Path

from gp3d_core import ObjectPipeline


def main(out: Path) -> None:
    """Writes the film into `out`."""
    teapot = ObjectPipeline.from_pretrained().generate("teapot", seed=2)
    out.mkdir(parents=True, exist_ok=True)
    print(teapot.turntable(out / "teapot.gif", frames=16, resolution=64, depth=True))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples"))

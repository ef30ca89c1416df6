"""What can be chosen about a relief, for command lines and requests alike. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gp3d_core.preparation.depth.kinds import Meaning

# How depth edges are found: as lifting.edges, or as lifting.released says
Edges = Literal["sharpened", "released"]
GRID, BORDER = 512, 0.2
# Least and most of each number
RATIOS = (1.001, 1000.0)
FOVS = (1.0, 150.0)
GRIDS = (16, 2048)
BORDERS = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class LiftOptions:
    """How a picture becomes a relief.

    `depth` is the file of its depth map, else `model` the network that estimates it (a file of weights, a folder, or
    an id). `kind` says what the map, or the network, gives; None: depth for a file, what is known of the network.
    `ratio` is the farthest distance over the nearest, None: as deep as the picture is wide; `fov` degrees of the
    longer side, None: of the EXIF data, else 53.13. `grid` counts the cells of the longer side, `border` says how far
    the picture is carried on around it, in longer sides. With a `mask`, a picture of the subject, the relief is that
    of the subject alone and has no border.
    """

    depth: Path | None = None
    model: str | None = None
    kind: Meaning | None = None
    ratio: float | None = None
    fov: float | None = None
    grid: int = GRID
    border: float = BORDER
    mask: Path | None = None

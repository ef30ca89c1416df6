"""Staged models made by hand, and their views as the renderer draws them in a process of its own."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthetic.dataset import PASSES, RenderedView
from synthetic.staging.surface import Material, Part, StagedModel, merge
from synthetic.surroundings.draws import ViewSurroundings
from synthetic.viewpoints import Viewpoint
from synthetic.workers.blender_process import LeaveWithoutDestructors, prepare_blender
from tests.synthetic.small_library import environment

SIDE = 64
USUAL = ViewSurroundings()
FRONT = Viewpoint(yaw=0.0, pitch=np.pi / 2, radius=2.0, fov=40.0)


@dataclass(frozen=True)
class Drawing:
    """A model to be drawn, with what is around it; the room's two colours where it is to stand in one.

    With `film` Blender itself draws the world behind the model.
    """

    model: StagedModel
    views: tuple[Viewpoint, ...] = (FRONT,)
    room: tuple[tuple[float, float, float], ...] = ()
    around: ViewSurroundings = USUAL
    film: bool = False


def staged(parts: Sequence[Part], materials: Sequence[Material]) -> StagedModel:
    """A model of these parts, as they are."""
    surface = merge(parts, materials)
    return StagedModel(surface, np.eye(4), len(surface), {}, Counter())


def square(depth: float, half: float, material: int = 0, **attributes: object) -> Part:
    """A square that faces +z, its uvs 0 to 1 from the lower left corner to the upper right one."""
    corners = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    triangles = np.array([(0, 1, 2), (0, 2, 3)])
    uvs = ((corners[triangles] + 1) / 2).astype(np.float32)
    positions = np.column_stack([half * corners, np.full(4, depth)])
    return Part(positions, triangles, np.full(2, material, np.int32), **{"uvs": (uvs,), **attributes})


def places(depth: float, half: float) -> np.ndarray:
    """[R,R,2] uv of such a square at every pixel's centre, as FRONT sees it; beyond [0, 1] off it."""
    focal = (SIDE - 1) / 2 / np.tan(np.radians(FRONT.fov / 2))
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    scale = (FRONT.radius - depth) / focal / half
    return np.stack([columns * scale + 1, -rows * scale + 1], axis=-1) / 2


def draw(
    folder: Path, drawings: Mapping[str, Drawing], samples: int = 16, ground: bool = False
) -> dict[str, list[RenderedView]]:
    """The views of every drawing, all by one Blender, with normals, albedo and all passes."""
    (folder / "drawings").write_bytes(pickle.dumps((samples, ground, drawings)))
    subprocess.run(
        [sys.executable, "-m", "tests.synthetic.blender.drawing", folder],
        env=environment(folder / "scratch"),
        check=True,
        capture_output=True,
        timeout=300,
    )
    views: dict[str, list[RenderedView]] = pickle.loads((folder / "views").read_bytes())
    return views


def main(folder: Path) -> None:
    """Draws what `draw` has put into the folder."""
    prepare_blender(folder)
    import bpy

    from synthetic.blender.scene import BlenderScene

    samples, ground, drawings = pickle.loads((folder / "drawings").read_bytes())
    scene = BlenderScene(
        SIDE, samples, folder / "scratch", 1, normals=True, albedo=True, passes=PASSES, ground=ground
    )
    views = {}
    for name, drawing in drawings.items():
        scene.load(drawing.model)
        if drawing.room:
            scene.build_room(drawing.room)
        bpy.context.scene.render.film_transparent = not drawing.film
        views[name] = [scene.render(view, drawing.around) for view in drawing.views]
    (folder / "views").write_bytes(pickle.dumps(views))


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        main(Path(sys.argv[1]))

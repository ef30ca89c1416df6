"""Several views of one scene in one rendering: Cycles makes its scene and its BVH once, then only the camera moves.

A rendering a view, the usual way, builds the dependency graph, Cycles' scene and the compositor's files anew: 11 ms of
the processor besides the pixels, and 4 ms this way. `RenderEngine` is Blender's interface for engines; the work is left
to the functions of its own add-on for Cycles, whose names and arguments are the same from 4.2 to 5.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeAlias

import bpy
import numpy as np
import numpy.typing as npt
from cycles import engine as cycles  # Blender's add-on; it is there once bpy is imported

ENGINE = "GP3D_VIEWS"

Window: TypeAlias = tuple[int, int, int, int]  # first column and row, first column and row beyond
Passes: TypeAlias = Mapping[str, npt.NDArray[np.float32]]


class _Views(bpy.types.RenderEngine):
    """Draws the views of `_job`. Blender makes one whenever it renders, and calls its methods."""

    bl_idname, bl_label = ENGINE, "Views"
    bl_use_exclude_layers = True
    session: Any = None  # Cycles' own

    def update(self, data: bpy.types.BlendData, depsgraph: bpy.types.Depsgraph) -> None:
        if self.session is None:
            cycles.create(self, data)

    def update_render_passes(self, scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> None:
        cycles.register_passes(self, scene, layer)

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        with _job:
            try:
                _job.draw(self, depsgraph)
            finally:
                cycles.free(self)  # what Cycles holds of a model; Blender would keep it until the next


class _Job:
    """What is to be drawn by the next engine, and what became of it.

    Inside `with` an error becomes its `error`: Blender would print it and go on.
    """

    def __init__(self) -> None:
        self.windows: Mapping[int, Window] = {}
        self.taken: Callable[[int, Passes], bool] = lambda *_: False
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        self.error = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True

    def draw(self, engine: _Views, depsgraph: bpy.types.Depsgraph) -> None:
        settings = engine.path_resolve(
            "render"
        )  # the name means the method; a copy that is this rendering's own
        settings.use_border = True
        for frame, window in self.windows.items():
            side_x, side_y = engine.resolution_x, engine.resolution_y
            left, top, right, bottom = window
            # A quarter more, and Blender finds the pixel whether it cuts or rounds.
            settings.border_min_x, settings.border_max_x = (left + 0.25) / side_x, (right + 0.25) / side_x
            settings.border_min_y = (side_y - bottom + 0.25) / side_y
            settings.border_max_y = (side_y - top + 0.25) / side_y
            engine.frame_set(frame, 0.0)
            cycles.reset(engine, bpy.data, depsgraph)
            cycles.render(engine, depsgraph)
            cycles.render_frame_finish(engine)
            if not self.taken(frame, _passes(engine.get_result(), window)):
                return


_job = _Job()


def _passes(result: bpy.types.RenderResult, window: Window) -> Passes:
    """All passes of a result by name, [H,W,C], 0 outside the window, whose pixels Cycles has put into the corner."""
    left, top, right, bottom = window
    found: dict[str, npt.NDArray[np.float32]] = {}
    for each in result.layers[0].passes:
        drawn = np.empty((result.resolution_y, result.resolution_x, each.channels), dtype=np.float32)
        each.rect.foreach_get(drawn.reshape(-1))
        whole = found[each.name] = np.zeros_like(drawn)
        whole[top:bottom, left:right] = drawn[: bottom - top, : right - left][
            ::-1
        ]  # the lowest row comes first
    return found


def draw_views(windows: Mapping[int, Window], taken: Callable[[int, Passes], bool]) -> None:
    """Draws frames of the scene by their numbers, each within its window only, which must not be empty.

    `taken` is called after each with its number and its passes, linear colours as [H,W,C] from the top and 0 outside
    the window, and says whether to go on; an exception of it comes through.
    """
    settings = bpy.context.scene.render
    _job.windows, _job.taken, _job.error = windows, taken, None
    settings.use_persistent_data = True  # Cycles' word for keeping what did not change between views
    try:
        bpy.ops.render.render()
    finally:
        settings.use_persistent_data = False  # on, Blender keeps the last model
    if _job.error is not None:
        raise _job.error


def use_views() -> None:
    """Has the scene drawn by `draw_views`, without a compositor or a sequencer."""
    bpy.utils.register_class(_Views)
    settings = bpy.context.scene.render
    settings.engine = ENGINE
    settings.use_border = settings.use_compositing = settings.use_sequencer = False

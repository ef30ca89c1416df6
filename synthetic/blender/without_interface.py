"""Blender, imported without the Python part of its interface and without add-ons that nothing here uses.

`import bpy` loads the menus, panels and operators of all editors, and add-ons that read and write other files: 0.2 of
its 0.45 s of the processor. Cycles is an add-on, too, and stays, but for its panels. Of other Blenders than the default
all is loaded: nobody has tried what their parts need of one another.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from synthetic.blender.empty_modules import standing_in

_TRIED = "4.2"  # which has its scripts in a folder of that name
_UNUSED = (
    *("bl_app_templates_system", "bl_operators", "bl_ui", "keyingsets_builtins", "nodeitems_builtins"),
    *("cycles.presets", "cycles.ui"),
    *("bl_pkg", "io_anim_bvh", "io_curve_svg", "io_mesh_uv_layout", "io_scene_fbx", "io_scene_gltf2"),
    "pose_library",
)


class _Nothing(ModuleType):
    """What Blender takes for a module of its own that is up to date, and registers nothing."""

    __file__ = __file__
    __time__ = os.path.getmtime(__file__)

    def register(self) -> None:
        """Does nothing."""

    def unregister(self) -> None:
        """Does nothing."""


def _is_tried() -> bool:
    spec = find_spec("bpy")
    return spec is not None and any(
        (Path(place) / _TRIED).is_dir() for place in spec.submodule_search_locations or ()
    )


# Where Blender is there already, it has all that it is to have.
_EMPTY = {name: _Nothing(name) for name in _UNUSED} if "bpy" not in sys.modules and _is_tried() else {}

with standing_in(_EMPTY):
    import bpy

__all__ = ["bpy"]

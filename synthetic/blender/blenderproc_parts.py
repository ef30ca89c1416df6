"""The parts of BlenderProc that are used, imported without the libraries of those that are not.

BlenderProc 2.8.0 imports trimesh, SciPy, GitPython, requests, h5py, OpenCV, imageio and rich with whatever part of it,
for functions that are never called here. They take twice as long as Blender itself: more than 0.7 s of the processor.
"""

from __future__ import annotations

import sys
from types import ModuleType

import bpy  # noqa: F401  the first of them: BlenderProc cannot be imported without it

from synthetic.blender.empty_modules import standing_in

_UNUSED = {  # with the names that are taken from them
    **dict.fromkeys(("cv2", "git", "h5py", "imageio", "rich", "scipy.stats"), ()),
    "requests": ("Response",),
    "rich.console": ("Console",),
    "rich.progress": ("Progress", "TextColumn", "BarColumn", "TimeRemainingColumn"),
    "scipy": ("stats",),
    "trimesh": ("Trimesh",),
}


def _empty() -> dict[str, ModuleType]:
    """Empty modules for those that are not imported already.

    Only BlenderProc keeps them, and a function of it that needs one fails with an AttributeError, or a TypeError.
    """
    empty = {name: ModuleType(name) for name in _UNUSED if name not in sys.modules}
    for name, module in empty.items():
        for needed in _UNUSED[name]:
            setattr(module, needed, None)
    return empty


with standing_in(_empty()):
    from blenderproc.python.camera import CameraUtility
    from blenderproc.python.renderer import RendererUtility
    from blenderproc.python.types.LightUtility import Light
    from blenderproc.python.utility.Initializer import _Initializer as Initializer
    from blenderproc.python.utility.Initializer import clean_up
    from blenderproc.python.utility.Utility import Utility

__all__ = ["CameraUtility", "Initializer", "Light", "RendererUtility", "Utility", "clean_up"]

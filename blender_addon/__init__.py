"""GP3D for Blender: press a button, get a textured object of an ImageNet class.

The add-on drives `gp3d serve` (docs/serve.md) over pipes; it needs no network, opens no port and brings no libraries.
"""

import importlib.util

if importlib.util.find_spec("numpy") is None:  # Debian's Blender without python3-numpy
    from .without_numpy import register, unregister
else:
    from .registration import register, unregister

__all__ = ["register", "unregister"]

bl_info = {  # for Blender before 4.2, which knows no manifest
    "name": "GP3D: Generate ImageNet Class",
    "author": "GP3D",
    "version": (0, 1, 0),
    "blender": (3, 4, 0),
    "location": "3D Viewport > Sidebar > GP3D",
    "description": "Textured 3D objects from a class and a seed, made locally",
    "category": "Add Mesh",
}

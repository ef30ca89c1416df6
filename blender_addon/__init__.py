"""GP3D for Blender: press a button, get a textured object of an ImageNet class.

The add-on drives `gp3d serve` (docs/serve.md) over pipes; it needs no network, opens no port and brings no libraries.
"""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import engine_control, properties
from .state import STATE
from .ui import engine_operators, operators, panels

bl_info = {  # for Blender before 4.2, which knows no manifest
    "name": "GP3D: Generate ImageNet Class",
    "author": "GP3D",
    "version": (0, 1, 0),
    "blender": (3, 4, 0),
    "location": "3D Viewport > Sidebar > GP3D",
    "description": "Textured 3D objects from a class and a seed, made locally",
    "category": "Add Mesh",
}

CLASSES = (*properties.CLASSES, *operators.CLASSES, *engine_operators.CLASSES, *panels.CLASSES)


@persistent
def before_load(*_: object) -> None:
    """Called before another file is opened: cancels the jobs, whose results belong to this one."""
    engine_control.cancel()
    engine_control.stop_timer()


@persistent
def after_load(*_: object) -> None:
    """Called after a file was opened: the engine has stayed, so the timer has to run again."""
    if STATE.session.engine is not None:
        engine_control.start_timer()


def register() -> None:
    """Called by Blender when the add-on is enabled."""
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    properties.attach()
    bpy.types.VIEW3D_MT_mesh_add.append(panels.draw_menu)
    bpy.app.handlers.load_pre.append(before_load)
    bpy.app.handlers.load_post.append(after_load)
    STATE.load_samples()
    STATE.look_for_engine(properties.preferences(bpy.context).engine_path)


def unregister() -> None:
    """Called by Blender when the add-on is disabled: ends the engine and leaves nothing behind."""
    engine_control.stop_timer()
    STATE.close()
    bpy.app.handlers.load_post.remove(after_load)
    bpy.app.handlers.load_pre.remove(before_load)
    bpy.types.VIEW3D_MT_mesh_add.remove(panels.draw_menu)
    properties.detach()
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)

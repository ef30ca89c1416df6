"""Registers everything that the add-on adds to Blender, and takes it away again."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import engine_control, properties
from .browser import choices, filling
from .state import STATE
from .ui import browser_operators, engine_operators, file_operators, operators, panels, trust_operators

CLASSES = (
    *properties.CLASSES,
    *choices.CLASSES,
    *operators.CLASSES,
    *engine_operators.CLASSES,
    *file_operators.CLASSES,
    *trust_operators.CLASSES,
    *browser_operators.CLASSES,
    *panels.CLASSES,
)


@persistent
def before_load(*_: object) -> None:
    """Called before another file is opened: cancels the jobs, whose results belong to this one."""
    engine_control.cancel()
    engine_control.stop_timer()


@persistent
def before_save(*_: object) -> None:
    """Called before a file is written: it keeps what the seed browser shows."""
    filling.save(bpy.context.scene)


@persistent
def after_load(*_: object) -> None:
    """Called after a file was opened: the engine has stayed, so the timer has to run again."""
    filling.restore(bpy.context.scene)
    if STATE.session.engine is not None:
        engine_control.start_timer()


def register() -> None:
    """Called by Blender when the add-on is enabled."""
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    properties.attach()
    choices.attach()
    bpy.types.VIEW3D_MT_mesh_add.append(panels.draw_menu)
    bpy.app.handlers.load_pre.append(before_load)
    bpy.app.handlers.load_post.append(after_load)
    bpy.app.handlers.save_pre.append(before_save)
    STATE.wake = engine_control.fill
    STATE.load_samples()
    STATE.look_for_engine(properties.preferences(bpy.context).engine_path)


def unregister() -> None:
    """Called by Blender when the add-on is disabled: ends the engine and leaves nothing behind."""
    engine_control.stop_timer()
    STATE.close()
    bpy.app.handlers.save_pre.remove(before_save)
    bpy.app.handlers.load_post.remove(after_load)
    bpy.app.handlers.load_pre.remove(before_load)
    bpy.types.VIEW3D_MT_mesh_add.remove(panels.draw_menu)
    choices.detach()
    properties.detach()
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)

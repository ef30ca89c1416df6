"""Runs inside Blender's window for tools/addon_gui.py: installs the add-on and leaves notes about what is going on.

Arguments after `--`: legacy zip, engine (project folder, or "none"), snapshot, folder for notes, and for Image to 3D
the image model and the picture, empty for none.
"""

import sys
from pathlib import Path

import bpy

ZIP, ENGINE, SNAPSHOT, NOTES, IMAGE_MODEL, PICTURE = sys.argv[sys.argv.index("--") + 1 :]
INTERVAL = 0.1


def view():
    """The 3D viewport's area."""
    return next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "VIEW_3D")


def prepare():
    """Opens the sidebar and looks at the middle; later calls write notes. The tab itself is clicked from outside."""
    space = view().spaces.active
    space.show_region_ui = True
    space.overlay.show_cursor = False
    space.region_3d.view_distance = 3.6
    space.region_3d.view_location = (0.35, 0.0, 0.4)
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    space.region_3d.view_rotation = (0.781, 0.6, 0.106, 0.138)  # nearly from the front
    bpy.context.scene.gp3d.picture = PICTURE
    if PICTURE:
        space.shading.color_type = "TEXTURE"
        space.region_3d.view_distance, space.region_3d.view_location = 2.2, (0.15, 0.0, 0.3)
    bpy.ops.ed.undo_push(message="empty scene")
    bpy.types.GP3D_PT_main.append(lambda panel, context: note("drawn"))
    note("ready")
    bpy.app.timers.register(watch, first_interval=INTERVAL, persistent=True)


def watch():
    """Leaves a note for every state, number of objects and of pictures, and way of showing colours."""
    from gp3d.state import STATE

    status = STATE.session.status
    note(status.state)
    job = status.current
    if job is not None and job.op == "mesh" and job.overall > 0.19:
        note("halfway")
    if status.problem is not None:
        note("problem " + status.problem.code)
    note(f"objects {len(bpy.data.objects)}")
    note(f"pictures {len(STATE.pictures)}")
    note(f"seed {bpy.context.scene.gp3d.seed}")
    colors = view().spaces.active.shading.color_type
    note(f"colors {colors}")
    if colors == "TEXTURE":  # before a picture: the sidebar finds its length in several drawings
        view().tag_redraw()
    return INTERVAL


def note(text):
    """An empty file with that name."""
    (Path(NOTES) / text).touch()


bpy.context.preferences.view.show_splash = False
bpy.ops.preferences.addon_install(filepath=ZIP)
bpy.ops.preferences.addon_enable(module="gp3d")
chosen = bpy.context.preferences.addons["gp3d"].preferences
if ENGINE != "none":
    chosen.engine_path, chosen.snapshot, chosen.vq3d = ENGINE, SNAPSHOT, IMAGE_MODEL
bpy.app.timers.register(prepare, first_interval=1.0)

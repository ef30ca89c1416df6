# ruff: noqa: RUF012 -- Blender reads class attributes in its own way
"""The tab GP3D in the sidebar. Panels draw what there is and decide nothing."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

from .. import jobs, scene
from ..class_search import find
from ..engine.errors import Problem
from ..mesh_bundle import subject
from ..properties import GRIDS, described, preferences
from ..state import STATE
from .engine_operators import COMMAND

_STAGES = {
    "starting": "Starting the engine",
    "loading": "Loading the model",
    "waiting": "Waiting",
    "sent": "Sent",
    "planes": "Shaping",
    "density": "Measuring density",
    "surface": "Finding the surface",
    "atlas": "Unwrapping",
    "texels": "Laying out the texture",
    "color": "Colouring",
    "compare": "Comparing",
    "write": "Writing",
    "preview": "Drawing previews",
    "cancelling": "Cancelling",
}
_REMEDIES = {  # button of a problem: operator, label, icon
    "CHOOSE_ENGINE": ("gp3d.choose_engine", "Choose Engine…", "FILEBROWSER"),
    "CHOOSE_SNAPSHOT": ("gp3d.choose_snapshot", "Choose Model…", "FILEBROWSER"),
    "CHOOSE_VQ3D": ("gp3d.choose_vq3d", "Choose Image Model…", "FILEBROWSER"),
    "COPY_DIAGNOSTICS": ("gp3d.copy", "Copy Diagnostics", "COPYDOWN"),
    "RESTART": ("gp3d.remedy", "Restart Engine", "FILE_REFRESH"),
    "USE_CPU": ("gp3d.remedy", "Use the CPU", "FILE_REFRESH"),
    "LOWER_QUALITY": ("gp3d.remedy", "Lower Quality", "TRIA_DOWN"),
    "OTHER_SEED": ("gp3d.remedy", "Another Seed", "FILE_REFRESH"),
    "CLEAR_CLASS": ("gp3d.remedy", "Choose a Known Class", "VIEWZOOM"),
}
_NO_IMAGE_MODEL = (
    "Needs an image model: a VQ3D snapshot. None is chosen, so that the engine's own is taken, if it brings one; "
    "docs/vq3d.md of the project says how to train another."
)
_LETTER = 6.6  # mean width of a letter in pixels at scale 1


class _Tab:
    """Where all panels live."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "GP3D"


class GP3D_PT_main(_Tab, bpy.types.Panel):
    """Class, seed, previews and the button."""

    bl_idname = "GP3D_PT_main"
    bl_label = "Generate ImageNet Class"

    def draw(self, context: bpy.types.Context) -> None:
        """From top to bottom: state, problem, choices, previews, button or progress, the active object."""
        layout = self.layout
        _draw_status(layout, context)
        if STATE.session.problem is not None:
            _draw_problem(layout, context, STATE.session.problem)
        if STATE.command is None:
            _draw_card(layout, context)
        else:
            _draw_choices(layout, context)
            _draw_previews(layout, context)
            if STATE.session.at_work:
                _draw_progress(layout, context)
            else:
                _draw_button(layout, context)
        _draw_active(layout, context)


def _draw_status(layout: Any, context: bpy.types.Context) -> None:
    session, row = STATE.session, layout.row(align=True)
    where = f"{str(session.ready.get('device', '')).upper()} · {_model_name(session.ready)}"
    texts = {
        "OFF": ("RADIOBUT_OFF", "Engine at rest") if STATE.command else ("ERROR", "No engine yet"),
        "STARTING": ("SORTTIME", "Engine starting…"),
        "EMPTY": ("ERROR", "No model yet"),
        "READY": ("CHECKMARK", f"Ready · {where}"),
        "BUSY": ("SORTTIME", f"Busy · {where}"),
    }
    icon, text = texts[session.state]
    row.label(text=text, icon=icon)
    row.operator("gp3d.choose_snapshot", text="", icon="FILEBROWSER", emboss=False)


def _model_name(ready: dict[str, Any]) -> str:
    """The model in a few letters: its name, or how far it was trained."""
    snapshot = ready.get("snapshot", {})
    name, nimg = str(snapshot.get("name", "")).removesuffix(".safetensors"), snapshot.get("nimg")
    if name == "box":
        return "model in the box"
    return f"{nimg / 1000:g} kimg" if name.startswith("snapshot-") and isinstance(nimg, int) else name


def _draw_problem(layout: Any, context: bpy.types.Context, problem: Problem) -> None:
    box = layout.box()
    _paragraph(box, context, f"{problem.sentence}.", "ERROR")
    if problem.hint:
        _paragraph(box, context, problem.hint)
    idname, label, icon = _REMEDIES[problem.button]
    row = box.row(align=True)
    button = row.operator(idname, text=label, icon=icon)
    if idname in ("gp3d.remedy", "gp3d.copy"):
        button.what = "DIAGNOSTICS" if idname == "gp3d.copy" else problem.button
    if problem.button != "COPY_DIAGNOSTICS":
        row.operator("gp3d.copy", text="", icon="COPYDOWN").what = "DIAGNOSTICS"


def _draw_card(layout: Any, context: bpy.types.Context) -> None:
    """What to do when there is no engine."""
    box = layout.box()
    box.label(text="Set up the engine, once", icon="SETTINGS")
    _paragraph(box, context, STATE.complaint or "In a terminal, in the folder of the GP3D project:")
    row = box.row(align=True)
    row.label(text=COMMAND, icon="CONSOLE")
    row.operator("gp3d.copy", text="", icon="COPYDOWN").what = "COMMAND"
    box.operator("gp3d.choose_engine", text="Choose the Folder…", icon="FILEBROWSER")
    box = layout.box()
    box.label(text="Or try a sample now", icon="MESH_MONKEY")
    grid = box.grid_flow(row_major=True, columns=max(2, _width(context) // 90), even_columns=True)
    for name, icon in STATE.samples.items():
        column = grid.column(align=True)
        column.template_icon(icon_value=icon, scale=4.0)
        column.operator("gp3d.sample", text=name.replace("_", " ").capitalize()).name = name
    _paragraph(box, context, "Procedural objects, not made by a model.")


def _draw_choices(layout: Any, context: bpy.types.Context) -> None:
    settings = context.scene.gp3d
    column = layout.column(align=True)
    column.prop(settings, "class_name", text="", icon="VIEWZOOM")
    entry = find(settings.class_name, STATE.classes)
    if entry is not None:
        facts = described(entry) or entry.wnid
        column.label(text=f"ImageNet {entry.index} · {facts}" if entry.index >= 0 else facts)
    elif STATE.session.classes:
        column.label(text=f"Not among the model's {len(STATE.session.classes)} classes", icon="ERROR")
    row = layout.row(align=True)
    row.prop(settings, "seed")
    row.operator("gp3d.dice", text="", icon="FILE_REFRESH")
    row.prop(settings, "seed_locked", text="", icon="LOCKED" if settings.seed_locked else "UNLOCKED")
    layout.prop(settings, "truncation", slider=True)
    layout.row(align=True).prop(settings, "quality", expand=True)


def _draw_previews(layout: Any, context: bpy.types.Context) -> None:
    settings = context.scene.gp3d
    row = layout.row(align=True)
    row.enabled = not STATE.session.at_work
    row.operator("gp3d.preview", text="Preview", icon="IMAGE_DATA")
    row.prop(settings, "previews", text="")
    if not STATE.pictures:
        return
    grid = layout.grid_flow(row_major=True, columns=max(2, _width(context) // 90), even_columns=True)
    for number, picture in enumerate(STATE.pictures):
        column = grid.column(align=True)
        column.template_icon(icon_value=picture.icon, scale=4.5)
        column.operator("gp3d.pick", text=str(picture.seed), depress=picture.chosen).number = number


def _draw_button(layout: Any, context: bpy.types.Context) -> None:
    settings = context.scene.gp3d
    picked = sum(picture.chosen for picture in STATE.pictures)
    column = layout.column(align=True)
    row = column.row()
    row.scale_y = 1.6
    row.operator(
        "gp3d.generate",
        text=f"Generate {picked} Meshes" if picked > 1 else "Generate Mesh",
        icon="MESH_MONKEY",
    )
    expected = jobs.expected_seconds(context, GRIDS[settings.quality], settings.color)
    if STATE.notice:
        _paragraph(column, context, STATE.notice, "CHECKMARK")
    elif expected is None:
        column.label(text="Not measured here yet", icon="TIME")
    else:
        column.label(text=f"About {expected[0]:.0f} s{' here' if expected[1] else ' (guess)'}", icon="TIME")


def _draw_progress(layout: Any, context: bpy.types.Context) -> None:
    """Stage, per cent, seconds and Cancel, in place of the button."""
    session, job = STATE.session, STATE.session.current
    stage = job.stage if job else session.stage
    text = _STAGES.get(stage, stage.capitalize())
    factor = session.overall
    seconds = f"{session.seconds:.0f} s"
    if job is not None and job.op == "mesh":
        expected = jobs.expected_seconds(context, job.request["grid"], job.request["color"])
        seconds += f" of about {expected[0]:.0f} s" if expected else ""
    left = len(session.waiting) + (job is not None)
    series = f" · {session.finished + 1} of {session.finished + left}" if session.finished + left > 1 else ""
    column = layout.column(align=True)
    if hasattr(layout, "progress"):
        column.progress(factor=factor, text=f"{text} · {100 * factor:.0f} %", type="BAR")
    else:
        column.prop(context.window_manager.gp3d, "percent", text=text, slider=True)
    row = column.row()
    row.scale_y = 1.6
    row.operator("gp3d.cancel", icon="CANCEL")
    column.label(text=f"{seconds}{series}", icon="TIME")


def _draw_active(layout: Any, context: bpy.types.Context) -> None:
    """What can be done with the active object, if it is one of ours."""
    thing = context.active_object
    recipe = scene.read_recipe(thing)
    if recipe is None or thing is None:
        return
    shading = getattr(context.space_data, "shading", None)
    if shading is not None and shading.type == "SOLID" and shading.color_type not in ("TEXTURE", "VERTEX"):
        layout.operator("gp3d.show_colors", icon="SHADING_TEXTURE")
    box = layout.box()
    made = recipe.get("recipe", {})
    of_seed = "" if made.get("seed") is None else f" · seed {made['seed']}"
    box.label(text=f"{made.get('picture') or subject(made)}{of_seed}", icon="OBJECT_DATA")
    column = box.column(align=True)
    column.enabled = not STATE.session.at_work
    row = column.row(align=True)
    row.operator("gp3d.regenerate", text="Regenerate", icon="FILE_REFRESH").higher = False
    row.operator("gp3d.use_recipe", text="", icon="EYEDROPPER")
    if "grid" in recipe["request"]:
        column.operator("gp3d.regenerate", text="Regenerate Higher", icon="TRIA_UP").higher = True


class _SubPanel(_Tab):
    """A panel below the main one, closed at first."""

    bl_parent_id = "GP3D_PT_main"
    bl_options = {"DEFAULT_CLOSED"}
    names: tuple[str, ...] = ()

    def draw(self, context: bpy.types.Context) -> None:
        """One row per choice."""
        column = _column(self.layout)
        for name in self.names:
            column.prop(context.scene.gp3d, name)


class GP3D_PT_mesh(_SubPanel, bpy.types.Panel):
    """Face budget, crop, smoothing."""

    bl_label = "Mesh"
    names = ("faces", "depth_cut", "crop", "keep_largest", "smooth")


class GP3D_PT_material(_SubPanel, bpy.types.Panel):
    """How colours are carried and lit."""

    bl_label = "Material"
    names = ("color", "texture_size", "shader", "roughness")


class GP3D_PT_placement(_SubPanel, bpy.types.Panel):
    """Where new objects stand."""

    bl_label = "Placement"
    names = ("place_at", "size", "front", "on_ground", "collection")


class GP3D_PT_batch(_SubPanel, bpy.types.Panel):
    """Several classes and seeds."""

    bl_label = "Batch"
    names = ("batch_classes", "batch_seeds", "arrange")

    def draw(self, context: bpy.types.Context) -> None:
        """The choices and a button."""
        _SubPanel.draw(self, context)
        row = self.layout.row()
        row.enabled = STATE.command is not None and not STATE.session.at_work
        row.operator("gp3d.batch", icon="DUPLICATE")


class GP3D_PT_picture(_SubPanel, bpy.types.Panel):
    """A photograph becomes a mesh."""

    bl_label = "Image to 3D"
    names = ("picture", "backdrop")

    def draw(self, context: bpy.types.Context) -> None:
        """The picture and a button; as long as no model is chosen for it, which one is needed."""
        _SubPanel.draw(self, context)
        if not preferences(context).vq3d:
            column = self.layout.column()
            _paragraph(column, context, _NO_IMAGE_MODEL, "INFO")
            column.operator("gp3d.choose_vq3d", text="Choose Image Model…", icon="FILEBROWSER")
        row = self.layout.row()
        row.enabled = STATE.command is not None and not STATE.session.at_work
        row.operator("gp3d.picture", icon="IMAGE_DATA")


class GP3D_PT_library(_SubPanel, bpy.types.Panel):
    """Assets."""

    bl_label = "Library"
    names = ("as_asset", "tags", "library")

    def draw(self, context: bpy.types.Context) -> None:
        """The choices and a button."""
        _SubPanel.draw(self, context)
        self.layout.operator("gp3d.save_to_library", icon="ASSET_MANAGER")


class GP3D_PT_engine(_SubPanel, bpy.types.Panel):
    """Path, model, device, log."""

    bl_label = "Engine"

    def draw(self, context: bpy.types.Context) -> None:
        """The preferences, what runs, and what helps to find a fault."""
        column = _column(self.layout)
        for name in ("engine_path", "snapshot", "vq3d", "device", "cache_mb"):
            column.prop(preferences(context), name)
        session, layout = STATE.session, self.layout.column()
        _paragraph(layout, context, f"Found: {STATE.command[0]}" if STATE.command else "Found: none")
        if session.engine is not None:
            name = session.ready.get("device_name") or session.ready.get("device") or "…"
            layout.label(text=f"gp3d {session.version} on {name}, process {session.engine.pid}")
        row = layout.row(align=True)
        if session.engine is None:
            row.operator("gp3d.engine_start", icon="PLAY")
        else:
            row.operator("gp3d.engine_stop", icon="PAUSE")
        row.operator("gp3d.show_log", text="Log", icon="TEXT")
        row.operator("gp3d.copy", text="Diagnostics", icon="COPYDOWN").what = "DIAGNOSTICS"


def draw_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Add > Mesh > GP3D."""
    self.layout.separator()
    name = context.scene.gp3d.class_name
    if STATE.command is None:
        self.layout.operator("gp3d.sample", text="GP3D Sample", icon="MESH_MONKEY").name = "coffee_mug"
    else:
        self.layout.operator("gp3d.generate", text=f"GP3D {name}", icon="MESH_MONKEY")


def _column(layout: Any) -> Any:
    layout.use_property_split = True
    layout.use_property_decorate = False
    return layout.column()


def _width(context: bpy.types.Context) -> int:
    """Pixels across the sidebar, at scale 1."""
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    return int((context.region.width if context.region else 240) / scale)


def _paragraph(layout: Any, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """Several lines: labels do not wrap by themselves."""
    room = _width(context) - (70 if icon != "NONE" else 50)
    column = layout.column()
    column.scale_y = 0.75
    for number, line in enumerate(textwrap.wrap(text, max(12, int(room / _LETTER)))):
        first = icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=first)


CLASSES = (
    GP3D_PT_main,
    GP3D_PT_mesh,
    GP3D_PT_material,
    GP3D_PT_placement,
    GP3D_PT_batch,
    GP3D_PT_picture,
    GP3D_PT_library,
    GP3D_PT_engine,
)

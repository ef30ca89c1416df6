"""The main panel of the tab GP3D: state, problem, choices, previews, button or progress, the active object."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

from ..class_search import ImageNetClass, choose, label
from ..engine.errors import Problem
from ..engine.protocol import EngineFacts
from ..objects import relief, scene
from ..properties import described, preferences
from ..recipe import integer, subject
from ..requests import GRIDS
from ..state import STATE
from ..timings import Estimate, estimate
from .engine_operators import COMMAND
from .layout import Tab, paragraph, thumbnail_grid
from .trust_panel import draw_badge, draw_trust

_MOST_CREDITS = 240  # characters
STAGES = {
    "starting": "Starting the engine",
    "loading": "Loading the model",
    "waiting": "Waiting",
    "sent": "Sent",
    "planes": "Shaping",
    "density": "Measuring density",
    "surface": "Finding the surface",
    "quads": "Laying out quads",
    "atlas": "Unwrapping",
    "texels": "Laying out the texture",
    "color": "Colouring",
    "compare": "Comparing",
    "supervision": "Looking through the cameras",
    "disagreement": "Comparing mesh and field",
    "thickness": "Measuring thickness",
    "lods": "Making LODs",
    "collision": "Making the collision hull",
    "depth": "Finding out the depth",
    "edges": "Tearing the depth edges",
    "filling": "Filling in what is hidden",
    "triangles": "Laying triangles",
    "write": "Writing",
    "preview": "Drawing previews",
    "cancelling": "Cancelling",
}
REMEDIES = {  # button of a problem: operator, label, icon
    "CHOOSE_ENGINE": ("gp3d.choose_engine", "Choose Engine…", "FILEBROWSER"),
    "CHOOSE_SNAPSHOT": ("gp3d.choose_snapshot", "Choose Model…", "FILEBROWSER"),
    "CHOOSE_VQ3D": ("gp3d.choose_vq3d", "Choose Image Model…", "FILEBROWSER"),
    "CHOOSE_DEPTH_MODEL": ("gp3d.choose_depth_model", "Choose Depth Model…", "FILEBROWSER"),
    "COPY_DIAGNOSTICS": ("gp3d.copy", "Copy Diagnostics", "COPYDOWN"),
    "RESTART": ("gp3d.remedy", "Restart Engine", "FILE_REFRESH"),
    "USE_CPU": ("gp3d.remedy", "Use the CPU", "FILE_REFRESH"),
    "LOWER_QUALITY": ("gp3d.remedy", "Lower Quality", "TRIA_DOWN"),
    "OTHER_SEED": ("gp3d.remedy", "Another Seed", "FILE_REFRESH"),
    "CLEAR_CLASS": ("gp3d.remedy", "Choose a Known Class", "VIEWZOOM"),
}


class GP3D_PT_main(Tab, bpy.types.Panel):
    """Class, seed, previews and the button."""

    bl_idname = "GP3D_PT_main"
    bl_label = "Generate ImageNet Class"

    def draw(self, context: bpy.types.Context) -> None:
        """From top to bottom: state, problem, choices, previews, button or progress, the active object."""
        layout = self.layout
        _draw_status(layout, context)
        if STATE.session.status.problem is not None:
            _draw_problem(layout, context, STATE.session.status.problem)
        if STATE.command is None:
            _draw_card(layout, context)
        else:
            _draw_choices(layout, context)
            _draw_previews(layout, context)
            if STATE.session.status.at_work:
                _draw_progress(layout, context)
            else:
                _draw_button(layout, context)
        _draw_active(layout, context)


def _draw_status(layout: Any, context: bpy.types.Context) -> None:
    status, row = STATE.session.status, layout.row(align=True)
    facts = status.ready or EngineFacts()
    where = f"{facts.device.upper()} · {model_name(facts)}"
    texts = {
        "OFF": ("RADIOBUT_OFF", "Engine at rest") if STATE.command else ("ERROR", "No engine yet"),
        "STARTING": ("SORTTIME", "Engine starting…"),
        "EMPTY": ("ERROR", "No model yet"),
        "READY": ("CHECKMARK", f"Ready · {where}"),
        "BUSY": ("SORTTIME", f"Busy · {where}"),
    }
    icon, text = texts[status.state]
    row.label(text=text, icon=icon)
    row.operator("gp3d.choose_snapshot", text="", icon="FILEBROWSER", emboss=False)


def model_name(facts: EngineFacts) -> str:
    """The model in a few letters: its name, or how far it was trained."""
    nimg = facts.snapshot.get("nimg")
    name = str(facts.snapshot.get("name", "")).removesuffix(".safetensors")
    if name == "box":  # the protocol's word for it
        return "pretrained models" if len(facts.models) > 1 else "pretrained model"
    return f"{nimg / 1000:g} kimg" if name.startswith("snapshot-") and isinstance(nimg, int) else name


def _draw_problem(layout: Any, context: bpy.types.Context, problem: Problem) -> None:
    box = layout.box()
    paragraph(box, context, f"{problem.sentence}.", "ERROR")
    if problem.hint:
        paragraph(box, context, problem.hint)
    idname, label, icon = REMEDIES[problem.button]
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
    paragraph(box, context, STATE.complaint or "In a terminal, in the folder of the GP3D project:")
    row = box.row(align=True)
    row.label(text=COMMAND, icon="CONSOLE")
    row.operator("gp3d.copy", text="", icon="COPYDOWN").what = "COMMAND"
    box.operator("gp3d.choose_engine", text="Choose the Folder…", icon="FILEBROWSER")
    box = layout.box()
    box.label(text="Or try a sample now", icon="MESH_MONKEY")
    grid = thumbnail_grid(box, context)
    for name, icon in STATE.samples.items():
        column = grid.column(align=True)
        column.template_icon(icon_value=icon, scale=4.0)
        column.operator("gp3d.sample", text=name.replace("_", " ").capitalize()).name = name
    paragraph(box, context, "Procedural objects, not made by a model.")


def _draw_choices(layout: Any, context: bpy.types.Context) -> None:
    settings = context.scene.gp3d
    column = layout.column(align=True)
    column.prop(settings, "class_name", text="", icon="VIEWZOOM")
    known = STATE.known_classes(preferences(context).snapshot)
    choice = choose(settings.class_name, known or STATE.classes)
    if choice.entry is not None:
        if choice.note:
            column.label(text=choice.note)
        facts = described(choice.entry) or choice.entry.wnid
        column.label(text=f"ImageNet {choice.entry.index} · {facts}" if choice.entry.index >= 0 else facts)
        draw_badge(column, context, choice.entry)
        _draw_terms(column, context, choice.entry)
    elif known:
        column.label(text=f"Not among the model's {len(known)} classes", icon="ERROR")
        if choice.instead:
            column.label(text="Nearest that it knows; press one:")
            for entry in choice.instead:
                text = " · ".join(filter(None, (label(entry, known), entry.badge)))
                column.operator("gp3d.take_class", text=text).class_name = label(entry, known)
        else:
            paragraph(column, context, choice.note)
    row = layout.row(align=True)
    row.prop(settings, "seed")
    row.operator("gp3d.dice", text="", icon="FILE_REFRESH")
    row.prop(settings, "seed_locked", text="", icon="LOCKED" if settings.seed_locked else "UNLOCKED")
    layout.prop(settings, "truncation", slider=True)
    layout.row(align=True).prop(settings, "quality", expand=True)


def _draw_terms(layout: Any, context: bpy.types.Context, entry: ImageNetClass) -> None:
    """Which model makes the class, and whom it owes credit, where it owes any."""
    terms = STATE.terms_of(entry)
    if terms is not None:
        license = terms.license or "licence not stated"
        layout.label(text=f"Model {terms.name} · {license}", icon="INFO")
        paragraph(layout, context, _shortened(terms.credits))


def _shortened(credits: str) -> str:
    """The beginning of a long line of credits: the object keeps all of it, and its files and its asset say it."""
    return textwrap.shorten(credits, _MOST_CREDITS, placeholder=" …")


def _draw_previews(layout: Any, context: bpy.types.Context) -> None:
    settings = context.scene.gp3d
    row = layout.row(align=True)
    row.enabled = not STATE.session.status.at_work
    row.operator("gp3d.preview", text="Preview", icon="IMAGE_DATA")
    row.prop(settings, "previews", text="")
    if not STATE.pictures:
        return
    grid = thumbnail_grid(layout, context)
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
    expected = _expected(context, GRIDS[settings.quality], settings.color)
    if STATE.notice:
        paragraph(column, context, STATE.notice, "CHECKMARK")
    elif expected is None:
        column.label(text="Time unknown before the first mesh", icon="TIME")
    else:
        kind = " here" if expected.measured else " (guess)"
        column.label(text=f"About {expected.seconds:.0f} s{kind}", icon="TIME")


def _expected(context: bpy.types.Context, grid: int, color: str) -> Estimate | None:
    """What a mesh will take; without an engine with the model and device of the last one."""
    facts = STATE.session.status.ready or STATE.last_ready
    return estimate(preferences(context).measured(), facts, grid, color)


def _draw_progress(layout: Any, context: bpy.types.Context) -> None:
    """Stage, per cent, seconds and Cancel, in place of the button."""
    status = STATE.session.status
    job = status.current
    stage = job.stage if job else status.stage
    text = STAGES.get(stage, stage.capitalize())
    factor = status.overall
    seconds = f"{STATE.session.seconds:.0f} s"
    if job is not None and job.op == "mesh":
        expected = _expected(context, integer(job.request["grid"]), str(job.request["color"]))
        seconds += f" of about {expected.seconds:.0f} s" if expected else ""
    total = status.finished + len(status.waiting) + (job is not None)
    series = f" · {status.finished + 1} of {total}" if total > 1 else ""
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
    obj = context.active_object
    recipe = scene.read_recipe(obj)
    if recipe is None or obj is None:
        return
    shading = getattr(context.space_data, "shading", None)
    if shading is not None and shading.type == "SOLID" and shading.color_type not in ("TEXTURE", "VERTEX"):
        layout.operator("gp3d.show_colors", icon="SHADING_TEXTURE")
        paragraph(layout, context, "So does Material Preview: the third ball above the viewport.")
    box = layout.box()
    made = recipe.get("recipe", {})
    origin = "sample" if "sample" in recipe["request"] else f"seed {made['seed']}" if "seed" in made else ""
    origin += ", combined" if made.get("parents") else ""
    named = str(made.get("picture") or subject(made))
    box.label(text=" · ".join(filter(None, (named, origin))), icon="OBJECT_DATA")
    if made.get("credits"):
        box.label(text=f"Licence: {made.get('license') or 'not stated'}", icon="INFO")
        paragraph(box, context, _shortened(str(made["credits"])))
    if relief.camera_of(obj) is not None:
        box.operator("gp3d.look_through", icon="CAMERA_DATA")
    if "sample" not in recipe["request"]:
        draw_trust(box, context, obj)
    column = box.column(align=True)
    column.enabled = STATE.command is not None and not STATE.session.status.at_work
    row = column.row(align=True)
    row.operator("gp3d.regenerate", text="Regenerate", icon="FILE_REFRESH").higher = False
    row.operator("gp3d.use_recipe", text="", icon="EYEDROPPER")
    if "grid" in recipe["request"]:
        column.operator("gp3d.regenerate", text="Regenerate Higher", icon="TRIA_UP").higher = True
        column.operator("gp3d.export", text="Export…", icon="EXPORT")
        if "picture" not in recipe["request"]:
            column.operator("gp3d.volume", text="Volume…", icon="OUTLINER_OB_VOLUME")

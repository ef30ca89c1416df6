# ruff: noqa: RUF012 -- Blender reads class attributes in its own way
"""The panels of the tab GP3D in the sidebar. They draw what there is and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy

from ..class_search import choose
from ..engine.protocol import EngineFacts
from ..properties import MACHINE, preferences
from ..state import STATE
from .browser_panel import GP3D_PT_browser
from .layout import Tab, paragraph, property_column
from .main_panel import GP3D_PT_main

_NO_IMAGE_MODEL = "With the engine's own small image model: rough. Better: train one, docs/vq3d.md."
_NO_DEPTH = (
    "Choose a depth map of the picture, or a depth model that makes one. docs/photographs.md says where from."
)
_GOOD_FOR = {
    "SCENE": "Makes up a soft object with sides that the picture does not show. For single things.",
    "RELIEF": "Keeps the photograph sharp, for views up to about 15° aside. For any motif.",
}


class SubPanel(Tab):
    """A panel below the main one, closed at first."""

    bl_parent_id = "GP3D_PT_main"
    bl_options = {"DEFAULT_CLOSED"}
    names: tuple[str, ...] = ()
    if TYPE_CHECKING:
        layout: Any

    def draw(self, context: bpy.types.Context) -> None:
        """One row per choice."""
        column = property_column(self.layout)
        for name in self.names:
            column.prop(context.scene.gp3d, name)


class GP3D_PT_mesh(SubPanel, bpy.types.Panel):
    """Face budget, crop, smoothing."""

    bl_label = "Mesh"
    names = ("faces", "quads", "depth_cut", "crop", "keep_largest", "smooth")


class GP3D_PT_levels(SubPanel, bpy.types.Panel):
    """What game engines want besides the mesh."""

    bl_label = "LODs and Collision"
    names = ("lods", "collision")

    def draw(self, context: bpy.types.Context) -> None:
        """The choices; greyed where a part of the mesh is cut away, of which the engine knows nothing."""
        self.layout.enabled = context.scene.gp3d.crop >= 1
        SubPanel.draw(self, context)


class GP3D_PT_material(SubPanel, bpy.types.Panel):
    """How colours are carried and lit."""

    bl_label = "Material"
    names = ("color", "texture_size", "shader", "roughness")


class GP3D_PT_placement(SubPanel, bpy.types.Panel):
    """Where new objects stand."""

    bl_label = "Placement"
    names = ("place_at", "size", "real_size", "front", "on_ground", "collection")

    def draw(self, context: bpy.types.Context) -> None:
        """The choices; a real size takes the place of one that is chosen."""
        settings, column = context.scene.gp3d, property_column(self.layout)
        for name in self.names:
            row = column.row()
            row.enabled = not (name == "size" and settings.real_size)
            row.prop(settings, name)
        entry = choose(settings.class_name, STATE.classes).entry
        if settings.real_size and entry is not None:
            known = "not known" if entry.metres is None else f"{entry.metres:g} m"
            column.label(text=f"{entry.name}: {known}", icon="DRIVER_DISTANCE")


class GP3D_PT_batch(SubPanel, bpy.types.Panel):
    """Several classes and seeds."""

    bl_label = "Batch"
    names = ("batch_classes", "batch_seeds", "arrange")

    def draw(self, context: bpy.types.Context) -> None:
        """The choices and a button."""
        SubPanel.draw(self, context)
        row = self.layout.row()
        row.enabled = STATE.command is not None and not STATE.session.status.at_work
        row.operator("gp3d.batch", icon="DUPLICATE")


class GP3D_PT_picture(SubPanel, bpy.types.Panel):
    """A photograph becomes a mesh."""

    bl_label = "Image to 3D"

    def draw(self, context: bpy.types.Context) -> None:
        """The picture, how it becomes a mesh, and a button; what is needed for it as long as that is not chosen."""
        settings, layout = context.scene.gp3d, self.layout
        property_column(layout).prop(settings, "picture")
        layout.row(align=True).prop(settings, "method", expand=True)
        paragraph(layout, context, _GOOD_FOR[settings.method])
        column = layout.column()
        for name in _relief_names(settings) if settings.method == "RELIEF" else ("mask", "backdrop"):
            column.prop(settings, name)
        row = layout.row()
        row.enabled = STATE.command is not None and not STATE.session.status.at_work
        row.operator("gp3d.picture", icon="IMAGE_DATA")
        column = layout.column()
        chosen = preferences(context)
        if settings.method == "RELIEF" and not (settings.depth or chosen.depth_model):
            paragraph(column, context, _NO_DEPTH, "INFO")
            column.operator("gp3d.choose_depth_model", text="Choose Depth Model…", icon="FILEBROWSER")
        elif settings.method == "SCENE" and not chosen.vq3d:
            paragraph(column, context, _NO_IMAGE_MODEL, "INFO")
            column.operator("gp3d.choose_vq3d", text="Choose Image Model…", icon="FILEBROWSER")


def _relief_names(settings: Any) -> list[str]:
    """What there is to choose about a relief: a file says what it holds, metres need no ratio, subjects no border."""
    metres = bool(settings.depth) and settings.depth_kind == "METRIC"
    return [
        "depth",
        *(["depth_kind"] if settings.depth else []),
        *([] if metres else ["depth_ratio"]),
        "fov",
        "mask",
        *([] if settings.mask else ["border"]),
    ]


class GP3D_PT_library(SubPanel, bpy.types.Panel):
    """Assets."""

    bl_label = "Library"
    names = ("as_asset", "tags", "library")

    def draw(self, context: bpy.types.Context) -> None:
        """The choices and a button."""
        SubPanel.draw(self, context)
        self.layout.operator("gp3d.save_to_library", icon="ASSET_MANAGER")


class GP3D_PT_engine(SubPanel, bpy.types.Panel):
    """Path, model, device, log."""

    bl_label = "Engine"

    def draw(self, context: bpy.types.Context) -> None:
        """The preferences, what runs, and what helps to find a fault."""
        column = property_column(self.layout)
        for name in MACHINE:
            column.prop(preferences(context), name)
        session, layout = STATE.session, self.layout.column()
        paragraph(layout, context, f"Found: {STATE.command[0]}" if STATE.command else "Found: none")
        if session.engine is not None:
            facts = session.status.ready or EngineFacts()
            name = facts.device_name or facts.device or "…"
            layout.label(text=f"gp3d {session.status.version} on {name}, process {session.engine.pid}")
        row = layout.row(align=True)
        if session.engine is None:
            row.operator("gp3d.engine_start", text="Start", icon="PLAY")
        else:
            row.operator("gp3d.engine_stop", text="Stop", icon="PAUSE")
        row.operator("gp3d.show_log", text="Log", icon="TEXT")
        layout.operator("gp3d.copy", text="Copy Diagnostics", icon="COPYDOWN").what = "DIAGNOSTICS"


def draw_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Add > Mesh > GP3D."""
    self.layout.separator()
    name = context.scene.gp3d.class_name
    if STATE.command is None:
        self.layout.operator("gp3d.sample", text="GP3D Sample", icon="MESH_MONKEY").name = "coffee_mug"
    else:
        self.layout.operator("gp3d.generate", text=f"GP3D {name}", icon="MESH_MONKEY")


CLASSES = (
    GP3D_PT_main,
    GP3D_PT_browser,
    GP3D_PT_mesh,
    GP3D_PT_levels,
    GP3D_PT_material,
    GP3D_PT_placement,
    GP3D_PT_batch,
    GP3D_PT_picture,
    GP3D_PT_library,
    GP3D_PT_engine,
)

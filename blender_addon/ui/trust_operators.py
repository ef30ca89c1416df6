# ruff: noqa: RUF012 -- Blender reads class attributes in its own way
"""Operators of Show Trust and of report cards."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from .. import generation
from ..objects import scene
from ..trust import layers
from .operators import Result, attempt


class GP3D_OT_show_trust(bpy.types.Operator):
    """Find out how far the active object can be relied on: what was seen of it, and where mesh and field disagree"""

    bl_idname = "gp3d.show_trust"
    bl_label = "Show Trust"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for objects of ours."""
        return scene.read_recipe(context.active_object) is not None

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the job, or in background mode does it."""
        return attempt(self, lambda: generation.examine(context, context.active_object))


class GP3D_OT_trust_layer(bpy.types.Operator):
    """Show this layer of the active object in viewports, or its own colours again"""

    bl_idname = "gp3d.trust_layer"
    bl_label = "Show This Layer"
    bl_options = {"REGISTER", "UNDO"}

    layer: EnumProperty(
        name="Layer",
        items=[
            ("SUPERVISION", "Seen", "What cameras saw"),
            ("DISAGREEMENT", "Agree", "Where mesh and field disagree"),
            ("NONE", "Colours", "The object's own colours"),
        ],
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for objects that were examined."""
        return context.active_object is not None and bool(layers.has_layers(context.active_object))

    def execute(self, context: bpy.types.Context) -> Result:
        """Changes the active colour attribute, and how the viewport that the button is in shows colours."""
        obj = context.active_object
        if self.layer != "NONE" and self.layer not in layers.has_layers(obj):
            self.report({"ERROR"}, "This object has no such layer")
            return {"CANCELLED"}
        layers.activate(obj, layers.LAYERS.get(self.layer, ""))
        shading = getattr(context.space_data, "shading", None)
        if shading is not None:
            textured = self.layer == "NONE" and bool(obj.data.uv_layers)
            shading.type, shading.color_type = "SOLID", "TEXTURE" if textured else "VERTEX"
        return {"FINISHED"}


class GP3D_OT_report_card(bpy.types.Operator):
    """Open the report card of the class in the browser: what was measured of its geometry, with pictures"""

    bl_idname = "gp3d.report_card"
    bl_label = "Report Card"
    bl_options = {"INTERNAL"}

    page: StringProperty(name="Page", subtype="FILE_PATH")

    def execute(self, context: bpy.types.Context) -> Result:
        """Opens the page, if it is still there."""
        page = Path(self.page)
        if page.suffix != ".html" or not page.is_file():
            self.report({"ERROR"}, f"There is no report card at {self.page}")
            return {"CANCELLED"}
        if not bpy.app.background:
            bpy.ops.wm.url_open(url=page.absolute().as_uri())
        return {"FINISHED"}


CLASSES = (GP3D_OT_show_trust, GP3D_OT_trust_layer, GP3D_OT_report_card)

# ruff: noqa: RUF012 -- Blender reads class attributes in its own way
"""Operators that write files: exports that the engine makes, and asset libraries."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty, StringProperty

from .. import generation
from ..engine.errors import RequestError
from ..engine.protocol import EngineFacts
from ..objects import library, scene
from ..pictures.choices import BLEND_RELATIVE
from ..requests import PRINTED, Export
from ..state import STATE
from .operators import Result, attempt

_FORMATS = {  # label and description of what the engine may write
    "glb": ("glTF", "One .glb with its texture, for game engines and the web"),
    "obj": ("OBJ", "With .mtl and .png beside it, for nearly every program"),
    "ply": ("PLY", "One file with colours of vertices"),
    "usdz": ("USDZ", "One file, for Apple's devices"),
    "stl": ("STL", "A closed surface in millimetres for 3D printing, without colours"),
    "3mf": ("3MF", "A closed surface in millimetres for 3D printing"),
}
_ITEMS = [(name, label, text, number) for number, (name, (label, text)) in enumerate(_FORMATS.items())]


def offered(operator: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str, int]]:
    """The formats that the engine can write on this machine, all as long as it has not said which."""
    known = (STATE.session.status.ready or STATE.last_ready or EngineFacts()).formats
    return [item for item in _ITEMS if not known or item[0] in known]


class GP3D_OT_export(bpy.types.Operator):
    """Let the engine write the active object from its recipe: changes made in Blender are not in it"""

    bl_idname = "gp3d.export"
    bl_label = "Export"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options=BLEND_RELATIVE)
    filter_glob: StringProperty(default="*.glb;*.obj;*.ply;*.usdz;*.stl;*.3mf", options={"HIDDEN"})
    format: EnumProperty(name="Format", description="What kind of file", items=offered)
    compress: EnumProperty(
        name="Compress",
        description="How numbers are stored in a .glb",
        items=[
            ("none", "No", "Every program reads it"),
            ("quantize", "Quantized", "Half the size; most engines read it"),
            ("meshopt", "Meshopt", "Smaller still; for the web"),
        ],
    )
    print_height: FloatProperty(
        name="Height", description="Of the print, in millimetres", default=100.0, min=1.0, max=100_000.0
    )

    max_kb: IntProperty(
        name="Max Size (kB)",
        description="Kilobytes to stay below, by fewer faces and a smaller texture; 0 for any",
        default=0,
        min=0,
        max=10**7,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for objects that the engine made."""
        recipe = scene.read_recipe(context.active_object)
        return recipe is not None and "sample" not in recipe["request"]

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Opens the file browser beside the .blend, with the object's name."""
        if not self.filepath:
            folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
            name = bpy.path.clean_name(context.active_object.name)
            self.filepath = str(folder / f"{name}.{self.format}")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """Lets the ending follow the format."""
        wanted = str(Path(self.filepath).with_suffix(f".{self.format}"))
        changed = bool(wanted != self.filepath)
        self.filepath = wanted
        return changed

    def draw(self, context: bpy.types.Context) -> None:
        """The format and what it has to choose."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "format")
        if self.format == "glb":
            layout.prop(self, "compress")
        if self.format in PRINTED:
            layout.prop(self, "print_height")
        layout.prop(self, "max_kb")
        column = layout.column()
        column.label(text="As it was generated.", icon="INFO")
        column.label(text="Changes made in Blender:", icon="BLANK1")
        column.label(text="File > Export.", icon="BLANK1")

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the job, or in background mode does it."""
        return attempt(self, lambda: self._export(context))

    def _export(self, context: bpy.types.Context) -> None:
        if not self.filepath:
            raise RequestError("Choose a file first")
        path = Path(bpy.path.abspath(self.filepath))
        kind = path.suffix.removeprefix(".").lower()
        if not self.properties.is_property_set("format") and kind in _FORMATS:
            self.format = kind
        wanted = Export(self.format, self.compress, self.print_height, self.max_kb)
        generation.export(context, context.active_object, path, wanted)


class GP3D_OT_volume(bpy.types.Operator):
    """Let the engine write the active object's field as an OpenVDB file, and show it as a volume instead of the mesh"""

    bl_idname = "gp3d.volume"
    bl_label = "Volume"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options=BLEND_RELATIVE)
    filter_glob: StringProperty(default="*.vdb", options={"HIDDEN"})
    grid: IntProperty(name="Samples", description="Along each edge", default=96, min=8, max=256)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for objects that the engine made of a class."""
        recipe = scene.read_recipe(context.active_object)
        return recipe is not None and "grid" in recipe["request"] and "picture" not in recipe["request"]

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Opens the file browser beside the .blend, with the object's name."""
        if not self.filepath:
            folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
            self.filepath = str(folder / f"{bpy.path.clean_name(context.active_object.name)}.vdb")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the job, or in background mode does it."""
        return attempt(self, lambda: self._make(context))

    def _make(self, context: bpy.types.Context) -> None:
        if not self.filepath:
            raise RequestError("Choose a file first")
        path = Path(bpy.path.abspath(self.filepath))
        generation.make_volume(context, context.active_object, path, self.grid)


class GP3D_OT_save_to_library(bpy.types.Operator):
    """Write the selected GP3D objects as assets into the library folder"""

    bl_idname = "gp3d.save_to_library"
    bl_label = "Save to Library"
    bl_options = {"REGISTER"}

    folder: StringProperty(name="Folder", subtype="DIR_PATH", options=BLEND_RELATIVE)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only if an object of ours is selected."""
        return any(scene.read_recipe(obj) for obj in context.selected_objects)

    def execute(self, context: bpy.types.Context) -> Result:
        """Marks what is no asset yet, and writes."""
        settings = context.scene.gp3d
        folder = bpy.path.abspath(self.folder or settings.library)
        if not folder:
            self.report({"ERROR"}, "Choose a library folder first")
            return {"CANCELLED"}
        objects = [obj for obj in context.selected_objects if scene.read_recipe(obj)]
        try:
            for obj in objects:
                generation.check_local(obj)
            for obj in objects:
                if obj.asset_data is None:
                    library.mark(obj, scene.read_recipe(obj) or {}, settings.tags.split(","))
            files = library.save(objects, Path(folder))
        except RequestError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        except (OSError, RuntimeError) as error:
            self.report({"ERROR"}, f"The library could not be written: {error}")
            return {"CANCELLED"}
        self.report({"INFO"}, f"{len(files)} assets written to {folder}")
        return {"FINISHED"}


CLASSES = (GP3D_OT_export, GP3D_OT_volume, GP3D_OT_save_to_library)

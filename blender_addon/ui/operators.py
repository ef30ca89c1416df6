# ruff: noqa: RUF012 -- Blender reads class attributes in its own way
"""Operators on objects, for buttons and scripts: generate, preview, choose, regenerate, samples, library.

Operators read choices, call one function and report. None waits for the engine, except in background mode.
"""

import math
import random
from collections.abc import Callable
from dataclasses import fields, replace

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from .. import engine_control, generation, results
from ..class_search import ImageNetClass
from ..engine.errors import RequestError
from ..mesh_bundle import BundleError
from ..objects import relief, scene
from ..pictures.choices import BLEND_RELATIVE
from ..properties import GP3DSettings, choices_of
from ..recipe import JsonObject, class_facts, integer, number, op_of, pretrained_model
from ..requests import GRIDS, Choices, ObjectSpec, parse_seeds
from ..state import STATE

_MOST_SEED = 999_999
_NO_UNDO = {"REGISTER"}

Result = set[str]


def attempt(operator: bpy.types.Operator, work: Callable[[], None]) -> Result:
    """FINISHED when the work was done, CANCELLED with a report (a RuntimeError in scripts) when it cannot be.

    In background mode the jobs that it started are waited for.
    """
    try:
        work()
        if STATE.waits:
            _finish()
    except (RequestError, BundleError, OSError, RuntimeError) as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    return {"FINISHED"}


def _finish() -> None:
    engine_control.wait()
    problem = STATE.session.status.problem
    if problem is not None:
        raise RequestError(problem.sentence)


def _overridden(operator: bpy.types.Operator, settings: GP3DSettings) -> Choices:
    """The scene's choices, with those that a script has given instead."""
    known = {choice.name for choice in fields(Choices)}
    given = {name for name in type(operator).__annotations__ if operator.properties.is_property_set(name)}
    return replace(choices_of(settings), **{name: getattr(operator, name) for name in given & known})


def _class_of(operator: bpy.types.Operator, text: str) -> ImageNetClass | None:
    """The class that a text means; the operator reports which, if that is no name of it."""
    return generation.find_class(text, lambda note: operator.report({"INFO"}, note))


class GP3D_OT_generate(bpy.types.Operator):
    """Make a textured mesh of the class; choices that a script leaves out are those of the panel"""

    bl_idname = "gp3d.generate"
    bl_label = "Generate Mesh"
    bl_options = _NO_UNDO

    class_name: StringProperty(name="Class", description="Name, ImageNet index or WordNet id")
    seed: IntProperty(name="Seed", min=0)
    truncation: FloatProperty(name="Variety", min=0.0, max=2.0, default=0.7)
    quality: EnumProperty(
        name="Quality", items=[(name, name.capitalize(), "") for name in GRIDS], default="STANDARD"
    )
    color: EnumProperty(name="Colour", items=[("texture", "Texture", ""), ("vertex", "Vertices", "")])
    size: FloatProperty(name="Longest Side", min=0.001, default=1.0)
    as_asset: BoolProperty(name="Mark as Asset")

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the job, or in background mode does it."""
        return attempt(self, lambda: self._generate(context))

    def _generate(self, context: bpy.types.Context) -> None:
        settings = context.scene.gp3d
        choices = _overridden(self, settings)
        picked = [picture for picture in STATE.pictures if picture.chosen]
        scripted = self.properties.is_property_set("seed") or self.properties.is_property_set("class_name")
        if picked and not scripted:
            wanted = [(picture.class_name, picture.seed) for picture in picked]
        else:
            wanted = [(choices.class_name, choices.seed)]
        specs = [ObjectSpec(_class_of(self, name), seed) for name, seed in wanted]
        generation.generate(context, specs, choices)


class GP3D_OT_batch(bpy.types.Operator):
    """Make a mesh of every class for every seed"""

    bl_idname = "gp3d.batch"
    bl_label = "Generate All"
    bl_options = _NO_UNDO

    batch_classes: StringProperty(name="Classes", description="Names separated by commas")
    batch_seeds: StringProperty(name="Seeds", description="Numbers and ranges, e.g. 0-3, 9")
    quality: EnumProperty(
        name="Quality", items=[(name, name.capitalize(), "") for name in GRIDS], default="STANDARD"
    )
    size: FloatProperty(name="Longest Side", min=0.001, default=1.0)

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the jobs, or in background mode does them."""
        return attempt(self, lambda: self._generate(context))

    def _generate(self, context: bpy.types.Context) -> None:
        choices = _overridden(self, context.scene.gp3d)
        seeds = parse_seeds(choices.batch_seeds)
        entries = [_class_of(self, name) for name in choices.class_names]
        specs = [ObjectSpec(entry, seed) for entry in entries for seed in seeds]
        generation.generate(context, specs, choices)


class GP3D_OT_preview(bpy.types.Operator):
    """Show pictures of several seeds to choose from"""

    bl_idname = "gp3d.preview"
    bl_label = "Preview"
    bl_options = _NO_UNDO

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the job; without a locked seed the pictures begin at a new one."""
        return attempt(self, lambda: self._preview(context))

    def _preview(self, context: bpy.types.Context) -> None:
        settings = context.scene.gp3d
        entry = _class_of(self, settings.class_name)
        if STATE.pictures and not settings.seed_locked:
            settings.seed = random.randrange(_MOST_SEED)
        generation.preview(context, entry, choices_of(settings))


class GP3D_OT_picture(bpy.types.Operator):
    """Make a mesh of what a photograph shows, as its camera sees it, by the method that is chosen"""

    bl_idname = "gp3d.picture"
    bl_label = "Image to 3D"
    bl_options = _NO_UNDO

    picture: StringProperty(name="Picture", subtype="FILE_PATH", options=BLEND_RELATIVE)
    method: EnumProperty(name="Method", items=[(name, name.capitalize(), "") for name in ("SCENE", "RELIEF")])
    mask: StringProperty(name="Mask", subtype="FILE_PATH", options=BLEND_RELATIVE)
    depth: StringProperty(name="Depth", subtype="FILE_PATH", options=BLEND_RELATIVE)
    depth_kind: EnumProperty(
        name="Holds", items=[(name, name.capitalize(), "") for name in ("DEPTH", "DISPARITY", "METRIC")]
    )
    quality: EnumProperty(
        name="Quality", items=[(name, name.capitalize(), "") for name in GRIDS], default="STANDARD"
    )
    size: FloatProperty(name="Longest Side", min=0.001, default=1.0)
    backdrop: BoolProperty(name="Backdrop")

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the job, or in background mode does it."""
        choices = _overridden(self, context.scene.gp3d)
        return attempt(self, lambda: generation.picture_to_mesh(context, choices))


class GP3D_OT_pick(bpy.types.Operator):
    """Choose this seed. Shift: choose several"""

    bl_idname = "gp3d.pick"
    bl_label = "Choose Seed"
    bl_options = {"INTERNAL"}

    number: IntProperty()
    several: BoolProperty()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Looks at the shift key."""
        self.several = event.shift
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> Result:
        """Chooses, or with `several` adds or removes."""
        if not 0 <= self.number < len(STATE.pictures):
            return {"CANCELLED"}
        picture = STATE.pictures[self.number]
        others = [other for other in STATE.pictures if other is not picture]
        picture.chosen = not picture.chosen if self.several else True
        for other in others:
            other.chosen = other.chosen and self.several
        context.scene.gp3d.seed = picture.seed
        return {"FINISHED"}


class GP3D_OT_dice(bpy.types.Operator):
    """Take another seed by chance"""

    bl_idname = "gp3d.dice"
    bl_label = "New Seed"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Draws the seed; a locked one stays."""
        if context.scene.gp3d.seed_locked:
            return {"CANCELLED"}
        context.scene.gp3d.seed = random.randrange(_MOST_SEED)
        for picture in STATE.pictures:
            picture.chosen = False
        return {"FINISHED"}


class GP3D_OT_take_class(bpy.types.Operator):
    """Take this class, which the model knows, in place of the one that was typed"""

    bl_idname = "gp3d.take_class"
    bl_label = "Take This Class"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    class_name: StringProperty(name="Class")

    def execute(self, context: bpy.types.Context) -> Result:
        """Changes the class; a problem with the old one is over."""
        context.scene.gp3d.class_name = self.class_name
        problem = STATE.session.status.problem
        if problem is not None and problem.code == "E_CLASS":
            STATE.session.set_problem(None)
        return {"FINISHED"}


class GP3D_OT_cancel(bpy.types.Operator):
    """Give up what is being made"""

    bl_idname = "gp3d.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Asks the engine to stop; if it does not, it is ended."""
        engine_control.cancel()
        return {"FINISHED"}


class GP3D_OT_regenerate(bpy.types.Operator):
    """Make the active object's mesh again from its recipe"""

    bl_idname = "gp3d.regenerate"
    bl_label = "Regenerate"
    bl_options = _NO_UNDO

    higher: BoolProperty(name="Higher", description="On a grid twice as fine, with twice the faces")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for objects of ours."""
        return scene.read_recipe(context.active_object) is not None

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the job, or in background mode does it."""
        return attempt(self, lambda: generation.regenerate(context, context.active_object, self.higher))


class GP3D_OT_use_recipe(bpy.types.Operator):
    """Copy class, seed and variety of the active object into the panel"""

    bl_idname = "gp3d.use_recipe"
    bl_label = "Use Its Choices"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for objects of ours."""
        return scene.read_recipe(context.active_object) is not None

    def execute(self, context: bpy.types.Context) -> Result:
        """Reads the recipe."""
        recipe = scene.read_recipe(context.active_object) or {}
        made, settings = recipe.get("recipe", {}), context.scene.gp3d
        if "picture" in recipe.get("request", {}):
            _take_picture(settings, recipe["request"])
            return {"FINISHED"}
        shown = recipe["request"].get("object")
        if isinstance(shown, dict):  # a combined one: the seed browser shows it
            truncation = number(made.get("truncation"))
            STATE.browser.take(
                shown, str(class_facts(made).get("name")), truncation, pretrained_model(recipe)[:12]
            )
            STATE.wake()
        settings.class_name = str(class_facts(made).get("name", settings.class_name))
        settings.seed = integer(made.get("seed"), settings.seed)
        settings.truncation = number(made.get("truncation"), settings.truncation)
        return {"FINISHED"}


def _take_picture(settings: GP3DSettings, request: JsonObject) -> None:
    """Copies picture, mask, method and depth of a request."""
    settings.method = "RELIEF" if op_of(request) == "lift" else "SCENE"
    for name in ("picture", "mask", "depth"):
        setattr(settings, name, str(request.get(name) or ""))
    if "kind" in request:
        settings.depth_kind = str(request["kind"]).upper()
    settings.depth_ratio = number(request.get("ratio"))
    settings.fov = math.radians(number(request.get("fov")))
    settings.border = number(request.get("border"), settings.border)


class GP3D_OT_look_through(bpy.types.Operator):
    """Look through the camera that took the photograph: renders have its size, and its colours as they are"""

    bl_idname = "gp3d.look_through"
    bl_label = "Look Through Its Camera"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for reliefs that still have their camera."""
        return relief.camera_of(context.active_object) is not None

    def execute(self, context: bpy.types.Context) -> Result:
        """Changes the scene, and the viewport that the button is in."""
        camera = relief.camera_of(context.active_object)
        if camera is None:
            return {"CANCELLED"}
        relief.look_through(context.scene, camera)
        view = getattr(context.space_data, "region_3d", None)
        if view is not None:
            view.view_perspective = "CAMERA"
            _show_colors(context.space_data.shading, context.active_object)
        return {"FINISHED"}


class GP3D_OT_sample(bpy.types.Operator):
    """Put a bundled sample into the scene: a procedural object, no result of a model"""

    bl_idname = "gp3d.sample"
    bl_label = "Add Sample"
    bl_options = {"REGISTER", "UNDO"}

    name: StringProperty(name="Sample", default="coffee_mug")

    def execute(self, context: bpy.types.Context) -> Result:
        """Builds the object at once."""
        if self.name not in STATE.samples:
            self.report({"ERROR"}, f"There is no sample '{self.name}', but {', '.join(STATE.samples)}")
            return {"CANCELLED"}
        return attempt(self, lambda: _add_sample(context, self.name))


def _add_sample(context: bpy.types.Context, name: str) -> None:
    results.add_sample(context, name, choices_of(context.scene.gp3d))


class GP3D_OT_show_colors(bpy.types.Operator):
    """Show the objects' colours in this viewport"""

    bl_idname = "gp3d.show_colors"
    bl_label = "Show Colours Here"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only in a 3D viewport."""
        return context.space_data is not None and context.space_data.type == "VIEW_3D"

    def execute(self, context: bpy.types.Context) -> Result:
        """Solid shading shows one colour per material by default, but can show textures or colour attributes."""
        _show_colors(context.space_data.shading, context.active_object)
        return {"FINISHED"}


def _show_colors(shading: bpy.types.View3DShading, obj: bpy.types.Object | None) -> None:
    """Solid shading with colours; a relief without light, which is in its photograph."""
    textured = obj is None or obj.type != "MESH" or bool(obj.data.uv_layers)
    shading.type, shading.color_type = "SOLID", "TEXTURE" if textured else "VERTEX"
    if relief.camera_of(obj) is not None:
        shading.light = "FLAT"


CLASSES = (
    GP3D_OT_generate,
    GP3D_OT_batch,
    GP3D_OT_preview,
    GP3D_OT_picture,
    GP3D_OT_pick,
    GP3D_OT_dice,
    GP3D_OT_take_class,
    GP3D_OT_cancel,
    GP3D_OT_regenerate,
    GP3D_OT_use_recipe,
    GP3D_OT_look_through,
    GP3D_OT_sample,
    GP3D_OT_show_colors,
)

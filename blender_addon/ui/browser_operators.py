# ruff: noqa: RUF012 -- Blender reads class attributes in its own way
"""Operators of the seed browser: list a class, scroll, choose, star, vary, blend, mix, generate."""

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty

from .. import engine_control, generation
from ..browser import filling
from ..engine.errors import RequestError
from ..properties import choices_of
from ..requests import ObjectSpec
from ..seeds.tiles import Tile, settled
from ..state import STATE
from .operators import _class_of, attempt

Result = set[str]


class BrowserOperator:
    """What they share: the engine fills what is new."""

    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Does it, and lets the engine fill what is missing."""

        def work() -> None:
            engine_control.ensure_engine(context)
            STATE.session.set_problem(None)  # of before: as long as there is one, nothing is filled
            self.change(context)
            engine_control.fill()

        return attempt(self, work)

    def change(self, context: bpy.types.Context) -> None:
        """What the operator changes about the browser."""
        raise NotImplementedError


class GP3D_OT_browse(BrowserOperator, bpy.types.Operator):
    """Show pictures of many seeds of the class; what is chosen stays, stars come first"""

    bl_idname = "gp3d.browse"
    bl_label = "Browse Seeds"

    def change(self, context: bpy.types.Context) -> None:
        """Lists the class from the seed on."""
        settings, choices = context.scene.gp3d, context.scene.gp3d_seeds
        entry = _class_of(self, settings.class_name)
        query, name = (entry.query, entry.name) if entry else (None, "object")
        stars = filling.stars().of_class(query)
        STATE.browser.start(query, name, settings.seed, round(settings.truncation, 4), choices.count, stars)
        if choices.turn:  # whoever sets it, to whatever, lets Blender draw its viewports anew
            choices.turn = 0


class GP3D_OT_browser_scroll(BrowserOperator, bpy.types.Operator):
    """Scroll on to more seeds, or back"""

    bl_idname = "gp3d.browser_scroll"
    bl_label = "Scroll"

    forward: BoolProperty(name="Forward", default=True)

    def change(self, context: bpy.types.Context) -> None:
        """Shows another page."""
        STATE.browser.scroll(self.forward, context.scene.gp3d_seeds.count)


class GP3D_OT_browser_fill(BrowserOperator, bpy.types.Operator):
    """Draw the pictures that are missing"""

    bl_idname = "gp3d.browser_fill"
    bl_label = "Draw Missing Pictures"

    def change(self, context: bpy.types.Context) -> None:
        """Goes on filling."""
        STATE.browser.filling = True


class GP3D_OT_browser_vary(BrowserOperator, bpy.types.Operator):
    """Add objects like the one chosen first: its shape, other colours"""

    bl_idname = "gp3d.browser_vary"
    bl_label = "More Like This"

    def change(self, context: bpy.types.Context) -> None:
        """Adds the variations."""
        choices = context.scene.gp3d_seeds
        STATE.browser.vary(choices.variations, choices.strength)


class GP3D_OT_browser_blend(BrowserOperator, bpy.types.Operator):
    """Add an object between the two that are chosen, or a row of all steps"""

    bl_idname = "gp3d.browser_blend"
    bl_label = "Blend"

    row: BoolProperty(name="Row", description="All steps between the two")
    at: FloatProperty(name="At", min=0.0, max=1.0)

    def change(self, context: bpy.types.Context) -> None:
        """Adds the blends; a script may say at which place."""
        choices = context.scene.gp3d_seeds
        at = self.at if self.properties.is_property_set("at") else choices.at
        steps = choices.steps
        STATE.browser.blend([(k + 1) / (steps + 1) for k in range(steps)] if self.row else [at])


class GP3D_OT_browser_mix(BrowserOperator, bpy.types.Operator):
    """Add an object with the shape of the one chosen first and the colours of the second"""

    bl_idname = "gp3d.browser_mix"
    bl_label = "Mix"

    def change(self, context: bpy.types.Context) -> None:
        """Adds the mix."""
        STATE.browser.mix()


class GP3D_OT_browser_choose(bpy.types.Operator):
    """Choose this object, or no longer. The first chosen gives the shape, the second the colours"""

    bl_idname = "gp3d.browser_choose"
    bl_label = "Choose"
    bl_options = {"INTERNAL"}

    number: IntProperty()

    def execute(self, context: bpy.types.Context) -> Result:
        """Adds it to what is chosen, or removes it."""
        STATE.browser.choose(self.number)
        return {"FINISHED"}


class GP3D_OT_browser_star(bpy.types.Operator):
    """Star this object: it is listed first whenever its class is browsed, in every file"""

    bl_idname = "gp3d.browser_star"
    bl_label = "Star"
    bl_options = {"INTERNAL"}

    number: IntProperty()

    def execute(self, context: bpy.types.Context) -> Result:
        """Stars it, or no longer."""
        tile = STATE.browser.of(self.number)
        if tile is None:
            return {"CANCELLED"}
        return attempt(self, lambda: _star(tile))


def _star(tile: Tile) -> None:
    filling.toggle_star(settled(tile))


class GP3D_OT_browser_clear(bpy.types.Operator):
    """Empty the browser; stars stay"""

    bl_idname = "gp3d.browser_clear"
    bl_label = "Clear"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Forgets all pictures and what is chosen."""
        STATE.browser = type(STATE.browser)(made=STATE.browser.made)
        return {"FINISHED"}


class GP3D_OT_browser_generate(bpy.types.Operator):
    """Make a mesh of every object that is chosen, one after the other; each is one step to undo"""

    bl_idname = "gp3d.browser_generate"
    bl_label = "Generate Chosen"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Starts the jobs, or in background mode does them."""
        return attempt(self, lambda: self._generate(context))

    def _generate(self, context: bpy.types.Context) -> None:
        picked = STATE.browser.picked
        if not picked:
            raise RequestError("Choose a picture first")
        specs = [
            ObjectSpec(STATE.entry_of(next(iter(tile.classes), None)), tile.seed, tile.facts)
            for tile in picked
        ]
        generation.generate(context, specs, choices_of(context.scene.gp3d))


CLASSES = (
    GP3D_OT_browse,
    GP3D_OT_browser_scroll,
    GP3D_OT_browser_fill,
    GP3D_OT_browser_vary,
    GP3D_OT_browser_blend,
    GP3D_OT_browser_mix,
    GP3D_OT_browser_choose,
    GP3D_OT_browser_star,
    GP3D_OT_browser_clear,
    GP3D_OT_browser_generate,
)

"""What a person can choose about the seed browser; a property of scenes of its own."""

import bpy
from bpy.props import FloatProperty, IntProperty, PointerProperty

from ..seeds.tiles import DIRECTIONS, FEWEST, MOST
from ..state import STATE


def _turned(self: "GP3DBrowserSettings", context: bpy.types.Context) -> None:
    STATE.browser.turn = self.turn
    STATE.browser.filling = True
    STATE.wake()


class GP3DBrowserSettings(bpy.types.PropertyGroup):
    """The choices of the panel Seed Browser."""

    count: IntProperty(
        name="Per Page", description="How many pictures a page has", default=FEWEST, min=FEWEST, max=MOST
    )
    turn: IntProperty(
        name="Turn",
        description="Direction to look from, in twelfths of a turn; all of them are drawn of what is chosen",
        default=0,
        min=0,
        max=DIRECTIONS - 1,
        update=_turned,
    )
    variations: IntProperty(
        name="How Many", description="Objects that More Like This adds", default=4, min=1, max=12
    )
    strength: FloatProperty(
        name="Difference",
        description="How different more like this is: 0 the same, 1 the colours of quite another",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    at: FloatProperty(
        name="At",
        description="Place of the blend: 0 is the object chosen first, 1 the second",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    steps: IntProperty(name="Steps", description="Objects of a row between two", default=5, min=1, max=12)


CLASSES = (GP3DBrowserSettings,)


def attach() -> None:
    """Gives scenes the property."""
    bpy.types.Scene.gp3d_seeds = PointerProperty(type=GP3DBrowserSettings)


def detach() -> None:
    """Takes it away."""
    del bpy.types.Scene.gp3d_seeds

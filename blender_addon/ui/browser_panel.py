"""The panel Seed Browser: a grid of pictures, what can be done with those that are chosen, and a dial."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import bpy

from ..browser import filling, pictures
from ..seeds.tiles import Tile
from ..state import STATE
from .layout import Tab, paragraph, thumbnail_grid

_SCALE = 4.5  # of a picture, in units of a button's height


class GP3D_PT_browser(Tab, bpy.types.Panel):
    """Pictures of many seeds, to choose from and to combine."""

    bl_parent_id = "GP3D_PT_main"
    bl_label = "Seed Browser"
    if TYPE_CHECKING:
        layout: Any

    def draw(self, context: bpy.types.Context) -> None:
        """From top to bottom: list, pictures, pages, dial, what can be done with what is chosen."""
        layout, browser = self.layout, STATE.browser
        layout.enabled = STATE.command is not None
        choices = context.scene.gp3d_seeds
        row = layout.row(align=True)
        row.operator("gp3d.browse", icon="VIEWZOOM")
        row.operator("gp3d.browser_clear", text="", icon="X")
        if browser.tiles:
            _draw_page(layout, context, choices)
            _draw_actions(layout, context, choices)


def _draw_page(layout: Any, context: bpy.types.Context, choices: Any) -> None:
    browser = STATE.browser
    stars = filling.starred()
    grid = thumbnail_grid(layout, context)
    for tile in browser.page:
        _draw_tile(grid.column(align=True), tile, stars)
    row = layout.row(align=True)
    back = row.row(align=True)
    back.enabled = browser.first > 0
    back.operator("gp3d.browser_scroll", text="", icon="TRIA_LEFT").forward = False
    last = min(browser.first + browser.size, len(browser.tiles))
    row.label(text=f"{browser.first + 1}–{last}")
    row.prop(choices, "count", text="")
    row.operator("gp3d.browser_scroll", text="More", icon="TRIA_RIGHT").forward = True
    if not browser.filling and any(browser.turn not in tile.shots for tile in browser.page):
        layout.operator("gp3d.browser_fill", icon="FILE_REFRESH")
    layout.prop(choices, "turn", slider=True)


def _draw_tile(column: Any, tile: Tile, stars: Collection[int]) -> None:
    browser = STATE.browser
    shot = tile.shots.get(browser.turn) or tile.shots.get(0)
    column.template_icon(icon_value=pictures.icon_of(shot.file) if shot else 0, scale=_SCALE)
    row = column.row(align=True)
    chosen = tile.number in browser.chosen
    place = f"{browser.chosen.index(tile.number) + 1}: " if chosen else ""
    row.operator("gp3d.browser_choose", text=f"{place}{tile.label}", depress=chosen).number = tile.number
    icon = "SOLO_ON" if tile.number in stars else "SOLO_OFF"
    row.operator("gp3d.browser_star", text="", icon=icon).number = tile.number


def _draw_actions(layout: Any, context: bpy.types.Context, choices: Any) -> None:
    """What can be done with one, two or more that are chosen."""
    picked = STATE.browser.picked
    column = layout.column(align=True)
    one, two = column.column(align=True), column.column(align=True)
    one.enabled, two.enabled = bool(picked), len(picked) == 2
    one.operator("gp3d.browser_vary", icon="DUPLICATE")
    row = one.row(align=True)
    row.prop(choices, "variations", text="")
    row.prop(choices, "strength", slider=True)
    row = two.row(align=True)
    row.operator("gp3d.browser_blend", text="Blend").row = False
    row.prop(choices, "at", slider=True)
    row = two.row(align=True)
    row.operator("gp3d.browser_blend", text="Row").row = True
    row.prop(choices, "steps")
    two.operator("gp3d.browser_mix", text="Mix: Shape of 1, Colours of 2")
    if len(picked) not in (1, 2):
        paragraph(layout, context, "Choose one picture for more like it, two to blend or mix.")
    row = layout.row()
    row.enabled, row.scale_y = bool(picked), 1.3
    text = f"Generate {len(picked)} Meshes" if len(picked) > 1 else "Generate Mesh"
    row.operator("gp3d.browser_generate", text=text, icon="MESH_MONKEY")

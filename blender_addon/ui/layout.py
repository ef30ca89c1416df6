"""What all panels draw with: where they stand, columns, paragraphs, the width of the sidebar."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

_LETTER = 6.6  # mean width of a letter in pixels at scale 1
_THUMBNAIL = 90  # pixels of a column of thumbnails


class Tab:
    """Where all panels stand."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "GP3D"


def property_column(layout: Any) -> Any:
    """A column whose properties stand beside their names."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    return layout.column()


def thumbnail_grid(layout: Any, context: bpy.types.Context) -> Any:
    """A grid with as many columns of thumbnails as the sidebar has room for."""
    columns = max(2, _width(context) // _THUMBNAIL)
    return layout.grid_flow(row_major=True, columns=columns, even_columns=True)


def paragraph(layout: Any, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """Draws several lines: labels do not wrap by themselves."""
    room = _width(context) - (70 if icon != "NONE" else 50)
    column = layout.column()
    column.scale_y = 0.75
    width = max(12, int(room / _LETTER))
    for number, line in enumerate(textwrap.wrap(text, width, break_on_hyphens=False)):
        first = icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=first)


def _width(context: bpy.types.Context) -> int:
    """Pixels across the sidebar, at scale 1."""
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    return int((context.region.width if context.region else 240) / scale)

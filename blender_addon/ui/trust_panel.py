"""What the panel draws of trust: the badge of a class, and what is known of the active object."""

from __future__ import annotations

import os
from typing import Any

import bpy

from ..class_search import ImageNetClass
from ..objects import scene
from ..properties import preferences
from ..state import STATE
from ..trust import cards, layers
from ..trust.values import figures
from .layout import paragraph

_LEGENDS = {
    "SUPERVISION": "Orange: no training camera saw it. Yellow: half. Green: well seen.",
    "DISAGREEMENT": "Green: mesh and field agree. Orange: 5 % of its size apart. Grey: unknown.",
}
_LEGEND_OF_PICTURES = "Green: the picture shows it. Orange: it was made up."
_WORDS = {"SUPERVISION": "Seen", "DISAGREEMENT": "Agree"}


def draw_badge(layout: Any, context: bpy.types.Context, entry: ImageNetClass) -> None:
    """The geometry badge of a class, a button that opens its card, from the folder that is chosen or the model's."""
    chosen = preferences(context).report_cards
    folder = os.path.normpath(bpy.path.abspath(chosen)) if chosen else STATE.report_cards_of(entry)
    if sentence := cards.complaint(folder) if chosen else "":
        paragraph(layout, context, sentence, "ERROR")
        return
    card = cards.card_of(folder, entry)
    if card is None and not chosen:
        if (
            entry.geometry and entry.model
        ):  # of the model that comes along, until an engine says where the page lies
            layout.label(text=f"Geometry: {entry.geometry}", icon="FILE_TEXT")
        return
    if card is None:
        layout.label(text="Geometry: not measured", icon="QUESTION")
        return
    row = layout.row(align=True)
    row.operator(
        "gp3d.report_card", text=f"Geometry: {card.badge or 'no badge'}", icon="FILE_TEXT"
    ).page = str(card.page)
    ready = STATE.session.status.ready or STATE.last_ready
    if (
        chosen
        and ready.sha256
        and not entry.model
        and not ready.sha256.startswith(card.sha256[: len(ready.sha256)])
    ):
        layout.label(text="The card is of another model", icon="INFO")


def draw_trust(layout: Any, context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """A button; once the object was examined its layers, what their colours say, and the numbers."""
    recipe = scene.read_recipe(obj) or {}
    of_picture = "picture" in recipe.get("request", {})
    known = layers.has_layers(obj)
    row = layout.row()
    row.enabled = not STATE.session.status.at_work and (STATE.command is not None or bool(known))
    row.operator("gp3d.show_trust", text="Examine Again" if known else "Show Trust", icon="VIEWZOOM")
    if not known:
        return
    active = layers.active_layer(obj)
    row = layout.row(align=True)
    for key in known:
        row.operator("gp3d.trust_layer", text=_WORDS[key], depress=key == active).layer = key
    row.operator("gp3d.trust_layer", text="Colours", depress=not active).layer = "NONE"
    if active:
        seen_by_picture = of_picture and active == "SUPERVISION"
        paragraph(layout, context, _LEGEND_OF_PICTURES if seen_by_picture else _LEGENDS[active])
    column = layout.column(align=True)
    for line in figures(layers.facts_of(obj), of_picture):
        column.label(text=line)

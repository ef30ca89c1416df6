"""Galleries of what strangers may send: whatever lies in a folder, no scripts but our two run in the page."""

from __future__ import annotations

import json
import random
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

from gp3d_core.gallery.entries import GalleryError
from gp3d_core.gallery.page import write_gallery
from tests.faults.mutations import damaged, damaged_json, json_text

_MARKUP = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><b>",
    "<!--",
    "]]>",
    "\x00\x1b[2J",
    "\udc80",
)

_VIEWER = files("gp3d_core.gallery").joinpath("viewer", "model-viewer-umd.min.js").read_text(encoding="utf-8")


class _Reader(HTMLParser):
    """What of a page could do something: scripts that run, and attributes that name code."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.doing = 0, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = dict(attrs).get("type")
        self.scripts += tag == "script" and kind is None
        self.doing += [name for name, _ in attrs if name.startswith("on")]
        self.doing += [tag] if tag in ("iframe", "object", "embed", "link", "base", "form", "b") else []
        self.doing += [str(kind)] if tag == "script" and kind not in (None, "text/plain") else []


def draw_entry(content: bytes, recipe: dict[str, Any]) -> Any:
    """Draws a file that holds a mesh, damaged or whole, and a recipe with markup in it, damaged likewise."""

    def draw(dice: random.Random, folder: Path) -> Path:
        marked = {**recipe, "license": dice.choice(_MARKUP), "credits": dice.choice(_MARKUP)}
        marked["class"] = {"name": dice.choice(_MARKUP), "wnid": dice.choice(_MARKUP)}
        text = json_text(damaged_json(dice, marked))
        text = text if dice.random() < 0.8 else damaged(dice, text)
        mesh = content if dice.random() < 0.5 else damaged(dice, content)
        path = folder / "entry"
        path.write_bytes(json.dumps([mesh.hex(), text.hex()]).encode())
        return path

    return draw


def read_entry(path: Path) -> object:
    """The page of a folder with that mesh and that recipe. Raises GalleryError if it marks them."""
    mesh, recipe = (bytes.fromhex(one) for one in json.loads(path.read_bytes()))
    folder = path.with_name("gallery")
    folder.mkdir(exist_ok=True)
    (folder / "a.glb").write_bytes(mesh)
    (folder / "a.recipe.json").write_bytes(recipe)
    said: list[str] = []
    write_gallery(folder, folder / "page.html", "Gallery", lambda line: said.append(str(line)))
    reader = _Reader()
    page = (folder / "page.html").read_text(encoding="utf-8")
    page = page.replace(_VIEWER, "")  # which takes a second to look through
    reader.feed(page)
    assert (reader.scripts, reader.doing) == (2, [])
    if said:
        raise GalleryError(said[0])
    return reader

"""Objects as assets: mark, catalogue, tags, a preview picture that we write ourselves, and a library file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
import numpy.typing as npt

from ..recipe import Recipe, class_facts, subject

CATALOG_FILE = "blender_assets.cats.txt"
_HEADER = "# This is an Asset Catalog Definition file for Blender.\n\nVERSION 1\n\n"
_NAMESPACE = uuid.UUID(
    "6f1f5c1e-8d6a-5b0b-9a52-2f1d4a7c9e30"
)  # the same catalogue has the same id everywhere


def catalog_path(class_name: str) -> str:
    """Where a class stands in the tree of catalogues, e.g. "GP3D/coffee mug"."""
    return "GP3D/" + class_name.replace("/", " ").replace(":", " ")


def catalog_id(path: str) -> str:
    """The id of a catalogue; it depends on its path only."""
    return str(uuid.uuid5(_NAMESPACE, path))


def add_catalog(folder: Path, path: str) -> Path:
    """Makes sure that the catalogue file in `folder` has `path`; keeps everything else in it. Returns the file.

    Raises OSError if it cannot be written.
    """
    file = folder / CATALOG_FILE
    text = file.read_text(encoding="utf-8") if file.is_file() else _HEADER
    if catalog_id(path) not in text:
        line = f"{catalog_id(path)}:{path}:{path.replace('/', '-')}\n"
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".cats-{os.getpid()}"  # with everybody's rights: others read a shared library
        try:
            partial.write_text((text if text.endswith("\n") else text + "\n") + line, encoding="utf-8")
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    return file


def mark(obj: bpy.types.Object, recipe: Recipe, tags: Sequence[str]) -> None:
    """Marks `obj` as an asset with catalogue, tags, description and author; a catalogue file beside a saved .blend.

    Raises OSError if that file cannot be written.
    """
    made = recipe.get("recipe", {})
    name, of_picture = subject(made), "picture" in made
    obj.asset_mark()
    data = obj.asset_data
    data.catalog_id = catalog_id(catalog_path(name))
    origin = f"the picture {made['picture']}" if of_picture else f"{name}, seed {made.get('seed')}"
    credits = str(made.get("credits") or "")
    data.description = f"{origin}, made by GP3D" + f". {credits}" * bool(credits)
    data.author = "GP3D"
    if hasattr(data, "license") and made.get("license") not in (None, "", "unknown"):  # Blender 3.4 has none
        data.license = str(made["license"])
    for tag in (
        "picture" if of_picture else "imagenet",
        name,
        str(class_facts(made).get("wnid") or ""),
        *tags,
    ):
        if tag.strip():
            data.tags.new(tag.strip(), skip_if_exists=True)
    if bpy.data.filepath:
        add_catalog(Path(bpy.data.filepath).parent, catalog_path(name))


def set_preview(obj: bpy.types.Object, pixels: npt.NDArray[np.uint8]) -> None:
    """Writes the asset's picture: uint8 [H,W,3], top row first."""
    height, width = pixels.shape[:2]
    values = np.ones((height, width, 4), np.float32)
    values[..., :3] = pixels[::-1, :, :3] / np.float32(255)
    preview = obj.preview_ensure()
    preview.image_size = (width, height)
    preview.image_pixels_float.foreach_set(values.reshape(-1))


def save(objects: Sequence[bpy.types.Object], folder: Path) -> list[Path]:
    """Writes every object with what it needs to a .blend of its own in `folder`, and its catalogue; returns the files.

    Raises OSError or RuntimeError if they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for obj in objects:
        file = folder / f"{bpy.path.clean_name(obj.name)}.blend"
        bpy.data.libraries.write(str(file), {obj}, fake_user=True, compress=True)
        made = {"picture": obj.get("gp3d_picture"), "class": {"name": obj.get("gp3d_class", "object")}}
        add_catalog(folder, catalog_path(subject(made)))
        files.append(file)
    return files


def read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """The picture at `path`, uint8 [H,W,3], top row first. Raises RuntimeError if Blender cannot read it."""
    image = bpy.data.images.load(str(path))
    try:
        width, height = image.size
        if not width:
            raise RuntimeError(f"no readable picture: {path}")
        values = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(values)
    finally:
        bpy.data.images.remove(image)
    pixels = values.reshape(height, width, 4)[::-1, :, :3]
    return np.asarray(np.clip(np.rint(pixels * 255), 0, 255), dtype=np.uint8)

"""Looks of the old form KHR_materials_pbrSpecularGlossiness, converted to base colour, metalness and roughness.

Metals are black in their diffuse colour there and have their colour in the specular one; drawn by the diffuse colour
alone they would lose it. Textures are converted pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.staging.files import ModelFiles
from synthetic.staging.gltf.textures import Placed
from synthetic.staging.sampling import linear_of_srgb
from synthetic.staging.surface import Floats

DIELECTRIC = 0.04  # light that an index of refraction of 1.5 reflects head-on: level 0.5 of Blender's

_ROWS = 64  # of a texture that are converted at a time
_LEAST = 1e-6
_LIGHT = linear_of_srgb(np.arange(256) / 255)
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SpecularGloss:
    """The numbers and textures of the old form; `gloss_map` has the specular colour, and gloss as its alpha."""

    diffuse: Sequence[float]
    diffuse_map: Placed | None
    specular: Sequence[float]
    gloss: float
    gloss_map: Placed | None

    @property
    def convertible(self) -> bool:
        """Whether its textures lie alike, so that their pixels belong together."""
        first, second = self.diffuse_map, self.gloss_map
        return first is None or second is None or (first.layer, first.wrap) == (second.layer, second.wrap)


def convert(diffuse: Floats, specular: Floats) -> tuple[Floats, Floats]:
    """Base colours [...,3] and metalness [...] of the light that is diffused and reflected [...,3].

    With metalness m and base colour c, diffuse (1 - specular) = c (1 - m) (1 - 0.04) and specular = 0.04 (1 - m) + c m;
    m follows from the brightest channels (a quadratic equation), c from diffuse where m is small, else from specular.
    """
    strength, shine = diffuse.max(axis=-1), specular.max(axis=-1)
    room = (1 - shine) / (1 - DIELECTRIC)
    linear = strength * room + shine - 2 * DIELECTRIC
    root = np.sqrt(np.maximum(linear * linear - 4 * DIELECTRIC * (DIELECTRIC - shine), 0))
    metallic = np.where(shine <= DIELECTRIC, 0, np.clip((root - linear) / (2 * DIELECTRIC), 0, 1))
    part, whole = metallic[..., None], room[..., None]
    dark = np.where(shine <= DIELECTRIC, 1, 1 / np.maximum(1 - metallic, _LEAST))[..., None]
    from_diffuse = diffuse * np.where(shine[..., None] <= DIELECTRIC, 1, whole) * dark
    from_specular = (specular - DIELECTRIC * (1 - part)) / np.maximum(part, _LEAST)
    return np.clip(from_diffuse * (1 - part * part) + from_specular * part * part, 0, 1), metallic


def convert_textures(old: SpecularGloss, files: ModelFiles) -> tuple[Placed, Placed]:
    """A base colour texture, and one of roughness and metalness as glTF lays them out, in the workspace.

    At least one texture is expected; both are enlarged to the larger of the two.
    """
    placed = old.gloss_map or old.diffuse_map
    if placed is None:
        raise ValueError("expected a texture")
    pictures = [_open(each) for each in (old.diffuse_map, old.gloss_map)]
    sizes = [picture.size for picture in pictures if picture is not None]
    width, height = max(size[0] for size in sizes), max(size[1] for size in sizes)
    pictures = [None if each is None else each.resize((width, height)) for each in pictures]
    base, surface = np.empty((height, width, 4), np.uint8), np.zeros((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        white = np.full((rows.stop - top, width, 4), 255, np.uint8)
        first, second = (
            white if each is None else np.asarray(each.crop((0, top, width, rows.stop))) for each in pictures
        )
        color, metallic = convert(
            np.clip(_LIGHT[first[..., :3]] * old.diffuse[:3], 0, 1),
            np.clip(_LIGHT[second[..., :3]] * old.specular, 0, 1),
        )
        base[rows, :, :3], base[rows, :, 3] = _srgb(color), first[..., 3]
        surface[rows, :, 1] = np.clip(255 - second[..., 3] * old.gloss + 0.5, 0, 255).astype(np.uint8)
        surface[rows, :, 2] = (metallic * 255 + 0.5).astype(np.uint8)
    paths = (files.stage_texture(_png(pixels), "a texture of it") for pixels in (base, surface))
    first_path, second_path = paths
    lie = old.diffuse_map or placed
    return replace(lie, path=first_path), replace(lie, path=second_path)


def _open(placed: Placed | None) -> Image.Image | None:
    if placed is None:
        return None
    with Image.open(placed.path) as picture:
        return picture.convert("RGBA")


def _srgb(light: Floats) -> Bytes:
    values = np.where(
        light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    )
    return (values * 255 + 0.5).astype(np.uint8)


def _png(pixels: Bytes) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()

"""The materials of a surface as MTL text and pictures, such that GP3D reads back the same look.

What MTL cannot say is put into pictures where that is possible, else counted: textures by a second set of coordinates
that is no scaled and shifted first one, colours of corners over a texture. Emission brighter than 1 under a picture is
lowered.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.library.baking import bake
from synthetic.library.pictures import (
    Bytes,
    Picture,
    brightness,
    cut_at_half,
    read_picture,
    split_alpha,
    times,
)
from synthetic.staging.surface import Material, Surface, Texture

_GLASS = 1e-3  # of transmission: what lets more through is glass
_FAINTEST = 0.1  # opacity of the clearest glass, so that a viewer of the file still shows it
_SAME_PLACE = 1e-4  # of the picture: coordinates that differ by less are the same
_EXACT = 1e-6  # the same, where a transform explains all coordinates
_FEWEST_TEXELS = (
    512  # a side, of pictures that are baked: what is in them may be finer than the one that was there
)


class MaterialWriter:
    """Writes materials one by one: their MTL text, and the pictures that they need into a folder."""

    def __init__(self, surface: Surface, images: Path, notes: Counter[str]) -> None:
        self._surface, self._images, self._notes = surface, images, notes
        self._written: dict[str, str] = {}  # by hash of the pixels
        self._names: set[str] = set()

    def write(self, number: int) -> tuple[str, str, int | None]:
        """The name of material `number` of the surface, its text, and the layer of uv that its pictures lie by."""
        material = self._surface.materials[number]
        those = self._surface.material == number
        name = self._name(material.name)
        textures = [
            material.color_texture,
            material.alpha_texture if material.alpha != "opaque" else None,
            material.emission_texture if any(material.emission) else None,
            material.metallic_roughness_texture,
        ]
        layer = next((texture.uv_layer for texture in textures if texture is not None), None)
        entry = _Entry(self, material, those, layer)
        return name, "\n".join([f"newmtl {name}", *entry.lines(), ""]), layer

    def _name(self, wanted: str) -> str:
        plain = re.sub(r"[^\w.+-]+", "_", wanted, flags=re.ASCII).strip("_")[:60] or "material"
        name, number = plain, 1
        while name.lower() in self._names:
            number += 1
            name = f"{plain}-{number}"
        self._names.add(name.lower())
        return name

    def picture(self, texture: Texture, those: npt.NDArray[np.bool_], layer: int) -> Picture | None:
        """A texture as it lies on triangles `those` by a layer of uv, None where the layer cannot say so."""
        uvs = self._surface.uvs
        places = uvs[texture.uv_layer][those].reshape(-1, 2)
        picture = read_picture(texture, places, self._notes)
        if texture.uv_layer == layer:
            return picture
        moved = _transform(uvs[layer][those].reshape(-1, 2), places)
        if moved is None:
            return self._baked(texture, picture, those, layer)
        su, sv, ou, ov = picture.transform
        whole = (moved[0] * su, moved[1] * sv, moved[2] * su + ou, moved[3] * sv + ov)
        return Picture(picture.pixels, whole, picture.clamp)

    def _baked(
        self, texture: Texture, picture: Picture, those: npt.NDArray[np.bool_], layer: int
    ) -> Picture | None:
        """A texture that lies by another layer, put into a picture by `layer`, None where that cannot be."""
        plain = replace(self._surface, colors=None)
        material = Material("baked", color=(1.0, 1.0, 1.0), color_texture=texture)
        height, width = picture.pixels.shape[:2]
        size = max(width, _FEWEST_TEXELS), max(height, _FEWEST_TEXELS)
        has_alpha = picture.pixels.shape[2] in (2, 4)
        pixels = None if has_alpha else bake(plain, those, material, layer, size)
        if pixels is None:
            self._notes["textures in a second layer of coordinates left out"] += 1
            return None
        return Picture(pixels, (1.0, 1.0, 0.0, 0.0), False)

    def over_texture(
        self, material: Material, those: npt.NDArray[np.bool_], picture: Picture
    ) -> Picture | None:
        """A colour texture times the colours of corners that lie over it, None where none do or it cannot be said."""
        texture, colors = material.color_texture, self._surface.colors
        if texture is None or colors is None or np.ptp(colors[those, :, :3], axis=(0, 1)).max() == 0:
            return None
        height, width = picture.pixels.shape[:2]
        size = max(width, _FEWEST_TEXELS), max(height, _FEWEST_TEXELS)
        pixels = None
        if material.alpha == "opaque":
            pixels = bake(self._surface, those, material, texture.uv_layer, size)
        if pixels is None:
            self._notes["vertex colours beside a texture left out"] += 1
            return None
        return Picture(pixels, (1.0, 1.0, 0.0, 0.0), False)

    def statement(self, keyword: str, picture: Picture, pixels: Bytes, channel: str = "") -> str:
        """A texture statement, after its picture was written."""
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        if digest not in self._written:
            self._images.mkdir(exist_ok=True)
            file = f"texture{len(self._written)}.png"
            Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(self._images / file)
            self._written[digest] = file
        channel = f"-imfchan {channel} " if channel else ""
        return f"{keyword} {picture.option()}{channel}../images/{self._written[digest]}"

    def note(self, phrase: str) -> None:
        """Counts something that the files do not say."""
        self._notes[phrase] += 1


class _Entry:
    """The text of one material."""

    def __init__(
        self, writer: MaterialWriter, material: Material, those: npt.NDArray[np.bool_], layer: int | None
    ) -> None:
        self._writer, self._material, self._those, self._layer = writer, material, those, layer
        self._pictures: dict[Texture, Picture | None] = {}

    def lines(self) -> list[str]:
        """All statements."""
        material = self._material
        color, pixels = self._color()
        glass = material.transmission > _GLASS
        alpha = None if glass or material.alpha == "opaque" else self._alpha()
        opacity = 1.0
        if glass:
            opacity = max(_FAINTEST, material.opacity * (1 - material.transmission))
        elif alpha is None and material.alpha == "blend":
            opacity = material.opacity
        lines = [
            "Ka 0 0 0",
            "Kd {:.7g} {:.7g} {:.7g}".format(*((1.0, 1.0, 1.0) if color else material.color)),
            f"Ks {material.specular:.7g} {material.specular:.7g} {material.specular:.7g}",
            f"Ns {1000 * (1 - material.roughness) ** 2:.7g}",
            f"Pr {material.roughness:.7g}",
            f"Pm {material.metallic:.7g}",
            f"d {opacity:.7g}",
            "illum 2",
        ]
        if color is not None and pixels is not None:
            own = alpha is not None and material.alpha == "mask" and material.alpha_texture is None
            if own and alpha is not None:
                pixels, alpha = _with_alpha(pixels, alpha[1]), None
            lines.append(self._writer.statement("map_Kd", color, pixels))
        if alpha is not None:
            lines.append(self._writer.statement("map_d", alpha[0], alpha[1][..., None]))
        return lines + self._emission() + self._gloss()

    def _picture(self, texture: Texture | None) -> Picture | None:
        if texture is None or self._layer is None:
            return None
        if texture not in self._pictures:
            self._pictures[texture] = self._writer.picture(texture, self._those, self._layer)
        return self._pictures[texture]

    def _color(self) -> tuple[Picture | None, Bytes | None]:
        """The colour texture, and its pixels without alpha times the material's colour."""
        picture = self._picture(self._material.color_texture)
        if picture is None:
            return None, None
        baked = self._writer.over_texture(self._material, self._those, picture)
        if baked is not None:
            return baked, baked.pixels
        return picture, times(split_alpha(picture.pixels)[0], self._material.color, linear=False)

    def _alpha(self) -> tuple[Picture, Bytes] | None:
        """The picture that says what can be seen through, and its alpha; None where nothing but `d` does."""
        material = self._material
        picture = self._picture(material.alpha_texture or material.color_texture)
        if picture is None:
            return None
        own = split_alpha(picture.pixels)[1]
        if own is None and material.alpha_texture is None:
            return None
        values = (brightness(picture.pixels) if own is None else own) / 255 * material.opacity
        if material.alpha == "mask":
            return picture, cut_at_half(values, material.cutoff)
        return picture, np.round(values * 255).astype(np.uint8)

    def _emission(self) -> list[str]:
        material = self._material
        if not any(material.emission):
            return []
        picture = self._picture(material.emission_texture)
        if picture is None:
            return ["Ke {:.7g} {:.7g} {:.7g}".format(*material.emission)]
        if max(material.emission) > 1:
            self._writer.note("emission above 1 under a picture lowered to 1")
        factors = tuple(min(factor, 1.0) for factor in material.emission)
        pixels = times(split_alpha(picture.pixels)[0], factors, linear=False)
        return ["Ke 1 1 1", self._writer.statement("map_Ke", picture, pixels)]

    def _gloss(self) -> list[str]:
        material = self._material
        picture = self._picture(material.metallic_roughness_texture)
        if picture is None:
            return []
        pixels = picture.pixels if picture.pixels.shape[2] >= 3 else picture.pixels[..., [0, 0, 0]]
        metal = material.metallic if material.metallic else 1.0
        pixels = times(pixels[..., :3], (1.0, material.roughness, metal), linear=True)
        lines = [self._writer.statement("map_Pr", picture, pixels, "g")]
        if material.metallic:
            lines.append(self._writer.statement("map_Pm", picture, pixels, "b"))
        return lines


def _with_alpha(color: Bytes, alpha: Bytes) -> Bytes:
    return np.concatenate([color, alpha[..., None]], axis=2)


def _transform(
    given: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]
) -> tuple[float, float, float, float] | None:
    """Scale and offset of u and v that make `wanted` [N, 2] of `given` [N, 2], None where none does."""
    scales, offsets = [], []
    for axis in range(2):
        x, y = given[:, axis].astype(np.float64), wanted[:, axis].astype(np.float64)
        spread = x.max() - x.min()
        scale = (y[x.argmax()] - y[x.argmin()]) / spread if spread > _SAME_PLACE else 1.0
        offset = y[x.argmin()] - scale * x.min()
        if np.abs(x * scale + offset - y).max() > max(_SAME_PLACE, _EXACT * np.abs(y).max()):
            return None
        scales.append(float(scale))
        offsets.append(float(offset))
    return scales[0], scales[1], offsets[0], offsets[1]

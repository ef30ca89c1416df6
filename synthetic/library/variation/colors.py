"""Other colours of a surface that keep its patterns: hue, chroma and lightness moved in OKLab, alike all over it.

Alpha, cut-outs, emission, metal and gloss maps stay as they are. What has no colour keeps none in every picture; only
a plain grey of a thing that may have any colour may be painted.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.library.variation.draws import Draws, VariantSeed
from synthetic.library.variation.kinds import Palette
from synthetic.library.variation.oklab import Bytes, bytes_of_linear, in_gamut, linear_of_bytes, of_linear
from synthetic.staging.surface import Floats, Material, Surface

_NEUTRAL, _STRONG = 0.03, 0.14  # chroma of what counts as grey, and above which brown is orange or yellow
_BROWN = (40.0, 95.0)  # degrees of OKLab's hue: woods, leathers
_GREEN = (105.0, 165.0)  # leaves
_HUES = 6  # groups of colours that change together
_PAINTABLE = (0.4, 0.97)  # lightness of plain greys that may be painted: tyres and pupils stay black
_PAINT = (0.03, 0.12)  # chroma of the paint
_EIGHTH = 0.4142  # tangent of half of 45 degrees
_METAL = 0.5  # metals of more are not painted


@dataclass(frozen=True)
class ColorChange:
    """A change of colours: hue turned by 2 atan(tangent) after `quarters` of a turn, chroma times a factor.

    L becomes L + lightness · L (1 - L): black stays black, white stays white, and lighter stays lighter while
    |lightness| < 1. `paint` is (a, b) given instead of a colour's own, for plain greys alone.
    """

    quarters: int = 0
    tangent: float = 0.0
    chroma: float = 1.0
    lightness: float = 0.0
    paint: tuple[float, float] | None = None

    def of(self, rgb: Floats) -> Floats:
        """[N,3] linear RGB in [0, 1] for such."""
        light, a, b = of_linear(rgb).T
        cosine, sine = _direction(self.quarters, self.tangent)
        light = light + self.lightness * light * (1 - light)
        a, b = self.chroma * (cosine * a - sine * b), self.chroma * (sine * a + cosine * b)
        if self.paint is not None:
            a, b = np.full_like(a, self.paint[0]), np.full_like(b, self.paint[1])
            return in_gamut(np.stack([light, a, b], axis=1))
        grey = (rgb == rgb[:, :1]).all(axis=1)
        a, b = np.where(grey, 0.0, a), np.where(grey, 0.0, b)
        result = in_gamut(np.stack([light, a, b], axis=1))
        result[grey] = result[grey, 1:2]  # the published matrices leave 1e-8 between the channels
        return result


@dataclass(frozen=True)
class Range:
    """How far a change goes: the tangent of half the angle that hues are turned by (None for any), and factors.

    Chroma is multiplied or divided by `chroma` at most, `lightness` is that of ColorChange.
    """

    tangent: float | None
    chroma: float
    lightness: float

    def draw(self, draws: Draws) -> ColorChange:
        """A change within this range."""
        quarters, tangent = (draws.index(4), _EIGHTH) if self.tangent is None else (0, self.tangent)
        return ColorChange(
            quarters, draws.around(tangent), draws.factor(self.chroma), draws.around(self.lightness)
        )


RANGES: dict[Palette, Range] = {
    "fixed": Range(0.0262, 1.08, 0.08),  # 3 degrees
    "natural": Range(0.0612, 1.35, 0.3),  # 7 degrees
    "planted": Range(None, 1.4, 0.35),
    "free": Range(None, 1.4, 0.35),
}


def recolor(
    surface: Surface, palette: Palette, seed: VariantSeed, workspace: Path
) -> tuple[Surface, dict[str, Any]]:
    """The surface in other colours, with its textures written to `workspace`, and the changes by group of colours.

    Materials of like colour change together: of the mean of their picture, else of their plain colour.
    """
    changer = _Changer(palette, seed, workspace)
    vertex_colors = surface.colors is not None
    materials = tuple(changer.material(material, vertex_colors) for material in surface.materials)
    colors = surface.colors
    if colors is not None:
        flat = colors.reshape(-1, 4).astype(np.float64)
        change = changer.change(changer.group(flat[:, :3].mean(axis=0)))
        inside = (flat[:, :3] >= 0).all(axis=1) & (flat[:, :3] <= 1).all(axis=1)
        flat[inside, :3] = replace(change, paint=None).of(flat[inside, :3])
        colors = flat.reshape(colors.shape).astype(np.float32)
    return replace(surface, materials=materials, colors=colors), changer.record


class _Changer:
    """The changes of one variant: one for every group of colours, one result for every texture."""

    def __init__(self, palette: Palette, seed: VariantSeed, workspace: Path) -> None:
        self._palette, self._seed, self._workspace = palette, seed, workspace
        self._textures: dict[Path, Path] = {}
        self.record: dict[str, Any] = {}

    def material(self, material: Material, vertex_colors: bool) -> Material:
        """A material in other colours and, where any will do, another roughness."""
        texture, rgb = material.color_texture, np.clip(np.array([material.color]), 0, 1)
        if RANGES[self._palette].tangent is None and material.metallic_roughness_texture is None:
            factor = self._seed.draws("roughness").factor(1.4)
            material = replace(material, roughness=min(max(material.roughness * factor, 0.05), 1.0))
        if texture is not None or vertex_colors:
            change = replace(self.change(self.group(rgb[0])), lightness=0.0, paint=None)
        else:
            change = self.change(self.group(rgb[0]))
            light = float(of_linear(rgb)[0, 0])
            if material.metallic > _METAL or material.alpha != "opaque" or not _within(light, _PAINTABLE):
                change = replace(change, paint=None)
        red, green, blue = (float(value) for value in change.of(rgb)[0])
        if texture is not None:
            texture = replace(texture, path=self._texture(texture.path))
        return replace(material, color=(red, green, blue), color_texture=texture)

    def group(self, rgb: Floats) -> str:
        """The group of colours that a linear RGB colour [3] belongs to; all are one where any change is small."""
        if RANGES[self._palette].tangent is not None:
            return self._palette
        _, a, b = of_linear(np.asarray(rgb)[None])[0]
        chroma, hue = math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360
        if chroma < _NEUTRAL:
            return "grey"
        if chroma < _STRONG and _within(hue, _BROWN):
            return "brown"
        if self._palette == "planted" and _within(hue, _GREEN):
            return "green"
        return f"hue {int(hue * _HUES / 360)}"

    def change(self, group: str) -> ColorChange:
        """The change of a group of colours; browns of things stay browns, as wood and leather do, and leaves green."""
        draws = self._seed.draws(f"colour {group}")
        change = RANGES["natural" if group in ("brown", "green") else self._palette].draw(draws)
        if group == "grey" and draws.chance(0.5):
            cosine, sine = _direction(draws.index(4), draws.around(_EIGHTH))
            chroma = draws.between(*_PAINT)
            change = replace(change, paint=(chroma * cosine, chroma * sine))
        self.record[group] = asdict(change)
        return change

    def _texture(self, path: Path) -> Path:
        """The file of a texture in other colours."""
        if path not in self._textures:
            with Image.open(path) as picture:
                pixels = np.asarray(picture)
            target = self._workspace / f"varied{len(self._textures)}.png"
            changed = self._pixels(pixels)
            Image.fromarray(changed).save(target, compress_level=1)
            self._textures[path] = target
        return self._textures[path]

    def _pixels(self, pixels: Bytes) -> Bytes:
        """The picture [H,W] or [H,W,C] in other colours, alpha as it is."""
        whole = np.atleast_3d(pixels)
        grey = whole.shape[2] < 3
        rgb = np.repeat(whole[..., :1], 3, axis=2) if grey else whole[..., :3]
        distinct, places, counts = _distinct(rgb)
        linear = linear_of_bytes(distinct)
        mean = (linear * (counts / counts.sum())[:, None]).sum(axis=0)
        # A picture of a potted plant may hold the pot and the leaves.
        group = "green" if self._palette == "planted" else self.group(mean)
        change = replace(self.change(group), paint=None)
        changed = bytes_of_linear(change.of(linear))[places].reshape(rgb.shape)
        result = whole.copy()
        result[..., : 1 if grey else 3] = changed[..., : 1 if grey else 3]
        return result.reshape(pixels.shape)


def _direction(quarters: int, tangent: float) -> tuple[float, float]:
    """Cosine and sine of quarters of a turn and 2 atan(tangent)."""
    square = tangent * tangent
    cosine, sine = (1 - square) / (1 + square), 2 * tangent / (1 + square)
    for _ in range(quarters):
        cosine, sine = -sine, cosine
    return cosine, sine


def _distinct(rgb: Bytes) -> tuple[Bytes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The different colours [K,3] of a picture [H,W,3], where each pixel's is among them, and how often they occur."""
    red, green, blue = (rgb[..., channel].ravel().astype(np.uint32) for channel in range(3))
    codes, places, counts = np.unique(
        (red << 16) | (green << 8) | blue, return_inverse=True, return_counts=True
    )
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8), places, counts


def _within(value: float, span: tuple[float, float]) -> bool:
    return span[0] <= value <= span[1]

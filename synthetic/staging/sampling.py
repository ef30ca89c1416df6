"""Colour and alpha of points on a surface, looked up without Blender: what checks and alpha go by.

An 8-bit sRGB texture is interpolated in its bytes and made linear afterwards, as Cycles does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.staging.surface import Floats, Material, Surface, Texture, Wrap

Indices = npt.NDArray[np.integer]
Bytes = npt.NDArray[np.uint8]
_FARTHEST = 1e15  # texels; beyond, texture coordinates are nonsense that must not overflow
_GREY = np.array([0.2126, 0.7152, 0.0722])  # of linear RGB (ITU-R BT.709)


def base_color(surface: Surface, triangle: Indices, barycentric: Floats) -> Floats:
    """Linear RGB and alpha [N,4] at points on `triangle` [N]; `barycentric` [N,2] are the weights of corners 1 and 2.

    Alpha is 1 where the material ignores it.
    """
    return SurfaceColors(surface).at(triangle, barycentric)


class SurfaceColors:
    """The same for many calls: every texture is read once, when a point on it is first asked for."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._pictures: dict[Path, Bytes] = {}

    def at(self, triangle: Indices, barycentric: Floats) -> Floats:
        """Linear RGB and alpha [N,4], as `base_color` gives them."""
        surface, colors = self._surface, np.ones((len(triangle), 4))
        weights = _weights(barycentric)
        used = surface.material[triangle]
        for number in np.unique(used):
            material, here = surface.materials[number], used == number
            colors[here, :3] = material.color
            if material.color_texture:
                colors[here, :3] *= self._linear(material.color_texture, triangle[here], weights[here])
            if material.alpha != "opaque":
                colors[here, 3] = self._alpha(material, triangle[here], weights[here], exact=False)
        if surface.colors is not None:
            vertex = _interpolated(surface.colors, triangle, weights)
            opaque = np.array([material.alpha == "opaque" for material in surface.materials])[used]
            colors *= np.where(opaque[:, None] & [False, False, False, True], 1.0, vertex)
        return colors

    def roughness_metallic(self, triangle: Indices, barycentric: Floats) -> Floats:
        """Roughness and metal [N,2], as the renderer has them: (1, 0) where a material is matte."""
        surface, found = self._surface, np.tile([1.0, 0.0], (len(triangle), 1))
        weights = _weights(barycentric)
        used = surface.material[triangle]
        for number in np.unique(used):
            material, here = surface.materials[number], used == number
            if material.matte:
                continue
            found[here] = material.roughness, material.metallic
            texture = material.metallic_roughness_texture
            if texture:
                values = self._look_up(texture, triangle[here], weights[here], texture.nearest) / 255
                found[here] *= values[:, [1, 2] if values.shape[1] > 2 else [0, 0]]
        return found

    def alpha(self, triangle: Indices, barycentric: Floats, exact: bool = False) -> Floats:
        """[N] opacity times texture times vertex alpha, whatever the material makes of it.

        With `exact` the texel at the point counts, and nothing is interpolated between texels.
        """
        surface, alpha = self._surface, np.ones(len(triangle))
        weights = _weights(barycentric)
        used = surface.material[triangle]
        for number in np.unique(used):
            here = used == number
            alpha[here] = self._alpha(surface.materials[number], triangle[here], weights[here], exact)
        if surface.colors is not None:
            alpha *= _interpolated(surface.colors[..., 3:], triangle, weights)[:, 0]
        return alpha

    def size(self, texture: Texture) -> tuple[int, int]:
        """Width and height in texels."""
        height, width = self._picture(texture.path).shape[:2]
        return width, height

    def lets_through(self, material: Material) -> bool:
        """Whether the alpha of the material's own textures is less than 1 anywhere."""
        texture = material.alpha_texture or material.color_texture
        if texture is None:
            return False
        picture = self._picture(texture.path)
        if picture.shape[2] in (2, 4):
            return int(picture[..., -1].min()) < 255
        return material.alpha_texture is not None and int(picture.min()) < 255

    def _alpha(self, material: Material, triangle: Indices, weights: Floats, exact: bool) -> Floats:
        texture = material.alpha_texture or material.color_texture
        if texture is None:
            return np.full(len(triangle), material.opacity)
        picture = self._picture(texture.path)
        if picture.shape[2] in (1, 3) and material.alpha_texture is None:
            return np.full(len(triangle), material.opacity)
        values = self._look_up(texture, triangle, weights, exact) / 255
        if picture.shape[2] in (2, 4):
            return np.asarray(material.opacity * values[:, -1])
        return np.asarray(material.opacity * (values @ _GREY if picture.shape[2] == 3 else values[:, 0]))

    def _linear(self, texture: Texture, triangle: Indices, weights: Floats) -> Floats:
        """[N,3] of the texture's colour."""
        values = self._look_up(texture, triangle, weights, texture.nearest)
        grey = values.shape[1] < 3
        return linear_of_srgb((values[:, [0, 0, 0]] if grey else values[:, :3]) / 255)

    def _look_up(self, texture: Texture, triangle: Indices, weights: Floats, nearest: bool) -> Floats:
        """[N,C] values of the picture from 0 to 255, interpolated unless `nearest`."""
        picture = self._picture(texture.path)
        height, width = picture.shape[:2]
        uv = _interpolated(self._surface.uvs[texture.uv_layer], triangle, weights)
        x, y = np.clip(uv * (width, height), -_FARTHEST, _FARTHEST).T
        if nearest or texture.nearest:
            column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
            return _texels(picture, texture.wrap, column, row)
        x, y = x - 0.5, y - 0.5
        column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        right, up = (x - column)[:, None], (y - row)[:, None]
        low = _texels(picture, texture.wrap, column, row) * (1 - right)
        low += _texels(picture, texture.wrap, column + 1, row) * right
        high = _texels(picture, texture.wrap, column, row + 1) * (1 - right)
        high += _texels(picture, texture.wrap, column + 1, row + 1) * right
        return np.asarray(low * (1 - up) + high * up)

    def _picture(self, path: Path) -> Bytes:
        """[H,W,C] bytes with the lowest row first."""
        if path not in self._pictures:
            with Image.open(path) as picture:
                pixels = np.asarray(picture)
            self._pictures[path] = np.atleast_3d(pixels)[::-1]
        return self._pictures[path]


def linear_of_srgb(values: Floats) -> Floats:
    """Linear light of sRGB values in [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_of_linear(values: Floats) -> Floats:
    """sRGB in [0, 1] of linear light; what lies beyond [0, 1] is cut."""
    cut = values.clip(0, 1)
    return np.where(cut <= 0.0031308, cut * 12.92, 1.055 * cut ** (1 / 2.4) - 0.055)


def srgb_bytes(values: Floats) -> Bytes:
    """8-bit sRGB of linear light."""
    return np.asarray(np.round(srgb_of_linear(values) * 255), dtype=np.uint8)


def _weights(barycentric: Floats) -> Floats:
    """[N,3] weights of the corners."""
    return np.column_stack([1 - barycentric.sum(axis=1), barycentric])


def _interpolated(corners: npt.NDArray[np.float32], triangle: Indices, weights: Floats) -> Floats:
    """[N,C] of values at corners [F,3,C]."""
    return np.asarray(np.einsum("nk,nkc->nc", weights, corners[triangle]))


def _texels(picture: Bytes, wrap: tuple[Wrap, Wrap], column: Indices, row: Indices) -> Floats:
    height, width = picture.shape[:2]
    return picture[_wrapped(row, height, wrap[1]), _wrapped(column, width, wrap[0])].astype(np.float64)


def _wrapped(index: Indices, size: int, wrap: Wrap) -> Indices:
    if wrap == "clamp":
        return index.clip(0, size - 1)
    if wrap == "repeat":
        return index % size
    index = index % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)

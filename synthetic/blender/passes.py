"""What Cycles leaves behind, as arrays: the picture in bytes on its background, exact values at pixel centres.

Depth comes with the picture: Cycles sends the first ray of every pixel through its centre (0.001 of a pixel beside it)
and keeps the depth of that one. Base colour and normals would be averages over all rays, so they are rendered on their
own, with one ray a pixel; its depth is taken then, so that all of them belong to the same ray.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import bpy
import numpy as np
import numpy.typing as npt

from synthetic.blender.views import Passes, Window, draw_views

_NARROW = 0.01  # width of the pixel filter with which a ray goes through the centre


class CentrePass:
    """Renders depth and outputs of the materials (AOVs) with one ray a pixel, through its centre."""

    def __init__(self, names: Sequence[str]) -> None:
        """`names` of the outputs."""
        self._layer = bpy.context.scene.view_layers.new("centre")
        self._layer.use, self._layer.samples, self._layer.use_pass_z = False, 1, True
        for name in names:
            output = self._layer.aovs.add()
            output.name, output.type = name, "COLOR"

    def draw(self, windows: Mapping[int, Window], taken: Callable[[int, Passes], bool]) -> None:
        """As `draw_views`; depth is [R,R,1] and each output [R,R,4]."""
        scene = bpy.context.scene
        usual, width = [layer for layer in scene.view_layers if layer.use], scene.cycles.filter_width
        self._switch(usual, on=True, width=_NARROW)
        try:
            draw_views(windows, taken)
        finally:
            self._switch(usual, on=False, width=width)

    def _switch(self, usual: Sequence[bpy.types.ViewLayer], on: bool, width: float) -> None:
        self._layer.use = on
        for other in usual:
            other.use = not on
        bpy.context.scene.cycles.filter_width = width


class ByteWriter:
    """Turns linear colours into the bytes that Blender writes of them: its view transform, its rounding."""

    def __init__(self, side: int) -> None:
        """For pictures of up to `side` pixels a side; small ones take less time."""
        self._sides = [-(-side * quarter // 4) for quarter in (1, 2, 3, 4)]
        self._images: dict[int, bpy.types.Image] = {}  # by their sides, made when they are first needed
        self._file = os.memfd_create("color.tga")  # on a disk, files that come and go slow all others down

    def write(self, linear: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """[H,W,4] 8-bit sRGB, not multiplied by alpha, of linear colours [H,W,4] that are."""
        rows, columns = linear.shape[:2]
        side = next(side for side in self._sides if side >= max(rows, columns))
        square = np.zeros((side, side, 4), np.float32)
        square[side - rows :, :columns] = linear[::-1]  # the lowest row first
        image = self._images.get(side) or self._image(side)
        image.pixels.foreach_set(square.reshape(-1))
        image.save_render(f"/proc/self/fd/{self._file}", scene=bpy.context.scene)
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        return _read_targa(content, side)[:rows, :columns]

    def _image(self, side: int) -> bpy.types.Image:
        image = self._images[side] = bpy.data.images.new("color", side, side, alpha=True, float_buffer=True)
        image.alpha_mode = "PREMUL"
        return image

    def picture(
        self, linear: npt.NDArray[np.float32], window: Window, background: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.uint8]:
        """[R,R,3] 8-bit sRGB of linear colours [R,R,4] with alpha, 0 outside of the window, on a background [R,R,3],
        or on white.
        """
        left, top, right, bottom = window
        inside = slice(top, bottom), slice(left, right)
        color = np.full((*linear.shape[:2], 3), 255, np.uint8) if background is None else background.copy()
        color[inside] = laid_on(
            self.write(linear[inside]), None if background is None else background[inside]
        )
        return color


def _read_targa(content: bytes, side: int) -> npt.NDArray[np.uint8]:
    """[R,R,4] RGBA of a plain Targa file from its upper left corner on. Raises RuntimeError where it is another."""
    behind = 18 + content[0] if content else 0
    size = side.to_bytes(2, "little") * 2
    if (
        content[1:3] != b"\0\2"
        or content[12:18] != size + b"\x20\x08"
        or len(content) < behind + 4 * side * side
    ):
        raise RuntimeError(f"Blender {bpy.app.version_string} has written no plain Targa file")
    pixels = np.frombuffer(content, np.uint8, 4 * side * side, behind).reshape(side, side, 4)
    return pixels[::-1, :, [2, 1, 0, 3]]  # the lowest row and blue come first


def laid_on(
    rgba: npt.NDArray[np.generic], background: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """An 8-bit picture with alpha laid on a background [R,R,3], or on white."""
    color, alpha = rgba[..., :3].astype(np.float64), rgba[..., 3:].astype(np.float64) / 255
    behind = 255 if background is None else background
    return np.asarray(np.round(color * alpha + behind * (1 - alpha)), dtype=np.uint8)

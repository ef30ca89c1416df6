"""What Blender leaves behind after a rendering, as arrays: the picture on its background, exact values at centres.

Depth comes with the picture: Cycles sends the first ray of every pixel through its centre (0.001 of a pixel beside it)
and keeps the depth of that one. Base colour and normals would be averages over all rays, so they are rendered on their
own, with one ray a pixel; its depth is taken then, so that all of them belong to the same ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bpy
import cv2
import numpy as np
import numpy.typing as npt

from synthetic.blender.compositor import compositor, depth_socket, exr_path, write_exr

_NARROW = 0.01  # width of the pixel filter with which a ray goes through the centre


class CentrePass:
    """Renders depth and outputs of the materials (AOVs) with one ray a pixel, through its centre."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """`names` of the outputs; files between Blender and us lie in `folder` for a moment."""
        self._folder, self._names = folder, ("centre", *names)
        scene = bpy.context.scene
        self._layer = scene.view_layers.new("centre")
        self._layer.use, self._layer.samples = False, 1
        for name in names:
            output = self._layer.aovs.add()
            output.name, output.type = name, "COLOR"
        tree = compositor(scene)
        self._others = [node for node in tree.nodes if node.type == "OUTPUT_FILE"]
        source = tree.nodes.new("CompositorNodeRLayers")
        source.layer = self._layer.name
        sockets = [depth_socket(tree, self._layer), *(source.outputs[name] for name in names)]
        self._files = write_exr(tree, folder, dict(zip(self._names, sockets, strict=True)))
        self._files.mute = True

    def render(self) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]:
        """Depth [R,R] as the scene's camera sees it, and [R,R,3] of each output, 0 where nothing is hit."""
        scene = bpy.context.scene
        usual, width = [layer for layer in scene.view_layers if layer.use], scene.cycles.filter_width
        self._switch(usual, on=True, width=_NARROW)
        bpy.ops.render.render()
        self._switch(usual, on=False, width=width)
        depth, *outputs = (
            take(exr_path(self._folder, name, scene.frame_current))[..., 2::-1].astype(np.float32)
            for name in self._names
        )
        return depth[..., 0], dict(zip(self._names[1:], outputs, strict=True))

    def _switch(self, usual: Sequence[bpy.types.ViewLayer], on: bool, width: float) -> None:
        self._layer.use, self._files.mute = on, not on
        for other in usual:
            other.use = not on
        for node in self._others:
            node.mute = on
        bpy.context.scene.cycles.filter_width = width


def take(path: Path) -> npt.NDArray[np.generic]:
    """The pixels [R,R,C] of a file in OpenCV's order (blue first), which is removed.

    Raises RuntimeError where Blender has written no such file, or OpenCV cannot read it.
    """
    if not path.exists():
        raise RuntimeError(f"Blender {bpy.app.version_string} rendered, but has written no {path.name}")
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise RuntimeError(f"OpenCV could not read {path.name}; it has to be built with OpenEXR (4.12 is)")
    path.unlink()
    return np.asarray(pixels)


def laid_on(
    rgba: npt.NDArray[np.generic], background: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """An 8-bit picture with alpha laid on a background [R,R,3], or on white."""
    color, alpha = rgba[..., :3].astype(np.float64), rgba[..., 3:].astype(np.float64) / 255
    behind = 255 if background is None else background
    return np.asarray(np.round(color * alpha + behind * (1 - alpha)), dtype=np.uint8)

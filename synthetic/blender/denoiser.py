"""The one thing of BlenderProc that is kept from running: its compositor, which Blender 5 does not have.

BlenderProc 2.8.0 knows the compositor of Blender 4 only (`Scene.node_tree`), and stops with an AttributeError where
there is none. Depth and colours are taken from Cycles itself (`synthetic.blender.views`), so its denoiser is what is
left. One deprecated call remains in what we do call: `set_world_background` sets `World.use_nodes`, which Blender 6.0
is said not to have.
"""

from __future__ import annotations

import bpy

from synthetic.blender.blenderproc_parts import RendererUtility


def disable_denoiser() -> None:
    """Switches Cycles' denoiser off, and keeps BlenderProc's own settings from putting one into the compositor.

    In the place of `RendererUtility.set_denoiser`, which `_Initializer.set_default_parameters` calls as well: from
    Blender 5.0 on it fails. To be called first; it can go with a BlenderProc that knows Blender 5.
    """
    RendererUtility.set_denoiser = _disable_denoiser
    _disable_denoiser()


def _disable_denoiser(denoiser: str | None = None) -> None:
    bpy.context.scene.cycles.use_denoising = False
    bpy.context.view_layer.cycles.use_denoising = False

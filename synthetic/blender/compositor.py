"""What differs between Blender 4.2 and 5.2 for us: the compositor. All other calls are the same in all of them.

BlenderProc 2.8.0 knows the compositor of Blender 4 only, which 5.0 took away (`Scene.node_tree`, the paths and slots of
File Output, the Composite node), and it stops there with an AttributeError. So its functions for depth and denoising
are not called; what stands here serves all versions alike. One deprecated call is left in what we do call:
`set_world_background` sets `World.use_nodes`, which Blender 6.0 is said not to have.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bpy
from blenderproc.python.renderer import RendererUtility

GROUPS = bpy.app.version >= (5, 0)  # a scene's compositor is a node group


def compositor(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """The nodes that a scene's renderings run through; made, with the picture passed on, where there are none.

    BlenderProc's `clean_up` removes all node groups, this one too: it must have run before.
    Below Blender 5.0 the tree belongs to the scene; that branch can go with Blender 4.
    """
    scene.render.use_compositing = True
    if not GROUPS:
        scene.use_nodes = True
        return scene.node_tree
    if scene.compositing_node_group is None:
        tree = bpy.data.node_groups.new("compositor", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        picture, end = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("NodeGroupOutput")
        tree.links.new(picture.outputs["Image"], end.inputs["Image"])
        scene.compositing_node_group = tree
    return scene.compositing_node_group


def write_exr(
    tree: bpy.types.NodeTree, folder: Path, sockets: Mapping[str, bpy.types.NodeSocket]
) -> bpy.types.Node:
    """A node that writes every socket to `exr_path(folder, name, frame)` with each rendering, as 32-bit floats.

    Below Blender 5.0 the node has paths and slots; that branch can go with Blender 4.
    """
    node = tree.nodes.new("CompositorNodeOutputFile")
    if GROUPS:
        node.directory, node.file_name = str(folder), ""
        node.format.media_type = "IMAGE"  # it begins with the layers of one file, which OpenCV does not read
    else:
        node.base_path = str(folder)
        node.file_slots.clear()
    node.format.file_format, node.format.color_depth = "OPEN_EXR", "32"
    node.format.exr_codec = "NONE"  # the files live for a moment
    for name, socket in sockets.items():
        pattern = f"{name}_####"  # without the marks, Blender 5 numbers the frames of animations only
        if GROUPS:
            node.file_output_items.new("RGBA", pattern)
        else:
            node.file_slots.new(pattern)
        tree.links.new(socket, node.inputs[pattern])
    return node


def exr_path(folder: Path, name: str, frame: int) -> Path:
    """Where `write_exr` puts what a frame shows."""
    return folder / f"{name}_{frame:04d}.exr"


def depth_socket(tree: bpy.types.NodeTree, layer: bpy.types.ViewLayer) -> bpy.types.NodeSocket:
    """A layer's depth along the camera's axis, as a colour: OpenCV reads no file of a single channel."""
    layer.use_pass_z = True  # from Blender 5.2 on the node has no such socket before
    source, grey = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeCombineColor")
    source.layer = layer.name
    tree.links.new(source.outputs["Depth"], grey.inputs[0])
    return grey.outputs["Image"]


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

"""Node materials that shine with one of their own inputs, so that a bake or a rendering shows it without any light.

An Emission stands in for every shader of a material (Principled, Diffuse, Glass …). Mix Shader, Add Shader and node
groups stay as they are: they mix what shines by the same factors as they mixed what reflected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import bpy

Channel = Literal["color", "surface", "opacity", "cover"]

_COMBINING = {"MIX_SHADER", "ADD_SHADER", "GROUP", "GROUP_INPUT", "REROUTE"}
_MIRRORS = {"BSDF_GLOSSY", "BSDF_METALLIC"}  # reflect in their own colour, as metals do
_GLASS = {"BSDF_GLASS", "BSDF_REFRACTION"}
_POLISHED = {*_MIRRORS, *_GLASS, "BSDF_PRINCIPLED"}  # whose Roughness is that of a mirror


@dataclass(frozen=True)
class _Shader:
    """A shader of a tree, the Emission in its place, and where its colour and the rest of its look are."""

    tree: bpy.types.NodeTree
    node: bpy.types.Node
    emission: bpy.types.Node
    color: bpy.types.NodeSocket
    surface: bpy.types.NodeSocket


class ShiningMaterials:
    """Materials that shine with the channel that was chosen last. They are changed for good.

    Channels: "color" linear RGB; "surface" glass in red, roughness in green and metal in blue; "opacity" in grey;
    "cover" 1 in grey. Where a see-through shader (Transparent) is mixed in, colour, surface and cover are darker by the
    same factor. Glass is opaque here, and what glows has the colour of its glow. Displacement and volumes are left out:
    they belong to no point of the surface.
    """

    def __init__(self, materials: Iterable[bpy.types.Material]) -> None:
        """Puts the Emissions in place. Materials without nodes get those of their colour first."""
        trees: dict[int, bpy.types.NodeTree] = {}
        for material in materials:
            if not material.use_nodes:
                material.use_nodes = True
                principled = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
                principled.inputs["Base Color"].default_value = material.diffuse_color
            for node in material.node_tree.nodes:
                if node.type == "OUTPUT_MATERIAL":
                    _unlink(material.node_tree, node.inputs["Volume"], node.inputs["Displacement"])
            trees.update((tree.as_pointer(), tree) for tree in _with_groups(material.node_tree))
        self._shaders = [_stand_in(tree, node) for tree in trees.values() for node in list(_shaders(tree))]

    @property
    def see_through(self) -> bool:
        """Whether any of them may let light through otherwise than as glass."""
        return any(
            shader.node.type == "BSDF_TRANSPARENT" or _has_alpha(shader.node) for shader in self._shaders
        )

    def show(self, channel: Channel) -> None:
        """Lets them shine with a channel."""
        for shader in self._shaders:
            color, strength = shader.emission.inputs["Color"], shader.emission.inputs["Strength"]
            _unlink(shader.tree, color, strength)
            clear = shader.node.type == "BSDF_TRANSPARENT"
            color.default_value, strength.default_value = (1, 1, 1, 1), float(not clear)
            if channel == "color":
                shader.tree.links.new(shader.color, color)
            elif channel == "surface":
                shader.tree.links.new(shader.surface, color)
            elif channel == "opacity" and not clear:
                _follow(shader.tree, strength, _input(shader.node, "Alpha"))


def _with_groups(tree: bpy.types.NodeTree) -> Iterator[bpy.types.NodeTree]:
    """The tree and those of the groups in it, and in them."""
    yield tree
    for node in tree.nodes:
        if node.type == "GROUP" and node.node_tree is not None:
            yield from _with_groups(node.node_tree)


def _shaders(tree: bpy.types.NodeTree) -> Iterator[bpy.types.Node]:
    for node in tree.nodes:
        if node.type not in _COMBINING and any(socket.type == "SHADER" for socket in node.outputs):
            yield node


def _stand_in(tree: bpy.types.NodeTree, node: bpy.types.Node) -> _Shader:
    """Lets an Emission go where the shader goes."""
    emission = tree.nodes.new("ShaderNodeEmission")
    for output in [socket for socket in node.outputs if socket.type == "SHADER"]:
        for link in list(output.links):
            tree.links.new(emission.outputs["Emission"], link.to_socket)
    return _Shader(tree, node, emission, _color(tree, node), _surface(tree, node))


def _color(tree: bpy.types.NodeTree, node: bpy.types.Node) -> bpy.types.NodeSocket:
    """The shader's colour: its base colour, and the more it glows, that of its glow."""
    mixed = tree.nodes.new("ShaderNodeMix")
    mixed.data_type, mixed.clamp_factor = "RGBA", True
    factor, base, glow = (socket for socket in mixed.inputs if socket.enabled)
    factor.default_value, base.default_value = 0.0, (1.0, 1.0, 1.0, 1.0)
    _follow(tree, base, _input(node, "Base Color", "Color"))
    if node.type == "BSDF_PRINCIPLED":
        _follow(tree, factor, node.inputs["Emission Strength"])
        _follow(tree, glow, node.inputs["Emission Color"])
    return next(socket for socket in mixed.outputs if socket.enabled)


def _surface(tree: bpy.types.NodeTree, node: bpy.types.Node) -> bpy.types.NodeSocket:
    """What the shader is of glass in red, its roughness in green and metal in blue."""
    combined = tree.nodes.new("ShaderNodeCombineColor")
    glass, roughness, metal = combined.inputs
    glass.default_value, roughness.default_value = float(node.type in _GLASS), 1.0
    metal.default_value = float(node.type in _MIRRORS)
    _follow(tree, glass, _input(node, "Transmission Weight"))
    if node.type in _POLISHED:
        _follow(tree, roughness, _input(node, "Roughness"))
    _follow(tree, metal, _input(node, "Metallic"))
    return combined.outputs["Color"]


def _input(node: bpy.types.Node, *names: str) -> bpy.types.NodeSocket | None:
    """The first input of one of the names."""
    return next((node.inputs[name] for name in names if name in node.inputs), None)


def _has_alpha(node: bpy.types.Node) -> bool:
    alpha = _input(node, "Alpha")
    return alpha is not None and (alpha.is_linked or alpha.default_value < 1)


def _follow(
    tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket, source: bpy.types.NodeSocket | None
) -> None:
    """Gives a socket the value or the link of another; nothing happens without another."""
    if source is None:
        return
    if source.is_linked:
        tree.links.new(source.links[0].from_socket, socket)
    else:
        socket.default_value = source.default_value


def _unlink(tree: bpy.types.NodeTree, *sockets: bpy.types.NodeSocket) -> None:
    for link in [link for socket in sockets for link in socket.links]:
        tree.links.remove(link)

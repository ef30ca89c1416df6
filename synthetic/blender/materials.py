"""Node materials of staged materials, as Cycles draws them, with outputs for what a ray through a pixel's centre hits.

Cycles interpolates the bytes of an 8-bit sRGB texture and makes the result linear; all else is float.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import bpy

from synthetic.blender.mesh import COLORS, INSTANCE, uv_name
from synthetic.staging.surface import Material, Texture

ALBEDO, NORMALS, POSITION = "albedo", "normals", "position"  # names of the outputs
PROPERTIES = "properties"  # one more: roughness, metal, number of the instance
_MOST_KEPT = 64  # materials; hardly any model has more
_PNG_WITH_ALPHA = (4, 6)  # kinds of pixels

Value: TypeAlias = bpy.types.NodeSocket | float | tuple[float, ...]
ColorSpace = Literal["sRGB", "Non-Color"]


class KeptMaterials:
    """Materials that stay from model to model: new numbers in old nodes take a quarter of the time of new nodes."""

    def __init__(self) -> None:
        self._by_build: dict[tuple[object, ...], list[tuple[bpy.types.Material, _Nodes]]] = {}
        self._taken: Counter[tuple[object, ...]] = Counter()

    def take(self, build: tuple[object, ...]) -> tuple[bpy.types.Material, _Nodes]:
        """A material that nobody has taken yet, with the nodes it has if one was made the same way before."""
        kept, place = self._by_build.setdefault(build, []), self._taken[build]
        self._taken[build] += 1
        if place == len(kept):
            made = bpy.data.materials.new("model")
            if bpy.app.version < (
                5,
                0,
            ):  # since then materials always have nodes, and the property is deprecated
                made.use_nodes = True
            made.node_tree.nodes.clear()
            kept.append((made, _Nodes(made.node_tree)))
        kept[place][1].begin()
        return kept[place]

    def give_back(self) -> list[bpy.types.Material]:
        """Those beyond the most that are kept, to be removed; all others may be taken again."""
        self._taken.clear()
        every = [material for kept in self._by_build.values() for material, _ in kept]
        if len(every) <= _MOST_KEPT:
            return []
        self._by_build.clear()
        return every


class MaterialMaker:
    """Makes Blender materials of staged ones; `uv_layers` are those that the textures of the ones made so far use."""

    def __init__(self, kept: KeptMaterials, colored: bool, outputs: Collection[str] = ()) -> None:
        """`colored`: the mesh has colours of its own, which multiply those of the materials.

        `outputs` are those of ALBEDO, NORMALS, POSITION and PROPERTIES that are wanted besides the picture, always the
        same for the materials that are `kept`; each takes time.
        """
        self.uv_layers: set[int] = set()
        self._kept, self._colored, self._outputs = kept, colored, outputs
        self._images: dict[tuple[Path, ColorSpace], bpy.types.Image] = {}

    def make(self, material: Material) -> bpy.types.Material:
        """A material of the same look."""
        made, nodes = self._kept.take(self._build_of(material))
        color = self._color(nodes, material)
        roughness, metallic = self._roughness_metallic(nodes, material)
        surface = self._shader(nodes, material, color, roughness, metallic)
        outputs: dict[str, Value] = {}
        if ALBEDO in self._outputs:
            outputs[ALBEDO] = color
        if NORMALS in self._outputs:
            outputs[NORMALS] = nodes.add("NewGeometry").outputs["True Normal"]
        if POSITION in self._outputs:
            outputs[POSITION] = nodes.add("NewGeometry").outputs["Position"]
        if PROPERTIES in self._outputs:
            if material.matte:
                roughness, metallic = 1.0, 0.0
            parts = {"X": roughness, "Y": metallic, "Z": nodes.attribute(INSTANCE).outputs["Fac"]}
            outputs[PROPERTIES] = nodes.add("CombineXYZ", parts).outputs["Vector"]
        if material.alpha == "mask":
            cut = nodes.math("LESS_THAN", self._alpha(nodes, material), material.cutoff)
            gap = nodes.add("BsdfTransparent").outputs["BSDF"]
            surface = nodes.add("MixShader", {0: cut, 1: surface, 2: gap}).outputs["Shader"]
            # A ray goes on through what is cut, and the outputs of all that it meets are added up.
            kept = nodes.math("SUBTRACT", 1.0, cut)
            outputs = {name: nodes.scaled(socket, kept) for name, socket in outputs.items()}
        for name, socket in outputs.items():
            nodes.add("OutputAOV", {"Color": socket}, aov_name=name)
        nodes.add("OutputMaterial", {"Surface": surface})
        return made

    def _build_of(self, material: Material) -> tuple[object, ...]:
        """All that decides which nodes there are and how they are joined; the rest are numbers and pictures."""
        textures = (
            material.color_texture,
            material.alpha_texture,
            material.emission_texture,
            material.metallic_roughness_texture,
        )
        cut = material.alpha == "mask"
        return (
            *(self._colored, material.matte, any(material.emission), cut),
            *(texture and texture.wrap for texture in textures),
            *(cut and texture and _has_alpha(texture.path) for texture in textures[:2]),
        )

    def _color(self, nodes: _Nodes, material: Material) -> Value:
        color: Value = material.color
        if material.color_texture:
            color = nodes.product(color, self._picture(nodes, material.color_texture).outputs["Color"])
        if self._colored:
            color = nodes.product(color, nodes.attribute(COLORS).outputs["Color"])
        return color

    def _alpha(self, nodes: _Nodes, material: Material) -> Value:
        alpha: Value = material.opacity
        if material.alpha_texture:
            picture = self._picture(nodes, material.alpha_texture, "Non-Color")
            own = "Alpha" if _has_alpha(material.alpha_texture.path) else "Color"
            alpha = nodes.math("MULTIPLY", picture.outputs[own], alpha)
        elif material.color_texture and _has_alpha(material.color_texture.path):
            picture = self._picture(nodes, material.color_texture)
            alpha = nodes.math("MULTIPLY", picture.outputs["Alpha"], alpha)
        if self._colored:
            alpha = nodes.math("MULTIPLY", nodes.attribute(COLORS).outputs["Alpha"], alpha)
        return alpha

    def _roughness_metallic(self, nodes: _Nodes, material: Material) -> tuple[Value, Value]:
        metallic: Value = material.metallic
        roughness: Value = material.roughness
        if material.metallic_roughness_texture:
            picture = self._picture(nodes, material.metallic_roughness_texture, "Non-Color")
            parts = nodes.add("SeparateColor", {"Color": picture.outputs["Color"]}).outputs
            roughness = nodes.math("MULTIPLY", parts["Green"], roughness)
            metallic = nodes.math("MULTIPLY", parts["Blue"], metallic)
        return roughness, metallic

    def _shader(
        self, nodes: _Nodes, material: Material, color: Value, roughness: Value, metallic: Value
    ) -> bpy.types.NodeSocket:
        if not material.matte:
            inputs = {
                "Base Color": color,
                "Metallic": metallic,
                "Roughness": roughness,
                "Specular IOR Level": material.specular,
                # A constant, or Cycles works out a tangent for every ray, which only anisotropic gloss needs.
                "Tangent": nodes.add("CombineXYZ").outputs["Vector"],
            }
            shader = nodes.add("BsdfPrincipled", inputs).outputs["BSDF"]
        else:
            shader = nodes.add("BsdfDiffuse", {"Color": color}).outputs["BSDF"]
        if not any(material.emission):
            return shader
        emission: Value = material.emission
        if material.emission_texture:
            picture = self._picture(nodes, material.emission_texture)
            emission = nodes.product(emission, picture.outputs["Color"])
        glow = nodes.add("Emission", {"Color": emission}).outputs["Emission"]
        return nodes.add("AddShader", {0: shader, 1: glow}).outputs["Shader"]

    def _picture(self, nodes: _Nodes, texture: Texture, space: ColorSpace = "sRGB") -> bpy.types.Node:
        """A node with the picture of a texture where it lies on the surface."""
        key = texture.path, space
        if key not in self._images:
            image = self._images[key] = bpy.data.images.load(str(texture.path))
            image.colorspace_settings.name = space
            image.alpha_mode = (
                "CHANNEL_PACKED"  # or colours are multiplied by alpha, rounded, and divided again
            )
        self.uv_layers.add(texture.uv_layer)
        extension, place = _wrapped(nodes, texture, nodes.uv(texture.uv_layer))
        return nodes.add(
            "TexImage",
            {"Vector": place},
            image=self._images[key],
            interpolation="Closest" if texture.nearest else "Linear",
            extension=extension,
        )


class _Nodes:
    """The nodes of a tree; sockets and numbers may stand for each other as inputs."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self._tree = tree
        self._there: list[bpy.types.Node] = []  # in the order in which they were added
        self._place = 0
        self._given: dict[tuple[int, Any], Value] = {}  # the numbers of inputs, by node and input

    def begin(self) -> None:
        """Lets `add` begin anew: what is there is to be added in the same order, joined the same way."""
        self._place = 0

    def add(
        self, kind: str, inputs: Mapping[Any, Value] | None = None, **properties: object
    ) -> bpy.types.Node:
        """The next node, of a kind of ShaderNode, with its inputs, by name or number, and properties."""
        new = self._place == len(self._there)
        if new:
            self._there.append(self._tree.nodes.new(f"ShaderNode{kind}"))
        node = self._there[self._place]
        self._place += 1
        for name, value in properties.items():
            if getattr(node, name) != value:
                setattr(node, name, value)
        for place, value in (inputs or {}).items():
            if isinstance(value, bpy.types.NodeSocket):
                if new:
                    self._tree.links.new(value, node.inputs[place])
            elif self._given.get((self._place, place)) != value:  # each change costs 20 microseconds
                self._given[self._place, place] = value
                if isinstance(value, tuple) and node.inputs[place].type == "RGBA":
                    value = (*value, 1.0)
                node.inputs[place].default_value = value
        return node

    def math(self, operation: str, first: Value, second: Value) -> bpy.types.NodeSocket:
        """A number of two."""
        return self.add("Math", {0: first, 1: second}, operation=operation).outputs["Value"]

    def product(self, first: Value, second: Value) -> bpy.types.NodeSocket:
        """The product of two colours."""
        return self.add("VectorMath", {0: first, 1: second}, operation="MULTIPLY").outputs["Vector"]

    def scaled(self, color: Value, factor: Value) -> bpy.types.NodeSocket:
        """A colour times a number."""
        return self.add("VectorMath", {0: color, "Scale": factor}, operation="SCALE").outputs["Vector"]

    def attribute(self, name: str) -> bpy.types.Node:
        """An attribute of the mesh."""
        return self.add("Attribute", attribute_name=name)

    def uv(self, layer: int) -> bpy.types.NodeSocket:
        """Texture coordinates."""
        return self.add("UVMap", uv_map=uv_name(layer)).outputs["UV"]


def _wrapped(nodes: _Nodes, texture: Texture, place: Value) -> tuple[str, Value]:
    """Blender's one rule for what is beside a picture, and coordinates with which both axes follow their own."""
    if texture.wrap[0] == texture.wrap[1]:
        return {"repeat": "REPEAT", "clamp": "EXTEND", "mirror": "MIRROR"}[texture.wrap[0]], place
    axes = nodes.add("SeparateXYZ", {"Vector": place}).outputs
    repeated, inputs = "repeat" in texture.wrap, {}
    for name, wrap, side in zip("XY", texture.wrap, _png_size(texture.path), strict=True):
        along: Value = axes[name]
        if wrap == "mirror":
            along = nodes.math("PINGPONG", along, 1.0)
        if wrap != "repeat" and repeated:  # from middle to middle of the outermost pixels
            along = nodes.math("MINIMUM", nodes.math("MAXIMUM", along, 0.5 / side), 1 - 0.5 / side)
        inputs[name] = along
    return "REPEAT" if repeated else "EXTEND", nodes.add("CombineXYZ", inputs).outputs["Vector"]


def _png_size(path: Path) -> tuple[int, int]:
    with path.open("rb") as file:
        return struct.unpack_from(">II", file.read(24), 16)


def _has_alpha(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(26)[25] in _PNG_WITH_ALPHA

"""Materials of a glTF file, and the layers of texture coordinates that each wants of the triangles it is on.

An unlit material is drawn matte and lit like all others: it names its colour, and a picture in which it alone shone
would show no shape. KHR_materials_pbrSpecularGlossiness counts where it is given, whatever else is said beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from synthetic.staging.gltf.document import Document
from synthetic.staging.gltf.fields import Json, entry, extension, garbled, number, numbers, text
from synthetic.staging.gltf.primitives import Primitive
from synthetic.staging.gltf.specular_gloss import DIELECTRIC, SpecularGloss, convert, convert_textures
from synthetic.staging.gltf.textures import Placed, Textures, UvLayer
from synthetic.staging.surface import Material, Texture

_BLACK, _WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_MODES: dict[str, Literal["opaque", "mask", "blend"]] = {
    "OPAQUE": "opaque",
    "MASK": "mask",
    "BLEND": "blend",
}
_READ = {
    "KHR_materials_emissive_strength",
    "KHR_materials_ior",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_materials_specular",
    "KHR_materials_transmission",
    "KHR_materials_unlit",
    "KHR_materials_volume",  # what lies inside glass, which is removed or drawn opaque
}
_OTHER_COLORS = ("materials_common", "techniques", "shader", "mtoon")  # of extensions that bring a whole look


@dataclass(frozen=True)
class _Colors:
    """How a material looks, before its textures have found their layers."""

    color: tuple[float, ...]  # with alpha
    color_map: Placed | None
    metallic: float
    roughness: float
    specular: float
    gloss_map: Placed | None = None


@dataclass(frozen=True)
class _Draft:
    """A material all of whose textures have their coordinates, and the textures by the name of their field."""

    material: Material
    maps: dict[str, Placed]


@dataclass
class Materials:
    """The materials that are used; one is made twice where a mesh lacks coordinates that another one has."""

    document: Document
    _drafts: dict[int | None, _Draft] = field(default_factory=dict)
    _made: dict[tuple[int | None, tuple[str, ...]], tuple[int, tuple[UvLayer, ...]]] = field(
        default_factory=dict
    )
    _list: list[Material] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begins with no picture read."""
        self._textures = Textures(self.document)

    @property
    def made(self) -> tuple[Material, ...]:
        """All that were made, in the order of their numbers."""
        return tuple(self._list)

    def use(
        self, primitive: Primitive, weights: Sequence[float]
    ) -> tuple[int, tuple[npt.NDArray[np.float32], ...]]:
        """The number of a primitive's material, and the layers [V,2] (v up) that its textures lie by.

        Raises BrokenModelError where one of its colours cannot be given, and the treatment says so.
        """
        which = primitive.material
        if which not in self._drafts:
            self._drafts[which] = self._draft(which)
        draft = self._drafts[which]
        layers: dict[UvLayer, npt.NDArray[np.float32]] = {}
        for layer in dict.fromkeys(placed.layer for placed in draft.maps.values()):
            stored = primitive.values(f"TEXCOORD_{layer.texcoord}", weights)
            if stored is None:
                name = f"TEXCOORD_{layer.texcoord}"
                self.document.miss(f"a texture of it lies by {name}, which its mesh does not have")
                continue
            moved = layer.apply(stored).astype(np.float32)
            if np.isfinite(moved).all():
                layers[layer] = moved
            else:
                self.document.miss("its texture coordinates are not finite")
        usable = tuple(name for name, placed in draft.maps.items() if placed.layer in layers)
        if (which, usable) not in self._made:
            self._made[which, usable] = self._make(draft, usable)
        made, wanted = self._made[which, usable]
        return made, tuple(layers[layer] for layer in wanted)

    def _make(self, draft: _Draft, usable: tuple[str, ...]) -> tuple[int, tuple[UvLayer, ...]]:
        layers = list(dict.fromkeys(draft.maps[name].layer for name in usable))
        textures = {
            name: Texture(placed.path, layers.index(placed.layer), placed.wrap, placed.nearest)
            for name, placed in draft.maps.items()
            if name in usable
        }
        self._list.append(replace(draft.material, **textures))  # type: ignore[arg-type]
        return len(self._list) - 1, tuple(layers)

    def _draft(self, which: int | None) -> _Draft:
        if which is None:  # glTF's own is all metal; a file without a material says nothing of metal, though
            return _Draft(Material("default", _WHITE), {})
        material = self.document.at("materials", which)
        looks = self._looks(material)
        emission = self._emission(material)
        emission_map = self._textures.find(material, "emissiveTexture") if any(emission) else None
        self._note_ignored(material)
        mode = text(material, "alphaMode") or "OPAQUE"
        if mode not in _MODES:
            raise garbled("alphaMode", mode, "OPAQUE, MASK or BLEND")
        maps = {
            "color_texture": looks.color_map,
            "emission_texture": emission_map,
            "metallic_roughness_texture": looks.gloss_map,
        }
        made = Material(
            (text(material, "name") or f"material {which}")[:200],
            _color(looks.color),
            opacity=_unit(looks.color[3]),
            alpha=_MODES[mode],
            cutoff=max(number(material, "alphaCutoff", 0.5), 0.0),
            transmission=self._transmission(material),
            emission=emission,
            metallic=_unit(looks.metallic),
            roughness=_unit(looks.roughness),
            specular=_unit(looks.specular),
        )
        return _Draft(made, {name: placed for name, placed in maps.items() if placed is not None})

    def _looks(self, material: Json) -> _Colors:
        old = extension(material, "KHR_materials_pbrSpecularGlossiness")
        if old is not None:
            return self._specular_gloss(old)
        block = entry(material, "pbrMetallicRoughness")
        if block is None:
            self._check_other_colors(material)
        pbr = block or {}
        color = numbers(pbr, "baseColorFactor", (1.0, 1.0, 1.0, 1.0))
        color_map = self._textures.find(pbr, "baseColorTexture")
        if extension(material, "KHR_materials_unlit") is not None:
            self.document.notes["unlit materials lit"] += 1
            return _Colors(color, color_map, 0.0, 1.0, 0.0)
        return _Colors(
            color,
            color_map,
            number(pbr, "metallicFactor", 1.0),
            number(pbr, "roughnessFactor", 1.0),
            _specular(material),
            self._textures.find(pbr, "metallicRoughnessTexture"),
        )

    def _specular_gloss(self, block: Json) -> _Colors:
        color = numbers(block, "diffuseFactor", (1.0, 1.0, 1.0, 1.0))
        old = SpecularGloss(
            color,
            self._textures.find(block, "diffuseTexture"),
            numbers(block, "specularFactor", _WHITE),
            _unit(number(block, "glossinessFactor", 1.0)),
            self._textures.find(block, "specularGlossinessTexture"),
        )
        if not old.convertible:
            self.document.notes["specular-glossiness maps ignored"] += 1
            return _Colors(color, old.diffuse_map, 0.0, max(1 - old.gloss, 0.5), 0.5)
        if old.diffuse_map is None and old.gloss_map is None:
            base, metallic = convert(np.clip(color[:3], 0, 1), np.clip(old.specular, 0, 1))
            return _Colors((*base.tolist(), color[3]), None, float(metallic), 1 - old.gloss, 0.5)
        base_map, gloss_map = convert_textures(old, self.document.files)
        return _Colors((*_WHITE, color[3]), base_map, 1.0, 1.0, 0.5, gloss_map)

    def _emission(self, material: Json) -> tuple[float, float, float]:
        strength = extension(material, "KHR_materials_emissive_strength") or {}
        factor = max(number(strength, "emissiveStrength", 1.0), 0.0)
        red, green, blue = _color(numbers(material, "emissiveFactor", _BLACK))
        return (red * factor, green * factor, blue * factor)

    def _transmission(self, material: Json) -> float:
        """How much light goes through, all over the material: of a texture the mean."""
        glass = extension(material, "KHR_materials_transmission") or {}
        factor = _unit(number(glass, "transmissionFactor", 0.0))
        placed = self._textures.find(glass, "transmissionTexture") if factor else None
        return factor if placed is None else factor * self._textures.mean_red(placed)

    def _check_other_colors(self, material: Json) -> None:
        """Says so where a material keeps its colours in a form that is not known here."""
        for name in entry(material, "extensions") or {}:
            if name not in _READ and any(word in name.lower() for word in _OTHER_COLORS):
                self.document.miss(
                    f"a material of it has its colours in {name[:60]} alone, which is not read here"
                )

    def _note_ignored(self, material: Json) -> None:
        notes = self.document.notes
        notes["normal maps ignored"] += "normalTexture" in material
        notes["occlusion maps ignored"] += "occlusionTexture" in material
        for name in entry(material, "extensions") or {}:
            if name not in _READ:
                notes[f"{name[:60]} ignored"] += 1


def _specular(material: Json) -> float:
    """Blender's level of the light that a dielectric reflects head-on."""
    index = number(extension(material, "KHR_materials_ior") or {}, "ior", 1.5)
    factor = number(extension(material, "KHR_materials_specular") or {}, "specularFactor", 1.0)
    return round(factor * ((index - 1) / (index + 1)) ** 2 / (2 * DIELECTRIC), 9) if index > 0 else 0.5


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _color(values: Sequence[float]) -> tuple[float, float, float]:
    return (_unit(values[0]), _unit(values[1]), _unit(values[2]))

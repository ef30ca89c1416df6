"""Actors of the game: XML files that join mesh, textures, animations and props.

An actor has groups of variants. One variant of each group is chosen, by its frequency (0: never by chance); together
they make the look, where a later group overrides an earlier one. A variant may take its content from a file of
art/variants, which may name another. Of several levels of quality the highest is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.library.zeroad.package import Package

_LARGEST_XML = 2**20
_DEEPEST = 8  # of variants that name files that name files
_MOST_VARIANTS = 1000
_QUALITY = {"low": 100, "medium": 150, "high": 200}
_WANTED = _QUALITY["high"]


@dataclass(frozen=True)
class Animation:
    """A clip: the action it shows ("walk"), its file below art/animation."""

    action: str
    file: str


@dataclass(frozen=True)
class Prop:
    """Another actor that hangs on a point of the mesh; `actor` "" takes away what an earlier group hung there."""

    point: str
    actor: str


@dataclass(frozen=True)
class Variant:
    """What a choice brings: a mesh ("" for none), textures by use, props, animations, a colour in [0, 255]."""

    name: str = ""
    frequency: int = 0
    mesh: str = ""
    textures: Mapping[str, str] = field(default_factory=dict)
    props: tuple[Prop, ...] = ()
    animations: tuple[Animation, ...] = ()
    color: tuple[int, ...] = ()


@dataclass(frozen=True)
class Actor:
    """An actor as read: groups of variants, and its material, a file below art/materials."""

    name: str
    groups: tuple[tuple[Variant, ...], ...]
    material: str


def read_actor(package: Package, name: str) -> Actor:
    """The actor art/actors/NAME; BrokenModelError where it, or a file that it takes variants from, is not readable."""
    root = _parsed(package, f"art/actors/{name}")
    if root.tag == "qualitylevels":
        root = _best(root, name)
    if root.tag not in ("actor", "inline"):
        raise BrokenModelError(f"art/actors/{name}: expected <actor>, found <{root.tag[:40]}>")
    groups = [
        tuple(_variant(package, element, 0) for element in group.findall("variant") if _is_wanted(element))
        for group in root.findall("group")
        if _is_wanted(group)
    ]
    materials = [(element.text or "").strip() for element in root.findall("material") if _is_wanted(element)]
    return Actor(
        name, tuple(group for group in groups if group), materials[-1] if materials else "default.xml"
    )


def definitions(package: Package, material: str) -> frozenset[str]:
    """The names that a material of art/materials defines for the shader, such as USE_TRANSPARENT."""
    root = _parsed(package, f"art/materials/{material}")
    return frozenset(
        element.get("name", "") for element in root.findall("define") if element.get("value", "1") != "0"
    )


def combine(chosen: Sequence[Variant]) -> Variant:
    """What variants, one of each group, make together.

    A later one overrides mesh, textures of the same use, colour, props of the same points and clips of the same action.
    """
    mesh, color = "", tuple[int, ...]()
    textures: dict[str, str] = {}
    props: list[Prop] = []
    clips: list[Animation] = []
    for variant in chosen:
        mesh, color = variant.mesh or mesh, variant.color or color
        textures |= variant.textures
        points = {prop.point for prop in variant.props}
        props = [prop for prop in props if prop.point not in points] + list(variant.props)
        actions = {clip.action for clip in variant.animations}
        clips = [clip for clip in clips if clip.action not in actions] + list(variant.animations)
    names = "/".join(variant.name for variant in chosen if variant.name)
    return Variant(names, 1, mesh, textures, tuple(props), tuple(dict.fromkeys(clips)), color)


def _best(root: ElementTree.Element, name: str) -> ElementTree.Element:
    """The actor of the highest quality among <qualitylevels>."""
    levels = root.findall("actor")
    if not levels:
        raise BrokenModelError(f"art/actors/{name}: has no <actor> among its <qualitylevels>")
    best = max(levels, key=lambda level: _quality(level.get("quality"), 255))
    inline = root.find("inline")
    if best.get("inline") is None:
        return best
    if inline is None:
        raise BrokenModelError(f"art/actors/{name}: names an <inline> that it lacks")
    return inline


def _quality(text: str | None, default: int) -> int:
    if text is None:
        return default
    return _QUALITY.get(text) or _number(text, default)


def _is_wanted(element: ElementTree.Element) -> bool:
    least, most = _quality(element.get("minquality"), 0), _quality(element.get("maxquality"), 256)
    return least <= _WANTED < most


def _variant(package: Package, element: ElementTree.Element, depth: int) -> Variant:
    """A <variant>, laid over the file that it names, if any."""
    base, file = Variant(), element.get("file")
    if file:
        if depth >= _DEEPEST:
            raise BrokenModelError(
                f"art/variants/{file}: variants name files {depth} deep, perhaps in a circle"
            )
        base = _variant(package, _parsed(package, f"art/variants/{file}"), depth + 1)
    animations = tuple(
        Animation(clip.get("name", "").lower(), clip.get("file", ""))
        for clip in element.findall("animations/animation")
        if clip.get("file")
    )
    own = Variant(
        mesh=(element.findtext("mesh") or "").strip(),
        textures={
            texture.get("name", ""): texture.get("file", "")
            for texture in element.findall("textures/texture")
        },
        props=tuple(
            Prop(prop.get("attachpoint", "root"), prop.get("actor", ""))
            for prop in element.findall("props/prop")
            if _is_wanted(prop)
        ),
        animations=animations,
        color=tuple(_number(part, 255) for part in (element.findtext("color") or "").split()[:3]),
    )
    both = combine((base, own))
    return Variant(
        element.get("name", base.name),
        _number(element.get("frequency", ""), base.frequency),
        both.mesh,
        both.textures,
        both.props,
        both.animations,
        both.color,
    )


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else default


def _parsed(package: Package, name: str) -> ElementTree.Element:
    """The root of an XML file, read without any entity that it may define."""
    try:
        text = package.read(name, _LARGEST_XML).decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise BrokenModelError(
                f"{name}: defines a document type, which no file of the game does; it is not read"
            )
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as error:
        if isinstance(error, BrokenModelError):
            raise
        raise BrokenModelError(f"{name}: is no readable XML ({error})") from error
    if sum(1 for _ in root.iter("variant")) > _MOST_VARIANTS:
        raise BrokenModelError(f"{name}: has more than {_MOST_VARIANTS} variants")
    return root

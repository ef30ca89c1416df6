"""What belongs to an object besides its mesh: levels of detail and a collision hull, as children of it."""

from __future__ import annotations

from collections.abc import Sequence

import bpy

from ..mesh_bundle import Asset, Placement
from ..recipe import BuildOptions
from .scene import build_mesh, build_shape, remove_mesh

PART = "gp3d_part"  # custom property of a child: "LOD1" or "UCX"
_FIRST_LEVEL = "_LOD0"


def attach(obj: bpy.types.Object, asset: Asset, options: BuildOptions, place: Placement) -> None:
    """Gives `obj` the levels of detail and the hull of `asset`, in place of those that it has.

    An object with levels becomes NAME_LOD0 in a collection NAME, with NAME_LOD1 and so on, which are hidden. Convex
    parts of a hull are called after the object, UCX_NAME_00 and so on, as game engines know them; no render shows them.
    """
    _remove(obj)
    if not asset.lods and not asset.hull:
        return
    name = obj.name.removesuffix(_FIRST_LEVEL)
    if asset.lods:
        _give_collection(obj, name)
        obj.name = f"{name}{_FIRST_LEVEL}"
    for number, bundle in enumerate(asset.lods, start=1):
        mesh = build_mesh(bundle, f"{name}_LOD{number}", options, place)
        _child(obj, mesh)[PART] = f"LOD{number}"
    for number, bundle in enumerate(asset.hull):
        part = _child(obj, build_shape(bundle, f"UCX_{obj.name}_{number:02d}", place))
        part[PART], part.display_type = "UCX", "WIRE"
    layer = bpy.context.view_layer
    layer.update()  # or it does not know them yet
    for child in parts_of(obj):
        if child.name in layer.objects:
            child.hide_set(True, view_layer=layer)


def parts_of(obj: bpy.types.Object) -> Sequence[bpy.types.Object]:
    """The levels of detail and parts of the hull that were attached to `obj`, in the order of their names."""
    return sorted((child for child in obj.children if PART in child), key=lambda child: child.name)


def _child(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> bpy.types.Object:
    """A child of that `mesh`, and name, in the frame of `obj` that no render shows."""
    child = bpy.data.objects.new(mesh.name, mesh)
    child.parent = obj
    child.hide_render = True
    for collection in obj.users_collection:
        collection.objects.link(child)
    return child


def _give_collection(obj: bpy.types.Object, name: str) -> None:
    """Moves `obj` into a collection of its own, below the one where it was; an object that has one stays."""
    (first, *_) = obj.users_collection
    if first.name.startswith(name):
        return
    own = bpy.data.collections.new(name)
    first.children.link(own)
    own.objects.link(obj)
    for other in obj.users_collection:
        if other != own:
            other.objects.unlink(obj)


def _remove(obj: bpy.types.Object) -> None:
    for child in parts_of(obj):
        mesh = child.data
        bpy.data.objects.remove(child)
        remove_mesh(mesh)

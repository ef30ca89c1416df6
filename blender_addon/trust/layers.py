"""Layers of colour on objects: what cameras saw of them, where mesh and field disagree; numbers as properties."""

from __future__ import annotations

from collections.abc import Mapping

import bpy
import numpy as np
import numpy.typing as npt
from mathutils.kdtree import KDTree

from ..mesh_bundle import Placement
from .values import BEST, WORST, TrustValues

SUPERVISION, DISAGREEMENT = "GP3D Supervision", "GP3D Disagreement"  # colour attributes
LAYERS = {"SUPERVISION": SUPERVISION, "DISAGREEMENT": DISAGREEMENT}
_VALUES = {SUPERVISION: "gp3d_supervision", DISAGREEMENT: "gp3d_disagreement"}  # attributes with the numbers
_PROPERTY = "gp3d_trust_"  # custom properties of the object begin so
_FAR = 0.02  # of the longest side: farther from the examined surface a vertex was moved by somebody


def show(obj: bpy.types.Object, values: TrustValues, place: Placement) -> float:
    """Gives the mesh of `obj` the layers of `values`, whose mesh belongs in `place`; the share of vertices far from it.

    Every vertex has the value of the nearest examined one, so that levels, quads and edited meshes have values, too.
    """
    where = place(values.mesh.vertices)
    nearest, distance = _nearest(where, _positions(obj.data))
    layers = {SUPERVISION: (values.supervision, values.supervision_colors)}
    if values.disagreement is not None and values.disagreement_colors is not None:
        layers[DISAGREEMENT] = (values.disagreement, values.disagreement_colors)
    forget(obj)
    for name, (amount, colors) in layers.items():
        _add_layer(obj.data, name, amount[nearest], colors[nearest])
    _write(obj, values.facts)
    activate(obj, SUPERVISION)
    longest = float((where.max(axis=0) - where.min(axis=0)).max())
    return float((distance > _FAR * longest).mean())


def show_relief(obj: bpy.types.Object) -> None:
    """Gives a relief the layer of what its photograph shows: the first material; all else was filled in."""
    mesh = obj.data
    filled = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", filled)
    area = np.empty(len(mesh.polygons), np.float32)
    mesh.polygons.foreach_get("area", area)
    starts, counts = np.empty((2, len(mesh.polygons)), np.int32)
    mesh.polygons.foreach_get("loop_start", starts)
    mesh.polygons.foreach_get("loop_total", counts)
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    of_filled = np.repeat(filled > 0, counts)  # loops of polygons follow one another
    amount = np.ones(len(mesh.vertices), np.float32)
    amount[corners[of_filled]] = 0
    forget(obj)
    colors = np.where(amount[:, None] > 0, BEST, WORST).astype(np.uint8)
    _add_layer(mesh, SUPERVISION, amount, colors)
    total = float(area.sum())
    _write(obj, {"never_seen": float(area[filled > 0].sum()) / total if total > 0 else 0.0})
    activate(obj, SUPERVISION)


def has_layers(obj: bpy.types.Object) -> list[str]:
    """The keys of LAYERS that the object has."""
    if obj.type != "MESH":
        return []
    return [key for key, name in LAYERS.items() if name in obj.data.color_attributes]


def active_layer(obj: bpy.types.Object) -> str:
    """The key of the layer that viewports show; "" if that is none of them."""
    active = obj.data.color_attributes.active_color
    return next((key for key, name in LAYERS.items() if active is not None and active.name == name), "")


def activate(obj: bpy.types.Object, name: str) -> None:
    """Lets viewports show the colour attribute `name`; any other one for "", if there is one."""
    attributes = obj.data.color_attributes
    names = [one.name for one in attributes]
    if not name:
        name = next((other for other in names if other not in LAYERS.values()), "")
    if name in names:
        attributes.active_color_index = names.index(name)


def reveal() -> None:
    """Lets viewports in solid shading show colour attributes, so that layers are seen."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            shading = area.spaces.active.shading if area.type == "VIEW_3D" else None
            if shading is not None and shading.type == "SOLID":
                shading.color_type = "VERTEX"


def facts_of(obj: bpy.types.Object) -> dict[str, object]:
    """The numbers that are kept on the object, by the engine's names."""
    return {key.removeprefix(_PROPERTY): obj[key] for key in obj.keys() if key.startswith(_PROPERTY)}  # noqa: SIM118


def forget(obj: bpy.types.Object) -> None:
    """Removes the layers and the numbers."""
    for key in [key for key in obj.keys() if key.startswith(_PROPERTY)]:  # noqa: SIM118 -- it is no mapping
        del obj[key]
    if obj.type != "MESH":
        return
    attributes = obj.data.attributes
    for name in (*_VALUES, *_VALUES.values()):
        if name in attributes:
            attributes.remove(attributes[name])


def _write(obj: bpy.types.Object, facts: Mapping[str, object]) -> None:
    for name, value in facts.items():
        if isinstance(value, bool | int | float):
            obj[f"{_PROPERTY}{name}"] = value


def _add_layer(
    mesh: bpy.types.Mesh, name: str, amount: npt.NDArray[np.float32], colors: npt.NDArray[np.uint8]
) -> None:
    """A colour attribute and, beside it, the numbers; −1 stands for those that are not known."""
    layer = mesh.color_attributes.new(name, "BYTE_COLOR", "POINT")
    values = np.ones((len(colors), 4), np.float32)
    values[:, :3] = colors / np.float32(255)
    layer.data.foreach_set("color_srgb", values.reshape(-1))
    numbers = mesh.attributes.new(_VALUES[name], "FLOAT", "POINT")
    numbers.data.foreach_set("value", np.nan_to_num(amount, nan=-1).astype(np.float32))


def _positions(mesh: bpy.types.Mesh) -> npt.NDArray[np.float32]:
    found = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", found.reshape(-1))
    return found


def _nearest(
    points: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For every one of `wanted` [N,3] the number [N] of the nearest of `points` [M,3], and its distance [N]."""
    tree = KDTree(len(points))
    for number, point in enumerate(points.tolist()):
        tree.insert(point, number)
    tree.balance()
    found = [tree.find(point) for point in wanted.tolist()]
    return np.array([one[1] for one in found], np.int64), np.array([one[2] for one in found], np.float64)

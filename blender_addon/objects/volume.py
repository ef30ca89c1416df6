"""Volume objects: OpenVDB files by Blender's own library, and a material that shows what the field shows."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..volume_grids import Grids

_NAMES = ("openvdb", "pyopenvdb")  # as it is called from Blender 4.4 on, and before
DENSITY, COLOR = "density", "color"  # names of the grids, as shaders look for them


def openvdb() -> Any | None:
    """Blender's OpenVDB module; None where it has none."""
    for name in _NAMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return _beside_blender()


def _beside_blender() -> Any | None:
    """The module in the folder of libraries that comes with Blender, where Python itself is another one's."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(bpy.utils.resource_path("LOCAL"), "python", "lib", version, "site-packages")
    if not any(folder.glob(f"{_NAMES[0]}*")):
        return None
    sys.path.append(str(folder))
    try:
        return importlib.import_module(_NAMES[0])
    except ImportError:
        return None
    finally:
        sys.path.remove(str(folder))


def write_vdb(library: Any, grids: Grids, path: Path) -> None:
    """Writes both grids to `path`, whole or not at all. Raises OSError or RuntimeError."""
    density, color = library.FloatGrid(), library.Vec3SGrid()
    density.copyFromArray(grids.density)
    color.copyFromArray(grids.color)
    for grid, name in ((density, DENSITY), (color, COLOR)):
        grid.name = name
        transform = library.createLinearTransform(grids.step)
        transform.postTranslate((-grids.box,) * 3)
        grid.transform = transform
    density.gridClass = library.GridClass.FOG_VOLUME
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.vdb")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        library.write(str(temporary), grids=[density, color])
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def add_volume(
    context: bpy.types.Context, path: Path, grids: Grids, level: float, mesh: bpy.types.Object
) -> bpy.types.Object:
    """A Volume object of the file, in the place and the collections of the `mesh` of the same object, which it hides.

    `level` is the density at which the mesh lies.
    """
    name = f"{mesh.name}_volume"
    data = bpy.data.volumes.new(name)
    data.filepath = str(path)
    data.render.space = "OBJECT"  # as opaque as it was, however large it is shown
    data.materials.append(_material(name))
    obj = bpy.data.objects.new(name, data)
    for collection in mesh.users_collection or [context.scene.collection]:
        collection.objects.link(obj)
    placing = np.array(mesh.matrix_world) @ _placing(grids.bounds(level), mesh)
    obj.matrix_world = type(mesh.matrix_world)(placing.tolist())
    mesh.hide_set(True)
    mesh.hide_render = True
    for other in context.selected_objects:
        other.select_set(False)
    obj.select_set(True)
    context.view_layer.objects.active = obj
    return obj


def _placing(bounds: tuple[Any, Any], mesh: bpy.types.Object) -> Any:
    """The matrix [4,4] from the frame of the grids to the mesh's own, by the boxes around what both show."""
    corners = np.array(mesh.bound_box)
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = float((high - low).max() / (bounds[1] - bounds[0]).max())
    matrix = np.diag([scale, scale, scale, 1.0])
    matrix[:3, 3] = (low + high) / 2 - scale * (bounds[0] + bounds[1]) / 2
    return matrix


def _material(name: str) -> bpy.types.Material:
    """Light that is emitted and absorbed, as the engine draws it; no lamp changes it."""
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):  # later every material has nodes, and setting this is deprecated
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output, added = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeAddShader")
    density, color = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeAttribute")
    density.attribute_name, color.attribute_name = DENSITY, COLOR
    absorbs, emits = nodes.new("ShaderNodeVolumeAbsorption"), nodes.new("ShaderNodeEmission")
    absorbs.inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    links.new(density.outputs["Fac"], absorbs.inputs["Density"])
    links.new(density.outputs["Fac"], emits.inputs["Strength"])
    links.new(color.outputs["Color"], emits.inputs["Color"])
    links.new(absorbs.outputs[0], added.inputs[0])
    links.new(emits.outputs[0], added.inputs[1])
    links.new(added.outputs[0], output.inputs["Volume"])
    for column, node in enumerate((density, emits, added, output)):
        node.location = (250 * column - 750, 0)
    color.location, absorbs.location = (-750, -200), (-500, -200)
    return material

"""GLB, the binary form of glTF 2.0. Vertex colours are linear floats, v of texture coordinates points down."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gp3d_core.meshing.colors import srgb_to_linear
from gp3d_core.meshing.files.description import (
    GENERATOR,
    METALLIC,
    ROUGHNESS,
    asset_name,
    choice,
    credit,
    unit_normals,
)
from gp3d_core.meshing.files.glb.packing import unpack
from gp3d_core.meshing.files.glb.plain import READABLE, plain_glb
from gp3d_core.meshing.files.glb.quantized import quantized
from gp3d_core.meshing.files.trimesh_reader import load_trimesh
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.strict_json import finite

_UNLIT = "KHR_materials_unlit"
_CAMERA = "camera"
_MOST_WITHOUT_DATA = 10**7  # elements of an accessor that has no data, which readers fill with zeros
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963  # glTF's numbers for vertex data and for indices


@dataclass(frozen=True)
class Viewpoint:
    """A camera at (0, 0, distance) that looks along −z, upright; fov in degrees between the outer edges of the longer
    side of its picture, `aspect` = width / height.
    """

    distance: float
    fov: float
    aspect: float

    def to_gltf(self) -> dict[str, Any]:
        """The camera as glTF has it, by the angle of its height."""
        height = math.tan(math.radians(self.fov) / 2) / max(1.0, self.aspect)
        lens = {"yfov": 2 * math.atan(height), "aspectRatio": self.aspect, "znear": self.distance / 100}
        return {"name": _CAMERA, "type": "perspective", "perspective": lens}


def write_glb(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    """Writes `mesh` to `path`, the recipe in the extras of its scene; the file written."""
    name = asset_name(path.stem)
    compression = choice(recipe, "compress") or "none"
    if compression != "none":
        path.write_bytes(quantized(mesh, name, recipe, meshopt=compression == "meshopt"))
        return [path]
    write_glb_parts({name: mesh}, path, recipe)
    return [path]


def write_glb_parts(
    parts: Mapping[str, Mesh],
    path: Path,
    recipe: dict[str, Any],
    *,
    unlit: bool = False,
    camera: Viewpoint | None = None,
) -> None:
    """Writes several meshes to `path`, each a node of that name in one scene, uncompressed.

    `unlit` ones show their colours as they are, whatever light there is; a `camera` becomes a node, too.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb

    scene = trimesh.Scene()
    for name, mesh in parts.items():
        scene.add_geometry(_geometry(mesh, name), geom_name=name, node_name=name)

    def finish(tree: dict[str, Any]) -> None:
        """Adds the recipe, who made it, and what views hold."""
        for part in tree["meshes"]:
            _mend(tree, part["primitives"][0])
        tree["scenes"][0]["extras"] = {"gp3d": finite(recipe)}
        tree["asset"] |= {"generator": GENERATOR, "copyright": credit(recipe)}
        for material in tree.get("materials", ()):
            found = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
            if found is not None:
                texture = tree["textures"][found["index"]]
                texture["name"] = tree["images"][texture["source"]]["name"] = material["name"]

        if unlit:
            for material in tree.get("materials", ()):
                material["extensions"] = {_UNLIT: {}}
            tree["extensionsUsed"] = [*tree.get("extensionsUsed", ()), _UNLIT]
        if camera is not None:
            tree["cameras"] = [camera.to_gltf()]
            tree["scenes"][0]["nodes"].append(len(tree["nodes"]))
            tree["nodes"].append({"name": _CAMERA, "camera": 0, "translation": [0.0, 0.0, camera.distance]})

    # at least one has them, or trimesh makes up none; each part's own say whether it has
    normals = any(mesh.normals is not None for mesh in parts.values())
    path.write_bytes(export_glb(scene, include_normals=normals, tree_postprocessor=finish))


def _geometry(mesh: Mesh, name: str) -> Any:
    """The mesh as trimesh has it."""
    import trimesh
    from trimesh.visual.material import PBRMaterial

    image = None if mesh.texture is None else Image.fromarray(mesh.texture)
    material = PBRMaterial(
        name=name,
        baseColorTexture=image,
        roughnessFactor=ROUGHNESS,
        metallicFactor=METALLIC,
    )
    colors: dict[str, Any] = {}
    if image is None and mesh.vertex_colors is not None:  # glTF multiplies both, so that a texture goes alone
        colors["_COLOR_0"] = srgb_to_linear(mesh.vertex_colors / 255).astype(np.float32)
    return trimesh.Trimesh(
        mesh.vertices,
        mesh.faces,
        vertex_normals=None if mesh.normals is None else unit_normals(mesh.normals),
        vertex_attributes=colors if mesh.seen is None else colors | {"_SEEN": mesh.seen.astype(np.float32)},
        process=False,
        visual=trimesh.visual.TextureVisuals(uv=mesh.uv, material=material),
    )


def _mend(tree: dict[str, Any], primitive: dict[str, Any]) -> None:
    """Renames the colours, which trimesh alone would round to linear bytes; says what the part's views hold."""
    accessors, views = tree["accessors"], tree["bufferViews"]
    if "_COLOR_0" in primitive["attributes"]:
        primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop("_COLOR_0")
    for accessor in (accessors[number] for number in primitive["attributes"].values()):
        stride = 4 * {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]  # equal arrays share a view
        views[accessor["bufferView"]] |= {"byteStride": stride, "target": _ARRAY_BUFFER}
    views[accessors[primitive["indices"]]["bufferView"]]["target"] = _ELEMENT_ARRAY_BUFFER


def load_glb(path: Path) -> Mesh:
    """The mesh of a GLB file. Raises MeshError if it is none, truncated, or needs what is not read here."""
    tree, chunk = unpack(path.read_bytes())
    for name in tree.get("extensionsRequired", ()):
        if name not in READABLE:
            raise MeshError(f"it needs {name}, which is not read here; write it without")
    for number, accessor in enumerate(tree.get("accessors", ())):
        count = accessor.get("count", 0)
        if "bufferView" not in accessor and count > _MOST_WITHOUT_DATA:
            raise MeshError(
                f"accessor {number} has {count} elements without data, at most {_MOST_WITHOUT_DATA} are read"
            )
    return load_trimesh(path, content=plain_glb(tree, chunk))

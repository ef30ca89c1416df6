"""STL and 3MF, to print: a closed surface in millimetres, z up, standing in the origin; 3MF in colour.

Slicers take z as up. Seams of an atlas are closed, since they would be open edges there.
"""

from __future__ import annotations

import hashlib
import json
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.files.description import GENERATOR, asset_name, choice, credit, license_of
from gp3d_core.meshing.files.formats import library_of
from gp3d_core.meshing.mesh import Mesh, MeshError, unique_rows
from gp3d_core.meshing.options import PRINT_HEIGHT

_HEADER = 80  # bytes of text before the triangles of an STL file


def write_stl(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    """Writes the solid of `mesh` to `path` in binary STL, whose header names the licence; the file written.

    Raises MeshError as `solid` does.
    """
    import trimesh

    made = solid(mesh, path, recipe)
    content = trimesh.exchange.stl.export_stl(trimesh.Trimesh(made.vertices, made.faces, process=False))
    text = f"{GENERATOR}; mm, z up; licence: {license_of(recipe)}".encode("ascii", "replace")
    path.write_bytes(text[:_HEADER].ljust(_HEADER) + content[_HEADER:])
    return [path]


def write_3mf(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    """Writes the solid of `mesh` to `path` in 3MF, with a colour at every vertex and metadata; the file written.

    Raises LibraryError without lib3mf, MeshError as `solid` does.
    """
    lib3mf = library_of("3mf")
    made = solid(mesh, path, recipe)
    model = lib3mf.get_wrapper().CreateModel()
    model.SetUnit(lib3mf.ModelUnit.MilliMeter)
    texts = {"Title": asset_name(path.stem), "LicenseTerms": license_of(recipe), "Copyright": credit(recipe)}
    texts |= {"Application": GENERATOR, "Description": json.dumps(recipe)}
    for name, text in texts.items():
        model.GetMetaDataGroup().AddMetaData("", name, text, "xs:string", True)
    part = model.AddMeshObject()
    part.SetName(asset_name(path.stem))
    indices = made.faces.astype(np.uint32)
    part.SetGeometry(_structs(lib3mf.Position, made.vertices), _structs(lib3mf.Triangle, indices))
    if made.colors is not None:
        _paint(lib3mf, model, part, made.colors)
    item = model.AddBuildItem(part, lib3mf.get_wrapper().GetIdentityTransform())
    # drawn at random by the library otherwise: no two files of the same mesh would be equal
    content = hashlib.sha256(made.vertices.tobytes() + made.faces.tobytes()).hexdigest()
    for name, set_uuid in (("object", part.SetUUID), ("item", item.SetUUID), ("build", model.SetBuildUUID)):
        set_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{content} {name}")))
    # not to a file: where the disk is full, the library would abort the process
    path.write_bytes(bytes(model.QueryWriter("3mf").WriteToBuffer()))
    return [path]


def _paint(lib3mf: Any, model: Any, part: Any, corners: NDArray[Any]) -> None:
    """Gives every corner of the triangles its colour, uint8 [F,3,3]; a colour stands in the file once."""
    group = model.AddColorGroup()
    distinct, number = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    known = np.array([group.AddColor(lib3mf.Color(*color, 255)) for color in distinct.tolist()], np.uint32)
    painted = np.empty(len(corners), np.dtype([("group", np.uint32), ("colors", np.uint32, 3)]))
    painted["group"], painted["colors"] = group.GetResourceID(), known[number.reshape(-1, 3)]
    part.SetAllTriangleProperties(_structs(lib3mf.TriangleProperties, painted))
    part.SetObjectLevelProperty(group.GetResourceID(), int(known[0]))


def _structs(kind: Any, rows: NDArray[Any]) -> Any:
    """Rows as the library's structures."""
    return (kind * len(rows)).from_buffer_copy(np.ascontiguousarray(rows))


@dataclass(frozen=True, eq=False)
class Solid:
    """A closed surface to print: vertices float32 [U,3] in millimetres, z up, and faces int32 [F,3].

    `colors` uint8 [F,3,3] are those of the faces' corners, since two faces may differ where they meet; None for none.
    """

    vertices: NDArray[Any]
    faces: NDArray[Any]
    colors: NDArray[Any] | None


def solid(mesh: Mesh, path: Path, recipe: Mapping[str, Any]) -> Solid:
    """The solid of `mesh`, to be written to `path`.

    As high as the recipe's `print_height` says: a number of millimetres, or "real" for the size that its
    `meters_per_unit` tells. Holes of three or four edges are filled, with a warning that counts the faces. Raises
    MeshError for a surface that stays open, or when the real size is asked for and unknown.
    """
    first, place = unique_rows(mesh.vertices)
    before = place[mesh.faces].astype(np.int32)
    has_area = (before != np.roll(before, 1, axis=1)).all(axis=1)  # closing seams may leave faces without any
    faces = _closed(mesh.vertices[first], before[has_area], path)
    x, y, z = mesh.vertices[first].astype(np.float64).T
    upright = np.stack([x, -z, y], axis=1)
    low, high = upright[faces].min(axis=(0, 1)), upright[faces].max(axis=(0, 1))
    stand = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    vertices = ((upright - stand) * _scale(high[2] - low[2], path, recipe)).astype(np.float32)
    colors = mesh.vertex_colors
    if colors is None and mesh.texture is not None and mesh.uv is not None:
        colors = sample_texture(mesh.texture, mesh.uv)
    if colors is None:
        return Solid(vertices, faces, None)
    corners = colors[first][faces]
    known = before[has_area]  # faces that were added come after these; turned ones have other corners first
    corner = (faces[: len(known), :, None] == known[:, None, :]).argmax(axis=2)
    corners[: len(known)] = np.take_along_axis(colors[mesh.faces[has_area]], corner[:, :, None], axis=1)
    return Solid(vertices, faces, corners)


def _scale(height: float, path: Path, recipe: Mapping[str, Any]) -> float:
    """Millimetres of a world unit."""
    asked = choice(recipe, "print_height") or PRINT_HEIGHT
    if asked != "real":
        return float(asked) / height
    if not recipe.get("meters_per_unit"):
        raise MeshError(
            f"{path.name}: `print_height` real: the real size of this object is not known; give millimetres"
        )
    return 1000 * float(recipe["meters_per_unit"])


def _closed(vertices: NDArray[Any], faces: NDArray[Any], path: Path) -> NDArray[Any]:
    """Faces int32 [F,3] of the surface without holes, all of them counter-clockwise from outside."""
    import trimesh

    surface = trimesh.Trimesh(vertices, faces, process=False)
    if not surface.is_watertight:
        found = len(trimesh.grouping.group_rows(surface.edges_sorted, require_count=1))
        if not trimesh.repair.fill_holes(surface):
            raise MeshError(
                f"{path.name}: the surface is not closed ({found} open edges) and cannot be printed; "
                "make the mesh with another `grid` or `level`, or choose obj or glb"
            )
        added = len(surface.faces) - len(faces)
        warnings.warn(f"{path.name}: {added} faces close holes of the surface, to print it", stacklevel=4)
    if not surface.is_winding_consistent or surface.volume < 0:
        trimesh.repair.fix_normals(surface, multibody=True)
    return np.asarray(surface.faces, np.int32)

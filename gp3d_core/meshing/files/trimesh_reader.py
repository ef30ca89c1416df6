"""What trimesh reads, as a mesh: OBJ, GLB and PLY files."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.colors import linear_to_srgb, srgb_to_linear, unit_to_bytes
from gp3d_core.meshing.files.part_colors import linear_colors, picture_of, plain_color, with_one_texture
from gp3d_core.meshing.files.plain.mtl import Move
from gp3d_core.meshing.mesh import Mesh, MeshError


@np.errstate(over="ignore", invalid="ignore")  # a Mesh refuses what is not finite
def load_trimesh(
    path: Path,
    skip_materials: bool = False,
    content: bytes | None = None,
    beside: Mapping[str, bytes] | None = None,
    moves: Mapping[str, Move] | None = None,
) -> Mesh:
    """The mesh of all parts of a file, or of other `content` for it; it names others below its folder.

    `beside` has other contents for some of these, by the names that it has for them; `moves` are of the coordinates of
    parts by the names of their materials.

    Raises MeshError if it has no triangles.
    """
    import trimesh

    scene = trimesh.load_scene(
        path if content is None else io.BytesIO(content),
        file_type=path.suffix[1:].lower(),
        process=False,
        skip_materials=skip_materials,
        resolver=_files_below(path, beside or {}),
    )
    nodes = [scene.graph[name] for name in scene.graph.nodes_geometry]
    parts = [(to_world, scene.geometry[name]) for to_world, name in nodes]
    parts = [pair for pair in parts if isinstance(pair[1], trimesh.Trimesh) and len(pair[1].faces)]
    if not parts:
        raise MeshError("it holds no triangles")
    for _, part in parts:
        move = (moves or {}).get(str(getattr(getattr(part.visual, "material", None), "name", "")))
        if move is not None and part.visual.uv is not None:
            part.visual.uv = part.visual.uv * move[:2] + move[2:]
    linear = path.suffix.lower() == ".glb"
    if len(parts) == 1:
        return _from_trimesh(parts[0][1], parts[0][0], linear)
    return _joined(parts, linear)


def _joined(parts: list[tuple[NDArray[Any], Any]], linear: bool) -> Mesh:
    """The mesh of several parts [to_world, trimesh object]."""
    import trimesh

    bare, colors, uv, texture = [part.copy() for _, part in parts], None, None, None
    if any(picture_of(part, linear) is not None for _, part in parts):
        bare, uv, texture = with_one_texture([part for _, part in parts], linear)
    else:
        if any(_light_of(part, linear) is not None for _, part in parts):
            colors = np.concatenate([_light_or_white(part, linear) for _, part in parts])
        for part in bare:
            part.visual = trimesh.visual.ColorVisuals()  # or white materials would become a grey texture
    moved = [part.apply_transform(to_world) for (to_world, _), part in zip(parts, bare, strict=True)]
    mesh = _from_trimesh(trimesh.util.concatenate(moved), np.eye(4), linear)
    if colors is not None:
        return replace(mesh, vertex_colors=_color_bytes(colors, linear=True))
    return mesh if texture is None else replace(mesh, uv=uv, texture=texture)


def _light_of(part: Any, linear: bool) -> NDArray[Any] | None:
    """Colours [V,3] of a part without a picture, as linear light: of its vertices, or of an OBJ file's material."""
    if linear:
        return linear_colors(part)
    if part.visual.kind == "vertex":
        return srgb_to_linear(np.asarray(part.visual.vertex_colors)[:, :3] / 255)
    plain = plain_color(part)
    return None if plain is None else np.tile(plain, (len(part.vertices), 1))


def _light_or_white(part: Any, linear: bool) -> NDArray[Any]:
    colors = _light_of(part, linear)
    return np.ones((len(part.vertices), 3)) if colors is None else colors


def below_model(path: Path, name: str) -> Path | None:
    """The ordinary file `name` that the mesh file names, None unless it lies in the model's folder or below: the mesh
    file's, or the one above `models` where that holds it, as in ShapeNet, whose textures lie in `../images`.

    Names may be those of other systems: with backslashes, in other letters (a and A) where that leaves no choice, or
    with the whole path of another computer, of which the last part counts.
    """
    folder = path.parent.resolve()
    folder = folder.parent if folder.name == "models" else folder
    name = name.replace("\\", "/") if not (path.parent / name).is_file() else name
    if re.match(r"/|[A-Za-z]:", name):
        name = name.rpartition("/")[2]
    file = path.parent
    for part in name.split("/"):
        file = (
            file / part
            if (file / part).exists() or part in ("", ".", "..")
            else _in_other_letters(file, part)
        )
        if not file.resolve().is_relative_to(folder):
            return None
    file = file.resolve()
    return file if file.is_relative_to(folder) and file.is_file() else None


def _in_other_letters(folder: Path, name: str) -> Path:
    """The one entry of the folder with that name in other letters; the name itself where there is none, or several."""
    same = (
        [entry for entry in folder.iterdir() if entry.name.casefold() == name.casefold()]
        if folder.is_dir()
        else []
    )
    return same[0] if len(same) == 1 else folder / name


def _files_below(path: Path, beside: Mapping[str, bytes]) -> Any:
    """What gives trimesh the files that a mesh file names."""
    from trimesh.resolvers import FilePathResolver

    class FilesBelow(FilePathResolver):
        def get(self, name: str) -> bytes:
            if name in beside:
                return beside[name]
            file = below_model(path, name)
            if file is None:
                raise MeshError(f"{name} is no file beside it")
            return file.read_bytes()

    return FilesBelow(str(path))


def _from_trimesh(part: Any, to_world: NDArray[Any], linear: bool) -> Mesh:
    """The Mesh of a trimesh object; `linear` says that its vertex colours are linear light."""
    import trimesh

    vertices = part.vertices @ to_world[:3, :3].T + to_world[:3, 3]
    normals = None
    if "vertex_normals" in part._cache:  # they came with the file: trimesh computes missing ones when asked
        normals = trimesh.util.unitize(part.vertex_normals @ np.linalg.inv(to_world[:3, :3])).astype(
            np.float32
        )
    visual, uv, texture, colors = part.visual, None, None, None
    if isinstance(visual, trimesh.visual.TextureVisuals):
        image = picture_of(part, linear)
        if visual.uv is not None and len(visual.uv) == len(vertices):
            uv = np.asarray(visual.uv, np.float32)
            texture = None if image is None else np.asarray(image, np.uint8)
        colors = visual.vertex_attributes.get("color")
        plain = None if linear or image is not None or colors is not None else _light_of(part, linear)
        colors = colors if plain is None else linear_to_srgb(plain)
    elif visual.kind == "vertex":
        colors = _wide_colors(part)
        colors = _white_for_blanks(part) if colors is None else colors
    faces = np.asarray(part.faces, np.int32)
    if visual.kind == "face":  # each face gets vertices of its own, which have its colour
        own, colors = faces.reshape(-1), np.repeat(visual.face_colors, 3, axis=0)
        vertices, normals = vertices[own], None if normals is None else normals[own]
        faces = np.arange(len(own), dtype=np.int32).reshape(-1, 3)
    if np.linalg.det(to_world[:3, :3]) < 0:  # a mirror turns faces over
        faces = np.ascontiguousarray(faces[:, ::-1])
    return Mesh(
        vertices.astype(np.float32),
        faces,
        uv=uv,
        texture=texture,
        normals=normals,
        vertex_colors=None if colors is None else _color_bytes(np.asarray(colors)[:, :3], linear),
    )


def _white_for_blanks(part: Any) -> NDArray[Any]:
    """Vertex colours [V,4], white where faces are black and wholly transparent beside others that are not, as Blender
    writes objects without colours into PLY (findings/bpy_ply_export_makes_uncoloured_objects_transparent.sh).
    """
    colors, faces = np.asarray(part.visual.vertex_colors), np.asarray(part.faces)
    blank: NDArray[np.bool_] = np.asarray((colors == 0).all(axis=1))
    if colors[:, 3].any() and blank.any():
        blank[faces[~blank[faces].all(axis=1)]] = False
        colors = np.where(blank[:, None], np.uint8(255), colors)
    return colors


def _wide_colors(part: Any) -> NDArray[Any] | None:
    """Vertex colours [V,3] in [0, 1] of a PLY file that has whole numbers of more than 8 bits, which trimesh cuts."""
    table = part.metadata.get("_ply_raw", {}).get("vertex", {}).get("data")
    names = ("red", "green", "blue")
    if not isinstance(table, np.ndarray) or not set(names) <= set(table.dtype.names or ()):
        return None
    if not any(np.issubdtype(table[name].dtype, np.integer) and table[name].itemsize > 1 for name in names):
        return None
    values = np.stack([table[name].reshape(-1).astype(np.float64) for name in names], axis=1)
    return values / (65535 if values.max() > 255 else 255)


def _color_bytes(colors: NDArray[Any], linear: bool) -> NDArray[Any]:
    values = colors / 255 if colors.dtype == np.uint8 else colors
    return unit_to_bytes(linear_to_srgb(values) if linear else values)

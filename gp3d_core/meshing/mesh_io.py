"""Meshes and their files: Mesh <-> OBJ + MTL + PNG, GLB, PLY and npz, and the recipe that made them.

Conventions. Vertices are in the GP3D frame (right-handed, y up, front towards +z, world units), which is the
frame of glTF and of OBJ: Blender's default import turns both upright with the front at -Y. Faces are
counter-clockwise seen from outside. `uv` has its origin at the lower left of the picture, v up, as in OBJ;
GLB flips v. Colours are sRGB bytes except in GLB vertex colours, which glTF wants linear. V vertices, F faces.

A textured mesh repeats a vertex on both sides of an atlas seam. OBJ and PLY files hold every position once,
so that they stay watertight; GLB and npz hold the repeated vertices.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from gp3d_core.atomic import replacing, write_json
from gp3d_core.errors import GP3DError
from gp3d_core.meshing.colors import linear_to_srgb, sample_texture, srgb_to_linear, unit_to_bytes
from gp3d_core.meshing.options import VERSION

FORMAT = "gp3d-mesh"
ROUGHNESS = 0.9  # colours learnt from pictures contain their highlights: the material adds hardly any
METALLIC = 0.0
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963  # glTF's numbers for vertex data and for indices


class MeshError(GP3DError):
    """A mesh or mesh file that cannot be used; the message says what was expected and what was found."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh, coloured by a texture, by vertex colours, by both or not at all.

    vertices float32 [V,3], faces int32 [F,3], uv float32 [V,2], texture uint8 [H,W,3], vertex_colors uint8
    [V,3], normals float32 [V,3], seen uint8 [V]: 1 where training cameras looked, 0 where nothing was learnt.
    Raises MeshError if an array has another type or shape, if a face names a vertex that does not exist, if a
    coordinate is not finite, or if a texture comes without uv.
    """

    vertices: NDArray[Any]
    faces: NDArray[Any]
    uv: NDArray[Any] | None = None
    texture: NDArray[Any] | None = None
    vertex_colors: NDArray[Any] | None = None
    normals: NDArray[Any] | None = None
    seen: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        """Checks types, shapes and indices."""
        count = len(self.vertices)
        _check_array("vertices", self.vertices, np.float32, (None, 3))
        _check_array("faces", self.faces, np.int32, (None, 3))
        _check_array("uv", self.uv, np.float32, (count, 2))
        _check_array("texture", self.texture, np.uint8, (None, None, 3))
        _check_array("vertex_colors", self.vertex_colors, np.uint8, (count, 3))
        _check_array("normals", self.normals, np.float32, (count, 3))
        _check_array("seen", self.seen, np.uint8, (count,))
        if len(self.faces) == 0:
            raise MeshError("a mesh needs at least one face, found none")
        if self.faces.min() < 0 or self.faces.max() >= count:
            raise MeshError(
                f"faces name vertices {self.faces.min()} to {self.faces.max()}, there are {count}"
            )
        if not np.isfinite(self.vertices).all():
            raise MeshError("vertices must be finite, found NaN or infinity")
        if self.texture is not None and self.uv is None:
            raise MeshError("a texture needs uv coordinates, found none")


def save_mesh(mesh: Mesh, path: str | Path, recipe: Mapping[str, Any] | None = None) -> list[Path]:
    """Writes `mesh` in the format that the suffix of `path` names and returns the files written, `path` first.

    .obj: with `<stem>.mtl` and `<stem>.png`. Without a texture, vertex colours stand behind the coordinates
    and the material has their average, so that importers that ignore them show no grey (trimesh needs
    skip_materials=True to read them). .glb: one file, texture or else vertex colours. .ply: vertex colours,
    read off the texture if there are none. .npz: all arrays as they are. `recipe` (what made the mesh, JSON
    values) goes into the OBJ header, the GLB scene extras and the npz. Missing folders are made. Files appear
    whole or not at all. Raises MeshError for another suffix, OSError if the folder cannot be written.
    """
    path = Path(path)
    writers = {".obj": _save_obj, ".glb": _save_glb, ".ply": _save_ply, ".npz": _save_npz}
    if path.suffix.lower() not in writers:
        raise MeshError(f"{path}: expected a name ending in {', '.join(writers)}, found '{path.suffix}'")
    path.parent.mkdir(parents=True, exist_ok=True)
    return writers[path.suffix.lower()](mesh, path, dict(recipe or {}))


def load_mesh(path: str | Path) -> Mesh:
    """Reads an .obj (with its material and texture), .glb, .ply or .npz file; several parts become one mesh.

    Raises MeshError if the file is missing, truncated, of another kind, or names a material or texture that
    is missing.
    """
    path = Path(path)
    loaders = {".obj": _load_obj, ".glb": _load_glb, ".ply": _load_trimesh, ".npz": _load_npz}
    if path.suffix.lower() not in loaders:
        raise MeshError(f"{path}: expected a name ending in {', '.join(loaders)}, found '{path.suffix}'")
    if not path.is_file():
        raise MeshError(f"{path}: no such file")
    try:
        return loaders[path.suffix.lower()](path)
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from None


def save_recipe(recipe: Mapping[str, Any], path: str | Path) -> Path:
    """Writes `recipe`, what made the meshes beside it, as JSON to `path` and returns the path.

    `recipe` holds JSON values only; "format" and "version" are added. Raises TypeError for other values.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": "gp3d-recipe", "version": VERSION, **recipe})
    return path


def merge_positions(mesh: Mesh) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vertices float32 [U,3], every position once, and faces int32 [F,3] over them: seams of an atlas are closed."""
    first, inverse = unique_rows(mesh.vertices)
    return mesh.vertices[first], inverse[mesh.faces].astype(np.int32)


def _check_array(name: str, array: NDArray[Any] | None, dtype: type, shape: tuple[int | None, ...]) -> None:
    if array is None:
        return
    fits = array.ndim == len(shape) and all(s in (None, a) for s, a in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits:
        wanted = ", ".join("any" if s is None else str(s) for s in shape)
        raise MeshError(
            f"{name} must be {np.dtype(dtype)} [{wanted}], found {array.dtype} {list(array.shape)}"
        )


def unique_rows(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Indices [U] of the first occurrence of each float32 row, in order, and for each row its place [V] among them."""
    rows = np.ascontiguousarray(rows, np.float32) + np.float32(0)  # -0 is 0
    bits = rows.view(np.uint32).astype(np.uint64)
    group = bits[:, 0]
    for column in bits[:, 1:].T:
        _, group = np.unique((group << np.uint64(32)) | column, return_inverse=True)
        group = group.astype(np.uint64)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.reshape(-1)]


# OBJ + MTL + PNG


def _save_obj(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    mtl, png = path.with_suffix(".mtl"), path.with_suffix(".png")
    if mesh.texture is None:
        with replacing(path) as obj_file, replacing(mtl) as mtl_file:
            mtl_file.write_text(_mtl_text(mesh, path.stem, None), encoding="utf-8")
            obj_file.write_text(_obj_text(mesh, path.stem, recipe), encoding="utf-8")
        return [path, mtl]
    with replacing(path) as obj_file, replacing(mtl) as mtl_file, replacing(png) as png_file:
        Image.fromarray(mesh.texture).save(png_file)
        mtl_file.write_text(_mtl_text(mesh, path.stem, png.name), encoding="utf-8")
        obj_file.write_text(_obj_text(mesh, path.stem, recipe), encoding="utf-8")
    return [path, mtl, png]


def _mtl_text(mesh: Mesh, stem: str, texture_name: str | None) -> str:
    """One rough, non-metallic material; Ns 10 is roughness 0.9 to importers that do not know Pr and Pm."""
    color = np.full(3, 0.8) if texture_name is None else np.ones(3)
    if texture_name is None and mesh.vertex_colors is not None:
        color = srgb_to_linear(mesh.vertex_colors / 255).mean(axis=0)
    lines = [
        f"newmtl {_material_name(stem)}",
        "Kd {:.4f} {:.4f} {:.4f}".format(*color),
        f"Ka 0 0 0\nKs 0 0 0\nNs 10\nd 1\nillum 1\nPr {ROUGHNESS}\nPm {METALLIC}",
    ]
    return "\n".join(lines + ([f"map_Kd {texture_name}"] if texture_name else [])) + "\n"


def _obj_text(mesh: Mesh, stem: str, recipe: dict[str, Any]) -> str:
    positions = mesh.vertices
    if mesh.vertex_colors is not None and mesh.texture is None:
        positions = np.concatenate([positions, mesh.vertex_colors / np.float32(255)], axis=1)
    v_lines, v = _obj_block("v", positions)
    vt_lines, vt = _obj_block("vt", mesh.uv)
    vn_lines, vn = _obj_block("vn", mesh.normals)
    corner = "/".join(["{}", "" if vt is None else "{}", "" if vn is None else "{}"]).rstrip("/")
    numbers = np.stack([n[mesh.faces] for n in (v, vt, vn) if n is not None], axis=2)
    rows = numbers.reshape(len(mesh.faces), -1).tolist()
    name, face = _material_name(stem), f"f {corner} {corner} {corner}\n"
    head = [f"# GP3D mesh: {len(v_lines)} vertices, {len(mesh.faces)} faces, y up, front +z"]
    head += [f"# {key}: {json.dumps(value)}" for key, value in recipe.items()]
    head += [f"mtllib {stem}.mtl", f"o {name}\n"]
    lines = [*v_lines, *vt_lines, *vn_lines, f"usemtl {name}\ns 1\n", *(face.format(*row) for row in rows)]
    return "\n".join(head) + "".join(lines)


def _obj_block(keyword: str, rows: NDArray[Any] | None) -> tuple[list[str], NDArray[Any] | None]:
    """The lines of the distinct rows, and for every row the number, from 1, of its line; nothing for no rows."""
    if rows is None:
        return [], None
    first, inverse = unique_rows(rows)
    line = keyword + " {}" * rows.shape[1] + "\n"  # the fewest digits that float32 reads back as they were
    return [line.format(*row) for row in rows[first].astype(str).tolist()], inverse + 1


def _material_name(stem: str) -> str:
    return re.sub(r"\W+", "_", stem)


def _load_obj(path: Path) -> Mesh:
    text = path.read_text(encoding="utf-8", errors="replace")
    announced = re.search(r"# GP3D mesh: (\d+) vertices, (\d+) faces", text[:200])
    found = (len(re.findall(r"^v ", text, re.MULTILINE)), len(re.findall(r"^f .*\n", text, re.MULTILINE)))
    if announced and found != (int(announced[1]), int(announced[2])):
        wanted = f"{announced[1]} vertices and {announced[2]} faces"
        raise MeshError(f"truncated: {wanted} announced, {found[0]} and {found[1]} found")
    libraries = re.findall(r"^mtllib (.+?)\s*$", text, re.MULTILINE)
    textures = [_has_texture(path.parent / name) for name in libraries]
    return _load_trimesh(path, skip_materials=not any(textures))  # a plain material would hide vertex colours


def _has_texture(mtl: Path) -> bool:
    """Whether the material file names colour textures; raises MeshError if it or one of them cannot be read."""
    if not mtl.is_file():
        raise MeshError(f"its material {mtl.name} is missing")
    text = mtl.read_text(encoding="utf-8", errors="replace")
    names = re.findall(r"^\s*map_Kd (?:-\S+ \S+ )*(.+?)\s*$", text, re.MULTILINE)
    for name in names:
        try:
            with Image.open(mtl.parent / name) as image:
                image.load()
        except (OSError, SyntaxError) as error:
            raise MeshError(f"its texture {name} cannot be read ({error})") from None
    return bool(names)


# GLB, PLY and what else trimesh reads


def _save_glb(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    image = None if mesh.texture is None else Image.fromarray(mesh.texture)
    material = PBRMaterial(
        name=_material_name(path.stem),
        baseColorTexture=image,
        roughnessFactor=ROUGHNESS,
        metallicFactor=METALLIC,
    )
    colors: dict[str, Any] = {}
    if image is None and mesh.vertex_colors is not None:  # glTF multiplies both, so that a texture goes alone
        colors["_COLOR_0"] = srgb_to_linear(mesh.vertex_colors / 255).astype(np.float32)
    attributes = colors if mesh.seen is None else colors | {"_SEEN": mesh.seen.astype(np.float32)}
    part = trimesh.Trimesh(
        mesh.vertices,
        mesh.faces,
        vertex_normals=None if mesh.normals is None else _unit(mesh.normals),
        vertex_attributes=attributes,
        process=False,
        visual=TextureVisuals(uv=mesh.uv, material=material),
    )

    def finish(tree: dict[str, Any]) -> None:
        """Renames the colours, which trimesh alone would round to linear bytes; adds the recipe and what views hold."""
        (primitive,) = tree["meshes"][0]["primitives"]
        accessors, views = tree["accessors"], tree["bufferViews"]
        if colors:
            primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop("_COLOR_0")
        for accessor in (accessors[number] for number in primitive["attributes"].values()):
            stride = 4 * {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]  # equal arrays share a view
            views[accessor["bufferView"]] |= {"byteStride": stride, "target": _ARRAY_BUFFER}
        views[accessors[primitive["indices"]]["bufferView"]]["target"] = _ELEMENT_ARRAY_BUFFER
        tree["scenes"][0]["extras"] = {"gp3d": recipe}

    scene = trimesh.Scene()
    scene.add_geometry(part, geom_name=path.stem, node_name=path.stem)
    content = export_glb(scene, include_normals=mesh.normals is not None, tree_postprocessor=finish)
    with replacing(path) as file:
        file.write_bytes(content)
    return [path]


def _unit(normals: NDArray[Any]) -> NDArray[Any]:
    """Normals [V,3] of length 1, which glTF demands; upwards where there is no direction."""
    length = np.linalg.norm(normals.astype(np.float64), axis=1, keepdims=True)
    known = np.isfinite(length) & (length > 0)
    return np.where(known, normals / np.where(known, length, 1), (0, 1, 0)).astype(np.float32)


def _load_glb(path: Path) -> Mesh:
    content = path.read_bytes()
    if len(content) < 12 or content[:4] != b"glTF":
        raise MeshError("not a GLB file")
    announced = struct.unpack("<I", content[8:12])[0]
    if announced != len(content):
        raise MeshError(f"truncated: it announces {announced} bytes, found {len(content)}")
    return _load_trimesh(path)


def _save_ply(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    first, inverse = unique_rows(mesh.vertices)
    colors = mesh.vertex_colors
    if colors is None and mesh.texture is not None and mesh.uv is not None:
        colors = sample_texture(mesh.texture, mesh.uv)
    part = trimesh.Trimesh(
        mesh.vertices[first],
        inverse[mesh.faces],
        process=False,
        vertex_normals=None if mesh.normals is None else mesh.normals[first],
        vertex_colors=None if colors is None else colors[first],
        vertex_attributes={} if mesh.seen is None else {"seen": mesh.seen[first]},
    )
    with replacing(path) as file:
        file.write_bytes(trimesh.exchange.ply.export_ply(part, vertex_normal=mesh.normals is not None))
    return [path]


def _load_trimesh(path: Path, skip_materials: bool = False) -> Mesh:
    try:
        scene = trimesh.load_scene(path, process=False, skip_materials=skip_materials)
    except (ValueError, IndexError, KeyError, TypeError, OSError, struct.error) as error:
        raise MeshError(f"not a readable {path.suffix} file ({type(error).__name__}: {error})") from None
    nodes = [scene.graph[name] for name in scene.graph.nodes_geometry]
    parts = [(to_world, scene.geometry[name]) for to_world, name in nodes]
    parts = [pair for pair in parts if isinstance(pair[1], trimesh.Trimesh) and len(pair[1].faces)]
    if not parts:
        raise MeshError("it holds no triangles")
    if len(parts) == 1:
        return _from_trimesh(parts[0][1], parts[0][0], linear=path.suffix.lower() == ".glb")
    joined = trimesh.util.concatenate([part.copy().apply_transform(to_world) for to_world, part in parts])
    return _from_trimesh(joined, np.eye(4), linear=path.suffix.lower() == ".glb")


def _from_trimesh(part: Any, to_world: NDArray[Any], linear: bool) -> Mesh:
    """The Mesh of a trimesh object; `linear` says that its vertex colours are linear light."""
    vertices = part.vertices @ to_world[:3, :3].T + to_world[:3, 3]
    normals = None
    if "vertex_normals" in part._cache:  # they came with the file: trimesh computes missing ones when asked
        normals = trimesh.util.unitize(part.vertex_normals @ np.linalg.inv(to_world[:3, :3])).astype(
            np.float32
        )
    visual, uv, texture, colors = part.visual, None, None, None
    if isinstance(visual, TextureVisuals):
        image = getattr(visual.material, "baseColorTexture", None) or getattr(visual.material, "image", None)
        if visual.uv is not None and len(visual.uv) == len(vertices):
            uv = np.asarray(visual.uv, np.float32)
            texture = None if image is None else np.asarray(image.convert("RGB"), np.uint8)
        colors = visual.vertex_attributes.get("color")
    elif visual.kind == "vertex":
        colors = visual.vertex_colors
    return Mesh(
        vertices.astype(np.float32),
        np.asarray(part.faces, np.int32),
        uv=uv,
        texture=texture,
        normals=normals,
        vertex_colors=None if colors is None else _color_bytes(np.asarray(colors)[:, :3], linear),
    )


def _color_bytes(colors: NDArray[Any], linear: bool) -> NDArray[Any]:
    values = colors / 255 if colors.dtype == np.uint8 else colors
    return unit_to_bytes(linear_to_srgb(values) if linear else values)


# npz


def _save_npz(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    arrays = {f.name: getattr(mesh, f.name) for f in fields(mesh) if getattr(mesh, f.name) is not None}
    with replacing(path) as file:
        np.savez_compressed(file, format=FORMAT, version=VERSION, recipe=json.dumps(recipe), **arrays)
    return [path]


def _load_npz(path: Path) -> Mesh:
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zipfile.error) as error:
        raise MeshError(f"not a readable .npz file ({type(error).__name__}: {error})") from None
    if str(arrays.get("format")) != FORMAT or not {"vertices", "faces"} <= set(arrays):
        raise MeshError(f"not a {FORMAT} file")
    if int(arrays["version"]) != VERSION:
        raise MeshError(f"expected {FORMAT} version {VERSION}, found {int(arrays['version'])}")
    return Mesh(**{f.name: arrays[f.name] for f in fields(Mesh) if f.name in arrays})

"""OBJ with MTL and PNG. Every position stands once, so that the surface stays watertight; colours are sRGB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.meshing.colors import save_texture, srgb_to_linear
from gp3d_core.meshing.files.description import METALLIC, ROUGHNESS, asset_name, credit
from gp3d_core.meshing.files.plain.mtl import plain_materials
from gp3d_core.meshing.files.plain.obj import plain_obj
from gp3d_core.meshing.files.trimesh_reader import below_model, load_trimesh
from gp3d_core.meshing.mesh import Mesh, MeshError, unique_rows
from gp3d_core.strict_json import to_text

_WORD = "U20"  # holds the fewest digits that float32 reads back as they were
_SHARES = (np.arange(256, dtype=np.float32) / 255).astype(_WORD)  # of full light, by byte


def write_obj(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    """Writes `mesh` to `path` with its material and texture beside it; the files written."""
    mtl, png = path.with_suffix(".mtl"), path.with_suffix(".png")
    textured = mesh.texture is not None
    if mesh.texture is not None:
        save_texture(mesh.texture, png)
    mtl.write_text(_mtl_text(mesh, path.stem, png.name if textured else None, recipe), encoding="utf-8")
    path.write_text(_obj_text(mesh, path.stem, recipe), encoding="utf-8")
    return [path, mtl] + [png] * textured


def _mtl_text(mesh: Mesh, stem: str, texture_name: str | None, recipe: dict[str, Any]) -> str:
    """One rough, non-metallic material; Ns 10 is roughness 0.9 to importers that do not know Pr and Pm."""
    color = np.full(3, 0.8) if texture_name is None else np.ones(3)
    if texture_name is None and mesh.vertex_colors is not None:
        color = srgb_to_linear(mesh.vertex_colors / 255).mean(axis=0)
    lines = [
        f"# {credit(recipe)}",
        f"newmtl {asset_name(stem)}",
        "Kd {:.4f} {:.4f} {:.4f}".format(*color),
        f"Ka 0 0 0\nKs 0 0 0\nNs 10\nd 1\nillum 1\nPr {ROUGHNESS}\nPm {METALLIC}",
    ]
    return "\n".join(lines + ([f"map_Kd {texture_name}"] if texture_name else [])) + "\n"


def _obj_text(mesh: Mesh, stem: str, recipe: dict[str, Any]) -> str:
    colors = mesh.vertex_colors if mesh.texture is None else None
    v_lines, v = _obj_block("v", mesh.vertices, colors)
    vt_lines, vt = _obj_block("vt", mesh.uv)
    vn_lines, vn = _obj_block("vn", mesh.normals)
    corner = "/".join(["%d", "" if vt is None else "%d", "" if vn is None else "%d"]).rstrip("/")
    numbers = np.stack([n[mesh.faces] for n in (v, vt, vn) if n is not None], axis=2)
    form = {side: f"f {' '.join([corner] * side)}\n" for side in (3, 4)}
    # all in one go: one by one takes several times as long
    if mesh.quads is None:
        count, face_lines = len(numbers), form[3] * len(numbers) % tuple(numbers.reshape(-1).tolist())
    else:
        polygons = _polygons(numbers, mesh.quads)
        count, lines = len(polygons), "".join(form[len(polygon)] for polygon in polygons)
        face_lines = lines % tuple(chain.from_iterable(chain.from_iterable(polygons)))
    name = asset_name(stem)
    head = [
        f"# GP3D mesh: {len(v_lines)} vertices, {count} faces, y up, front +z",
        f"# {credit(recipe)}",
    ]
    head += [f"# {key}: {to_text(value)}" for key, value in recipe.items()]
    head += [f"mtllib {stem}.mtl", f"o {name}\n"]
    blocks = [*v_lines, *vt_lines, *vn_lines, f"usemtl {name}\ns 1\n", face_lines]
    return "\n".join(head) + "".join(blocks)


def _polygons(numbers: NDArray[Any], quads: NDArray[Any]) -> list[list[list[int]]]:
    """The corners of every polygon, each a list of the numbers of its lines, of `numbers` [F,3,N].

    Halves of quads are put together, unless a seam of the atlas runs along the diagonal between them.
    """
    rows: list[list[list[int]]] = numbers.tolist()
    first, second = numbers[quads[:, 0]], numbers[quads[:, 1]]
    whole = quads[(first[:, [0, 2]] == second[:, [0, 1]]).all(axis=(1, 2))]
    for one, other in whole.tolist():
        rows[one] = [*rows[one], rows[other][2]]
    halves = set(whole[:, 1].tolist())
    return [row for number, row in enumerate(rows) if number not in halves]


def write_obj_parts(parts: Mapping[str, Mesh], path: Path, recipe: dict[str, Any]) -> None:
    """Writes the bare surfaces of several meshes to `path`, each an object of that name."""
    lines = [f"# {credit(recipe)}\n"]
    lines += [f"# {key}: {to_text(value)}\n" for key, value in recipe.items()]
    start = 1
    for name, mesh in parts.items():
        lines.append(f"o {name}\n")
        lines += ["v {} {} {}\n".format(*row) for row in mesh.vertices.astype(str).tolist()]
        lines += ["f {} {} {}\n".format(*row) for row in (mesh.faces + start).tolist()]
        start += len(mesh.vertices)
    path.write_text("".join(lines), encoding="utf-8")


def _obj_block(
    keyword: str, rows: NDArray[Any] | None, colors: NDArray[Any] | None = None
) -> tuple[list[str], NDArray[Any] | None]:
    """The lines of the distinct rows, with their `colors`, and for every row the number, from 1, of its line.

    Nothing for no rows.
    """
    if rows is None:
        return [], None
    first, inverse = unique_rows(rows if colors is None else np.concatenate([rows, colors], axis=1))
    words = rows[first].astype(_WORD)
    if colors is not None:
        words = np.concatenate([words, _SHARES[colors[first]]], axis=1)
    line = keyword + " {}" * words.shape[1] + "\n"
    return [line.format(*row) for row in words.tolist()], inverse + 1


def load_obj(path: Path) -> Mesh:
    """The mesh of an OBJ file. Raises MeshError if it is truncated or lacks its material or texture."""
    text = path.read_text(encoding="utf-8", errors="replace")
    announced = re.search(r"# GP3D mesh: (\d+) vertices, (\d+) faces", text[:200])
    found = (len(re.findall(r"^v ", text, re.MULTILINE)), len(re.findall(r"^f .*\n", text, re.MULTILINE)))
    if announced and found != (int(announced[1]), int(announced[2])):
        wanted = f"{announced[1]} vertices and {announced[2]} faces"
        raise MeshError(f"truncated: {wanted} announced, {found[0]} and {found[1]} found")
    libraries = [name.strip() for name in re.findall(r"^mtllib (.+)$", text, re.MULTILINE)]
    materials = plain_materials("\n".join(_library(path, name) for name in libraries))
    for name in materials.textures:
        _check_texture(path, name)
    if materials.clamped and (beyond := _beyond_edge(text)):
        raise MeshError(
            f"its material ends a texture at its edge (-clamp on), and coordinates go on: {beyond}"
        )
    # A plain material would hide vertex colours; that of our own files without a texture says nothing else.
    plain = announced is not None or re.search(r"^v(?:[ \t]+\S+){6}", text, re.MULTILINE) is not None
    plain_text = plain_obj(text)
    return load_trimesh(
        path,
        skip_materials=plain and not materials.textures,
        content=None if plain_text is text else plain_text.encode(),
        beside=dict.fromkeys(libraries[:1], materials.text.encode()),  # trimesh reads the first library alone
        moves=materials.moves,
    )


def _library(path: Path, name: str) -> str:
    """The text of the material file; raises MeshError without one."""
    mtl = below_model(path, name)
    if mtl is None:
        raise MeshError(f"its material {name} is missing, or not in its folder or below")
    return mtl.read_text(encoding="utf-8", errors="replace")


def _check_texture(path: Path, name: str) -> None:
    """Raises MeshError for a texture that cannot be read."""
    texture = below_model(path, name)
    if texture is None:
        raise MeshError(f"its texture {name} cannot be read (it is no file in its folder or below)")
    try:
        with Image.open(texture) as image:
            image.load()
    except Exception as error:
        raise MeshError(f"its texture {name} cannot be read ({error})") from error


def _beyond_edge(text: str) -> str:
    """The first texture coordinates outside the picture, as their line has them; "" if none are."""
    for line in re.finditer(r"^[ \t]*(vt[ \t]+\S+[ \t]+\S+)", text, re.MULTILINE):
        if any(not 0 <= float(word) <= 1 for word in line[1].split()[1:]):
            return line[1]
    return ""

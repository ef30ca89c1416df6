"""Binary PLY. Every position stands once, so that the surface stays watertight; colours are sRGB bytes of vertices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.files.description import credit
from gp3d_core.meshing.files.plain.ply import plain_ply
from gp3d_core.meshing.files.trimesh_reader import load_trimesh
from gp3d_core.meshing.mesh import Mesh, unique_rows


def write_ply(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    """Writes `mesh` to `path`, colours read off its texture if vertices have none; the file written."""
    import trimesh

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
    content = trimesh.exchange.ply.export_ply(part, vertex_normal=mesh.normals is not None)
    first_line, _, rest = content.partition(b"element ")
    comment = f"comment {credit(recipe)}\n".encode("ascii", "replace")
    path.write_bytes(first_line + comment + b"element " + rest)
    return [path]


def load_ply(path: Path) -> Mesh:
    """The mesh of a PLY file, with its texture or the colours of its vertices or faces.

    Raises MeshError if it has no triangles.
    """
    return load_trimesh(path, content=plain_ply(path.read_bytes()))

"""What a page holds of a mesh: one GLB file that browsers read, its numbers, and a picture."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gp3d_core.atomic import scratch_folder
from gp3d_core.datasets.decoding import Limits, PictureError, decode
from gp3d_core.errors import one_line
from gp3d_core.gallery.entries import Entry
from gp3d_core.meshing.files.glb.scenes import write_glb
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.meshing.rasterizer import affordable_size, render_mesh
from gp3d_core.rendering.cameras import Cameras

MOST_BYTES = 32 * 2**20  # of one model
_READ = ("glb", "npz", "obj", "ply")  # what a page can show, the best first
_DECODED = frozenset(  # extensions that the viewer decodes with what the page holds
    {
        "KHR_mesh_quantization",
        "EXT_meshopt_compression",
        "KHR_materials_unlit",
        "KHR_texture_transform",
    }
)
_PIXELS = 320  # of a picture's sides
_PICTURE_BYTES = 32 * 2**20
_FOV, _RADIUS, _YAW, _PITCH = 30.0, 4.1, -0.5, 1.25  # degrees; of a mesh that fits the unit ball; radians


@dataclass(frozen=True)
class Model:
    """A mesh as a page has it: a GLB file, numbers of vertices and faces where they are known, and a picture (WebP)."""

    glb: bytes
    vertices: int | None
    faces: int | None
    picture: bytes | None


def model_of(entry: Entry) -> Model:
    """What a page shows of the mesh. Raises MeshError if it cannot be read, or is larger than a page may hold."""
    suffix = next((one for one in _READ if one in entry.files), None)
    if suffix is None:
        raise MeshError(
            f"{', '.join(entry.files)}: a page shows {', '.join(_READ)}; write one of them beside it"
        )
    path = entry.files[suffix]
    if (size := path.stat().st_size) > MOST_BYTES:
        raise MeshError(f"{path.name}: {size >> 20} MiB, a page takes {MOST_BYTES >> 20}; make it smaller")
    glb = path.read_bytes() if suffix == "glb" else None
    if glb is not None and (tree := _compressed_tree(path, glb)) is not None:
        return Model(glb, *_counts(tree), _picture_beside(entry))
    mesh = load_mesh(path)
    glb = _as_glb(mesh, entry) if glb is None else glb
    if len(glb) > MOST_BYTES:
        raise MeshError(f"{path.name}: {len(glb) >> 20} MiB as GLB, a page takes {MOST_BYTES >> 20}")
    return Model(glb, len(mesh.vertices), len(mesh.faces), _picture_beside(entry) or _picture_of(mesh))


def _compressed_tree(path: Path, glb: bytes) -> dict[str, Any] | None:
    """The JSON part of a GLB file that only the viewer decodes, None for a plain one. Raises MeshError for damage."""
    if len(glb) < 20:
        raise MeshError(f"{path.name}: not a GLB file (expected at least 20 bytes, found {len(glb)})")
    try:
        magic, _, length, first, kind = struct.unpack("<4sIII4s", glb[:20])
        tree = json.loads(glb[20 : 20 + first])
        required = tree.get("extensionsRequired", [])
    except (ValueError, AttributeError, RecursionError) as error:
        raise MeshError(f"{path.name}: not a GLB file ({one_line(str(error))})") from None
    if magic != b"glTF" or kind != b"JSON" or length != len(glb):
        raise MeshError(f"{path.name}: truncated: it announces {length} bytes, found {len(glb)}")
    if not required:
        return None
    if not isinstance(required, list) or not all(name in _DECODED for name in map(str, required)):
        raise MeshError(f"{path.name}: it needs {one_line(str(required))}, which no page decodes")
    return dict(tree)


def _counts(tree: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Vertices and faces of a glTF document, None where it does not say them."""
    try:
        primitives = [part for mesh in tree["meshes"] for part in mesh["primitives"]]
        count = [int(accessor["count"]) for accessor in tree["accessors"]]
        vertices = sum(count[part["attributes"]["POSITION"]] for part in primitives)
        return vertices, sum(count[part["indices"]] for part in primitives) // 3
    except (LookupError, TypeError, ValueError):
        return None, None


def _as_glb(mesh: Mesh, entry: Entry) -> bytes:
    with scratch_folder() as folder:
        path = folder / "model.glb"
        write_glb(mesh, path, {"license": entry.license, "credits": entry.credits})
        return path.read_bytes()


def _picture_beside(entry: Entry) -> bytes | None:
    """The picture that lies beside the mesh, if one does that can be read."""
    for path in sorted(entry.pictures):
        try:
            if path.stat().st_size <= _PICTURE_BYTES:
                return _encoded(decode(path.read_bytes(), Limits()))
        except (PictureError, OSError):
            continue
    return None


def _picture_of(mesh: Mesh) -> bytes:
    """The mesh from the front, a little from above, in its own colours; it is turned up in front of white."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    reach = float(np.linalg.norm(high - low)) / 2 or 1.0
    centred = ((mesh.vertices.astype(np.float64) - (low + high) / 2) / reach).astype(np.float32)
    small = Mesh(centred, mesh.faces, uv=mesh.uv, texture=mesh.texture, vertex_colors=mesh.vertex_colors)
    camera = Cameras(
        torch.tensor([[_YAW, _PITCH, 0.0]]),
        torch.tensor([_FOV]),
        torch.tensor([_RADIUS]),
        torch.tensor([[0.0, 0.0, 0.0]]),
    )
    size = affordable_size(small, camera, 2 * _PIXELS)
    return _encoded(Image.fromarray(render_mesh(small, camera, size).rgb))


def _encoded(image: Image.Image) -> bytes:
    image.thumbnail((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, format="WEBP", quality=80)
    return stream.getvalue()

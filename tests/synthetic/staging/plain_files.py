"""Model files written by tests, read by GP3D, and what rays see of them."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import numpy as np
import numpy.typing as npt
import open3d
from PIL import Image

from synthetic.staging.files import ModelFiles
from synthetic.staging.sampling import base_color
from synthetic.staging.stage import READERS
from synthetic.staging.surface import Material, Part, ReadModel, Surface, merge
from synthetic.staging.treatment import ModelLimits, Treatment

Array = npt.NDArray[Any]
STRICT, LENIENT = Treatment(), Treatment(missing_textures="color")
TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\n"


def png(*rows: list[tuple[int, ...] | int], kind: str = "PNG") -> bytes:
    """A picture of rows of pixels, top row first: grey numbers, or tuples of RGB or RGBA."""
    pixels = np.array(rows, np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).save(content, format=kind)
    return content.getvalue()


def read_file(
    path: Path,
    treatment: Treatment = STRICT,
    limits: ModelLimits | None = None,
    root: Path | None = None,
) -> ReadModel:
    """What the reader of a file makes of it; its textures lie in a new folder until the tests end."""
    workspace = Path(mkdtemp(prefix="textures-"))  # not beside the file, which may be a shared one
    atexit.register(rmtree, workspace)
    files = ModelFiles(path, root or path.parent, workspace, limits or ModelLimits())
    return READERS[path.suffix](files, treatment)


def read(
    folder: Path, files: Mapping[str, str | bytes], treatment: Treatment = STRICT, **limits: int
) -> ReadModel:
    """Writes files to a new folder, and reads the first of them."""
    place = folder / "model"
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_file(place / next(iter(files)), treatment, ModelLimits(**limits))


def obj(folder: Path, text: str, mtl: str = "", treatment: Treatment = STRICT, **more: bytes) -> ReadModel:
    """Reads an OBJ, with m.mtl beside it where `mtl` is given; `more` are pictures, t="..." being t.png."""
    files: dict[str, str | bytes] = {"m.obj": text}
    if mtl:
        files["m.mtl"] = mtl
    return read(folder, {**files, **{f"{name}.png": content for name, content in more.items()}}, treatment)


def material(folder: Path, mtl: str, treatment: Treatment = STRICT, **more: bytes) -> Material:
    """The one material of a triangle, from the lines of an MTL file after newmtl."""
    text = f"mtllib m.mtl\n{TRIANGLE}usemtl m\nf 1/1 2/2 3/3\n"
    (only,) = obj(folder, text, f"newmtl m\n{mtl}\n", treatment, **more).materials
    return only


def only(model: ReadModel) -> Part:
    """The one part of a model."""
    (part,) = model.parts
    return part


def corners(model: ReadModel) -> Array:
    """[T,3,3] of all triangles."""
    surface = merge(model.parts, model.materials)
    return surface.positions[surface.triangles]


def seen(model: ReadModel | Surface) -> tuple[Array, Array]:
    """Depth [N] and linear base colour and alpha [N,4] along rays from six sides around the box of a model."""
    surface = merge(model.parts, model.materials) if isinstance(model, ReadModel) else model
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(surface.positions.astype(np.float32), surface.triangles.astype(np.uint32))
    low, high = surface.positions.min(axis=0), surface.positions.max(axis=0)
    rays = np.concatenate([_rays(low, high, axis, side) for axis in range(3) for side in (0, 1)])
    found = scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)), nthreads=1)
    depth, number = found["t_hit"].numpy(), found["primitive_ids"].numpy()
    hit = np.isfinite(depth)
    colors = np.zeros((len(depth), 4))
    colors[hit] = base_color(surface, number[hit].astype(np.int64), found["primitive_uvs"].numpy()[hit])
    return depth, colors


def _rays(low: Array, high: Array, axis: int, side: int) -> Array:
    grid = (np.stack(np.meshgrid(np.arange(24), np.arange(24)), axis=-1).reshape(-1, 2) + 0.37) / 24
    direction = np.zeros(3)
    direction[axis] = 1 if side else -1
    origins = low + np.insert(grid, axis, -1.0 if side else 2.0, axis=1) * (high - low)
    return np.concatenate([origins, np.broadcast_to(direction, origins.shape)], axis=1)


def assert_seen_alike(model: ReadModel | Surface, truth: ReadModel | Surface) -> None:
    """The same depth and the same colour along all rays."""
    depth, colors = seen(model)
    true_depth, true_colors = seen(truth)
    assert np.isfinite(true_depth).mean() > 0.1
    np.testing.assert_allclose(depth, true_depth, rtol=1e-6)
    np.testing.assert_allclose(colors, true_colors, atol=1e-5)


def surface_of(model: ReadModel) -> Surface:
    """All parts as one."""
    return merge(model.parts, model.materials)

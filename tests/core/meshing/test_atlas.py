"""Atlases of pretrained objects and of random surfaces: no chart is mirrored, none lies on another."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gp3d_core.generation.pipeline import ObjectPipeline
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.texture import pack_charts
from gp3d_core.meshing.texture.unwrap import unwrap
from tests.support.surfaces import surface_of_grid

CLASSES = [
    "table lamp",
    "mailbox",
    "throne",
    "coffee mug",
    "school bus",
    "mushroom",
    "acoustic guitar",
    "snail",
]
TURNED = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])  # a rotation: determinant 1


@pytest.fixture(scope="module")
def objects() -> dict[str, Mesh]:
    """An uncoloured mesh of some classes of the pretrained model."""
    pipeline = ObjectPipeline.from_pretrained(device="cpu")
    made = {
        name: pipeline.generate(name, seed=3).mesh(grid=48, faces=4000, color="none").mesh for name in CLASSES
    }
    return {name: Mesh(mesh.vertices, mesh.faces) for name, mesh in made.items()}


def _random_surface(seed: int, smoothness: float) -> Mesh:
    """A lump with a random relief, of one to hundreds of pieces, with tunnels, spikes and slivers."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(32,) * 3), smoothness)
    axis = np.linspace(-1, 1, 32)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    return surface_of_grid((0.6 - radius + 0.3 * noise / noise.std()).astype(np.float32), box=1.0, level=0.0)


def _uv_areas(faces: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Signed areas of the faces in the atlas: positive if counter-clockwise, v up."""
    a, b, c = (uv[faces[:, k]].astype(np.float64) for k in range(3))
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def _areas(mesh: Mesh) -> np.ndarray:
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _owners(faces: np.ndarray, uv: np.ndarray, size: int) -> np.ndarray:
    """How many faces contain the centre of each texel, borders aside [size,size]."""
    count = np.zeros((size, size), int)
    for corners in uv[faces].astype(np.float64) * size - 0.5:
        low = np.ceil(corners.min(axis=0)).astype(int)
        high = np.floor(corners.max(axis=0)).astype(int) + 1
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]), indexing="ij")
        inside = np.ones(x.shape, bool)
        for k in range(3):
            (px, py), (qx, qy) = corners[k - 1], corners[k]
            inside &= (qx - px) * (y - py) - (qy - py) * (x - px) > 1e-3 * np.hypot(qx - px, qy - py)
        count[low[0] : high[0], low[1] : high[1]] += inside
    return count


def _check_handedness(mesh: Mesh, faces: np.ndarray, uv: np.ndarray, name: str = "") -> None:
    """Every face is counter-clockwise in the atlas; slivers thinner than 2e-6 units, float32 may round to a line."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    longest = np.max([np.linalg.norm(edge, axis=1) for edge in (b - a, c - b, a - c)], axis=0)
    areas, thin = _uv_areas(faces, uv), 2 * _areas(mesh) / longest < 2e-6
    assert (areas[~thin] > 0).all(), name
    assert areas.min() > -1e-10, name
    assert thin.mean() < 5e-3, name


@pytest.mark.parametrize("size", [64, 512])
def test_no_face_of_a_pretrained_object_is_mirrored(objects, size):
    for name, mesh in objects.items():
        source, faces, uv = unwrap(mesh.vertices, mesh.faces, size=size, seconds=60)
        assert np.array_equal(mesh.vertices[source[faces]], mesh.vertices[mesh.faces]), name
        _check_handedness(mesh, faces, uv, name)
        assert uv.min() >= 0, name
        assert uv.max() <= 1, name


@pytest.mark.parametrize(("seed", "smoothness"), [(0, 3.0), (1, 1.5), (2, 1.0), (3, 0.5)])
def test_no_face_of_a_random_surface_is_mirrored(seed, smoothness):
    mesh = _random_surface(seed, smoothness)
    vertices = (mesh.vertices @ TURNED.T).astype(np.float32)  # so that nothing lies along the axes
    for points in (mesh.vertices, vertices):
        source, faces, uv = unwrap(points, mesh.faces, size=256, seconds=60)
        assert np.array_equal(source[faces], mesh.faces)
        _check_handedness(mesh, faces, uv)


def test_a_mirrored_mesh_has_no_mirrored_face_either(objects):
    mesh = objects["coffee mug"]
    flipped = np.ascontiguousarray(mesh.vertices * np.float32([-1, 1, 1]))
    _, faces, uv = unwrap(flipped, np.ascontiguousarray(mesh.faces[:, ::-1]), size=256, seconds=60)
    assert (_uv_areas(faces, uv) > 0).all()


def test_charts_lie_beside_one_another_and_share_one_scale(objects):
    for name in ("table lamp", "throne", "snail"):
        mesh = objects[name]
        _, faces, uv = unwrap(mesh.vertices, mesh.faces, size=512, seconds=60)
        owners = _owners(faces, uv, 512)
        assert (owners > 1).sum() <= 2, name
        assert owners.astype(bool).mean() > 0.35, f"{name}: the atlas is mostly empty"
        thick = _areas(mesh) > 1e-3 * _areas(mesh).mean()
        scale = (_uv_areas(faces, uv) / _areas(mesh))[
            thick
        ]  # seen at an angle of at most 75.5° it falls to a quarter
        assert scale.max() / np.median(scale) < 2, name
        assert scale.min() / scale.max() > 0.24, name


_PACKS = """
import runpy, time, xatlas

class Atlas(xatlas.Atlas):
    def __del__(self):
        time.sleep(600)

xatlas.Atlas = Atlas
runpy.run_path(PROGRAM, run_name="__main__")
"""


def test_packing_ends_though_xatlas_would_wait_for_ever_as_its_atlas_is_freed(tmp_path):
    # xatlas 0.0.11 does that once in a while
    (tmp_path / "packs.py").write_text(_PACKS.replace("PROGRAM", repr(pack_charts.__file__)))
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    np.savez(
        tmp_path / "asked.npz",
        uv=square,
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        chart=np.zeros(4, int),
        size=64,
    )
    command = [sys.executable, "-P", tmp_path / "packs.py", tmp_path / "asked.npz", tmp_path / "answer.npz"]
    subprocess.run(command, check=True, timeout=120)
    with np.load(tmp_path / "answer.npz") as answer:
        uv = answer["uv"]
    assert uv.shape == (4, 2)
    assert np.ptp(uv, axis=0).min() > 0.5

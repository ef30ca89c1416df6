"""GLB files of several objects, as Blender writes them: every part keeps its colour, and its outside."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gp3d_core.meshing.files import part_colors
from gp3d_core.meshing.files.glb.packing import pack
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import Mesh

CORNERS = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
MIDDLE = np.float32([[0.5, 0.5]] * 3)  # of the texture, all of which has one colour
HALF = 188  # sRGB of half the light


class File:
    """A GLB file of triangles side by side along x, each its own object."""

    def __init__(self) -> None:
        self.chunk = bytearray()
        self.tree: dict[str, Any] = {
            name: []
            for name in ("accessors", "bufferViews", "meshes", "nodes", "materials", "textures", "images")
        }

    def _view(self, data: bytes) -> int:
        self.chunk += b"\0" * (-len(self.chunk) % 4)
        self.tree["bufferViews"].append({"buffer": 0, "byteOffset": len(self.chunk), "byteLength": len(data)})
        self.chunk += data
        return len(self.tree["bufferViews"]) - 1

    def _accessor(self, rows: np.ndarray) -> int:
        about = {"count": len(rows), "type": f"VEC{rows.shape[1]}", "componentType": 5126}
        self.tree["accessors"].append(about | {"bufferView": self._view(rows.astype(np.float32).tobytes())})
        return len(self.tree["accessors"]) - 1

    def material(self, factor: list[float] | None = None, texture: Any = None) -> int:
        """One of that colour, and with a texture: of one grey, or a picture."""
        about: dict[str, Any] = {"roughnessFactor": 1 / (1 + len(self.tree["materials"]))}  # none is another
        if factor is not None:
            about["baseColorFactor"] = [*factor, 1]
        if texture is not None:
            png = io.BytesIO()
            Image.fromarray(np.broadcast_to(np.uint8(texture), (8, 8, 3)).copy()).save(png, "PNG")
            self.tree["images"].append({"bufferView": self._view(png.getvalue()), "mimeType": "image/png"})
            self.tree["textures"].append({"source": len(self.tree["images"]) - 1})
            about["baseColorTexture"] = {"index": len(self.tree["textures"]) - 1}
        number = len(self.tree["materials"])
        self.tree["materials"].append({"name": f"material{number}", "pbrMetallicRoughness": about})
        return len(self.tree["materials"]) - 1

    def triangle(
        self,
        material: int | None = None,
        colors: list[list[float]] | None = None,
        uv: np.ndarray = MIDDLE,
        **node: Any,
    ) -> None:
        corners = np.concatenate([CORNERS + np.array([0.01 * k, 0, 0]) for k in range(len(uv) // 3)])
        attributes = {"POSITION": self._accessor(corners), "TEXCOORD_0": self._accessor(uv)}
        if colors is not None:
            attributes["COLOR_0"] = self._accessor(np.array(colors))
        primitive: dict[str, Any] = {"attributes": attributes}
        if material is not None:
            primitive["material"] = material
        number = len(self.tree["meshes"])
        self.tree["meshes"].append({"primitives": [primitive]})
        self.tree["nodes"].append({"mesh": number, "translation": [2.0 * number, 0, 0]} | node)

    def read(self, folder: Path) -> Mesh:
        tree = {name: rows for name, rows in self.tree.items() if rows}
        tree |= {"asset": {"version": "2.0"}, "buffers": [{"byteLength": len(self.chunk)}], "scene": 0}
        tree["scenes"] = [{"nodes": list(range(len(self.tree["nodes"])))}]
        path = folder / "a.glb"
        path.write_bytes(pack(tree, bytes(self.chunk)))
        return load_mesh(path)


def shown(mesh: Mesh) -> list[list[list[int]]]:
    """Colours at the corners of the faces, by the places of these along x: the nearest texel or the vertex's."""
    corners = mesh.faces[np.argsort(mesh.vertices[mesh.faces].mean(axis=1)[:, 0])]
    if mesh.texture is None:
        assert mesh.vertex_colors is not None
        return mesh.vertex_colors[corners].tolist()
    assert mesh.uv is not None
    height, width = mesh.texture.shape[:2]
    uv = mesh.uv[corners] * [1, -1] + [0, 1]
    column, row = np.floor(uv % 1 * [width, height]).astype(int).transpose(2, 0, 1)
    return mesh.texture[row, column].tolist()


def test_a_material_gives_its_colour_to_what_has_no_texture(tmp_path: Path) -> None:
    file = File()
    file.triangle(file.material([0.5, 0, 1]))
    assert shown(file.read(tmp_path)) == [[[HALF, 0, 255]] * 3]


@pytest.mark.parametrize("more", [0, 1])
def test_a_material_multiplies_colours_of_vertices(tmp_path: Path, more: int) -> None:
    """Of one object, and of several, which trimesh would paint grey."""
    file = File()
    for _ in range(1 + more):
        file.triangle(file.material([0.5, 1, 1]), [[1, 0.5, 0], [0, 1, 1], [1, 1, 1]])
    assert shown(file.read(tmp_path)) == [[[HALF, HALF, 0], [0, 255, 255], [HALF, 255, 255]]] * (1 + more)


def test_dark_colours_without_a_material_keep_their_digits(tmp_path: Path) -> None:
    file = File()
    file.triangle(colors=[[0.002, 0.002, 0.002]] * 3)
    assert shown(file.read(tmp_path)) == [
        [[7, 7, 7]] * 3
    ]  # 12.92 · 0.002 · 255 = 6.6; of one byte of light 13


@pytest.mark.parametrize("more", [0, 1])
def test_a_material_multiplies_its_texture(tmp_path: Path, more: int) -> None:
    file = File()
    for _ in range(1 + more):
        file.triangle(file.material([1, 128 / 255, 0], texture=255))
    assert shown(file.read(tmp_path)) == [[[255, HALF, 0]] * 3] * (1 + more)


def test_all_kinds_of_colours_beside_a_texture_stay(tmp_path: Path) -> None:
    """A texture, colours of vertices, a plain material, a white one and none."""
    file = File()
    file.triangle(file.material(texture=90))
    file.triangle(file.material(), [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    file.triangle(file.material([0, 1, 0]))
    file.triangle(file.material())
    file.triangle()
    corners = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert shown(file.read(tmp_path)) == [[[90] * 3] * 3, corners, [[0, 255, 0]] * 3, *[[[255] * 3] * 3] * 2]


def test_colours_run_from_corner_to_corner_beside_a_texture(tmp_path: Path) -> None:
    """In the middle of an edge is half the light of its ends."""
    file = File()
    file.triangle(file.material(texture=90))
    file.triangle(file.material(), [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = file.read(tmp_path)
    assert mesh.uv is not None
    assert mesh.texture is not None
    face = mesh.faces[mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > 1][0]
    uv = (mesh.uv[face] + mesh.uv[np.roll(face, -1)]) / 2 * [1, -1] + [0, 1]
    column, row = np.floor(uv * mesh.texture.shape[1::-1]).astype(int).T
    assert mesh.texture[row, column].tolist() == [[HALF, HALF, 0], [0, HALF, HALF], [HALF, 0, HALF]]


def test_a_picture_repeats_where_a_face_crosses_its_edge(tmp_path: Path) -> None:
    """Beside another one: the middle of each edge shows the texel that the picture has there, far from 0 and 1."""
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    uv = np.array([[-3.4, 7.2], [-1.6, 7.2], [-2.6, 9.7]])
    file = File()
    file.triangle(file.material(texture=90))
    file.triangle(file.material(texture=picture), uv=uv)
    mesh = file.read(tmp_path)
    assert mesh.uv is not None
    assert mesh.texture is not None
    face = mesh.faces[mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > 1][0]
    order = np.argsort(mesh.vertices[face] @ [1, 5, 0])  # as in CORNERS
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], 100)
    found = _texels(mesh.texture, shares @ mesh.uv[face[order]] * [1, -1] + [0, 1])
    assert found.tolist() == _texels(picture, shares @ uv).tolist()


def test_faces_of_one_part_show_repetitions_far_from_each_other(tmp_path: Path) -> None:
    """Without a picture for all that lies between."""
    uv = np.array([[0.2, 0.3], [0.6, 0.3], [0.3, 0.7]])
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    file = File()
    file.triangle(file.material(texture=90))
    file.triangle(
        file.material(texture=picture),
        uv=np.concatenate([uv + np.array([50, -3]), uv - np.array([20, 0]), uv + np.array([0, 99])]),
    )
    mesh = file.read(tmp_path)
    assert mesh.uv is not None
    assert mesh.texture is not None
    assert mesh.texture.size // 3 <= 32 * 16
    assert shown(mesh)[1:] == [_texels(picture, uv).tolist()] * 3


def test_the_edge_of_a_picture_meets_its_opposite(tmp_path: Path) -> None:
    """Where a renderer mixes texels, and rounding takes those beyond the edge."""
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    file = File()
    file.triangle(file.material(texture=90))
    file.triangle(file.material(texture=picture), uv=np.array([[0.1, 0.1], [1.0, 0.3], [0.3, 1.0]]))
    mesh = file.read(tmp_path)
    assert shown(mesh)[1][1:] == [picture[2, 0].tolist(), picture[0, 2].tolist()]


def test_pictures_shrink_where_all_would_be_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_colors, "_MOST", 64)
    file, greys = File(), range(10, 250, 30)
    for grey in greys:
        file.triangle(file.material(texture=grey))
    mesh = file.read(tmp_path)
    assert mesh.texture is not None
    assert mesh.texture.size // 3 <= 256  # 8 pictures of 2 × 2 texels in frames; as they are 10 × 10 each
    assert shown(mesh) == [[[grey] * 3] * 3 for grey in greys]


def test_a_picture_that_a_face_repeats_thousands_of_times_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_colors, "_MOST", 2**16)
    file = File()
    file.triangle(file.material(texture=90), uv=np.array([[0.1, 0.1], [4000, 0.2], [0.3, 4000]]))
    file.triangle(file.material(texture=40))
    tracemalloc.start()
    mesh = file.read(tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shown(mesh) == [[[90] * 3] * 3, [[40] * 3] * 3]
    assert most < 4e6


def _texels(picture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    column, row = np.floor(uv % 1 * picture.shape[1::-1]).astype(int).T
    return picture[row, column]


@pytest.mark.parametrize("material", [False, True])
@pytest.mark.parametrize("more", [0, 1])
def test_no_colours_stay_none(tmp_path: Path, material: bool, more: int) -> None:
    file = File()
    for _ in range(1 + more):
        file.triangle(file.material() if material else None)
    mesh = file.read(tmp_path)
    assert mesh.texture is None
    assert mesh.vertex_colors is None


@pytest.mark.parametrize("more", [0, 1])
def test_a_mirrored_object_keeps_its_outside(tmp_path: Path, more: int) -> None:
    file = File()
    for _ in range(1 + more):
        file.triangle(scale=[1, -2, 1])
    mesh = file.read(tmp_path)
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert np.cross(b - a, c - a)[:, 2].tolist() == [2.0] * (1 + more)

"""GLB files of others whose numbers trimesh 5.2.0 reads wrongly; glTF 2.0 says what they mean (3.6.2, 3.7.2, 3.9.3)."""

from __future__ import annotations

import base64
import io
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gp3d_core.meshing.files.glb.packing import pack, unpack
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh, MeshError

CORNERS = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
UV = np.array([[0.0, 0.0], [1.0, 0.25], [0.5, 1.0]])
_TYPES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}


class Written:
    """A GLB file as it is written down, one primitive in one mesh."""

    def __init__(self) -> None:
        self.chunk, self.views, self.accessors = bytearray(), [], []
        self.primitive: dict[str, Any] = {"attributes": {}}
        self.more: dict[str, Any] = {}
        self.node: dict[str, Any] = {"mesh": 0}

    def view(self, rows: np.ndarray, **about: Any) -> int:
        self.chunk += b"\0" * (-len(self.chunk) % 4)
        place = {"buffer": 0, "byteOffset": len(self.chunk), "byteLength": rows.nbytes}
        self.chunk += rows.tobytes()
        self.views.append(place | about)
        return len(self.views) - 1

    def accessor(self, rows: np.ndarray, **about: Any) -> int:
        padded = rows.shape[1] * rows.itemsize % 4 if len(about) or rows.dtype != np.uint16 else 0
        if padded and rows.shape[1] > 1:  # rows of attributes begin at multiples of four bytes
            wide = np.zeros((len(rows), rows.shape[1] + (4 - padded) // rows.itemsize), rows.dtype)
            wide[:, : rows.shape[1]] = rows
            view = self.view(wide, byteStride=wide.shape[1] * wide.itemsize)
        else:
            view = self.view(rows)
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[rows.shape[1]]
        count = {"count": len(rows), "type": kind, "componentType": _TYPES[rows.dtype.name]}
        self.accessors.append({"bufferView": view} | count | about)
        return len(self.accessors) - 1

    def attribute(self, name: str, rows: np.ndarray, **about: Any) -> None:
        self.primitive["attributes"][name] = self.accessor(rows, **about)

    def textured(self, info: dict[str, Any], extension: bool = False) -> None:
        png = io.BytesIO()
        Image.new("RGB", (2, 2), (9, 8, 7)).save(png, "PNG")
        number = self.view(np.frombuffer(png.getvalue(), np.uint8))
        self.primitive["material"] = 0
        self.more |= {
            "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0} | info}}],
            "textures": [{"source": 0}],
            "images": [{"bufferView": number, "mimeType": "image/png"}],
        }
        if extension:
            self.more["extensionsUsed"] = ["KHR_texture_transform"]

    def save(self, path: Path) -> Path:
        tree = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [self.node],
            "meshes": [{"primitives": [self.primitive]}],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.chunk)}],
        }
        path.write_bytes(pack(tree | self.more, bytes(self.chunk)))
        return path


def triangle() -> Written:
    written = Written()
    written.attribute("POSITION", CORNERS, min=[0, 0, 0], max=[1, 1, 0])
    return written


def flipped(uv: np.ndarray) -> np.ndarray:
    """Meshes have v upwards, glTF downwards."""
    return np.array([0, 1]) + uv * np.array([1, -1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_texture_coordinates_in_whole_numbers_are_shares(tmp_path: Path, dtype: type) -> None:
    written, most = triangle(), np.iinfo(dtype).max
    written.attribute("TEXCOORD_0", np.round(UV * most).astype(dtype), normalized=True)
    written.textured({})
    mesh = load_mesh(written.save(tmp_path / "a.glb"))
    assert mesh.uv is not None
    assert np.abs(mesh.uv - flipped(UV)).max() <= 0.5 / most + 1e-7


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_are_the_same_in_all_three_types(tmp_path: Path, dtype: type) -> None:
    """Linear light of 0, 0.5 and 1: 0, 188 and 255 of sRGB."""
    linear = np.tile([0.0, 0.5, 1.0, 1.0], (3, 1))
    rows = (
        linear.astype(dtype) if dtype is np.float32 else np.round(linear * np.iinfo(dtype).max).astype(dtype)
    )
    written = triangle()
    written.attribute("COLOR_0", rows, **({} if dtype is np.float32 else {"normalized": True}))
    mesh = load_mesh(written.save(tmp_path / "a.glb"))
    assert mesh.vertex_colors is not None
    assert mesh.vertex_colors.tolist() == [[0, 188, 255]] * 3


def test_sparse_changes_are_made(tmp_path: Path) -> None:
    """Onto numbers of the file, and onto zeros where it has none."""
    for base in (True, False):
        written = triangle()
        accessor = written.accessors[0]
        if not base:
            del accessor["bufferView"]
        accessor["sparse"] = {
            "count": 2,
            "indices": {"bufferView": written.view(np.uint16([1, 2])), "componentType": 5123},
            "values": {"bufferView": written.view(np.float32([[5, 0, 0], [0, 6, 0]]))},
        }
        mesh = load_mesh(written.save(tmp_path / "a.glb"))
        assert mesh.vertices.tolist() == [[0, 0, 0], [5, 0, 0], [0, 6, 0]]


def test_a_sparse_change_beyond_the_numbers_is_refused(tmp_path: Path) -> None:
    written = triangle()
    written.accessors[0]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": written.view(np.uint16([3])), "componentType": 5123},
        "values": {"bufferView": written.view(np.float32([[5, 0, 0]]))},
    }
    with pytest.raises(MeshError, match=r"a.glb: not a readable .glb file \(IndexError"):
        load_mesh(written.save(tmp_path / "a.glb"))


@pytest.mark.parametrize("indexed", [True, False])
def test_a_fan_is_triangles_around_its_first_corner(tmp_path: Path, indexed: bool) -> None:
    written = Written()
    square = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    written.attribute("POSITION", square, min=[0, 0, 0], max=[1, 1, 0])
    written.primitive["mode"] = 6
    if indexed:
        written.primitive["indices"] = written.accessor(np.uint16([[1], [2], [3], [0]]))
    mesh = load_mesh(written.save(tmp_path / "a.glb"))
    corners = [[1, 2, 3], [1, 3, 0]] if indexed else [[0, 1, 2], [0, 2, 3]]
    assert mesh.faces.tolist() == corners


def test_the_set_of_coordinates_that_shows_the_texture_is_read(tmp_path: Path) -> None:
    written = triangle()
    written.attribute("TEXCOORD_0", np.zeros((3, 2), np.float32))
    written.attribute("TEXCOORD_1", UV.astype(np.float32))
    written.textured({"texCoord": 1})
    mesh = load_mesh(written.save(tmp_path / "a.glb"))
    assert mesh.uv is not None
    assert mesh.uv == pytest.approx(flipped(UV))


def test_a_texture_is_moved_as_its_material_says(tmp_path: Path) -> None:
    """The example of KHR_texture_transform: the lower left quarter of the picture, turned by 90° clockwise."""
    square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    written = triangle()
    written.attribute("TEXCOORD_0", square.astype(np.float32))
    moved = {"offset": [0, 1], "rotation": math.pi / 2, "scale": [0.5, 0.5]}
    written.textured({"extensions": {"KHR_texture_transform": moved}}, extension=True)
    mesh = load_mesh(written.save(tmp_path / "a.glb"))
    assert mesh.uv is not None
    assert flipped(mesh.uv) == pytest.approx(np.array([[0.0, 1.0], [0.0, 0.5], [0.5, 1.0]]), abs=1e-6)


def test_positions_in_whole_numbers_need_no_other_size(tmp_path: Path) -> None:
    """KHR_mesh_quantization: shares of the node's scale where they are normalized, whole numbers where not."""
    for normalized, scale, corner in ((True, 2.0, 2.0), (False, 0.5, 0.5 * 32767)):
        written = Written()
        rows = np.int16([[0, 0, 0], [32767, 0, 0], [0, -32767, 0]])
        about = {"normalized": True} if normalized else {}
        written.attribute("POSITION", rows, min=[0, -32767, 0], max=[32767, 0, 0], **about)
        written.node |= {"scale": [scale] * 3}
        written.more |= {key: ["KHR_mesh_quantization"] for key in ("extensionsUsed", "extensionsRequired")}
        mesh = load_mesh(written.save(tmp_path / "a.glb"))
        assert mesh.vertices == pytest.approx(np.array([[0, 0, 0], [corner, 0, 0], [0, -corner, 0]]))


def test_numbers_in_the_address_of_a_buffer_are_read(tmp_path: Path) -> None:
    """As Open3D 0.20.0 writes GLB files, without a chunk of numbers."""
    written = triangle()
    written.attribute("TEXCOORD_0", np.uint16(UV * 65535), normalized=True)
    written.textured({})
    mesh = load_mesh(written.save(tmp_path / "a.glb"))
    tree, chunk = unpack((tmp_path / "a.glb").read_bytes())
    tree["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{base64.b64encode(chunk).decode()}"
    (tmp_path / "b.glb").write_bytes(pack(tree, b""))
    inline = load_mesh(tmp_path / "b.glb")
    assert inline.vertices.tolist() == mesh.vertices.tolist()
    assert inline.uv is not None
    assert inline.uv.tolist() == mesh.uv.tolist()
    assert inline.texture is not None
    tree["buffers"][0]["uri"] = "data:application/octet-stream;base64,AAAA!"
    (tmp_path / "c.glb").write_bytes(pack(tree, b""))
    with pytest.raises(MeshError, match=r"c\.glb"):
        load_mesh(tmp_path / "c.glb")


def test_files_that_trimesh_reads_are_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = triangle()
    written.attribute("TEXCOORD_0", UV.astype(np.float32))
    written.textured({})
    monkeypatch.setattr("gp3d_core.meshing.files.glb.plain.pack", None)
    assert len(load_mesh(written.save(tmp_path / "a.glb")).faces) == 1


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda w: w.accessors[1].update(count=400), "its numbers need"),
        (lambda w: w.views[1].update(byteLength=10**6), "a view ends at"),
        (lambda w: w.views[1].update(buffer=1), "coded numbers in another file are not read"),
        (lambda w: w.views[1].update(byteOffset=-8), "a view ends at|its numbers need"),
    ],
)
def test_numbers_that_are_not_there_are_refused(tmp_path: Path, break_it: Any, said: str) -> None:
    written = triangle()
    written.attribute("TEXCOORD_0", np.uint16(UV * 65535), normalized=True)
    written.textured({})
    break_it(written)
    with pytest.raises(MeshError, match=said):
        load_mesh(written.save(tmp_path / "a.glb"))


@pytest.mark.parametrize("mode", [4, 6])
def test_corners_that_a_file_only_announces_take_no_memory(tmp_path: Path, mode: int) -> None:
    """Colours for each of them, and the triangles of their fan, are made here."""
    written = triangle()
    written.accessors[0]["count"] = 10**9
    written.primitive |= {"mode": mode, "material": 0}
    written.more["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}]
    tracemalloc.start()
    try:
        with pytest.raises(MeshError, match="view 0 has 36 bytes, its numbers need 12000000000"):
            load_mesh(written.save(tmp_path / "a.glb"))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_numbers_that_many_parts_share_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gp3d_core.meshing.files.glb.plain._MOST", 400)
    written = triangle()
    written.primitive["material"] = 0
    written.more["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}]
    assert load_mesh(written.save(tmp_path / "a.glb")).vertex_colors is not None
    written.more["meshes"] = [
        {"primitives": [{"attributes": {"POSITION": 0}, "material": 0}]} for _ in range(20)
    ]
    written.more["nodes"] = [{"mesh": number} for number in range(20)]
    with pytest.raises(MeshError, match="come to more than 400 bytes"):
        load_mesh(written.save(tmp_path / "b.glb"))


def test_rows_that_meshopt_only_announces_take_no_memory(tmp_path: Path) -> None:
    pytest.importorskip("meshopt", reason="meshopt is not installed")
    mesh = Mesh(CORNERS, np.array([[0, 1, 2]], np.int32))
    save_mesh(mesh, tmp_path / "a.glb", {"compress": "meshopt"})
    tree, chunk = unpack((tmp_path / "a.glb").read_bytes())
    tree["bufferViews"][0]["extensions"]["EXT_meshopt_compression"]["count"] = 2**40
    (tmp_path / "a.glb").write_bytes(pack(tree, chunk))
    with pytest.raises(MeshError, match="rows of 8 bytes, at most 1073741824 bytes are read"):
        load_mesh(tmp_path / "a.glb")

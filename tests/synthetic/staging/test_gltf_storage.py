"""How a glTF file may store its numbers and where its bytes may lie; what it may not claim."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial import cKDTree

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.surface import Part
from synthetic.staging.treatment import ModelLimits
from tests.synthetic.staging.glb_writer import (
    CORNER_UV,
    TRIANGLE,
    Glb,
    pack,
    picture,
    primitive_of,
    read,
    single,
)

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 2, 0]], np.float32)
TEXTURED = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]])


def part_of(glb: Glb, folder: Path) -> Part:
    (part,) = glb.read(folder / "model").parts
    return part


def corners(part: Part) -> npt.NDArray[Any]:
    return part.positions[part.triangles]


@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
def test_indices_of_all_types(kind: str, tmp_path: Path) -> None:
    glb = single(SQUARE)
    primitive_of(glb)["indices"] = glb.accessor(np.array([3, 2, 1, 1, 2, 0, 4], kind))
    part = part_of(glb, tmp_path)
    np.testing.assert_array_equal(corners(part), SQUARE[[[3, 2, 1], [1, 2, 0]]])
    assert len(part.positions) == 4  # vertices that no triangle uses are not read


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (4, [[0, 1, 2]]),
        (5, [[0, 1, 2], [1, 3, 2], [2, 3, 4]]),
        (6, [[1, 2, 0], [2, 3, 0], [3, 4, 0]]),
    ],
)
def test_lists_strips_and_fans(mode: int, wanted: list[list[int]], tmp_path: Path) -> None:
    glb = single(SQUARE)
    primitive_of(glb)["mode"] = mode
    np.testing.assert_array_equal(corners(part_of(glb, tmp_path)), SQUARE[wanted])


def test_sparse_changes(tmp_path: Path) -> None:
    glb = single()
    changed = np.array([[7, 8, 9], [4, 5, 6]], np.float32)
    sparse = {
        "count": 2,
        "indices": {"bufferView": glb.view(np.array([2, 0], np.uint16).tobytes()), "componentType": 5123},
        "values": {"bufferView": glb.view(changed.tobytes())},
    }
    position = glb.json["accessors"][0]
    position["sparse"] = sparse
    np.testing.assert_array_equal(corners(part_of(glb, tmp_path))[0], [[4, 5, 6], [1, 0, 0], [7, 8, 9]])
    del position["bufferView"]  # zeros, but for what is changed
    np.testing.assert_array_equal(corners(part_of(glb, tmp_path))[0], [[4, 5, 6], [0, 0, 0], [7, 8, 9]])
    sparse["indices"]["bufferView"] = glb.view(np.array([2, 3], np.uint16).tobytes())
    with pytest.raises(BrokenModelError, match="entry 3 of 3 of POSITION"):
        part_of(glb, tmp_path)
    sparse["count"] = 3
    with pytest.raises(BrokenModelError, match="claims 3 entries of the sparse"):
        part_of(glb, tmp_path)


def test_interleaved_attributes(tmp_path: Path) -> None:
    glb = single(material=TEXTURED, TEXCOORD_0=CORNER_UV)
    glb.texture(QUARTERS)
    rows = np.concatenate([np.full((3, 1), 9), TRIANGLE, CORNER_UV, np.full((3, 2), 9)], axis=1)
    view = glb.view(rows.astype(np.float32).tobytes()[:-8], byteStride=32)
    glb.json["accessors"][0] |= {"bufferView": view, "byteOffset": 4}
    glb.json["accessors"][1] |= {"bufferView": view, "byteOffset": 16}
    part = part_of(glb, tmp_path)
    np.testing.assert_array_equal(corners(part)[0], TRIANGLE)
    np.testing.assert_array_equal(part.uvs[0][0], CORNER_UV * [1, -1] + [0, 1])


@pytest.mark.parametrize(
    ("kind", "normalized", "scale"),
    [("i1", True, 127), ("u1", True, 255), ("i2", True, 32767), ("u2", True, 65535), ("i2", False, 1)],
)
def test_whole_numbers(kind: str, normalized: bool, scale: int, tmp_path: Path) -> None:
    """KHR_mesh_quantization: numbers of 8 and 16 bits, and its texture coordinates that a transform scales."""
    stored = np.array([[0, 0, 0, 0], [100, 0, 20, 0], [0, 50, 3, 0]]).astype(kind)
    glb = single(material=TEXTURED, TEXCOORD_0=CORNER_UV)
    glb.texture(QUARTERS)
    number = glb.accessor(stored, normalized=normalized)
    glb.json["accessors"][number]["type"] = "VEC3"
    glb.json["bufferViews"][-1]["byteStride"] = stored.itemsize * 4
    primitive_of(glb)["attributes"] = {"POSITION": number, "TEXCOORD_0": number + 1}
    glb.accessor(stored[:, :2], normalized=normalized)
    transform = {"scale": [scale / 100, scale / 100]}
    glb.json["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] = {
        "KHR_texture_transform": transform
    }
    glb.json["extensionsRequired"] = ["KHR_mesh_quantization", "KHR_texture_transform"]
    part = part_of(glb, tmp_path)
    np.testing.assert_allclose(corners(part)[0], stored[:, :3] / scale, atol=1e-12)
    np.testing.assert_allclose(part.uvs[0][0], [[0, 1], [1, 1], [0, 0.5]], atol=1e-6)
    assert part.step == 0  # coarse on purpose, not rounded away


def test_least_signed_number_is_minus_one(tmp_path: Path) -> None:
    glb = single()
    stored = np.array([[-128, 127, -127, 0], [0, 0, 0, 0], [0, 9, 0, 0]], np.int8)
    number = glb.accessor(stored, normalized=True)
    glb.json["accessors"][number]["type"] = "VEC3"
    glb.json["bufferViews"][-1]["byteStride"] = 4
    primitive_of(glb)["attributes"]["POSITION"] = number
    np.testing.assert_array_equal(corners(part_of(glb, tmp_path))[0, 0], [-1, 1, -1])


@pytest.mark.parametrize(
    ("kind", "entry", "reason"),
    [
        ("accessors", {"count": 4}, "claims 4 entries of POSITION"),
        ("accessors", {"count": 1e12}, "faces, more than"),
        ("accessors", {"byteOffset": 4}, "claims 3 entries of POSITION"),
        ("accessors", {"byteOffset": -4}, "-4 for byteOffset"),
        ("accessors", {"bufferView": 9}, "entry 9 of bufferViews"),
        ("accessors", {"componentType": 5124}, "5124 for componentType"),
        ("accessors", {"type": "VEC2"}, "type of POSITION"),
        ("accessors", {"type": ["VEC3"]}, "type of POSITION"),
        ("bufferViews", {"byteLength": 37}, "a view of 37 bytes"),
        ("bufferViews", {"byteOffset": 2**40}, "a view of 36 bytes from byte 1099511627776"),
        ("bufferViews", {"byteStride": 8}, "12 bytes every 8"),
        ("bufferViews", {"buffer": 1}, "entry 1 of buffers"),
        ("buffers", {"byteLength": 5000}, "cut short: 36 bytes of 5000"),
        ("meshes", {"primitives": None}, "primitives"),
        ("meshes", {"primitives": [3]}, "primitives"),
        ("nodes", {"mesh": 1}, "entry 1 of meshes"),
        ("nodes", {"mesh": True}, "True for mesh"),
        ("nodes", {"scale": [1, 1]}, "3 numbers"),
        ("nodes", {"scale": [1, 1, float("inf")]}, "inf for scale"),
        ("nodes", {"scale": [1, 1, 10**400]}, "too many digits"),
        ("nodes", {"matrix": "unit"}, "16 numbers"),
        ("nodes", {"children": {}}, "children"),
        ("nodes", {"extensions": {"EXT_mesh_gpu_instancing": {"attributes": {}}}}, "does not say where"),
    ],
)
def test_false_claims_are_refused(kind: str, entry: dict[str, Any], reason: str, tmp_path: Path) -> None:
    glb = single()
    glb.content()
    glb.json[kind][0] |= entry
    with pytest.raises(BrokenModelError, match=reason):
        part_of(glb, tmp_path)


def test_vertices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    glb = single(SQUARE)
    primitive_of(glb)["indices"] = glb.accessor(np.array([0, 1, 5], np.uint8))
    with pytest.raises(BrokenModelError, match="vertex 5 of 5 vertices"):
        part_of(glb, tmp_path)
    glb = single(SQUARE, NORMAL=TRIANGLE)
    primitive_of(glb)["indices"] = glb.accessor(np.array([0, 1, 3], np.uint8))
    with pytest.raises(BrokenModelError, match="3 entries of NORMAL, but names entry 3"):
        part_of(glb, tmp_path)


def test_too_many_faces_are_refused_by_their_claim(tmp_path: Path) -> None:
    """Zero-filled accessors claim sizes at no cost, and a hundred nodes a hundred times as much."""
    glb = single()
    glb.json["accessors"][0] = {"componentType": 5126, "type": "VEC3", "count": 9_000_003}
    with pytest.raises(BrokenModelError, match="3000001 faces, more than the 3000000 allowed"):
        part_of(glb, tmp_path)
    glb = single()
    for _ in range(100):
        glb.node(mesh=0)
    with pytest.raises(BrokenModelError, match="101 faces, more than the 100 allowed"):
        glb.read(tmp_path / "model", ModelLimits(max_faces=100))


def as_gltf(glb: Glb, uri: str | None) -> bytes:
    glb.content()
    if uri is None:
        uri = "data:application/octet-stream;base64," + base64.b64encode(glb.blob).decode().rstrip("=")
    glb.json["buffers"][0]["uri"] = uri
    return json.dumps(glb.json).encode("utf-8-sig")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        (None, None),
        ("data:,%00%00", None),
        ("model.bin", "model.bin"),
        ("Model.BIN", "model.bin"),
        ("some%20parts/b%C3%BCchse%2525.bin", "some parts/büchse%25.bin"),
        ("some%20parts.bin", "some%20parts.bin"),
        ("parts\\x.bin", "parts/x.bin"),
    ],
)
def test_buffers_beside_the_file(uri: str | None, name: str | None, tmp_path: Path) -> None:
    glb, folder = single(), tmp_path / "model"
    content = as_gltf(glb, uri)
    if name is not None:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(glb.blob)
    if uri == "data:,%00%00":
        with pytest.raises(BrokenModelError, match="cut short: 2 bytes of 36"):
            read(content, folder, suffix=".gltf")
        return
    (part,) = read(content, folder, suffix=".gltf").parts
    np.testing.assert_array_equal(corners(part)[0], TRIANGLE)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("../secret.bin", "secret.bin is missing from the model's folder"),
        ("%2e%2e/secret.bin", "secret.bin is missing from the model's folder"),
        ("/etc/passwd", "passwd is missing from the model's folder"),
        ("file:///etc/passwd", "passwd is missing from the model's folder"),
        ("https://github.com/secret.bin", "secret.bin is missing from the model's folder"),
        ("", "a file without a name is missing"),
        ("a\0b", "is missing from the model's folder"),
        ("x" * 5000, "is missing from the model's folder"),
        ("data:nothing", "a data URI without data"),
        ("data:;base64,ä", "a data URI that is garbled"),
        ("data:;base64,AAAAA", "a data URI that is garbled"),
    ],
)
def test_buffers_elsewhere_are_refused(uri: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(36))
    with pytest.raises(BrokenModelError, match=reason) as caught:
        read(as_gltf(single(), uri), tmp_path / "model", suffix=".gltf")
    assert str(tmp_path) not in str(caught.value)


def test_pictures_beside_the_file(tmp_path: Path) -> None:
    glb, folder = single(material=TEXTURED, TEXCOORD_0=CORNER_UV), tmp_path / "model"
    glb.texture(QUARTERS)
    glb.json["images"][0] = {"uri": "my%20textures/red.png"}
    (folder / "my textures").mkdir(parents=True)
    (folder / "my textures/red.png").write_bytes(picture(QUARTERS))
    model = read(as_gltf(glb, None), folder, suffix=".gltf")
    assert model.materials[0].color_texture is not None
    glb.json["images"][0] = {"uri": "../../red.png"}
    with pytest.raises(BrokenModelError, match=r"texture red\.png is missing from the model's folder"):
        read(as_gltf(glb, None), tmp_path / "other", suffix=".gltf")
    model = read(as_gltf(glb, None), tmp_path / "other", suffix=".gltf", missing_textures="color")
    assert model.notes == {"its texture red.png is missing from the model's folder": 1}


def draco(glb: Glb, content: bytes, faces: int, vertices: int, attributes: dict[str, int]) -> None:
    """Makes the first primitive one whose data is packed."""
    sizes = {"POSITION": "VEC3", "NORMAL": "VEC3", "TEXCOORD_0": "VEC2", "COLOR_0": "VEC3"}
    primitive = primitive_of(glb)
    primitive["attributes"] = {
        name: glb.add("accessors", componentType=5126, count=vertices, type=sizes[name])
        for name in attributes
    }
    primitive["indices"] = glb.add("accessors", componentType=5125, count=3 * faces, type="SCALAR")
    packed = {"bufferView": glb.view(content), "attributes": attributes}
    primitive["extensions"] = {"KHR_draco_mesh_compression": packed}
    glb.json["extensionsRequired"] = ["KHR_draco_mesh_compression"]


def packed_grid(sequential: bool, metadata: bool = False) -> tuple[bytes, npt.NDArray[Any], npt.NDArray[Any]]:
    u, v = np.meshgrid(np.linspace(0, 1, 20), np.linspace(0, 1, 20))
    points = np.stack([u, v, np.sin(5 * u) * v], axis=-1).reshape(-1, 3).astype(np.float32)
    cells = (np.arange(19)[:, None] * 20 + np.arange(19)).reshape(-1, 1)
    triangles = np.concatenate([cells + np.array([0, 1, 20]), cells + np.array([1, 21, 20])]).astype(
        np.uint32
    )
    content = DracoPy.encode(
        points,
        triangles,
        quantization_bits=16,
        preserve_order=sequential,
        create_metadata=metadata,
        tex_coord=points[:, :2].astype(np.float64),
        colors=(points * 100 + 100).astype(np.uint8),
    )
    return content, points, triangles


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("metadata", [True, False])
def test_draco(sequential: bool, metadata: bool, tmp_path: Path) -> None:
    content, points, triangles = packed_grid(sequential, metadata)
    kinds = {0: "POSITION", 2: "COLOR_0", 3: "TEXCOORD_0"}
    attributes = {
        kinds[each["attribute_type"]]: each["unique_id"] for each in DracoPy.decode(content).attributes
    }
    glb = single(material=TEXTURED)
    glb.texture(QUARTERS)
    draco(glb, content, len(triangles), len(points), attributes)
    model = glb.read(tmp_path / "model")
    (part,) = model.parts
    assert model.faces == len(part.triangles) == len(triangles)
    found, wanted = corners(part).mean(axis=1), points[triangles].mean(axis=1)
    assert cKDTree(found).query(wanted)[0].max() < 1e-4
    assert cKDTree(wanted).query(found)[0].max() < 1e-4
    np.testing.assert_allclose(part.uvs[0] * [1, -1] + [0, 1], corners(part)[..., :2], atol=1e-4)
    assert part.colors is not None
    np.testing.assert_allclose(part.colors[..., :3] * 255, corners(part) * 100 + 100, atol=1.1)
    glb.json["accessors"][primitive_of(glb)["indices"]]["count"] = 3
    with pytest.raises(BrokenModelError, match="its Draco data has 722 faces, more than the 721 allowed"):
        glb.read(tmp_path / "model", ModelLimits(max_faces=721))
    with pytest.raises(BrokenModelError, match="722 faces, but its glTF claims 1"):
        glb.read(tmp_path / "model")


def test_garbled_draco_is_refused(tmp_path: Path) -> None:
    content, points, triangles = packed_grid(False)
    position = {"POSITION": DracoPy.decode(content).attributes[-1]["unique_id"]}
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(60):
        broken = bytearray(content)
        if trial % 2:
            del broken[int(rng.integers(len(broken))) :]
        for _ in range(3):
            if broken:
                broken[int(rng.integers(len(broken)))] = int(rng.integers(256))
        glb = single()
        draco(glb, bytes(broken), len(triangles), len(points), position)
        try:
            glb.read(tmp_path / "model")
        except BrokenModelError:
            refused += 1
    assert refused > 30
    glb = single()
    draco(glb, content, len(triangles), len(points), {"POSITION": 77})
    with pytest.raises(BrokenModelError, match="its Draco data has no POSITION"):
        glb.read(tmp_path / "model")


def test_a_glb_by_the_name_of_gltf_is_read(tmp_path: Path) -> None:
    assert read(single().content(), tmp_path / "model", suffix=".gltf").faces == 1


def test_a_gltf_by_the_name_of_glb_is_read(tmp_path: Path) -> None:
    assert read(as_gltf(single(), None), tmp_path / "model").faces == 1


def test_unknown_chunks_are_passed_over(tmp_path: Path) -> None:
    content = single().content()
    more = content[:8] + (len(content) + 12).to_bytes(4, "little") + content[12:] + b"\4\0\0\0MOREmore"
    assert read(more + b"behind the end", tmp_path / "model").faces == 1


def test_chunks_of_odd_length_are_read(tmp_path: Path) -> None:
    """As other readers do: the next chunk begins where the length says, whatever the format says of multiples of 4."""
    content = single().content()
    size = int.from_bytes(content[12:16], "little")
    odd = content[:8] + (len(content) + 1).to_bytes(4, "little") + (size + 1).to_bytes(4, "little")
    odd += content[16 : 20 + size] + b" " + content[20 + size :]
    assert read(odd, tmp_path / "model").faces == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "model.glb is no GLB file"),
        (b"glTF" + bytes(60), "is glTF 0, expected glTF 2"),
        (single().content()[:-1], "is cut short"),
        (pack(b"{", b""), "is cut short or garbled"),
        (pack(b"[]", b""), "is no glTF scene"),
        (pack(b"[" * 100_000, b""), "is cut short or garbled"),
        (pack(b"[0" + b",0" * 4_000_000 + b"]", b""), "more than 4000000 values"),
        (pack(b'{"asset":{"version":"1.0"}}', b""), "is glTF 1, expected glTF 2"),
        (pack(b'{"asset":3}', b""), "3 for asset"),
        (pack(b"{}", b""), "model.glb has no faces"),
        (pack(b'{"extensionsRequired":["KHR_new"]}', b""), "requires the glTF extension KHR_new"),
        (pack(b'{"extensionsRequired":["EXT_meshopt_compression"]}', b""), "gltfpack -noq -i IN.glb"),
        (pack(b'{"extensionsRequired":7}', b""), "7 for extensionsRequired"),
    ],
)
def test_files_that_are_none_are_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenModelError, match=reason):
        read(content, tmp_path / "model")

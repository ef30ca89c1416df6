"""Compressed GLB files, decoded by readers that did not write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from gp3d_core.meshing.colors import linear_to_srgb
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh, merge_positions
from tests.support.node_readers import decode_views, validate

TYPES = {5120: "<i1", 5121: "<u1", 5123: "<u2", 5125: "<u4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}
KINDS = ["textured", "colored", "plain", "large"]


def some_mesh(kind: str) -> Mesh:
    """A closed surface with seams; `large` has more vertices than 16 bits can count."""
    ball = trimesh.creation.icosphere(subdivisions=7 if kind == "large" else 3)
    vertices = (ball.vertices * [0.5, 0.8, 0.3] + [0.1, 2, 0]).astype(np.float32)
    faces, normals = ball.faces.astype(np.int32), ball.vertices.astype(np.float32)
    if kind == "colored":
        colors = np.random.default_rng(0).integers(0, 256, vertices.shape).astype(np.uint8)
        colors[:256] = np.arange(256)[:, None]
        return Mesh(
            vertices, faces, vertex_colors=colors, normals=normals, seen=(colors[:, 0] % 2).astype(np.uint8)
        )
    if kind == "textured":  # every face is its own chart
        corners = np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3)
        uv = np.random.default_rng(1).random((3 * len(faces), 2)).astype(np.float32)
        texture = np.random.default_rng(2).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        flat = faces.reshape(-1)
        return Mesh(vertices[flat], corners, uv=uv, texture=texture, normals=normals[flat])
    return Mesh(vertices, faces)


def tree_of(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    assert int.from_bytes(content[8:12], "little") == len(content)
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def decoded(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON, and its attributes and indices as glTF says to read them; meshopt's views by the official decoder."""
    tree, chunk = tree_of(path)
    packed = "EXT_meshopt_compression" in tree["extensionsUsed"]
    views = decode_views(path) if packed else [None] * len(tree["bufferViews"])
    [primitive] = tree["meshes"][0]["primitives"]
    found = {}
    for name, number in (primitive["attributes"] | {"indices": primitive["indices"]}).items():
        accessor = tree["accessors"][number]
        view, data = tree["bufferViews"][accessor["bufferView"]], views[accessor["bufferView"]]
        dtype, width = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]]
        stride = view.get("byteStride", width * dtype.itemsize)
        assert stride % 4 == 0 or name == "indices"
        if data is None:
            data = chunk[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        assert len(data) == view["byteLength"] == stride * accessor["count"]
        rows = np.frombuffer(data, np.uint8).reshape(-1, stride)[:, : width * dtype.itemsize]
        values = np.ascontiguousarray(rows).view(dtype).reshape(-1, width)
        if name == "POSITION":
            assert accessor["min"] == values.min(axis=0).tolist()
            assert accessor["max"] == values.max(axis=0).tolist()
        if accessor.get("normalized"):
            values = np.maximum(values.astype(np.float64) / np.iinfo(dtype).max, -1)
        found[name] = values
    return tree, found


def rows_at_corners(mesh: Mesh) -> dict[str, np.ndarray]:
    """What a viewer would find at the corners [F,3,·] of the triangles."""
    known = {"POSITION": mesh.vertices, "NORMAL": mesh.normals, "TEXCOORD_0": mesh.uv}
    known |= {"COLOR_0": mesh.vertex_colors, "_SEEN": None if mesh.seen is None else mesh.seen[:, None]}
    return {name: rows[mesh.faces].astype(np.float64) for name, rows in known.items() if rows is not None}


def matched(seen: dict[str, np.ndarray], true: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The triangles of `seen` in the order of those of `true` that lie where they do, begun at the same corner."""
    centres = [corners["POSITION"].mean(axis=1) for corners in (seen, true)]
    _, order = cKDTree(centres[0]).query(centres[1])
    assert len(set(order.tolist())) == len(centres[0]) == len(centres[1]), "each triangle is there once"
    far = np.stack(
        [
            np.abs(np.roll(seen["POSITION"][order], -k, axis=1) - true["POSITION"]).max(axis=(1, 2))
            for k in range(3)
        ]
    )
    turn = (np.argmin(far, axis=0)[:, None] + np.arange(3)) % 3
    return {name: np.take_along_axis(rows[order], turn[:, :, None], axis=1) for name, rows in seen.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compress", ["quantize", "meshopt"])
def test_independent_readers_see_the_same_mesh(tmp_path: Path, kind: str, compress: str) -> None:
    if compress == "meshopt":
        pytest.importorskip("meshopt", reason="meshopt is not installed")
    mesh = some_mesh(kind)
    save_mesh(mesh, tmp_path / "mesh.glb", {"compress": compress, "license": "CC0-1.0"})
    tree, found = decoded(tmp_path / "mesh.glb")
    [node] = tree["nodes"]
    faces = found.pop("indices").reshape(-1, 3).astype(np.int64)
    found["POSITION"] = found["POSITION"] * node["scale"] + node["translation"]
    if "TEXCOORD_0" in found:
        found["TEXCOORD_0"] = np.array([0, 1]) + found["TEXCOORD_0"] * [1, -1]
    if "COLOR_0" in found:
        found["COLOR_0"] = 255 * linear_to_srgb(found["COLOR_0"])
    true = rows_at_corners(mesh)
    seen = matched({name: rows[faces] for name, rows in found.items()}, true)
    assert seen.keys() == true.keys()
    side = np.ptp(mesh.vertices, axis=0).max()
    bounds = {"POSITION": side / 65535 * 0.51, "NORMAL": 0.5 / 127 + 1e-6, "TEXCOORD_0": 0.51 / 65535}
    for name, rows in true.items():
        assert np.abs(seen[name] - rows).max() <= bounds.get(name, 0.1), name
    merged, closed = merge_positions(Mesh(found["POSITION"].astype(np.float32), faces.astype(np.int32)))
    assert trimesh.Trimesh(merged, closed, process=False).is_watertight


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compress", ["none", "quantize", "meshopt"])
def test_the_khronos_validator_finds_no_fault(tmp_path: Path, kind: str, compress: str) -> None:
    if compress == "meshopt":
        pytest.importorskip("meshopt", reason="meshopt is not installed")
    save_mesh(some_mesh(kind), tmp_path / "mesh.glb", {"compress": compress})
    report = validate(tmp_path / "mesh.glb")
    counts = {level: report["issues"][level] for level in ("numErrors", "numWarnings", "numHints")}
    assert counts == {"numErrors": 0, "numWarnings": 0, "numHints": 0}, report["issues"]["messages"]
    assert report["info"]["totalTriangleCount"] == len(some_mesh(kind).faces)


@pytest.mark.parametrize("compress", ["none", "quantize", "meshopt"])
def test_every_glb_names_its_licence_its_maker_and_its_material(tmp_path: Path, compress: str) -> None:
    if compress == "meshopt":
        pytest.importorskip("meshopt", reason="meshopt is not installed")
    recipe = {"compress": compress, "license": "CC0-1.0", "seed": 7}
    save_mesh(some_mesh("textured"), tmp_path / "Kaffee Täßchen-0003.glb", recipe)
    tree, _ = tree_of(tmp_path / "Kaffee Täßchen-0003.glb")
    assert tree["asset"]["copyright"] == "Licence: CC0-1.0. Made by gp3d 0.1.0."
    assert tree["asset"]["generator"] == "gp3d 0.1.0"
    assert tree["scenes"][0]["extras"]["gp3d"] == recipe
    name = "Kaffee_Tachen_0003"  # what has no ASCII letter is left out
    parts = [*tree["materials"], *tree["meshes"], *tree["images"], *tree["textures"]]
    assert {part["name"] for part in parts} == {name}
    assert name in {node["name"] for node in tree["nodes"]}
    shown = tree["materials"][0]["pbrMetallicRoughness"]
    assert (shown["roughnessFactor"], shown["metallicFactor"]) == (0.9, 0.0)


def test_each_step_makes_files_smaller(tmp_path: Path) -> None:
    pytest.importorskip("meshopt", reason="meshopt is not installed")
    sizes = []
    for compress in ("none", "quantize", "meshopt"):
        save_mesh(some_mesh("colored"), tmp_path / "mesh.glb", {"compress": compress})
        sizes.append((tmp_path / "mesh.glb").stat().st_size)
    assert sizes[1] < 0.65 * sizes[0]
    assert sizes[2] < 0.8 * sizes[1]


@pytest.mark.parametrize("compress", ["quantize", "meshopt"])
@pytest.mark.parametrize("kind", ["plain", "colored", "textured"])
def test_our_own_reader_reads_them(tmp_path: Path, kind: str, compress: str) -> None:
    """What plain GLB holds, as exactly as the numbers are coded; meshopt draws vertices in another order."""
    if compress == "meshopt":
        pytest.importorskip("meshopt", reason="meshopt is not installed")
    read = []
    for how in ("none", compress):
        save_mesh(some_mesh(kind), tmp_path / "mesh.glb", {"compress": how})
        read.append(load_mesh(tmp_path / "mesh.glb"))
    plain, coded = read
    side = float(np.ptp(plain.vertices, axis=0).max())
    distance, nearest = cKDTree(plain.vertices).query(coded.vertices)
    assert distance.max() < side / 65535
    assert len(coded.faces) == len(plain.faces)
    if plain.vertex_colors is not None:
        assert coded.vertex_colors is not None
        assert np.abs(coded.vertex_colors.astype(int) - plain.vertex_colors[nearest]).max() <= 1
    if compress == "quantize" and plain.uv is not None:
        assert coded.uv is not None
        assert coded.uv == pytest.approx(plain.uv, abs=1 / 65535)


def test_meshes_without_a_size_stay_readable(tmp_path: Path) -> None:
    """All vertices in one point: no side to take shares of."""
    mesh = Mesh(np.ones((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    save_mesh(mesh, tmp_path / "mesh.glb", {"compress": "quantize"})
    tree, found = decoded(tmp_path / "mesh.glb")
    assert np.allclose(found["POSITION"] * tree["nodes"][0]["scale"] + tree["nodes"][0]["translation"], 1)

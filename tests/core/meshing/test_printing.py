"""STL and 3MF as others read them: numpy-stl, the zip and XML that 3MF is, and Blender."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import trimesh

from gp3d_core.meshing.files import formats
from gp3d_core.meshing.files.formats import LibraryError
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh, MeshError

SIZES = (0.6, 1.2, 0.3)  # width, height (y is up) and depth (front towards +z) of a block in world units


@pytest.fixture
def block() -> Mesh:
    """A box with a face of its own colour: an atlas whose seams run along all edges. Its front is red."""
    box = trimesh.creation.box(SIZES)
    corners = box.vertices[box.faces].reshape(-1, 3).astype(np.float32) + np.float32([0.2, 5, -0.4])
    front = np.repeat(box.face_normals[:, 2] > 0.5, 3)
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[:, 0], texture[:, 1] = (20, 200, 40), (220, 30, 10)
    uv = np.stack([np.where(front, 0.75, 0.25), np.full(len(front), 0.5)], axis=1).astype(np.float32)
    return Mesh(corners, np.arange(36, dtype=np.int32).reshape(-1, 3), uv=uv, texture=texture)


def with_hole(mesh: Mesh, faces: int) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[faces:], uv=mesh.uv, texture=mesh.texture)


def read_stl(path: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Corners [F,3,3], normals [F,3] and the header of an STL file, by numpy-stl."""
    from stl import mesh as reader

    found = reader.Mesh.from_file(str(path), calculate_normals=False)
    return found.vectors.astype(np.float64), found.normals.astype(np.float64), path.read_bytes()[:80].decode()


def volume_of(corners: np.ndarray) -> float:
    """What a closed surface encloses, by the divergence theorem: above 0 if faces show outwards."""
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def open_edges(corners: np.ndarray) -> int:
    """Edges that no other face runs the other way, of faces whose corners meet exactly."""
    keys = [[corner.tobytes() for corner in face] for face in corners]
    edges = Counter((face[i], face[(i + 1) % 3]) for face in keys for i in range(3))
    return sum((count - edges[(b, a)]) != 0 for (a, b), count in edges.items())


def test_stl_is_a_closed_solid_in_millimetres_with_z_up(tmp_path: Path, block: Mesh) -> None:
    save_mesh(block, tmp_path / "block.stl", {"license": "CC0-1.0"})
    corners, normals, header = read_stl(tmp_path / "block.stl")
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    scale = 100 / SIZES[1]
    assert np.allclose(high - low, [SIZES[0] * scale, SIZES[2] * scale, 100], rtol=1e-6)
    assert np.allclose(low, [-SIZES[0] * scale / 2, -SIZES[2] * scale / 2, 0], atol=1e-4), "it stands at 0"
    assert volume_of(corners) == pytest.approx(np.prod(SIZES) * scale**3, rel=1e-6)
    assert open_edges(corners) == 0
    true = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.allclose(normals, true / np.linalg.norm(true, axis=1, keepdims=True), atol=1e-6)
    assert header.rstrip() == "gp3d 0.1.0; mm, z up; licence: CC0-1.0"


def test_the_front_of_an_object_lies_towards_minus_y_of_the_printer(tmp_path: Path, block: Mesh) -> None:
    vertices = block.vertices.copy()
    front = vertices[:, 2] > -0.4
    vertices[front] = vertices[front] * np.float32([0.5, 1, 1]) + np.float32([0.3, 0, 0.8])
    arrow = Mesh(vertices, block.faces)
    save_mesh(arrow, tmp_path / "arrow.stl", {"print_height": 50})
    corners, _, _ = read_stl(tmp_path / "arrow.stl")
    depth = np.ptp(arrow.vertices[:, 2])
    assert np.ptp(corners[..., 1]) == pytest.approx(depth * 50 / SIZES[1], rel=1e-5)
    x, y, z = (arrow.vertices[arrow.faces] - arrow.vertices.min(axis=0)).astype(np.float64).transpose(2, 0, 1)
    turned = np.stack([x, -z, y], axis=-1) * 50 / SIZES[1]
    shift = corners.min(axis=(0, 1)) - turned.min(axis=(0, 1))
    assert np.allclose(corners, turned + shift, atol=1e-4)


def test_heights_are_those_asked_for_or_real_ones(tmp_path: Path, block: Mesh) -> None:
    for recipe, height in (
        ({"print_height": 42.5}, 42.5),
        ({"options": {"print_height": 20}}, 20),  # as recipes of scenes have it
        ({"print_height": "real", "meters_per_unit": 0.25}, SIZES[1] * 250),
    ):
        save_mesh(block, tmp_path / "block.stl", recipe)
        assert np.ptp(read_stl(tmp_path / "block.stl")[0][..., 2]) == pytest.approx(height, rel=1e-6)
    with pytest.raises(
        MeshError, match=r"^block.stl: `print_height` real: the real size of this object is not"
    ):
        save_mesh(block, tmp_path / "block.stl", {"print_height": "real"})


@pytest.mark.parametrize("suffix", ["stl", "3mf"])
def test_small_holes_are_closed_and_counted(tmp_path: Path, block: Mesh, suffix: str) -> None:
    with pytest.warns(UserWarning, match=rf"^open.{suffix}: 1 faces close holes of the surface, to print it"):
        save_mesh(with_hole(block, 1), tmp_path / f"open.{suffix}")
    save_mesh(block, tmp_path / "whole.stl")
    if suffix == "stl":
        corners = read_stl(tmp_path / "open.stl")[0]
        assert open_edges(corners) == 0
        assert volume_of(corners) == pytest.approx(volume_of(read_stl(tmp_path / "whole.stl")[0]), rel=1e-6)


@pytest.mark.parametrize("suffix", ["stl", "3mf"])
def test_a_surface_that_stays_open_is_refused_and_nothing_written(
    tmp_path: Path, block: Mesh, suffix: str
) -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    cut = ball.faces[ball.triangles_center[:, 1] < 0.5]
    bowl = Mesh(ball.vertices.astype(np.float32), cut.astype(np.int32))
    with pytest.raises(
        MeshError, match=rf"^bowl.{suffix}: the surface is not closed \(\d+ open edges\)"
    ) as error:
        save_mesh(bowl, tmp_path / f"bowl.{suffix}")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_faces_that_show_inwards_are_turned(tmp_path: Path, block: Mesh) -> None:
    save_mesh(Mesh(block.vertices, block.faces[:, ::-1].copy()), tmp_path / "block.stl")
    assert volume_of(read_stl(tmp_path / "block.stl")[0]) > 0


def read_3mf(path: Path) -> tuple[ElementTree.Element, dict[str, str]]:
    """The model of a 3MF file as XML, found as the package's relations say, and its metadata."""
    with zipfile.ZipFile(path) as package:
        assert package.testzip() is None
        types = package.read("[Content_Types].xml").decode()
        relations = ElementTree.fromstring(package.read("_rels/.rels"))
        [target] = [r.get("Target", "") for r in relations if r.get("Type", "").endswith("/3dmodel")]
        assert 'Extension="model"' in types
        model = ElementTree.fromstring(package.read(target.lstrip("/")))
    said = {entry.get("name", ""): entry.text or "" for entry in model.iterfind(".//{*}metadata")}
    return model, said


def test_3mf_is_a_closed_solid_with_colours_and_its_licence(tmp_path: Path, block: Mesh) -> None:
    recipe = {"license": "CC0-1.0", "seed": 7, "print_height": 60.0}
    save_mesh(block, tmp_path / "coffee mug-0003.3mf", recipe)
    model, said = read_3mf(tmp_path / "coffee mug-0003.3mf")
    assert model.get("unit") == "millimeter"
    assert said["LicenseTerms"] == "CC0-1.0"
    assert said["Application"] == "gp3d 0.1.0"
    assert said["Title"] == "coffee_mug_0003"
    assert json.loads(said["Description"]) == recipe
    numbers = [[float(v.get(axis, "")) for axis in "xyz"] for v in model.iterfind(".//{*}vertex")]
    vertices = np.array(numbers, np.float32)
    triangles = list(model.iterfind(".//{*}triangle"))
    faces = np.array([[int(t.get(f"v{i}", "")) for i in (1, 2, 3)] for t in triangles])
    corners = vertices[faces].astype(np.float64)
    assert len(vertices) == 8, "seams are closed"
    assert open_edges(vertices[faces]) == 0
    assert volume_of(corners) == pytest.approx(np.prod(SIZES) * (60 / SIZES[1]) ** 3, rel=1e-5)
    [group] = model.iterfind(".//{*}colorgroup")
    colors = [entry.get("color", "")[:7] for entry in group.iterfind(".//{*}color")]
    assert {triangle.get("pid") or group.get("id") for triangle in triangles} == {group.get("id")}
    [item] = model.iterfind(".//{*}item")
    [part] = model.iterfind(".//{*}object")
    for triangle, across in zip(triangles, corners, strict=True):
        first = triangle.get("p1") or part.get("pindex", "")
        shown = [colors[int(triangle.get(f"p{i}") or first)] for i in (1, 2, 3)]
        front = (across[:, 1] < 0).all()
        assert shown == ["#DC1E0A" if front else "#14C828"] * 3
    assert item.get("objectid") == part.get("id")


def test_the_same_mesh_makes_the_same_3mf(tmp_path: Path, block: Mesh) -> None:
    save_mesh(block, tmp_path / "block.3mf", {"seed": 1})
    before = (tmp_path / "block.3mf").read_bytes()
    save_mesh(block, tmp_path / "block.3mf", {"seed": 1})
    assert (tmp_path / "block.3mf").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "package"), [("3mf", "lib3mf"), ("usdz", "usd-core"), ("meshopt", "meshopt")]
)
def test_formats_without_their_library_are_refused_in_one_line(
    tmp_path: Path, block: Mesh, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    find = importlib.util.find_spec
    lacking = {"lib3mf", "pxr", "meshopt"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module: None if module in lacking else find(module)
    )
    assert formats.writable_formats() == ["obj", "glb", "ply", "npz", "stl"]
    path = tmp_path / f"block.{'glb' if name == 'meshopt' else name}"
    with pytest.raises(LibraryError) as error:
        save_mesh(block, path, {"compress": name})
    assert str(error.value) == f"{name} needs {package}, which is not installed: pip install {package}"
    assert not list(tmp_path.iterdir())


READ_WITH_BLENDER = """
import json, os, sys
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.wm.stl_import(filepath=sys.argv[2])
(found,) = (o for o in bpy.data.objects if o.type == "MESH")
import bmesh
edges = bmesh.new()
edges.from_mesh(found.data)
answer = [list(found.dimensions), edges.calc_volume(signed=True), all(e.is_manifold for e in edges.edges)]
with open(sys.argv[1], "w") as file:
    json.dump(answer, file)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.blender
def test_blender_sees_the_solid(tmp_path: Path, block: Mesh) -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("bpy is not installed")
    save_mesh(block, tmp_path / "block.stl", {"print_height": 60})
    command = [
        sys.executable,
        "-c",
        READ_WITH_BLENDER,
        str(tmp_path / "answer.json"),
        str(tmp_path / "block.stl"),
    ]
    subprocess.run(command, timeout=120, check=True, capture_output=True)
    dimensions, volume, closed = json.loads((tmp_path / "answer.json").read_text())
    scale = 60 / SIZES[1]
    assert np.allclose(dimensions, [SIZES[0] * scale, SIZES[2] * scale, 60], rtol=1e-5)
    assert volume == pytest.approx(np.prod(SIZES) * scale**3, rel=1e-4)
    assert closed


def test_turned_faces_keep_the_colours_of_their_corners(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=1)
    colors = np.round((ball.vertices + 1) * 127.5).astype(np.uint8)
    inwards = ball.faces[:, ::-1].astype(np.int32)
    save_mesh(Mesh(ball.vertices.astype(np.float32), inwards, vertex_colors=colors), tmp_path / "ball.3mf")
    model, _ = read_3mf(tmp_path / "ball.3mf")
    vertices = np.array([[float(v.get(axis, "")) for axis in "xyz"] for v in model.iterfind(".//{*}vertex")])
    shown = [entry.get("color", "")[1:7] for entry in model.iterfind(".//{*}color")]
    x, y, z = ((vertices - [0, 0, 50]) / 50).T  # the ball's radius is 1, its height in the file 100
    expected = np.round((np.stack([x, z, -y], axis=1) + 1) * 127.5)
    for triangle in model.iterfind(".//{*}triangle"):
        for i in (1, 2, 3):
            color = np.array(list(bytes.fromhex(shown[int(triangle.get(f"p{i}", ""))])))
            assert np.abs(color - expected[int(triangle.get(f"v{i}", ""))]).max() <= 1

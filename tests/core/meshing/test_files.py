"""Mesh files: what is written is read back, by us and by trimesh, and what is broken is refused in one line."""

import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from PIL import Image

from gp3d_core.meshing.colors import linear_to_srgb, sample_texture, srgb_to_linear
from gp3d_core.meshing.files.description import asset_name
from gp3d_core.meshing.files.formats import FORMATS, writable_formats
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.files.writing import save_mesh, save_recipe
from gp3d_core.meshing.mesh import Mesh, MeshError, merge_positions
from tests.support.full_disk import files_end_at

SUFFIXES = [".obj", ".glb", ".ply", ".npz"]


@pytest.fixture
def textured() -> Mesh:
    """A unit square of two triangles over a seam: its corners are repeated, its texture has four colours."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    uv = np.array([[0.1, 0.1], [0.4, 0.1], [0.4, 0.4], [0.6, 0.6], [0.9, 0.9], [0.6, 0.9]], np.float32)
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[4:, :4], texture[:4, 4:] = (200, 30, 10), (10, 30, 200)
    return Mesh(corners, np.array([[0, 1, 2], [3, 4, 5]], np.int32), uv=uv, texture=texture)


@pytest.fixture
def colored() -> Mesh:
    """A sphere with a colour and a normal per vertex; dark colours included."""
    sphere = trimesh.creation.icosphere(subdivisions=2)
    vertices = sphere.vertices.astype(np.float32)
    colors = np.round((vertices + 1) * 127.5).astype(np.uint8)
    colors[:40] = np.arange(40)[:, None]
    return Mesh(vertices, sphere.faces.astype(np.int32), vertex_colors=colors, normals=vertices.copy())


def test_srgb_agrees_with_its_definition_and_inverts():
    values = np.arange(256) / 255
    assert np.allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-6)
    assert srgb_to_linear(np.array(0.5)) == pytest.approx(0.21404, abs=1e-5)
    assert srgb_to_linear(np.array(0.04)) == pytest.approx(0.04 / 12.92)


def test_sample_texture_meets_texel_centres_and_midpoints():
    texture = np.array([[[0] * 3, [100] * 3], [[200] * 3, [60] * 3]], np.uint8)
    uv = np.array([[0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.5, 0.75], [0.5, 0.5], [0, 1]])
    assert sample_texture(texture, uv)[:, 0].tolist() == [0, 100, 200, 50, 90, 0]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_vertex_colors_survive_the_round_trip(tmp_path, colored, suffix):
    save_mesh(colored, tmp_path / f"a mesh{suffix}")
    back = load_mesh(tmp_path / f"a mesh{suffix}")
    assert np.allclose(back.vertices[back.faces], colored.vertices[colored.faces], atol=1e-6)
    assert np.array_equal(back.vertex_colors[back.faces], colored.vertex_colors[colored.faces])
    assert np.allclose(back.normals[back.faces], colored.normals[colored.faces], atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [1e-6, 0.37, 1e5])
def test_positions_are_the_very_same_and_stay_apart(tmp_path, suffix, size):
    """Neighbours of float32 are different vertices: a surface with such edges has to stay closed."""
    box = trimesh.creation.box().subdivide()
    vertices = (box.vertices * size).astype(np.float32)
    vertices[3] = np.nextafter(vertices[box.vertex_neighbors[3][0]], np.float32(np.inf))
    mesh = Mesh(vertices, box.faces.astype(np.int32))
    save_mesh(mesh, tmp_path / f"box{suffix}")
    back = load_mesh(tmp_path / f"box{suffix}")
    assert np.array_equal(back.vertices[back.faces], vertices[mesh.faces])
    merged, faces = merge_positions(back)
    assert len(merged) == len(vertices)
    assert trimesh.Trimesh(merged, faces, process=False).is_watertight


@pytest.mark.parametrize("suffix", [".obj", ".glb", ".npz"])
def test_textures_survive_the_round_trip(tmp_path, textured, suffix):
    save_mesh(textured, tmp_path / f"a mesh{suffix}")
    back = load_mesh(tmp_path / f"a mesh{suffix}")
    assert np.array_equal(back.texture, textured.texture)
    assert np.allclose(back.vertices[back.faces], textured.vertices[textured.faces])
    assert np.allclose(back.uv[back.faces], textured.uv[textured.faces], atol=1e-6)


def test_obj_holds_each_position_once_and_keeps_the_seam_in_its_uv(tmp_path, textured):
    written = save_mesh(textured, tmp_path / "square.obj", {"seed": 7, "class": "coffee mug"})
    assert [path.name for path in written] == ["square.obj", "square.mtl", "square.png"]
    text = (tmp_path / "square.obj").read_text()
    assert len(re.findall(r"^v ", text, re.MULTILINE)) == 4
    assert len(re.findall(r"^vt ", text, re.MULTILINE)) == 6
    assert '# class: "coffee mug"' in text
    assert "# seed: 7" in text
    material = (tmp_path / "square.mtl").read_text()
    assert "map_Kd square.png\n" in material, "relative, so that the folder can move"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "square.png")), textured.texture)


def test_trimesh_reads_texture_and_colors(tmp_path, textured, colored):
    save_mesh(textured, tmp_path / "square.obj")
    loaded = trimesh.load_mesh(tmp_path / "square.obj", process=False)
    assert np.array_equal(np.asarray(loaded.visual.material.image), textured.texture)
    save_mesh(colored, tmp_path / "ball.ply")
    loaded = trimesh.load_mesh(tmp_path / "ball.ply", process=False)
    assert np.array_equal(loaded.visual.vertex_colors[:, :3], colored.vertex_colors)


def test_glb_follows_gltf(tmp_path, textured, colored):
    save_mesh(colored, tmp_path / "ball.glb", {"seed": 7})
    tree, buffer = _glb_parts(tmp_path / "ball.glb")
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    assert (accessor["componentType"], accessor["type"]) == (5126, "VEC3")
    start = tree["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
    colors = np.frombuffer(buffer, "<f4", accessor["count"] * 3, start).reshape(-1, 3)
    assert np.allclose(linear_to_srgb(colors) * 255, colored.vertex_colors, atol=0.01), (
        "linear, and not rounded"
    )
    material = tree["materials"][0]["pbrMetallicRoughness"]
    assert (material["roughnessFactor"], material["metallicFactor"]) == (0.9, 0.0)
    assert tree["scenes"][0]["extras"] == {"gp3d": {"seed": 7, "license": "unknown"}}
    save_mesh(textured, tmp_path / "square.glb")
    scene = trimesh.load_scene(tmp_path / "square.glb", process=False)
    (loaded,) = scene.geometry.values()
    assert np.allclose(loaded.visual.uv, textured.uv, atol=1e-6)


def _glb_parts(path) -> tuple[dict, bytes]:
    """The JSON and the buffer of a GLB file, whose chunks are whole and end on multiples of four."""
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    tree, buffer = json.loads(content[20 : 20 + length]), content[28 + length :]
    assert (content[:8], content[16:20]) == (b"glTF\2\0\0\0", b"JSON")
    assert content[20 + length :][:8] == len(buffer).to_bytes(4, "little") + b"BIN\0"
    assert (length % 4, len(buffer) % 4) == (0, 0)
    assert tree["buffers"] == [{"byteLength": len(buffer)}]
    return tree, buffer


def _glb_values(tree: dict, buffer: bytes, number: int) -> np.ndarray:
    """The rows of an accessor, read as glTF says, with its limits checked."""
    accessor = tree["accessors"][number]
    view = tree["bufferViews"][accessor["bufferView"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
    dtype = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
    start = view["byteOffset"] + accessor.get("byteOffset", 0)
    assert start % 4 == 0
    assert accessor["count"] * width * 4 <= view["byteLength"]
    assert view.get("byteStride", width * 4) == width * 4
    rows = np.frombuffer(buffer, dtype, accessor["count"] * width, start).reshape(-1, width)
    assert np.array_equal(accessor["min"], rows.min(axis=0))
    assert np.array_equal(accessor["max"], rows.max(axis=0))
    return rows


@pytest.mark.parametrize("kind", ["textured", "colored", "plain"])
def test_glb_says_of_its_views_what_they_hold(tmp_path, textured, colored, kind):
    plain = Mesh(colored.vertices, colored.faces, seen=np.ones(len(colored.vertices), np.uint8))
    mesh = {"textured": textured, "colored": colored, "plain": plain}[kind]
    save_mesh(mesh, tmp_path / "mesh.glb", {"seed": 7})
    tree, buffer = _glb_parts(tmp_path / "mesh.glb")
    (primitive,) = tree["meshes"][0]["primitives"]
    names = {"textured": {"TEXCOORD_0"}, "colored": {"COLOR_0", "NORMAL"}, "plain": {"_SEEN"}}[kind]
    assert set(primitive["attributes"]) == {"POSITION"} | names
    for number in primitive["attributes"].values():
        assert len(_glb_values(tree, buffer, number)) == len(mesh.vertices)
        view = tree["bufferViews"][tree["accessors"][number]["bufferView"]]
        assert view["target"] == 34962
        assert "byteStride" in view, "in the colored ball, positions and normals are equal and share a view"
    assert np.array_equal(_glb_values(tree, buffer, primitive["indices"]).reshape(-1, 3), mesh.faces)
    indices = tree["bufferViews"][tree["accessors"][primitive["indices"]]["bufferView"]]
    assert indices["target"] == 34963
    assert "byteStride" not in indices
    pictures = {tree["images"][0]["bufferView"]} if kind == "textured" else set()
    assert all("target" not in tree["bufferViews"][number] for number in pictures)


def test_glb_normals_have_length_1_whatever_the_mesh_has(tmp_path, colored):
    normals = colored.normals.copy()
    normals[0], normals[1], normals[2] = 0, np.nan, 1.5 * normals[2]
    save_mesh(replace(colored, normals=normals), tmp_path / "ball.glb")
    tree, buffer = _glb_parts(tmp_path / "ball.glb")
    written = _glb_values(tree, buffer, tree["meshes"][0]["primitives"][0]["attributes"]["NORMAL"])
    assert np.allclose(np.linalg.norm(written, axis=1), 1, atol=1e-6)
    assert np.allclose(written[2:], colored.normals[2:], atol=1e-6)
    assert written[:2].tolist() == [[0, 1, 0]] * 2


def test_ply_colors_of_faces_are_kept(tmp_path):
    head = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 2\nproperty list uchar int vertex_indices\n"
    head += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue")) + "end_header\n"
    body = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2 200 0 9\n3 0 2 3 0 70 255\n"
    (tmp_path / "a.ply").write_text(head + body)
    mesh = load_mesh(tmp_path / "a.ply")
    assert mesh.vertex_colors[mesh.faces].tolist() == [[[200, 0, 9]] * 3, [[0, 70, 255]] * 3]
    assert mesh.vertices[mesh.faces][:, 1].tolist() == [[1, 0, 0], [1, 1, 0]]


def test_ply_takes_its_colors_from_the_texture(tmp_path, textured):
    save_mesh(textured, tmp_path / "square.ply")
    back = load_mesh(tmp_path / "square.ply")
    assert len(back.vertices) == 4
    by_position = {
        tuple(v): tuple(c) for v, c in zip(back.vertices.tolist(), back.vertex_colors.tolist(), strict=True)
    }
    assert by_position[(1.0, 0.0, 0.0)] == (200, 30, 10)
    assert by_position[(0.0, 1.0, 0.0)] == (10, 30, 200)


def test_merge_positions_closes_seams(textured):
    vertices, faces = merge_positions(textured)
    assert len(vertices) == 4
    assert np.array_equal(vertices[faces], textured.vertices[textured.faces])


def test_recipe_is_json_with_a_version(tmp_path):
    path = save_recipe({"seed": 3, "level": 9.5}, tmp_path / "deep" / "recipe.json")
    assert json.loads(path.read_text()) == {"format": "gp3d-recipe", "version": 1, "seed": 3, "level": 9.5}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_files_are_refused_in_one_line(tmp_path, colored, suffix):
    save_mesh(colored, tmp_path / f"whole{suffix}")
    content = (tmp_path / f"whole{suffix}").read_bytes()
    for length in (0, 7, 100, len(content) // 2, len(content) - 2):
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(content[:length])
        with pytest.raises(MeshError, match=re.escape(str(broken))) as caught:
            load_mesh(broken)
        assert "\n" not in str(caught.value)


def test_missing_companions_are_named(tmp_path, textured):
    save_mesh(textured, tmp_path / "square.obj")
    (tmp_path / "square.png").write_bytes(b"no picture")
    with pytest.raises(MeshError, match=r"texture square\.png cannot be read"):
        load_mesh(tmp_path / "square.obj")
    (tmp_path / "square.mtl").unlink()
    with pytest.raises(MeshError, match=r"material square\.mtl is missing"):
        load_mesh(tmp_path / "square.obj")


def test_foreign_and_unknown_files_are_refused(tmp_path, colored):
    np.savez(tmp_path / "other.npz", vertices=colored.vertices, faces=colored.faces)
    with pytest.raises(MeshError, match="not a gp3d-mesh file"):
        load_mesh(tmp_path / "other.npz")
    np.savez(
        tmp_path / "later.npz", format="gp3d-mesh", version=99, vertices=colored.vertices, faces=colored.faces
    )
    with pytest.raises(MeshError, match="expected gp3d-mesh version 1, found 99"):
        load_mesh(tmp_path / "later.npz")
    with pytest.raises(MeshError, match="no such file"):
        load_mesh(tmp_path / "absent.obj")
    with pytest.raises(MeshError, match=r"expected a name ending in \.obj, \.glb"):
        save_mesh(colored, tmp_path / "mesh.fbx")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_full_disk_is_told_by_the_name_of_a_file_and_leaves_the_old_ones(tmp_path, colored, suffix, share):
    if suffix not in writable_formats():
        pytest.skip(f"the library of {suffix} is not installed")
    path = tmp_path / f"mesh.{suffix}"
    save_mesh(colored, path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with (
        files_end_at(int(share * path.stat().st_size)),
        pytest.raises(OSError, match=r"whole|large") as error,
    ):
        save_mesh(colored, path)
    assert error.value.filename == str(path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_file_names_its_licence(tmp_path, colored, suffix):
    """As plain text somewhere, packed or not, so that whoever looks can find it."""
    if suffix not in writable_formats():
        pytest.skip(f"the library of {suffix} is not installed")
    for recipe, licence in (({"license": "CC-BY-4.0"}, "CC-BY-4.0"), ({}, "unknown")):
        written = save_mesh(colored, tmp_path / f"mesh.{suffix}", recipe)
        for path in written:
            content = path.read_bytes()
            if suffix in ("npz", "3mf", "usdz"):
                with zipfile.ZipFile(path) as package:
                    content = b"".join(map(package.read, package.namelist())).replace(b"\0\0\0", b"")
            assert licence.encode() in content, path.name


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("coffee_mug-0003", "coffee_mug_0003"),
        ("a mug (copy)", "a_mug_copy"),
        ("Crème brûlée", "Creme_brulee"),
        ("3 mugs", "mesh_3_mugs"),
        ("茶碗", "mesh"),
        ("_-_", "mesh"),
        ("x.y", "x_y"),
    ],
)
def test_names_in_files_are_what_every_engine_takes(tmp_path, textured, stem, name):
    assert asset_name(stem) == name
    save_mesh(textured, tmp_path / f"{stem}.obj")
    text = (tmp_path / f"{stem}.obj").read_text()
    assert f"\no {name}\n" in text
    assert f"\nusemtl {name}\n" in text
    assert f"newmtl {name}\n" in (tmp_path / f"{stem}.mtl").read_text()
    assert np.array_equal(load_mesh(tmp_path / f"{stem}.obj").texture, textured.texture)


def test_a_failing_save_leaves_the_old_file_and_nothing_else(tmp_path, textured, colored):
    save_mesh(textured, tmp_path / "mesh.obj")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        save_mesh(textured, tmp_path / "mesh.obj", {"seed": object()})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": np.zeros((3, 3))}, "vertices must be float32"),
        ({"faces": np.array([[0, 1, 3]], np.int32)}, "faces name vertices 0 to 3, there are 3"),
        ({"faces": np.zeros((0, 3), np.int32)}, "at least one face"),
        ({"vertices": np.full((3, 3), np.nan, np.float32)}, "finite"),
        ({"texture": np.zeros((4, 4, 3), np.uint8)}, "needs uv"),
        (
            {"vertex_colors": np.zeros((2, 3), np.uint8)},
            r"vertex_colors must be uint8 \[3, 3\], found uint8 \[2, 3\]",
        ),
    ],
)
def test_mesh_refuses_arrays_that_do_not_fit(change, message):
    arrays = {"vertices": np.eye(3, dtype=np.float32), "faces": np.array([[0, 1, 2]], np.int32)}
    with pytest.raises(MeshError, match=message):
        Mesh(**(arrays | change))


@pytest.mark.parametrize(("kind", "largest"), [("<u2", 65535), ("<u4", 65535), ("<i4", 255)])
def test_ply_colors_of_more_than_8_bits_keep_their_upper_ones(tmp_path, kind, largest):
    names = ("x", "y", "z", "red", "green", "blue")
    table = np.zeros(4, dtype=[(name, "<f4" if name in "xyz" else kind) for name in names])
    table["x"], table["y"], table["z"] = np.eye(4)[:3]
    values = np.array([0, largest // 5, 2 * (largest // 5), largest])
    for name in names[3:]:
        table[name] = values
    words = {"<u2": "ushort", "<u4": "uint", "<i4": "int"}
    lines = [f"property {'float' if name in 'xyz' else words[kind]} {name}\n" for name in names]
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex 4\n{''.join(lines)}element face 1\n"
    face = b"\x03" + np.array([0, 1, 2], "<i4").tobytes()
    path = tmp_path / "a.ply"
    path.write_bytes(
        head.encode() + b"property list uchar int vertex_indices\nend_header\n" + table.tobytes() + face
    )
    assert load_mesh(path).vertex_colors[:, 0].tolist() == [0, 51, 102, 255]


@pytest.mark.parametrize("suffix", [f".{name}" for name in FORMATS])
def test_a_number_that_is_none_in_a_recipe_is_null_in_every_file(tmp_path, textured, suffix):
    """As other readers of JSON demand; in GLB files it would make all of the file unreadable."""
    if suffix.removeprefix(".") not in writable_formats():
        pytest.skip("its library is not installed")
    recipe = {"psnr": float("nan"), "deeper": [{"iou": float("inf")}]}
    path = tmp_path / f"a{suffix}"
    save_mesh(textured if suffix not in (".stl", ".3mf") else _tetrahedron(), path, recipe)
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    assert not re.search(rb"\b(NaN|Infinity)\b", content)
    if suffix == ".glb":
        tree, _ = _glb_parts(path)
        assert tree["scenes"][0]["extras"]["gp3d"]["deeper"] == [{"iou": None}]
    saved = save_recipe(recipe, tmp_path / "a.recipe.json")
    assert json.loads(saved.read_text())["psnr"] is None


def _tetrahedron() -> Mesh:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    return Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32))

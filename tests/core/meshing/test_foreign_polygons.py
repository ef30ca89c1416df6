"""Polygons and corner numbers of OBJ and PLY files as other programs write them."""

import re

import numpy as np
import plyfile
import pytest
from PIL import Image
from shapely import Point, Polygon

from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import MeshError

ARROW = [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]
COMB = [(0, 0), (7, 0), (7, 3), (6, 3), (6, 1), (5, 1), (5, 3), (4, 3), (4, 1), (3, 1), (3, 3), (0, 3)]
KITE = [(0, 0), (4, 1), (0, 2), (1, 1)]
TILTED = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


def corners_of(mesh):
    return mesh.vertices.astype(np.float64)[mesh.faces]


def areas(mesh, normal):
    """Signed areas of the triangles as seen against `normal`."""
    a, b, c = corners_of(mesh).transpose(1, 0, 2)
    return np.cross(b - a, c - a) @ normal / 2


def written(folder, suffix, outline, first, backwards):
    """A file of one polygon in a tilted plane that begins with a certain corner."""
    order = np.roll(np.arange(len(outline)), -first)[:: -1 if backwards else 1].tolist()
    places = np.pad(np.array(outline, float), ((0, 0), (0, 1))) @ TILTED.T
    path = folder / f"a{suffix}"
    if suffix == ".obj":
        lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in places.tolist()]
        path.write_text("\n".join([*lines, f"f {' '.join(str(k + 1) for k in order)}"]) + "\n")
        return path
    vertex = np.array([tuple(row) for row in places], [(axis, "f4") for axis in "xyz"])
    face = np.array([(order,)], [("vertex_indices", "O")])
    elements = [plyfile.PlyElement.describe(vertex, "vertex"), plyfile.PlyElement.describe(face, "face")]
    plyfile.PlyData(elements, text=suffix == ".ply text").write(path)
    return path


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("outline", [ARROW, COMB, KITE], ids=["arrow", "comb", "kite"])
@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_a_polygon_that_is_not_convex_is_covered_once(tmp_path, suffix, outline, backwards):
    normal = TILTED @ np.array([0, 0, -1 if backwards else 1]) * np.linalg.det(TILTED)
    for first in range(len(outline)):
        mesh = load_mesh(written(tmp_path, suffix, outline, first, backwards))
        found = areas(mesh, normal) * np.linalg.det(TILTED)
        assert len(mesh.faces) == len(outline) - 2
        assert found.min() > -1e-5, "all wound as the polygon is"
        assert found.sum() == pytest.approx(Polygon(outline).area, abs=1e-5)
        middles = corners_of(mesh).mean(axis=1) @ TILTED[:, :2]
        assert all(Polygon(outline).buffer(1e-5).covers(Point(middle)) for middle in middles)


def test_convex_polygons_stay_as_they_were(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0\nv 2 0 0\nv 2 1 0\nv 1 2 0\nv 0 1 0\nf 1 2 3 4 5\n")
    assert load_mesh(path).faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4]]


def test_quads_that_are_bent_or_cross_themselves_keep_two_triangles(tmp_path):
    path = tmp_path / "a.obj"
    for bend in (0, 0.5, 3):
        path.write_text(f"v 0 0 0\nv 1 0 {bend}\nv 0 1 0\nv 1 1 {bend}\nf 1 2 3 4\nf 1 2 4 3\n")
        assert len(load_mesh(path).faces) == 4


def test_numbers_that_count_back_from_their_line(tmp_path):
    path = tmp_path / "a.obj"
    block = (
        "v {0} 0 0\nv {0} 1 0\nv {0} 0 1\nvt 0 0\nvt 1 0\nvt 0 1\nvn 1 0 0\nf -3/-3/-1 -2/-2/-1 -1/-1/-1\n"
    )
    path.write_text("".join(block.format(x) for x in range(3)) + "f 1/1/1 \\\n 2/2/1 6/6/2\n")
    mesh = load_mesh(path)
    found = corners_of(mesh)
    assert found[:3, :, 0].tolist() == [[x] * 3 for x in range(3)]
    assert found[3].tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert mesh.uv[mesh.faces].tolist() == [[[0, 0], [1, 0], [0, 1]]] * 4


def test_corners_of_cut_polygons_keep_their_texture(tmp_path):
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd a.png\n")
    Image.new("RGB", (4, 4), (9, 99, 0)).save(tmp_path / "a.png")
    lines = [
        "mtllib a.mtl",
        "usemtl m",
        *(f"v {x} {y} 0" for x, y in ARROW),
        *(f"vt {x / 4} {y / 4}" for x, y in ARROW),
    ]
    (tmp_path / "a.obj").write_text("\n".join([*lines, "f 3/3 4/4 5/5 1/1 2/2"]) + "\n")
    mesh = load_mesh(tmp_path / "a.obj")
    assert (mesh.texture == [9, 99, 0]).all()
    np.testing.assert_array_equal(mesh.uv * 4, mesh.vertices[:, :2])
    assert np.abs(areas(mesh, [0, 0, 1])).sum() == 10


@pytest.mark.parametrize("form", ["<", ">", "="])
def test_colours_and_coordinates_of_polygons_in_ply(tmp_path, form):
    vertex = np.array([(*place, 0) for place in ARROW], [(axis, "f4") for axis in "xyz"])
    uv = [coordinate / 4 for k in (2, 3, 4, 0, 1) for coordinate in ARROW[k]]
    kinds = [("vertex_indices", "O"), ("texcoord", "O"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    face = np.array([([2, 3, 4, 0, 1], uv, 255, 0, 0), ([0, 1, 2], [0.0] * 6, 0, 9, 0)], kinds)
    lengths = {"vertex_indices": "u1", "texcoord": "u1"}
    types = {"vertex_indices": "i4", "texcoord": "f4"}
    elements = [
        plyfile.PlyElement.describe(vertex, "vertex"),
        plyfile.PlyElement.describe(face, "face", len_types=lengths, val_types=types),
    ]
    data = plyfile.PlyData(elements, text=form == "=", byte_order=form)
    data.write(tmp_path / "a.ply")
    mesh = load_mesh(tmp_path / "a.ply")
    assert areas(mesh, [0, 0, 1])[:3].sum() == 10
    assert mesh.vertex_colors[mesh.faces].tolist() == [[[255, 0, 0]] * 3] * 3 + [[[0, 9, 0]] * 3]
    Image.new("RGB", (4, 4), (9, 99, 0)).save(tmp_path / "a.png")
    data.comments = ["TextureFile a.png"]
    data.write(tmp_path / "a.ply")
    mesh = load_mesh(tmp_path / "a.ply")
    np.testing.assert_allclose(mesh.uv[mesh.faces][:3] * 4, corners_of(mesh)[:3, :, :2])


def test_polygons_of_no_area_and_corners_that_are_none_are_left_to_the_reader(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nv 3 0 0\nf 1 2 3 4\n")
    assert len(load_mesh(path).faces) == 2
    for numbers, why in (
        ("1 2 3 9", "not a readable .obj file"),
        ("1 2 3 x", "not a readable .obj file"),
        ("-5 1 2", "a face with a corner -5 after 4 lines of its kind"),
        ("1 2 3 -5", "a face with a corner -5 after 4 lines of its kind"),
        ("1 0 2", "a face with a corner 0 after 4 lines of its kind"),
        ("1/-1 2 3", "a face with a corner 1/-1 after 0 lines of its kind"),
    ):
        path.write_text(f"v 0 0 0\nv 1 0 0\nv 2 0 1\nv 3 0 0\nf {numbers}\n")
        with pytest.raises(MeshError, match=re.escape(why)):
            load_mesh(path)


def test_a_face_that_would_take_for_ever_is_refused(tmp_path):
    count = 70_000
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radii = np.where(np.arange(count) % 2, 1.0, 0.5)
    lines = [f"v {r * np.cos(a):.6f} {r * np.sin(a):.6f} 0" for r, a in zip(radii, angles, strict=True)]
    path = tmp_path / "a.obj"
    path.write_text("\n".join([*lines, "f " + " ".join(map(str, range(1, count + 1)))]) + "\n")
    with pytest.raises(MeshError, match="faces of 70000 corners that are too intricate"):
        load_mesh(path)

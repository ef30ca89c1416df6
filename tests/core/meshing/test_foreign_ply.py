"""PLY files as other programs write them: mixed faces, colours beside coordinates, uncoloured objects."""

import numpy as np
import plyfile
import pytest
from PIL import Image

from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import MeshError

CORNERS = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 0, 0), (2, 1, 0.5)]
FACES = [([0, 1, 2, 3],), ([1, 4, 2],), ([4, 5, 2],)]
TRIANGLES = [[0, 1, 2], [0, 2, 3], [1, 4, 2], [2, 4, 5]]  # each from its least corner on
RED, BLANK = (255, 0, 0, 255), (0, 0, 0, 0)


def write(path, vertex=(), values=(), faces=FACES, comments=(), form="<", face=(), more=()):
    """A file of CORNERS with more properties `vertex` of `values`, and faces with more properties `face`."""
    rows = [(*corner, *value) for corner, value in zip(CORNERS, values or [()] * len(CORNERS), strict=True)]
    kinds = [(axis, "f4") for axis in "xyz"] + list(vertex)
    elements = [plyfile.PlyElement.describe(np.array(rows, kinds), "vertex")]
    table = np.array(faces, [("vertex_indices", "O"), *face])
    elements.append(plyfile.PlyElement.describe(table, "face", len_types={"vertex_indices": "u1"}))
    elements += [plyfile.PlyElement.describe(table, name) for name, table in more]
    plyfile.PlyData(elements, text=form == "=", byte_order=form, comments=list(comments)).write(path)
    return path


def colors(alpha=True):
    return [(name, "u1") for name in ("red", "green", "blue", "alpha")[: 3 + alpha]]


@pytest.mark.parametrize("form", ["<", ">", "="])
def test_quads_beside_triangles(tmp_path, form):
    edges = np.array([(0, 1)], [("vertex1", "i4"), ("vertex2", "i4")])
    values = [RED] * 3 + [(0, 9, 99, 255)] * 3
    mesh = load_mesh(write(tmp_path / "a.ply", colors(), values, form=form, more=[("edge", edges)]))
    assert mesh.vertices.tolist() == [list(corner) for corner in CORNERS]
    turned = [face[(least := face.index(min(face))) :] + face[:least] for face in mesh.faces.tolist()]
    assert sorted(turned) == sorted(TRIANGLES)
    assert mesh.vertex_colors.tolist() == [list(value[:3]) for value in values]


def test_colours_beside_texture_coordinates(tmp_path):
    places = [(corner[0] / 2, corner[1]) for corner in CORNERS]
    values = [(*place, *RED) for place in places]
    kinds = [("s", "f4"), ("t", "f4"), *colors()]
    mesh = load_mesh(write(tmp_path / "a.ply", kinds, values))
    assert mesh.vertex_colors.tolist() == [[255, 0, 0]] * 6
    Image.new("RGB", (4, 4), (0, 99, 0)).save(tmp_path / "green.png")
    mesh = load_mesh(write(tmp_path / "a.ply", kinds, values, comments=["TextureFile green.png"]))
    assert (mesh.texture == [0, 99, 0]).all()
    assert sorted(mesh.uv.tolist()) == sorted([list(place) for place in places])


def test_faces_of_an_object_without_colours_are_white(tmp_path):
    faces = [([0, 1, 3],), ([4, 5, 2],)]
    mesh = load_mesh(write(tmp_path / "a.ply", colors(), [RED, RED, BLANK, RED, BLANK, BLANK], faces))
    assert mesh.vertex_colors.tolist() == [[255, 0, 0]] * 2 + [[255] * 3, [255, 0, 0], [255] * 3, [255] * 3]
    values = [RED, RED, BLANK, BLANK, BLANK, BLANK]  # a fade into nothing keeps its black
    mesh = load_mesh(write(tmp_path / "a.ply", colors(), values, faces))
    assert mesh.vertex_colors[[0, 3, 4]].tolist() == [[255, 0, 0], [0, 0, 0], [255, 255, 255]]
    opaque = [(0, 0, 0, 255)] * 3
    mesh = load_mesh(write(tmp_path / "a.ply", colors(), [RED] * 3 + opaque, faces))
    assert mesh.vertex_colors[3:].tolist() == [[0, 0, 0]] * 3


def test_a_file_that_ends_amid_its_faces_is_refused_in_one_line(tmp_path):
    path = write(tmp_path / "a.ply")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(
        MeshError, match=r"a\.ply: not a readable \.ply file \(ValueError: it ends amid its element face\)"
    ):
        load_mesh(path)

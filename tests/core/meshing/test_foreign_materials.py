"""MTL files and the names in them as other programs and systems write them."""

import re
import time

import numpy as np
import pytest
from PIL import Image

from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import MeshError

ORANGE = [200, 50, 0]


def write(folder, statement, texture="wood.png", library="a.mtl", file="a.mtl", places=("0 0", "1 0", "0 1")):
    """An OBJ file whose material has that statement, beside a texture and a material file of these names."""
    (folder / texture).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), tuple(ORANGE)).save(folder / texture)
    (folder / file).write_text(f"newmtl w\nKd 1 1 1\n{statement}\n", encoding="utf-8")
    lines = [
        f"mtllib {library}",
        "usemtl w",
        "v 0 0 0",
        "v 1 0 0",
        "v 0 1 0",
        *(f"vt {place}" for place in places),
    ]
    (folder / "a.obj").write_text("\n".join([*lines, "f 1/1 2/2 3/3"]) + "\n", encoding="utf-8")
    return folder / "a.obj"


@pytest.mark.parametrize(
    ("statement", "texture"),
    [
        (r"map_Kd textures\wood.png", "textures/wood.png"),
        (r"map_Kd C:\Users\x\wood.png", "wood.png"),
        ("map_Kd /srv/x/wood.png", "wood.png"),
        ("map_Kd TEXTURES/Wood.PNG", "textures/wood.png"),
        ('map_Kd "my wood.png"', "my wood.png"),
        ("map_Kd -s 1 1 1 -o 0 0 0 -mm 0 1 my wood.png", "my wood.png"),
        ("map_Kd -s 1 wood.png", "wood.png"),
        ("map_Kd -clamp on -blendu off wood.png", "wood.png"),
        ("\tmap_kd\twood.png", "wood.png"),
    ],
)
def test_textures_by_the_names_of_other_systems(tmp_path, statement, texture):
    assert (load_mesh(write(tmp_path, statement, texture)).texture == ORANGE).all()


@pytest.mark.parametrize(("library", "file"), [(r".\A.MTL", "a.mtl"), (r"C:\x\my a.mtl", "my a.mtl")])
def test_libraries_by_the_names_of_other_systems(tmp_path, library, file):
    assert (load_mesh(write(tmp_path, "map_Kd wood.png", library=library, file=file)).texture == ORANGE).all()


def test_all_libraries_count(tmp_path):
    path = write(tmp_path, "map_Kd wood.png")
    (tmp_path / "first.mtl").write_text("newmtl other\nKd 0 1 0")
    path.write_text(f"mtllib first.mtl\n{path.read_text()}")
    assert (load_mesh(path).texture == ORANGE).all()


def test_names_that_leave_a_choice_or_the_folder_are_refused(tmp_path):
    inner = tmp_path / "inner"
    path = write(inner, "map_Kd WOOD.png")
    Image.new("RGB", (4, 4)).save(inner / "Wood.png")
    with pytest.raises(MeshError, match=re.escape("its texture WOOD.png cannot be read")):
        load_mesh(path)
    Image.new("RGB", (4, 4)).save(tmp_path / "outside.png")
    for name in (
        "../outside.png",
        r"..\outside.png",
        "../INNER/../outside.png",
        str(tmp_path / "outside.png"),
    ):
        with pytest.raises(MeshError, match="is no file in its folder or below"):
            load_mesh(write(inner, f"map_Kd {name}"))


@pytest.mark.parametrize(
    ("options", "move"),
    [
        ("-o 0.25 0.5 0 -s 2 3 1", [2, 3, 0.25, 0.5]),  # Blender 4.2.23 of a Mapping node with these
        ("-s 2", [2, 1, 0, 0]),
        ("-o -.5 -bm 1", [1, 1, -0.5, 0]),
    ],
)
def test_textures_that_are_moved_and_repeated(tmp_path, options, move):
    uv = load_mesh(write(tmp_path, f"map_Kd {options} wood.png")).uv
    np.testing.assert_allclose(uv, np.array([[0, 0], [1, 0], [0, 1]]) * move[:2] + move[2:])


def test_each_material_moves_its_own_texture(tmp_path):
    path = write(tmp_path, "map_Kd -s 0.5 0.5 wood.png\nnewmtl my other\nmap_Kd -o 0.5 0.5 wood.png")
    bands = Image.new("RGB", (4, 4))
    bands.paste((255, 0, 0), (0, 0, 4, 2))
    bands.save(tmp_path / "wood.png")
    path.write_text(path.read_text() + "usemtl my other\nv 0 0 1\nvt 0.1 0.1\nf 1/4 2/4 4/4\n")
    mesh = load_mesh(path)
    places = (np.mod(mesh.uv, 1) * [1, -1] + [0, 1]) * mesh.texture.shape[1::-1]
    column, row = places.astype(int).clip(0, np.array(mesh.texture.shape[1::-1]) - 1).T
    [other] = [face for face in mesh.faces if np.ptp(mesh.uv[face], axis=0).max() == 0]
    assert mesh.texture[row, column][other].tolist() == [[255, 0, 0]] * 3, "0.1 and one half: the upper half"
    [first] = [face for face in mesh.faces if np.ptp(mesh.uv[face], axis=0).max() > 0]
    sides = np.ptp(mesh.uv[first], axis=0) * mesh.texture.shape[1::-1]
    np.testing.assert_allclose(sides, [2, 2], atol=1e-5, err_msg="half of the picture, which has four texels")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [("-t 0.1 0.1", "-t 0.1 0.1"), ("-mm 0.2 1", "-mm 0.2 1"), ("-s 2 2 1 -clamp on", "-clamp on")],
)
def test_textures_that_options_change_otherwise_are_refused_by_name(tmp_path, options, wrong):
    with pytest.raises(
        MeshError, match=re.escape(f"changes the texture wood.png by {wrong}, which is not read")
    ):
        load_mesh(write(tmp_path, f"map_Kd {options} wood.png"))


def test_a_texture_that_ends_at_its_edge_is_read_where_nothing_lies_beyond(tmp_path):
    with pytest.raises(
        MeshError, match=r"ends a texture at its edge \(-clamp on\), and coordinates go on: vt 1\.5 0"
    ):
        load_mesh(write(tmp_path, "map_Kd -clamp on wood.png", places=("0 0", "1.5 0", "0 1")))
    assert (
        load_mesh(write(tmp_path, "map_Kd -clamp off wood.png", places=("0 0", "1.5 0", "0 1"))).texture
        is not None
    )


def test_of_two_materials_of_one_name_the_last_counts(tmp_path):
    uv = load_mesh(write(tmp_path, "map_Kd -s 2 2 wood.png\nnewmtl w\nmap_Kd wood.png")).uv
    np.testing.assert_array_equal(uv, [[0, 0], [1, 0], [0, 1]])


def test_blanks_without_end_take_no_time(tmp_path):
    begun = time.process_time()
    with pytest.raises(MeshError, match="File name too long"):
        load_mesh(write(tmp_path, f"map_Kd a{' ' * 200_000}b"))
    assert time.process_time() - begun < 5  # some minutes, where each blank is looked at from each

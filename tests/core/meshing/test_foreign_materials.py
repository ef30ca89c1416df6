"""MTL files and the names in them as other programs and systems write them."""

import re

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


@pytest.mark.parametrize("option", ["-s 2 2 1", "-o 0.5 0 0", "-t 0.1 0.1", "-mm 0.2 1"])
def test_textures_that_options_change_are_refused_by_name(tmp_path, option):
    with pytest.raises(
        MeshError, match=re.escape(f"changes the texture wood.png by {option}, which is not read")
    ):
        load_mesh(write(tmp_path, f"map_Kd {option} wood.png"))


def test_a_texture_that_ends_at_its_edge_is_read_where_nothing_lies_beyond(tmp_path):
    with pytest.raises(
        MeshError, match=r"ends a texture at its edge \(-clamp on\), and coordinates go on: vt 1\.5 0"
    ):
        load_mesh(write(tmp_path, "map_Kd -clamp on wood.png", places=("0 0", "1.5 0", "0 1")))
    assert (
        load_mesh(write(tmp_path, "map_Kd -clamp off wood.png", places=("0 0", "1.5 0", "0 1"))).texture
        is not None
    )

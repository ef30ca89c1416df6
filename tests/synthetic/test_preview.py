"""Pictures of meshes in our world frame: what Blender's own importer makes of colours, textures and orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from tests.synthetic import small_library as library

SIDE = 96
FRONT_RED, RIGHT_GREEN, TOP_BLUE = (200, 30, 30), (30, 150, 40), (40, 60, 200)
PLACES = [((0, 0, 0.3), FRONT_RED), ((0.3, 0, 0), RIGHT_GREEN), ((0, 0.3, 0), TOP_BLUE)]


def write_vertex_colored(path: Path) -> None:
    vertices, faces, base = [], [], 1
    for place, color in PLACES:
        cube = library.box(place, 0.14)
        numbers = [value / 255 for value in color]
        vertices += ["v {} {} {} {} {} {}".format(*vertex, *numbers) for vertex in cube.vertices]
        faces += ["f {} {} {}".format(*face + base) for face in cube.faces]
        base += len(cube.vertices)
    path.write_text("\n".join(vertices + faces) + "\n")


def write_textured(path: Path) -> None:
    """The same cubes; colours from a texture of three stripes, v up: red below, green between, blue on top."""
    stripes = np.repeat(np.array([TOP_BLUE, RIGHT_GREEN, FRONT_RED], np.uint8), 8, axis=0)
    Image.fromarray(np.tile(stripes[:, None], (1, 4, 1))).save(path.with_suffix(".png"))
    path.with_suffix(".mtl").write_text(f"newmtl paint\nKd 1 1 1\nmap_Kd {path.stem}.png\n")
    text, base = (
        [f"mtllib {path.stem}.mtl", "usemtl paint", *(f"vt 0.5 {(i + 0.5) / 3}" for i in range(3))],
        1,
    )
    for number, (place, _) in enumerate(PLACES):
        cube = library.box(place, 0.14)
        text += ["v {} {} {}".format(*vertex) for vertex in cube.vertices]
        text += [f"f {a}/{number + 1} {b}/{number + 1} {c}/{number + 1}" for a, b, c in cube.faces + base]
        base += len(cube.vertices)
    path.write_text("\n".join(text) + "\n")


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("preview")
    write_vertex_colored(folder / "vertices.obj")
    write_textured(folder / "texture.obj")
    run = library.run(
        folder / "scratch",
        "synthetic.preview",
        folder / "vertices.obj",
        folder / "texture.obj",
        folder / "out.png",
        "--resolution",
        SIDE,
        "--yaws",
        0,
        0.5,
        "--pitch",
        1.3,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list((folder / "scratch").iterdir()) == []
    return np.asarray(Image.open(folder / "out.png")).astype(int)


@pytest.mark.blender
@pytest.mark.slow
def test_sheet_has_a_row_for_each_mesh_and_a_column_for_each_yaw(sheet: np.ndarray) -> None:
    assert sheet.shape == (2 * SIDE, 2 * SIDE, 3)
    assert (sheet[0, 0] == 255).all()


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize(("column", "yaw"), [(0, 0.0), (1, 0.5)])
def test_colors_and_orientation_survive_blenders_import(
    sheet: np.ndarray, row: int, column: int, yaw: float
) -> None:
    image = sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
    pitch, focal = 1.3, (SIDE - 1) / 2 / np.tan(np.radians(20))
    turn = trimesh.transformations.euler_matrix(yaw, np.pi / 2 - pitch, 0, "syxz")[:3, :3]  # world to camera
    for place, color in PLACES:
        x, y, z = turn @ np.add(place, (0, 0, 0.07))
        pixel = image[
            round((SIDE - 1) / 2 - focal * y / (2 - z)), round((SIDE - 1) / 2 + focal * x / (2 - z))
        ]
        assert pixel.argmax() == np.argmax(color)
        assert 0.6 < pixel.max() / max(color) < 1.1


@pytest.mark.blender
@pytest.mark.slow
def test_vertex_colors_and_textures_mean_the_same_colors(sheet: np.ndarray) -> None:
    assert np.abs(sheet[:SIDE] - sheet[SIDE:]).max() <= 6
    assert np.abs(sheet[:SIDE] - sheet[SIDE:]).mean() < 0.1


@pytest.mark.blender
@pytest.mark.slow
def test_broken_mesh_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.obj").write_text("")
    run = library.run(tmp_path / "scratch", "synthetic.preview", tmp_path / "empty.obj", tmp_path / "out.png")
    assert run.returncode == 2
    assert run.stderr == f"error: {tmp_path / 'empty.obj'}: empty.obj is empty\n"
    assert not (tmp_path / "out.png").exists()

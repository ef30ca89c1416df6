"""The contact sheet of meshes: who stands where, in the right colours, and what becomes of broken ones."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic.contact import compose, first_of_each_class, main, of_classes
from synthetic.layouts.shapenet import LibraryError, load_library
from tests.synthetic import small_library as library
from tests.synthetic.test_preview import (
    FRONT_RED,
    RIGHT_GREEN,
    TOP_BLUE,
    write_textured,
    write_vertex_colored,
)

SIDE, HEAD, GAP = 64, 20, 14


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], np.ndarray]:
    """Sheet of two classes: cubes with vertex colours, far away and large; the same textured, and a broken file."""
    folder = tmp_path_factory.mktemp("contact")
    meshes = folder / "meshes"
    for name in ("tiny blocks", "Painted"):
        (meshes / name).mkdir(parents=True)
    write_vertex_colored(meshes / "tiny blocks/0.obj")
    moved = []
    for line in (meshes / "tiny blocks/0.obj").read_text().splitlines():
        word, *numbers = line.split()
        if word == "v":
            numbers = [str(30 * float(number) + 9) for number in numbers[:3]] + numbers[3:]
        moved.append(" ".join([word, *numbers]))
    (meshes / "tiny blocks/0.obj").write_text("\n".join(moved) + "\n")
    write_textured(meshes / "Painted/1.obj")
    (meshes / "Painted/0.obj").write_text("")
    (meshes / "Painted/2.dae").write_text("")
    options = ("--columns", 2, "--across", 2, "--resolution", SIDE, "--samples", 8, "--yaw", -0.3)
    run = library.run(folder / "scratch", "synthetic.contact", meshes, folder / "out.png", *options)
    assert list((folder / "scratch").iterdir()) == []
    return run, np.asarray(Image.open(folder / "out.png")).astype(int)


def cell(sheet: np.ndarray, block: int, column: int) -> np.ndarray:
    left = block * (2 * SIDE + GAP) + column * SIDE
    return sheet[HEAD : HEAD + SIDE, left : left + SIDE]


@pytest.mark.blender
@pytest.mark.slow
def test_every_mesh_stands_in_its_place(
    drawn: tuple[subprocess.CompletedProcess[str], np.ndarray],
) -> None:
    run, sheet = drawn
    assert (run.returncode, run.stdout) == (0, "")
    unused = "1 mesh files of the library are not used, such as Painted/2.dae (.dae is not read; convert it to .glb)"
    assert run.stderr == f"{unused}\nPainted/0: 0.obj is empty\n"
    assert sheet.shape == (HEAD + SIDE, 4 * SIDE + GAP, 3)
    for left in (0, 2 * SIDE + GAP):
        assert sheet[:HEAD, left : left + 2 * SIDE].min() < 128  # the name of the class
    broken, textured, vertices, nothing = (cell(sheet, *place) for place in ((0, 0), (0, 1), (1, 0), (1, 1)))
    assert (nothing == 255).all()
    assert 100 < broken.min() < 200  # a faint word
    assert np.ptp(broken, axis=-1).max() <= 1
    assert np.abs(textured - vertices).mean() < 0.3  # centred and of one size
    for color in (FRONT_RED, RIGHT_GREEN, TOP_BLUE):
        main_channel = int(np.argmax(color))
        others = np.delete(textured, main_channel, axis=-1).max(axis=-1)
        assert (textured[..., main_channel] > 50 + others).sum() > 20


def test_rows_hold_the_first_of_each_class_by_name(tmp_path: Path) -> None:
    for name in ("b/3.obj", "b/1.obj", "b/1.glb", "b/2.ply", "A_c/9.obj"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows = first_of_each_class(load_library(tmp_path), 2)
    assert list(rows) == ["A c", "b"]
    assert [model.key for model in rows["b"]] == ["b/1", "b/2"]
    five = {f"c{number}": [replace(rows["b"][0], key=f"c{number}")] for number in range(5)}
    pictures = {f"c{number}": np.full((SIDE, SIDE, 3), 40 * number, np.uint8) for number in range(5)}
    sheet = np.asarray(compose(five, pictures, columns=1, across=2, side=SIDE))
    assert sheet.shape == (3 * (SIDE + HEAD), 2 * SIDE + GAP, 3)
    middles = sheet[HEAD + SIDE // 2 :: SIDE + HEAD, [SIDE // 2, SIDE + GAP + SIDE // 2], 0]
    assert middles.T.tolist() == [[0, 40, 80], [120, 160, 255]]  # down first; the sixth place is empty


def test_only_some_classes(tmp_path: Path) -> None:
    for name in ("b/1.obj", "n03063599-coffee mug/9.obj", "n03797390/2.obj"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    models = load_library(tmp_path)
    assert [model.identifier for model in of_classes(models, "")] == ["1", "9", "2"]
    assert [model.identifier for model in of_classes(models, "Coffee_Mug, B")] == ["1", "9"]
    assert [model.identifier for model in of_classes(models, "n03797390")] == ["2"]
    with pytest.raises(LibraryError, match="no model is of the class 'spoon'"):
        of_classes(models, "b,spoon")


def test_long_names_keep_their_ends(tmp_path: Path) -> None:
    """Beside each other, none reaches into the next one's place."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/0.obj").touch()
    (model,) = load_library(tmp_path)
    named = {"a long beginning and an end": [model], "short": [model]}
    sheet = np.asarray(compose(named, {}, columns=1, across=2, side=SIDE))
    first, gap, second = (
        sheet[:HEAD, left:right]
        for left, right in ((0, SIDE), (SIDE, SIDE + GAP), (SIDE + GAP, 2 * SIDE + GAP))
    )
    assert first.min() < 128
    assert second.min() < 128
    assert (gap == 255).all()


@pytest.mark.blender
@pytest.mark.slow
def test_a_picture_a_class(tmp_path: Path) -> None:
    """Where the output is a folder: all meshes of each class, and glass where it is wanted."""
    for name in ("Painted/0.obj", "Painted/1.obj", "blocks/0.obj"):
        (tmp_path / "meshes" / name).parent.mkdir(parents=True, exist_ok=True)
        write_vertex_colored(tmp_path / "meshes" / name)
    options = ("--columns", 1, "--across", 3, "--resolution", SIDE, "--samples", 1, "--transparent", "opaque")
    run = library.run(
        tmp_path / "scratch", "synthetic.contact", tmp_path / "meshes", tmp_path / "out", *options
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    sizes = {path.name: Image.open(path).size for path in (tmp_path / "out").iterdir()}
    wide = 2 * SIDE + GAP
    assert sizes == {"Painted-Painted.png": (wide, SIDE + HEAD), "blocks-blocks.png": (SIDE, SIDE + HEAD)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere"], "no such folder"),
        (["meshes", "--columns", "0"], "--columns and --across must be 1 or more"),
        (["meshes", "--resolution", "1"], "resolution must lie between"),
        (["meshes", "--fov", "200"], "field of view must lie between"),
        (["meshes", "--pitch", "0"], "pitch must lie between"),
        (["meshes", "--classes", "spoon"], "no model is of the class 'spoon'"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "meshes/a").mkdir(parents=True)
    (tmp_path / "meshes/a/0.obj").touch()
    assert main([str(tmp_path / options[0]), str(tmp_path / "out.png"), *options[1:]]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert words in said


@pytest.mark.blender
@pytest.mark.slow
def test_nothing_to_draw_is_an_error_and_leaves_no_picture(tmp_path: Path) -> None:
    (tmp_path / "meshes/a").mkdir(parents=True)
    (tmp_path / "meshes/a/0.obj").touch()
    run = library.run(tmp_path / "scratch", "synthetic.contact", tmp_path / "meshes", tmp_path / "out.png")
    assert run.returncode == 2
    assert run.stderr.splitlines() == [
        "a/0: 0.obj is empty",
        f"error: {tmp_path / 'meshes'}: none of its 1 meshes could be drawn",
    ]
    assert not (tmp_path / "out.png").exists()

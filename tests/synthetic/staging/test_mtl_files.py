"""MTL files: where they and their pictures are found, and what becomes of those that are missing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.surface import Material
from tests.synthetic.staging.plain_files import (
    LENIENT,
    TRIANGLE,
    assert_seen_alike,
    obj,
    only,
    png,
    read,
    read_file,
)

RED = (200, 30, 10)
PICTURE = png([RED, RED], [RED, RED])
FACE = TRIANGLE + "usemtl m\nf 1/1 2/2 3/3\n"


@pytest.mark.parametrize(
    "statement",
    [
        "map_Kd ../images/t.png",
        "map_Kd ..\\images\\t.png",
        "map_kd\t../images/T.PNG",
        "map_Kd t.png",
        "map_Kd -s 2 2 1 -o 0.5 0 ../images/t.png",
        "map_Kd ../../somebody/images/t.png",
        "map_Kd C:\\art\\t.png",
        'map_Kd "../images/t.png"',
        "map_Kd t.png # bark",
    ],
)
def test_textures_are_found_whatever_their_spelling(tmp_path: Path, statement: str) -> None:
    files = {"m.obj": f"mtllib m.mtl\n{FACE}", "m.mtl": f"newmtl m\n{statement}\n", "images/t.png": PICTURE}
    assert read(tmp_path, files).materials[0].color_texture is not None


def test_textures_may_lie_beside_the_model_and_materials_below_it(tmp_path: Path) -> None:
    for place, name in (("t.png", "t.png"), ("art/t.png", "art\\t.png"), ("mtl/t.png", "t.png")):
        files = {
            "m.obj": f"mtllib mtl/m.mtl\n{FACE}",
            "mtl/m.mtl": f"newmtl m\nmap_Kd {name}\n",
            place: PICTURE,
        }
        assert read(tmp_path / place, files).materials[0].color_texture is not None


def test_textures_may_lie_in_a_folder_beside_the_models(tmp_path: Path) -> None:
    """As in archives with the folders source and textures, whose paths are those of the maker's machine."""
    (tmp_path / "source").mkdir()
    (tmp_path / "textures").mkdir()
    (tmp_path / "textures/t.png").write_bytes(PICTURE)
    (tmp_path / "source/m.obj").write_text(f"mtllib m.mtl\n{FACE}")
    (tmp_path / "source/m.mtl").write_text("newmtl m\nmap_Kd D:\\art\\t.png\n")
    model = read_file(tmp_path / "source/m.obj", root=tmp_path)
    assert model.materials[0].color_texture is not None
    with pytest.raises(BrokenModelError, match=r"texture t\.png is missing from the model's folder"):
        read_file(tmp_path / "source/m.obj")


@pytest.mark.parametrize(
    "name", ["my wood.png", "my  wood.png", "2 3.png", "-s.png", "té.png", "a#b.png", "t (1).png", "TÉ.PNG"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_of_pictures(tmp_path: Path, name: str, encoding: str) -> None:
    text = f"newmtl m\nmap_Kd -clamp off {name.replace('TÉ.PNG', 'té.png')}\n".encode(encoding)
    made = read(tmp_path, {"m.obj": f"mtllib m.mtl\n{FACE}", "m.mtl": text, name: PICTURE})
    assert made.materials[0].color_texture is not None


@pytest.mark.parametrize("disk", [b"t\xe9.png", b"t\xc3\xa9.png", b"te\xcc\x81.png", b"T\xc3\x89.PNG"])
def test_names_of_pictures_in_old_archives_and_from_macos(tmp_path: Path, disk: bytes) -> None:
    """The same é in latin-1, in UTF-8, taken apart, and as a capital."""
    path = tmp_path / "model" / os.fsdecode(disk)
    path.parent.mkdir()
    path.write_bytes(PICTURE)
    for encoding in ("utf-8", "latin-1"):
        files = {"m.obj": f"mtllib m.mtl\n{FACE}", "m.mtl": "newmtl m\nmap_Kd té.png\n".encode(encoding)}
        assert read(tmp_path, files).materials[0].color_texture is not None
    path.write_bytes(b"no picture")
    with pytest.raises(BrokenModelError, match=r"(?i)texture té\.png is missing or unreadable"):
        read(tmp_path, files)


@pytest.mark.parametrize(
    ("statement", "files"),
    [
        ("mtllib m.mtl", ["m.mtl"]),
        ("mtllib other.mtl m.mtl", ["m.mtl", "other.mtl"]),
        ("mtllib other.mtl\nmtllib m.mtl", ["m.mtl", "other.mtl"]),
        ("mtllib my wood.mtl", ["my wood.mtl"]),
        ("mtllib other.mtl my nice wood.mtl gone.mtl", ["my nice wood.mtl", "other.mtl"]),
        ('mtllib "my wood.mtl" other.mtl', ["my wood.mtl", "other.mtl"]),
        ("mtllib .\\M.MTL", ["m.mtl"]),
        ("mtllib gone.mtl", ["m.mtl"]),  # a file renamed with its OBJ
        ("", ["m.mtl"]),
        ("mtllib é.mtl", ["é.mtl"]),
    ],
)
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_names_of_material_files(tmp_path: Path, statement: str, files: list[str], start: str) -> None:
    contents = [start + "newmtl m\nKd 1 0 0\n", start + "newmtl other\nKd 0 1 0\n"]
    written = dict(zip(files, contents, strict=False))
    model = read(tmp_path, {"m.obj": f"{statement}\n{FACE}", **written})
    assert [made.color for made in model.materials] == [(1, 0, 0)]


@pytest.mark.parametrize(
    ("used", "defined"),
    [
        ("old  oak \\ 2", "old  oak \\ 2"),
        ("M", "m"),
        ("é", "é"),
        ('"m"', "m"),
        ("m\t", "m"),
        ("None", "None"),
        ("m # the bark", "m"),
        ("m", "m # the bark"),
        ("Material #25", "Material #25"),
    ],
)
def test_names_of_materials(tmp_path: Path, used: str, defined: str) -> None:
    text = f"mtllib m.mtl\n{TRIANGLE}usemtl {used}\nf 1 2 3\n"
    for encoding in ("utf-8", "latin-1"):
        mtl = f"newmtl {defined}\nKd 1 0 0\n".encode(encoding)
        assert read(tmp_path, {"m.obj": text, "m.mtl": mtl}).materials[0].color == (1, 0, 0)


def test_names_that_differ_by_capitals_only_are_two(tmp_path: Path) -> None:
    text = f"mtllib m.mtl\n{TRIANGLE}usemtl wood\nf 1 2 3\nusemtl Wood\nf 1 2 3\n"
    model = obj(tmp_path, text, "newmtl Wood\nKd 1 0 0\nnewmtl wood\nKd 0 1 0\n")
    assert [model.materials[k].color for k in only(model).material] == [(0, 1, 0), (1, 0, 0)]


@pytest.mark.parametrize(
    ("text", "mtl", "reason"),
    [
        ("mtllib gone.mtl\nusemtl m\n", {}, r"material file gone\.mtl is missing"),
        ("usemtl m\n", {}, "material m is missing"),
        ("mtllib a.mtl\nusemtl M #2\n", {"a.mtl": "newmtl M #1\n"}, "material M #2 is missing"),
        ("mtllib a.mtl\nusemtl n\n", {"a.mtl": "newmtl m\n"}, "material n is missing"),
        ("mtllib a.mtl b.mtl\nusemtl n\n", {"a.mtl": "newmtl m\n"}, r"material file b\.mtl is missing"),
        ("mtllib a.mtl\nusemtl m\n", {"a.mtl": "newmtl m\nmap_Kd\n"}, r"texture \(no name\) is missing"),
    ],
)
def test_materials_that_are_missing_fail_or_are_counted(
    tmp_path: Path, text: str, mtl: dict[str, str], reason: str
) -> None:
    files = {"m.obj": f"{TRIANGLE}{text}f 1/1 2/2 3/3\n", **mtl}
    with pytest.raises(BrokenModelError, match=reason):
        read(tmp_path, files)
    model = read(tmp_path, files, LENIENT)
    assert [made.color for made in model.materials] == [(0.8, 0.8, 0.8)]
    assert sum(model.notes.values()) == 1


@pytest.mark.parametrize("name", ["None", "(null)", ""])
def test_no_material_is_promised_by_what_exporters_write_for_none(tmp_path: Path, name: str) -> None:
    assert not obj(tmp_path, f"mtllib gone.mtl\n{TRIANGLE}usemtl {name}\nf 1 2 3\n").notes


def test_what_no_face_uses_may_be_missing(tmp_path: Path) -> None:
    mtl = "newmtl m\nKd 1 0 0\nnewmtl other\nmap_Kd gone.png\n"
    assert not obj(tmp_path, f"mtllib m.mtl gone.mtl\n{TRIANGLE}usemtl gone\nusemtl m\nf 1 2 3\n", mtl).notes


def test_a_texture_without_coordinates_is_a_promise_not_kept(tmp_path: Path) -> None:
    for corners in ("1 2 3", "1/1 2/9 3/1"):
        text = f"mtllib m.mtl\n{TRIANGLE}usemtl m\nf {corners}\n"
        with pytest.raises(BrokenModelError, match="a texture but no place in it"):
            obj(tmp_path, text, "newmtl m\nmap_Kd t.png\n", t=PICTURE)
        notes = obj(tmp_path, text, "newmtl m\nmap_Kd t.png\n", LENIENT, t=PICTURE).notes
        assert notes == {"faces without texture coordinates": 1}
        assert not obj(tmp_path, text, "newmtl m\nKd 1 0 0\n").notes


@pytest.mark.parametrize("wrong", ["1e9 0", "0 -3e12"])
def test_texture_coordinates_of_no_sense_are_counted(tmp_path: Path, wrong: str) -> None:
    """The face has one place in the texture; its neighbour, and coordinates that repeat it often, are as they were."""
    text = f"mtllib m.mtl\n{TRIANGLE}vt {wrong}\nvt 9000 -70000\nusemtl m\nf 1/1 2/2 3/4\nf 1/2 2/5 3/3\n"
    model = obj(tmp_path, text, "newmtl m\nmap_Kd t.png\n", t=PICTURE)
    assert model.notes == {"faces with nonsense for texture coordinates": 1}
    (part,) = model.parts
    assert part.uvs[0].tolist() == [[[0, 0]] * 3, [[1, 0], [9000, -70000], [0, 1]]]
    assert not obj(tmp_path, text, "newmtl m\nKd 1 0 0\n").notes


def test_keywords_may_be_capitals(tmp_path: Path) -> None:
    mtl = "newmtl m\nKd 1 0 0\n"
    model = obj(tmp_path, f"MTLLIB m.mtl\n{TRIANGLE}Usemtl m\nf 1 2 3\n", mtl)
    assert model.materials[0].color == (1, 0, 0)


def test_the_order_of_statements_does_not_matter(tmp_path: Path) -> None:
    mtl = "newmtl m\nmap_Kd t.png\n"
    first = obj(tmp_path, f"mtllib m.mtl\n{FACE}", mtl, t=PICTURE)
    last = obj(tmp_path, f"{FACE}mtllib m.mtl\n", mtl, t=PICTURE)
    assert_seen_alike(last, first)


@pytest.mark.parametrize(
    "name", ["gone.png", "bad.png", "cut.png", "pipe.png", "", "a" * 5000, "nul\0.png", ".", ".."]
)
def test_missing_and_unreadable_textures_fail_or_give_way_to_the_plain_color(
    tmp_path: Path, name: str
) -> None:
    whole = png(*np.random.default_rng(0).integers(0, 255, (64, 64)).tolist())
    files: dict[str, str | bytes] = {
        "m.obj": f"mtllib m.mtl\n{FACE}",
        "m.mtl": f"newmtl m\nKd 0 1 0\nmap_Kd -s 1 1 1 {name}\n",
        "bad.png": "no picture",
        "cut.png": whole[:90],
    }
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model/pipe.png")
    with pytest.raises(BrokenModelError, match="missing"):
        read(tmp_path, files)
    model = read(tmp_path, files, LENIENT)
    assert model.materials == (Material("m", color=(0, 1, 0)),)
    assert model.notes == {"missing textures replaced by the plain colour": 1}


def test_formats_other_than_png_are_converted(tmp_path: Path) -> None:
    files = {
        "m.obj": f"mtllib m.mtl\n{FACE}",
        "m.mtl": "newmtl m\nmap_Kd images/t.gif\n",
        "images/t.gif": png([RED], kind="GIF"),
    }
    texture = read(tmp_path, files).materials[0].color_texture
    assert texture is not None
    with Image.open(texture.path) as picture:
        assert (picture.format, picture.convert("RGB").getpixel((0, 0))) == ("PNG", RED)

"""MTL files: what they make of a material, and where their pictures are found."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic.library.shapenet import BrokenModelError
from synthetic.staging.surface import Material
from tests.synthetic.staging.plain_files import (
    LENIENT,
    TRIANGLE,
    assert_seen_alike,
    material,
    obj,
    only,
    png,
    read,
)

RED, GREY = (200, 30, 10), 128
PICTURE = png([RED, RED], [RED, RED])
LEAF = png([(0, 200, 0, 255), (0, 0, 0, 0)], [(0, 200, 0, 255), (0, 200, 0, 255)])
GLASS = png([(0, 200, 0, 100), (0, 200, 0, 130)])
FACE = TRIANGLE + "usemtl m\nf 1/1 2/2 3/3\n"

# metallic, roughness and specular level of Blender 4.2's importer of OBJ files, read from its sockets; the level times
# what the index of refraction reflects, ((n - 1) / (n + 1))² / 0.04, is what we keep
IN_BLENDER = {
    "": (0, 1, 0, 1.5),
    "Ns 250\nKs .5 .5 .5": (0, 0.5, 0.5, 1.5),
    "Ns 250\nKs .5 .5 .5\nillum 1": (0, 0.5, 0.5, 1.5),
    "Ns 250\nKs .5 .5 .5\nKa .3 .3 .3\nillum 3": (0.3, 0.5, 0.5, 1.5),
    "Ns 250\nKs .5 .5 .5\nillum 3": (1, 0.5, 0.5, 1.5),
    "illum 2": (0, 0, 1, 1.5),
    "Ks 0 0 0\nillum 2": (0, 0, 0, 1.5),
    "illum 4": (1, 1, 0, 1.5),
    "illum 5": (1, 1, 0, 1.5),
    "illum 6": (1, 1, 0, 1),
    "illum 7\nNi 1.4\nKs .2 .2 .2": (1, 1, 0.2, 1.4),
    "illum 8": (1, 1, 0, 1.5),
    "illum 9": (0, 1, 0, 1.5),
    "illum 10": (0, 1, 0, 1.5),
    "Ns 0": (0, 1, 0, 1.5),
    "Ns 10": (0, 0.9, 0, 1.5),
    "Ns 2000": (0, 0, 0, 1.5),
    "Ks .9 .1 .3": (0, 1, 0.4333, 1.5),
    "Ks 1 1 1\nNi 1": (0, 1, 1, 1),
    "Ks .5 .5 .5\nNi 1.33": (0, 1, 0.5, 1.33),
    "Pr .3\nPm .7": (0.7, 0.3, 0, 1.5),
    "Pr .3\nPm .7\nKs .2 .2 .2\nNs 100\nillum 3": (0.7, 0.3, 0.2, 1.5),
    "Ka .1 .2 .3": (0, 1, 0, 1.5),
}


@pytest.mark.parametrize("mtl", IN_BLENDER)
def test_gloss_is_that_of_blender(tmp_path: Path, mtl: str) -> None:
    made = material(tmp_path, mtl)
    metallic, roughness, level, index = IN_BLENDER[mtl]
    assert made.metallic == pytest.approx(metallic, abs=1e-4)
    assert made.roughness == pytest.approx(roughness, abs=1e-4)
    assert made.specular == pytest.approx(level * ((index - 1) / (index + 1)) ** 2 / 0.04, abs=1e-4)


@pytest.mark.parametrize(
    ("mtl", "color"),
    [
        ("", (0.8, 0.8, 0.8)),
        ("Kd .2 .4 .6", (0.2, 0.4, 0.6)),
        ("kD .2 .4 .6", (0.2, 0.4, 0.6)),
        ("\tKd\t.2  .4 .6  # wood", (0.2, 0.4, 0.6)),
        ("Kd .2 .4 \\\n.6", (0.2, 0.4, 0.6)),
        ("Kd 0.3", (0.3, 0.3, 0.3)),
        ("Kd 255 51 0", (1, 0.2, 0)),
        ("Kd 1.2 -1 .5", (1, 0, 0.5)),
        ("Kd nan 0 0", (0.8, 0.8, 0.8)),
        ("Kd spectral file.rfl 1", (0.8, 0.8, 0.8)),
        ("Kd .2 .4 .6\nKd 1 1 1", (0.2, 0.4, 0.6)),
        ("Kd .2 .4 .6\nnewmtl m\nKd 1 1 1", (0.2, 0.4, 0.6)),
        ("nonsense\nKd .2 .4 .6\nTf 1 1 1\nsharpness 60", (0.2, 0.4, 0.6)),
    ],
)
def test_colour(tmp_path: Path, mtl: str, color: tuple[float, ...]) -> None:
    assert material(tmp_path, mtl).color == pytest.approx(color)


@pytest.mark.parametrize("factor", ["", "Kd 0 0 0", "Kd 0.5 0.5 0.5", "Kd 1 1 1"])
def test_a_picture_replaces_the_number_beside_it(tmp_path: Path, factor: str) -> None:
    made = material(tmp_path, f"{factor}\nmap_Kd t.png", t=PICTURE)
    assert made.color == (1, 1, 1)
    assert made.color_texture is not None
    assert Image.open(made.color_texture.path).getpixel((0, 0)) == RED


def test_emission(tmp_path: Path) -> None:
    assert material(tmp_path, "Ke 1 2 0.5").emission == (1, 2, 0.5)
    made = material(tmp_path, "Ke 0 0 0\nmap_Ke t.png", t=PICTURE)
    assert (made.emission, made.emission_texture is not None) == ((1, 1, 1), True)


@pytest.mark.parametrize(
    ("mtl", "alpha", "opacity"),
    [
        ("d 0.4", "blend", 0.4),
        ("d -halo 0.4", "blend", 0.4),
        ("d 1", "opaque", 1),
        ("d 0", "blend", 0),
        ("Tr 0", "opaque", 1),
        ("Tr 1.000", "opaque", 1),
        ("Tr 0.7", "blend", 0.3),
        ("Tr 0.7\nd 1", "opaque", 1),
        ("d 1\nTr 1", "opaque", 1),
        ("d 0.2\nTr 0", "blend", 0.2),
        ("Tr 5", "opaque", 1),
        ("d nan\nTr 0.5", "blend", 0.5),
    ],
)
def test_transparency(tmp_path: Path, mtl: str, alpha: str, opacity: float) -> None:
    made = material(tmp_path, mtl)
    assert (made.alpha, made.opacity) == (alpha, pytest.approx(opacity))


@pytest.mark.parametrize(
    ("option", "content", "alpha", "expected"),
    [
        ("", png([255, 255]), "opaque", None),
        ("", png([(255,) * 4] * 2), "opaque", None),
        ("", png([0, 255]), "mask", [0, 255]),
        ("", png([0, 100]), "blend", [0, 100]),
        ("", png([(9, 9, 9, 0), (9, 9, 9, 255)]), "mask", [0, 255]),
        ("", png([(0, 0, 0, 255), (255, 255, 255, 255)]), "mask", [0, 255]),
        ("-imfchan r", png([(0, 99, 99), (50, 99, 99)]), "blend", [0, 50]),
        ("-imfchan b", png([(1, 2, 3, 200), (1, 2, 4, 200)]), "blend", [3, 4]),
        ("-imfchan m", png([(1, 2, 3, 200), (1, 2, 4, 100)]), "blend", [200, 100]),
        ("-imfchan l", png([(0, 0, 0, 200), (100, 100, 100, 100)]), "blend", [0, 100]),
    ],
)
def test_a_map_of_transparency(
    tmp_path: Path, option: str, content: bytes, alpha: str, expected: list[int] | None
) -> None:
    made = material(tmp_path, f"d 0.5\nmap_Kd t.png\nmap_d {option} a.png", t=PICTURE, a=content)
    assert (made.alpha, made.opacity) == (alpha, 1)
    assert (made.alpha_texture is None) == (expected is None)
    if made.alpha_texture is not None:
        with Image.open(made.alpha_texture.path) as picture:
            assert picture.mode == "LA"
            assert np.asarray(picture)[0, :, 1].tolist() == expected


@pytest.mark.parametrize("kept", [png([RED, RED]), png([(*RED, 255)] * 2), png([9, 200])])
def test_the_colours_named_again_for_their_alpha_are_opaque_without_one(tmp_path: Path, kept: bytes) -> None:
    made = material(tmp_path, "map_Kd t.png\nmap_d t.png", t=kept)
    assert (made.alpha, made.alpha_texture) == ("opaque", None)
    assert material(tmp_path, "map_Kd t.png\nmap_d copy.png", t=kept, copy=kept).alpha == "opaque"
    assert material(tmp_path, "map_Kd t.png\nmap_d -imfchan l t.png", t=kept).alpha == "blend"
    assert material(tmp_path, "map_Kd t.png\nmap_d t.png", t=LEAF).alpha == "mask"


def test_alpha_of_the_colour_cuts_only_what_it_cuts_out(tmp_path: Path) -> None:
    made = material(tmp_path, "map_Kd t.png", t=LEAF)
    assert (made.alpha, made.alpha_texture, made.opacity) == ("mask", None, 1)
    assert material(tmp_path, "map_Kd t.png", t=PICTURE).alpha == "opaque"
    model = obj(tmp_path, f"mtllib m.mtl\n{FACE}", "newmtl m\nmap_Kd t.png\n", t=GLASS)
    assert (model.materials[0].alpha, model.notes) == ("opaque", {"alpha of colour textures ignored": 1})
    assert material(tmp_path, "map_Kd t.png\nd 0.4", t=LEAF).alpha == "blend"


def test_maps_of_metal_and_roughness_become_one_picture(tmp_path: Path) -> None:
    made = material(tmp_path, "map_Pr r.png\nmap_Pm p.png\nPr 0.1\nPm 0.2", r=png([10, 20]), p=png([200]))
    assert (made.roughness, made.metallic) == (1, 1)
    assert made.metallic_roughness_texture is not None
    pixels = np.asarray(Image.open(made.metallic_roughness_texture.path))
    assert pixels[0, :, 1:].tolist() == [[10, 200], [20, 200]]
    made = material(tmp_path, "Pm 0.25\nmap_Pr r.png", r=png([10, 20]))
    assert (made.roughness, made.metallic) == (1, 0.25)
    assert made.metallic_roughness_texture is not None
    assert np.asarray(Image.open(made.metallic_roughness_texture.path))[0, :, 2].tolist() == [255, 255]


def test_maps_that_are_left_out_are_counted(tmp_path: Path) -> None:
    mtl = "newmtl m\nmap_Ka gone.png\nmap_Ns gone.png\nmap_bump -bm 1 gone.png\nbump gone.png\n"
    model = obj(tmp_path, f"mtllib m.mtl\n{FACE}", mtl)
    assert model.notes == {"gloss and relief maps ignored": 3}


def test_options_move_the_picture(tmp_path: Path) -> None:
    mtl = (
        "newmtl a\nmap_Kd -s 2 3 1 -o .25 .5 0 t.png\nmap_Ke t.png\n"
        "newmtl b\nmap_Kd -clamp on -o 0.5 -mm 0 1 -texres 512 -blendu off t.png\n"
    )
    text = f"mtllib m.mtl\n{TRIANGLE}usemtl a\nf 1/1 2/2 3/3\nusemtl b\nf 1/1 2/2 3/3\n"
    model = obj(tmp_path, text, mtl, t=PICTURE)
    one, two = model.materials
    assert one.color_texture is not None
    assert one.emission_texture is not None
    assert two.color_texture is not None
    assert (one.color_texture.wrap, two.color_texture.wrap) == (("repeat", "repeat"), ("clamp", "clamp"))
    base = np.array([[0, 0], [1, 0], [0, 1]])
    layers = only(model).uvs
    np.testing.assert_allclose(layers[one.color_texture.uv_layer][0], base * [2, 3] + [0.25, 0.5])
    np.testing.assert_allclose(layers[one.emission_texture.uv_layer][0], base)
    np.testing.assert_allclose(layers[two.color_texture.uv_layer][1], np.add(base, (0.5, 0)))


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

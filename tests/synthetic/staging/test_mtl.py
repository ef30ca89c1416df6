"""MTL files: what they make of a material."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic.staging.plain_files import (
    TRIANGLE,
    material,
    obj,
    only,
    png,
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
        ("Kd 0,2 0,4 0,6", (0.2, 0.4, 0.6)),
        ("Kd .2, .4, .6", (0.2, 0.4, 0.6)),
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


@pytest.mark.parametrize(
    ("mtl", "note"),
    [
        ("Kd red", "material values that are no numbers ignored"),
        ("Kd .5 .1", "material values that are no numbers ignored"),
        ("d nan", "material values that are no numbers ignored"),
        ("map_opacity gone.png", "maps of unknown kinds ignored"),
        ("Kd red\nKd 1 0 0", None),
        ("map_Ka gone.png\nmap_aat on", None),
    ],
)
def test_what_is_not_understood_is_counted(tmp_path: Path, mtl: str, note: str | None) -> None:
    model = obj(tmp_path, f"mtllib m.mtl\n{FACE}", f"newmtl m\n{mtl}\n")
    assert model.notes == ({} if note is None else {note: 1})


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

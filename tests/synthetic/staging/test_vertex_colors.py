"""Colours at vertices: their ranges, and what they mean beside materials and textures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.synthetic.staging.plain_files import STRICT, assert_seen_alike, obj, only, png, read, seen

MIDDLE = ((128 / 255 + 0.055) / 1.055) ** 2.4
QUAD = ("0 0 0", "1 0 0", "1 1 0", "0 1 0")
PAINT = ("1 0 0", "0 1 0", "0 0 1", ".2 .4 .6")


def painted(*colors: str, places: tuple[str, ...] = QUAD, uvs: bool = False, head: str = "") -> str:
    """A square whose corners have these colours."""
    text = head + "".join(f"v {place} {color}\n" for place, color in zip(places, colors, strict=True))
    return (
        text + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl m\nf " + ("1/1 2/2 3/3 4/4\n" if uvs else "1 2 3 4\n")
    )


def plain(*colors: str) -> str:
    """The same without a material."""
    return painted(*colors).replace("usemtl m\n", "")


@pytest.mark.parametrize("most", [255, 1])
def test_colours_are_made_linear_whatever_their_range(tmp_path: Path, most: int) -> None:
    values = np.array([[255, 0, 0], [128, 128, 128], [0, 255, 128], [10, 5, 0]])
    words = [" ".join(str(value if most == 255 else value / 255) for value in row) for row in values.tolist()]
    colors = only(obj(tmp_path, plain(*words))).colors
    assert colors is not None
    np.testing.assert_allclose(colors[0, 0], [1, 0, 0, 1])
    np.testing.assert_allclose(colors[0, 1], [MIDDLE] * 3 + [1], rtol=1e-5)
    np.testing.assert_allclose(colors[0, 2], [0, 1, MIDDLE, 1], rtol=1e-5)
    np.testing.assert_allclose(colors[1, 2, :3], [10 / 255 / 12.92, 5 / 255 / 12.92, 0], rtol=1e-5)


@pytest.mark.parametrize("most", [1.02, 1.2, 2])
def test_fractions_a_little_above_one_are_not_taken_for_bytes(tmp_path: Path, most: float) -> None:
    colors = only(obj(tmp_path, plain(f"{most} 0 0", ".5 .5 .5", "0 1 0", "0 0 1"))).colors
    assert colors is not None
    np.testing.assert_allclose(colors[0, :2], [[1, 0, 0, 1], [0.214041] * 3 + [1]], rtol=1e-5)
    dark = only(obj(tmp_path, plain("2 0 0", "1 0 0", "0 1 0", "0 0 1"))).colors
    assert dark is not None
    np.testing.assert_allclose(dark[0, 0], [2 / 255 / 12.92, 0, 0, 1], rtol=1e-5)


@pytest.mark.parametrize("mtl", ["Kd 1 1 1", "Kd .8 .8 .8", "Kd 0 0 0", "Ns 10", "Kd .5 .5 .5\nKa 1 1 1"])
def test_a_grey_material_says_nothing_beside_them(tmp_path: Path, mtl: str) -> None:
    beside = obj(tmp_path, painted(*PAINT, head="mtllib m.mtl\n"), f"newmtl m\n{mtl}\n")
    assert_seen_alike(beside, obj(tmp_path, plain(*PAINT)))


def test_a_material_with_a_hue_is_multiplied(tmp_path: Path) -> None:
    model = obj(tmp_path, painted(*["128 128 128"] * 4, head="mtllib m.mtl\n"), "newmtl m\nKd 1 .5 0\n")
    depth, colors = seen(model)
    np.testing.assert_allclose(
        colors[np.isfinite(depth), :3],
        np.tile([MIDDLE, MIDDLE / 2, 0], (np.isfinite(depth).sum(), 1)),
        rtol=1e-5,
    )


def test_white_says_nothing_beside_a_material(tmp_path: Path) -> None:
    for mtl in ("Kd .3 .3 .3", "Kd .1 .2 .3"):
        model = obj(tmp_path, painted(*["1 1 1"] * 4, head="mtllib m.mtl\n"), f"newmtl m\n{mtl}\n")
        truth = obj(tmp_path, painted(*[""] * 4, head="mtllib m.mtl\n"), f"newmtl m\n{mtl}\n")
        assert only(model).colors is None
        assert_seen_alike(model, truth)
    (material,) = obj(tmp_path, plain(*["1 1 1"] * 4)).materials
    assert material.color == (1, 1, 1)


def test_a_texture_counts_more_and_the_colours_are_counted(tmp_path: Path) -> None:
    picture = png([(200, 30, 10), (0, 0, 250)])
    mtl = "newmtl m\nmap_Kd t.png\n"
    model = obj(tmp_path, painted(*PAINT, uvs=True, head="mtllib m.mtl\n"), mtl, t=picture)
    assert_seen_alike(
        model, obj(tmp_path, painted(*[""] * 4, uvs=True, head="mtllib m.mtl\n"), mtl, t=picture)
    )
    assert model.notes == {"vertex colours beside a texture ignored": 2}


def test_objects_without_colours_keep_their_material(tmp_path: Path) -> None:
    """As Blender writes two objects of which one is painted; both use one material."""
    far = tuple(place[:-1] + "5" for place in QUAD)
    text = "mtllib m.mtl\no one\n" + painted(*PAINT) + "o two\n" + painted(*[""] * 4, places=far)
    text = text.replace("f 1 2 3 4\no two", "f 1 2 3 4\no  two").replace("f 1 2 3 4\no two", "")
    text = text[: text.rindex("f ")] + "f 5 6 7 8\n"
    model = obj(tmp_path, text, "newmtl m\nKd .2 .2 .2\n")
    one, two = model.parts
    assert one.colors is not None
    assert one.colors.min() == 0
    assert two.colors is None or (two.colors == 1).all()
    assert {model.materials[k].color for k in one.material} == {(1, 1, 1)}
    assert {model.materials[k].color for k in two.material} == {(0.2, 0.2, 0.2)}


def test_alpha_at_vertices_lets_light_through(tmp_path: Path) -> None:
    half = obj(tmp_path, plain(*["1 0 0 .5"] * 4))
    assert (half.materials[0].alpha, float(only(half).colors[0, 0, 3])) == ("blend", 0.5)  # type: ignore[index]
    for solid in ("1 0 0 1", "255 0 0 255", "1 0 0 0"):  # alpha that is nowhere anything was never set
        model = obj(tmp_path, plain(*[solid] * 4))
        assert model.materials[0].alpha == "opaque"
        np.testing.assert_array_equal(only(model).colors, np.tile([1, 0, 0, 1], (2, 3, 1)))


def test_colours_that_zbrush_writes_to_comments(tmp_path: Path) -> None:
    text = plain(*[""] * 4) + "#MRGB ffff0000ff00ff00\n#MRGB ff0000ffffffffff\n"
    assert_seen_alike(obj(tmp_path, text), obj(tmp_path, plain("1 0 0", "0 1 0", "0 0 1", "1 1 1")))
    assert only(obj(tmp_path, text + "#MRGB ff\n")).colors is None


def test_black_faces_of_alpha_0_beside_others_have_no_colour(tmp_path: Path) -> None:
    """Blender writes objects without colours into PLY so; a corner of that kind in a coloured face stays a cut."""
    red, blank = "255 0 0 255", "0 0 0 0"
    corners = zip([*QUAD, "5 0 0", "6 0 0", "6 1 0"], [red] * 3 + [blank] * 4, strict=True)
    numbers = "".join(f"property float {axis}\n" for axis in "xyz")
    numbers += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue", "alpha"))
    content = f"ply\nformat ascii 1.0\nelement vertex 7\n{numbers}element face 3\n"
    content += "property list uchar int vertex_indices\nend_header\n"
    content += "".join(f"{place} {color}\n" for place, color in corners) + "3 0 1 2\n3 0 2 3\n3 4 5 6\n"
    model = read(tmp_path, {"m.ply": content.encode()}, STRICT)
    assert model.notes == {"faces of black with alpha 0 taken for uncoloured": 1}
    colors = only(model).colors
    assert colors is not None
    assert colors[:2, :, 3].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert colors[2].tolist() == [[1, 1, 1, 1]] * 3

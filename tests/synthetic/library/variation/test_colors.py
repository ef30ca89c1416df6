from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.library.variation.colors import RANGES, ColorChange, recolor
from synthetic.library.variation.draws import VariantSeed
from synthetic.library.variation.kinds import Palette
from synthetic.library.variation.oklab import bytes_of_linear, in_gamut, linear_of_bytes, of_linear, to_linear
from synthetic.staging.surface import Material, Surface
from tests.synthetic.library.variation.made_models import picture, stripes, surface_of

BYTES = np.arange(256, dtype=np.uint8)
GREYS = linear_of_bytes(np.repeat(BYTES[:, None], 3, axis=1))
BROWN = (0.3, 0.15, 0.07)


def random_bytes(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3)).astype(np.uint8)


def hue_chroma(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.degrees(np.arctan2(lab[:, 2], lab[:, 1])), np.hypot(lab[:, 1], lab[:, 2])


def ball(*materials: Material) -> Surface:
    return surface_of(trimesh.creation.icosphere(1, 0.4), *materials)


def varied(surface: Surface, palette: Palette, folder: Path, number: int) -> Surface:
    return recolor(surface, palette, VariantSeed(0, "03001627/chair", number), folder)[0]


def pixels_of(material: Material) -> np.ndarray:
    assert material.color_texture is not None
    with Image.open(material.color_texture.path) as image:
        return np.asarray(image)


def test_oklab_of_known_colours() -> None:
    """As published tables have them for sRGB's corners."""
    rgb = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], np.float64)
    expected = [
        [1, 0, 0],
        [0.62796, 0.22486, 0.12585],
        [0.86644, -0.23389, 0.17950],
        [0.45201, -0.03246, -0.31153],
        [0, 0, 0],
    ]
    np.testing.assert_allclose(of_linear(rgb), expected, atol=2e-5)


def test_the_way_to_oklab_and_back_keeps_every_byte() -> None:
    colors = random_bytes(20000)
    lab = of_linear(linear_of_bytes(colors))
    np.testing.assert_array_equal(bytes_of_linear(np.clip(to_linear(lab), 0, 1)), colors)
    np.testing.assert_array_equal(bytes_of_linear(in_gamut(lab)), colors)


def test_bytes_are_the_srgb_curve() -> None:
    value = BYTES / 255
    curve = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(linear_of_bytes(BYTES), curve, atol=1e-15)
    np.testing.assert_array_equal(bytes_of_linear(curve), BYTES)


def test_colours_out_of_gamut_lose_chroma_and_nothing_else() -> None:
    angle = np.linspace(0, 2 * np.pi, 500)
    for light in (0.05, 0.3, 0.6, 0.9, 0.99):
        lab = np.column_stack([np.full(500, light), 0.4 * np.cos(angle), 0.4 * np.sin(angle)])
        rgb = in_gamut(lab)
        assert rgb.min() >= 0
        assert rgb.max() <= 1
        found = of_linear(rgb)
        np.testing.assert_allclose(found[:, 0], light, atol=2e-3)
        hue, chroma = hue_chroma(found)
        turned = np.abs((hue - np.degrees(angle) + 180) % 360 - 180)
        assert turned[chroma > 0.02].max() < 1.5
        assert (chroma <= 0.4).all()


def test_a_change_turns_scales_and_lightens_in_oklab() -> None:
    colors = linear_of_bytes(random_bytes(5000) // 3 + 80)  # muted, so that all stay in gamut
    tangent = math.tan(math.radians(20) / 2)
    found = of_linear(ColorChange(1, tangent, 0.8, 0.1).of(colors))
    before = of_linear(colors)
    (hue, chroma), (old_hue, old_chroma) = hue_chroma(found), hue_chroma(before)
    sound = old_chroma > 0.01
    np.testing.assert_allclose(found[:, 0], before[:, 0] + 0.1 * before[:, 0] * (1 - before[:, 0]), atol=1e-6)
    np.testing.assert_allclose(chroma[sound], 0.8 * old_chroma[sound], atol=1e-6)
    turned = (hue - old_hue)[sound] % 360
    assert np.abs(turned - 110).max() < 0.02


def test_greys_stay_greys_black_black_white_white_and_their_order_holds() -> None:
    for change in (ColorChange(2, 0.3, 1.4, 0.35), ColorChange(0, -0.1, 0.7, -0.35), ColorChange()):
        made = bytes_of_linear(change.of(GREYS))
        np.testing.assert_array_equal(made, np.repeat(made[:, :1], 3, axis=1))
        assert made[0, 0] == 0
        assert made[255, 0] == 255
        assert (np.diff(made[:, 0].astype(int)) >= 0).all()


@pytest.mark.parametrize("palette", RANGES)
def test_a_zebra_stays_black_and_white(palette: Palette, tmp_path: Path) -> None:
    surface = ball(Material("coat", (1.0, 1.0, 1.0), stripes(tmp_path / "zebra.png")))
    before = pixels_of(surface.materials[0])
    grey = (before == before[..., :1]).all(axis=2)
    for number in range(1, 8):
        after = pixels_of(varied(surface, palette, tmp_path, number).materials[0])
        assert after.shape == before.shape
        np.testing.assert_array_equal(after[grey], np.repeat(after[grey][:, :1], 3, axis=1))
        np.testing.assert_array_equal(after[before == 0], 0)
        np.testing.assert_array_equal(after[(before == 255).all(axis=2)], 255)


@pytest.mark.parametrize("palette", ["fixed", "natural"])
def test_colours_keep_within_their_bounds(palette: Palette, tmp_path: Path) -> None:
    """Measured in OKLab, of every pixel of a fur: hue, chroma, lightness."""
    fur = (random_bytes(64 * 64) // 8 + (110, 75, 45)).astype(np.uint8).reshape(64, 64, 3)
    surface = ball(Material("coat", (1.0, 1.0, 1.0), picture(tmp_path / "fur.png", fur)))
    before = of_linear(linear_of_bytes(fur.reshape(-1, 3)))
    old_hue, old_chroma = hue_chroma(before)
    bounds, spread = RANGES[palette], []
    degrees = {"fixed": 3.01, "natural": 7.01}[palette]
    for number in range(1, 30):
        after = pixels_of(varied(surface, palette, tmp_path, number).materials[0])
        found = of_linear(linear_of_bytes(after.reshape(-1, 3)))
        hue, chroma = hue_chroma(found)
        byte = 0.004  # of OKLab: what a rounded byte may do
        assert np.abs(hue - old_hue).max() <= degrees + np.degrees(byte / old_chroma.min())
        assert (chroma / old_chroma).max() <= bounds.chroma + byte / old_chroma.min()
        assert (chroma / old_chroma).min() >= 1 / bounds.chroma - byte / old_chroma.min()
        assert np.abs(found[:, 0] - before[:, 0]).max() <= bounds.lightness / 4 + byte
        spread.append(found.mean(axis=0))
    assert np.ptp(spread, axis=0)[0] > bounds.lightness / 8


def test_a_white_coat_stays_white(tmp_path: Path) -> None:
    white = np.full((8, 8, 3), (250, 248, 244), np.uint8)
    surface = ball(Material("coat", (1.0, 1.0, 1.0), picture(tmp_path / "bear.png", white)))
    for number in range(1, 20):
        assert pixels_of(varied(surface, "fixed", tmp_path, number).materials[0]).min() > 236


def test_alpha_cut_outs_and_other_maps_are_not_touched(tmp_path: Path) -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (16, 16, 4)).astype(np.uint8)
    grey = rgba[..., :1].repeat(2, axis=2)
    gloss = picture(tmp_path / "gloss.png", rgba[..., :3])
    leaf = Material(
        "leaf",
        (1.0, 1.0, 1.0),
        picture(tmp_path / "leaf.png", rgba),
        alpha="mask",
        cutoff=0.4,
        alpha_texture=picture(tmp_path / "alpha.png", rgba[..., 0]),
        metallic_roughness_texture=gloss,
        emission_texture=gloss,
        emission=(0.2, 0.1, 0.0),
    )
    surface = ball(leaf, Material("fog", (1.0, 1.0, 1.0), picture(tmp_path / "fog.png", grey)))
    made, fog = varied(surface, "free", tmp_path, 1).materials
    assert replace(made, color=leaf.color, color_texture=leaf.color_texture) == leaf
    np.testing.assert_array_equal(pixels_of(made)[..., 3], rgba[..., 3])
    assert (pixels_of(made)[..., :3] != rgba[..., :3]).any()
    assert pixels_of(fog).shape == grey.shape
    np.testing.assert_array_equal(pixels_of(fog)[..., 1], grey[..., 1])


def test_one_picture_of_two_materials_changes_once(tmp_path: Path) -> None:
    shared = stripes(tmp_path / "t.png")
    surface = ball(
        Material("a", (1.0,) * 3, shared), Material("b", (1.0,) * 3, replace(shared, nearest=True))
    )
    one, other = varied(surface, "free", tmp_path, 1).materials
    assert one.color_texture is not None
    assert other.color_texture is not None
    assert one.color_texture.path == other.color_texture.path != shared.path
    assert other.color_texture.nearest


def test_brown_wood_of_things_stays_brown_and_paint_does_not(tmp_path: Path) -> None:
    surface = ball(Material("wood", BROWN), Material("paint", (0.02, 0.1, 0.6)))
    hues = []
    for number in range(1, 40):
        wood, paint = varied(surface, "free", tmp_path, number).materials
        hue, chroma = hue_chroma(of_linear(np.array([wood.color])))
        assert 35 < hue[0] < 100
        assert chroma[0] > 0.03
        hues.append(hue_chroma(of_linear(np.array([paint.color])))[0][0] % 360)
    assert len({int(hue / 60) for hue in hues}) == 6


def test_greys_are_painted_only_where_any_colour_will_do(tmp_path: Path) -> None:
    plain = (0.6, 0.6, 0.6)
    surface = ball(
        Material("white", plain), Material("tyre", (0.02,) * 3), Material("steel", plain, metallic=1.0)
    )
    painted = 0
    for number in range(1, 30):
        for palette in ("fixed", "natural"):
            for material in varied(surface, palette, tmp_path, number).materials:
                assert len(set(material.color)) == 1
        white, tyre, steel = varied(surface, "free", tmp_path, number).materials
        assert len(set(tyre.color)) == len(set(steel.color)) == 1
        painted += len(set(white.color)) > 1
    assert 8 < painted < 22


def test_vertex_colours_change_as_pictures_do(tmp_path: Path) -> None:
    colors = np.random.default_rng(2).random((80, 3, 4)).astype(np.float32)
    colors[0] = 0.25  # grey
    surface = replace(ball(Material("a", (1.0, 1.0, 1.0))), colors=colors)
    made = varied(surface, "free", tmp_path, 1)
    assert made.colors is not None
    np.testing.assert_array_equal(made.colors[..., 3], colors[..., 3])
    assert len(np.unique(made.colors[0, :, :3])) == 1
    assert made.colors.min() >= 0
    assert made.colors.max() <= 1
    assert np.abs(made.colors[1:, :, :3] - colors[1:, :, :3]).max() > 0.05
    assert made.materials[0].color == pytest.approx((1, 1, 1))


def test_leaves_stay_green_in_pots_that_do_not(tmp_path: Path) -> None:
    surface = ball(Material("leaf", (0.1, 0.3, 0.05)), Material("pot", (0.02, 0.1, 0.6)))
    hues: list[list[float]] = [[], []]
    for number in range(1, 20):
        for found, material in zip(hues, varied(surface, "planted", tmp_path, number).materials, strict=True):
            found.append(hue_chroma(of_linear(np.array([material.color])))[0][0] % 360)
    assert np.ptp(hues[0]) < 25
    assert np.ptp(hues[1]) > 180

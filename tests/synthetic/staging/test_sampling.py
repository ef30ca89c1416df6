"""Colours of points on a surface, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic.staging.sampling import SurfaceColors, base_color, linear_of_srgb
from synthetic.staging.surface import Material, Surface, Texture

CORNERS = np.array([[0, 0], [1, 0], [0, 1]], np.float32)  # the uvs of the triangle, so that weights are uvs


def surface(material: Material, colors: np.ndarray | None = None, uvs: np.ndarray = CORNERS) -> Surface:
    return Surface(
        np.eye(3),
        np.array([[0, 1, 2]]),
        np.zeros(1, np.int32),
        (material,),
        np.zeros(1, np.int32),
        (uvs[None].astype(np.float32),),
        colors,
    )


def look_up(made: Surface, *places: tuple[float, float]) -> np.ndarray:
    return base_color(made, np.zeros(len(places), np.int64), np.array(places, float))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Two by two: lower left (40, 80, 120, 255), lower right 200, upper left 0, upper right 100, alpha 51."""
    rows = [[(0,) * 4, (100, 100, 100, 51)], [(40, 80, 120, 255), (200, 200, 200, 255)]]
    Image.fromarray(np.array(rows, np.uint8)).save(tmp_path / "t.png")
    return tmp_path / "t.png"


def byte(value: float) -> float:
    value /= 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def test_texel_centres_hold_the_bytes_made_linear(picture: Path) -> None:
    made = surface(Material("m", (1, 1, 1), Texture(picture)))
    got = look_up(made, (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
    expected = [[byte(40), byte(80), byte(120)], [byte(200)] * 3, [0] * 3, [byte(100)] * 3]
    np.testing.assert_allclose(got[:, :3], expected, atol=1e-12)
    assert (got[:, 3] == 1).all()  # opaque ignores alpha


def test_between_texels_bytes_are_interpolated_before_they_are_made_linear(picture: Path) -> None:
    made = surface(Material("m", (1, 1, 1), Texture(picture)))
    np.testing.assert_allclose(look_up(made, (0.5, 0.25))[0, :3], [byte(120), byte(140), byte(160)])
    np.testing.assert_allclose(look_up(made, (0.35, 0.5))[0, 0], byte((40 * 0.8 + 200 * 0.2 + 100 * 0.2) / 2))


@pytest.mark.parametrize(
    ("wrap", "place", "expected"),
    [
        ("repeat", (1.25, 0.25), 40),
        ("clamp", (1.25, 0.25), 200),
        ("mirror", (1.25, 0.25), 200),
        ("mirror", (1.75, 0.25), 40),
        ("mirror", (2.25, 0.25), 40),
        ("mirror", (-0.25, 0.25), 40),
        ("repeat", (-0.25, 0.25), 200),
        ("clamp", (-0.25, 0.25), 40),
        ("repeat", (0.0, 0.25), 120),
        ("clamp", (0.0, 0.25), 40),
        ("mirror", (1.0, 0.25), 200),
    ],
)
def test_textures_go_on_as_their_wrap_says(
    picture: Path, wrap: str, place: tuple[float, float], expected: float
) -> None:
    texture = Texture(picture, wrap=(wrap, "repeat"))  # type: ignore[arg-type]
    got = look_up(surface(Material("m", (1, 1, 1), texture)), place)
    np.testing.assert_allclose(got[0, 0], byte(expected))
    turned = surface(Material("m", (1, 1, 1), Texture(picture, wrap=("repeat", wrap))))  # type: ignore[arg-type]
    by_row = look_up(turned, (0.75, place[0]))[0, 0]
    np.testing.assert_allclose(by_row, byte({40: 200, 200: 100, 120: 150}[expected]))


def test_nearest_takes_one_texel(picture: Path) -> None:
    made = surface(Material("m", (1, 1, 1), Texture(picture, nearest=True)))
    np.testing.assert_allclose(look_up(made, (0.49, 0.1), (0.51, 0.1))[:, 0], [byte(40), byte(200)])


def test_factor_texture_and_vertex_colours_multiply(picture: Path) -> None:
    colors = np.array([[[0.5, 0.5, 0.5, 1], [0.1, 1, 1, 0.5], [1, 1, 1, 0]]], np.float32)
    material = Material("m", (0.5, 1, 0.25), Texture(picture), opacity=0.8, alpha="blend")
    got = look_up(surface(material, colors), (0.25, 0.25))[0]
    mixed = 0.5 * colors[0, 0] + 0.25 * colors[0, 1] + 0.25 * colors[0, 2]
    expected = np.array([0.5 * byte(40), byte(80), 0.25 * byte(120), 0.8]) * mixed
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    opaque = look_up(surface(Material("m", (1, 1, 1)), colors), (0.25, 0.25))[0]
    np.testing.assert_allclose(opaque, [*mixed[:3], 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "value"), [("L", 51), ("RGB", (51, 51, 51)), ("RGBA", (0, 9, 0, 51)), ("LA", (9, 51))]
)
def test_alpha_textures_say_alpha_by_their_grey_or_their_own_alpha(
    tmp_path: Path, picture: Path, mode: str, value: int
) -> None:
    Image.new(mode, (3, 2), value).save(tmp_path / "a.png")
    material = Material(
        "m", color_texture=Texture(picture), alpha_texture=Texture(tmp_path / "a.png"), alpha="mask"
    )
    made = surface(material)
    np.testing.assert_allclose(look_up(made, (0.25, 0.25), (0.7, 0.2))[:, 3], 0.2)
    assert SurfaceColors(made).lets_through(material)


def test_alpha_of_the_colour_texture_counts_and_may_be_taken_texel_by_texel(picture: Path) -> None:
    made = surface(Material("m", color_texture=Texture(picture), alpha="mask"))
    colors, nowhere = SurfaceColors(made), np.zeros(1, np.int64)
    np.testing.assert_allclose(colors.alpha(nowhere, np.array([[0.75, 0.6]]), exact=True), 0.2)
    np.testing.assert_allclose(colors.alpha(nowhere, np.array([[0.75, 0.5]])), 0.6)


def test_grey_pictures_and_nonsense_coordinates_are_no_obstacle(tmp_path: Path) -> None:
    Image.new("L", (2, 2), 77).save(tmp_path / "g.png")
    made = surface(Material("m", (1, 1, 1), Texture(tmp_path / "g.png")), uvs=CORNERS * 1e30)
    np.testing.assert_allclose(look_up(made, (0.3, 0.3))[0, :3], [byte(77)] * 3)


def test_decoding_is_that_of_srgb() -> None:
    np.testing.assert_allclose(linear_of_srgb(np.arange(256) / 255), [byte(value) for value in range(256)])

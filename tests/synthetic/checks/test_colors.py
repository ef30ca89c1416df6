"""Colours of pictures made by a formula are found true, and every way to make them wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from synthetic.checks.colors import ColorScore, score_colors, shown_base
from synthetic.checks.light import SKIES
from synthetic.checks.pixels import pixel_centres, pixel_rays
from synthetic.checks.verdict import wrong_colors
from synthetic.dataset import ViewRecord
from synthetic.staging.sampling import linear_of_srgb, srgb_bytes
from synthetic.staging.surface import Material
from synthetic.viewpoints import intrinsics
from tests.synthetic.checks.made_surfaces import squares, texture, truth_of

SIDE = 64
AWAY = 2.0
LIGHT = 0.5 + 1.6 / np.pi * 0.6 / np.linalg.norm(
    [0.55, 0.75, 0.6]
)  # on what faces the camera and is not in a shadow
PIXELS = np.array(  # sRGB, the first row on top
    [
        [[200, 40, 30], [40, 180, 60], [230, 220, 60], [30, 60, 190]],
        [[90, 90, 90], [250, 250, 250], [40, 40, 40], [150, 80, 200]],
        [[40, 200, 210], [190, 130, 70], [120, 30, 50], [60, 90, 30]],
        [[220, 120, 160], [20, 100, 110], [170, 200, 40], [128, 128, 160]],
    ]
)


def record() -> ViewRecord:
    pose = np.eye(4)
    pose[2, 3] = AWAY
    return cast(
        ViewRecord,
        {"cam2world": pose.tolist(), "intrinsics": intrinsics(40.0, SIDE).tolist(), "radius": AWAY},
    )


def texels(turned: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels) -> np.ndarray:
    """[R,R,3] linear base colour of a square of side 1 at the origin that PIXELS lie on, white around it (-1)."""
    _, directions = pixel_rays(record(), pixel_centres(SIDE))
    x, y = (AWAY * directions[..., :2]).transpose(2, 0, 1)
    inside = (np.abs(x) < 0.5) & (np.abs(y) < 0.5)
    column, row = np.floor((x + 0.5) * 4).astype(int) % 4, np.floor((0.5 - y) * 4).astype(int) % 4
    return np.where(inside[..., None], linear_of_srgb(turned(PIXELS)[row, column] / 255), -1.0)


def picture(base: np.ndarray, light: float | np.ndarray = LIGHT) -> np.ndarray:
    return np.where(base < 0, np.uint8(255), srgb_bytes(np.maximum(base, 0) * light))


def score(
    folder: Path,
    shown: np.ndarray,
    material: Material | None = None,
    albedo: np.ndarray | None = None,
    smooth: bool = False,
) -> ColorScore:
    painted = material or Material("tiles", (1, 1, 1), texture(folder / "tiles.png", PIXELS))
    truth = truth_of(squares([1.0], [0.0], [painted], smooth))
    hits = truth.rays.cast(*pixel_rays(record(), pixel_centres(SIDE)))
    return score_colors(shown, albedo, record(), truth, hits, samples=16, sky=SKIES["paper"])


@pytest.mark.parametrize("smooth", [False, True])
def test_right_picture_is_found_right(tmp_path: Path, smooth: bool) -> None:
    found = score(tmp_path, picture(texels()), smooth=smooth)
    assert not wrong_colors(found)
    assert found.checked > 1000
    assert found.chroma == found.darker == found.black == found.brighter == 0
    assert found.light == pytest.approx(1, abs=0.02)


def speckled(share: float) -> np.ndarray:
    shown = picture(texels())
    shown[np.random.default_rng(0).random((SIDE, SIDE)) < share] = 0
    return shown


GREYS = PIXELS.copy()
GREYS[:] = PIXELS.mean(axis=2, keepdims=True)
WRONG: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    "black": (lambda: picture(texels() * 0), "black"),
    "speckled": (lambda: speckled(0.08), "darker"),
    "few black": (lambda: speckled(0.04), "black"),
    "texture lost": (lambda: picture(np.where(texels() < 0, -1, 0.8)), "another colour"),
    "upside down": (lambda: picture(texels(lambda pixels: pixels[::-1])), "another colour"),
    "left for right": (lambda: picture(texels(lambda pixels: pixels[:, ::-1])), "another colour"),
    "red for blue": (lambda: picture(texels()[..., ::-1]), "another colour"),
    "colours lost": (lambda: picture(texels(lambda _: GREYS)), "another colour"),
    "sRGB for linear": (lambda: picture(texels(lambda pixels: pixels**2.2 / 255**1.2)), "darker"),
    "linear for sRGB": (
        lambda: picture(texels(lambda pixels: 255 * (pixels / 255) ** (1 / 2.2))),
        "another colour",
    ),
    "too dark": (lambda: picture(texels(), 0.7 * LIGHT), "as brightly"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_picture_is_found_wrong(tmp_path: Path, case: str) -> None:
    make, words = WRONG[case]
    assert words in "; ".join(wrong_colors(score(tmp_path, make())))


def test_grey_model_has_colours_too(tmp_path: Path) -> None:
    """A grey model whose colour is lost, or swapped between sRGB and linear, differs in brightness alone."""
    dark = Material("dark", (0.05, 0.05, 0.05))
    inside = texels() >= 0
    right, lost = (picture(np.where(inside, value, -1)) for value in (0.05, 0.8))
    assert not wrong_colors(score(tmp_path, right, dark))
    assert "brighter" in "; ".join(wrong_colors(score(tmp_path, lost, dark)))
    tinted = picture(np.where(inside, [0.05, 0.03, 0.05], -1))
    assert "another colour" in "; ".join(wrong_colors(score(tmp_path, tinted, dark)))


def test_what_cannot_be_checked_is_counted(tmp_path: Path) -> None:
    inside = texels() >= 0
    white = picture(np.where(inside, 1.0, -1))
    lamp = score(tmp_path, white, Material("lamp", (0.1, 0.1, 0.1), emission=(1.0, 1.0, 1.0)))
    assert (lamp.checked, lamp.chroma) == (0, None)
    assert lamp.unchecked == {"emissive": lamp.pixels}
    black = score(tmp_path, picture(np.where(inside, 0.0, -1)), Material("black", (0.0, 0.0, 0.0)))
    assert black.unchecked == {"too dark for a colour": black.checked}
    assert "brighter" in "; ".join(wrong_colors(score(tmp_path, white, Material("black", (0.0, 0.0, 0.0)))))
    gold = Material("gold", (0.8, 0.5, 0.1), metallic=1.0, roughness=0.5)
    shown = score(tmp_path, picture(np.where(inside, [0.4, 0.25, 0.05], -1)), gold)
    assert shown.unchecked == {"metal, light": shown.pixels}
    assert not wrong_colors(shown)
    silver = score(tmp_path, picture(np.where(inside, [0.4, 0.4, 0.4], -1)), gold)
    assert "another colour" in "; ".join(wrong_colors(silver))


def test_gloss_may_add_white_but_not_any_other_colour(tmp_path: Path) -> None:
    inside = texels() >= 0
    lacquer = Material("lacquer", (0.3, 0.02, 0.02), specular=0.5, roughness=0.2)
    glossy = picture(np.where(inside, LIGHT * np.array([0.3, 0.02, 0.02]) + 0.03, -1), 1.0)
    assert not wrong_colors(score(tmp_path, glossy, lacquer))
    assert "another colour" in "; ".join(
        wrong_colors(score(tmp_path, glossy, Material("matte", lacquer.color)))
    )
    sparkling = picture(np.where(inside, 1.0, -1))
    assert score(tmp_path, sparkling, lacquer).unchecked["highlight, colour"] > 1000
    green = picture(np.where(inside, [0.02, 0.08, 0.02], -1))
    assert "another colour" in "; ".join(wrong_colors(score(tmp_path, green, lacquer)))


def test_albedo_is_compared_to_the_last_byte(tmp_path: Path) -> None:
    base = texels()
    albedo = picture(base, 1.0)
    exact = score(tmp_path, picture(base), albedo=albedo)
    assert (exact.albedo_equal, exact.albedo_worst) == (1.0, 0)
    albedo[SIDE // 2, SIDE // 2 : SIDE // 2 + 3, 1] ^= 1
    off = score(tmp_path, picture(base), albedo=albedo)
    assert off.albedo_worst == 1
    assert off.albedo_equal is not None
    assert off.albedo_equal < 1


def test_base_colour_is_shown_where_the_surface_is(tmp_path: Path) -> None:
    truth = truth_of(
        squares([1.0], [0.0], [Material("tiles", (1, 1, 1), texture(tmp_path / "t.png", PIXELS))])
    )
    hits = truth.rays.cast(*pixel_rays(record(), pixel_centres(SIDE)))
    np.testing.assert_array_equal(shown_base(truth, hits), picture(texels(), 1.0))

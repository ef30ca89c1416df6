"""Cutting and resizing: closed forms, and an independent Lanczos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gp3d_core.preparation.framing import frame, place, resize


def lanczos(values: np.ndarray, size: int) -> np.ndarray:
    """A row of numbers resampled by the definition: sinc(x) sinc(x/3), widened by the factor of reduction."""
    factor = len(values) / size
    wide = max(factor, 1.0)
    out = np.empty(size)
    for i in range(size):
        x = (np.arange(len(values)) + 0.5 - (i + 0.5) * factor) / wide
        weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
        out[i] = (weights * values).sum() / weights.sum()
    return out


@pytest.mark.parametrize(("before", "after"), [(97, 24), (64, 64), (30, 48), (101, 100)])
def test_resizing_is_the_lanczos_of_the_textbook(before, after):
    rows = np.random.default_rng(0).uniform(0, 255, (before, before)).astype(np.float32)
    ours = np.asarray(resize(Image.fromarray(rows), after, after))
    twice = np.stack([lanczos(row, after) for row in rows])
    expected = np.stack([lanczos(column, after) for column in twice.T]).T
    assert np.abs(ours - expected).max() < 0.01


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (1, 128, 254)])
@pytest.mark.parametrize("size", [(300, 200), (31, 57), (16, 16)])
def test_one_colour_stays_that_colour(color, size):
    packed = place(Image.new("RGB", size, color), frame(*size, 16, "crop"))
    assert set(packed.get_flattened_data()) == {color}


def test_finest_checkerboard_becomes_grey_and_not_a_pattern():
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    small = np.asarray(resize(Image.fromarray(board), 60, 60)).astype(int)
    assert np.abs(small[2:-2, 2:-2] - 127.5).max() <= 1.5


@pytest.mark.parametrize(("cycles", "low", "high"), [(8, 0.97, 1.03), (100, 0, 0.02)])
def test_waves_that_fit_keep_their_energy_and_others_vanish(cycles, low, high):
    """512 pixels to 64: eight cycles are far below the limit of 32, a hundred would fold back to 28."""
    wave = np.cos(2 * np.pi * cycles * (np.arange(512) + 0.5) / 512).astype(np.float32)
    small = np.asarray(resize(Image.fromarray(np.tile(wave, (64, 1))), 64, 64))[32]
    amplitude = np.sqrt(2 * np.mean(small[4:-4].astype(float) ** 2))
    assert low <= amplitude <= high


def test_crop_takes_the_middle_square():
    assert frame(30, 20, 8, "crop").source == (5, 0, 25, 20)
    assert frame(20, 31, 8, "crop").source == (0, 5, 20, 25)
    assert frame(31, 20, 8, "crop").source == (5, 0, 25, 20)
    assert frame(7, 7, 8, "crop").target == (0, 0, 8, 8)


@pytest.mark.parametrize(
    ("width", "height"), [(300, 200), (200, 300), (64, 64), (1000, 1), (1, 1000), (3, 2), (333, 100)]
)
def test_letterbox_keeps_the_shape_within_half_a_pixel_and_lies_in_the_middle(width, height):
    where = frame(width, height, 64, "letterbox")
    left, top, right, bottom = where.target
    assert where.source == (0, 0, width, height)
    assert max(right - left, bottom - top) == 64
    scale = 64 / max(width, height)
    assert abs((right - left) - max(1, width * scale)) <= 0.5
    assert abs((bottom - top) - max(1, height * scale)) <= 0.5
    assert abs(left - (64 - right)) <= 1
    assert abs(top - (64 - bottom)) <= 1


def test_letterbox_bars_are_white_and_nothing_of_the_picture_is_lost():
    picture = Image.new("RGB", (40, 20), (10, 20, 30))
    packed = np.asarray(place(picture, frame(40, 20, 16, "letterbox")))
    inside = np.zeros((16, 16), dtype=bool)
    inside[4:12] = True
    assert (packed[inside] == (10, 20, 30)).all()
    assert (packed[~inside] == 255).all()


def test_what_lies_outside_the_crop_does_not_bleed_in():
    pixels = np.full((20, 40, 3), 255, dtype=np.uint8)
    pixels[:, 10:30] = 0
    assert (np.asarray(place(Image.fromarray(pixels), frame(40, 20, 5, "crop"))) == 0).all()

"""Environment maps and pictures: directions and strengths in closed form; files that are none get one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic.surroundings.arguments import Asked, find_surroundings
from synthetic.surroundings.draws import SurroundingDraws
from synthetic.surroundings.pictures import square
from synthetic.surroundings.settings import MEAN_RADIANCE, SurroundingFiles, Surroundings, SurroundingsError
from synthetic.surroundings.worlds import World, bundled_worlds, read_world
from synthetic.viewpoints import Viewpoint
from tests.synthetic.surroundings import maps

SIDE = 8192


def test_strength_brings_every_map_to_the_mean_of_the_usual_light() -> None:
    assert pytest.approx(0.5 + 1.6 / (4 * np.pi)) == MEAN_RADIANCE
    assert maps.uniform(7.0).mean == pytest.approx(7.0)
    assert maps.uniform(7.0).strength * 7.0 == pytest.approx(MEAN_RADIANCE)
    _, angle = maps.direction(0.0)
    assert maps.one_pixel().mean == pytest.approx(maps.BRIGHT * angle / (4 * np.pi), rel=1e-3)
    assert maps.one_pixel((1, 0, 0)).mean == pytest.approx(0.2126 * maps.one_pixel().mean)


@pytest.mark.parametrize("rotation", [0.0, 1.2, -2.9])
def test_the_bright_pixel_is_where_it_was_turned_to(rotation: float) -> None:
    world, (towards, _) = maps.one_pixel((1.0, 0.5, 0.25)), maps.direction(rotation)
    np.testing.assert_allclose(
        world.radiance(towards, rotation), maps.BRIGHT * np.array([1, 0.5, 0.25]), rtol=1e-6
    )
    assert not world.radiance(-towards, rotation).any()
    beside = world.radiance(maps.direction(rotation + np.pi / maps.HEIGHT)[0], rotation)
    assert np.abs(beside).max() < 1e-3 * maps.BRIGHT


def test_directions_wrap_around_and_end_at_the_poles() -> None:
    world = maps.smooth()
    around = np.linspace(-np.pi, np.pi, 721)
    level = np.stack([-np.sin(around), 0 * around, np.cos(around)], axis=-1)
    values = world.radiance(level, 0.3)
    assert np.abs(np.diff(values, axis=0)).max() < 0.01
    np.testing.assert_allclose(values[0], values[-1])
    assert np.isfinite(world.radiance(np.array([[0, 1.0, 0], [0, -1.0, 0]]), 0.0)).all()


def test_a_map_is_read_as_it_was_written_in_both_formats(tmp_path: Path) -> None:
    import cv2

    world = maps.smooth()
    exr = maps.written(world, tmp_path / "a.exr")
    np.testing.assert_allclose(read_world(exr, SIDE).pixels, world.pixels, rtol=5e-4)
    bright = maps.written(World(world.pixels * np.float32(1e5)), tmp_path / "b.exr")
    np.testing.assert_allclose(read_world(bright, SIDE).pixels, world.pixels * 1e5, rtol=1e-6)
    large = World(np.repeat(np.repeat(maps.one_pixel().pixels, 64, axis=0), 64, axis=1))
    small = read_world(maps.written(large, tmp_path / "c.exr"), SIDE)
    assert small.pixels.shape == (512, 1024, 3)
    assert small.mean == pytest.approx(large.mean, rel=1e-3)
    cv2.imwrite(str(tmp_path / "a.hdr"), world.pixels[..., ::-1])
    np.testing.assert_allclose(read_world(tmp_path / "a.hdr", SIDE).pixels, world.pixels, atol=0.01)


@pytest.mark.blender
def test_blender_brings_eight_maps_along() -> None:
    found = bundled_worlds()
    assert set(found) == {"city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset"}
    for path in found.values():
        assert read_world(path, SIDE).pixels.shape == (512, 1024, 3)


def exr(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        maps.written(World(change(maps.smooth().pixels.copy())), path)

    return write


def spoilt(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(pixels: np.ndarray) -> np.ndarray:
        pixels[3, 4, 1] = value
        return pixels

    return change


def cut(path: Path) -> None:
    maps.written(maps.smooth(), path)
    os.truncate(path, path.stat().st_size // 2)


BAD_MAPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "three to one": (exr(lambda pixels: pixels[:20]), "twice as wide as high, found 64 x 20"),
    "not a number": (exr(spoilt(np.nan)), "no finite number"),
    "infinite": (exr(spoilt(np.inf)), "no finite number"),
    "negative": (exr(spoilt(-0.5)), "negative radiance, down to -0.5"),
    "black": (exr(lambda pixels: pixels * 0), "all black"),
    "cut": (cut, "cannot be read as a picture of red, green and blue radiance"),
    "text": (lambda path: path.write_text("#! radiance"), "is no EXR or Radiance HDR picture"),
    "digits without end": (
        lambda path: path.write_bytes(b"#?RADIANCE\n\n-Y " + b"9" * 5000 + b" +X 4\n"),
        "is no EXR or Radiance HDR picture",
    ),
    "empty": (lambda path: path.write_bytes(b""), "is no EXR or Radiance HDR picture"),
    "PNG": (lambda path: Image.new("RGB", (64, 32)).save(path, "PNG"), "is no EXR or Radiance HDR picture"),
}


@pytest.mark.parametrize("name", BAD_MAPS)
def test_files_that_are_no_map_are_named(tmp_path: Path, name: str) -> None:
    write, message = BAD_MAPS[name]
    maps.written(maps.smooth(), tmp_path / "a.exr")
    write(tmp_path / "b.exr")
    with pytest.raises(SurroundingsError, match=message) as caught:
        find_surroundings(Asked(light=str(tmp_path)), SIDE)
    assert str(tmp_path / "b.exr") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_compression_makes_of_black_is_black(tmp_path: Path) -> None:
    maps.written(World(spoilt(-0.01)(maps.smooth().pixels.copy())), tmp_path / "a.exr")
    assert read_world(tmp_path / "a.exr", SIDE).pixels[3, 4, 1] == 0


BAD_WORDS = [
    ("light", "hdri:moon", "expected names among city, "),
    ("light", "hdri:,", "expected names among"),
    ("light", "sun", "a file or folder"),
    ("ground", "grass", "none, random or a colour"),
    ("ground", "#12", "none, random or a colour"),
    ("background", "wall", "a folder of pictures that is there"),
    ("background", "hdri", "ask for --light hdri"),
]


@pytest.mark.blender
@pytest.mark.parametrize(("option", "word", "message"), BAD_WORDS)
def test_words_that_mean_nothing_are_answered_with_those_that_do(
    option: str, word: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find_surroundings(Asked(**{option: word}), SIDE)


def test_folders_without_maps_or_pictures_and_large_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SurroundingsError, match=r"holds no \.exr, \.hdr file"):
        find_surroundings(Asked(light=str(tmp_path)), SIDE)
    with pytest.raises(SurroundingsError, match=r"holds no .*\.png"):
        find_surroundings(Asked(background=str(tmp_path)), SIDE)
    maps.written(maps.smooth(), tmp_path / "a.exr")
    with pytest.raises(SurroundingsError, match="64 pixels wide, at most 63"):
        find_surroundings(Asked(light=str(tmp_path)), 63)
    Image.new("RGB", (70, 30)).save(tmp_path / "a.png")
    with pytest.raises(SurroundingsError, match="70 x 30 pixels, at most 69"):
        find_surroundings(Asked(background=str(tmp_path)), 69)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(SurroundingsError, match=r"b\.png: cannot be read as a picture"):
        find_surroundings(Asked(background=str(tmp_path)), SIDE)


def test_colours_are_named_or_numbered_and_settings_survive_json(tmp_path: Path) -> None:
    maps.written(maps.smooth(), tmp_path / "a.exr")
    asked = Asked(light=str(tmp_path), light_each="view", ground="sienna", background="#0F0")
    found, files = find_surroundings(asked, SIDE)
    assert (found.ground, found.background) == ("#a0522d", "#00ff00")
    assert found.worlds[0].startswith("a.exr ")
    assert files.worlds == {"a.exr": tmp_path / "a.exr"}
    assert SurroundingFiles.from_json(files.as_json()) == files
    assert Surroundings.from_json({**found.__dict__, "worlds": list(found.worlds)}) == found
    assert Surroundings.from_json({}) == Surroundings()


def test_light_is_one_for_a_model_or_one_for_a_view(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        maps.written(maps.uniform(ord(name)), tmp_path / f"{name}.exr")
    (tmp_path / "scratch").mkdir()

    def lights(each: str, seed: int = 0) -> list[tuple[str, float, float]]:
        asked = Asked(light=str(tmp_path), light_each=each)  # type: ignore[arg-type]
        draws = SurroundingDraws(*find_surroundings(asked, SIDE), seed, tmp_path / "scratch", SIDE)
        records = [
            draws.of_view(model, view, Viewpoint(yaw=0, pitch=1), 8).record["light"]
            for model in map(str, range(20))
            for view in range(3)
        ]
        return [(record["world"], record["rotation"], record["strength"]) for record in records]

    by_model, by_view = lights("model"), lights("view")
    assert by_model == lights("model") != lights("model", seed=1)
    assert len(set(by_model)) == 20
    assert len(set(by_view)) == 60
    assert {name for name, *_ in by_model} == {"a.exr", "b.exr", "c.exr"}
    turns = np.array([turn for _, turn, _ in by_view])
    assert -np.pi <= turns.min() < -2
    assert 2 < turns.max() < np.pi
    assert [s * ord(n[0]) for n, _, s in by_model] == pytest.approx([MEAN_RADIANCE] * 60, rel=1e-5)
    assert len(list((tmp_path / "scratch").iterdir())) <= 3  # the last one of each


def test_a_picture_is_cut_to_its_largest_square_at_any_place(tmp_path: Path) -> None:
    pixels = np.zeros((30, 90, 3), np.uint8)
    pixels[:, :30], pixels[:, 60:] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    left, box = square(tmp_path / "a.png", (0.0, 0.5), 8)
    assert box == [0, 0, 30, 30]
    assert (left == (255, 0, 0)).all()
    right, box = square(tmp_path / "a.png", (0.9999, 0.5), 8)
    assert box == [60, 0, 90, 30]
    assert (right == (0, 0, 255)).all()

"""Environment maps, flat light and grounds as Blender draws them, against closed forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from synthetic.dataset import RenderedView
from synthetic.staging.surface import Material, Part
from synthetic.surroundings.draws import Light, SurroundingDraws, ViewSurroundings
from synthetic.surroundings.ground import GAP, RADIUS, with_ground
from synthetic.surroundings.settings import MEAN_RADIANCE, SurroundingFiles, Surroundings
from synthetic.surroundings.worlds import World
from synthetic.viewpoints import Viewpoint, covered_pixels, intrinsics
from tests.synthetic.blender.drawing import SIDE, Drawing, draw, square, staged
from tests.synthetic.small_library import pixel_rays
from tests.synthetic.surroundings import maps

pytestmark = [pytest.mark.blender, pytest.mark.slow]

WHITE = Material("white", (1.0, 1.0, 1.0))
HALF = 0.3
CORNER = Viewpoint(yaw=-0.7, pitch=1.0, radius=2.0, fov=40.0)  # sees +x, +y and +z
FACES = {"right": (1.0, 0, 0), "top": (0, 1.0, 0), "front": (0, 0, 1.0)}
ROTATIONS = {"nought": 0.0, "one": 1.2, "back": -2.4}
CLAY = (0.4, 0.2, 0.1)


def part(mesh: trimesh.Trimesh) -> Part:
    triangles = np.asarray(mesh.faces, np.int64)
    return Part(np.asarray(mesh.vertices, float), triangles, np.zeros(len(triangles), np.int32))


def lit(world: World, path: Path, rotation: float, strength: float) -> ViewSurroundings:
    return ViewSurroundings(Light("hdri", maps.written(world, path), rotation, strength))


def drawings(folder: Path) -> dict[str, Drawing]:
    cube = staged([part(trimesh.creation.box((2 * HALF,) * 3))], [WHITE])
    ball = staged([part(trimesh.creation.icosphere(subdivisions=4, radius=HALF))], [WHITE])
    grown = replace(cube, surface=with_ground(cube.surface, CLAY))
    sheet = square(0.0, HALF)
    lying = staged([replace(sheet, positions=sheet.positions[:, [0, 2, 1]] * [1, 1, -1])], [WHITE])
    uniform, flat = maps.uniform(7.0), ViewSurroundings(Light("flat"))
    furnace = lit(uniform, folder / "uniform.exr", 0.4, uniform.strength)
    smooth = lit(maps.smooth(), folder / "smooth.exr", 0.9, 0.8)
    made = {
        "before": Drawing(cube, (CORNER,)),
        "furnace": Drawing(ball, (CORNER,), around=furnace),
        "flat": Drawing(ball, (CORNER,), around=flat),
        "behind": Drawing(ball, (CORNER,), around=smooth, film=True),
        "not behind": Drawing(ball, (CORNER,), around=smooth),
        "ground": Drawing(grown, (CORNER,), around=flat),
        "lying": Drawing(replace(lying, surface=with_ground(lying.surface, CLAY)), (CORNER,), around=flat),
        "coloured": Drawing(
            ball,
            (CORNER,),
            around=ViewSurroundings(background=np.full((SIDE, SIDE, 3), (9, 80, 200), np.uint8)),
        ),
    }
    for name, rotation in ROTATIONS.items():
        around = lit(maps.one_pixel(), folder / f"{name}.exr", rotation, 1.5)
        made[name] = Drawing(cube, (CORNER,), around=around)
    return made | {"after": made["before"]}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RenderedView]:
    made = drawings(tmp_path_factory.mktemp("maps"))
    views = draw(tmp_path_factory.mktemp("drawn"), made, samples=128, ground=True)
    return {name: of_drawing[0] for name, of_drawing in views.items()}


def linear(values: np.ndarray) -> np.ndarray:
    share = values / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def rays() -> tuple[np.ndarray, np.ndarray]:
    """Origin and directions of the view CORNER."""
    pose, matrix = CORNER.cam2world(), intrinsics(CORNER.fov, SIDE)
    return pixel_rays({"cam2world": pose.tolist(), "intrinsics": matrix.tolist()}, SIDE)


@pytest.mark.parametrize("name", ["furnace", "flat"])
def test_a_white_ball_in_uniform_light_returns_that_light(seen: dict[str, RenderedView], name: str) -> None:
    view = seen[name]
    whole = view.mask & (view.color.min(axis=-1) == view.color.max(axis=-1))
    inner = whole & _inside(view.mask)
    assert inner.sum() > 200
    np.testing.assert_allclose(linear(view.color[inner]), MEAN_RADIANCE, atol=0.012)


def _inside(mask: np.ndarray) -> np.ndarray:
    """Pixels of which all neighbours are in the mask, too."""
    padded = np.pad(mask, 2)
    side = len(mask)
    return np.all([padded[y : y + side, x : x + side] for y in range(5) for x in range(5)], axis=0)


@pytest.mark.parametrize("name", ROTATIONS)
def test_the_bright_pixel_lights_the_faces_that_it_is_turned_to(
    seen: dict[str, RenderedView], name: str
) -> None:
    towards, angle = maps.direction(ROTATIONS[name])
    view, dark = seen[name], 0
    for normal in FACES.values():
        here = _inside(view.mask & (view.normals @ np.array(normal) > 0.99))
        assert here.sum() > 60
        expected = 1.5 * maps.BRIGHT * angle * max(0.0, float(towards @ normal)) / np.pi
        dark += expected == 0
        np.testing.assert_allclose(linear(view.color[here]).mean(), expected, rtol=0.03, atol=1e-3)
    assert dark == {"nought": 0, "one": 1, "back": 2}[name]


def test_the_map_behind_is_where_blender_sees_it(seen: dict[str, RenderedView], tmp_path: Path) -> None:
    world = maps.smooth()
    name = "smooth.exr"
    asked = Surroundings(light="hdri", worlds=(f"{name} {'0' * 64}",), background="hdri")
    files = SurroundingFiles(worlds={name: maps.written(world, tmp_path / name)})
    drawn = SurroundingDraws(asked, files, 0, tmp_path, 8192)
    rotation = drawn.of_view("m", 0, CORNER, SIDE).light.rotation
    turned = replace(CORNER, yaw=CORNER.yaw + rotation - 0.9)  # the same place of the map
    ours = drawn.of_view("m", 0, turned, SIDE)
    behind = seen["behind"]
    left, top, right, bottom = covered_pixels(
        CORNER, drawings(tmp_path)["behind"].model.surface.positions, SIDE
    )
    free = _inside(~behind.mask)
    free[:top] = free[bottom:] = free[:, :left] = free[:, right:] = False  # which Blender leaves out
    expected = linear(ours.background[free].astype(float)) / ours.light.strength * 0.8
    assert free.sum() > 40
    assert np.ptp(expected, axis=0).max() > 0.03
    np.testing.assert_allclose(linear(behind.color[free].astype(float)), expected, atol=0.01)
    assert (seen["not behind"].color[free] == 255).all()


def test_background_is_behind_and_nothing_else(seen: dict[str, RenderedView]) -> None:
    view, plain = seen["coloured"], seen["flat"]
    outside = _inside(~view.mask)
    assert (view.color[outside] == (9, 80, 200)).all()
    assert (view.mask == plain.mask).all()
    assert (view.z_depth == plain.z_depth).all()


def test_ground_is_a_plane_that_is_no_part_of_the_object(seen: dict[str, RenderedView]) -> None:
    view, (origin, directions) = seen["ground"], rays()
    height = -HALF - GAP
    expected = (height - origin[1]) / directions[..., 1]
    points = origin + directions * expected[..., None]
    there = (expected > 0) & (np.hypot(points[..., 0], points[..., 2]) < RADIUS * np.cos(np.pi / 64))
    ground = there & ~view.mask
    assert ground.sum() > 1000
    assert view.mask.sum() > 500
    np.testing.assert_allclose(view.z_depth[ground], expected[ground], rtol=2e-6)
    np.testing.assert_allclose(view.passes["position"][ground], points[ground], atol=2e-5)
    assert not view.passes["instance"][ground].any()
    assert (view.passes["instance"][view.mask] == 1).all()
    np.testing.assert_allclose(view.normals[ground], np.tile((0, 1.0, 0), (ground.sum(), 1)), atol=1e-6)
    far = ground & (np.hypot(points[..., 0], points[..., 2]) > 1.5)
    np.testing.assert_allclose(
        linear(view.color[far]).mean(axis=0), np.array(CLAY) * MEAN_RADIANCE, rtol=0.03, atol=0.004
    )
    away = np.abs(points).max(axis=-1)
    beside = ground & _inside(ground) & (away < HALF + 0.1)  # the cube hides a part of the sky
    assert beside.any()
    assert linear(view.color[beside]).mean() < 0.93 * linear(view.color[far]).mean()


def test_a_sheet_that_lies_on_the_ground_is_seen(seen: dict[str, RenderedView]) -> None:
    view = seen["lying"]
    assert view.mask.sum() > 200
    np.testing.assert_allclose(view.passes["position"][view.mask][:, 1], 0.0, atol=1e-6)


def test_the_usual_light_is_the_same_after_other_light(seen: dict[str, RenderedView]) -> None:
    assert (seen["before"].color == seen["after"].color).all()
    assert len(np.unique(seen["before"].color)) > 10

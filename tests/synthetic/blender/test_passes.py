"""Passes of models made by hand against closed forms: position, instance, roughness, metal; also through holes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic.dataset import PASSES, RenderedView
from synthetic.staging.sampling import SurfaceColors
from synthetic.staging.surface import Material, Texture, instances, merge
from synthetic.viewpoints import Viewpoint, intrinsics
from tests.synthetic.blender.drawing import FRONT, SIDE, Drawing, draw, places, square, staged

pytestmark = [pytest.mark.blender, pytest.mark.slow]

HALF = 0.4
ASKEW = Viewpoint(yaw=0.4, pitch=1.2, radius=2.0, fov=40.0)
MATTE, METAL = Material("matte", roughness=0.3), Material("metal", roughness=0.25, metallic=0.75)


def picture(folder: Path, name: str, shape: tuple[int, ...]) -> Path:
    """Random pixels; of four channels the last is 0 in the left half and 255 in the right one."""
    pixels = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    if shape[-1] == 4:
        pixels[..., 3] = np.where(np.arange(shape[1]) < shape[1] // 2, 0, 255)
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder / f"{name}.png"


def glossy(folder: Path) -> Material:
    """Roughness and metal by a texture, whose factors are no round numbers."""
    texture = Texture(picture(folder, "gloss", (9, 13, 3)), wrap=("mirror", "mirror"))
    return Material("g", roughness=0.9, metallic=0.7, specular=0.5, metallic_roughness_texture=texture)


def drawings(folder: Path) -> dict[str, Drawing]:
    far = square(0.0, HALF)
    wide = square(0.0, HALF, uvs=(far.uvs[0] * 2.7 - 0.9,), object="wide")
    leaf = Texture(picture(folder, "leaf", (4, 4, 4)), nearest=True)
    holes = replace(METAL, color_texture=leaf, alpha="mask")
    before, behind = square(0.2, 0.3, 0, object="leaf"), square(-0.1, 0.4, 1, object="behind")
    return {
        "matte": Drawing(staged([replace(far, object="a")], [MATTE]), (FRONT, ASKEW)),
        "textured": Drawing(staged([wide], [glossy(folder)])),
        "holes": Drawing(staged([before, behind], [holes, MATTE])),
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drawing]:
    return drawings(tmp_path_factory.mktemp("textures"))


@pytest.fixture(scope="module")
def seen(
    models: dict[str, Drawing], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[RenderedView]]:
    return draw(tmp_path_factory.mktemp("drawn"), models)


def on_plane(viewpoint: Viewpoint, depth: float) -> np.ndarray:
    """[R,R,3] where the rays of a view meet the plane z = depth."""
    matrix, pose = intrinsics(viewpoint.fov, SIDE), viewpoint.cam2world()
    row, column = np.indices((SIDE, SIDE))
    local = [
        (column - matrix[0, 2]) / matrix[0, 0],
        (matrix[1, 2] - row) / matrix[1, 1],
        -np.ones((SIDE, SIDE)),
    ]
    directions = np.stack(local, axis=-1) @ pose[:3, :3].T
    return pose[:3, 3] + directions * ((depth - pose[2, 3]) / directions[..., 2])[..., None]


def test_position_is_where_the_ray_meets_the_square(seen: dict[str, list[RenderedView]]) -> None:
    for view, viewpoint in zip(seen["matte"], (FRONT, ASKEW), strict=True):
        expected = on_plane(viewpoint, 0.0)
        inside = np.abs(expected[..., :2]).max(axis=-1) < HALF
        assert inside.sum() > 200
        assert (view.mask == inside).all()
        np.testing.assert_allclose(view.passes["position"][inside], expected[inside], atol=2e-6)
        assert not view.passes["position"][~inside].any()
        assert view.passes["position"].dtype == np.float32


def test_matte_is_rough_and_no_metal(seen: dict[str, list[RenderedView]]) -> None:
    view = seen["matte"][0]
    assert set(view.passes) == set(PASSES)
    assert (view.passes["roughness"] == view.mask).all()
    assert not view.passes["metallic"].any()
    assert (view.passes["instance"] == view.mask).all()


def test_roughness_and_metal_are_the_texture(
    seen: dict[str, list[RenderedView]], models: dict[str, Drawing]
) -> None:
    view, uv = seen["textured"][0], places(0.0, HALF)
    inside = ((uv > 0) & (uv < 1)).all(axis=-1)
    u, v = uv[inside].T
    lower = u >= v
    weights = np.where(lower[:, None], np.column_stack([u - v, v]), np.column_stack([u, v - u]))
    surface = models["textured"].model.surface
    with Image.open(surface.materials[0].metallic_roughness_texture.path) as file:  # type: ignore[union-attr]
        pixels = np.asarray(file)[::-1] / 255
    expected = SurfaceColors(surface).roughness_metallic(np.where(lower, 0, 1), weights)
    # One place by hand: bilinear between the texels around it, of which both axes are mirrored.
    at, x, y = 100, (u[100] * 2.7 - 0.9) * 13 - 0.5, (v[100] * 2.7 - 0.9) * 9 - 0.5
    by_hand = np.zeros(3)
    for column, row in ((np.floor(x) + i, np.floor(y) + j) for i in (0, 1) for j in (0, 1)):
        weight = (1 - abs(x - column)) * (1 - abs(y - row))
        i, j = (int(min(k % (2 * n), 2 * n - 1 - k % (2 * n))) for k, n in ((column, 13), (row, 9)))
        by_hand += weight * pixels[j, i]
    np.testing.assert_allclose(expected[at], by_hand[[1, 2]] * (0.9, 0.7), atol=1e-6)
    for number, name in enumerate(("roughness", "metallic")):
        np.testing.assert_allclose(view.passes[name][inside], expected[:, number], atol=2e-4)
        assert np.ptp(view.passes[name][inside]) > 0.3
        assert not view.passes[name][~inside].any()


def test_passes_go_through_what_is_cut(seen: dict[str, list[RenderedView]]) -> None:
    view, uv = seen["holes"][0], places(0.2, 0.3)
    cut = ((uv > 0) & (uv < (0.5, 1))).all(axis=-1)
    kept = ((uv > (0.5, 0)) & (uv < 1)).all(axis=-1)
    expected = {"roughness": (1.0, 0.25), "metallic": (0.0, 0.75), "instance": (2, 1)}
    for name, values in expected.items():
        for where, value in zip((cut, kept), values, strict=True):
            assert where.sum() > 100
            assert (view.passes[name][where] == np.float32(value)).all()
    for where, depth in ((cut, -0.1), (kept, 0.2)):
        np.testing.assert_allclose(view.passes["position"][where], on_plane(FRONT, depth)[where], atol=2e-6)


def test_parts_of_one_name_are_one_instance() -> None:
    names = ("seat", "", "leg", "seat", "", "leg")
    parts = [replace(square(0.0, 1.0), object=name) for name in names]
    surface = merge(parts, [MATTE])
    numbers, listed = instances(surface)
    assert listed == ("seat", "", "leg", "")
    assert numbers.tolist() == [1, 1, 2, 2, 3, 3, 1, 1, 4, 4, 3, 3]
    kept = surface.subset(surface.part == 4)
    assert instances(kept)[0].tolist() == [4, 4]
    assert instances(kept)[1] == listed
    nameless = merge([replace(part, object="") for part in parts[:2]], [MATTE])
    assert instances(replace(nameless, names=()))[0].tolist() == [1, 1, 2, 2]

"""Models made by hand, drawn: base colours to the byte, cut-outs, smooth shading; nothing left of the last model."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.dataset import RenderedView
from synthetic.staging.sampling import base_color
from synthetic.staging.surface import Material, Part, Texture
from synthetic.viewpoints import Viewpoint
from tests.synthetic.blender.drawing import FRONT, SIDE, Drawing, draw, places, square, staged

pytestmark = [pytest.mark.blender, pytest.mark.slow]

HALF = 0.4
WHITE, BLUE = Material("white", (0.8, 0.8, 0.8)), Material("blue", (0.0, 0.0, 1.0))
WRAPS = ("repeat", "clamp", "mirror")
MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
ABOVE = Viewpoint(yaw=0.0, pitch=0.5, radius=2.0, fov=40.0)
ROOM = ((0.5, 0.2, 0.1), (0.1, 0.3, 0.6))


def noise(folder: Path, mode: str) -> Path:
    """A picture of 13 by 9 random pixels."""
    path = folder / f"{mode}.png"
    pixels = np.random.default_rng(7).integers(0, 256, (9, 13, MODES[mode]), dtype=np.uint8)
    Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode).save(path)
    return path


def textured(path: Path, wrap: tuple[str, str], nearest: bool) -> Drawing:
    texture = Texture(path, wrap=wrap, nearest=nearest)  # type: ignore[arg-type]
    part = square(0.0, HALF)
    return Drawing(
        staged([square(0.0, HALF, uvs=(part.uvs[0] * 2.7 - 0.9,))], [Material("m", (1, 1, 1), texture)])
    )


def laid(part: Part) -> Part:
    """The part turned to face +y."""
    turn = np.array([(1.0, 0, 0), (0, 0, -1), (0, 1, 0)])
    return Part(part.positions @ turn, part.triangles, part.material, part.uvs)


def holed(folder: Path) -> Texture:
    """Red, of which the left half is cut."""
    pixels = np.full((4, 4, 4), (200, 0, 0, 255), np.uint8)
    pixels[:, :2, 3] = 0
    Image.fromarray(pixels).save(folder / "holed.png")
    return Texture(folder / "holed.png", nearest=True)


def ball(normals: str) -> Part:
    """A coarse ball whose normals are flat, smooth, smooth but pointing inwards, or half and half; or a fine one."""
    mesh = trimesh.creation.icosphere(subdivisions=4 if normals == "fine" else 1, radius=HALF)
    triangles, positions = np.asarray(mesh.faces, np.int64), np.asarray(mesh.vertices)
    smooth = (positions / HALF)[triangles].astype(np.float32)
    left = (positions[triangles].mean(axis=1)[:, 0] < 0)[:, None, None]
    mixed = np.where(left, mesh.face_normals[:, None], smooth).astype(np.float32)
    own = {"smooth": smooth, "inward": -smooth, "left flat": mixed}.get(normals)
    return Part(positions, triangles, np.zeros(len(triangles), np.int32), normals=own)


def drawings(folder: Path) -> dict[str, Drawing]:
    made = {
        f"{mode} {wrap[0]} {wrap[1]} {nearest}": textured(noise(folder, mode), wrap, nearest)
        for mode, wrap, nearest in product(MODES, product(WRAPS, WRAPS), (False, True))
        if mode == "RGBA" or (not nearest and wrap in (("repeat", "repeat"), ("clamp", "mirror")))
    }
    holes = Material("holes", (1, 1, 1), holed(folder), alpha="mask")
    gone = Material("gone", (1, 1, 1), opacity=0.2, alpha="mask")
    solid = Material("solid", (1, 1, 1), holed(folder))
    ground = laid(square(-0.2, 0.45, 1))
    corners = np.random.default_rng(1).uniform(0, 1, (2, 3, 4)).astype(np.float32)
    colored = square(0.0, HALF, colors=corners)
    tinted = Material("tinted", (0.9, 0.5, 0.2), Texture(noise(folder, "RGB")))
    coarse = Material("coarse", (0.9, 0.5, 0.2), roughness=0.4, specular=0.5, metallic=0.6)
    far = square(0.0, HALF)
    layers = tuple(far.uvs[0] * 0 for _ in range(9)) + far.uvs
    return made | {
        "factors": Drawing(staged([colored], [tinted])),
        "metal": Drawing(staged([square(0.0, HALF)], [coarse])),
        "glow": Drawing(staged([square(0.0, HALF)], [Material("g", (0, 0, 0), emission=(0.1, 0.4, 0.02))])),
        "tenth layer": Drawing(
            staged(
                [square(0.0, HALF, uvs=layers)], [Material("m", (1, 1, 1), Texture(noise(folder, "RGB"), 9))]
            )
        ),
        "holes": Drawing(staged([square(0.2, 0.3), square(-0.1, 0.4, 1)], [holes, BLUE])),
        "holes alone": Drawing(staged([square(0.2, 0.3)], [holes])),
        "solid": Drawing(staged([square(0.2, 0.3)], [solid])),
        "sixty": Drawing(
            staged([*(square(0.4 - i / 200, 0.3) for i in range(60)), square(0.0, HALF, 1)], [gone, BLUE])
        ),
        "ground": Drawing(staged([ground], [solid, WHITE]), (ABOVE,)),
        "ground under nothing": Drawing(staged([laid(square(0.3, 0.45)), ground], [gone, WHITE]), (ABOVE,)),
        **{
            name: Drawing(staged([ball(name)], [WHITE]))
            for name in ("fine", "flat", "smooth", "inward", "left flat")
        },
        "room": Drawing(staged([square(0.0, HALF)], [BLUE]), room=ROOM),
        "again": textured(noise(folder, "RGBA"), ("repeat", "repeat"), False),
    }


Views = dict[str, RenderedView]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drawing]:
    return drawings(tmp_path_factory.mktemp("textures"))


@pytest.fixture(scope="module")
def seen(models: dict[str, Drawing], tmp_path_factory: pytest.TempPathFactory) -> Views:
    return {name: views[0] for name, views in draw(tmp_path_factory.mktemp("drawn"), models).items()}


def expected_bytes(drawing: Drawing, depth: float = 0.0, half: float = HALF) -> tuple[np.ndarray, np.ndarray]:
    """Where the square is [R,R], and its base colours there [N,3], looked up without Blender, as numbers 0 to 255."""
    uv = places(depth, half)
    inside = ((uv > 0) & (uv < 1)).all(axis=-1)
    u, v = uv[inside].T
    lower = u >= v
    weights = np.where(lower[:, None], np.column_stack([u - v, v]), np.column_stack([u, v - u]))
    linear = base_color(drawing.model.surface, np.where(lower, 0, 1), weights)[:, :3]
    code = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return inside, 255 * code


def assert_albedo_true(view: RenderedView, drawing: Drawing) -> None:
    inside, values = expected_bytes(drawing)
    assert (view.mask == inside).all()
    assert view.albedo is not None
    assert (view.albedo[~inside] == 255).all()
    got = view.albedo[inside].astype(float)
    assert np.abs(got - values).max() < 0.51  # a number that ends in .5 may go either way
    assert (got != np.round(values)).mean() < 0.005


@pytest.mark.parametrize("mode", MODES)
def test_albedo_is_the_texture_to_the_byte(seen: Views, models: dict[str, Drawing], mode: str) -> None:
    cases = [name for name in models if name.startswith(f"{mode} ")]
    assert len(cases) == (18 if mode == "RGBA" else 2)
    for name in cases:
        assert_albedo_true(seen[name], models[name])


@pytest.mark.parametrize("name", ["factors", "metal", "tenth layer"])
def test_albedo_is_factor_times_texture_times_vertex_colours(
    seen: Views, models: dict[str, Drawing], name: str
) -> None:
    assert_albedo_true(seen[name], models[name])


def test_emission_is_seen_but_no_base_colour(seen: Views) -> None:
    view = seen["glow"]
    middle = view.color[SIDE // 2, SIDE // 2] / 255
    linear = np.where(middle <= 0.04045, middle / 12.92, ((middle + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(linear, (0.1, 0.4, 0.02), atol=0.005)
    assert view.albedo is not None
    assert (view.albedo[view.mask] == 0).all()


def test_every_output_goes_through_what_is_cut(seen: Views) -> None:
    view, alone = seen["holes"], seen["holes alone"]
    uv = places(0.2, 0.3)
    cut = ((uv > 0) & (uv < (0.5, 1))).all(axis=-1)
    kept = ((uv > (0.5, 0)) & (uv < 1)).all(axis=-1)
    for name, behind in (("holes", 2.1), ("holes alone", np.inf)):
        depth = seen[name].z_depth
        np.testing.assert_allclose(depth[kept], 1.8, atol=1e-5)
        np.testing.assert_allclose(depth[cut], behind, atol=1e-5)
    assert view.albedo is not None
    assert view.normals is not None
    assert (view.albedo[kept] == (200, 0, 0)).all()
    assert (view.albedo[cut] == (0, 0, 255)).all()
    np.testing.assert_allclose(
        view.normals[cut | kept], np.full(((cut | kept).sum(), 3), (0, 0, 1.0)), atol=1e-6
    )
    assert not alone.mask[cut].any()
    assert (alone.color[:, : SIDE // 2 - 3] == 255).all()
    assert (seen["solid"].mask == ((uv > 0) & (uv < 1)).all(axis=-1)).all()


def test_rays_pass_sixty_layers_of_what_is_cut(seen: Views) -> None:
    albedo = seen["sixty"].albedo
    assert albedo is not None
    assert (albedo[seen["sixty"].mask] == (0, 0, 255)).all()
    assert seen["sixty"].mask.sum() == seen["RGB repeat repeat False"].mask.sum()
    assert seen["sixty"].color[SIDE // 2, SIDE // 2, 2] > 200


def test_what_is_cut_throws_no_shadow(seen: Views) -> None:
    bare, covered = (seen[name].color.astype(float) for name in ("ground", "ground under nothing"))
    assert (seen["ground"].mask == seen["ground under nothing"].mask).all()
    assert abs(bare[seen["ground"].mask].mean() - covered[seen["ground"].mask].mean()) < 2


def test_smooth_shading_is_smooth_whichever_way_its_normals_point(seen: Views) -> None:
    inner = np.hypot(*(places(0.0, HALF) - 0.5).T) < 0.35
    off = {
        name: np.abs(seen[name].color.astype(float) - seen["fine"].color)[inner].mean()
        for name in ("flat", "smooth", "inward")
    }
    assert max(off["smooth"], off["inward"]) < 0.5 * off["flat"], off
    assert (seen["smooth"].z_depth == seen["flat"].z_depth).all()


def test_flat_faces_stay_flat_beside_smooth_ones(seen: Views) -> None:
    halves = places(0.0, HALF)[..., 0]
    for side, like, unlike in ((halves < 0.4, "flat", "smooth"), (halves > 0.6, "smooth", "flat")):
        inside = side & seen["flat"].mask
        near, far = (
            np.abs(seen["left flat"].color.astype(float) - seen[name].color)[inside].mean()
            for name in (like, unlike)
        )
        assert near < 0.2 * far, (near, far)


def test_rooms_have_base_colours_and_normals(seen: Views) -> None:
    view = seen["room"]
    assert view.mask.all()
    assert view.albedo is not None
    assert view.normals is not None
    code = [tuple(round(255 * (1.055 * c ** (1 / 2.4) - 0.055)) for c in colour) for colour in ROOM]
    assert {tuple(color) for color in view.albedo.reshape(-1, 3).tolist()} == {*code, (0, 0, 255)}
    np.testing.assert_allclose(np.linalg.norm(view.normals, axis=-1), 1, atol=1e-6)


def test_nothing_is_left_of_the_models_before(
    seen: Views, models: dict[str, Drawing], tmp_path: Path
) -> None:
    again = seen["again"]
    alone = draw(tmp_path, {"again": models["again"]})["again"][0]
    for name in ("color", "z_depth", "mask", "normals", "albedo"):
        assert (getattr(again, name) == getattr(alone, name)).all(), name
    assert FRONT in models["again"].views


def test_materials_that_are_kept_take_every_number_and_picture_of_the_next_model(tmp_path: Path) -> None:
    half, third = (Texture(noise(tmp_path, mode), wrap=("clamp", "mirror")) for mode in ("RGB", "RGBA"))
    first = Material("a", (0.9, 0.5, 0.2), half, roughness=0.4, specular=0.5, emission=(0.1, 0.0, 0.0))
    cut = Material("cut", (1, 1, 1), third, alpha="mask", cutoff=0.3)
    kinds = [
        [WHITE, BLUE],
        [
            replace(first, color_texture=None),
            Material("b", (0.1, 0.5, 0.9), metallic=1.0, emission=(0, 0.2, 0)),
        ],
        [first, replace(first, color_texture=replace(half, path=third.path, nearest=True), roughness=0.1)],
        [cut, replace(cut, cutoff=0.8, opacity=0.9)],
    ]
    made = {
        f"{kind} {number}": Drawing(staged([square(0.0, HALF, uvs=square(0.0, 1.0).uvs * 2)], [material]))
        for kind, pair in enumerate(kinds)
        for number, material in enumerate([*pair, pair[0]])
    }
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    drawn = draw(tmp_path / "one", made)
    turned = draw(tmp_path / "other", dict(reversed(made.items())))
    for name, (view,) in drawn.items():
        for each in ("color", "z_depth", "mask", "albedo"):
            assert (getattr(view, each) == getattr(turned[name][0], each)).all(), (name, each)
        for each, values in view.passes.items():
            assert (values == turned[name][0].passes[each]).all(), (name, each)
    for kind in range(len(kinds)):
        assert (drawn[f"{kind} 0"][0].color == drawn[f"{kind} 2"][0].color).all()
        assert (drawn[f"{kind} 0"][0].color != drawn[f"{kind} 1"][0].color).any()


def test_what_is_drawn_does_not_depend_on_how_much_of_the_picture_is(tmp_path: Path) -> None:
    """Only the pixels around a model are drawn; specks in the corners of the picture make that all of it."""
    colors = [WHITE, replace(BLUE, color=(0.1, 0.3, 0.9))]
    parts = [replace(ball("smooth"), positions=ball("smooth").positions * 0.3 + np.array((-0.3, 0.25, 0.1)))]
    parts.append(
        replace(square(0.0, 0.1, 1), positions=square(0.0, 0.1).positions + np.array((-0.5, 0.55, 0)))
    )
    specks = [
        replace(square(0.0, 1e-4), positions=square(0.0, 1e-4).positions + np.array((x, y, 0)))
        for x, y in product((-0.71, 0.71), repeat=2)
    ]
    near = Viewpoint(yaw=0.3, pitch=1.4, radius=0.9, fov=50.0)  # cut by the border of the picture
    drawn = draw(
        tmp_path,
        {
            "alone": Drawing(staged(parts, colors), (FRONT, near)),
            "with specks": Drawing(staged([*parts, *specks], colors), (FRONT, near)),
        },
    )
    for alone, all_of_it in zip(drawn["alone"], drawn["with specks"], strict=True):
        inside = np.ones((SIDE, SIDE), np.bool_)
        inside[all_of_it.mask & ~alone.mask] = False  # a speck is at most a pixel
        assert (~inside).sum() <= 4
        assert 100 < alone.mask.sum() < 0.6 * SIDE**2
        for name in ("mask", "z_depth", "normals", "albedo"):
            assert (getattr(alone, name) == getattr(all_of_it, name))[inside].all(), name
        difference = np.abs(alone.color.astype(int) - all_of_it.color)
        assert difference[alone.mask].max() <= 2
        assert (difference[alone.mask] > 0).mean() < 0.01
        assert (alone.color[~alone.mask] != 255).any()  # edges are soft, beyond the mask

"""Fields put together, cut and moved, in closed form; scenes on disk; interpolation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gp3d_core.meshing.level import Level
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.snapshots.metadata import SnapshotError
from gp3d_core.vq3d.config import CameraConfig, RenderConfig
from gp3d_core.vq3d.models.field import FieldDecoder
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.rendering.depth import DepthSpace
from gp3d_core.vq3d.rendering.views import input_pose, render
from gp3d_core.vq3d.scenes.composition import (
    Box,
    Fade,
    Keep,
    LiftedMask,
    Place,
    RegionError,
    Remove,
    lift,
    place_about,
    together,
)
from gp3d_core.vq3d.scenes.editing import (
    Choice,
    Motion,
    along,
    blend,
    choose_region,
    insert,
    move,
    remove,
    share_beyond,
)
from gp3d_core.vq3d.scenes.mesh import CubeField, mesh_of
from gp3d_core.vq3d.scenes.scenefile import Part, Scene, load_scene, save_scene

CAMERA, RENDER = CameraConfig(), RenderConfig(steps=96)
RED, GREEN, BLUE = (0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0.1, 0.2, 0.9)
EVERYWHERE, NOWHERE = Box((-9.0,) * 3, (9.0,) * 3), Box((50.0,) * 3, (51.0,) * 3)


def ball(centre, radius, colour, density=400.0):
    """A solid ball in thin air."""

    def field(points):
        inside = (points - points.new_tensor(centre)).norm(dim=-1, keepdim=True) < radius
        return points.new_tensor(colour).expand_as(points), density * inside

    return field


def wall(z, colour):
    """Everything behind the plane at z."""

    def field(points):
        return points.new_tensor(colour).expand_as(points), 400.0 * (points[..., 2:] < z)

    return field


def seen(field, size=9):
    return render(field, input_pose(), CAMERA, RENDER, size)


def middle(field):
    return seen(field).rgb[0, :, 4, 4]


def points(count=400):
    return torch.rand(1, count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def close(colour, expected):
    torch.testing.assert_close(colour, torch.tensor(expected), atol=0.02, rtol=0)


def test_what_is_in_front_hides_what_is_behind():
    near, far, back = ball((0, 0, 0.2), 0.15, RED), ball((0, 0, -0.5), 0.3, GREEN), wall(-2, BLUE)
    close(middle(together([back, near, far], [1, 0, 0])), RED)
    close(middle(together([back, far, near], [1, 0, 0])), RED)
    close(middle(together([back, far], [1, 0])), GREEN)
    hidden = together([back, ball((0, 0, -3), 0.4, RED)], [1, 0])
    close(middle(hidden), BLUE)


def test_nothing_inserted_changes_nothing():
    back = wall(-1, BLUE)
    view, alone = seen(together([back, Keep(NOWHERE)(ball((0, 0, 0), 0.3, RED))], [1, 0])), seen(back)
    torch.testing.assert_close(view.rgb, alone.rgb, atol=1e-6, rtol=0)
    torch.testing.assert_close(view.weights, alone.weights, atol=1e-6, rtol=0)


def test_an_object_without_a_scene_leaves_the_backdrop_of_the_scene():
    """The opaque end of a ray shows the scene's colour there, not black and not the object's."""
    air = together([lambda p: (torch.ones_like(p) * 0.3, p[..., :1] * 0), ball((0, 0, 0), 0.01, RED)], [1, 0])
    close(seen(air).rgb[0, :, 0, 0], (0.3, 0.3, 0.3))


def test_densities_add_and_colours_are_weighted_by_them():
    one, other = ball((0, 0, 0), 5, RED, density=3.0), ball((0, 0, 0), 5, BLUE, density=1.0)
    rgb, sigma = together([one, other], [1, 1])(points())
    torch.testing.assert_close(sigma, torch.full_like(sigma, 4.0))
    expected = (3 * torch.tensor(RED) + torch.tensor(BLUE)) / 4
    torch.testing.assert_close(rgb, expected.expand_as(rgb))


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_scaling_keeps_how_opaque_a_thing_is(scale):
    """∫σ along the axis of a faint ball stays 2·radius·density, whatever its size."""
    field = Place(scale, 0.0, (0.0, 0.0, 0.0))(ball((0, 0, 0), 0.2, RED, density=2.0))
    z = torch.linspace(-1, 1, 20_001)
    line = torch.stack([torch.zeros_like(z), torch.zeros_like(z), z], dim=-1)[None]
    assert float(torch.trapezoid(field(line)[1][0, :, 0], z)) == pytest.approx(0.8, rel=2e-3)


def test_a_turn_by_a_quarter_takes_the_front_to_the_left():
    """As cameras: growing yaw, seen from above, takes +z towards −x."""
    field = Place(1.0, 90.0, (0.0, 0.0, 0.0))(ball((0, 0, 0.5), 0.1, RED))
    _, sigma = field(torch.tensor([[[-0.5, 0, 0], [0.5, 0, 0], [0, 0, 0.5]]]))
    assert (sigma[0, :, 0] > 0).tolist() == [True, False, False]


def test_a_thing_turns_and_scales_about_its_middle():
    centre = torch.tensor([0.3, -0.2, 0.1])
    field = place_about(centre, scale=2.0, yaw=77.0, shift=(0.5, 0, 0))(ball(centre.tolist(), 0.1, RED))
    goal = torch.tensor([0.8, -0.2, 0.1])
    directions = torch.nn.functional.normalize(points(200), dim=-1)
    assert (field(goal + directions * 0.19)[1] > 0).all()
    assert (field(goal + directions * 0.21)[1] == 0).all()
    with pytest.raises(RegionError, match="scale above 0"):
        place_about(centre, scale=0.0, yaw=0, shift=(0, 0, 0))


def test_keep_and_remove_complete_each_other():
    field, region = ball((0, 0, 0), 0.8, RED, density=7.0), Box((-0.4, -0.5, -0.6), (0.5, 0.6, 0.3))
    whole, kept, left = (f(points())[1] for f in (field, Keep(region)(field), Remove(region)(field)))
    torch.testing.assert_close(kept + left, whole)
    assert 0 < float((kept > 0).float().mean()) < float((whole > 0).float().mean())


def test_a_mask_lifts_what_it_covers_and_nothing_behind():
    """Up right, of a wall with a ball before it: that quarter of the ball, not the others, not the wall."""
    near = ball((0, 0, 0), 0.3, RED)
    inverse = seen(together([near, wall(-2, BLUE)], [0, 1]), 65).disparity[0]
    mask = torch.zeros(65, 65)
    mask[:32, 33:] = 1
    region = lift(mask, inverse, CAMERA.fov, 0.3)
    places = [[1, 1, 2.5], [-1, 1, 2.5], [1, -1, 2.5], [1, 1, -19], [1, 1, 50], [20, 1, 0]]
    probes = torch.tensor(places)[None] / 10
    assert region(probes)[0, :, 0].round().tolist() == [1, 0, 0, 0, 0, 0]
    assert (region.centre[:2] > 0.05).all()


def test_the_middle_of_a_mask_lies_on_the_surface():
    inverse = torch.full((33, 33), 1 / 1.5)
    mask = torch.zeros(33, 33)
    mask[0, 32] = 1  # the corner up right, a pixel centre on the border of the image plane
    reach = 1.5 * np.tan(np.radians(22.5))
    torch.testing.assert_close(
        LiftedMask(mask, inverse, float(np.tan(np.radians(22.5))), 0.1).centre,
        torch.tensor([reach, reach, -0.5], dtype=torch.float32),
    )


MICRO = ("training.resolution=16", "encoder.patch=4", "decoder.plane_resolution=16", "render.steps=12")


def micro_scene(seed, tokenizer="a" * 64):
    config = resolve("tiny32", MICRO)
    torch.manual_seed(seed)
    decoder = FieldDecoder(config.decoder).eval().requires_grad_(False)
    planes = torch.randn(3, config.decoder.plane_channels, 16, 16)
    part = Part(planes, decoder, config.decoder, tokenizer, f"picture {seed}", torch.arange(16))
    return Scene((part,), config.camera, config.render, 16, pivot=1.1)


def same_view(one, other, tolerance=0.0):
    for yaw in (0.0, 12.0):
        a, b = one.view(yaw), other.view(yaw)
        torch.testing.assert_close(a.rgb, b.rgb, atol=tolerance, rtol=0)
        torch.testing.assert_close(a.disparity, b.disparity, atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", ["planes", "field"])
def test_interpolation_begins_and_ends_at_the_two_scenes(kind):
    one, other = micro_scene(1), micro_scene(1)
    other = micro_scene(2) if kind == "field" else other_planes(other)
    first, between, last = along(one, other, 3, kind)
    same_view(first, one, 1e-5)
    same_view(last, other, 1e-5)
    half = between.view().rgb
    assert all((half - end.view().rgb).abs().max() > 1e-3 for end in (one, other))


def test_the_pivot_goes_from_one_scene_to_the_other_in_inverse_depth():
    one, other = replace(micro_scene(1), pivot=1.0), replace(micro_scene(1), pivot=3.0)
    pivots = [scene.pivot for scene in along(one, other, 3)]
    assert pivots == pytest.approx([1.0, 1.5, 3.0])


def other_planes(scene):
    planes = torch.randn(scene.parts[0].planes.shape, generator=torch.Generator().manual_seed(9))
    part = scene.parts[0]
    return Scene(
        (Part(planes, part.decoder, part.settings, part.tokenizer, "other"),),
        scene.camera,
        scene.render,
        scene.resolution,
        scene.pivot,
    )


def test_planes_of_two_tokenizers_do_not_mix():
    with pytest.raises(RegionError, match="two tokenizers"):
        blend(micro_scene(1), micro_scene(1, "b" * 64), 0.5)
    cut = remove(micro_scene(1), EVERYWHERE)
    with pytest.raises(RegionError, match="nothing was cut"):
        blend(cut, micro_scene(1), 0.5)


def test_a_scene_survives_its_file(tmp_path):
    scene, guest = micro_scene(1), micro_scene(2, "b" * 64)
    region = choose_region(guest, Choice())
    busy = move(insert(scene, guest, region, Motion(0.5, 20.0, (0.1, 0.0, 0.2))), EVERYWHERE, Motion())
    busy = blend(busy, scene, 0.25, "field")
    save_scene(busy, tmp_path / "busy.safetensors")
    again = load_scene(tmp_path / "busy.safetensors")
    same_view(again, busy)
    assert again.source == "picture 1 + picture 2"
    assert [type(s) for s in again.parts[0].steps] == [Remove, Fade]
    assert torch.equal(again.parts[0].codes, torch.arange(16).int())


def test_removing_nothing_and_everything():
    scene = micro_scene(1)
    same_view(remove(scene, NOWHERE), scene, 1e-5)
    empty = remove(scene, EVERYWHERE).view()
    assert float(empty.weights[..., -1].min()) > 0.999


def test_scenes_of_another_version_are_refused_in_one_line(tmp_path):
    path = tmp_path / "scene.safetensors"
    with pytest.raises(SnapshotError, match="no VQ3D scene at"):
        load_scene(path)
    save_scene(micro_scene(1), path)
    tensors = load_file(path)
    with safe_open(path, framework="np") as file:
        header = file.metadata()
    facts = json.loads(header["facts"])

    def write(header, tensors=tensors):
        save_file(tensors, path, metadata=header)
        with pytest.raises(SnapshotError) as caught:
            load_scene(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "version 2" in write(header | {"version": "2"})
    assert "found gp3d-snapshot" in write(header | {"format": "gp3d-snapshot"})
    for broken in (
        facts | {"camera": {"fov": 45.0}},
        facts | {"parts": [facts["parts"][0] | {"steps": [{"do": "fold", "region": "box"}]}]},
        {k: v for k, v in facts.items() if k != "pivot"},
        facts | {"parts": 3},
    ):
        assert "another version" in write(header | {"facts": json.dumps(broken)})
    assert "without parts" in write(header | {"facts": json.dumps(facts | {"parts": []})})
    small = tensors | {"0.planes": tensors["0.planes"][:2].clone()}
    assert "planes of shape" in write(header, small)
    assert "lacks" in write(header, {k: v for k, v in tensors.items() if not k.endswith("layers.4.bias")})
    path.write_bytes(b"no scene")
    with pytest.raises(SnapshotError, match="not a safetensors file"):
        load_scene(path)


def test_only_what_is_chosen_is_inserted_and_where_it_is_asked_to():
    scene, other, region = micro_scene(1), micro_scene(2), Box((-0.2,) * 3, (0.2,) * 3)
    both = insert(scene, other, region, Motion(0.5, 0.0, (0.5, 0.0, 0.0)))
    guest, whole = both.parts[1].field(), other.parts[0].field()
    places = torch.tensor([[[0.5, 0, 0], [0.52, 0.01, 0], [0.61, 0, 0], [0.0, 0, 0]]])
    rgb, sigma = guest(places)
    own_rgb, own = whole(torch.tensor([[[0.0, 0, 0], [0.04, 0.02, 0]]]))
    torch.testing.assert_close(sigma[:, :2], own / 0.5)
    torch.testing.assert_close(rgb[:, :2], own_rgb)
    assert sigma[0, 2:, 0].tolist() == [0, 0]
    torch.testing.assert_close(both.parts[0].field()(places)[1], scene.parts[0].field()(places)[1])


def test_what_is_moved_out_of_the_frame_is_measured():
    place = Place(0.7, 30.0, (0.1, -0.2, 0.3))
    points = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(3))
    found, _ = place(lambda where: (where, where[..., :1]))(place.moved(points))
    torch.testing.assert_close(found, points)
    scene, everything = micro_scene(1), Box((-9.0,) * 3, (9.0,) * 3)
    assert share_beyond(scene, scene, everything, Motion()) == 0
    assert share_beyond(scene, scene, everything, Motion(shift=(50.0, 0.0, 0.0))) == 1
    some = share_beyond(scene, scene, everything, Motion(shift=(0.3, 0.0, 0.0)))
    assert 0 < some < share_beyond(scene, scene, everything, Motion(shift=(0.6, 0.0, 0.0))) < 1


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"pivot": 0.0}, "pivot"),
        ({"pivot": float("nan")}, "pivot"),
        ({"pivot": 10**400}, "pivot"),
        ({"resolution": float("inf")}, "resolution"),
        ({"resolution": 10**9}, "resolution"),
        ({"render": {"steps": 10**9, "fine_steps": 0}}, "samples of a ray"),
        ({"render": {"steps": 0, "fine_steps": 0}}, "render.steps"),
        ({"camera": {"near": 0.0}}, "near"),
        ({"camera": {"far": float("inf")}}, "far"),
        ({"camera": {"fov": float("nan")}}, "fov"),
        ({"settings": {"field_width": 10**9}}, "width"),
        ({"settings": {"plane_channels": 10**9}}, "planes of shape"),
        ({"steps": [{"do": "place", "scale": 0.0, "yaw": 0.0, "shift": [0, 0, 0]}]}, "scale"),
        ({"steps": [{"do": "place", "scale": 1.0, "yaw": 0.0, "shift": [0, 0, float("nan")]}]}, "shift"),
        ({"steps": [{"do": "place", "scale": 1.0, "yaw": 0.0, "shift": [0, 0]}]}, "shift"),
        ({"steps": [{"do": "fade", "share": -1.0}]}, "share"),
        ({"steps": [{"do": "keep", "region": "mask", "reach": 0.4, "tolerance": 0.0}]}, "tolerance"),
    ],
)
def test_numbers_of_a_scene_file_that_cannot_be_are_refused(tmp_path, broken, said):
    path, scene = tmp_path / "scene.safetensors", micro_scene(1)
    save_scene(insert(scene, scene, choose_region(scene, Choice()), Motion()), path)
    tensors = load_file(path)
    with safe_open(path, framework="np") as file:
        header = file.metadata()
    facts = json.loads(header["facts"])
    tensors |= {f"0.0.{key}": tensors[f"1.0.{key}"].clone() for key in ("mask", "inverse")}
    for key, value in broken.items():
        owner = facts if key in facts else facts["parts"][0]
        owner[key] = owner[key] | value if isinstance(value, dict) else value
    save_file(tensors, path, metadata=header | {"facts": json.dumps(facts)})
    with pytest.raises(SnapshotError, match=rf"another version.*{said}") as caught:
        load_scene(path)
    assert len(str(caught.value)) < 400


def test_masks_of_a_scene_file_fit_their_surface(tmp_path):
    path, scene = tmp_path / "scene.safetensors", micro_scene(1)
    save_scene(remove(scene, choose_region(scene, Choice())), path)
    with safe_open(path, framework="np") as file:
        header = file.metadata()
    save_file(load_file(path) | {"0.0.mask": torch.ones(3, 4)}, path, metadata=header)
    with pytest.raises(SnapshotError, match=r"a mask of \[3, 4\] over a surface of \[16, 16\]"):
        load_scene(path)


def test_masks_are_read_from_any_picture_and_empty_ones_refused(tmp_path):
    scene = micro_scene(1)
    picture = np.zeros((40, 60), np.uint8)
    Image.fromarray(picture).save(tmp_path / "black.png")
    with pytest.raises(RegionError, match="mask is empty"):
        choose_region(scene, Choice(mask=tmp_path / "black.png"))
    picture[:, 30:] = 255  # the cut takes the middle 40 columns
    Image.fromarray(picture).convert("RGBA").save(tmp_path / "half.png")
    region = choose_region(scene, Choice(mask=tmp_path / "half.png"))
    assert region.mask[:, :7].max() < 0.05
    assert region.mask[:, 9:].min() > 0.95
    (tmp_path / "text.png").write_text("none")
    with pytest.raises(RegionError, match=r"text\.png is no picture"):
        choose_region(scene, Choice(mask=tmp_path / "text.png"))
    with pytest.raises(RegionError, match="two corners"):
        choose_region(scene, Choice(box=(0, 0, 0, 1, 1, 0)))


def test_the_grid_of_a_mesh_spans_what_the_camera_sees():
    cube = CubeField(ball((0, 0, 0), 0.3, RED), DepthSpace.of(CAMERA), float(np.tan(np.radians(22.5))))
    corners = cube.to_world(torch.tensor([[1.0, -1.0, 1.0], [0.0, 0.0, -1.0]]))
    reach = 0.4 * np.tan(np.radians(22.5))
    torch.testing.assert_close(corners[0], torch.tensor([reach, -reach, 0.6], dtype=torch.float32))
    torch.testing.assert_close(corners[1], torch.tensor([0.0, 0.0, 1 - 8.0]))


def test_a_mesh_of_a_ball_is_that_ball(monkeypatch):
    scene = micro_scene(1)
    monkeypatch.setattr(Scene, "field", lambda self: ball((0.05, 0, 0.1), 0.25, RED))
    mesh, facts = mesh_of(
        scene, SceneMeshOptions(grid=64, level=Level(200.0), color="vertex", crop_depth=None)
    )
    distance = np.linalg.norm(mesh.vertices - [0.05, 0, 0.1], axis=1)
    assert distance.mean() == pytest.approx(0.25, rel=0.02)
    assert distance.std() < 0.01
    outwards = ((mesh.vertices - [0.05, 0, 0.1]) * mesh.normals).sum(axis=1)
    assert outwards.mean() > 0.22
    assert facts["watertight"]
    np.testing.assert_allclose(mesh.vertex_colors.mean(axis=0) / 255, RED, atol=0.02)

"""EG3D in closed form and under invariances, and its schedules."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from gp3d_core.baselines.eg3d.field import FeatureDecoder, FeatureField
from gp3d_core.baselines.eg3d.generator import Eg3dGenerator
from gp3d_core.baselines.eg3d.marching import (
    box_limits,
    coarse_distances,
    cross_box,
    fine_distances,
    march,
)
from gp3d_core.baselines.eg3d.poses import POSE, edge_tangent, pose_vectors, with_pixels
from gp3d_core.baselines.eg3d.rendering import render_features, uniforms
from gp3d_core.config.eg3d import Eg3dConfig, Eg3dSettings
from gp3d_core.config.presets import PRESETS, resolve
from gp3d_core.config.schema import ConfigError, Ramp, RenderConfig
from gp3d_core.rendering.cameras import Cameras, sample_cameras, sample_rays
from gp3d_core.training.systems.eg3d import both, swap_poses

BLACK = RenderConfig(density_shift=-1.0)
WHITE = replace(BLACK, background="white")


def small(**ours: object) -> Eg3dConfig:
    config = resolve(
        "eg3d-64",
        [
            "training.resolution=16",
            "generator.plane_resolution=16",
            "generator.plane_channels=4",
            "generator.channel_base=128",
            "generator.channel_max=16",
            "discriminator.channel_base=256",
            "discriminator.channel_max=16",
            "eg3d.start_resolution=8",
            "eg3d.neural_resolution.start=6",
            "eg3d.neural_resolution.end=6",
        ],
    )
    assert isinstance(config, Eg3dConfig)
    return replace(config, eg3d=replace(config.eg3d, **ours))


def cameras(count: int = 4) -> Cameras:
    return sample_cameras(small().camera, count, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("raw", [-3.0, 0.5, 4.0])
def test_constant_density_stops_what_beer_and_lambert_say(raw: float) -> None:
    t = torch.linspace(1.0, 2.0, 12).double().expand(1, 3, -1) ** 2
    seen = march(torch.full((1, 3, 12, 2), 0.25).double(), torch.full_like(t, raw), t, BLACK)
    opacity = 1 - math.exp(-math.log1p(math.exp(raw - 1)) * 3.0)
    torch.testing.assert_close(
        seen.opacity, torch.full((1, 3, 1), opacity, dtype=torch.float64), rtol=1e-8, atol=1e-8
    )
    torch.testing.assert_close(
        seen.features, torch.full((1, 3, 2), 0.5 * opacity - 1, dtype=torch.float64), rtol=1e-8, atol=1e-8
    )


def test_two_intervals_by_hand() -> None:
    t = torch.tensor([[[1.0, 2.0, 4.0]]]).double()
    raw, colour = (
        torch.tensor([[[0.0, 2.0, -1.0]]]).double(),
        torch.tensor([[[0.2, 0.4, 1.0]]], dtype=torch.float64)[..., None],
    )
    a = 1 - math.exp(-math.log1p(math.exp(1.0 - 1)) * 1.0)  # mean raw density 1, an interval of 1
    b = (1 - a + 1e-10) * (1 - math.exp(-math.log1p(math.exp(0.5 - 1)) * 2.0))
    for config, rest in ((BLACK, 0.0), (WHITE, 1 - a - b)):
        seen = march(colour, raw, t, config)
        assert math.isclose(seen.features.item(), 2 * (a * 0.3 + b * 0.7 + rest) - 1, rel_tol=1e-9)
        assert math.isclose(seen.depth.item(), (a * 1.5 + b * 3.0) / (a + b), rel_tol=1e-9)


def test_empty_ray_is_exactly_white_or_black_and_as_deep_as_the_batch() -> None:
    t = torch.linspace(1, 2, 8).expand(2, 5, -1).clone()
    t[1] += 3
    raw = torch.full((2, 5, 8), -1e4)
    for config, shown in ((WHITE, 1.0), (BLACK, -1.0)):
        seen = march(torch.rand(2, 5, 8, 3), raw, t, config)
        assert bool((seen.features == shown).all())
        assert bool((seen.depth == t.max()).all())
        assert bool((seen.opacity == 0).all())


def test_depth_of_empty_rays_has_finite_gradients() -> None:
    raw = torch.full((1, 2, 6), -1e4)
    raw[0, 1] = 1.0
    raw.requires_grad_()
    march(torch.rand(1, 2, 6, 3), raw, torch.linspace(1, 2, 6).expand(1, 2, -1), BLACK).depth.sum().backward()
    assert raw.grad is not None
    assert bool(raw.grad.isfinite().all())


def test_weights_are_shares() -> None:
    draws = torch.Generator().manual_seed(0)
    t = torch.rand(3, 7, 9, generator=draws).cumsum(dim=-1)
    seen = march(torch.rand(3, 7, 9, 4, generator=draws), 9 * torch.randn(3, 7, 9, generator=draws), t, BLACK)
    assert bool((seen.weights >= 0).all())
    assert bool((seen.opacity <= 1 + 1e-6).all())


def test_coarse_distances_are_one_to_a_step_and_may_pass_the_far_plane() -> None:
    edges = [coarse_distances(1.0, 2.0, torch.full((1, 1, 5), u))[0, 0] for u in (0.0, 1.0)]
    torch.testing.assert_close(edges[0], torch.linspace(1.0, 2.0, 5))
    torch.testing.assert_close(edges[1], torch.linspace(1.25, 2.25, 5))


def test_default_guide_finds_the_heavy_interval_and_the_released_one_looks_nearer() -> None:
    t = torch.linspace(0, 10, 11).expand(1, 1, -1).double()
    weights = torch.zeros(1, 1, 10).double()
    weights[..., 5] = 100.0  # between 5 and 6
    u = torch.linspace(0.001, 0.999, 999).expand(1, 1, -1).double()
    ours, released = (fine_distances(t, weights, u, kind).mean() for kind in ("intervals", "released"))
    assert abs(ours - 5.5) < 0.05
    assert abs(ours - released - 0.5) < 0.1


def test_rays_that_miss_the_box_get_limits_of_those_that_cross_it() -> None:
    origins = torch.tensor([[[0.0, 0, 3], [0.2, 0, 2], [5.0, 5, 3]]])
    directions = torch.tensor([[[0.0, 0, -1]] * 3])
    near, far, hits = cross_box(origins, directions, 0.5)
    assert hits.tolist() == [[True, True, False]]
    assert near[0, :2].tolist() == [2.5, 1.5]
    assert far[0, :2].tolist() == [3.5, 2.5]
    mended, released = (box_limits(origins, directions, 0.5, released=kind) for kind in (False, True))
    assert [x[0, 2, 0].item() for x in mended] == [1.5, 3.5]
    assert [x[0, 2, 0].item() for x in released] == [1.5, 2.5]  # ends where the last ray begins


def random_field(axes: str, seed: int = 0) -> FeatureField:
    torch.manual_seed(seed)
    return FeatureField(torch.randn(1, 3, 4, 8, 8), FeatureDecoder(4, 16, 5), 0.5, axes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("axes", "blind"), [("released", True), ("orthogonal", False)])
def test_released_planes_never_see_y_together_with_z(axes: str, blind: bool) -> None:
    """The mixed difference of features over y and z is zero for all points with the plane bug, and only with it."""
    field, draws = random_field(axes), torch.Generator().manual_seed(1)
    x, y, z = (torch.rand(2, 50, generator=draws) - 0.5 for _ in range(3))

    def features(i: int, j: int) -> torch.Tensor:
        return field.looked_up(torch.stack([x[0], y[i], z[j]], dim=-1)[None]).mean(dim=1)

    mixed = features(0, 0) - features(0, 1) - features(1, 0) + features(1, 1)
    assert bool(mixed.abs().max() < 1e-5) is blind


def test_points_outside_along_two_axes_have_no_features() -> None:
    field = random_field("orthogonal")
    far = torch.tensor([[[0.9, 0.0, 0.0], [0.9, 0.9, 0.0], [0.1, 0.1, 0.1]]])
    seen = field.looked_up(far)[0].abs().amax(dim=(0, 2))
    assert seen[1] == 0
    assert seen[0] > 0
    assert seen[2] > 0


def test_turning_camera_and_volume_by_half_a_turn_changes_nothing() -> None:
    """About y in our world: x and z change sign, so planes are read backwards along them."""
    config, field = small(), random_field("orthogonal")
    config = replace(
        config, camera=replace(config.camera, box=0.5), render=replace(config.render, outside_box="zeros")
    )
    xy, xz, zy = field.planes.unbind(dim=1)  # of [height, width]: (y, x), (z, x), (y, z)
    turned = replace(field, planes=torch.stack([xy.flip(-1), xz.flip(-1, -2), zy.flip(-1)], dim=1))
    first = cameras()
    angles = first.angles.clone()
    angles[:, 0] += math.pi
    pictures = []
    for camera, volume in ((first, field), (replace(first, angles=angles), turned)):
        rays = sample_rays(camera, 5)
        seen = render_features(volume_of(volume, len(camera)), *rays, config, uniforms(rays[0], config, None))
        pictures.append(seen.marched.features)
    torch.testing.assert_close(*pictures, rtol=1e-3, atol=1e-3)
    assert pictures[0].std() > 0.01


def volume_of(field: FeatureField, count: int) -> FeatureField:
    return replace(field, planes=field.planes.expand(count, -1, -1, -1, -1))


def test_pictures_of_fewer_pixels_show_the_same_view() -> None:
    first = cameras()
    fewer = with_pixels(first, 64, 16)
    torch.testing.assert_close(edge_tangent(first.fov, 64), edge_tangent(fewer.fov, 16))
    large, little = (sample_rays(c, n)[1].unflatten(1, (n, n)) for c, n in ((first, 64), (fewer, 16)))
    blocks = F.normalize(
        large[:, 1:3, 1:3].mean(dim=(1, 2)), dim=-1
    )  # the middle of 4 × 4 pixels is one of the few
    torch.testing.assert_close(blocks, little[:, 0, 0], rtol=0, atol=2e-4)


def test_poses_are_rotations_that_look_at_the_origin() -> None:
    poses = pose_vectors(cameras(), 64)
    assert poses.shape == (4, POSE)
    world = poses[:, :16].unflatten(1, (4, 4))
    turn, place = world[:, :3, :3], world[:, :3, 3]
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(4))
    torch.testing.assert_close(
        turn[:, :, 2], -F.normalize(place, dim=-1), rtol=1e-5, atol=1e-5
    )  # z looks ahead
    assert bool((turn[:, 1, 1] < 0).all())  # y is down


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_swapped_poses_are_never_or_always_the_neighbours(probability: float) -> None:
    poses = torch.randn(400, POSE, generator=torch.Generator().manual_seed(0))
    told = swap_poses(poses, probability, torch.Generator().manual_seed(1))
    assert torch.equal(told, poses.roll(1, 0) if probability else poses)
    if probability:
        own = torch.corrcoef(torch.stack([told[:, 0], poses[:, 0]]))[0, 1]
        assert abs(own) < 0.15


def test_discriminator_is_not_told_the_size_of_a_constant_raw_picture() -> None:
    image = torch.rand(2, 3, 16, 16)
    seen = [both(image, torch.full((2, 3, n, n), 0.3), 0.0) for n in (4, 6, 16)]
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0], rtol=0, atol=1e-6)


def test_raw_picture_is_left_as_it_was_rendered() -> None:
    """Also where it has the size that super-resolution begins with, in which the release adds to it in place."""
    torch.manual_seed(0)
    config = small(neural_resolution=replace(small().eg3d.neural_resolution, start=8.0, end=8.0))
    generator = Eg3dGenerator(config, 0).eval()
    ws = generator.mapping(torch.randn(2, config.generator.z_dim), None)
    rays = sample_rays(with_pixels(cameras(2), 16, 8), 8)
    picture = generator.rendered(generator.planes(ws), *rays, uniforms(rays[0], config, None))
    before = picture.marched.features.detach().clone()
    seen = generator.finished(ws, picture, cameras(2))
    torch.testing.assert_close(seen.raw.flatten(2).transpose(1, 2), before[..., :3], rtol=0, atol=0)
    seen.rgb.square().sum().backward()


def test_depth_of_a_view_is_the_expected_one_before_white() -> None:
    """As 3DGP's: of an empty ray the far plane, of a solid one what the marcher says."""
    torch.manual_seed(0)
    generator = Eg3dGenerator(small(), 0).eval()
    ws, far = generator.mapping(torch.randn(2, 32), None), generator.config.camera.t_far
    for raw, expected in ((-1e4, far), (1e4, None)):
        with torch.no_grad():
            generator.decoder.output.weight[0] = 0.0
            generator.decoder.output.bias[0] = raw
        seen = generator.view(ws, cameras(2))
        middle = seen.depth[:, 0, 2:4, 2:4]
        radius = cameras(2).radius[:, None, None].expand_as(middle)
        if expected is not None:
            torch.testing.assert_close(seen.depth, torch.full_like(seen.depth, far))
        else:  # a cube of half an edge of 0.55, whose front a ray meets between that and its diagonal
            assert bool((seen.opacity[:, 0, 2:4, 2:4] > 0.99).all())
            assert bool(((middle > radius - 0.97) & (middle < radius - 0.4)).all())


def test_mapping_reads_the_pose_only_where_it_is_told_one() -> None:
    z, other = torch.randn(2, 32), pose_vectors(cameras(2), 16)
    for told in (False, True):
        torch.manual_seed(0)
        mapping = Eg3dGenerator(small(pose_to_generator=told), 3).mapping
        c = torch.eye(3)[:2]
        assert torch.equal(mapping(z, c), mapping(z, c, pose=other)) is not told
        assert not torch.equal(
            mapping(z, c), mapping(z, c.roll(1, 0))
        )  # classes stay, as the release's do not


def test_codes_of_pictures_that_are_measured_are_told_the_camera_that_sees_them() -> None:
    z, seen = torch.randn(2, 32), cameras(2)
    for told in (False, True):
        torch.manual_seed(0)
        generator = Eg3dGenerator(small(pose_to_generator=told), 0)
        codes, pose = generator.codes(z, None, seen), pose_vectors(seen, 16)
        assert torch.equal(codes, generator.mapping(z, None, pose=pose))
        assert torch.equal(codes, generator.mapping(z, None)) is not told


def test_what_cannot_be_is_one_line() -> None:
    for assignment, message in {
        "eg3d.start_resolution=16": "expected 32 for 64",
        "eg3d.features=2": "at least 3",
        "render.background=last": "no last sample",
        "eg3d.pose_to_discriminator=true": "camera.yaw.kind`=custom",
    }.items():
        with pytest.raises(ConfigError, match=message) as caught:
            resolve("eg3d-64", [assignment])
        assert "\n" not in str(caught.value)


def test_wide_rows_have_twice_the_spread() -> None:
    narrow, wide = PRESETS["eg3d-256"].camera, PRESETS["eg3d-256-wide"].camera
    assert (narrow.yaw.std, narrow.pitch.std, wide.yaw.std, wide.pitch.std) == (0.3, 0.155, 0.6, 0.3)


def test_schedules(baseline_fixtures: Path) -> None:
    facts = json.loads((baseline_fixtures / "eg3d_schedules.json").read_text())
    swap, blur = Eg3dSettings().pose_swap, Ramp(start=10.0, end=0.0, kimg=200)
    growing = Ramp(start=64.0, end=128.0, kimg=1000)
    assert facts["rows"]
    for row in facts["rows"]:
        nimg = round(1000 * row["kimg"])
        assert math.isclose(swap.at(nimg), row["swap_probability"], abs_tol=1e-9)
        assert math.isclose(blur.at(nimg), row["blur_sigma"], abs_tol=1e-9)
        assert round(growing.at(nimg)) == row["neural_resolution_64_to_128"]

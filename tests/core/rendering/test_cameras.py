"""Poses, rays and priors of cameras, from closed forms and invariances."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.config.schema import CameraConfig, Prior
from gp3d_core.rendering.cameras import (
    PARAMETERS,
    Cameras,
    cam2world,
    denormalise_cameras,
    mean_camera,
    normalise_cameras,
    sample_cameras,
    sample_rays,
    spherical_to_cartesian,
)
from gp3d_core.rendering.patches import Patches
from tests.support.draws import seeded

Close = Callable[..., None]


def cameras_at(*rows: tuple[float, ...], dtype: torch.dtype = torch.float64) -> Cameras:
    """Cameras of (yaw, pitch, radius, fov) that look at the origin."""
    return Cameras.from_flat(
        torch.tensor(
            [[yaw, pitch, 0.3, fov, radius, 0, 0, 0] for yaw, pitch, radius, fov in rows], dtype=dtype
        )
    )


def with_prior(prior: Prior) -> CameraConfig:
    return replace(CAMERAS["uniform"], yaw=prior)


@pytest.mark.slow
def test_spherical_axes_are_where_the_conventions_say(close: Close) -> None:
    yaw = torch.tensor([0.0, math.pi / 2, math.pi, 0.0], dtype=torch.float64)
    pitch = torch.tensor([math.pi / 2, math.pi / 2, math.pi / 2, 0.0], dtype=torch.float64)
    expected = [[0, 0, 2], [-2, 0, 0], [0, 0, -2], [0, 2, 0]]
    close(spherical_to_cartesian(yaw, pitch, torch.full_like(yaw, 2.0)), expected, "exact64")


def test_frontal_camera_has_the_identity_rotation(close: Close) -> None:
    expected = torch.eye(4, dtype=torch.float64)
    expected[2, 3] = 1.5
    close(cam2world(cameras_at((0, math.pi / 2, 1.5, 30)))[0], expected, "exact64")


def test_poses_are_rotations_that_look_at_their_target(close: Close) -> None:
    cameras = sample_cameras(CAMERAS["uniform"], 50, seeded()).to(dtype=torch.float64)
    pose = cam2world(cameras)
    rotation, origin = pose[:, :3, :3], pose[:, :3, 3]
    close(rotation @ rotation.mT, torch.eye(3).expand(50, 3, 3), "exact64")
    close(torch.linalg.det(rotation), torch.ones(50), "exact64")
    close(origin.norm(dim=-1), cameras.radius, "exact64")
    target = spherical_to_cartesian(*cameras.look_at.unbind(-1))
    ahead = -rotation[:, :, 2] * (target - origin).norm(dim=-1, keepdim=True)
    close(origin + ahead, target, "exact64")
    assert (rotation[:, 1, 1] > 0).all()  # upright: the image's up has an upward part


def test_turning_yaw_turns_pose_and_rays_about_the_vertical(close: Close) -> None:
    cameras = cameras_at((0.2, 1.1, 2.0, 40), (-0.7, 1.9, 1.0, 20))
    cameras = replace(cameras, look_at=torch.tensor([[0.4, 1.0, 0.1], [-2.0, 2.0, 0.2]], dtype=torch.float64))
    angle = 0.9
    turn = torch.tensor([angle, 0, 0], dtype=torch.float64)
    turned = replace(cameras, angles=cameras.angles + turn, look_at=cameras.look_at + turn)
    cos, sin = math.cos(angle), math.sin(angle)
    about_y = torch.tensor([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], dtype=torch.float64)
    close(cam2world(turned)[:, :3], about_y @ cam2world(cameras)[:, :3], "exact64")
    for before, after in zip(sample_rays(cameras, 5), sample_rays(turned, 5), strict=True):
        close(after, before @ about_y.T, "exact64")


@pytest.mark.parametrize("pitch", [0.0, math.pi, 1e-7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vertical_views_and_their_gradients_stay_finite(
    close: Close, pitch: float, dtype: torch.dtype
) -> None:
    flat = cameras_at((0.7, pitch, 1.0, 30), dtype=dtype).flat().requires_grad_()
    rays_o, rays_d = sample_rays(Cameras.from_flat(flat), 3)
    (rays_o.sum() + rays_d.sum()).backward()
    assert torch.isfinite(rays_d).all()
    assert torch.isfinite(flat.grad).all()
    beside = cameras_at((0.7, min(max(pitch, 1e-4), math.pi - 1e-4), 1.0, 30))
    close(rays_d.detach().double(), sample_rays(beside, 3)[1], "pole")


def test_rays_span_the_field_of_view_between_outer_pixel_centres(close: Close) -> None:
    cameras = cameras_at((0, math.pi / 2, 1, 40), (0, math.pi / 2, 1, 90))
    rays_o, rays_d = sample_rays(cameras, 5)
    directions = rays_d.reshape(2, 5, 5, 3)
    close(directions[:, 2, 2], [[0, 0, -1], [0, 0, -1]], "exact64")
    left, right = directions[:, 2, 0], directions[:, 2, -1]
    close((left * right).sum(-1).acos().rad2deg(), cameras.fov, "exact64")
    close(directions[1, 0, 0], [-(3**-0.5), 3**-0.5, -(3**-0.5)], "exact64")  # first in memory: top left
    close(directions.norm(dim=-1), torch.ones(2, 5, 5), "exact64")
    close(rays_o, torch.tensor([0, 0, 1.0]).expand(2, 25, 3), "exact64")


def test_rays_agree_with_a_pinhole_whose_pixel_centres_are_integers(close: Close) -> None:
    cameras, resolution = cameras_at((0.4, 1.2, 2.0, 40)), 8
    focal = (resolution - 1) / 2 / math.tan(math.radians(40) / 2)
    centre = (resolution - 1) / 2
    v, u = torch.meshgrid(*[torch.arange(resolution, dtype=torch.float64)] * 2, indexing="ij")
    in_camera = torch.stack([(u - centre) / focal, -(v - centre) / focal, -torch.ones_like(u)], dim=-1)
    in_world = in_camera.reshape(-1, 3) @ cam2world(cameras)[0, :3, :3].T
    close(sample_rays(cameras, resolution)[1][0], in_world / in_world.norm(dim=-1, keepdim=True), "exact64")


def test_opencv_projection_puts_points_of_rays_on_their_pixels(close: Close) -> None:
    cameras, resolution = sample_cameras(CAMERAS["uniform"], 3, seeded()).to(dtype=torch.float64), 6
    rays_o, rays_d = sample_rays(cameras, resolution)
    depth = 0.9
    world2cam = torch.linalg.inv(cam2world(cameras) * torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))
    in_camera = (rays_o + depth * rays_d) @ world2cam[:, :3, :3].mT + world2cam[:, None, :3, 3]
    focal = (resolution - 1) / 2 / torch.tan(torch.deg2rad(cameras.fov) / 2)
    pixels = focal[:, None, None] * in_camera[..., :2] / in_camera[..., 2:] + (resolution - 1) / 2
    v, u = torch.meshgrid(*[torch.arange(resolution, dtype=torch.float64)] * 2, indexing="ij")
    close(pixels, torch.stack([u, v], dim=-1).reshape(1, -1, 2).expand_as(pixels), "exact64")
    backward = cam2world(cameras)[:, None, :3, 2]
    close(in_camera[..., 2], -depth * (rays_d * backward).sum(-1), "exact64")  # planar depth


def test_patch_rays_are_a_crop_of_the_full_image(close: Close) -> None:
    cameras = cameras_at((0.4, 1.2, 2.0, 40), (-0.3, 1.5, 1.0, 15))
    full = sample_rays(cameras, 9)[1].reshape(2, 9, 9, 3)
    scales = torch.full((2, 2), 0.5, dtype=torch.float64)
    offsets = torch.tensor([[0.0, 0.0], [0.25, 0.5]], dtype=torch.float64)  # from the left, from the bottom
    patch = sample_rays(cameras, 5, Patches(scales, offsets))[1].reshape(2, 5, 5, 3)
    close(patch[0], full[0, 4:, :5], "exact64")
    close(patch[1], full[1, :5, 2:7], "exact64")


def test_rays_have_correct_derivatives_in_every_parameter() -> None:
    flat = sample_cameras(CAMERAS["uniform"], 2, seeded()).flat().double().requires_grad_()

    def rays(flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return sample_rays(Cameras.from_flat(flat), 3)

    assert torch.autograd.gradcheck(rays, flat)


def test_rays_refuse_wrong_shapes() -> None:
    cameras = cameras_at((0, 1, 1, 30), (0, 1, 1, 30))
    with pytest.raises(ValueError, match="one patch per camera"):
        sample_rays(cameras, 4, Patches(torch.ones(3, 2), torch.zeros(3, 2)))
    with pytest.raises(ValueError, match="at least 2"):
        sample_rays(cameras, 1)
    with pytest.raises(ValueError, match=r"fov must have shape \[B=2\], got \[2, 1\]"):
        replace(cameras, fov=cameras.fov[:, None])


def test_cameras_survive_the_flat_vector_selection_and_concatenation() -> None:
    cameras = sample_cameras(CAMERAS["uniform"], 5, seeded())
    again = Cameras.cat([cameras[0], cameras[1:4], cameras[torch.tensor([4])]])
    assert torch.equal(again.flat(), cameras.flat())
    assert torch.equal(cameras[-1].flat(), cameras.flat()[-1:])
    assert torch.equal(cameras.flat()[:, 3], cameras.fov)
    assert PARAMETERS[3] == "fov"
    assert cameras.to(dtype=torch.float64).look_at.dtype == torch.float64


def test_sampling_depends_on_its_generator_alone() -> None:
    first = sample_cameras(CAMERAS["shapenet"], 8, seeded(3)).flat()
    torch.manual_seed(99)
    assert torch.equal(first, sample_cameras(CAMERAS["shapenet"], 8, seeded(3)).flat())
    assert not torch.equal(first, sample_cameras(CAMERAS["shapenet"], 8, seeded(4)).flat())


# kind, prior, mean, standard deviation, lowest and highest possible value
TRUNCATED_STD = math.sqrt(1 - 2 * math.exp(-0.5) / math.sqrt(2 * math.pi) / 0.6826894921370859)
PRIORS = [
    (Prior(kind="constant", low=0, high=1, mean=0.7), 0.7, 0.0, 0.7, 0.7),
    (Prior(kind="uniform", low=-1, high=3), 1.0, 4 / 12**0.5, -1, 3),
    (Prior(kind="normal", low=0, high=1, mean=0.5, std=2), 0.5, 2.0, -math.inf, math.inf),
    (Prior(kind="truncnorm", low=1, high=2, mean=9, std=0.5), 1.5, 0.5 * TRUNCATED_STD, 1, 2),
    (
        Prior(kind="spherical_uniform", low=0, high=math.pi),
        math.pi / 2,
        (math.pi**2 / 4 - 2) ** 0.5,
        0,
        math.pi,
    ),
]


@pytest.mark.parametrize(
    ("prior", "mean", "std", "low", "high"), PRIORS, ids=lambda value: getattr(value, "kind", "")
)
def test_priors_have_their_closed_form_moments(
    prior: Prior, mean: float, std: float, low: float, high: float
) -> None:
    values = sample_cameras(with_prior(prior), 20_000, seeded()).angles[:, 0]
    assert values.mean().item() == pytest.approx(mean, abs=4 * std / 20_000**0.5 + 1e-6)
    assert values.std().item() == pytest.approx(std, rel=0.02, abs=1e-6)
    assert low - 1e-6 <= values.min() <= values.max() <= high + 1e-6
    assert mean_camera(with_prior(prior)).angles[0, 0].item() == pytest.approx(mean)


def test_look_at_points_are_spread_evenly_over_the_sphere() -> None:
    cameras = sample_cameras(CAMERAS["uniform"], 20_000, seeded())
    points = spherical_to_cartesian(cameras.look_at[:, 0], cameras.look_at[:, 1], torch.ones(20_000))
    assert points.mean(dim=0).abs().max() < 0.02
    assert (points.T.cov() - torch.eye(3) / 3).abs().max() < 0.02


def test_hybrid_batches_are_uniform_or_normal_as_a_whole() -> None:
    config = with_prior(Prior(kind="hybrid", low=0, high=1, mean=0.5, std=0.1))
    batches = [sample_cameras(config, 500, seeded(seed)).angles[:, 0] for seed in range(40)]
    uniform = [batch for batch in batches if (batch - 0.5).abs().max() <= 0.2 + 1e-6]
    assert 8 <= len(uniform) <= 32
    spread = torch.cat(uniform).std().item()
    assert spread == pytest.approx(0.4 / 12**0.5, rel=0.03)
    assert mean_camera(config).angles[0, 0].item() == pytest.approx(0.5)


def test_pitch_keeps_off_the_poles() -> None:
    config = replace(CAMERAS["uniform"], pitch=Prior(kind="normal", low=0, high=1, mean=0.0, std=5.0))
    pitch = sample_cameras(config, 1000, seeded()).angles[:, 1]
    assert pitch.min() >= 0.99e-5
    assert pitch.max() <= math.pi - 0.99e-5


def test_normalising_maps_each_range_to_the_unit_interval(close: Close) -> None:
    config = CAMERAS["uniform"]
    low = Cameras.from_flat(torch.tensor([[-1.57, math.pi / 4, 0.5, 10, 1.3, -math.pi, 0, 0]]))
    high = Cameras.from_flat(torch.tensor([[1.57, 3 * math.pi / 4, -0.5, 45, 1.7, math.pi, math.pi, 0.2]]))
    close(normalise_cameras(low, config).flat(), [[0, 0, 0.5, 0, 1.3, 0, 0, 0]], "exact32")
    close(normalise_cameras(high, config).flat(), [[1, 1, -0.5, 1, 1.7, 1, 1, 1]], "exact32")


def test_denormalising_undoes_normalising(close: Close) -> None:
    config = CAMERAS["uniform"]
    cameras = sample_cameras(config, 100, seeded()).to(dtype=torch.float64)
    normalised = normalise_cameras(cameras, config)
    raw = Cameras.from_flat(torch.logit(normalised.flat(), eps=1e-9))
    again = denormalise_cameras(replace(raw, radius=normalised.radius), config)
    close(again.flat(), cameras.flat(), "forward")


def test_denormalising_squashes_into_the_prior_range() -> None:
    config = CAMERAS["uniform"]
    for sign in (-1.0, 1.0):
        raw = Cameras.from_flat(torch.full((1, 8), sign * 50.0, dtype=torch.float64))
        yaw, pitch, roll, fov, radius, *look_at = denormalise_cameras(raw, config).flat()[0].tolist()
        assert (yaw, roll, radius) == (pytest.approx(sign * 1.57), 0.0, sign * 50.0)
        assert pitch == pytest.approx(math.pi / 2 + sign * (math.pi / 4 - 1e-5), abs=1e-9)
        assert fov == pytest.approx(27.5 + sign * 17.5)
        assert look_at[2] == pytest.approx(0.1 + sign * 0.1)


def test_released_look_at_radius_starts_at_the_minimum_of_pitch() -> None:
    config = replace(
        CAMERAS["uniform"],
        look_at_pitch=Prior(kind="uniform", low=0.05, high=1.0),
        look_at_radius=Prior(kind="uniform", low=0.1, high=0.2),
    )
    raw = Cameras.from_flat(torch.full((1, 8), -50.0, dtype=torch.float64))
    assert denormalise_cameras(raw, config).look_at[0, 2].item() == pytest.approx(0.1)
    released = denormalise_cameras(raw, config, look_at_low="pitch")
    assert released.look_at[0, 2].item() == pytest.approx(0.05)


def test_a_range_that_is_a_point_normalises_to_zero_without_a_slope() -> None:
    config = CAMERAS["shapenet"]  # look-at radius in [0, 0]
    flat = sample_cameras(config, 4, seeded()).flat().requires_grad_()
    radius = normalise_cameras(Cameras.from_flat(flat), config).look_at[:, 2]
    radius.sum().backward()
    assert torch.equal(radius, torch.zeros(4))
    assert torch.equal(flat.grad, torch.zeros_like(flat))

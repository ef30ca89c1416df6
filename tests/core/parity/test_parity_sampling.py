"""Non-flatness score, patches, blur and sampling statistics against recorded ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.config.schema import PatchConfig, Prior, RenderConfig
from gp3d_core.metrics.nfs import depth_entropy, non_flatness_score
from gp3d_core.rendering.cameras import sample_cameras
from gp3d_core.rendering.patches import Patches, extract_patches, image_plane, sample_patches
from gp3d_core.training import losses
from tests.core.parity.parity_fixtures import Case, Close


def test_non_flatness_score_matches(case08: Case, close: Close) -> None:
    bounds = case08.meta["near"], case08.meta["far"]
    close(depth_entropy(case08["depth"], *bounds), case08["entropy"])
    assert non_flatness_score(case08["depth"], *bounds) == pytest.approx(case08["nfs"].item(), rel=1e-5)


def test_patch_extraction_matches(case09: Case, close: Close) -> None:
    patches, resolution = case09.patches("extract."), case09["extract.out"].shape[-1]
    coordinates = image_plane(resolution, patches) * torch.tensor([1.0, -1.0])
    close(coordinates, case09["extract.coords"])
    close(extract_patches(case09["extract.img"], patches, resolution), case09["extract.out"])


@pytest.mark.parametrize("sigma", ["0.3", "1.3", "5.0"])
def test_patch_blur_matches_recorded_images(case09: Case, close: Close, sigma: str) -> None:
    close(losses.blur_patches(case09["blur.in"], float(sigma)), case09[f"blur.out_sigma{sigma}"])


def test_schedules_match(case09: Case) -> None:
    assert case09.meta["beta_schedule"]
    assert case09.meta["nerf_noise_schedule"]
    for kimg, beta in case09.meta["beta_schedule"].items():
        assert PatchConfig().beta.at(1000 * int(kimg)) == pytest.approx(beta)
    for kimg, noise in case09.meta["nerf_noise_schedule"].items():
        assert RenderConfig().density_noise.at(1000 * int(kimg)) == pytest.approx(noise)


def kimg_of(beta: float) -> float:
    """Thousands of images after which the schedule reaches `beta`."""
    ramp = PatchConfig().beta
    return ramp.kimg * (beta - ramp.start) / (ramp.end - ramp.start)


def assert_same_distribution(values: torch.Tensor, recorded: dict, count: int) -> None:
    """Mean, standard deviation and quantiles of both samples agree within sampling error (5 sigma)."""
    values = values.double()
    levels = torch.tensor([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99], dtype=torch.float64)
    error = 5 * (1 / count + 1 / len(values)) ** 0.5
    assert values.mean().item() == pytest.approx(recorded["mean"], abs=error * recorded["std"] + 1e-6)
    assert values.std().item() == pytest.approx(recorded["std"], rel=3 * error, abs=1e-6)
    # a quantile is compared on the probability axis, where its error does not depend on the density
    slack = error * (levels * (1 - levels)).sqrt() + 1e-9
    quantiles = torch.tensor(recorded["q"], dtype=torch.float64)
    below = torch.stack([(values < q - 1e-6).double().mean() for q in quantiles])
    up_to = torch.stack([(values <= q + 1e-6).double().mean() for q in quantiles])
    assert (below - slack <= levels).all()
    assert (levels <= up_to + slack).all()


def test_patch_statistics_match(case09: Case) -> None:
    config = PatchConfig(group=4)
    assert case09.meta["patch_stats"]
    for beta, recorded in case09.meta["patch_stats"].items():
        nimg = round(1000 * kimg_of(float(beta)))
        sampled = sample_patches(config, 80_000, nimg, 256, torch.Generator().manual_seed(0))
        patches, count = Patches(sampled.scales[::4], sampled.offsets[::4]), recorded["n_groups"]
        assert recorded["groups_identical"]
        assert torch.equal(sampled.scales[::4], sampled.scales[3::4])
        assert torch.equal(sampled.offsets[::4], sampled.offsets[3::4])
        if float(beta) > 0.1:  # at 0.001 the moments hang on a handful of patches
            assert_same_distribution(patches.scales[:, 0], recorded["scale"], count)
            assert_same_distribution(patches.offsets[:, 0], recorded["offset_x"], count)
            assert_same_distribution(patches.offsets[:, 1], recorded["offset_y"], count)
            correlation = torch.corrcoef(patches.offsets.T)[0, 1].item()
            assert correlation == pytest.approx(recorded["corr_xy"], abs=0.05)
        else:
            assert patches.scales.mean().item() == pytest.approx(recorded["scale"]["mean"], abs=1e-3)


def test_recorded_patches_share_groups_and_fit(case09: Case) -> None:
    assert case09.meta["patch_stats"]
    for beta in case09.meta["patch_stats"]:
        scales, offsets = case09[f"beta{beta}.scales"], case09[f"beta{beta}.offsets"]
        assert torch.equal(scales[::4], scales[3::4])
        assert torch.equal(offsets[::4], offsets[3::4])
        assert (offsets + scales <= 1 + 1e-6).all()


BASE = replace(  # the released defaults, which no preset uses as they are
    CAMERAS["uniform"],
    yaw=Prior(kind="truncnorm", low=-math.pi / 2, high=math.pi / 2, std=0.4),
    pitch=Prior(kind="truncnorm", low=math.pi / 8, high=7 * math.pi / 8, std=0.2),
    look_at_radius=Prior(kind="uniform", low=0.0, high=0.0),
)


@pytest.mark.parametrize("name", ["base", "uniform", "shapenet", "epigraf", "static"])
def test_camera_prior_statistics_match(case09: Case, name: str) -> None:
    if name not in case09.meta["camera_prior"]:
        pytest.skip(f"{name} was not recorded")
    recorded = case09.meta["camera_prior"][name]
    config = BASE if name == "base" else CAMERAS[name]
    cameras = sample_cameras(config, 20_000, torch.Generator().manual_seed(1))
    for index in range(3):
        assert_same_distribution(cameras.angles[:, index], recorded["angles"][index], 20_000)
        assert_same_distribution(cameras.look_at[:, index], recorded["look_at"][index], 20_000)
    assert_same_distribution(cameras.fov, recorded["fov"], 20_000)
    assert_same_distribution(cameras.radius, recorded["radius"], 20_000)

"""Patches: where they fall, and that cutting an image and coordinates agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gp3d_core.config.schema import PatchConfig, Ramp
from gp3d_core.rendering.patches import Patches, extract_patches, full_patch, image_plane, sample_patches
from tests.support.draws import seeded

Close = Callable[..., None]
DONE = 20_000_000  # images, by which every default schedule has ended


def test_the_full_patch_gives_the_image_back(close: Close) -> None:
    images = torch.rand(2, 3, 7, 7, generator=seeded(), dtype=torch.float64)
    close(extract_patches(images, full_patch(2).to(dtype=torch.float64), 7), images, "exact64")


def test_a_patch_on_pixel_centres_is_a_crop(close: Close) -> None:
    images = torch.rand(2, 4, 9, 9, generator=seeded(), dtype=torch.float64)
    offsets = torch.tensor([[0.0, 0.0], [0.25, 0.5]], dtype=torch.float64)
    patch = extract_patches(images, Patches(torch.full_like(offsets, 0.5), offsets), 5)
    close(patch[0], images[0, :, 4:, :5], "exact64")  # offset (0, 0) is bottom left
    close(patch[1], images[1, :, :5, 2:7], "exact64")


def test_a_patch_of_a_linear_image_shows_its_own_coordinates(close: Close) -> None:
    plane = image_plane(16, full_patch(5).to(dtype=torch.float64))
    patches = sample_patches(PatchConfig(group=1), 5, DONE, 256, seeded()).to(dtype=torch.float64)
    cut = extract_patches(plane.permute(0, 3, 1, 2), patches, 6)
    close(cut.permute(0, 2, 3, 1), image_plane(6, patches), "exact64")


def test_image_plane_runs_from_top_left_to_bottom_right(close: Close) -> None:
    plane = image_plane(3, full_patch(1))[0]
    close(plane[0, 0], [-1.0, 1.0], "exact32")
    close(plane[0, 2], [1.0, 1.0], "exact32")
    close(plane[2, 0], [-1.0, -1.0], "exact32")


@pytest.mark.parametrize("distribution", ["beta", "uniform", "discrete"])
@pytest.mark.parametrize("nimg", [0, 3_000_000, DONE])
def test_patches_are_square_and_stay_inside(distribution: str, nimg: int) -> None:
    patches = sample_patches(PatchConfig(distribution=distribution, group=2), 400, nimg, 256, seeded())
    assert torch.equal(patches.scales[:, 0], patches.scales[:, 1])
    assert patches.scales.min() >= 0.25
    assert patches.offsets.min() >= 0
    assert (patches.scales + patches.offsets).max() <= 1 + 1e-6
    assert patches.scales.dtype == patches.offsets.dtype == torch.float32


@pytest.mark.parametrize("beta", [0.3, 0.8])
def test_beta_scales_follow_their_distribution_function(beta: float) -> None:
    config = PatchConfig(beta=Ramp(start=beta, end=beta), group=1)
    scales = sample_patches(config, 20_000, 0, 256, seeded()).scales[:, 0].double()
    x = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
    below = torch.stack([(scales <= 0.25 + 0.75 * value).double().mean() for value in x])
    assert (below - (1 - (1 - x) ** beta)).abs().max() < 0.012  # distribution function of Beta(1, β)


def test_beta_starts_with_whole_images() -> None:
    scales = sample_patches(PatchConfig(group=1), 1000, 0, 256, seeded()).scales
    assert scales.mean() > 0.997
    never = PatchConfig(group=1, beta=Ramp(start=0.0, end=0.0))
    assert torch.equal(sample_patches(never, 8, 0, 256, seeded()).scales, torch.ones(8, 2))


def test_uniform_scales_widen_with_the_schedule() -> None:
    config = PatchConfig(distribution="uniform", group=1)
    for nimg, lowest in ((0, 1.0), (5_000_000, 0.625), (DONE, 0.25)):
        scales = sample_patches(config, 20_000, nimg, 256, seeded()).scales
        assert scales.min().item() == pytest.approx(lowest, abs=1e-3)
        assert scales.mean().item() == pytest.approx((1 + lowest) / 2, abs=0.01)


def test_discrete_scales_are_the_smallest_or_the_whole() -> None:
    scales = sample_patches(PatchConfig(distribution="discrete", group=1), 4000, 0, 256, seeded()).scales
    assert set(scales.unique().tolist()) == {0.25, 1.0}
    assert scales.mean().item() == pytest.approx(0.625, abs=0.03)


def test_patches_are_never_finer_than_the_image() -> None:
    scales = sample_patches(PatchConfig(resolution=64, group=1), 2000, DONE, 128, seeded()).scales
    assert scales.min() >= 0.5
    whole = sample_patches(PatchConfig(resolution=64), 8, DONE, 64, seeded())
    assert torch.equal(whole.scales, torch.ones(8, 2))
    assert torch.equal(whole.offsets, torch.zeros(8, 2))


def test_neighbours_share_a_patch_and_the_rest_is_kept() -> None:
    patches = sample_patches(PatchConfig(group=4), 10, DONE, 256, seeded())
    assert len(patches) == 10
    both = torch.cat([patches.scales, patches.offsets], dim=1)
    assert [len(group.unique(dim=0)) for group in both.split(4)] == [1, 1, 1]
    assert len(both.unique(dim=0)) == 3


def test_offsets_are_uniform_over_the_room_that_is_left() -> None:
    patches = sample_patches(PatchConfig(group=1), 20_000, DONE, 256, seeded())
    room = (1 - patches.scales).clamp(min=1e-3)
    share = (patches.offsets / room)[patches.scales[:, 0] < 0.99]
    assert share.mean(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert share.std(dim=0).tolist() == pytest.approx([12**-0.5] * 2, abs=0.01)
    assert abs(torch.corrcoef(share.T)[0, 1]) < 0.03


def test_sampling_depends_on_its_generator_alone() -> None:
    first = sample_patches(PatchConfig(), 8, DONE, 256, seeded(3))
    torch.manual_seed(99)
    assert torch.equal(first.offsets, sample_patches(PatchConfig(), 8, DONE, 256, seeded(3)).offsets)
    assert not torch.equal(first.offsets, sample_patches(PatchConfig(), 8, DONE, 256, seeded(4)).offsets)


def test_extraction_is_differentiable_and_checks_its_images() -> None:
    images = torch.rand(2, 1, 5, 5, dtype=torch.float64, requires_grad=True, generator=seeded())
    patches = sample_patches(PatchConfig(group=1), 2, DONE, 256, seeded()).to(dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda images: extract_patches(images, patches, 3), images)
    with pytest.raises(ValueError, match="images must have shape"):
        extract_patches(images[:1], patches, 3)
    with pytest.raises(ValueError, match="images must have shape"):
        extract_patches(images[:, :, :4], patches, 3)

"""Patches: square windows of the image plane, cut alike out of rays and out of real images.

A patch has a `scale` in (0,1] and an `offset` in [0, 1 − scale], both (x, y) and as fractions of the image: offset x
counts from the left edge, offset y from the *bottom* edge. Image-plane coordinates run from -1 to 1, y up, and the
first and last pixel centres lie exactly on them, so a patch of n × n pixels has its outer pixel centres on the
window's border: x_patch = (x + 1)·scale − 1 + 2·offset (EpiGRAF §3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from gp3d_core.config.schema import PatchConfig
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.constants import constant


@dataclass(frozen=True, eq=False)
class Patches:
    """One window per image: scales [B,2] and offsets [B,2], (x, y) as fractions of the image."""

    scales: torch.Tensor
    offsets: torch.Tensor

    def __post_init__(self) -> None:
        """Check the shapes. Raises ValueError."""
        sizes = check_shape("scales", self.scales, "B 2")
        check_shape("offsets", self.offsets, "B 2", sizes)

    def __len__(self) -> int:
        """Number of patches B."""
        return len(self.scales)

    def __getitem__(self, index: slice | torch.Tensor) -> Patches:
        """The selected patches."""
        return Patches(self.scales[index], self.offsets[index])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Patches:
        """The same patches on a device and in a floating-point type."""
        return Patches(self.scales.to(device, dtype), self.offsets.to(device, dtype))


def full_patch(batch: int, device: torch.device | str | None = None) -> Patches:
    """`batch` patches that cover the whole image."""
    return Patches(torch.ones(batch, 2, device=device), torch.zeros(batch, 2, device=device))


def sample_patches(
    config: PatchConfig, batch: int, nimg: int, image_resolution: int, generator: torch.Generator
) -> Patches:
    """Random square patches, float32, as the schedule has them after `nimg` images; neighbours share one.

    Scales follow `config.distribution` between the smallest scale and 1, offsets are uniform over what fits. A patch
    is never smaller than its own number of pixels in an image of `image_resolution`. Runs of `config.group` samples
    share a patch; the last run is shorter when `batch` is no multiple of it. Lives on the generator's device.
    """
    groups = -(-batch // config.group)
    lowest = min(1.0, max(_min_scale(config, nimg), config.resolution / image_resolution))
    u = torch.rand(3, groups, generator=generator, device=generator.device, dtype=torch.float64)
    if config.distribution == "beta":
        # 1 − V^(1/β) ~ Beta(1, β); as β → 0 the patch becomes the whole image
        scale = lowest + (1.0 - lowest) * (1.0 - u[0] ** (1.0 / max(config.beta.at(nimg), 1e-6)))
    elif config.distribution == "uniform":
        scale = lowest + (1.0 - lowest) * u[0]
    else:
        scale = torch.where(u[0] < 0.5, lowest, 1.0)
    offsets = u[1:].T * (1.0 - scale).unsqueeze(-1)
    patches = Patches(scale.unsqueeze(-1).expand(-1, 2), offsets).to(dtype=torch.float32)
    return patches[torch.arange(batch, device=generator.device) // config.group]


def _min_scale(config: PatchConfig, nimg: int) -> float:
    return config.min_scale.at(nimg) if config.distribution == "uniform" else config.min_scale.end


def image_plane(resolution: int, patches: Patches) -> torch.Tensor:
    """Image-plane coordinates [B,h,h,2], (x, y) in [-1,1] with y up, of a patch's h × h pixel centres, top row first.

    Raises ValueError for fewer than 2 pixels a side, whose centres cannot lie on both borders.
    """
    if resolution < 2:
        raise ValueError(f"resolution must be at least 2 pixels, got {resolution}")
    line = torch.linspace(-1.0, 1.0, resolution, device=patches.scales.device, dtype=patches.scales.dtype)
    y, x = torch.meshgrid(-line, line, indexing="ij")
    scales, offsets = patches.scales[:, None, None], patches.offsets[:, None, None]
    return (torch.stack([x, y], dim=-1) + 1.0) * scales - 1.0 + 2.0 * offsets


def extract_patches(images: torch.Tensor, patches: Patches, resolution: int) -> torch.Tensor:
    """Patches [B,C,h,h] of `images` [B,C,H,H], bilinear, with h = `resolution`.

    The same convention as the rays of `gp3d_core.rendering.cameras.sample_rays`: cutting a rendered image and
    rendering the patch agree. A scale of 1 with h = H gives the image back.
    """
    check_shape("images", images, "B C H H", {"B": len(patches)})
    grid = image_plane(resolution, patches) * constant((1.0, -1.0), images)  # image memory has y down
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)

"""Depth in VQ3D: inverse depth D in [1/far, 1/near], normalised to [0, 1] with 1 near; and the targets of training.

Letters: B batch, R pixels a side of a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets import depth_codes
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.constants import constant
from gp3d_core.rendering.patches import full_patch, image_plane
from gp3d_core.vq3d.config import CameraConfig, Vq3dConfig

_FARTHEST = (depth_codes.BACKGROUND - 0.5) / depth_codes.STEPS  # share of the range, beyond it is background
_QUANTILES = (0.02, 0.98)  # of a relative map, that become 0 and 1


@dataclass(frozen=True)
class DepthSpace:
    """The range of inverse depth that rays cross, from `low` = 1/far to `high` = 1/near."""

    low: float
    high: float

    @staticmethod
    def of(camera: CameraConfig) -> DepthSpace:
        """The range of a camera."""
        return DepthSpace(1 / camera.far, 1 / camera.near)

    def normalise(self, inverse: Tensor) -> Tensor:
        """Inverse depth of any shape to [0, 1], 1 near. The one form that losses, critics and pictures use."""
        return (inverse - self.low) / (self.high - self.low)

    def inverse(self, normalised: Tensor) -> Tensor:
        """The inverse depth that a value in [0, 1] stands for."""
        return self.low + normalised * (self.high - self.low)


@dataclass(frozen=True)
class DepthSource:
    """How the depth maps of a data set are coded; `t_near` and `t_far` of metric ones, in the data's units."""

    config: Vq3dConfig
    t_near: float | None = None
    t_far: float | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError for metric maps of which nobody says what they mean."""
        if self.config.depth.coding == "metric" and (self.t_near is None or self.t_far is None):
            raise ConfigError(
                "depth.coding=metric needs t_near and t_far in dataset.json; for depth known up to scale and shift use "
                "`depth.coding`=relative"
            )

    def target(self, coded: Tensor) -> Tensor:
        """Normalised inverse depth [B,R,R] in [0, 1], 1 near, of coded maps [B,1,R,R] in [-1, 1] (larger = farther)."""
        check_shape("coded", coded, "B 1 R R")
        return (
            self._metric(coded[:, 0]) if self.config.depth.coding == "metric" else self._relative(coded[:, 0])
        )

    def _metric(self, coded: Tensor) -> Tensor:
        """Ray distances between t_near and t_far; what is coded as background is infinitely far."""
        near, far = float(self.t_near or 0), float(self.t_far or 0)
        unit = depth_codes.unit_of(coded)
        distance = depth_codes.to_distance(unit, near, far)
        plane = image_plane(coded.shape[-1], full_patch(1, coded.device))
        reach = math.tan(math.radians(self.config.camera.fov) / 2)
        length = (plane.square().sum(dim=-1) * reach**2 + 1).sqrt()  # of a ray with unit depth
        inverse = self.config.depth.unit * length / distance.clamp(min=1e-6)
        inverse = torch.where(unit >= _FARTHEST, 0.0, inverse)
        return DepthSpace.of(self.config.camera).normalise(inverse).clamp(0, 1)

    def _relative(self, coded: Tensor) -> Tensor:
        """Depths that stand for a disparity with t_far / t_near = `depth.ratio`, stretched per picture."""
        ratio = self.config.depth.ratio
        depth = depth_codes.to_distance(depth_codes.unit_of(coded), 1.0, ratio)
        disparity = ((1 / depth - 1 / ratio) / (1 - 1 / ratio)).flatten(1)
        low, high = torch.quantile(disparity, constant(_QUANTILES, coded), dim=1)[:, :, None]
        stretched = (disparity - low) / (high - low).clamp(min=1e-6)
        return stretched.clamp(0, 1).reshape(coded.shape)

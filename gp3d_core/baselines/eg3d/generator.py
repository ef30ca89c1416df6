"""EG3D's generator: noise, class and, where it is told, a pose → tri-planes → a raw picture → the finished one.

Letters: B batch, C classes, L style codes, D their width, F features per plane, T plane resolution, K features of the
raw picture, n its pixels a side, N those of the finished one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gp3d_core.baselines.eg3d.field import FeatureDecoder, FeatureField
from gp3d_core.baselines.eg3d.poses import POSE, pose_vectors, with_pixels
from gp3d_core.baselines.eg3d.rendering import RawPicture, Uniforms, render_features, uniforms
from gp3d_core.baselines.eg3d.superresolution import SuperResolution
from gp3d_core.config.eg3d import Eg3dConfig
from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.backbone import Backbone
from gp3d_core.networks.generator import BaseGenerator, GeneratorOutput
from gp3d_core.networks.mapping import Mapping
from gp3d_core.ops.resampling import resize
from gp3d_core.rendering.cameras import Cameras, mean_camera, sample_rays
from gp3d_core.rng import generator_for


@dataclass(frozen=True, eq=False)
class Eg3dOutput(GeneratorOutput):
    """Views with the colour of the raw picture [B,3,n,n] beside; depth and opacity are of its size."""

    raw: Tensor


class PoseMapping(Mapping):
    """A mapping that may be told a pose beside the class."""

    def __init__(self, config: Eg3dConfig, classes: int, num_ws: int) -> None:
        """With `pose_to_generator` it is conditioned on 25 numbers more than the `classes`."""
        settings = config.generator
        self.config, self.told = config, config.eg3d.pose_to_generator
        c_dim = classes + POSE * self.told
        super().__init__(settings.z_dim, c_dim, settings.w_dim, num_ws, settings.mapping_layers)

    def forward(self, z: Tensor, c: Tensor | None, *, pose: Tensor | None = None, **same: Any) -> Tensor:
        """Style codes of `z`, classes `c` and, where it is conditioned on them, poses [B,25]: by default that of the
        mean camera. The rest as for `Mapping`.
        """
        if self.told:
            if pose is None:
                usual = pose_vectors(mean_camera(self.config.camera), self.config.training.resolution)
                pose = usual.to(z).expand(len(z), -1)
            c = pose if c is None else torch.cat([c, pose], dim=1)
        return super().forward(z, c, **same)


class Eg3dGenerator(BaseGenerator):
    """Class-conditional generator of 3D objects whose views pass through super-resolution."""

    config: Eg3dConfig

    def __init__(self, config: Eg3dConfig, num_classes: int) -> None:
        """Fewer than two classes make it unconditional: labels are then not looked at."""
        super().__init__(config, num_classes)
        settings, ours, backend = config.generator, config.eg3d, config.render.backend
        self.backbone = Backbone(settings, backend)
        self.mapping: PoseMapping = PoseMapping(config, self.c_dim, self.backbone.num_ws)
        self.decoder = FeatureDecoder(settings.plane_channels, settings.decoder_width, ours.features)
        channels = (ours.start_channels, ours.end_channels)
        self.superresolution = SuperResolution(
            ours.features, channels, ours.start_resolution, settings.w_dim, backend
        )

    def codes(
        self,
        z: Tensor,
        c: Tensor | None,
        cameras: Cameras,
        *,
        truncation: float = 1.0,
        centre: Tensor | None = None,
    ) -> Tensor:
        """Style codes, where the mapping is told poses those of the cameras that will see the objects."""
        pose = pose_vectors(cameras, self.config.training.resolution)
        return self.mapping(z, c, pose=pose, truncation=truncation, centre=centre)

    def planes(self, ws: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Tri-planes [B,3,F,T,T]; noise maps are random in training, fixed in evaluation."""
        draws = self._draws(generator)
        with self._precision(ws):
            return self.backbone(ws, "const" if draws is None else "random", draws)

    def noisy_planes(self, ws: Tensor, generator: torch.Generator) -> Tensor:
        """Tri-planes with random noise maps, in evaluation too."""
        return self.backbone(ws, "random", generator)

    def field(self, planes: Tensor) -> FeatureField:
        """Colours and raw density as a function of world points, for tri-planes [B,3,F,T,T]."""
        return FeatureField(planes, self.decoder, self.config.camera.box, self.config.eg3d.planes)

    def view(
        self,
        ws: Tensor,
        cameras: Cameras,
        *,
        resolution: int | None = None,
        nimg: int = 0,
        generator: torch.Generator | None = None,
        cut_quantile: float = 0.0,
        chunk: int | None = None,
        planes: Tensor | None = None,
    ) -> Eg3dOutput:
        """Objects as `cameras` see them. `nimg` places training in the schedule of the raw picture's size, which has
        ended in evaluation. A `resolution` beside the trained one is that picture resized: super-resolution knows
        one size.
        """
        config, ours = self.config, self.config.eg3d
        pixels = (
            round(ours.neural_resolution.at(nimg)) if self.training else round(ours.neural_resolution.end)
        )
        field = self.field(self.planes(ws, generator) if planes is None else planes)
        seen_by = with_pixels(cameras, config.training.resolution, pixels)
        rays_o, rays_d = sample_rays(seen_by, pixels)
        numbers = uniforms(rays_o, config, self._jitter(generator, ws))
        picture = render_features(
            field, rays_o, rays_d, config, numbers, cut_quantile=cut_quantile, chunk=chunk
        )
        return self.finished(ws, picture, seen_by, resolution)

    def rendered(self, planes: Tensor, rays_o: Tensor, rays_d: Tensor, numbers: Uniforms) -> RawPicture:
        """What rays [B,n²,3] see of tri-planes, with random `numbers` of the caller's."""
        return render_features(self.field(planes), rays_o, rays_d, self.config, numbers)

    def finished(
        self, ws: Tensor, picture: RawPicture, cameras: Cameras, resolution: int | None = None
    ) -> Eg3dOutput:
        """The raw picture of n² rays brought to N² pixels.

        Its depth is the expected one, as 3DGP's, so that flatness compares: not divided by the opacity as the release
        does, which gives rays through hardly anything a depth of their own; light that reaches white ends at the far
        plane.
        """
        side, camera = math.isqrt(picture.marched.depth.shape[1]), self.config.camera
        features, mean, opacity = (
            part.transpose(1, 2).unflatten(2, (side, side)) for part in picture.marched[:3]
        )
        depth = mean * opacity
        if self.config.render.background == "white":
            depth = depth + (1.0 - opacity) * camera.t_far
        rgb = self.superresolution(features, ws[:, -1])
        rgb = resize(rgb, self.config.training.resolution if resolution is None else resolution)
        return Eg3dOutput(rgb, depth, depth, opacity, cameras, ws, features[:, :COLOURS])

    def _jitter(self, generator: torch.Generator | None, ws: Tensor) -> torch.Generator | None:
        """What sample positions are drawn from; None where they are even."""
        if self.training or not self.config.render.evaluation_jitter:
            return self._draws(generator)
        return generator_for("evaluation", device=ws.device)

"""VolumeGAN's generator: noise and class → style codes → feature volume → field → map of features → picture.

Letters: B batch, C classes, L style codes, D their width, N points, n pixels a side of the map, R of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gp3d_core.baselines.volumegan.feature_volume import FeatureVolume
from gp3d_core.baselines.volumegan.field import FieldNetwork, VolumeField
from gp3d_core.baselines.volumegan.image_network import ImageNetwork
from gp3d_core.config.volumegan import VolumeGanConfig
from gp3d_core.networks.backbone import NoiseMode
from gp3d_core.networks.generator import BaseGenerator, GeneratorOutput
from gp3d_core.networks.mapping import Mapping
from gp3d_core.ops.constants import constant
from gp3d_core.ops.resampling import resize
from gp3d_core.rendering.cameras import Cameras, sample_rays
from gp3d_core.rng import generator_for

AVERAGE_DECAY = 0.995  # of the mean style code
_START = 4  # texels along an edge of the volume before its first doubling
_RELEASED_BOUNDS = ((-0.1886, -0.1671, -0.1956), (0.1887, 0.1692, 0.1872))


@dataclass(frozen=True)
class VolumeObject:
    """A batch of objects as functions of points, coloured as the image network colours single pixels."""

    inner: VolumeField
    image: ImageNetwork
    box: float

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [B,N,3] and raw density [B,N,1] at points [B,N,3]."""
        features, raw = self.inner.features(points)
        codes = self.inner.ws[:, len(self.inner.network.layers) :]
        return self.image.colours(features, codes).transpose(1, 2), raw.unsqueeze(-1)

    def fast(self) -> VolumeObject:
        """The field itself, which has no faster body."""
        return self

    @property
    def device(self) -> torch.device:
        """Where the volume is."""
        return self.inner.volume.device

    @property
    def texel(self) -> float:
        """Edge of what one number of the volume covers, in world units."""
        return 2 * self.box / (self.inner.volume.shape[-1] - 1)


class VolumeGanGenerator(BaseGenerator):
    """Class-conditional generator of 3D objects whose views pass through an image network."""

    config: VolumeGanConfig
    level: Tensor

    def __init__(self, config: VolumeGanConfig, num_classes: int) -> None:
        """Fewer than two classes make it unconditional: labels are then not looked at."""
        super().__init__(config, num_classes)
        settings, ours = config.generator, config.volumegan
        stages = (ours.volume_resolution // _START).bit_length()
        channels = [ours.volume_base >> stage for stage in range(stages)]
        sizes = [ours.map_resolution << k for k in range(1, config.levels + 1)]
        widths = [max(min(settings.channel_base // size, settings.channel_max), 1) for size in sizes]
        self.volume = FeatureVolume(channels, settings.w_dim, start=_START)
        self.perceptron = FieldNetwork(
            channels[-1], ours.octaves, ours.field_width, ours.field_layers, ours.features, settings.w_dim
        )
        self.image = ImageNetwork(ours.features, widths, ours.map_resolution, settings.w_dim)
        self.mapping = Mapping(
            settings.z_dim,
            self.c_dim,
            settings.w_dim,
            ours.field_layers + self.image.num_ws,
            settings.mapping_layers,
            average_decay=AVERAGE_DECAY,
        )
        # doublings that have grown; kept, so that a snapshot of a young run shows what it has learnt
        self.register_buffer("level", torch.tensor(float(config.levels)))

    def planes(self, ws: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The codes themselves [B,L,D]: the layers that read the volume need them as well."""
        return ws

    def noisy_planes(self, ws: Tensor, generator: torch.Generator) -> Tensor:
        """As `planes`: there is noise in the image network alone, fixed in evaluation."""
        return ws

    def field(self, planes: Tensor) -> VolumeObject:
        """Colour and raw density as a function of world points, for style codes [B,L,D]."""
        return VolumeObject(self._inner(planes), self.image, self.config.camera.box)

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
    ) -> GeneratorOutput:
        """Objects as `cameras` see them. `nimg` says in training how far pictures have grown; smaller ones come with
        their pixels repeated. A `resolution` beside the trained one is that picture resized; depth and opacity have
        the size of the rendered map, whose outer pixels look where those of the picture do; a ray that meets nothing is
        as deep as the far plane. `chunk` changes nothing: maps are small.
        """
        draws = self._draws(generator)
        if draws is not None:
            self.level.fill_(self.config.volumegan.level(nimg, self.config.levels))
            level = self.config.volumegan.level(nimg, self.config.levels)
        else:
            level = self.level.item()
        size = self.config.volumegan.map_resolution
        rays_o, rays_d = sample_rays(cameras, size)
        t, u_fine = self._positions(rays_o, draws)
        marched = self._inner(ws if planes is None else planes).march(
            rays_o, rays_d, t, u_fine, cut_quantile=cut_quantile
        )
        opacity = marched.weights.sum(dim=-1)
        depth = (marched.weights * marched.t).sum(dim=-1) + (1.0 - opacity) * self.config.camera.t_far
        low, depth, opacity = (
            part.unflatten(-1, (size, size))
            for part in (marched.composite(), depth[:, None], opacity[:, None])
        )
        rgb = self.image(
            low, ws[:, self.config.volumegan.field_layers :], self._noise(draws), draws, level=level
        )
        full = self.config.training.resolution
        rgb = F.interpolate(rgb, (full, full), mode="nearest") if rgb.shape[-1] < full else rgb
        return GeneratorOutput(resize(rgb, resolution or full), depth, depth, opacity, cameras, ws)

    def _noise(self, draws: torch.Generator | None) -> NoiseMode:
        """Of the image network: random in training, fixed in evaluation, if there is any."""
        if self.config.volumegan.noise == "none":
            return "none"
        return "const" if draws is None else "random"

    def _inner(self, ws: Tensor) -> VolumeField:
        box, released = self.config.camera.box, self.config.volumegan.bounds == "released"
        lower, upper = _RELEASED_BOUNDS if released else ((-box,) * 3, (box,) * 3)
        return VolumeField(
            self.perceptron, self.volume(ws[:, 0]), ws, constant(lower, ws), constant(upper, ws)
        )

    def _positions(self, rays: Tensor, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Distances [B,R,S], moved by half a step at most, and numbers for the fine ones [B,R,F]; even ones without
        jitter.
        """
        render, camera = self.config.render, self.config.camera
        if draws is None and render.evaluation_jitter:
            draws = generator_for("evaluation", device=rays.device)
        even = torch.linspace(camera.t_near, camera.t_far, render.coarse_steps, device=rays.device)
        shape = rays.shape[:2]
        if draws is None:
            numbers = torch.linspace(0.0, 1.0, render.fine_steps, device=rays.device)
            return even.expand(*shape, -1), numbers.expand(*shape, -1)
        moves, numbers = (
            torch.rand((*shape, steps), generator=draws, device=rays.device)
            for steps in (render.coarse_steps, render.fine_steps)
        )
        return even + (moves - 0.5) * (even[1] - even[0]), numbers

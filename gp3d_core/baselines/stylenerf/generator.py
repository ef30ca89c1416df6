"""StyleNeRF's generator: noise and class → style codes → an object before a background → a map → a picture.

Letters: B batch, C classes, L style codes, D their width, K numbers of the background, N points, R rays, n pixels a
side of the map, h of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gp3d_core.baselines.eg3d.poses import with_pixels
from gp3d_core.baselines.stylenerf.fields import Background, Foreground
from gp3d_core.baselines.stylenerf.path_regularisation import cell_pixels, path_loss
from gp3d_core.baselines.stylenerf.rendering import (
    NEAREST_BACKGROUND,
    Draws,
    Seen,
    depth_rays,
    render,
)
from gp3d_core.baselines.stylenerf.upsampler import Growth, Upsampler, growth
from gp3d_core.config.stylenerf import StyleNerfConfig
from gp3d_core.networks.generator import BaseGenerator, GeneratorOutput
from gp3d_core.networks.mapping import Mapping
from gp3d_core.ops.resampling import resize
from gp3d_core.rendering.cameras import Cameras
from gp3d_core.rendering.volume import stratify
from gp3d_core.rng import generator_for

AVERAGE_DECAY = 0.995  # of the mean style code


@dataclass(frozen=True, eq=False)
class StyleNerfOutput(GeneratorOutput):
    """Views, and the path loss [B] of each where it was asked for; depth and opacity are of the map's size."""

    path_loss: Tensor | None


class MappingWithBackground(Mapping):
    """A mapping whose last code holds what the background is made from: the first numbers of the noise itself."""

    def __init__(self, config: StyleNerfConfig, classes: int, num_ws: int) -> None:
        """`num_ws` codes are of the object."""
        settings = config.generator
        self.numbers = config.stylenerf.background_noise
        super().__init__(
            settings.z_dim,
            classes,
            settings.w_dim,
            num_ws,
            settings.mapping_layers,
            average_decay=AVERAGE_DECAY,
        )

    def forward(self, z: Tensor, c: Tensor | None, **same: Any) -> Tensor:
        """Style codes ws [B,num_ws+1,D]; the rest as for `Mapping`. Truncation leaves the background as it is."""
        ws = super().forward(z, c, **same)
        numbers = z[:, : self.numbers]
        last = torch.nn.functional.pad(numbers, (0, ws.shape[2] - numbers.shape[1]))
        return torch.cat([ws, last[:, None]], dim=1)


@dataclass(frozen=True)
class StyleNerfObject:
    """A batch of objects as functions of points, coloured as the upsampler colours single pixels."""

    ws: Tensor
    foreground: Foreground
    upsampler: Upsampler
    grown: Growth
    box: float
    texel: float

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [B,N,3] and raw density [B,N,1] at points [B,N,3]."""
        shown, raw = self.foreground(points, self.ws)
        codes = self.ws[:, self.foreground.num_ws :]
        return self.upsampler.colours(shown, codes, self.grown).transpose(1, 2), raw.unsqueeze(-1)

    def fast(self) -> StyleNerfObject:
        """The field itself, which has no faster body."""
        return self

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self.ws.device


class StyleNerfGenerator(BaseGenerator):
    """Class-conditional generator of 3D objects before backgrounds, whose views pass through an upsampler."""

    config: StyleNerfConfig
    alpha: Tensor

    def __init__(self, config: StyleNerfConfig, num_classes: int) -> None:
        """Fewer than two classes make it unconditional: labels are then not looked at."""
        super().__init__(config, num_classes)
        settings, ours = config.generator, config.stylenerf
        sizes = [ours.map_resolution << k for k in range(1, config.levels + 1)]
        widths = [max(min(settings.channel_base // size, settings.channel_max), 1) for size in sizes]
        self.foreground = Foreground(
            ours.foreground_width, ours.foreground_layers, ours.features, settings.w_dim
        )
        self.background = Background(
            ours.background_width, ours.background_layers, ours.features, ours.background_noise
        )
        self.upsampler = Upsampler(ours.features, widths, settings.w_dim)
        self.mapping: MappingWithBackground = MappingWithBackground(
            config, self.c_dim, self.foreground.num_ws + self.upsampler.num_ws
        )
        # how much has grown; kept, so that a snapshot of a young run shows what it has learnt
        self.register_buffer("alpha", torch.ones(()))

    def planes(self, ws: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The codes themselves [B,L,D]: fields are functions of them."""
        return ws

    def noisy_planes(self, ws: Tensor, generator: torch.Generator) -> Tensor:
        """As `planes`: there are no noise maps."""
        return ws

    def field(self, planes: Tensor) -> StyleNerfObject:
        """Colour and raw density of the objects alone as a function of world points, for style codes [B,L,D]."""
        box = self.config.camera.box
        grown = growth(self.alpha.item(), self.config.levels)
        size = 2 * box / self.config.stylenerf.map_resolution
        return StyleNerfObject(planes, self.foreground, self.upsampler, grown, box, size)

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
        with_path_loss: bool = False,
    ) -> StyleNerfOutput:
        """Objects as `cameras` see them. `nimg` says in training how far upsampling has grown: pictures are then as
        large as that makes them, and `with_path_loss` compares them with their rays. In evaluation they are brought
        to `resolution`, by default the trained one. Depth is along the ray, that of the background the far plane's;
        depth and opacity have the size of the rendered map. `chunk` changes nothing: maps are small.
        """
        draws, levels = self._draws(generator), self.config.levels
        if draws is not None:
            self.alpha.fill_(self.config.stylenerf.alpha(nimg))
        alpha = self.alpha.item() if draws is None else self.config.stylenerf.alpha(nimg)
        grown = growth(alpha, levels)
        full, size = self.config.training.resolution, self.config.stylenerf.map_resolution
        seen_by = with_pixels(cameras, full, size)
        rays_o, rays_d = depth_rays(seen_by, size)
        pixels = None
        if with_path_loss and grown.level:
            rays_d, pixels = self._with_path_rays(cameras, rays_d, size << grown.level, generator)
            rays_o = rays_o[:, :1].expand_as(rays_d)
        seen = self._render(ws, rays_o, rays_d, nimg, draws, cut_quantile)
        count, codes = size**2, ws[:, self.foreground.num_ws : -1]
        low = seen.composite()[:, :, :count].unflatten(2, (size, size))
        rgb = self.upsampler(low, codes, grown)
        loss = None
        if pixels is not None:
            weights = seen.weights[:, count:]
            colours = self.upsampler.colours(seen.features[:, :, count:].flatten(2), codes, grown)
            loss = path_loss(rgb, pixels, colours.unflatten(2, weights.shape[1:]), weights)
        depth, opacity = self._depth(seen, rays_d, count)
        rgb = rgb if draws is not None and resolution is None else resize(rgb, resolution or full)
        return StyleNerfOutput(rgb, depth, depth, opacity, seen_by, ws, loss)

    def _with_path_rays(
        self, cameras: Cameras, low: Tensor, size: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Directions of the map's rays followed by those of one pixel [B,P] in each cell of the picture."""
        cells = self.config.stylenerf.path_cells
        offsets = torch.rand((len(low), 2), generator=generator, device=low.device)
        pixels = cell_pixels(offsets, cells, size)
        _, every = depth_rays(with_pixels(cameras, self.config.training.resolution, size), size)
        return torch.cat([low, every.gather(1, pixels[..., None].expand(-1, -1, 3))], dim=1), pixels

    def _render(
        self,
        ws: Tensor,
        rays_o: Tensor,
        rays_d: Tensor,
        nimg: int,
        draws: torch.Generator | None,
        cut_quantile: float,
    ) -> Seen:
        ours = self.config.stylenerf
        numbers = ws[:, -1, : ours.background_noise]
        if ours.background_source == "free":
            source = generator_for("background", device=ws.device) if draws is None else draws
            numbers = torch.randn(numbers.shape, generator=source, device=ws.device)
        return render(
            lambda points: self.foreground(points, ws),
            lambda points: self.background(points, numbers),
            rays_o,
            rays_d,
            self._positions(rays_o, nimg, draws),
            unit=self.config.camera.radius.mean,
            cut_quantile=cut_quantile,
        )

    def _positions(self, rays: Tensor, nimg: int, draws: torch.Generator | None) -> Draws:
        """Where rays are sampled, at random in training or with jitter, else evenly; and noise on densities."""
        camera, settings, ours = self.config.camera, self.config.render, self.config.stylenerf
        shape, device = rays.shape[:2], rays.device
        steps = (settings.coarse_steps, settings.fine_steps, ours.background_steps)
        even = torch.linspace(camera.t_near, camera.t_far, steps[0], device=device)
        radii = torch.linspace(NEAREST_BACKGROUND, 0.0, steps[2], device=device)
        noise = settings.density_noise.at(nimg) if draws is not None else 0.0
        if draws is None and settings.evaluation_jitter:
            draws = generator_for("evaluation", device=device)
        if draws is None:
            u_fine = torch.linspace(0.0, 1.0, steps[1], device=device)
            return Draws(*(line.expand(*shape, -1) for line in (even, u_fine, radii)))
        u_coarse, u_fine, u_radii = (
            torch.rand((*shape, count), generator=draws, device=device) for count in steps
        )
        added: list[Tensor | None] = [None, None]
        if noise > 0:
            added = [
                noise * torch.randn((*shape, count), generator=draws, device=device)
                for count in (steps[0] + steps[1], steps[2])
            ]
        return Draws(stratify(even, u_coarse), u_fine, stratify(radii, u_radii), *added)

    def _depth(self, seen: Seen, rays_d: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Depth in world units along the ray and opacity of the object, both [B,1,n,n]."""
        camera, size = self.config.camera, self.config.stylenerf.map_resolution
        weights, length = seen.foreground_weights[:, :count], rays_d[:, :count].norm(dim=-1)
        opacity = weights.sum(dim=-1)
        along = (weights * seen.t[:, :count]).sum(dim=-1) * length
        depth = along + (1.0 - opacity) * camera.t_far
        return depth[:, None].unflatten(2, (size, size)), opacity[:, None].unflatten(2, (size, size))

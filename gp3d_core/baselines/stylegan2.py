"""StyleGAN2's generator: noise and class → style codes → a picture, without depth and without cameras.

Letters: B batch, C classes, L style codes, D their width, R pixels a side.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.config.pictures.stylegan2 import Stylegan2Config
from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.backbone import Synthesis
from gp3d_core.networks.generator import BaseGenerator, GeneratorOutput
from gp3d_core.networks.mapping import Mapping
from gp3d_core.rendering.cameras import Cameras


class Stylegan2Generator(BaseGenerator):
    """Class-conditional generator of pictures."""

    config: Stylegan2Config

    def __init__(self, config: Stylegan2Config, num_classes: int) -> None:
        """Fewer than two classes make it unconditional: labels are then not looked at."""
        super().__init__(config, num_classes)
        settings = config.generator
        self.synthesis = Synthesis(
            resolution=config.training.resolution,
            outputs=COLOURS,
            w_dim=settings.w_dim,
            channel_base=settings.channel_base,
            channel_max=settings.channel_max,
            # Path lengths are gradients that are differentiated again; the kernels behind a convolution are not.
            backend="reference" if config.stylegan2.path_weight > 0 else config.render.backend,
        )
        self.mapping = Mapping(
            settings.z_dim, self.c_dim, settings.w_dim, self.synthesis.num_ws, settings.mapping_layers
        )

    def planes(self, ws: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The pictures themselves [B,3,R,R], unbounded; noise maps are random in training, fixed in evaluation."""
        draws = self._draws(generator)
        with self._precision(ws):
            rgb = self.synthesis(ws, "const" if draws is None else "random", draws)
        return rgb.to(ws.dtype)

    def noisy_planes(self, ws: Tensor, generator: torch.Generator) -> Tensor:
        """The pictures with random noise maps, in evaluation too."""
        return self.synthesis(ws, "random", generator)

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
        """The pictures of codes `ws` [B,L,D], the same for all `cameras`, resized where another `resolution` than the
        trained one is asked for. Depth is no number anywhere, opacity one everywhere.
        """
        rgb = self.planes(ws, generator) if planes is None else planes
        if resolution is not None and resolution != rgb.shape[-1]:
            size = (resolution, resolution)
            rgb = F.interpolate(rgb, size=size, mode="bilinear", align_corners=False, antialias=True)
        depth = torch.full_like(rgb[:, :1], torch.nan)
        return GeneratorOutput(rgb, depth, depth, torch.ones_like(depth), cameras, ws)

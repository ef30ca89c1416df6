"""The generator (3DGP §3.1–3.2): noise and class → tri-planes → a field seen from a generated camera.

In training mode everything that the method draws is drawn: noise maps, sample positions, density noise, the
depth map shown. In evaluation mode the same input gives the same output. All randomness comes from an
explicit generator. Letters: B batch, C classes, L style codes, D their width, F features per plane, T plane
resolution, h image size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import RunConfig
from gp3d_core.errors import GP3DError
from gp3d_core.networks.backbone import Backbone
from gp3d_core.networks.camera_generator import CameraGenerator
from gp3d_core.networks.decoder import TriplaneDecoder, TriplaneField
from gp3d_core.networks.depth_adaptor import DepthAdaptor
from gp3d_core.networks.mapping import Mapping
from gp3d_core.ops.precision import half_on_processor
from gp3d_core.rendering.cameras import Cameras, sample_rays
from gp3d_core.rendering.patches import Patches
from gp3d_core.rendering.volume import ShapeField, render
from gp3d_core.rng import generator_for


@dataclass(frozen=True, eq=False)
class GeneratorOutput:
    """Generated views: rgb [B,3,h,h] in about [-1, 1], depth [B,1,h,h] in world units along the ray, its
    version for the discriminator depth_adapted [B,1,h,h], opacity [B,1,h,h]; the cameras that saw them and
    the codes ws [B,L,D].
    """

    rgb: Tensor
    depth: Tensor
    depth_adapted: Tensor
    opacity: Tensor
    cameras: Cameras
    ws: Tensor

    @property
    def images(self) -> Tensor:
        """What the discriminator sees: colour and adapted depth, [B,4,h,h]."""
        return torch.cat([self.rgb, self.depth_adapted], dim=1)


class NoShapeError(GP3DError):
    """A shape that is asked of a model which has none."""


class BaseGenerator(nn.Module, ABC):
    """What every system's generator offers: codes of objects, what is made of them once, and views of that.

    Systems say in their own classes what they make of codes: `planes`, `noisy_planes`, `field` and `view`.
    """

    mapping: Mapping
    camera_generator: CameraGenerator | None
    depth_adaptor: DepthAdaptor | None

    def __init__(self, config: RunConfig, num_classes: int) -> None:
        """Fewer than two classes make it unconditional: labels are then not looked at."""
        super().__init__()
        self.config = config
        self.camera_generator, self.depth_adaptor = None, None  # of most systems
        self.z_dim = config.generator.z_dim
        self.c_dim = num_classes if num_classes > 1 else 0

    @abstractmethod
    def planes(self, ws: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What is made once of an object's codes ws [B,L,D], whatever it is seen from; in training with noise that is
        drawn from `generator`, in evaluation always the same.
        """

    @abstractmethod
    def noisy_planes(self, ws: Tensor, generator: torch.Generator) -> Tensor:
        """As `planes`, with noise that is drawn from `generator` in evaluation, too."""

    def field(self, planes: Tensor) -> ShapeField:
        """Colour and raw density as a function of world points, of what `planes` made.

        Raises NoShapeError, as this does, where a system draws pictures without a shape.
        """
        raise NoShapeError(
            f"a model of {self.config.system} draws pictures: there is no shape to make a mesh of"
        )

    @abstractmethod
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
        """Objects with codes `ws` [B,L,D] as `cameras` see them, in pictures of `resolution`², by default the
        trained one. `nimg`, the clock, matters in training alone. Depth and opacity may be coarser than colour;
        `cameras` of the output are those of pictures of their size.
        """

    def codes(
        self,
        z: Tensor,
        c: Tensor | None,
        cameras: Cameras,
        *,
        truncation: float = 1.0,
        centre: Tensor | None = None,
    ) -> Tensor:
        """Style codes ws [B,L,D] of objects that `cameras` [B] are going to see: `Mapping` has the rest.

        Most systems do not look at the cameras.
        """
        del cameras
        return self.mapping(z, c, truncation=truncation, centre=centre)

    def cameras(self, prior: Cameras, z: Tensor, c: Tensor | None) -> Cameras:
        """Posterior cameras for objects with noise `z` [B,z_dim] and class `c` [B,C]; the prior's if not
        generated.
        """
        return prior if self.camera_generator is None else self.camera_generator(prior, z, c)

    def _precision(self, ws: Tensor) -> torch.autocast:
        """A context for convolutions of the codes `ws`, which a CPU may do in bfloat16 while training."""
        able = half_on_processor(ws.device, training=self.training)
        mixed = self.config.training.precision == "mixed"
        return torch.autocast("cpu", torch.bfloat16, enabled=able and mixed)

    def _draws(self, generator: torch.Generator | None) -> torch.Generator | None:
        """Where noise and depth choice come from: `generator` in training mode, None in evaluation mode."""
        if not self.training:
            return None
        if generator is None:
            raise ValueError(
                "in training mode everything is drawn at random; pass generator=… or call eval()"
            )
        return generator


class Generator(BaseGenerator):
    """Class-conditional generator of 3D objects and their views."""

    depth_adaptor: DepthAdaptor

    def __init__(self, config: RunConfig, num_classes: int) -> None:
        """Fewer than two classes make it unconditional: labels are then not looked at."""
        super().__init__(config, num_classes)
        settings = config.generator
        self.backbone = Backbone(settings, config.render.backend)
        self.mapping = Mapping(
            settings.z_dim,
            self.c_dim,
            settings.w_dim,
            self.backbone.num_ws,
            settings.mapping_layers,
            known_objects=settings.known_objects,
        )
        self.decoder = TriplaneDecoder(settings)
        self.camera_generator = (
            CameraGenerator(config.camera_generator, config.camera, settings.z_dim, self.c_dim)
            if config.camera_generator.adjust
            else None
        )
        self.depth_adaptor = DepthAdaptor(config.depth_adaptor, config.camera.t_near, config.camera.t_far)

    def planes(self, ws: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Tri-planes [B,3,F,T,T] of style codes ws [B,L,D]; noise maps are random in training, fixed in
        evaluation.
        """
        draws = self._draws(generator)
        with self._precision(ws):
            return self.backbone(ws, "const" if draws is None else "random", draws)

    def noisy_planes(self, ws: Tensor, generator: torch.Generator) -> Tensor:
        """Tri-planes of style codes with random noise maps, in evaluation too."""
        return self.backbone(ws, "random", generator)

    def field(self, planes: Tensor) -> TriplaneField:
        """Colour and raw density as a function of world points, for tri-planes [B,3,F,T,T]."""
        render = self.config.render
        return TriplaneField(planes, self.decoder, self.config.camera.box, render.backend)

    def view(
        self,
        ws: Tensor,
        cameras: Cameras,
        *,
        resolution: int | None = None,
        patches: Patches | None = None,
        nimg: int = 0,
        generator: torch.Generator | None = None,
        cut_quantile: float = 0.0,
        chunk: int | None = None,
        planes: Tensor | None = None,
    ) -> GeneratorOutput:
        """Objects with codes `ws` [B,L,D] as `cameras` see them: whole images, or `patches` of the image
        plane.

        `resolution` defaults to the configured patch's or image's. `nimg` places training in its schedules
        (density noise, depth choice). `cut_quantile` and `chunk` as for `rendering.render`. ValueError in
        training mode without a `generator`.
        """
        config = self.config
        if resolution is None:
            resolution = config.training.resolution if patches is None else config.patch.resolution
        field = self.field(self.planes(ws, generator) if planes is None else planes)
        rays_o, rays_d = sample_rays(cameras, resolution, patches)
        seen = render(
            field,
            rays_o,
            rays_d,
            config.camera,
            config.render,
            jitter=self.training or config.render.evaluation_jitter,
            density_noise=config.render.density_noise.at(nimg) if self.training else 0.0,
            generator=generator or self._evaluation_stream(ws),
            cut_quantile=cut_quantile,
            chunk=chunk,
        )
        rgb, depth, opacity = (
            part.transpose(1, 2).unflatten(2, (resolution, resolution))
            for part in (seen.rgb, seen.depth, seen.opacity)
        )
        draws = self._draws(generator)
        index = None if draws is None else self.depth_adaptor.sample_index(len(depth), nimg, draws)
        adapted = self.depth_adaptor.select(self.depth_adaptor(depth), index)
        return GeneratorOutput(rgb, depth, adapted, opacity, cameras, ws)

    def _evaluation_stream(self, ws: Tensor) -> torch.Generator | None:
        """What the release's jitter in evaluation draws from: the same numbers every time."""
        return generator_for("evaluation", device=ws.device) if self.config.render.evaluation_jitter else None

    def forward(
        self,
        z: Tensor,
        c: Tensor | None,
        prior: Cameras,
        *,
        resolution: int | None = None,
        patches: Patches | None = None,
        nimg: int = 0,
        generator: torch.Generator | None = None,
        truncation: float = 1.0,
        centre: Tensor | None = None,
        update_average: bool = False,
    ) -> GeneratorOutput:
        """Views of objects z [B,z_dim], c [B,C] from cameras generated out of the `prior` [B].

        `truncation`, `centre` and `update_average` as for `Mapping`, the rest as for `view`.
        """
        ws = self.mapping(z, c, truncation=truncation, centre=centre, update_average=update_average)
        cameras = self.cameras(prior, z, c)
        return self.view(ws, cameras, resolution=resolution, patches=patches, nimg=nimg, generator=generator)

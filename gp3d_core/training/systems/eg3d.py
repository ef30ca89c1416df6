"""What EG3D's players minimise: dual discrimination, poses as conditions, and its density regulariser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gp3d_core.baselines.eg3d.generator import Eg3dGenerator
from gp3d_core.baselines.eg3d.poses import POSE, pose_vectors
from gp3d_core.config.eg3d import Eg3dConfig
from gp3d_core.config.schema import COLOURS, ConfigError
from gp3d_core.datasets.dataset import Batch, Dataset
from gp3d_core.networks.discriminator import DiscriminatorOutput, ImageDiscriminator
from gp3d_core.networks.latents import Latents, one_hot
from gp3d_core.ops.resampling import resize
from gp3d_core.rendering.cameras import Cameras, mean_camera
from gp3d_core.training import losses
from gp3d_core.training.augmentation import augment
from gp3d_core.training.phases import StepContext
from gp3d_core.training.step import Log
from gp3d_core.training.systems.phases import Penalty, Players, Shown

_INSIDE, _RELEASED = (
    "box",
    1.0,
)  # half an edge of the cube in which the release compares densities, box edge 1


def make_discriminator(config: Eg3dConfig, num_classes: int) -> ImageDiscriminator:
    """D of pictures beside their raw ones, conditioned on the class and, if it is told, the pose."""
    settings, classes = config.discriminator, num_classes if num_classes > 1 else 0
    return ImageDiscriminator(
        resolution=config.training.resolution,
        image_channels=2 * COLOURS,
        c_dim=classes + POSE * config.eg3d.pose_to_discriminator,
        channel_base=settings.channel_base,
        channel_max=settings.channel_max,
        mapping_layers=config.eg3d.discriminator_mapping_layers,
        mbstd_group=settings.mbstd_group,
        mbstd_layout=settings.mbstd_layout,
        clamp=settings.conv_clamp,
        half_blocks=settings.half_resolutions if config.training.precision == "mixed" else 0,
        backend=config.render.backend,
    )


class Eg3dAdversary:
    """EG3D's part in the adversarial step. Pictures are the finished one and the colour of the raw one."""

    discriminator_penalties: Sequence[Penalty] = ()
    modules: Mapping[str, nn.Module] = {}

    def __init__(self, config: Eg3dConfig, dataset: Dataset) -> None:
        """ConfigError where D is to be told poses that the data has not."""
        self.config, self.classes = config, dataset.num_classes
        self.angles: Tensor | None = None
        if config.eg3d.pose_to_discriminator:
            if dataset.angles is None:
                raise ConfigError(
                    f"eg3d.pose_to_discriminator needs camera_angles in {dataset.path}/dataset.json"
                )
            self.angles = torch.from_numpy(dataset.angles)
        ours = config.eg3d
        dense = ours.density_weight > 0
        self.generator_penalties = [Penalty("density", ours.density_interval, self.density)] if dense else []

    def generate(
        self, generator: Eg3dGenerator, latents: Latents, context: StepContext, *, update_average: bool
    ) -> Shown:
        """Fakes; with the pose as a condition the mapping is now and then told that of the neighbour."""
        told = self._pose(latents.prior)
        pose = swap_poses(told, self._swap(context), context.rng) if generator.mapping.told else None
        ws = generator.mapping(latents.z, latents.c, pose=pose, update_average=update_average)
        seen = generator.view(ws, latents.prior, nimg=context.nimg, generator=context.rng)
        log = {"opacity": seen.opacity.mean(), "depth/spread": seen.depth.flatten(1).std(dim=1).mean()}
        return Shown((seen.rgb, seen.raw), self._condition(latents.c, told), log)

    def real(self, batch: Batch, context: StepContext) -> Shown:
        """Real images, and what a raw picture of them would be, blurred in its own pixels as the release does."""
        ours = self.config.eg3d
        pixels = round(ours.neural_resolution.at(context.nimg))
        raw = real_raw(batch.images, pixels, ours.antialias, self.config.loss.blur.at(context.nimg))
        c = one_hot(batch.labels, self.classes)
        return Shown((batch.images, raw), self._condition(c, self._true_poses(batch)))

    def judge(
        self,
        discriminator: ImageDiscriminator,
        shown: Shown,
        context: StepContext,
        *,
        with_features: bool = False,
    ) -> DiscriminatorOutput:
        """What D says of both pictures, the raw one enlarged; blur is for the finished one alone."""
        image, raw = shown.pictures
        dual = both(image, raw, self.config.loss.blur.at(context.nimg))
        if context.augmentation > 0:
            dual = augment(dual, context.augmentation, context.rng)
        return discriminator(dual, shown.c, with_features=with_features)

    def density(self, players: Players) -> tuple[Tensor, Log]:
        """How much the raw density differs between points that lie close together."""
        ours, context, latents = self.config.eg3d, players.context, players.draw()
        generator: Eg3dGenerator = players.generator
        pose = None
        if generator.mapping.told:  # one coin for the whole batch here, as in the release
            told = self._pose(latents.prior)
            coin = torch.rand((), generator=context.rng, device=context.rng.device) < self._swap(context)
            pose = torch.where(coin, told.roll(1, 0), told)
        ws = generator.mapping(latents.z, latents.c, pose=pose)
        field = generator.field(generator.planes(ws, context.rng))
        edge, rng = 2.0 * self.config.camera.box, context.rng
        half = edge if ours.density_region == "released" else edge / 2.0
        shape = (len(ws), ours.density_points, 3)
        points = (2.0 * torch.rand(shape, generator=rng, device=rng.device) - 1.0) * half
        step = torch.randn(shape, generator=rng, device=rng.device) * (ours.density_distance * edge)
        moved = points + step
        term = density_difference(field.decoded(torch.cat([points, moved], dim=1))[1])
        return term * (ours.density_weight * ours.density_interval), {"loss/density": term}

    def _swap(self, context: StepContext) -> float:
        return self.config.eg3d.pose_swap.at(context.nimg)

    def _pose(self, cameras: Cameras) -> Tensor:
        return pose_vectors(cameras, self.config.training.resolution)

    def _condition(self, c: Tensor | None, pose: Tensor | None) -> Tensor | None:
        """What D is told: class, pose, both or nothing."""
        parts = [c] if c is not None else []
        if self.config.eg3d.pose_to_discriminator and pose is not None:
            parts.append(pose)
        return torch.cat(parts, dim=1) if parts else None

    def _true_poses(self, batch: Batch) -> Tensor | None:
        """Poses [B,25] of real images, mirrored as they are; None where D is not told them."""
        if self.angles is None or batch.indices is None or batch.mirrored is None:
            return None
        camera = self.config.camera
        angles = self.angles[torch.from_numpy(batch.indices)].to(batch.images.device)
        mirrored = torch.from_numpy(batch.mirrored).to(batch.images.device)
        yaw = torch.where(mirrored, 2.0 * camera.yaw.mean - angles[:, 0], angles[:, 0])
        flat = mean_camera(camera).flat().to(angles).repeat(len(angles), 1)
        return self._pose(Cameras.from_flat(torch.cat([yaw[:, None], angles[:, 1:2], flat[:, 2:]], dim=1)))


def swap_poses(poses: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """Poses [B,25], each replaced by its neighbour's with the given probability."""
    hit = torch.rand(len(poses), 1, generator=rng, device=rng.device) < probability
    return torch.where(hit, poses.roll(1, 0), poses)


def real_raw(images: Tensor, pixels: int, antialias: float, sigma: float) -> Tensor:
    """Real images [B,3,N,N] at `pixels`², then blurred by `sigma` pixels of that size."""
    return _blurred(resize(images, pixels, antialias=antialias), sigma)


def both(image: Tensor, raw: Tensor, sigma: float) -> Tensor:
    """What D sees [B,6,N,N]: `image` [B,3,N,N] blurred by `sigma` pixels, and `raw` [B,3,n,n] enlarged."""
    return torch.cat([_blurred(image, sigma), resize(raw, image.shape[-1])], dim=1)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    radius = math.floor(3.0 * sigma)
    return (
        images if radius == 0 else losses.blur(images, losses.blur_kernel(sigma, radius, images), "constant")
    )


def density_difference(raw: Tensor) -> Tensor:
    """Mean difference between the raw densities [B,2N,1] of N points and of N others, in the same order."""
    before, after = raw.chunk(2, dim=1)
    return (before - after).abs().mean()

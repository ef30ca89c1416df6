"""What keeps style codes tidy in systems after StyleGAN2, path length regularisation and style mixing, and the part in
the adversarial step that these systems share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import RunConfig
from gp3d_core.datasets.dataset import Batch, Dataset
from gp3d_core.networks.discriminator import DiscriminatorOutput
from gp3d_core.networks.latents import one_hot
from gp3d_core.rendering.cameras import Cameras
from gp3d_core.training import losses
from gp3d_core.training.augmentation import augment
from gp3d_core.training.phases import StepContext
from gp3d_core.training.step import Log
from gp3d_core.training.systems.phases import Penalty, Players, Shown

_SHARE = 2  # of a batch one in so many images has its path length measured


def images_measured(batch: int) -> int:
    """How many of a batch have their path length measured."""
    return max(batch // _SHARE, 1)


class PathLength(nn.Module):
    """Path length regularisation (StyleGAN2 §3.2); its running mean belongs in checkpoints."""

    mean: Tensor

    def __init__(self) -> None:
        """The mean starts at zero."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def penalty(self, images: Tensor, ws: Tensor, rng: torch.Generator) -> tuple[Tensor, Log]:
        """How much path lengths of `images` [B,3,h,w] of style codes `ws` [B,L,D] leave their running mean, which
        follows.
        """
        noise = torch.randn(images.shape, generator=rng, device=images.device)
        lengths = losses.path_lengths(images, ws, noise)
        penalty, moved = losses.path_penalty(lengths, self.mean)
        self.mean.copy_(moved.detach())
        term = penalty.mean()
        return term, {"loss/path_penalty": term, "path/length": lengths.mean(), "path/mean": moved}


def mix_styles(ws: Tensor, others: Tensor, first: int, probability: float, rng: torch.Generator) -> Tensor:
    """Style codes `ws` [B,L,D] whose last ones, from a random place after `first` on, are those of `others`.

    One draw for the whole batch; with `probability` there is a place, else nothing is mixed.
    """
    u = torch.rand(2, generator=rng, device=rng.device, dtype=torch.float64)
    layers = ws.shape[1]
    place = first + 1 + (u[1] * (layers - first - 1)).floor().long()
    place = torch.where(u[0] < probability, place, layers)
    taken = torch.arange(layers, device=ws.device) >= place.to(ws.device)
    return torch.where(taken[None, :, None], others, ws)


@dataclass(frozen=True)
class StyleSettings:
    """mixing: probability that codes of two objects meet; weight and interval of path lengths, weight 0 leaves them
    out; name: of their random stream.
    """

    mixing: float
    weight: float
    interval: int
    name: str = "path"


class StyleAdversary:
    """The part in the adversarial step of systems that make whole pictures of style codes; each adds `generate`."""

    discriminator_penalties: Sequence[Penalty] = ()

    def __init__(self, config: RunConfig, dataset: Dataset, styles: StyleSettings) -> None:
        """Of a run on `dataset`."""
        self.config: Any = config  # a system's own
        self.classes, self.styles = dataset.num_classes, styles
        self.path_length = PathLength()
        self.modules: Mapping[str, nn.Module] = {}
        self.generator_penalties: Sequence[Penalty] = ()
        if styles.weight > 0:
            self.modules = {"path_length": self.path_length}
            self.generator_penalties = [Penalty(styles.name, styles.interval, self.path)]

    def codes(
        self, generator: Any, z: Tensor, c: Tensor | None, context: StepContext, *, update_average: bool
    ) -> Tensor:
        """Style codes [B,L,D] of noise z [B,Z], now and then of two objects."""
        ws: Tensor = generator.mapping(z, c, update_average=update_average)
        if self.styles.mixing == 0:
            return ws
        other = torch.randn(z.shape, generator=context.rng, device=z.device)
        return self.mixed(ws, generator.mapping(other, c), context.rng)

    def mixed(self, ws: Tensor, others: Tensor, rng: torch.Generator) -> Tensor:
        """Codes `ws` [B,L,D], some of whose last ones may be those of `others`."""
        return mix_styles(ws, others, 0, self.styles.mixing, rng)

    def drawn(self, generator: Any, ws: Tensor, cameras: Cameras, context: StepContext) -> Tensor:
        """Pictures [B,3,h,w] of style codes."""
        rgb: Tensor = generator.view(ws, cameras, nimg=context.nimg, generator=context.rng).rgb
        return rgb

    def real(self, batch: Batch, context: StepContext) -> Shown:
        """Real images, as they are."""
        return Shown((batch.images,), one_hot(batch.labels, self.classes))

    def judge(
        self, discriminator: Any, shown: Shown, context: StepContext, *, with_features: bool = False
    ) -> DiscriminatorOutput:
        """What D says of the pictures, augmented when asked for."""
        (images,) = shown.pictures
        if context.augmentation > 0:
            images = augment(images, context.augmentation, context.rng)
        return self.judged(discriminator, images, shown.c, context, with_features=with_features)

    def judged(
        self,
        discriminator: Any,
        images: Tensor,
        c: Tensor | None,
        context: StepContext,
        *,
        with_features: bool,
    ) -> DiscriminatorOutput:
        """What D says of `images`."""
        output: DiscriminatorOutput = discriminator(images, c, with_features=with_features)
        return output

    def path(self, players: Players) -> tuple[Tensor, Log]:
        """The path length penalty of a part of the batch, times weight and interval (StyleGAN2 §3.2)."""
        context, latents, styles = players.context, players.draw(), self.styles
        count = images_measured(len(latents.z))
        c = None if latents.c is None else latents.c[:count]
        ws = self.codes(players.generator, latents.z[:count], c, context, update_average=False)
        images = self.drawn(players.generator, ws, latents.prior[:count], context)
        term, log = self.path_length.penalty(images, ws, context.rng)
        return term * (styles.weight * styles.interval), log

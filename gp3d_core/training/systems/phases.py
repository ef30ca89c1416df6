"""What the one adversarial step asks of a system, and how systems that show whole pictures answer it.

A system of whole pictures is an `Adversary`: it generates, it shows real images in the same way, and it has them
judged. The rest, losses, distillation and R1 at everything that D is shown, is the same for all: `PicturePhases`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import RunConfig
from gp3d_core.datasets.dataset import Batch
from gp3d_core.networks.discriminator import DiscriminatorOutput
from gp3d_core.networks.latents import Latents
from gp3d_core.training import losses
from gp3d_core.training.phases import StepContext
from gp3d_core.training.step import Log


@dataclass(frozen=True, eq=False)
class Players:
    """What a phase works with: both networks, a micro-batch of real images, and `draw`, which gives as many latents."""

    generator: Any  # a system's own, as the step has made it
    discriminator: Any
    real: Batch
    context: StepContext
    draw: Callable[[], Latents]


@dataclass(frozen=True)
class Penalty:
    """A term that comes once in `interval` steps, with an update of its own (lazy regularisation, StyleGAN2 App. B).

    `loss` gives it times the interval, and numbers for the log; `name` is that of its random stream.
    """

    name: str
    interval: int
    loss: Callable[[Players], tuple[Tensor, Log]]


class Phases(Protocol):
    """What the players of a system minimise in a step: first the generator, then the discriminator; penalties follow
    each.
    """

    @property
    def generator_penalties(self) -> Sequence[Penalty]:
        """The generator's terms that come now and then."""

    @property
    def discriminator_penalties(self) -> Sequence[Penalty]:
        """The discriminator's terms that come now and then."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """What else changes, and belongs in a checkpoint, by name."""

    def generator(self, players: Players) -> tuple[Tensor, Log]:
        """The generator's loss."""

    def discriminator(self, players: Players) -> tuple[Tensor, Log]:
        """The discriminator's loss; moves the generator's average code."""


def share_without(penalties: Sequence[Penalty]) -> float:
    """The share of a player's updates that are no penalties', k / (k + 1) for one in k steps: `adam`'s `lazy`."""
    if not penalties:
        return 1.0
    interval = min(penalty.interval for penalty in penalties)
    return interval / (interval + 1)


@dataclass(frozen=True, eq=False)
class Shown:
    """What D is shown of a batch: pictures, at all of which R1 is taken, the condition [B,C], and numbers to log."""

    pictures: tuple[Tensor, ...]
    c: Tensor | None
    log: Log = field(default_factory=dict)


class Adversary(Protocol):
    """A system whose discriminator judges whole pictures."""

    @property
    def generator_penalties(self) -> Sequence[Penalty]:
        """The generator's terms that come now and then."""

    @property
    def discriminator_penalties(self) -> Sequence[Penalty]:
        """The discriminator's terms that come now and then, beside R1."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """What else changes while training, such as running means, by name."""

    def generate(
        self, generator: Any, latents: Latents, context: StepContext, *, update_average: bool
    ) -> Shown:
        """Fakes of `latents`."""

    def real(self, batch: Batch, context: StepContext) -> Shown:
        """Real images as `generate` shows fakes."""

    def judge(
        self, discriminator: Any, shown: Shown, context: StepContext, *, with_features: bool = False
    ) -> DiscriminatorOutput:
        """What D says, after blur, augmentation and whatever else the pictures go through."""


class PicturePhases:
    """The phases of an `Adversary`."""

    def __init__(self, adversary: Adversary, config: RunConfig) -> None:
        """R1 is left out where its weight is 0."""
        self.adversary, self.config = adversary, config
        self.generator_penalties = adversary.generator_penalties
        self.modules = adversary.modules
        r1 = [Penalty("r1", config.loss.r1_interval, self.r1)] if config.loss.r1_gamma > 0 else []
        self.discriminator_penalties = [*r1, *adversary.discriminator_penalties]

    def generator(self, players: Players) -> tuple[Tensor, Log]:
        """The generator's adversarial loss."""
        fake = self.adversary.generate(
            players.generator, players.draw(), players.context, update_average=False
        )
        return self.judged(players, fake)

    def judged(self, players: Players, fake: Shown) -> tuple[Tensor, Log]:
        """What G pays for fakes that D recognises."""
        output = self.adversary.judge(players.discriminator, fake, players.context)
        loss = losses.generator_loss(output.logits, self.config.loss.adversarial).mean()
        return loss, {"loss/generator": loss, "scores/fake_by_generator": output.logits.mean(), **fake.log}

    def discriminator(self, players: Players) -> tuple[Tensor, Log]:
        """The discriminator's adversarial loss, and distillation where the data has features."""
        adversary, context, settings = self.adversary, players.context, self.config.loss
        with torch.no_grad():
            fake = adversary.generate(players.generator, players.draw(), context, update_average=True)
        on_fake = adversary.judge(players.discriminator, fake, context)
        weight = settings.distillation_weight.at(context.nimg)
        features = players.real.features if weight > 0 else None
        real = adversary.real(players.real, context)
        on_real = adversary.judge(players.discriminator, real, context, with_features=features is not None)
        loss = losses.fake_loss(on_fake.logits, settings.adversarial).mean()
        loss = loss + losses.real_loss(on_real.logits, settings.adversarial).mean()
        log = losses.scores(on_fake.logits, on_real.logits) | {"loss/discriminator": loss}
        if features is not None and on_real.features is not None:
            term = losses.distillation_loss(on_real.features, features, settings.distillation).mean()
            log["loss/distillation"] = term
            loss = loss + weight * term
        return loss, log

    def r1(self, players: Players) -> tuple[Tensor, Log]:
        """R1 at everything that D is shown of real images."""
        shown, settings = self.adversary.real(players.real, players.context), self.config.loss
        leaves = tuple(picture.detach().requires_grad_() for picture in shown.pictures)
        output = self.adversary.judge(players.discriminator, replace(shown, pictures=leaves), players.context)
        penalty = losses.r1_penalty(output.logits, *leaves).mean()
        return penalty * (settings.r1_gamma / 2 * settings.r1_interval), {"loss/r1_penalty": penalty}

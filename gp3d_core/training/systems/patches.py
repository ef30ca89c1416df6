"""3DGP's phases, on patches with depth, as the adversarial step asks for them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from gp3d_core.config.schema import RunConfig
from gp3d_core.training.phases import discriminator_phase, generator_phase, r1_phase
from gp3d_core.training.step import Log
from gp3d_core.training.systems.phases import Penalty, Players


class PatchPhases:
    """What 3DGP's players minimise (3DGP §3.3–3.4)."""

    generator_penalties: tuple[Penalty, ...] = ()
    modules: Mapping[str, nn.Module] = {}

    def __init__(self, config: RunConfig) -> None:
        """R1 comes with any weight, so that the optimiser is the same with and without."""
        self.config = config
        self.discriminator_penalties = (Penalty("r1", config.loss.r1_interval, self._r1),)

    def generator(self, players: Players) -> tuple[Tensor, Log]:
        """The generator's loss."""
        generator, discriminator = players.generator, players.discriminator
        return generator_phase(generator, discriminator, players.draw(), self.config, players.context)

    def discriminator(self, players: Players) -> tuple[Tensor, Log]:
        """The discriminator's loss."""
        latents, config = players.draw(), self.config
        return discriminator_phase(
            players.generator, players.discriminator, latents, players.real, config, players.context
        )

    def _r1(self, players: Players) -> tuple[Tensor, Log]:
        return r1_phase(players.discriminator, players.real, self.config, players.context)

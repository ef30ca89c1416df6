"""The projected discriminator (NeurIPS 2021) as an alternative to each system's own, or beside it: its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from gp3d_core.config.schema import ConfigError, RunConfig

SMALLEST_INPUT = 128  # pixels a side; of less the deepest map leaves no place for a logit
MOST_HEADS = 4


@dataclass(frozen=True, kw_only=True)
class ProjectedSettings:
    """Which network's features are judged, how they are mixed, and by what heads."""

    network: str = "torchvision:squeezenet1_0"  # or timm:NETWORK; the release has timm:tf_efficientnet_lite0
    input_size: int = 224  # pixels a side that smaller pictures are enlarged to for the network
    mixing_width: int = 64  # channels of the shallowest mixture
    head_width: int = 64  # channels of a head from 64 pixels on
    heads: int = 4  # on the shallowest mixtures
    convolutions: Literal["plain", "separable"] = "separable"  # as the release has it for StyleGAN2
    augment: bool = True  # pictures are dimmed, moved and cut out at random before they are judged

    def check(self) -> None:
        """Raises ConfigError for values out of range."""
        if self.input_size < SMALLEST_INPUT:
            raise ConfigError(
                f"projected.input_size expects at least {SMALLEST_INPUT} pixels a side, found {self.input_size}"
            )
        if not 1 <= self.heads <= MOST_HEADS:
            raise ConfigError(f"projected.heads expects a number from 1 to {MOST_HEADS}, found {self.heads}")
        for key in ("mixing_width", "head_width"):
            if getattr(self, key) < 1:
                raise ConfigError(f"projected.{key} expects a number of at least 1")


@dataclass(frozen=True, kw_only=True)
class ProjectedConfig(RunConfig):
    """Everything that decides a run of 3DGP with the projected discriminator beside its own (3DGP Tab. 4)."""

    system: ClassVar[str] = "3dgp-projected"

    projected: ProjectedSettings = ProjectedSettings()

    def check(self) -> None:
        """Raises ConfigError for values of the section `projected` out of range."""
        self.projected.check()


_SMALL = ProjectedSettings(input_size=128, mixing_width=16, head_width=32)
_SECOND = {  # beside the discriminator of these presets
    "tiny": _SMALL,
    "photos-64": _SMALL,
    "shapenet-64": ProjectedSettings(),
    "dogs-256": ProjectedSettings(),
}


def second_discriminators(presets: Mapping[str, RunConfig]) -> dict[str, RunConfig]:
    """Presets of 3DGP with a second discriminator on colour (3DGP Tab. 4), by their names: those of `presets` and a
    word.
    """
    rows: dict[str, RunConfig] = {}
    for known, settings in _SECOND.items():
        name, plain = f"{known}-projected", presets[known]
        same = {part.name: getattr(plain, part.name) for part in fields(RunConfig)}
        rows[name] = ProjectedConfig(**(same | {"preset": name, "projected": settings}))
    return rows

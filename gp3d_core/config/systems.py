"""The systems that can be trained: 3DGP, and those that it is compared with, by the word that snapshots carry."""

from __future__ import annotations

from gp3d_core.config.eg3d import Eg3dConfig
from gp3d_core.config.pictures.projected import ProjectedConfig
from gp3d_core.config.pictures.stylegan2 import ProjectedStylegan2Config, Stylegan2Config
from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.config.stylenerf import StyleNerfConfig
from gp3d_core.config.volumegan import VolumeGanConfig

_KINDS = (
    RunConfig,
    ProjectedConfig,
    Eg3dConfig,
    Stylegan2Config,
    ProjectedStylegan2Config,
    StyleNerfConfig,
    VolumeGanConfig,
)
CONFIGS: dict[str, type[RunConfig]] = {kind.system: kind for kind in _KINDS}


def config_type(system: str) -> type[RunConfig]:
    """The configuration class of a system. Raises ConfigError for a word that names none."""
    if system not in CONFIGS:
        raise ConfigError(f"system {system!r} is not known here, only {', '.join(CONFIGS)}")
    return CONFIGS[system]

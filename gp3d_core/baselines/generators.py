"""The generator of every system, by its configuration."""

from __future__ import annotations

from gp3d_core.baselines.eg3d.generator import Eg3dGenerator
from gp3d_core.baselines.stylegan2 import Stylegan2Generator
from gp3d_core.baselines.stylenerf.generator import StyleNerfGenerator
from gp3d_core.baselines.volumegan.generator import VolumeGanGenerator
from gp3d_core.config.eg3d import Eg3dConfig
from gp3d_core.config.pictures.stylegan2 import Stylegan2Config
from gp3d_core.config.schema import RunConfig
from gp3d_core.config.stylenerf import StyleNerfConfig
from gp3d_core.config.volumegan import VolumeGanConfig
from gp3d_core.networks.generator import BaseGenerator, Generator


def make_generator(config: RunConfig, num_classes: int) -> BaseGenerator:
    """A fresh generator of the system that the configuration is of; fewer than two classes: unconditional."""
    if isinstance(config, Eg3dConfig):
        return Eg3dGenerator(config, num_classes)
    if isinstance(config, StyleNerfConfig):
        return StyleNerfGenerator(config, num_classes)
    if isinstance(config, VolumeGanConfig):
        return VolumeGanGenerator(config, num_classes)
    if isinstance(config, Stylegan2Config):
        return Stylegan2Generator(config, num_classes)
    return Generator(config, num_classes)

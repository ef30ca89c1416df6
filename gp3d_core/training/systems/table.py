"""The discriminator and the phases of every system, by its configuration."""

from __future__ import annotations

from torch import nn

from gp3d_core.config.eg3d import Eg3dConfig
from gp3d_core.config.pictures.projected import ProjectedConfig
from gp3d_core.config.pictures.stylegan2 import ProjectedStylegan2Config, Stylegan2Config
from gp3d_core.config.schema import RunConfig
from gp3d_core.config.stylenerf import StyleNerfConfig
from gp3d_core.config.volumegan import VolumeGanConfig
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.training.systems import eg3d, projected, stylegan2, stylenerf, volumegan
from gp3d_core.training.systems.patches import PatchPhases
from gp3d_core.training.systems.phases import Phases, PicturePhases


def make_discriminator(config: RunConfig, num_classes: int, feature_dim: int = 0) -> nn.Module:
    """A fresh discriminator of the configuration's system; `feature_dim` 0 leaves out what predicts features."""
    if isinstance(config, Eg3dConfig):
        return eg3d.make_discriminator(config, num_classes)
    if isinstance(config, StyleNerfConfig):
        return stylenerf.make_discriminator(config, num_classes)
    if isinstance(config, VolumeGanConfig):
        return volumegan.make_discriminator(config, num_classes)
    if isinstance(config, ProjectedStylegan2Config):
        return projected.make_projected(config.projected, config.training.resolution, num_classes)
    if isinstance(config, Stylegan2Config):
        return stylegan2.make_discriminator(config, num_classes, feature_dim)
    if isinstance(config, ProjectedConfig):
        return projected.make_both(config, num_classes, feature_dim)
    return Discriminator(config, num_classes, feature_dim)


def make_phases(config: RunConfig, dataset: Dataset) -> Phases:
    """What the players of the configuration's system minimise. Raises ConfigError for data that lacks what it needs."""
    if isinstance(config, Eg3dConfig):
        return PicturePhases(eg3d.Eg3dAdversary(config, dataset), config)
    if isinstance(config, StyleNerfConfig):
        return stylenerf.StyleNerfPhases(stylenerf.StyleNerfAdversary(config, dataset), config)
    if isinstance(config, VolumeGanConfig):
        return PicturePhases(volumegan.VolumeGanAdversary(config, dataset), config)
    if isinstance(config, ProjectedStylegan2Config):
        return PicturePhases(stylegan2.ProjectedStylegan2Adversary(config, dataset), config)
    if isinstance(config, Stylegan2Config):
        return PicturePhases(stylegan2.Stylegan2Adversary(config, dataset), config)
    if isinstance(config, ProjectedConfig):
        return projected.ProjectedPatchPhases(config)
    return PatchPhases(config)

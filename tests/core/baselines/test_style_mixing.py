"""Which style codes of a picture may be another object's while training, in the systems that mix styles."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from gp3d_core.baselines.generators import make_generator
from gp3d_core.config.stylenerf import StyleNerfConfig
from gp3d_core.config.volumegan import VolumeGanConfig
from gp3d_core.training.phases import StepContext
from gp3d_core.training.systems.style_regularisation import StyleAdversary
from gp3d_core.training.systems.stylegan2 import Stylegan2Adversary
from gp3d_core.training.systems.stylenerf import StyleNerfAdversary
from gp3d_core.training.systems.volumegan import VolumeGanAdversary
from tests.support.micro_systems import micro_system

DATA = SimpleNamespace(num_classes=2, feature_dim=0)
SYSTEMS = {
    "stylegan2": (Stylegan2Adversary, "stylegan2.style_mixing"),
    "stylenerf": (StyleNerfAdversary, "stylenerf.mixing"),
    "volumegan": (VolumeGanAdversary, "volumegan.mixing"),
}


def mixed_places(system: str, mixing: float) -> set[int]:
    """The places of the codes that another object gave in one of forty draws; the others are the object's own."""
    kind, key = SYSTEMS[system]
    config = micro_system(system, f"{key}={mixing}")
    adversary: StyleAdversary = kind(config, DATA)
    torch.manual_seed(0)
    generator = make_generator(config, DATA.num_classes).eval()
    z, c = torch.randn(1, config.generator.z_dim), torch.eye(2)[:1]
    own = generator.mapping(z, c)
    places: set[int] = set()
    for seed in range(40):
        context = StepContext(0, 0.0, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            ws = adversary.codes(generator, z, c, context, update_average=False)
        places |= set(((ws - own).abs().amax(dim=(0, 2)) > 0).nonzero().flatten().tolist())
    return places


@pytest.mark.parametrize("system", SYSTEMS)
def test_codes_are_the_objects_own_where_nothing_is_mixed(system: str) -> None:
    assert mixed_places(system, 0.0) == set()


@pytest.mark.parametrize("system", SYSTEMS)
def test_first_codes_a_field_and_a_background_are_never_another_objects(system: str) -> None:
    config = micro_system(system)
    generator = make_generator(config, DATA.num_classes).eval()
    codes = generator.mapping(torch.randn(1, config.generator.z_dim), torch.eye(2)[:1])
    own, last = 1, codes.shape[1]
    if isinstance(config, VolumeGanConfig):  # its field
        own = config.volumegan.field_layers + 1
    if isinstance(config, StyleNerfConfig):  # its background
        last -= 1
    assert mixed_places(system, 1.0) == set(range(own, last))

"""Every case of an independent run of the method, reproduced: `pytest tests/core/parity/test_parity.py --fixtures DIR`.

DIR is any folder of recorded tensors; without one, the project's own, described in tests/fixtures/3dgp/README.md.
The tests are in the parity_*.py files beside this one, a part of the system each; the cases and the recorded
networks they ask for are here.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from tests.core.parity.parity_fixtures import Case, load_case
from tests.core.parity.parity_names import (
    CLASSES,
    CONFIG,
    DISCRIMINATOR_NAMES,
    FEATURES,
    GENERATOR_NAMES,
    load_weights,
)

for part in ("rendering", "sampling", "networks", "discriminator", "training"):
    pytest.register_assert_rewrite(f"tests.core.parity.parity_{part}")
    tests = vars(importlib.import_module(f"tests.core.parity.parity_{part}"))
    globals().update({name: test for name, test in tests.items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def case01(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case01_cameras_rays")


@pytest.fixture(scope="module")
def case02(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case02_triplane_mlp")


@pytest.fixture(scope="module")
def case03(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case03_volume_render")


@pytest.fixture(scope="module")
def case03b(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case03b_importance")


@pytest.fixture(scope="module")
def case04(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case04_generator")


@pytest.fixture(scope="module")
def case05(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case05_camera")


@pytest.fixture(scope="module")
def case06(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case06_depth_adaptor")


@pytest.fixture(scope="module")
def case07(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case07_discriminator")


@pytest.fixture(scope="module")
def case08(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case08_nfs")


@pytest.fixture(scope="module")
def case09(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case09_sampling")


@pytest.fixture(scope="module")
def case10(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case10_training_step")


@pytest.fixture
def generator(fixtures_dir: Path) -> Generator:
    """The recorded generator."""
    network = Generator(CONFIG, CLASSES).eval()
    load_weights(network, load_case(fixtures_dir, "G_weights").under("param:"), GENERATOR_NAMES)
    return network


@pytest.fixture
def quiet_generator(generator: Generator) -> Generator:
    """The recorded generator with all noise switched off, as in the recorded training step."""
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.zero_()
    return generator


@pytest.fixture
def discriminator(fixtures_dir: Path) -> Discriminator:
    """The recorded discriminator."""
    network = Discriminator(CONFIG, CLASSES, FEATURES)
    load_weights(network, load_case(fixtures_dir, "D_weights").under("param:"), DISCRIMINATOR_NAMES)
    return network

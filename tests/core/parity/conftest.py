"""The cases of a folder of recorded tensors, and the networks that were recorded.

`pytest tests/core/parity --fixtures DIR` reproduces the folder DIR; without it the project's own, described in
tests/fixtures/3dgp/README.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gp3d_core.networks import camera_generator
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from tests.core.parity.parity_fixtures import Case, load_case
from tests.core.parity.parity_names import load_weights
from tests.core.parity.recording import Recording, load_recording, normalise_as_released


@pytest.fixture(scope="session")
def recording(fixtures_dir: Path) -> Recording:
    """How the recorded networks were built."""
    return load_recording(fixtures_dir)


@pytest.fixture(autouse=True)
def point_ranges_as_released(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a parameter's range is a point, the recorded run reads rounding errors, and ours nothing, on purpose.

    There, and only there, cameras are normalised as they were while recording, so that all else is still compared.
    """
    if recording.has_point_range:
        monkeypatch.setattr(camera_generator, "normalise_cameras", normalise_as_released)


@pytest.fixture(scope="session")
def case01(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case01_cameras_rays")


@pytest.fixture(scope="session")
def case02(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case02_triplane_mlp")


@pytest.fixture(scope="session")
def case03(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case03_volume_render")


@pytest.fixture(scope="session")
def case03b(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case03b_importance")


@pytest.fixture(scope="session")
def case04(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case04_generator")


@pytest.fixture(scope="session")
def case05(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case05_camera")


@pytest.fixture(scope="session")
def case06(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case06_depth_adaptor")


@pytest.fixture(scope="session")
def case07(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case07_discriminator")


@pytest.fixture(scope="session")
def case08(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case08_nfs")


@pytest.fixture(scope="session")
def case09(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case09_sampling")


@pytest.fixture(scope="session")
def case10(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case10_training_step")


@pytest.fixture
def generator(fixtures_dir: Path, recording: Recording) -> Generator:
    """The recorded generator."""
    network = Generator(recording.config, recording.classes).eval()
    weights = load_case(fixtures_dir, "G_weights").under("param:")
    load_weights(network, weights, recording.generator_names)
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
def discriminator(fixtures_dir: Path, recording: Recording) -> Discriminator:
    """The recorded discriminator."""
    network = Discriminator(recording.config, recording.classes, recording.features)
    weights = load_case(fixtures_dir, "D_weights").under("param:")
    load_weights(network, weights, recording.discriminator_names)
    return network

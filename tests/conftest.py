"""Options, tolerances and fixtures that several test folders use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch


# Largest allowed |actual − expected|: rtol · |expected| + atol, and for gradients share · max |expected|.
TOLERANCES: dict[str, dict[str, float]] = {
    "forward": {"rtol": 1e-4, "atol": 1e-4},
    "forward64": {"rtol": 1e-9, "atol": 1e-9},
    # the recorded run adds 1e-10 to each factor of the transmittance
    "composited64": {"rtol": 1e-8, "atol": 1e-8},
    "gradient": {"share": 1e-3},
    "gradient64": {"share": 1e-7},
    "pole": {"rtol": 1e-2, "atol": 1e-2},  # cameras a hair from a pole are ill-conditioned in float32
    "exact32": {"rtol": 1e-5, "atol": 1e-6},  # closed forms and invariances
    "exact64": {"rtol": 1e-12, "atol": 1e-12},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the parity suite read any folder of recorded tensors, and the add-on's scenarios run in any Blender."""
    parser.addoption(
        "--fixtures-dir",
        metavar="DIR",
        help="folder of recorded tensors for the parity tests; also --fixtures DIR",
    )
    parser.addoption(
        "--baseline-fixtures",
        metavar="DIR",
        help="folder of recorded tensors of the systems that 3DGP is compared with, for tests/core/baselines",
    )
    parser.addoption(
        "--blender-python",
        metavar="PROGRAM",
        default=sys.executable,
        help="Python with the bpy in which the add-on's scenarios are played (default: this one)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Understand `--fixtures DIR`, where pytest by itself would list its fixtures and take DIR for tests."""
    folders = [argument for argument in config.args if any(Path(argument).glob("case*.safetensors"))]
    if config.option.showfixtures and folders:
        config.option.showfixtures = False
        config.option.fixtures_dir = folders[0]
        config.args[:] = [argument for argument in config.args if argument not in folders]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another program on the machine can make fail, unless it is asked for: `-m timing`."""
    if "timing" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("timing")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("timing")]


@pytest.fixture(scope="session")
def fixtures_dir(pytestconfig: pytest.Config) -> Path:
    """Folder of recorded tensors: the one asked for, else the project's own."""
    from tests.core.parity.parity_fixtures import OWN

    folder = Path(pytestconfig.option.fixtures_dir or OWN).resolve()
    if not folder.is_dir():
        pytest.fail(f"recorded tensors: there is no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def close() -> Callable[..., None]:
    """Assertion `close(actual, expected, kind)` with a tolerance of the table above.

    `expected` is a tensor, numbers, or the sketch of a tensor.
    """
    import torch

    from tests.support.sketches import Sketch

    def check(actual: torch.Tensor, expected: Any, kind: str = "forward") -> None:
        if isinstance(expected, Sketch):
            expected.assert_close(actual, **TOLERANCES[kind])
            return
        expected = torch.as_tensor(expected, dtype=actual.dtype, device=actual.device)
        tolerance = dict(TOLERANCES[kind])
        if "share" in tolerance:
            tolerance = {"rtol": 0.0, "atol": tolerance["share"] * expected.abs().max().item()}
        torch.testing.assert_close(actual, expected, **tolerance)

    return check

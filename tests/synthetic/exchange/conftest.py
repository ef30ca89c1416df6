"""What the tests of exchange share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.synthetic.exchange.boxes_data import write_boxes, write_library


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_library(tmp_path_factory.mktemp("exchange") / "models")


@pytest.fixture(scope="module")
def data(models: Path) -> Path:
    """The boxes as a data set."""
    return write_boxes(models.parent / "data", models, models.parent / "scratch")

"""The recorded cases of the systems that 3DGP is compared with.

`pytest tests/core/baselines --baseline-fixtures DIR` compares with the folder DIR, of any seeds and sizes: tests read
these from the JSON. Without the option it is `shared/fixtures/baselines` beside the checkout; where that is not there,
tests that need it are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.parity.parity_fixtures import Case, load_case
from tests.support.source_tree import ROOT

DEFAULT = ROOT.parent / "shared" / "fixtures" / "baselines"


@pytest.fixture(scope="session")
def baseline_fixtures(pytestconfig: pytest.Config) -> Path:
    """The folder of recorded cases; the test is skipped without one, and fails where one was asked for in vain."""
    asked = pytestconfig.option.baseline_fixtures
    folder = Path(asked or DEFAULT).resolve()
    if not folder.is_dir():
        refuse = pytest.fail if asked else pytest.skip
        refuse(f"no recorded baselines in {folder}: name their folder with --baseline-fixtures DIR")
    return folder


@pytest.fixture(scope="session")
def recorded(baseline_fixtures: Path) -> Callable[[str], Case]:
    """A case by its name, such as "eg3d_cameras"; the test is skipped where the folder lacks it."""
    cases: dict[str, Case] = {}

    def read(name: str) -> Case:
        if name not in cases:
            cases[name] = load_case(baseline_fixtures, name)
        return cases[name]

    return read

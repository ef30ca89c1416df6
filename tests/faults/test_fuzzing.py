"""Whatever strangers send is read or refused in one line: no traceback, no hang, no gigantic memory.

`make faults MINUTES=10` goes on with other seeds and prints a table.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.fuzzing import fuzz
from tests.faults.targets import all_targets

COUNT = int(os.environ.get("GP3D_FUZZ", "25"))  # inputs of each kind


@pytest.mark.slow
def test_damaged_inputs_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    faults = {}
    for target in all_targets(tmp_path / "whole"):
        outcome = fuzz(target, tmp_path, first=0, count=COUNT)
        assert outcome.refused, f"{target.name}: nothing was refused, so that nothing was tried"
        faults |= {f"{target.name}, seed {seed}": fault for seed, fault in outcome.faults.items()}
    assert not faults

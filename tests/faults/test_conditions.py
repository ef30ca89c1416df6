"""Commands in conditions that machines may be in; `python -m tests.faults.conditions` tries them all, as root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conditions import attempt, closed_stderr, low_memory


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mesh", "pack"])
def test_too_little_memory_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    assert attempt(low_memory, name, tmp_path).startswith(
        "gp3d: there is not enough memory for this; ask for less"
    )


@pytest.mark.slow
def test_commands_work_without_stderr(tmp_path: Path) -> None:
    assert attempt(closed_stderr, "mesh", tmp_path) == "done"

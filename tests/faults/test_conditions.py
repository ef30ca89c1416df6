"""Commands in conditions that machines may be in; `python -m tests.faults.conditions` tries them all, as root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conditions import attempt, closed_stderr, low_memory


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("mesh", ["--texture-size", "4096"]),  # 48 MiB in one piece, which no free part of a heap can hold
        ("pack", []),  # its workers are new processes
    ],
)
def test_too_little_memory_is_said_in_one_line(name: str, more: list[str], tmp_path: Path) -> None:
    freed = [bytes(1000) for _ in range(300_000)]  # in a heap that cannot be given back to the system
    kept = freed[:: len(freed) // 1000]
    del freed
    assert attempt(low_memory, name, tmp_path, *more).startswith(
        "gp3d: there is not enough memory for this; ask for less"
    )
    assert len(kept) >= 1000


@pytest.mark.slow
def test_commands_work_without_stderr(tmp_path: Path) -> None:
    assert attempt(closed_stderr, "mesh", tmp_path) == "done"

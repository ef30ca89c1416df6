"""Where points are written, and where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthetic.points import main
from tests.synthetic import small_library as library


@pytest.mark.parametrize("place", ["mine.txt", "points/mine.npz"])
def test_no_points_are_written_among_foreign_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    library.write_facts(tmp_path / "models")
    library.write_model(tmp_path / "models", "04379243/pane", library.SHAPES["04379243/pane"])
    foreign = tmp_path / "out" / place
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    assert main([str(tmp_path / "models"), str(tmp_path / "out"), "--points", "64", "--workers", "1"]) == 2
    assert f"holds '{foreign.name}' and no " in capsys.readouterr().err
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [foreign]

"""Files that are no models are refused by the kinds that are."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthetic.staging.files import BrokenModelError, ModelFiles
from synthetic.staging.stage import read_surface
from synthetic.staging.treatment import ModelLimits, Treatment


@pytest.mark.parametrize("name", ["model", "model.png", "model.OBJ.txt"])
def test_a_file_of_another_kind_is_refused_by_its_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no mesh")
    files = ModelFiles(tmp_path / name, tmp_path, tmp_path / "workspace", ModelLimits())
    with pytest.raises(BrokenModelError, match=r"expected one of \.obj, "):
        read_surface(files, Treatment())

"""Nothing about a recording is assumed: a folder with other sizes, steps and cameras runs the same tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.parity.parity_fixtures import OWN
from tests.core.parity.recording import load_recording
from tests.core.parity.stand_in import write_stand_in


@pytest.mark.slow
def test_a_folder_of_other_sizes_is_read_and_reproduced(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    other, own = write_stand_in(folder), load_recording(OWN)
    assert other.config.training.resolution != own.config.training.resolution
    assert other.config.generator != own.config.generator
    assert other.config.camera != own.config.camera
    suite = sorted(map(str, Path(__file__).parent.glob("test_parity_*.py")))
    command = [sys.executable, "-m", "pytest", *suite, "--fixtures", str(folder), "-k", "not fused"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=OWN.parents[2], check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 40

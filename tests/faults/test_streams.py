"""Readers that go, streams that are closed, disks that are full: for the commands of `synthetic`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT

pytestmark = pytest.mark.slow
COMMAND = ("-m", "synthetic.shapes", "--classes", "barrel", "--per-class", "1")


@pytest.mark.parametrize(
    ("redirection", "code", "errors"),
    [
        ("| true", 0, ""),
        ("2>&1 | true", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        (">/dev/full", 2, "error: what is printed: No space left on device"),
    ],
)
def test_work_is_done_whoever_reads(tmp_path: Path, redirection: str, code: int, errors: str) -> None:
    out = tmp_path / "models"
    line = f'{{ "$0" "$@"; echo $? > "{tmp_path}/code"; }} {redirection}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, *COMMAND, str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (tmp_path / "code").read_text().strip() == str(code)
    assert done.stderr.splitlines()[-1:] == ([errors] if errors else [])
    assert len(list(out.glob("*/[!.]*/models/model_normalized.obj"))) == 1

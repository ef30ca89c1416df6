"""The add-on as installed from its zip, in the bpy wheel, or that of --blender-python: every scenario must end well."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.addon.conftest import ROOT, scenarios

pytestmark = [pytest.mark.slow, pytest.mark.blender]

KINDS = ("import", "jobs", "panel", "browser", "setup", "relief", "trust")
REAL_KINDS = ("real", "crash", "seeds", "assets", "lift", "volume")  # those that talk to the real engine


def cases(kinds: tuple[str, ...]) -> list[ParameterSet]:
    """All scenarios of the kinds."""
    return [
        pytest.param(file, name, marks=[pytest.mark.timing] * name.startswith("timing_"), id=f"{kind}-{name}")
        for kind in kinds
        for file in [f"scenarios_{kind}.py"]
        for name in scenarios(file)
    ]


CASES, REAL = cases(KINDS), cases(REAL_KINDS)


@pytest.mark.parametrize(("file", "name"), CASES)
def test_in_blender(run_scenarios: Callable[[str], dict[str, str]], file: str, name: str) -> None:
    outcome = run_scenarios(file)[name]
    assert outcome == "ok", outcome


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, made in a process of its own: torch and Blender stay apart."""
    folder = tmp_path_factory.mktemp("micro")
    command = [sys.executable, "-m", "tests.addon.micro_run", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=120)
    return folder / "run"


@pytest.fixture(scope="session")
def real_engine(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Path:
    """The program gp3d of this working tree, with a micro model in its box."""
    start = tmp_path_factory.mktemp("start") / "start.py"
    start.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from gp3d_core import pretrained\nfrom gp3d_core.cli.main import main\n"
        f"pretrained.FOLDER = Path({str(run_folder.with_name('pretrained').resolve())!r})\nsys.exit(main())\n"
    )
    program = tmp_path_factory.mktemp("bin") / "gp3d"
    lines = ["#!/bin/sh", "export OMP_NUM_THREADS=1", f'export PYTHONPATH="{ROOT}"']
    program.write_text("\n".join([*lines, f'exec "{sys.executable}" "{start}" "$@"', ""]))
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(("file", "name"), REAL)
def test_in_blender_with_the_real_engine(
    run_scenarios: Callable[..., dict[str, str]], run_folder: Path, real_engine: Path, file: str, name: str
) -> None:
    outcome = run_scenarios(file, engine=str(real_engine), run=str(run_folder))[name]
    assert outcome == "ok", outcome

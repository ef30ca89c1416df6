"""`gp3d doctor`: what it finds, what it advises, and when its exit code says no."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gp3d_core.cli import doctor
from gp3d_core.pretrained import shipped_models


class Python(NamedTuple):
    """As much of sys.version_info as the checks look at."""

    major: int
    minor: int


def no_blender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the slow check out."""
    monkeypatch.setattr(doctor, "check_blender", lambda: doctor.Check("blender", "note", "not tried"))


def test_report_is_ready_where_the_tests_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_blender(monkeypatch)
    assert doctor.report(as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert [check["name"] for check in told["checks"]] == [
        *(
            "python",
            "torch",
            "device",
            "packages",
            "formats",
            "memory",
            "disk",
            "libraries",
            "blender",
            *(one.name for one in shipped_models(also_named=True)),
        ),
        "models",
    ]
    assert all(check["remedy"] for check in told["checks"] if check["status"] == "missing")


def test_report_without_torch_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_blender(monkeypatch)
    monkeypatch.setitem(sys.modules, "torch", None)  # makes the import fail
    assert doctor.report(as_json=False) == 3
    lines = capsys.readouterr().out.splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("missing torch"))
    assert lines[row + 1].strip() == "-> pip install 'torch>=2.11'"
    assert lines[-1].startswith("not ready")


def test_without_a_card_an_artist_learns_that_nothing_needs_to_be_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "version_info", Python(3, 12))  # for which there is no bpy
    monkeypatch.chdir(tmp_path)
    assert doctor.report(as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    meanings = {  # what a note says of those who only make objects
        "device": "fine for making objects",
        "blender": "your own Blender and the GP3D panel in it do without",
        "models": "none is needed",
    }
    for name, meaning in meanings.items():
        row = next(number for number, line in enumerate(lines) if line.startswith(f"note    {name}"))
        assert meaning in lines[row + 1], name
    assert max(map(len, lines)) <= 160
    assert lines[-1].startswith("ready; a note only limits what it names")


def test_the_last_line_names_a_command_only_where_it_works() -> None:
    box, note = doctor.Check("box", "ok", ""), doctor.Check("box", "note", "missing")
    assert doctor.ending([box], True) == "ready; begin with: gp3d mesh --class mushroom"
    assert doctor.ending([note], True) == "ready; a note only limits what it names"


def test_torch_older_than_supported_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    assert next(doctor.check_torch()).status == "missing"
    monkeypatch.setattr(torch, "__version__", "2.11.0a0+git123")
    assert next(doctor.check_torch()).status == "ok"


@pytest.mark.parametrize(("minor", "status"), [(10, "missing"), (11, "ok"), (12, "ok"), (13, "missing")])
def test_python_outside_the_range_is_missing(
    monkeypatch: pytest.MonkeyPatch, minor: int, status: str
) -> None:
    monkeypatch.setattr(sys, "version_info", Python(3, minor))
    assert doctor.check_python().status == status


def test_package_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xatlas", None)
    check = doctor.check_packages()
    assert check.status == "missing"
    assert "xatlas" in check.found


def test_formats_that_lack_a_library_are_a_note_with_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "missing_libraries", lambda: {"usdz": "usd-core", "3mf": "lib3mf"})
    check = doctor.check_formats()
    assert (check.status, check.found) == ("note", "without: usdz, 3mf, of gp3d mesh")
    assert check.remedy == "pip install lib3mf usd-core"


def test_missing_system_libraries_come_with_the_line_to_type() -> None:
    check = doctor.check_system_libraries(lambda library: "GL" not in library)
    assert check.status == "note"
    assert check.remedy == "sudo apt-get install --no-install-recommends libgl1 libegl1"


def test_library_that_does_not_exist_does_not_load() -> None:
    assert not doctor.can_load("libnonsense.so.99")


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Blender's package is for Python 3.11")
def test_without_blender_the_remedy_is_the_set_up_that_installs_it() -> None:
    check = doctor.check_blender("import no_such_blender")
    assert check.found == "ModuleNotFoundError: No module named 'no_such_blender'"
    assert check.remedy.startswith("make setup-all (")


@pytest.mark.blender
@pytest.mark.slow
def test_blender_is_tried_without_ending_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bpy", raising=False)  # other tests may have imported it
    check = doctor.check_blender()
    if check.status != "ok":
        pytest.skip(f"no Blender here: {check.found}")
    assert check.found.startswith(tuple(f"Blender {known}" for known in doctor.TESTED_BLENDERS))
    assert "BlenderProc 2.8.0" in check.found
    assert "bpy" not in sys.modules


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Blender is not looked for on this Python")
def test_a_blender_that_nobody_has_tried_is_a_note() -> None:
    for version, status in (("4.2.23 LTS", "ok"), ("5.2.3 LTS", "ok"), ("4.4.0", "note"), ("5.3.0", "note")):
        check = doctor.check_blender(f"print('Blender {version}'); print('BlenderProc 2.8.0')")
        assert check.status == status
        assert check.found.startswith(f"Blender {version}, BlenderProc 2.8.0, as Python packages")
        assert ("tried with 4.2, 4.5, 5.0, 5.2 only" in check.found) == (status == "note")


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Blender is not looked for on this Python")
def test_blender_that_breaks_or_hangs_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    check = doctor.check_blender("print('Blender 4.2.0', flush=True); import nonsense")
    assert check.status == "note"
    assert check.found == "Blender 4.2.0; ModuleNotFoundError: No module named 'nonsense'"

    def hang(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("python", doctor.BLENDER_TIMEOUT)

    monkeypatch.setattr(subprocess, "run", hang)
    assert "no answer" in doctor.check_blender().found


def test_blender_is_not_looked_for_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", Python(3, 12))
    assert "3.11" in doctor.check_blender().remedy


def test_models_are_found_by_the_folders_of_runs(tmp_path: Path) -> None:
    assert doctor.check_models(tmp_path).status == "note"
    snapshots = tmp_path / "demo/train/snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / "snapshot-000001.00.safetensors").touch()
    check = doctor.check_models(tmp_path)
    assert check.status == "ok"
    assert "snapshot-000001.00" in check.found

"""`make test-blender`: which Blenders there are, what is said of those that cannot be had, what counts as good."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.addon.conftest import ROOT, load_tool


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    module = load_tool("blender_versions")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_newer_blender_without_its_python_is_one_line(tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("PYTHON313", raising=False)
    with pytest.raises(tool.MissingError, match=r"5\.2\.3 is for Python 3\.13 .*PYTHON313=") as raised:
        tool.python_of("5.2.3")
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("PYTHON313", sys.executable)  # which is another
    with pytest.raises(tool.MissingError, match=r"PYTHON313=.* is none"):
        tool.python_of("5.2.3")


def test_blender_that_is_there_is_used_again_and_half_a_one_is_made_anew(
    tool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = []

    def run(command, **options):
        made.append(" ".join(map(str, command)))
        (tmp_path / ".cache/bpy/5.0.1").mkdir(exist_ok=True)
        return SimpleNamespace(returncode=0, stdout="")

    monkeypatch.setattr(tool.subprocess, "run", run)
    monkeypatch.setattr(tool.metadata, "version", lambda name: "4.2.23")
    monkeypatch.setattr(tool.sys, "version_info", (3, 11, 2))
    assert tool.python_of("4.2.23") == Path(sys.executable)
    folder = tmp_path / ".cache/bpy/5.0.1"
    (folder / "half").mkdir(parents=True)
    assert tool.python_of("5.0.1") == folder / "bin/python"
    assert not (folder / "half").exists()
    assert [line.rpartition(" ")[2] for line in made] == [str(folder), "bpy==5.0.1", "numpy"]
    assert tool.python_of("5.0.1") == folder / "bin/python"
    assert len(made) == 3


def test_installation_that_fails_is_one_line(tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool.sys, "version_info", (3, 11, 2))
    failed = SimpleNamespace(returncode=1, stdout="much\nNo matching distribution\n\n")
    monkeypatch.setattr(tool.subprocess, "run", lambda command, **options: failed)
    with pytest.raises(tool.MissingError, match=r"4\.9\.9 cannot be installed: No matching distribution"):
        tool.python_of("4.9.9")


def test_a_set_is_good_when_all_of_it_is(tool) -> None:
    assert all(map(tool.is_good, ("14/14", "yes")))
    assert not any(map(tool.is_good, ("13/14", "0/0", "no tool", "error: the manifest", "")))


def test_continuous_integration_plays_all_of_them() -> None:
    tool = load_tool("blender_versions")
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    commands = [step.get("run", "") for step in jobs["addon"]["steps"]]
    assert f'make test-blender VERSIONS="{" ".join(tool.VERSIONS)}"' in commands
    oldest = tomllib.loads((ROOT / "blender_addon/blender_manifest.toml").read_text(encoding="utf-8"))
    assert tool.VERSIONS[0].startswith(oldest["blender_version_min"].rpartition(".")[0])

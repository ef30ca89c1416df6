"""The built add-on, fake engines, and a Blender child process that runs whole files of scenarios."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
MODES = (
    *(
        "good",
        "slow",
        "deaf",
        "silent",
        "mute",
        "crash",
        "garbage",
        "garbage-later",
        "oom",
        "empty",
        "torn",
        "old",
    ),
    *("family", "future", "empty-handed", "chatty", "torn-budget", "several", "dies", "flat"),
)
PATIENCE = 270  # seconds for a file of scenarios on a busy machine


def load_tool(name: str) -> types.ModuleType:
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scenarios(file: str) -> list[str]:
    """Names of the scenarios of a file, without importing it: it needs Blender."""
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name.removeprefix("scenario_") for name in functions if name.startswith("scenario_")]


@pytest.fixture(scope="session")
def addon_zips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The extension and the legacy zip, built and validated as `make addon` does."""
    return load_tool("build_addon").build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def parts() -> Callable[[str], Any]:
    """Imports a file of the add-on that needs no bpy, without its __init__, which does."""
    package = types.ModuleType("addon_parts")
    package.__path__ = [str(ROOT / "blender_addon")]
    sys.modules["addon_parts"] = package
    return lambda name: importlib.import_module(f"addon_parts.{name}")


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes a program that behaves like an engine in the mode asked for; returns its path."""
    folder = tmp_path_factory.mktemp("engines")

    def make(mode: str) -> str:
        program = folder / mode / "gp3d"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "fake_engine.py"}" {mode} "$@"\n')
        program.chmod(0o755)
        return str(program)

    return make


@pytest.fixture(scope="session")
def run_scenarios(
    addon_zips: list[Path],
    fake: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Callable[[str], dict[str, str]]:
    """Runs all scenarios of a file in one Blender process; returns what became of each: "ok" or what went wrong."""
    known: dict[str, dict[str, str]] = {}

    def run(file: str, **more: str) -> dict[str, str]:
        if file not in known:
            folder = tmp_path_factory.mktemp("blender")
            engine = fake("good")
            engines = str(Path(engine).parents[1])
            settings = {"zip": str(addon_zips[0]), "engines": engines, "folder": str(folder), **more}
            for mode in MODES:
                fake(mode)
            known[file] = blender(os.path.abspath(pytestconfig.option.blender_python), file, settings, folder)
        return known[file]

    return run


def blender(python: str, file: str, settings: dict[str, str], folder: Path) -> dict[str, str]:
    """Starts the child; a crash or a hang leaves the results of the scenarios before it, and the end of its log."""
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(folder / "resources"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)  # what belongs to another Python
    environment["PATH"] = "/usr/bin:/bin"  # whatever gp3d this environment has is not found by chance
    environment["GP3D_FAKE_CHILD"] = str(folder / "child.pid")
    log = folder / "log"
    with log.open("w") as stream:
        command = [python, HERE / "blender_child.py", HERE / file, json.dumps(settings)]
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=environment, cwd=folder, start_new_session=True
        )
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
    results = folder / "results.json"
    found = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    ending = f"Blender ended with {process.returncode} before this scenario:\n{log.read_text()[-3000:]}"
    return {name: found.get(name, ending) for name in scenarios(file)}

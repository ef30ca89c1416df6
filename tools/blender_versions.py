"""The add-on in every Blender that this machine can have, and a table of what works: `make test-blender`.

    .venv/bin/python tools/blender_versions.py [VERSION…]

Every version is Blender as a Python module: the bpy that .venv has if it is that version, else one in
.cache/bpy/VERSION (bpy and numpy, 0.9 GB each, made when first asked for; blenders of 5.1 and newer need
Python 3.13: PYTHON313=/path/to/python3.13, or python3.13 on the path). The engine that the scenarios talk to is a
process of .venv. Each version also looks at the built zip with its own validator. Exit code 1 if anything failed, 2 if
a version that was asked for cannot be had; without arguments, versions that cannot be had are left out with a line.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("4.2.23", "4.5.15", "5.0.1", "5.2.3")
# tests/addon/scenarios_*.py
SETS = ("import", "jobs", "panel", "browser", "setup", "relief", "real", "seeds", "assets", "lift", "volume")
_NEWER_PYTHON = (5, 1)  # the first Blender whose wheel is for Python 3.13
_SCENARIOS = "tests/addon/test_in_blender.py"
_VALIDATOR = "lib/python*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"


class MissingError(Exception):
    """A version that this machine cannot have; the message is one line."""


def python_of(version: str) -> Path:
    """A Python that has bpy of this version; made if it is not there. Raises MissingError."""
    if _installed() == version:
        return Path(sys.executable)
    folder = ROOT / ".cache/bpy" / version
    python = folder / "bin/python"
    if not (folder / "complete").is_file():
        _make(folder, _base_python(version), version)
    return python


def _installed() -> str:
    """The version of bpy in .venv, empty for none."""
    try:
        return metadata.version("bpy")
    except metadata.PackageNotFoundError:
        return ""


def _base_python(version: str) -> str:
    """The Python that the wheel of this version is for."""
    if tuple(map(int, version.split(".")[:2])) < _NEWER_PYTHON:
        if sys.version_info[:2] == (3, 11):
            return sys.executable
        raise MissingError(f"Blender {version} is for Python 3.11")
    named = os.environ.get("PYTHON313", "")
    found = named or shutil.which("python3.13") or ""
    probe = "import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 13))"
    if found and shutil.which(found) and not _quiet([found, "-c", probe]).returncode:
        return found
    what = (
        f"PYTHON313={named} is none" if named else "name one: make test-blender PYTHON313=/path/to/python3.13"
    )
    raise MissingError(f"Blender {version} is for Python 3.13 with venv; {what}")


def _make(folder: Path, python: str, version: str) -> None:
    """A virtual environment with that bpy, and numpy at the version of constraints.txt."""
    print(f"test-blender: making {folder.relative_to(ROOT)} with {python}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [python, "-m", "venv", folder],
        [*pip, "--no-deps", f"bpy=={version}"],  # some wheels ask for a numpy that is older than ours
        [*pip, "--constraint", ROOT / "constraints.txt", "numpy"],
    ):
        done = _quiet(command)
        if done.returncode:
            raise MissingError(f"Blender {version} cannot be installed: {_last_line(done.stdout)}")
    (folder / "complete").touch()


def _quiet(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=1800
    )


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "nothing was said")


def play(python: Path, report: Path) -> dict[str, str]:
    """Runs all scenarios in that Blender; of each set how many of how many ended well. Their faults are printed."""
    subprocess.run(
        [sys.executable, "-m", "pytest", _SCENARIOS, "--blender-python", python, "--junitxml", report],
        cwd=ROOT,
        check=False,
    )
    count, good = Counter[str](), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase") if report.is_file() else ():
        name = case.attrib["name"].partition("[")[2].partition("-")[0]
        count[name] += 1
        good[name] += not len(case)
    return {name: f"{good[name]}/{count[name]}" for name in SETS}


def validated(python: Path, zipped: Path) -> str:
    """The word yes, or what this Blender's own tool says against the zip."""
    found = sorted(python.parents[1].glob(_VALIDATOR))
    if not found:
        return "no tool"
    done = _quiet([python, found[-1], "validate", zipped])
    return "yes" if not done.returncode else _last_line(done.stdout)


def is_good(cell: str) -> bool:
    """Whether a cell of the table says that all is well: yes, or as many as there are."""
    good, _, count = cell.partition("/")
    return cell == "yes" or (count != "" and good == count != "0")


def main() -> int:
    """Entry point; prints the table last."""
    parser = argparse.ArgumentParser(
        description="Play the add-on's scenarios in several versions of Blender."
    )
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"default: {' '.join(VERSIONS)}")
    asked = parser.parse_args().versions
    rows, missing, cells = ["| Blender | " + " | ".join((*SETS, "validator")) + " |"], [], []
    rows.append("|---" * (len(SETS) + 2) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        build = [sys.executable, ROOT / "tools/build_addon.py", "--out", scratch]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, timeout=300)
        zipped = next(path for path in Path(scratch).glob("*.zip") if not path.stem.endswith("-legacy"))
        for version in asked or VERSIONS:
            try:
                python = python_of(version)
            except MissingError as error:
                missing.append(str(error))
                continue
            print(f"test-blender: Blender {version}", flush=True)
            played = play(python, Path(scratch) / f"{version}.xml")
            found = [*played.values(), validated(python, zipped)]
            cells += found
            rows.append(f"| {version} | " + " | ".join(found) + " |")
    print("\n".join(["", *rows, *(f"left out: {line}" for line in missing)]))
    if not all(map(is_good, cells)):
        return 1
    return 2 if asked and missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")

"""The environment and how it comes about: versions that agree, and a set-up that mends what it finds."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from gp3d_core.cli.doctor import LIBRARIES, OLDEST_TORCH, PYTHONS, TESTED_BLENDERS
from synthetic.workers import blender_process

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# A build backend that needs nothing from anywhere: an editable wheel of one module.
BACKEND = """
import zipfile

FILES = {
    "toy.py": "WORKS = True",
    "toy-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n"
    "Provides-Extra: synthetic\\nProvides-Extra: renderer\\nProvides-Extra: dev\\n"
    "Requires-Dist: bpy==4.2.23; extra == 'synthetic'\\n",
    "toy-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(folder + "/toy-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
        wheel.writestr("toy-1.0.dist-info/RECORD", "".join(name + ",,\\n" for name in FILES))
    return "toy-1.0-py3-none-any.whl"
"""
TOY = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "toy"
version = "1.0"
[project.optional-dependencies]
synthetic = ["bpy==4.2.23"]
renderer = []
dev = []
"""


def pins() -> dict[str, str]:
    """Versions of constraints.txt by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9a-z.]*)", line)
            assert match, f"constraints.txt: {line!r} is not NAME==VERSION"
            found[canonicalize_name(match[1])] = match[2]
    return found


def requirements() -> list[Requirement]:
    """Everything pyproject.toml asks for, extras included."""
    lines = [*PROJECT["dependencies"]]
    for extra in PROJECT["optional-dependencies"].values():
        lines += extra
    return [wanted for wanted in map(Requirement, lines) if wanted.name != "gp3d"]  # whose extras are listed


def test_constraints_pin_every_requirement_within_its_range() -> None:
    for requirement in requirements():
        version = pins().get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement} excludes the tested {version}"


def test_environment_is_the_tested_one() -> None:
    """What is installed is what constraints.txt says; torch may be another, within the supported range, and Blender."""
    chosen = {"torch", *(["bpy"] if (ROOT / ".venv/.bpy").exists() else [])}
    installed = {canonicalize_name(d.metadata["Name"]): Version(d.version) for d in metadata.distributions()}
    odd = {
        name: f"{installed[name]}, tested {version}"
        for name, version in pins().items()
        if name in installed and name not in chosen and installed[name].public != version
    }
    if odd and not (ROOT / ".venv/.state").exists():
        pytest.skip(f"this environment was not made by `make setup`: {len(odd)} other versions")
    assert not odd
    assert installed["torch"].release[:2] >= OLDEST_TORCH
    assert "torchvision" not in pins(), "torchvision does not load beside every build of torch"


def test_supported_pythons_are_the_same_everywhere() -> None:
    allowed = Requirement(f"python {PROJECT['requires-python']}").specifier
    assert [minor for minor in range(9, 20) if allowed.contains(f"3.{minor}")] == [
        minor for _, minor in PYTHONS
    ]


def test_blender_is_asked_for_only_where_it_exists() -> None:
    blender = [r for r in requirements() if r.name in ("bpy", "blenderproc")]
    assert len(blender) == 2
    for requirement in blender:
        assert requirement.marker is not None
        assert requirement.marker.evaluate({"python_version": "3.11"})
        assert not requirement.marker.evaluate({"python_version": "3.12"})


def test_setup_and_doctor_know_the_same_system_libraries() -> None:
    script = (ROOT / "tools/setup.sh").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^(lib\S+\.so\.\d+) ([\w.-]+)\"?$", script, re.MULTILINE))
    assert listed == LIBRARIES


def test_renderer_and_doctor_know_the_same_blenders() -> None:
    assert TESTED_BLENDERS == blender_process.TESTED_BLENDERS
    assert any(pins()["bpy"].startswith(f"{known}.") for known in TESTED_BLENDERS)


def test_continuous_integration_runs_what_a_person_types() -> None:
    commands = [
        line
        for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert commands[:2] == ["set -eu", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."']
    assert "make browser" in commands[2]  # where it can be had
    assert commands[3:] == [
        '    echo "no Chromium here, and none could be installed: tests of galleries in a browser are skipped"',
        "make test",
    ]
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_hooks_and_the_workflow_run_what_make_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    check = re.search(r"^check: .*\n((?:\t.+\n)+)", makefile, re.MULTILINE)
    assert check is not None
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repository in hooks["repos"] for hook in repository["hooks"]]
    assert entries == [line.strip() for line in check[1].splitlines()]
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    made = {name for command in commands for name in re.findall(r"^make ([\w-]+)$", command, re.MULTILINE)}
    assert {"test", "docs", "setup-all", "addon", "readers", "browser"} == made
    assert made <= targets
    assert set(jobs["build"]["needs"]) == {"test", "python312", "addon", "blenders", "docs"}


def test_the_add_on_is_built_with_what_generates() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^addon:(.*)$", makefile, re.MULTILINE) == [" setup"]


def test_the_citation_names_the_papers() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(cited)
    titles = " ".join(paper["title"] for paper in cited["references"])
    for name in ("3D Generation on ImageNet", "VQ3D", "EpiGRAF", "NeRF"):
        assert name in titles


@pytest.mark.parametrize("licence", PROJECT["license-files"])
def test_licences_are_there_in_full(licence: str) -> None:
    text = (ROOT / licence).read_text(encoding="utf-8")
    name = "Apache License" if licence == "LICENSE" else "GNU GENERAL PUBLIC LICENSE"
    assert name in text[:200]
    assert text.count("\n") > 200


def test_data_files_of_packages_are_installed_with_them() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    for package in ("gp3d_core", "synthetic", "blender_addon"):
        files = {
            path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        }
        code = {path for path in files if path.suffix == ".py"}
        data = {path for pattern in patterns[package] for path in (ROOT / package).glob(pattern)}
        assert files == code | data, f"{package}: not in package-data: {files - code - data}"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A project without dependencies, in a folder with a space, that is set up by the real script without a network."""
    folder = tmp_path / "toy project"
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_text(TOY)
    (folder / "backend.py").write_text(BACKEND)
    pip = metadata.distribution("pip")
    if Version(pip.version) < Version("26"):
        pytest.skip(f"pip {pip.version} here is older than the one that `make setup` installs")
    (folder / "constraints.txt").write_text(f"pip=={pip.version}\n")
    with zipfile.ZipFile(tmp_path / f"pip-{pip.version}-py3-none-any.whl", "w") as wheel:
        for file in pip.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                wheel.write(file.locate(), str(file))
    write_blender(tmp_path, "4.2.23")
    return folder


def write_blender(folder: Path, version: str, wants: str = "") -> None:
    """A wheel that is called bpy."""
    info = f"bpy-{version}.dist-info"
    files = {
        "bpy.py": f"VERSION = {version!r}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: bpy\nVersion: {version}\n{wants}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"bpy-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD")))


def start(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Starts tools/setup.sh in `folder`, cut off from package registries."""
    surroundings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": folder.parent.as_uri(),
        "PIP_NO_INDEX": "1",
        "PYTHON": getattr(sys, "_base_executable", sys.executable),
        **variables,
    }
    return subprocess.Popen(
        [folder / "tools/setup.sh", *words],
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def set_up(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Runs tools/setup.sh to its end; returns its exit code and what it printed."""
    process = start(folder, *words, **variables)
    printed, _ = process.communicate(timeout=200)
    return process.returncode, printed


def works(folder: Path) -> bool:
    """Whether the toy can be imported in its environment."""
    python = folder / ".venv/bin/python"
    return (
        subprocess.run([python, "-c", "import toy; assert toy.WORKS"], timeout=60, check=False).returncode
        == 0
    )


@pytest.mark.timing
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="make setup is for Python 3.11, which bpy needs")
def test_setup_takes_less_than_a_second_when_there_is_nothing_to_do(toy: Path) -> None:
    assert set_up(toy)[0] == 0
    before = time.monotonic()
    assert set_up(toy) == (0, "")
    assert time.monotonic() - before < 1


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="make setup is for Python 3.11, which bpy needs")
def test_setup_mends_what_it_finds(toy: Path) -> None:
    venv = toy / ".venv"
    killed = start(toy)
    while not (venv / "bin/python").exists():  # in the middle of making it
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (venv / ".state").exists()

    assert set_up(toy)[0] == 0
    assert works(toy)

    assert set_up(toy) == (0, ""), "the second time there is nothing to do"

    site = venv / "lib/python3.11/site-packages"
    (site / "toy-1.0.dist-info/RECORD").unlink()
    (site / "toy.py").unlink()
    code, printed = set_up(toy)
    assert code == 0, printed
    assert "toy-1.0.dist-info" in printed
    assert works(toy)

    moved = toy.with_name("moved")
    toy.rename(moved)
    (moved / ".venv/bin/python").unlink()
    code, printed = set_up(moved)
    assert code == 0, printed
    assert works(moved)
    assert str(moved) in (moved / ".venv/bin/pip").read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="make setup is for Python 3.11, which bpy needs")
def test_setup_of_the_core_grows_to_all_and_never_shrinks(toy: Path, tmp_path: Path) -> None:
    path = pretend(
        tmp_path / "bin", "ldconfig", "exit 1"
    )  # no library of the system is there, and none is needed
    code, printed = set_up(toy, "core", PATH=path)
    assert code == 0, printed
    assert works(toy)
    assert (toy / ".venv/.extras").read_text().strip() == ""
    assert set_up(toy, "core", PATH=path) == (0, "")
    code, printed = set_up(toy)
    assert code == 0, printed
    assert "installing packages" in printed
    assert (toy / ".venv/.extras").read_text().split() == ["dev", "synthetic"]
    assert [set_up(toy, "core"), set_up(toy)] == [(0, "")] * 2
    code, printed = set_up(toy, "most")
    assert (code != 0, printed.strip()) == (True, "setup: expected core, docs, all or nothing, found 'most'")


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="make setup is for Python 3.11, which bpy needs")
def test_setup_takes_the_blender_that_is_asked_for_and_remembers_it(toy: Path, tmp_path: Path) -> None:
    def blender() -> str:
        code = "import bpy; print(bpy.VERSION)"
        command = [toy / ".venv/bin/python", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()

    write_blender(tmp_path, "5.0.1", "Requires-Dist: numpy<2\n")  # which nothing here could satisfy
    assert set_up(toy, "core")[0] == 0
    assert blender() == ""
    code, printed = set_up(toy, "core", BPY="5.0.1")
    assert code == 0, printed
    assert blender() == "5.0.1"
    assert [set_up(toy, "core"), set_up(toy, "core", BPY="5.0.1")] == [(0, "")] * 2, "it is remembered"
    code, printed = set_up(toy)
    assert code == 0, printed
    assert blender() == "5.0.1"
    assert (toy / ".venv/.extras").read_text().split() == ["dev", "synthetic"]
    code, printed = set_up(toy, BPY="4.2.23")
    assert code == 0, printed
    assert blender() == "4.2.23"
    for version, line in (
        (
            "5.2.3",
            "from Blender 5.1 on its wheel needs Python 3.13, GP3D's environment has 3.11; docs/rendering.md",
        ),
        ("new", "expected a version of the wheel bpy in full, such as 4.5.15 or 5.0.1"),
    ):
        code, printed = set_up(toy, BPY=version)
        assert (code, printed) == (1, f"setup: BPY={version}: {line}\n")
    assert blender() == "4.2.23"


def pretend(folder: Path, name: str, script: str) -> str:
    """Puts a stand-in for a system command into `folder`; returns the search path on which it comes first."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.slow
def test_setup_says_what_to_type_when_it_may_not_install(toy: Path, tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    pretend(bin_folder, "ldconfig", "printf '\\tlibX11.so.6 (libc6,x86-64) => somewhere\\n'")
    pretend(bin_folder, "id", "echo 1000")
    code, printed = set_up(toy, PATH=pretend(bin_folder, "apt-get", "exit 9"))
    packages = [package for package in LIBRARIES.values() if package != "libx11-6"]
    assert code != 0
    assert printed.splitlines() == [
        "setup: system packages are missing; type: "
        f"sudo apt-get install -y --no-install-recommends {' '.join(packages)}"
    ]
    assert not (toy / ".venv").exists()


@pytest.mark.slow
def test_setup_names_the_python_it_needs(toy: Path) -> None:
    code, printed = set_up(toy, PYTHON="/bin/true")
    assert code != 0
    assert "PYTHON=/bin/true is no Python 3.11" in printed
    assert printed.count("\n") == 1

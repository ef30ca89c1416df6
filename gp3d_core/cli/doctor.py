"""What this machine has of what GP3D needs, and what to do about the rest (`gp3d doctor`).

A check is `ok`, a `note` (something optional is missing or tight) or `missing` (nothing works without it). Blender is
tried in a child process, because it cannot leave a process cleanly once it is in.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import gp3d_core
from gp3d_core.hashing import digest
from gp3d_core.meshing.files.formats import missing_libraries
from gp3d_core.pretrained import NAME, has_pretrained, pretrained_path, shipped_models

PYTHONS = ((3, 11), (3, 12))
OLDEST_TORCH = (2, 11)
NEEDED = (
    "fast_simplification",
    "mapbox_earcut",
    "matplotlib",
    "mcubes",
    "numpy",
    "PIL",
    "safetensors",
    "scipy",
    "tensorboard",
    "tqdm",
    "trimesh",
    "xatlas",
)
# What bpy and open3d load from the system, and the Debian package that has it; tools/setup.sh installs the same.
LIBRARIES = {
    "libX11.so.6": "libx11-6",
    "libXrender.so.1": "libxrender1",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libXext.so.6": "libxext6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgomp.so.1": "libgomp1",
    "libusb-1.0.so.0": "libusb-1.0-0",
}
_TORCH_REMEDY = "pip install 'torch>=2.11'"
_NO_BOX = "install gp3d again; until then, name a model of your own in every command"
_NO_CARD = (
    "fine for making objects, and for gp3d train --preset tiny; larger presets need one (docs/training.md)"
)
TIGHT_MEMORY = 4.0  # GiB
TIGHT_DISK = 4.0
TESTED_BLENDERS = ("4.2", "4.5", "5.0", "5.2")  # the renderer was compared in these
BLENDER_TIMEOUT = 120  # seconds
_ENVIRONMENT_EXIT = 3

# Prints one line per part that could be imported. The variable makes BlenderProc 2.8.0 importable as a library.
BLENDER_PROBE = """
import os
import bpy
print("Blender", bpy.app.version_string, flush=True)
os.environ["OUTSIDE_OF_THE_INTERNAL_BLENDER_PYTHON_ENVIRONMENT_BUT_IN_RUN_SCRIPT"] = "1"
import blenderproc
import blenderproc.python.renderer.RendererUtility
print("BlenderProc", blenderproc.__version__, flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Check:
    """One finding; `remedy` is empty where nothing needs to be done."""

    name: str
    status: Literal["ok", "note", "missing"]
    found: str
    remedy: str = ""


def report(*, as_json: bool) -> int:
    """Prints all findings, as a table or as one JSON object; returns 0, or 3 when something needed is missing."""
    checks = examine()
    fine = all(check.status != "missing" for check in checks)
    if as_json:
        print(json.dumps({"ok": fine, "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        print("\n".join(_rows(checks)))
        print(ending(checks, fine))
    return 0 if fine else _ENVIRONMENT_EXIT


def ending(checks: list[Check], fine: bool) -> str:
    """What all findings together mean, in one line."""
    if not fine:
        return "not ready: do what stands behind the -> of what is missing"
    notes = "; a note only limits what it names" if any(check.status == "note" for check in checks) else ""
    has_model = any((check.name, check.status) == ("box", "ok") for check in checks)
    return f"ready{notes}{'; begin with: gp3d mesh --class mushroom' if has_model else ''}"


def examine() -> list[Check]:
    """All findings, in the order of the table."""
    return [
        check_python(),
        *check_torch(),
        check_packages(),
        check_formats(),
        check_memory(),
        check_disk(),
        check_system_libraries(),
        check_blender(),
        check_box(),
        *check_more_models(),
        check_models(Path("runs")),
    ]


def check_python() -> Check:
    """Whether this interpreter is of a supported version."""
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] in PYTHONS:
        return Check("python", "ok", found)
    return Check("python", "missing", found, "use Python 3.11 (or 3.12, without Blender)")


def check_torch() -> Iterator[Check]:
    """Version of torch, and the device it computes on."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of a CUDA build
        yield Check("torch", "missing", f"it computes everything: {_first_line(error)}", _TORCH_REMEDY)
        return
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < OLDEST_TORCH:
        yield Check("torch", "missing", f"{torch.__version__} is too old", _TORCH_REMEDY)
    else:
        yield Check("torch", "ok", f"{torch.__version__}, which computes everything")
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        yield Check("device", "ok", ", ".join(f"{c.name} {c.total_memory / 2**30:.0f} GiB" for c in cards))
    else:
        cores = len(os.sched_getaffinity(0))
        yield Check(
            "device", "note", f"no NVIDIA card that torch can use; {cores} processor cores work", _NO_CARD
        )


def check_packages() -> Check:
    """Whether every package that gp3d_core uses can be imported."""
    problems = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            problems.append(f"{name} ({_first_line(error)})")
    if problems:
        return Check("packages", "missing", "; ".join(problems), "make setup, or pip install .")
    return Check(
        "packages", "ok", f"gp3d {gp3d_core.__version__} and the {len(NEEDED)} Python packages it needs"
    )


def check_memory() -> Check:
    """Memory of the machine."""
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = (os.sysconf(name) * page / 2**30 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    found = f"{total:.1f} GiB, {free:.1f} GiB unused"
    if total < TIGHT_MEMORY:
        remedy = "enough for objects and meshes; do not render data and train at the same time"
        return Check("memory", "note", f"{found}: little", remedy)
    return Check("memory", "ok", f"{found}: enough")


def check_disk() -> Check:
    """Room on the disk that holds the current folder."""
    free = shutil.disk_usage(".").free / 2**30
    found = f"{free:.1f} GiB free where this folder is"
    if free < TIGHT_DISK:
        remedy = "enough for meshes; before training make room, or choose another folder for the results"
        return Check("disk", "note", f"{found}: little", remedy)
    return Check("disk", "ok", f"{found}: enough")


def can_load(library: str) -> bool:
    """Whether a shared library of that name is found and loads."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def check_system_libraries(loads: Callable[[str], bool] = can_load) -> Check:
    """Whether the shared libraries that Blender loads are installed; `loads` says so of one."""
    missing = [package for library, package in LIBRARIES.items() if not loads(library)]
    if not missing:
        return Check(
            "libraries", "ok", f"the {len(LIBRARIES)} system libraries for rendering training pictures"
        )
    remedy = f"sudo apt-get install --no-install-recommends {' '.join(missing)}"
    found = f"{len(missing)} system libraries are missing; only rendering training pictures needs them"
    return Check("libraries", "note", found, remedy)


def check_formats() -> Check:
    """Whether the libraries are installed that some formats and options of meshes need."""
    missing = missing_libraries()
    if not missing:
        return Check("formats", "ok", "all formats and options of meshes have their libraries")
    remedy = f"pip install {' '.join(sorted(set(missing.values())))}"
    return Check("formats", "note", f"without: {', '.join(missing)}, of gp3d mesh", remedy)


def check_blender(probe: str = BLENDER_PROBE) -> Check:
    """Whether Blender and BlenderProc, which only making data sets needs, can be imported; tried in a child process."""
    if sys.version_info[:2] != (3, 11):
        return _no_blender("no Blender package for this Python", "set GP3D up with Python 3.11")
    with tempfile.TemporaryDirectory() as scratch:
        surroundings = {**os.environ, "BLENDER_USER_RESOURCES": scratch, "TMPDIR": scratch}
        try:
            child = subprocess.run(
                [sys.executable, "-c", probe],
                env=surroundings,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=BLENDER_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _no_blender(f"no answer within {BLENDER_TIMEOUT} s", "try again on an idle machine")
    found = ", ".join(line for line in child.stdout.splitlines() if line.startswith("Blender"))
    if child.returncode == 0:
        return _known_blender(found)
    reason = (child.stderr.strip().splitlines() or [f"ended with code {child.returncode}"])[-1]
    return _no_blender(f"{found}; {reason}" if found else reason, "make setup-all")


def _known_blender(found: str) -> Check:
    """What a Blender that starts is good for; `found` begins with "Blender" and its version."""
    series = ".".join(found.removeprefix("Blender").split(",")[0].split()[0].split(".")[:2])
    packages = f"{found}, as Python packages, for rendering training pictures"
    if series in TESTED_BLENDERS:
        return Check("blender", "ok", packages)
    known = ", ".join(TESTED_BLENDERS)
    return Check("blender", "note", f"{packages}; tried with {known} only", "make setup-all BPY=4.2.23")


def _no_blender(found: str, remedy: str) -> Check:
    """What the missing package means: it is not the program that people model with."""
    meaning = "only for rendering training pictures; your own Blender and the GP3D panel in it do without"
    return Check("blender", "note", found, f"{remedy} ({meaning})")


def check_box() -> Check:
    """Whether the pretrained model is there and can be read; its classes, size and SHA-256."""
    if not has_pretrained():
        return Check("box", "note", "the pretrained model is missing", _NO_BOX)
    return _pretrained_check("box", pretrained_path(), "the pretrained model")


def check_more_models() -> Iterator[Check]:
    """The same of every other model that came along."""
    for one in shipped_models(also_named=True):
        if one.name != NAME:
            which = (
                "an earlier model, used where it is named" if one.only_named else "a further pretrained model"
            )
            yield _pretrained_check(one.name, one.path, which)


def _pretrained_check(name: str, path: Path, which: str) -> Check:
    try:
        from gp3d_core.snapshots.metadata import SnapshotError, read_snapshot_facts
    except ImportError as error:
        return Check(name, "missing", _first_line(error), "make setup, or pip install .")
    try:
        classes = len(read_snapshot_facts(path).classes)
    except SnapshotError as error:
        return Check(name, "note", _first_line(error), _NO_BOX)
    size = path.stat().st_size / 1e6
    return Check(name, "ok", f"{which}: {classes} classes, {size:.1f} MB, SHA-256 {digest(path)[:12]}")


def check_models(folder: Path) -> Check:
    """Trained models below `folder`, by the names a run gives its snapshots."""
    snapshots = sorted(folder.rglob("snapshots/*.safetensors"), key=lambda path: path.stat().st_mtime)
    if not snapshots:
        remedy = "none is needed, the pretrained model is used; make demo, or gp3d train, makes one"
        return Check("models", "note", f"none of your own below {folder}", remedy)
    return Check("models", "ok", f"{len(snapshots)} of your own below {folder}, newest {snapshots[-1]}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _rows(checks: list[Check]) -> Iterator[str]:
    """Lines of the table; a remedy stands under its finding."""
    for check in checks:
        yield f"{check.status:8}{check.name:11}{check.found}"
        if check.remedy:
            yield f"{'':19}-> {check.remedy}"

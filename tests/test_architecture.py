"""The plan of the house: who may import whom, what stays out of texts, what agrees with what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source_tree import PACKAGES, ROOT, imports_of, modules, path_of

# Every room of a package, be it a package or a module, may import the rooms that stand before it.
FLOORS = {
    "gp3d_core": (
        (
            "errors",
            "strict_json",
            "hashing",
            "atomic",
            "signals",
            "rng",
            "distributed",
            "visualization",
            "pretrained",
        ),
        ("licences",),
        ("config", "ops", "datasets"),
        ("rendering",),
        ("networks",),
        ("baselines",),
        ("snapshots", "metrics", "meshing"),
        ("assets", "trust"),
        ("generation", "preparation", "training"),
        ("grounding", "evaluation", "lifting", "gallery"),
        ("vq3d",),
        ("worker", "mcp_server", "cli"),
    ),
    "synthetic": (
        ("atomic", "layouts", "viewpoints", "shapes"),
        ("staging",),
        ("surroundings",),
        ("dataset", "dataset_index", "blender"),
        ("workers", "checks", "occupancy", "options", "points_folder"),
        ("exchange",),
        ("points", "render", "check", "preview", "contact", "export", "library"),
    ),
    "blender_addon": (
        (
            "words",
            "recipe",
            "class_search",
            "mesh_bundle",
            "engine",
            "requests",
            "seeds",
            "volume_grids",
            "timings",
        ),  # know no bpy
        ("state", "pictures", "properties", "objects", "browser", "trust"),
        ("results", "engine_control", "generation"),
        ("ui",),
        ("registration", "without_numpy"),
    ),
}
WITHOUT_BPY = FLOORS["blender_addon"][0]
MOST_MODULES = 14  # of a package, its __init__ among them
INFERENCE = (
    "generation",
    "meshing",
    "assets",
    "trust",
    "lifting",
    "worker",
    "vq3d.models",
    "vq3d.files",
    "vq3d.scenes",
    "vq3d.rendering",
    "vq3d.pipeline",
)
TRAINING = ("training", "grounding", "vq3d.training")
ADVERSARIAL = (
    "networks.discriminator",
    "training.gan",
    "training.systems",
    "training.phases",
    "training.losses",
    "training.augmentation",
)

# What a package may import besides the standard library and itself.
ALLOWED = {
    "gp3d_core": {
        "PIL",
        "coacd",  # optional
        "fast_simplification",
        "imageio_ffmpeg",  # optional
        "lpips",  # optional
        "mapbox_earcut",
        "matplotlib",
        "mcp",  # optional
        "mcubes",
        "numpy",
        "onnxruntime",  # optional
        "OpenEXR",  # optional
        "pxr",  # optional
        "pyarrow",  # optional
        "pyinstantmeshes",  # optional
        "safetensors",
        "scipy",
        "torch",
        "torch_fidelity",  # optional
        "tqdm",
        "trimesh",
        "huggingface_hub",  # optional
        "timm",  # optional
        "torchvision",  # optional
        "transformers",  # optional
        "triton",  # optional
        "xatlas",
    },
    "synthetic": {
        "DracoPy",
        "PIL",
        "mapbox_earcut",
        "numpy",
        "open3d",
        "packaging",
        "pyarrow",
        "ray",
        "scipy",
        "shapely",
        "tqdm",
        "trimesh",
    },
    "blender_addon": {"bpy", "mathutils", "numpy"},
}
BLENDER = {"addon_utils", "bmesh", "bpy", "blenderproc", "cv2", "cycles", "mathutils"}
BLENDER_FILES = {
    *(
        f"synthetic/blender/{name}.py"
        for name in (
            "without_interface",
            "blenderproc_parts",
            "scene",
            "lighting",
            "mesh",
            "materials",
            "views",
            "passes",
            "denoiser",
            "baking",
            "channels",
            "offline",
        )
    ),
    "synthetic/surroundings/worlds.py",  # cv2, which reads EXR
}

TEXT_SUFFIXES = {".cff", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
TEXT_FILES = {"Makefile", "run"}
LINKABLE = (
    "arxiv.org",
    "creativecommons.org",
    "github.com",
    "keepachangelog.com",
    "semver.org",
    "shapenet.org",
    "spdx.org",
    "www.apache.org",
    "www.gnu.org",
    "www.w3.org",  # the namespace of SVG
    "www.wildfiregames.com",
)
PRIVATE_PATH = re.compile(r"(?<![\w.$}])/(?:home|mnt|opt|root|tmp|work)/\w")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")


def text_files() -> Iterator[Path]:
    """Everything in the repository that people read, licence texts aside."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listing.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name in TEXT_FILES):
            yield path


def unit_of(module: str) -> str:
    """Where a module stands in FLOORS: "gp3d_core.networks.layers" is "networks"."""
    return module.split(".")[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_floors_name_every_room(package: str) -> None:
    named = [unit for floor in FLOORS[package] for unit in floor]
    assert len(named) == len(set(named))
    assert set(named) == {unit_of(name) for name in modules() if name.startswith(f"{package}.")}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_downwards(package: str) -> None:
    rank = {unit: number for number, unit in enumerate(unit for floor in FLOORS[package] for unit in floor)}
    upwards = [
        f"{name} imports {other}"
        for name in modules()
        if name.startswith(f"{package}.")
        for other in imports_of(name)
        if other.startswith(f"{package}.")
        and unit_of(other) != unit_of(name)
        and rank[unit_of(other)] > rank[unit_of(name)]
    ]
    assert not upwards


def test_half_of_the_add_on_knows_no_bpy() -> None:
    """What is tested without Blender, and may run in another thread than Blender's."""
    found = [
        name
        for name in modules()
        if name.startswith("blender_addon.") and unit_of(name) in WITHOUT_BPY and "bpy" in imports_of(name)
    ]
    assert not found


def test_inference_never_imports_training() -> None:
    """Neither directly nor by what it imports: generating an object needs no losses, optimisers or discriminator."""
    found = []
    for start in (name for name in modules() if within(name, INFERENCE)):
        found += [f"{start} reaches {name}" for name in reached_from(start) if within(name, TRAINING)]
    assert not found


def test_grounding_never_imports_the_adversarial_game() -> None:
    reached = reached_from("gp3d_core.grounding.train")
    assert "gp3d_core.training.step" in reached
    assert not [name for name in reached if within(name, ADVERSARIAL)]


def within(name: str, rooms: tuple[str, ...]) -> bool:
    """Whether a module is one of the `rooms` of gp3d_core, or lies in one."""
    return any(f"{name}.".startswith(f"gp3d_core.{room}.") for room in rooms)


def reached_from(start: str) -> list[str]:
    """The modules that `start` imports, directly or by what it imports, and itself."""
    reached, waiting = {start}, [start]
    while waiting:
        new = {other for other in imports_of(waiting.pop()) if other in modules()} - reached - {"gp3d_core"}
        reached |= new
        waiting += new
    return sorted(reached)


def test_rooms_are_small_enough_to_be_overlooked() -> None:
    rooms: dict[str, list[str]] = {}
    for name in modules():
        path = path_of(name)
        rooms.setdefault(str(path.parent.relative_to(ROOT)), []).append(path.name)
    assert len(rooms["gp3d_core"]) <= 9
    crowded = {room: len(files) for room, files in rooms.items() if len(files) > MOST_MODULES}
    assert set(crowded) <= {"synthetic/shapes/families"}, crowded  # a module a family


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_have_no_import_cycle(package: str) -> None:
    graph = {
        name: {other for other in imports_of(name) if other in modules() and other != name}
        for name in modules()
        if name.split(".")[0] == package
    }
    if package in graph:  # the front door of a package points inwards only for users
        graph[package] = set()
    while leaves := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph, f"cycle among {sorted(graph)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_what_it_may(package: str) -> None:
    strangers = [
        f"{name} imports {other}"
        for name in modules()
        if name.split(".")[0] == package
        for other in imports_of(name)
        if (top := other.split(".")[0]) not in ALLOWED[package] | {package} | set(sys.stdlib_module_names)
        and not (top in BLENDER and str(path_of(name).relative_to(ROOT)) in BLENDER_FILES)
    ]
    assert not strangers


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("gp3d_core", "torch numpy PIL trimesh scipy matplotlib"),
        ("gp3d_core.cli", "torch numpy PIL trimesh scipy matplotlib"),
        ("synthetic.render", "bpy blenderproc cv2 open3d scipy trimesh"),
    ],
)
def test_import_is_instant(module: str, heavy: str) -> None:
    """No heavy library is loaded before it is known what for."""
    program = f"import sys, {module}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert not set(done.stdout.split()) & set(heavy.split())


def test_public_names_resolve_and_are_listed_once() -> None:
    import gp3d_core

    assert sorted(gp3d_core._HOMES) == sorted(gp3d_core.__all__) == sorted(set(gp3d_core.__all__))
    for name in gp3d_core.__all__:
        assert getattr(gp3d_core, name).__doc__, name
    assert set(gp3d_core.__all__) <= set(dir(gp3d_core))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = gp3d_core.nonsense


def test_public_names_are_the_same_for_type_checkers() -> None:
    import gp3d_core

    hinted = {
        alias.name: str(node.module).removeprefix("gp3d_core.")
        for node in ast.walk(modules()["gp3d_core"])
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("gp3d_core.")
        for alias in node.names
    }
    assert hinted == gp3d_core._HOMES


def test_texts_name_no_machine_and_leave_nothing_unfinished() -> None:
    found = []
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            hosts = re.findall(r"\w+://([^/\s\"'`)>\]]+)", line)
            if PRIVATE_PATH.search(line) or UNFINISHED.search(line) or not set(hosts) <= set(LINKABLE):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


def test_versions_agree() -> None:
    """gp3d_core names the version; what is released under it has a section and says the same."""
    import gp3d_core

    read = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    manifest = tomllib.loads((ROOT / "blender_addon/blender_manifest.toml").read_text(encoding="utf-8"))
    released = re.search(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", read["CHANGELOG.md"], re.MULTILINE)
    cited = re.search(r"^version: (\S+)$", read["CITATION.cff"], re.MULTILINE)
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gp3d_core.__version__"}
    assert released is not None
    assert cited is not None
    assert {released[1], cited[1], manifest["version"]} == {gp3d_core.__version__}


def test_the_map_names_every_module() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    units = [
        name for name in modules() if not name.startswith("synthetic.shapes.")
    ]  # families are listed in docs/shapes.md
    unmapped = [
        name for name in units if f"`{name.split('.')[-1]}`" not in text and not name.endswith("__main__")
    ]
    assert not unmapped

"""The house rules that no linter knows: who may import whom, what stays out of the code, what agrees with what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("gp3d_core", "synthetic", "blender_addon")

# Every room of gp3d_core may import the rooms that stand before it.
FLOORS = (
    ("errors", "atomic", "signals", "hashing", "rng", "distributed", "visualization", "pretrained"),
    ("config", "ops", "datasets"),
    ("rendering",),
    ("networks",),
    ("snapshots", "metrics", "meshing"),
    ("generation", "preparation", "training"),
    ("grounding", "evaluation"),
    ("vq3d",),
    ("worker", "cli"),
)
MOST_MODULES = 14  # of a package, its __init__ among them
INFERENCE = ("generation", "meshing", "worker", "vq3d.models", "vq3d.files", "vq3d.scenes", "vq3d.rendering")
TRAINING = ("training", "grounding", "vq3d.training")

# What a package may import besides the standard library and itself.
ALLOWED = {
    "gp3d_core": {
        "PIL",
        "fast_simplification",
        "imageio_ffmpeg",  # optional
        "lpips",  # optional
        "matplotlib",
        "mcubes",
        "numpy",
        "pyarrow",  # optional
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
    "synthetic": {"PIL", "numpy", "open3d", "ray", "scipy", "tqdm", "trimesh"},
    "blender_addon": {"bpy", "numpy"},
}
BLENDER = {"bmesh", "bpy", "blenderproc", "cv2", "mathutils"}
BLENDER_FILES = {"synthetic/blender_scene.py"}

LONGEST_FILE = 400
LONGEST_FUNCTION = 70
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "torch.load", "yaml.load"}
FORBIDDEN_IMPORTS = {"dill", "marshal", "pickle", "shelve"}
FOREIGN_WEIGHTS = (
    "gp3d_core.networks.foreign_weights"  # the one module that may read what torch saved, tensors only
)
FORBIDDEN_METHODS = {"extractall"}
FORBIDDEN_NAMES = {"common", "helpers", "misc", "util", "utils"}

TEXT_SUFFIXES = {".cff", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
TEXT_FILES = {"Makefile", "run"}
LINKABLE = (
    "arxiv.org",
    "github.com",
    "keepachangelog.com",
    "semver.org",
    "shapenet.org",
    "www.apache.org",
    "www.gnu.org",
)
PRIVATE_PATH = re.compile(r"(?<![\w.$}])/(?:home|mnt|opt|root|tmp|work)/\w")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")


@cache
def modules() -> dict[str, ast.Module]:
    """Syntax trees of everything in the packages, by dotted name ("synthetic", "gp3d_core.ops.checks", ...)."""
    trees = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            trees[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return trees


def path_of(module: str) -> Path:
    """The file of a dotted name."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(module: str) -> Iterator[str]:
    """Dotted names that `module` imports anywhere, late imports and imports for type checking included."""
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # an extension does not know under which name it is installed, so that its own imports are relative
            inside = module.startswith("blender_addon")
            assert inside or node.level == 0, f"{module}, line {node.lineno}: imports are absolute"
            source = absolute(node, module)
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield name if name in modules() else source


def absolute(node: ast.ImportFrom, module: str) -> str:
    """The dotted name of what names are taken from; imports go no higher than the module's own top package."""
    parts = module.split(".") + ["__init__"] * (path_of(module).name == "__init__.py")
    assert node.level < len(parts), f"{module}, line {node.lineno}: the import leaves the package"
    return ".".join(filter(None, [*(parts[: -node.level] if node.level else []), node.module]))


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
    """Where a module of gp3d_core stands in FLOORS: "gp3d_core.networks.layers" is "networks"."""
    return module.split(".")[1]


def test_floors_name_every_module_of_the_core() -> None:
    named = [unit for floor in FLOORS for unit in floor]
    assert len(named) == len(set(named))
    assert set(named) == {unit_of(name) for name in modules() if name.startswith("gp3d_core.")}


def test_core_imports_point_downwards() -> None:
    rank = {unit: number for number, unit in enumerate(unit for floor in FLOORS for unit in floor)}
    upwards = [
        f"{name} imports {other}"
        for name in modules()
        if name.startswith("gp3d_core.")
        for other in imports_of(name)
        if other.startswith("gp3d_core.")
        and unit_of(other) != unit_of(name)
        and rank[unit_of(other)] > rank[unit_of(name)]
    ]
    assert not upwards


def test_inference_never_imports_training() -> None:
    """Neither directly nor by what it imports: generating an object needs no losses, optimisers or discriminator."""

    def within(name: str, rooms: tuple[str, ...]) -> bool:
        return any(f"{name}.".startswith(f"gp3d_core.{room}.") for room in rooms)

    found = []
    for start in (name for name in modules() if within(name, INFERENCE)):
        reached, waiting = {start}, [start]
        while waiting:
            new = (
                {other for other in imports_of(waiting.pop()) if other in modules()} - reached - {"gp3d_core"}
            )
            reached |= new
            waiting += new
        found += [f"{start} reaches {name}" for name in sorted(reached) if within(name, TRAINING)]
    assert not found


def test_rooms_are_small_enough_to_be_overlooked() -> None:
    rooms: dict[str, list[str]] = {}
    for name in modules():
        path = path_of(name)
        rooms.setdefault(str(path.parent.relative_to(ROOT)), []).append(path.name)
    assert len(rooms["gp3d_core"]) <= 8
    crowded = {room: len(files) for room, files in rooms.items() if len(files) > MOST_MODULES}
    assert not {room for room in crowded if room.startswith("gp3d_core")}, crowded


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


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Calls with the dotted text of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


@pytest.mark.parametrize("module", sorted(modules()))
def test_module_keeps_the_rules_of_safety(module: str) -> None:
    tree = modules()[module]
    assert not {name.split(".")[0] for name in imports_of(module)} & FORBIDDEN_IMPORTS
    for call, name in calls(tree):
        where = f"{module}, line {call.lineno}: {name}"
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load" and module == FOREIGN_WEIGHTS:
            assert options.get("weights_only") == "True", f"{where} needs weights_only=True"
            continue
        assert name not in FORBIDDEN_CALLS, where
        assert name.split(".")[-1] not in FORBIDDEN_METHODS, where
        assert options.get("shell", "False") == "False", where
        if name in ("np.load", "numpy.load"):
            assert options.get("allow_pickle") == "False", f"{where} needs allow_pickle=False"


@pytest.mark.parametrize("module", sorted(modules()))
def test_module_is_plain_python(module: str) -> None:
    for node in ast.walk(modules()[module]):
        where = f"{module}, line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"{where}: star import"
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert raises or caught not in ("", "Exception", "BaseException"), f"{where}: catches everything"
        assert not isinstance(node, ast.Global), f"{where}: global variable"
        assert not isinstance(node, ast.Assert), f"{where}: raise ValueError or TypeError instead of assert"


@pytest.mark.parametrize("module", sorted(modules()))
def test_module_is_short(module: str) -> None:
    lines = path_of(module).read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_FILE, f"{module} has {lines} lines"
    assert module.split(".")[-1] not in FORBIDDEN_NAMES, f"{module}: name it after its concept"
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{module}.{node.name} has {length} lines"


def test_files_of_tests_are_short() -> None:
    lengths = {path: path.read_text("utf-8").count("\n") for path in (ROOT / "tests").rglob("*.py")}
    long = [f"{path.relative_to(ROOT)} has {n} lines" for path, n in lengths.items() if n > LONGEST_FILE]
    assert not long


@pytest.mark.parametrize("module", sorted(modules()))
def test_module_hints_every_argument_and_result(module: str) -> None:
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert not bare, f"{module}.{node.name}: no type for {bare}"
            assert node.returns is not None, f"{module}.{node.name}: no type of the result"


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

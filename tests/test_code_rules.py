"""What a module of the packages may not contain, beyond what the linter knows.

A rule yields its offences as text; the tests gather those of all modules, and prove each rule on a few lines that
break it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import pytest

from tests.support.source_tree import PACKAGES, ROOT, modules, package_parts, path_of

LONGEST_FILE = 400
LONGEST_FUNCTION = 70
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "torch.load", "yaml.load"}
FORBIDDEN_IMPORTS = {"dill", "marshal", "pickle", "shelve"}
FOREIGN_WEIGHTS = "gp3d_core.networks.foreign_weights"  # may read what torch saved, tensors only
TENSOR_FILES = "gp3d_core.snapshots.snapshot"  # may write safetensors
FORBIDDEN_METHODS = {"extractall"}
FLAG = re.compile(r"(?<![\w-])--(?:[a-z][a-z-]*|$)")
PIP = re.compile(r"pip install( --[a-z-]+)+")
FORBIDDEN_NAMES = {"common", "helpers", "misc", "util", "utils"}

Rule = Callable[[str, ast.Module], Iterator[str]]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def forbidden_imports(module: str, tree: ast.Module) -> Iterator[str]:
    """Libraries that run code while they read files."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in FORBIDDEN_IMPORTS:
                yield f"line {node.lineno}: imports {name}"


def import_levels(module: str, tree: ast.Module) -> Iterator[str]:
    """Imports are absolute. An extension doesn't know under which name it is installed: there they are relative, and
    stay inside it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            if module.split(".")[0] != "blender_addon":
                yield f"line {node.lineno}: imports are absolute"
            elif node.level > len(package_parts(module)):
                yield f"line {node.lineno}: the import leaves the package"


def unsafe_calls(module: str, tree: ast.Module) -> Iterator[str]:
    """Calls that run what a file or a user says."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, where = ast.unparse(call.func), f"line {call.lineno}"
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load" and module == FOREIGN_WEIGHTS:
            if options.get("weights_only") != "True":
                yield f"{where}: {name} needs weights_only=True"
            continue
        if name in FORBIDDEN_CALLS or name.split(".")[-1] in FORBIDDEN_METHODS:
            yield f"{where}: calls {name}"
        if options.get("shell", "False") != "False":
            yield f"{where}: {name} in a shell"
        if name in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            yield f"{where}: {name} needs allow_pickle=False"


def plain_python(module: str, tree: ast.Module) -> Iterator[str]:
    """Star imports, handlers of everything, globals, and asserts, which vanish with `python -O`."""
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{where}: star import"
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if caught in ("", "Exception", "BaseException") and not raises:
                yield f"{where}: catches everything"
        if isinstance(node, ast.Global):
            yield f"{where}: global variable"
        if isinstance(node, ast.Assert):
            yield f"{where}: raise ValueError or TypeError instead of assert"


def names(module: str, tree: ast.Module) -> Iterator[str]:
    """Modules are named after a concept."""
    if module.split(".")[-1] in FORBIDDEN_NAMES:
        yield "name it after its concept"


def long_functions(module: str, tree: ast.Module) -> Iterator[str]:
    """Functions fit on a screen."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{node.name} has {length} lines"


def missing_hints(module: str, tree: ast.Module) -> Iterator[str]:
    """Every argument and every result has a type."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            if bare:
                yield f"{node.name}: no type for {', '.join(bare)}"
            if node.returns is None:
                yield f"{node.name}: no type of the result"


def tensor_files(module: str, tree: ast.Module) -> Iterator[str]:
    """Tensors are written in one place: files of safetensors itself may be read by their owner alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("safetensors"):
            saves = any(alias.name.startswith("save") for alias in node.names)
            if saves and module != TENSOR_FILES:
                yield f"line {node.lineno}: use write_tensors"


def flags(module: str, tree: ast.Module) -> Iterator[str]:
    """Only the command line knows flags: elsewhere texts name parameters, `level`, which borders spell their way."""
    if module.split(".")[0] != "gp3d_core" or module.split(".")[1:2] == ["cli"]:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for flag in FLAG.findall(PIP.sub("", node.value)):
                yield f"line {node.lineno}: names {flag}"


RULES: tuple[Rule, ...] = (
    forbidden_imports,
    import_levels,
    unsafe_calls,
    plain_python,
    names,
    long_functions,
    missing_hints,
    tensor_files,
    flags,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_module_breaks_the_rule(rule: Rule) -> None:
    found = [f"{module}: {offence}" for module, tree in modules().items() for offence in rule(module, tree)]
    assert not found


def test_files_are_short() -> None:
    paths = [*map(path_of, modules()), *(ROOT / "tests").rglob("*.py")]
    lengths = {path.relative_to(ROOT): path.read_text(encoding="utf-8").count("\n") for path in paths}
    assert {path.parts[0] for path in lengths} == {*PACKAGES, "tests"}
    assert not {str(path): lines for path, lines in lengths.items() if lines > LONGEST_FILE}


SOMEWHERE = "gp3d_core.somewhere"
BREACHES: tuple[tuple[Rule, str, str, str], ...] = (  # rule, module, source, offence
    (forbidden_imports, SOMEWHERE, "import pickle", "line 1: imports pickle"),
    (forbidden_imports, SOMEWHERE, "def f():\n from dill.source import x", "line 2: imports dill.source"),
    (import_levels, SOMEWHERE, "from . import rng", "line 1: imports are absolute"),
    (import_levels, "blender_addon.ui.x", "from ... import bpy", "line 1: the import leaves the package"),
    (unsafe_calls, SOMEWHERE, "eval('1')", "line 1: calls eval"),
    (unsafe_calls, SOMEWHERE, "torch.load(p, weights_only=True)", "line 1: calls torch.load"),
    (unsafe_calls, FOREIGN_WEIGHTS, "torch.load(p)", "line 1: torch.load needs weights_only=True"),
    (unsafe_calls, SOMEWHERE, "archive.extractall(p)", "line 1: calls archive.extractall"),
    (unsafe_calls, SOMEWHERE, "run('ls', shell=True)", "line 1: run in a shell"),
    (unsafe_calls, SOMEWHERE, "np.load(p)", "line 1: np.load needs allow_pickle=False"),
    (plain_python, SOMEWHERE, "from math import *", "line 1: star import"),
    (plain_python, SOMEWHERE, "try: f()\nexcept: pass", "line 2: catches everything"),
    (plain_python, SOMEWHERE, "try: f()\nexcept Exception: pass", "line 2: catches everything"),
    (plain_python, SOMEWHERE, "def f():\n global x", "line 2: global variable"),
    (plain_python, SOMEWHERE, "assert x", "line 1: raise ValueError or TypeError instead of assert"),
    (names, "gp3d_core.utils", "", "name it after its concept"),
    (long_functions, SOMEWHERE, "def f():\n" + " x\n" * 70, "f has 71 lines"),
    (missing_hints, SOMEWHERE, "def f(a, *, b) -> None: ...", "f: no type for a, b"),
    (missing_hints, SOMEWHERE, "async def f(): ...", "f: no type of the result"),
    (
        tensor_files,
        SOMEWHERE,
        "from safetensors.torch import load_file, save_file",
        "line 1: use write_tensors",
    ),
    (flags, SOMEWHERE, "raise E('use --level auto')", "line 1: names --level"),
    (flags, SOMEWHERE, "raise E(f'{n} needs (--min-side)')", "line 1: names --min-side"),
    (flags, SOMEWHERE, "f'--{name}: no'", "line 1: names --"),
    (flags, "gp3d_core.meshing.x", "def f():\n 'Try --grid.'", "line 2: names --grid"),
)
FINE = (  # what the rules let pass
    (import_levels, "blender_addon.ui.x", "from ..engine import jobs"),
    (unsafe_calls, FOREIGN_WEIGHTS, "torch.load(p, weights_only=True)"),
    (unsafe_calls, SOMEWHERE, "np.load(p, allow_pickle=False)"),
    (plain_python, SOMEWHERE, "try: f()\nexcept Exception: raise"),
    (long_functions, SOMEWHERE, "def f():\n" + " x\n" * 69),
    (missing_hints, SOMEWHERE, "class A:\n def f(self) -> None: ..."),
    (tensor_files, TENSOR_FILES, "from safetensors.torch import save_file"),
    (flags, "gp3d_core.cli.train", "'use --preset'"),
    (flags, "synthetic.render", "'use --preset'"),
    (flags, SOMEWHERE, "f('pip install --no-deps torch-fidelity', 'a -- b', 'x--y', '`level`')"),
)


def test_every_rule_finds_what_it_forbids() -> None:
    assert {rule for rule, *_ in BREACHES} == set(RULES)
    for rule, module, source, offence in BREACHES:
        assert list(rule(module, ast.parse(source))) == [offence], source
    for rule, module, source in FINE:
        assert not list(rule(module, ast.parse(source))), source

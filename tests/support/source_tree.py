"""The packages as syntax trees: what each module is called, where it lies, what it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gp3d_core", "synthetic", "blender_addon")


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
    package = path / "__init__.py"  # a folder of data may have the name of the module that reads it
    return package if package.is_file() else path.with_suffix(".py")


def imports_of(module: str) -> Iterator[str]:
    """Dotted names that `module` imports anywhere, late imports and imports for type checking included."""
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, module)
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield name if name in modules() else source


def absolute(node: ast.ImportFrom, module: str) -> str:
    """The dotted name of what names are taken from."""
    if not node.level:
        return str(node.module)
    parts = package_parts(module)
    return ".".join(filter(None, [*parts[: len(parts) + 1 - node.level], node.module]))


def package_parts(module: str) -> list[str]:
    """The package whose modules a relative import of `module` reaches with one dot: ["blender_addon", "ui"]."""
    parts = module.split(".")
    return parts if path_of(module).name == "__init__.py" else parts[:-1]

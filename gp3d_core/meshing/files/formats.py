"""Which formats of meshes there are, and the libraries that they and some options need: without torch or numpy."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any

from gp3d_core.errors import GP3DError

FORMATS = ("obj", "glb", "ply", "npz", "stl", "3mf", "usdz")
_LIBRARIES = {  # by what needs them: a format, a compression of glb, or an option
    "3mf": ("lib3mf", "lib3mf"),
    "usdz": ("pxr", "usd-core"),
    "meshopt": ("meshopt", "meshopt"),
    "collision": ("coacd", "coacd"),
    "quads": ("pyinstantmeshes", "pyinstantmeshes"),
}


class LibraryError(GP3DError):
    """A format or option whose library is not installed; the message says how to get it."""


def check_libraries(wanted: Iterable[str]) -> None:
    """Raises LibraryError unless all that is `wanted`, formats, compressions or options, can be had on this machine."""
    for name in wanted:
        if package := _missing(name):
            raise LibraryError(f"{name} needs {package}, which is not installed: pip install {package}")


def library_of(name: str) -> Any:
    """The module that a format or compression needs. Raises LibraryError if it is not installed."""
    check_libraries([name])
    return importlib.import_module(_LIBRARIES[name][0])


def writable_formats() -> list[str]:
    """The formats whose libraries are installed."""
    return [name for name in FORMATS if _missing(name) is None]


def missing_libraries() -> dict[str, str]:
    """The package that is not installed for everything that needs one."""
    return {name: package for name in _LIBRARIES if (package := _missing(name))}


def _missing(name: str) -> str | None:
    """The package that a format or compression lacks."""
    module, package = _LIBRARIES.get(name, ("gp3d_core", ""))
    return package if importlib.util.find_spec(module) is None else None

"""The pictures of the seed browser: files of the machine, so that they survive Blender, and icons of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection
from pathlib import Path

import bpy

from ..state import STATE

_MOST_FILES = 4000  # of 3 to 15 kB
_PACKAGE = __package__.rpartition(".")[0]


def folder() -> Path:
    """Where pictures and stars are kept on this machine."""
    if _PACKAGE.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(_PACKAGE, create=True))
    return Path(bpy.utils.user_resource("DATAFILES", path="gp3d", create=True))


def keep(path: Path) -> str:
    """The name under which a picture is kept from now on; its file is moved. Raises OSError if that is impossible."""
    name = f"{hashlib.sha256(path.read_bytes()).hexdigest()[:24]}.png"
    kept = folder() / "pictures" / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".part")
    shutil.move(path, partial)
    partial.replace(kept)
    return name


def is_kept(name: str) -> bool:
    """Whether the picture of that name is still there."""
    return (folder() / "pictures" / Path(name).name).is_file()


def icon_of(name: str) -> int:
    """The icon of a picture that is kept, 0 without one."""
    path = folder() / "pictures" / Path(name).name
    key = f"browser/{name}"
    known = STATE.icons is not None and key in STATE.icons
    return STATE.icon_of(key, str(path)) if known or path.is_file() else 0


def prune(needed: Collection[str]) -> None:
    """Deletes the oldest pictures once there are too many, but for those that are `needed`."""
    files = sorted((folder() / "pictures").glob("*.png"), key=lambda path: path.stat().st_mtime)
    for path in files[: max(0, len(files) - _MOST_FILES)]:
        if path.name not in needed:
            path.unlink(missing_ok=True)

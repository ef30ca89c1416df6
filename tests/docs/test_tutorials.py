"""The tutorials, played from top to bottom in an empty folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.addon.conftest import load_tool
from tests.support.pages import ROOT, SHELL, Block, blocks_of, run

pytestmark = pytest.mark.slow

TUTORIALS = ROOT / "docs/tutorials"


def play(page: Path, folder: Path) -> None:
    """Runs the blocks of a page in order."""
    for block in blocks_of(page):
        if block.language in ("python", *SHELL) and not block.reason:
            run(block, folder)


def test_every_tutorial_is_played() -> None:
    played = {"first-object.md", "renders.md", "photographs.md", "add-on.md"}
    assert {page.name for page in TUTORIALS.glob("*.md")} == played


@pytest.mark.slow
def test_first_object(tmp_path: Path) -> None:
    play(TUTORIALS / "first-object.md", tmp_path)
    made = {path.name for path in (tmp_path / "meshes").iterdir()}
    assert {"coffee_mug-0002.obj", "coffee_mug-0002.mtl", "coffee_mug-0002.png"} <= made


@pytest.mark.slow
@pytest.mark.blender
@pytest.mark.timeout(1200)  # a dozen commands, each with its imports
def test_renders(tmp_path: Path) -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("Blender's wheel is for Python 3.11")
    play(TUTORIALS / "renders.md", tmp_path)
    assert (tmp_path / "runs/mine-scores/report.html").exists()
    assert list((tmp_path / "meshes").glob("mushroom-0000.obj"))


@pytest.mark.slow
def test_photographs(tmp_path: Path) -> None:
    make_photographs(tmp_path)
    play(TUTORIALS / "photographs.md", tmp_path)
    assert len(list((tmp_path / "runs/photos").rglob("*_depth.png"))) == 8
    assert not (tmp_path / "runs/mine").exists(), "a dry run writes nothing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "made"),
    [
        ("README.md", ("meshes/coffee_mug-0000.glb", "sheet.png", "buses/school_bus-0000.safetensors")),
        ("docs/getting-started.md", ("meshes/coffee_mug-0007.glb", "sheet.png", "turn.gif")),
        ("docs/serve.md", ("meshes/mug.glb",)),
    ],
)
def test_first_commands(page: str, made: tuple[str, ...], tmp_path: Path) -> None:
    for block in blocks_of(ROOT / page):
        if block.language in SHELL and not block.reason:
            run(block, tmp_path)
    assert not [name for name in made if not (tmp_path / name).exists()]


def make_photographs(folder: Path) -> None:
    """Eight pictures of two classes and depth maps for them: a light ball before a dark wall, in different places."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    for name in ("mushroom", "teapot"):
        for index in range(4):
            centre = rng.uniform(-0.3, 0.3, 2)
            inside = 0.36 - (x - centre[0]) ** 2 - (y - centre[1]) ** 2
            depth = np.where(inside > 0, 0.6 - 0.4 * np.sqrt(np.clip(inside, 0, None)), 0.9)
            picture = 255 * (1 - depth)[..., None] * rng.uniform(0.6, 1, 3) + rng.uniform(0, 9, (48, 48, 3))
            pair = (("photos", picture.astype(np.uint8)), ("maps", (65535 * depth).astype(np.uint16)))
            for kind, array in pair:
                path = folder / kind / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)


@pytest.mark.slow
@pytest.mark.blender
@pytest.mark.parametrize(
    ("page", "made", "objects"), [("tutorials/add-on.md", "mugs", 4), ("addon.md", "ten_objects", 2)]
)
def test_add_on(page: str, made: str, objects: int, tmp_path: Path) -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("Blender's wheel is for Python 3.11")
    zips = load_tool("build_addon").build(tmp_path / "dist")
    [block] = [block for block in blocks_of(ROOT / "docs" / page) if block.language == "python"]
    script = Block(
        block.page, block.line, "python", block.to_run() + "\nprint(len(bpy.data.objects), 'objects')"
    )
    printed = run(script, tmp_path, preamble=with_add_on(zips[0], Path(sys.executable)))
    assert f"{objects} objects" in printed
    assert (tmp_path / f"{made}.blend").exists()


def with_add_on(extension: Path, python: Path) -> str:
    """What a script in Blender's module needs first: the add-on from its zip, and the engine of this checkout."""
    return f"""
import bpy, os, pathlib
bpy.ops.extensions.package_install_files(filepath={str(extension)!r}, repo="user_default", enable_on_install=True)
engine = pathlib.Path("engine/gp3d").resolve()
engine.parent.mkdir()
engine.write_text('#!/bin/sh\\nexec "{python}" -m gp3d_core.cli "$@"\\n')
engine.chmod(0o755)
bpy.context.preferences.addons["bl_ext.user_default.gp3d"].preferences.engine_path = str(engine)
"""

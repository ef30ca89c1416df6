"""Every folder of examples/ runs as its page says, and makes what the page promises."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trimesh
from PIL import Image

from tests.support.pages import ROOT, environment

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"


def run(name: str, out: Path) -> str:
    """Runs the example with `out` as its folder; returns what it printed."""
    command = [sys.executable, str(EXAMPLES / name / "main.py"), str(out)]
    done = subprocess.run(
        command, cwd=out, env=environment(out), capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-2500:]
    return done.stdout


def test_every_example_has_a_page_and_a_test() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    for name in folders:
        page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
        assert page.startswith("# ")
        assert f"examples/{name}/main.py" in page
        assert f"test_{name}" in globals()


INTERRUPT = """
import sys

def stop(frame, event, _):
    if event == "call" and frame.f_code.co_name in ("main", "make") and frame.f_code.co_filename == sys.argv[0]:
        sys.setprofile(None)
        raise KeyboardInterrupt

sys.setprofile(stop)
"""
PROGRAMS = [*EXAMPLES.glob("*/main.py"), *(ROOT / "tools").glob("*.py")]


@pytest.mark.parametrize(
    "program",
    [
        path
        for path in PROGRAMS
        if re.search(r"^def (main|make)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_ctrl_c_ends_every_example_and_tool_in_one_line(program: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT)
    settings = environment(tmp_path)
    settings["PYTHONPATH"] = os.pathsep.join([str(tmp_path), settings.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (1, ["stopped"])
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_generate(tmp_path: Path) -> None:
    run("generate", tmp_path)
    for seed in (7, 8):
        mesh = trimesh.load(tmp_path / f"mug-{seed}.glb", force="mesh")
        assert 1000 < len(mesh.faces) <= 10_000
        assert mesh.visual.material.baseColorTexture is not None


@pytest.mark.slow
def test_turntable(tmp_path: Path) -> None:
    run("turntable", tmp_path)
    film = Image.open(tmp_path / "teapot.gif")
    assert film.size == (128, 64)
    assert film.n_frames == 16


@pytest.mark.slow
def test_own_field(tmp_path: Path) -> None:
    printed = run("own_field", tmp_path)
    volume, truth = (float(part.split()[-1]) for part in printed.split(", ")[1:])
    assert volume == pytest.approx(truth, rel=0.02)
    assert trimesh.load(tmp_path / "torus.glb", force="mesh").extents == pytest.approx(
        [1.7, 0.5, 1.7], abs=0.03
    )


@pytest.mark.slow
@pytest.mark.blender
def test_blender_script(tmp_path: Path) -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("Blender's wheel is for Python 3.11")
    run("blender_script", tmp_path)
    picture = Image.open(tmp_path / "mushroom.png").convert("L")
    assert picture.getextrema()[1] - picture.getextrema()[0] > 60, "something is seen before the sky"
    assert (tmp_path / "mushroom.blend").exists()


@pytest.mark.slow
def test_worker_client(tmp_path: Path) -> None:
    printed = run("worker_client", tmp_path)
    assert "density" in printed
    assert len(trimesh.load(tmp_path / "teapot.glb", force="mesh").faces) > 1000


@pytest.mark.slow
def test_json_rpc_client(tmp_path: Path) -> None:
    printed = run("json_rpc_client", tmp_path)
    assert "density" in printed
    assert len(trimesh.load(tmp_path / "teapot.glb", force="mesh").faces) > 1000


@pytest.mark.slow
def test_own_metric(tmp_path: Path) -> None:
    run("own_metric", tmp_path)
    scores = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    values = {score["facts"]["class"]: score["value"] for score in scores}
    assert all(0 < value <= 1 for value in values.values())
    assert values["school bus"] > values["coffee mug"], "a mug has its handle on one side"

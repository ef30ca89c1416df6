"""The main job end to end, as a person types it: objects, renders, training, meshes, and Blender's import of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from tests.support.micro import MICRO

TIMEOUT = 240
BLENDER_IMPORT = """
import json, os, sys
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.wm.obj_import(filepath=sys.argv[1])
[thing] = bpy.context.selected_objects
corners = [thing.matrix_world @ v.co for v in thing.data.vertices]
[material] = thing.data.materials
images = [n.image for n in material.node_tree.nodes if n.type == "TEX_IMAGE"]
links = [link.to_socket.name for link in material.node_tree.links if link.from_node.type == "TEX_IMAGE"]
facts = {
    "faces": len(thing.data.polygons),
    "low": [min(c[i] for c in corners) for i in range(3)],
    "high": [max(c[i] for c in corners) for i in range(3)],
    "image": list(images[0].size),
    "links": links,
}
sys.stdout.write("FACTS" + json.dumps(facts) + "\\n")
sys.stdout.flush()
os._exit(0)  # Blender as a module crashes when the interpreter takes it apart
"""


def call(*arguments, env=None):
    """Runs a Python command to its end and returns what it printed; fails with its messages."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def make_data(root):
    """Objects of two classes, and their renders."""
    shapes = ("--classes", "coffee mug,table lamp", "--per-class", 1, "--seed", 3)
    views = ("--resolution", 16, "--views", 4, "--seed", 0)
    call("-m", "synthetic.shapes", root / "models", *shapes)
    call("-m", "synthetic.render", root / "models", root / "dataset", *views)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Folders of a whole run on two classes with one object each."""
    root = tmp_path_factory.mktemp("job")
    make_data(root)
    settings = [word for item in (*MICRO, "training.kimg=0.04") for word in ("--set", item)]
    call("-m", "gp3d_core.cli", "train", root / "dataset", root / "train", *settings, "--device", "cpu")
    call(
        *(
            "-m",
            "gp3d_core.cli",
            "mesh",
            root / "train",
            "--class",
            "coffee mug",
            "--class",
            "846",
            "--seeds",
            0,
        ),
        *("--grid", 24, "--texture-size", 64, "--out", root / "meshes", "--device", "cpu"),
    )
    return root


@pytest.mark.blender
@pytest.mark.slow
def test_renders_are_a_data_set_of_both_classes(job):
    header = json.loads((job / "dataset/dataset.json").read_text())
    assert [entry["name"] for entry in header["classes"]] == ["coffee mug", "table lamp"]
    assert len(header["labels"]) == 8
    for name, _ in header["labels"]:
        picture = np.asarray(Image.open(job / "dataset" / name))
        geometry = np.load(
            (job / "dataset" / name).with_name(f"{Path(name).stem}_geometry.npz"), allow_pickle=False
        )
        assert 0.02 < geometry["mask"].mean() < 0.9
        assert (picture[0, 0] == 255).all()
        assert picture[geometry["mask"]].std() > 3


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("name", ["coffee_mug-0000", "table_lamp-0000"])
def test_mesh_is_closed_coloured_and_inside_the_box(job, name):
    mesh = trimesh.load(job / f"meshes/{name}.obj", force="mesh")
    assert len(mesh.faces) > 50
    assert np.abs(mesh.vertices).max() <= 0.55 + 1e-5
    assert (np.ptp(mesh.vertices, axis=0) > 0.05).all()
    texture = np.asarray(Image.open(job / f"meshes/{name}.png").convert("RGB"))
    assert texture.shape == (64, 64, 3)
    assert texture.std() > 2
    recipe = json.loads((job / f"meshes/{name}.recipe.json").read_text())
    assert recipe["watertight"]
    assert recipe["volume"] > 0


@pytest.mark.blender
@pytest.mark.slow
def test_blender_shows_the_mesh_upright_and_coloured(job, tmp_path):
    path = job / "meshes/table_lamp-0000.obj"
    script = tmp_path / "load.py"
    script.write_text(BLENDER_IMPORT)
    out = call(script, path, env={"BLENDER_USER_RESOURCES": str(tmp_path)})
    facts = json.loads(out.split("FACTS", 1)[1].splitlines()[0])
    mesh = trimesh.load(path, force="mesh")
    low, high = mesh.bounds
    assert facts["faces"] == len(mesh.faces)
    assert facts["low"] == pytest.approx(
        [low[0], -high[2], low[1]], abs=1e-5
    )  # front (+z) comes to -y, up (+y) to +z
    assert facts["high"] == pytest.approx([high[0], -low[2], high[1]], abs=1e-5)
    assert facts["image"] == [64, 64]
    assert facts["links"] == ["Base Color"]


@pytest.mark.blender
@pytest.mark.slow
def test_second_run_of_every_stage_adds_nothing(job):
    before = {p: p.stat().st_mtime_ns for p in (job / "dataset").rglob("*.png")}
    make_data(job)
    assert {p: p.stat().st_mtime_ns for p in (job / "dataset").rglob("*.png")} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("synthetic.render", "{t}/none", "{t}/out"), "none"),
        (("synthetic.render", "{t}/empty", "{t}/out"), "empty"),
        (("synthetic.shapes", "{t}/file", "--classes", "coffee mug", "--per-class", "1"), "file"),
        (("synthetic.shapes", "{t}/out", "--classes", "coffe mug", "--per-class", "1"), "coffee mug"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", *(a.format(t=tmp_path) for a in arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists()

"""`gp3d mesh`: thumbnails, licences and full disks."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.pretrained import pretrained_path
from gp3d_core.snapshots.metadata import read_snapshot_facts
from tests.support.full_disk import files_end_at
from tests.support.micro import micro_snapshot


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """An untrained micro model with some density in the middle, so that it has a surface."""
    return micro_snapshot(tmp_path_factory.mktemp("snapshot"))


@pytest.mark.slow
def test_thumbnails_are_named_in_the_recipe_and_made_again_with_it(snapshot, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    wish = f"mesh {snapshot} --class mushroom --grid 24 --color vertex --format glb --compress quantize --thumbnail"
    assert main([*wish.split(), "--out", str(first), "--device", "cpu"]) == 0
    recipe = json.loads((first / "mushroom-0000.recipe.json").read_text())
    assert (recipe["thumbnail"], recipe["license"]) == ("mushroom-0000.thumbnail.png", "unknown")
    picture = Image.open(first / recipe["thumbnail"])
    assert picture.size == (256, 256)
    assert np.ptp(np.asarray(picture)) > 20, "it shows something"
    remade = ["mesh", str(snapshot), "--recipe", str(first / "mushroom-0000.recipe.json"), "--device", "cpu"]
    assert main([*remade, "--out", str(again)]) == 0
    assert [path.name for path in sorted(again.iterdir())] == [path.name for path in sorted(first.iterdir())]
    for name in ("mushroom-0000.glb", "mushroom-0000.thumbnail.png"):
        assert (again / name).read_bytes() == (first / name).read_bytes()


def test_a_full_disk_is_one_line_and_nothing_is_half_written(snapshot, tmp_path, capsys):
    wish = f"mesh {snapshot} --class mushroom --grid 24 --color vertex --format ply,obj --out {tmp_path}"
    with files_end_at(3000):
        assert main([*wish.split(), "--device", "cpu"]) == 2
    [told] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gp3d: ")]
    assert (
        told
        == f"gp3d: {tmp_path / 'mushroom-0000.ply'}: File too large; make room there, then the same command goes on"
    )
    assert not list(tmp_path.iterdir())


def test_a_shipped_model_says_its_licence_and_so_do_its_meshes(snapshot, tmp_path):
    model = tmp_path / "model.safetensors"
    assert main(["ship", str(snapshot), str(model), "--license", "CC-BY-4.0, see SOURCES"]) == 0
    assert read_snapshot_facts(model).license == "CC-BY-4.0, see SOURCES"
    assert main(["ship", str(model), str(tmp_path / "again.safetensors")]) == 0
    assert read_snapshot_facts(tmp_path / "again.safetensors").license == "CC-BY-4.0, see SOURCES"
    wish = f"mesh {model} --class mushroom --grid 24 --color none --format stl --out {tmp_path / 'out'}"
    assert main([*wish.split(), "--device", "cpu"]) == 0
    header = (tmp_path / "out" / "mushroom-0000.stl").read_bytes()[:80]
    assert b"licence: CC-BY-4.0, see SOURCES" in header


def test_the_pretrained_model_has_a_licence():
    assert read_snapshot_facts(pretrained_path()).license == "Apache-2.0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mesh --class mug --compress meshopt", "--compress is for glb, and the format is obj"),
        (
            "mesh --class mug --format glb,ply --print-height 40",
            "--print-height is for stl and 3mf, and the format is glb, ply",
        ),
    ],
)
def test_options_that_no_format_uses_are_refused(capsys, words, said):
    assert main(words.split()) == 2
    assert capsys.readouterr().err == f"gp3d: {said}\n"


def test_warnings_of_a_process_are_one_line(tmp_path):
    program = (
        "import warnings; from gp3d_core.cli.__main__ import run; run();"
        "exec(compile(\"warnings.warn('4 faces\\\\n were added')\", 'gp3d_core/x.py', 'exec'));"
        "exec(compile(\"warnings.warn('mine')\", 'other.py', 'exec'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "classes"], capture_output=True, text=True, check=True
    )
    lines = done.stderr.splitlines()
    assert "gp3d: 4 faces were added" in lines
    assert "other.py:1: UserWarning: mine" in lines

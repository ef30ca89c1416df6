"""Materials as Blender has them, where no picture can tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = """
import os, sys
from pathlib import Path
from synthetic.workers.blender_process import prepare_blender
prepare_blender(Path(sys.argv[1]))
from synthetic.blender.materials import KeptMaterials, MaterialMaker
from synthetic.staging.surface import Material
kept = KeptMaterials()
for again in range(2):  # new nodes, then those that are there
    kept.give_back()
    made = MaterialMaker(kept, False).make(Material("m", roughness=0.3, specular=0.5))
    shader = next(node for node in made.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    (link,) = shader.inputs["Tangent"].links
    print(link.from_node.type, shader.inputs["Anisotropic"].default_value, len(made.node_tree.nodes))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.blender
def test_cycles_is_asked_for_no_tangent_where_gloss_is_the_same_in_all_directions(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-2:] == ["COMBXYZ 0.0 3"] * 2

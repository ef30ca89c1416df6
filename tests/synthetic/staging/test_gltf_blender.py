"""Files that Blender writes show what Blender shows: bones, shape keys, mirrored objects, texture coordinates."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from synthetic.staging.surface import merge
from tests.synthetic.small_library import environment
from tests.synthetic.staging.glb_writer import read
from tests.synthetic.staging.ray_comparison import assert_same_triangles

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of GLB files and what each shows."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("Blender as a module, bpy, is not installed")
    folder = tmp_path_factory.mktemp("exported")
    subprocess.run(
        [sys.executable, "-m", "tests.synthetic.staging.blender_export", folder, *map(str, SEEDS)],
        env=environment(folder / "scratch"),
        check=True,
        capture_output=True,
        timeout=300,
    )
    return folder


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_what_blender_writes_is_what_it_shows(exported: Path, seed: int, tmp_path: Path) -> None:
    model = read((exported / f"{seed}.glb").read_bytes(), tmp_path / "model")
    truth = np.load(exported / f"{seed}.npz", allow_pickle=False)
    assert_same_triangles(model, truth["triangles"])
    surface = merge(model.parts, model.materials)
    found = surface.positions[surface.triangles]
    distance, order = cKDTree(truth["triangles"].mean(axis=1)).query(found.mean(axis=1))
    assert distance.max() < 1e-5
    sides = [
        np.cross(each[:, 1] - each[:, 0], each[:, 2] - each[:, 0])
        for each in (found, truth["triangles"][order])
    ]
    assert ((sides[0] * sides[1]).sum(axis=1) > 0).all()
    np.testing.assert_allclose(surface.uvs[0].mean(axis=1), truth["uvs"][order].mean(axis=1), atol=1e-5)

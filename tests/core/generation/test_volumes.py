"""Grids of an object are its field: the same densities, colours and places as its pictures and meshes have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gp3d_core.generation.objects import object_specs
from gp3d_core.generation.sampling import Generated, generate, open_snapshot
from gp3d_core.generation.volumes import GRIDS, Volume, make_volume, write_volume
from gp3d_core.meshing.colors import unit_to_bytes
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.pipeline import find_surface
from gp3d_core.rendering.activation import DensityActivation
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.worker import protocol
from tests.support.micro import micro_snapshot

GRID = 24


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Generated, Volume]:
    snapshot = open_snapshot(micro_snapshot(tmp_path_factory.mktemp("volumes")), "cpu")
    obj = generate(snapshot, object_specs(snapshot, ["mushroom"], [3])[0], 0.7)
    return snapshot, obj, make_volume(snapshot, obj, GRID)


def test_samples_are_those_of_the_field_at_the_documented_places(
    made: tuple[Snapshot, Generated, Volume],
) -> None:
    snapshot, obj, volume = made
    index = np.random.default_rng(0).integers(0, GRID, (200, 3))
    index[:2] = [[0, 1, 2], [GRID - 1, 5, 0]]
    points = torch.tensor(volume.box * (2 * index / (GRID - 1) - 1), dtype=torch.float32)
    with torch.no_grad():
        rgb, raw = snapshot.generator.field(obj.planes)(points[None])
        sigma = DensityActivation.of(snapshot.config.render)(raw)[0, :, 0].numpy()
    found = volume.density[tuple(index.T)]
    full = found > 0
    assert full.any()
    np.testing.assert_allclose(found[full], sigma[full], rtol=2e-3)
    assert (sigma[~full] < 0.03 / (2 * volume.box)).all()
    colors = volume.color[tuple(index.T)].astype(int)
    np.testing.assert_allclose(
        colors[full], unit_to_bytes((rgb[0].numpy() + 1) / 2)[full].astype(int), atol=1
    )
    assert (colors[~full] == 0).all()


def test_a_volume_lies_where_the_mesh_does(made: tuple[Snapshot, Generated, Volume]) -> None:
    snapshot, obj, volume = made
    level = float(np.quantile(volume.density, 0.9))
    field = snapshot.generator.field(obj.planes)
    surface = find_surface(
        field, snapshot.config, MeshOptions(grid=GRID, level=Level(level), faces=None, components=None)
    )
    step = 2 * volume.box / (GRID - 1)
    dense = np.argwhere(volume.density > level) * step - volume.box
    np.testing.assert_allclose(surface.mesh.vertices.min(axis=0), dense.min(axis=0), atol=1.01 * step)
    np.testing.assert_allclose(surface.mesh.vertices.max(axis=0), dense.max(axis=0), atol=1.01 * step)


def test_the_file_holds_what_the_page_says(made: tuple[Snapshot, Generated, Volume], tmp_path: Path) -> None:
    volume = made[2]
    write_volume(volume, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as data:
        assert (str(data["format"]), int(data["version"])) == ("gp3d-volume", 1)
        assert json.loads(str(data["recipe"]))["seed"] == 3
        assert float(data["box"]) == volume.box
        assert (data["density"].dtype, data["color"].dtype) == (np.float32, np.uint8)
        np.testing.assert_array_equal(data["density"], volume.density)
        np.testing.assert_array_equal(data["color"], volume.color)


def test_requests_may_ask_for_what_can_be_made() -> None:
    assert protocol._VOLUME_GRIDS == GRIDS


def test_a_stopped_volume_stops_at_once(made: tuple[Snapshot, Generated, Volume]) -> None:
    snapshot, obj, _ = made

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "color":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        make_volume(snapshot, obj, GRID, stop)

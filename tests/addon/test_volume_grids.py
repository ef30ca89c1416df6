"""Volumes as the engine writes them and the add-on reads them: places, colours, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gp3d_core.generation.volumes import Volume, write_volume

BOX = 0.5


def written(path: Path, **changes: Any) -> Path:
    """A volume of 5³ samples, dense at one place: x = −0.5, y = 0.25, z = 0.5."""
    density, color = np.zeros((5, 5, 5), np.float32), np.zeros((5, 5, 5, 3), np.uint8)
    density[0, 3, 4], color[0, 3, 4] = 7.0, (255, 128, 0)
    write_volume(Volume(**{"density": density, "color": color, "box": BOX, "recipe": {}, **changes}), path)
    return path


def test_samples_lie_where_blender_has_them(parts: Callable[[str], Any], tmp_path: Path) -> None:
    """The front, +z, becomes −y; up, +y, becomes +z."""
    grids = parts("volume_grids").read_grids(written(tmp_path / "a.npz"))
    (index,) = np.argwhere(grids.density)
    np.testing.assert_allclose(index * grids.step - BOX, (-0.5, -0.5, 0.25))
    assert grids.density[tuple(index)] == 7.0
    np.testing.assert_allclose(grids.color[tuple(index)], (1.0, 0.21586, 0.0), atol=1e-5)  # linear light
    low, high = grids.bounds(6.9)
    np.testing.assert_allclose((low + high) / 2, (-0.5, -0.5, 0.25))
    np.testing.assert_allclose(high - low, 0.25)


def test_a_level_above_all_densities_is_taken_for_none(parts: Callable[[str], Any], tmp_path: Path) -> None:
    grids = parts("volume_grids").read_grids(written(tmp_path / "a.npz"))
    np.testing.assert_array_equal(grids.bounds(100.0), grids.bounds(0.0))
    empty = parts("volume_grids").read_grids(
        written(tmp_path / "b.npz", density=np.zeros((5, 5, 5), np.float32))
    )
    np.testing.assert_allclose(empty.bounds(1.0), ((-0.625,) * 3, (0.625,) * 3))


@pytest.mark.parametrize(
    "changes",
    [
        {"density": np.zeros((5, 5, 4), np.float32)},
        {"density": np.full((5, 5, 5), np.nan, np.float32)},
        {"density": np.full((5, 5, 5), -1, np.float32)},
        {"color": np.zeros((5, 5, 5), np.uint8)},
        {"box": -1.0},
    ],
)
def test_what_is_inconsistent_is_refused(
    parts: Callable[[str], Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    error = parts("mesh_bundle").BundleError
    with pytest.raises(error):
        parts("volume_grids").read_grids(written(tmp_path / "a.npz", **changes))


def test_damaged_files_are_refused(parts: Callable[[str], Any], tmp_path: Path) -> None:
    error, path = parts("mesh_bundle").BundleError, written(tmp_path / "a.npz")
    whole = path.read_bytes()
    for cut in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:cut])
        with pytest.raises(error):
            parts("volume_grids").read_grids(path)
    with pytest.raises(error):
        parts("volume_grids").read_grids(tmp_path / "missing.npz")

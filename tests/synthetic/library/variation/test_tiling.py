from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from synthetic.library.variation.draws import VariantSeed
from synthetic.library.variation.tiling import rescale_patterns
from synthetic.staging.surface import Material, Surface, Texture
from tests.synthetic.library.variation.made_models import box_surface, stripes, surface_of

SEED = VariantSeed(0, "03001627/chair", 1)


def cloth(path: Path, **changes: object) -> Material:
    return replace(Material("cloth", (1.0, 1.0, 1.0), stripes(path / "cloth.png")), **changes)  # type: ignore[arg-type]


def sheet(material: Material, scale: float) -> Surface:
    """A grid in x and y of side 1, with uv from 0 to `scale`."""
    n = 9
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    corner = np.arange(n * n).reshape(n, n)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    mesh = trimesh.Trimesh(np.column_stack([x.ravel(), y.ravel(), 0 * x.ravel()]), faces, process=False)
    return surface_of(mesh, material, scale=scale)


def test_a_pattern_that_repeats_is_scaled(tmp_path: Path) -> None:
    surface = sheet(cloth(tmp_path), 4.0)
    seen = []
    for number in range(1, 60):
        made, factors = rescale_patterns(surface, VariantSeed(0, "a/b", number))
        np.testing.assert_allclose(made.uvs[0], surface.uvs[0] * factors["cloth"], rtol=1e-6)
        seen.append(np.log2(factors["cloth"]))
    assert -0.5001 < min(seen) < -0.4
    assert 0.4 < max(seen) < 0.5001


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": "mask"},
        {"color_texture": None},
        {"color_texture": Texture(Path("x.png"), wrap=("clamp", "repeat"))},
        {"color_texture": Texture(Path("x.png"), wrap=("mirror", "mirror"))},
        {"metallic_roughness_texture": Texture(Path("y.png"), uv_layer=1)},
    ],
    ids=str,
)
def test_what_does_not_wrap_or_is_cut_out_is_left(changes: dict[str, object], tmp_path: Path) -> None:
    surface = sheet(cloth(tmp_path, **changes), 4.0)
    assert rescale_patterns(surface, SEED) == (surface, {})


def test_a_picture_that_lies_once_is_left(tmp_path: Path) -> None:
    surface = sheet(cloth(tmp_path), 1.0)
    assert rescale_patterns(surface, SEED) == (surface, {})


def test_one_of_several_pictures_on_a_sheet_is_left(tmp_path: Path) -> None:
    """Pieces far apart in uv, each a small part of the picture: nothing repeats there."""
    surface = sheet(cloth(tmp_path), 0.2)
    piece = np.arange(len(surface)) % 8
    shifted = surface.uvs[0] + (piece[:, None, None] * np.array([1.0, 2.0])).astype(np.float32)
    corners = surface.positions[surface.triangles] + 3.0 * np.arange(len(surface))[:, None, None]
    loose = np.arange(3 * len(surface)).reshape(-1, 3)
    surface = replace(surface, positions=corners.reshape(-1, 3), triangles=loose, uvs=(shifted,))
    assert rescale_patterns(surface, SEED) == (surface, {})


def test_a_tube_closed_by_whole_periods_is_left(tmp_path: Path) -> None:
    """Around it the picture lies three times; at another scale its ends would not meet."""
    n, m = 24, 4
    angle, height = np.meshgrid(np.arange(n + 1) / n, np.linspace(0, 1, m + 1), indexing="ij")
    corner = np.arange((n + 1) * (m + 1)).reshape(n + 1, m + 1)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    turn = 2 * np.pi * (angle % 1)
    positions = np.stack([np.cos(turn), height, np.sin(turn)], axis=-1).reshape(-1, 3)
    uv = np.stack([3 * angle, 2 * height], axis=-1).reshape(-1, 2)
    mesh = trimesh.Trimesh(positions, triangles, process=False)
    tube = replace(surface_of(mesh, cloth(tmp_path)), uvs=(uv[triangles].astype(np.float32),))
    assert rescale_patterns(tube, SEED) == (tube, {})
    keep = np.ones(len(tube), bool)
    keep[:m] = keep[n * m : n * m + m] = False  # cut open along the seam
    assert rescale_patterns(tube.subset(keep), SEED)[1]


def test_other_materials_keep_their_places(tmp_path: Path) -> None:
    surface = sheet(cloth(tmp_path), 4.0)
    half = (np.arange(len(surface)) >= len(surface) // 2).astype(np.int32)
    plain = cloth(tmp_path, name="leaf", alpha="mask")
    surface = replace(surface, materials=(surface.materials[0], plain), material=half)
    made, factors = rescale_patterns(surface, SEED)
    assert set(factors) == {"cloth"}
    np.testing.assert_array_equal(made.uvs[0][half == 1], surface.uvs[0][half == 1])
    assert (made.uvs[0][half == 0] != surface.uvs[0][half == 0]).any()


def test_a_surface_without_pictures_is_left() -> None:
    surface = box_surface((1.0, 1.0, 1.0), 1)
    assert rescale_patterns(surface, SEED) == (surface, {})

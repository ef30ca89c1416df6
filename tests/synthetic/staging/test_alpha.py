"""What becomes of transparent parts, by textures painted here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.alpha import settle_alpha
from synthetic.staging.surface import Material, Part, Surface, Texture, merge
from synthetic.staging.treatment import Treatment

SIDE = 32
OPAQUE = Material("wood", (0.3, 0.2, 0.1))
Paint = Callable[[np.ndarray], Texture]


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """A texture with the alphas given, the lowest row first."""

    def paint(alpha: np.ndarray) -> Texture:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.png"
        pixels = np.full((*alpha.shape, 4), 200, np.uint8)
        pixels[..., 3] = np.rint(alpha[::-1] * 255)
        Image.fromarray(pixels).save(path)
        return Texture(path)

    return paint


def quad(material: int, low: tuple[float, float], high: tuple[float, float], z: float = 0.0) -> Part:
    """A rectangle whose uvs are its x and y."""
    x = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    uvs = x[triangles].astype(np.float32)
    return Part(np.column_stack([x, np.full(4, z)]), triangles, np.full(2, material, np.int32), (uvs,))


def settled(surface: Surface, **treatment: str) -> tuple[Surface, Counter[str]]:
    notes: Counter[str] = Counter()
    return settle_alpha(surface, Treatment(**treatment), notes), notes  # type: ignore[arg-type]


def whole(material: Material) -> Surface:
    return merge([quad(0, (0, 0), (1, 1)), quad(1, (0, 0), (1, 1), 1.0)], (material, OPAQUE))


def disc(soft: float = 0.0) -> np.ndarray:
    """1 in a disc, 0 around it, and a border of `soft` texels in between."""
    far = np.hypot(*(np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2))
    return np.clip((SIDE / 3 - far) / max(soft, 1e-9) + 0.5, 0, 1)


def test_opaque_surfaces_are_given_back_as_they_are(paint: Paint) -> None:
    surface = whole(Material("m", color_texture=paint(disc()), opacity=0.3))
    got, notes = settled(surface)
    assert got is surface
    assert not notes


@pytest.mark.parametrize("mode", ["blend", "mask"])
def test_modes_without_transparency_are_opaque(paint: Paint, mode: str, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "rgb.png")
    for texture in (None, paint(np.ones((4, 4))), Texture(tmp_path / "rgb.png")):
        for options in ({}, {"transparent": "opaque", "cutouts": "solid"}):
            got, notes = settled(whole(Material("m", color_texture=texture, alpha=mode)), **options)  # type: ignore[arg-type]
            assert not notes
            assert len(got) == 4
            assert [material.alpha for material in got.materials] == ["opaque"] * 2


def test_only_the_texels_below_the_triangles_count(paint: Paint) -> None:
    alpha = np.ones((SIDE, SIDE))
    alpha[:, SIDE // 2 :] = 0.4  # glass beside what is used
    material = Material("m", color_texture=paint(alpha), alpha="blend")
    got, notes = settled(merge([quad(0, (0.02, 0.02), (0.48, 0.9))], (material,)))
    assert (len(got), got.materials[0].alpha, notes) == (2, "opaque", {})


@pytest.mark.parametrize("mode", ["blend", "mask"])
@pytest.mark.parametrize("soft", [0.0, 2.0])
def test_leaves_are_cut_or_solid_by_choice_and_counted(paint: Paint, mode: str, soft: float) -> None:
    surface = whole(Material("leaf", color_texture=paint(disc(soft)), alpha=mode, cutoff=0.3))  # type: ignore[arg-type]
    got, notes = settled(surface)
    assert notes == {"faces cut out by their alpha": 2}
    assert len(got) == 4
    assert [material.alpha for material in got.materials] == ["mask", "opaque"]
    assert got.materials[0].cutoff == (0.3 if mode == "mask" else 0.5)
    assert got.materials[0].color_texture == surface.materials[0].color_texture
    got, notes = settled(surface, cutouts="solid")
    assert notes == {"faces drawn solid in spite of their alpha": 2}
    assert [material.alpha for material in got.materials] == ["opaque"] * 2
    assert len(got) == 4


def test_triangles_of_which_nothing_would_be_left_go(paint: Paint) -> None:
    alpha = np.zeros((SIDE, SIDE))
    alpha[: SIDE // 2] = disc()[: SIDE // 2]
    material = Material("leaf", color_texture=paint(alpha), alpha="mask")
    parts = [quad(0, (0, 0), (1, 0.5)), quad(0, (0.1, 0.6), (0.9, 0.9)), quad(1, (0, 0), (1, 1), 1.0)]
    got, notes = settled(merge(parts, (material, OPAQUE)))
    assert notes == {"faces cut out by their alpha": 2, "faces cut away by their alpha": 2}
    assert set(got.part) == {0, 2}
    assert len(settled(merge(parts, (material, OPAQUE)), cutouts="solid")[0]) == 6


@pytest.mark.parametrize(
    "glass",
    [
        Material("d", opacity=0.5, alpha="blend"),
        Material("t", transmission=0.9),
        Material("faint", opacity=0.998, alpha="blend"),
        Material("texture", alpha="blend"),
        Material("gradient", alpha="blend"),
    ],
    ids=lambda material: material.name,
)
def test_glass_is_removed_or_drawn_opaque_and_counted(paint: Paint, glass: Material) -> None:
    gradient = np.repeat(np.linspace(0, 1, SIDE)[:, None], SIDE, axis=1)
    pictures = {"texture": np.full((SIDE, SIDE), 0.4), "gradient": gradient}
    if glass.name in pictures:
        glass = replace(glass, color_texture=paint(pictures[glass.name]))
    got, notes = settled(whole(glass))
    assert notes == {"transparent faces removed": 2}
    assert (got.part == 1).all()
    got, notes = settled(whole(glass), transparent="opaque")
    assert notes == {"transparent faces drawn opaque": 2}
    assert len(got) == 4
    solid = got.materials[0]
    assert (solid.alpha, solid.opacity, solid.transmission) == ("opaque", 1.0, 0.0)


@pytest.mark.parametrize(("seam", "cut"), [(0.505, 0), (0.53, 1)])
def test_one_pane_of_an_atlas_goes_alone(paint: Paint, seam: float, cut: int) -> None:
    alpha = np.ones((SIDE, SIDE))
    alpha[:, SIDE // 2 :] = 0.4
    material = Material("atlas", color_texture=paint(alpha), alpha="blend")
    body, pane = quad(0, (0, 0), (0.49, 1)), quad(0, (0.52, 0), (1, 1))
    surface = merge([body, pane], (material,))
    got, notes = settled(surface)
    assert notes == {"transparent faces removed": 2}
    assert (got.part == 0).all()
    assert got.materials[0].alpha == "opaque"
    # The pane's neighbour, joined to it by vertices, stays though the texture's seam runs a little into it.
    corners = np.array([[0, 0, 0], [seam, 0, 0], [seam, 1, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]])
    uvs = (corners[triangles][..., :2].astype(np.float32),)
    one = Part(corners, triangles, np.zeros(4, np.int32), uvs)
    got, notes = settled(merge([one], (material,)))
    assert notes == {"transparent faces removed": 2} | ({"faces cut out by their alpha": cut} if cut else {})
    np.testing.assert_array_equal(got.triangles, triangles[:2])


def test_leaves_and_glass_of_one_material_are_told_apart(paint: Paint) -> None:
    alpha = np.full((SIDE, 3 * SIDE), 0.4)
    alpha[:, :SIDE] = disc()
    alpha[:, SIDE : 2 * SIDE] = 1
    material = Material("atlas", color_texture=paint(alpha), alpha="blend")
    parts = [quad(0, (k / 3 + 0.001, 0), (k / 3 + 0.33, 1)) for k in range(3)]
    got, notes = settled(merge(parts, (OPAQUE, material)[::-1]))
    assert notes == {"transparent faces removed": 2, "faces cut out by their alpha": 2}
    assert [got.materials[m].alpha for m in got.material] == ["mask"] * 2 + ["opaque"] * 2
    assert {got.materials[m].name for m in got.material} == {"atlas"}
    assert all(material.alpha != "blend" for material in got.materials)


def test_alpha_of_vertices_and_of_a_texture_of_its_own_count(paint: Paint, tmp_path: Path) -> None:
    part = replace(quad(0, (0, 0), (1, 1)), colors=np.full((2, 3, 4), 0.4, np.float32))
    solid = quad(1, (0, 0), (1, 1))
    _, notes = settled(merge([part, solid], (Material("m", alpha="blend"), OPAQUE)))
    assert notes == {"transparent faces removed": 2}
    _, notes = settled(merge([part, solid], (Material("m", alpha="mask"), OPAQUE)))
    assert notes == {"faces cut away by their alpha": 2}
    Image.new("L", (3, 3), 90).save(tmp_path / "map_d.png")
    own = Texture(tmp_path / "map_d.png")
    _, notes = settled(
        whole(Material("m", color_texture=paint(np.ones((4, 4))), alpha="blend", alpha_texture=own))
    )
    assert notes == {"transparent faces removed": 2}
    Image.new("RGB", (3, 3), (255, 255, 255)).save(tmp_path / "white.png")
    white = Texture(tmp_path / "white.png")
    _, notes = settled(whole(Material("m", color_texture=paint(disc()), alpha="blend", alpha_texture=white)))
    assert not notes


def test_a_model_of_glass_alone_is_refused(paint: Paint) -> None:
    surface = merge([quad(0, (0, 0), (1, 1))], (Material("m", alpha="blend", opacity=0.2),))
    with pytest.raises(BrokenModelError, match="all of its faces are transparent"):
        settled(surface)
    assert len(settled(surface, transparent="opaque")[0]) == 2


def test_large_and_repeated_textures_are_looked_at_in_bounded_time(paint: Paint) -> None:
    part = quad(0, (0, 0), (1, 1))
    many = [replace(part, uvs=(part.uvs[0] * 300,)) for _ in range(200)]
    got, notes = settled(merge(many, (Material("fence", color_texture=paint(disc()), alpha="mask"),)))
    assert notes == {"faces cut out by their alpha": 400}
    assert len(got) == 400

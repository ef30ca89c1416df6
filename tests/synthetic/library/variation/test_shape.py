from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import open3d as o3d
import pytest
import trimesh

from synthetic.library.variation.draws import VariantSeed
from synthetic.library.variation.kinds import BODIES, BodyKind
from synthetic.library.variation.maps import X, Y, Z
from synthetic.library.variation.shape import (
    EXEMPT,
    PATTERNED,
    PLAIN,
    Deformation,
    anisotropy,
    deform,
    draw_deformation,
)
from synthetic.staging.surface import Material, Surface, area_vectors, face_normals
from tests.synthetic.library.variation.made_models import box_surface, stripes, surface_of, volume

NUMBERS = range(1, 7)


def drawn(surface: Surface, kind: BodyKind, number: int) -> tuple[Surface, Deformation]:
    deformation = draw_deformation(surface, BODIES[kind], VariantSeed(0, "x/y", number).draws("shape"))
    return deform(surface, deformation), deformation


def solids() -> dict[str, trimesh.Trimesh]:
    """Closed bodies of several kinds, longer than high and wide, off the origin."""
    made = {
        "ball": trimesh.creation.icosphere(3, 0.3),
        "ring": trimesh.creation.torus(0.4, 0.1),
        "box": trimesh.creation.box((0.3, 0.4, 0.8)).subdivide().subdivide(),
    }
    for mesh in made.values():
        mesh.apply_translation((1.3, 2.0, -0.7))
    return made


@pytest.mark.parametrize("kind", BODIES)
def test_closed_surfaces_stay_closed_and_do_not_meet_themselves(kind: BodyKind) -> None:
    for name, mesh in solids().items():
        surface = surface_of(mesh, Material("plain"))
        for number in NUMBERS:
            varied, _ = drawn(surface, kind, number)
            again = trimesh.Trimesh(varied.positions, varied.triangles, process=True)
            assert again.is_watertight, name
            assert again.is_winding_consistent, name
            assert volume(varied.positions - varied.positions.mean(axis=0), varied.triangles) > 0
            mesh3d = o3d.geometry.TriangleMesh(
                o3d.utility.Vector3dVector(varied.positions), o3d.utility.Vector3iVector(varied.triangles)
            )
            assert not mesh3d.is_self_intersecting(), (name, number)


@pytest.mark.parametrize("kind", BODIES)
def test_only_positions_and_normals_change(kind: BodyKind) -> None:
    surface = surface_of(solids()["ball"], Material("a"), Material("b", metallic=0.3))
    varied, _ = drawn(surface, kind, 1)
    assert varied.triangles is surface.triangles
    assert varied.uvs is surface.uvs
    assert varied.material is surface.material
    assert varied.materials is surface.materials
    assert varied.part is surface.part
    assert len(varied.positions) == len(surface.positions)
    assert np.isfinite(varied.positions).all()


def test_positions_at_one_place_stay_at_one_place() -> None:
    whole = surface_of(solids()["ball"], Material("a"))
    corners = np.arange(3 * len(whole)).reshape(-1, 3)
    loose = replace(whole, positions=whole.positions[whole.triangles.ravel()], triangles=corners)
    for kind in BODIES:
        one, other = drawn(whole, kind, 3)[0], drawn(loose, kind, 3)[0]
        np.testing.assert_array_equal(one.positions[one.triangles], other.positions[other.triangles])


@pytest.mark.parametrize("kind", BODIES)
def test_pictures_are_distorted_no_more_than_is_said(kind: BodyKind, tmp_path: Path) -> None:
    for sides in ((0.2, 0.5, 0.9), (0.9, 0.2, 0.3), (0.05, 1.0, 0.05)):
        for material, most in (
            (Material("p", color_texture=stripes(tmp_path / "t.png")), PATTERNED),
            (Material("q"), PLAIN),
        ):
            surface = box_surface(sides, 3, material)
            for number in NUMBERS:
                varied, _ = drawn(surface, kind, number)
                ratios = _ratios(surface, varied)
                area = np.linalg.norm(area_vectors(surface.positions, surface.triangles), axis=1)
                above = area[ratios > most * (1 + 1e-9)].sum()
                assert above <= EXEMPT * area.sum()
                np.testing.assert_allclose(anisotropy(surface, varied.positions), ratios, rtol=1e-6)


def _ratios(before: Surface, after: Surface) -> np.ndarray:
    """Of the singular values of each triangle's affine map, by numpy's decompositions."""
    frames = []
    for surface in (before, after):
        a, b, c = (surface.positions[surface.triangles[:, corner]] for corner in range(3))
        frames.append(np.linalg.qr(np.stack([b - a, c - a], axis=2))[1])
    values = np.linalg.svd(frames[1] @ np.linalg.inv(frames[0]), compute_uv=False)
    return np.asarray(values[:, 0] / values[:, 1])


def test_variants_use_what_the_bound_allows(tmp_path: Path) -> None:
    """Not all of them are close to their parent."""
    surface = box_surface((0.3, 0.5, 0.9), 2, Material("p", color_texture=stripes(tmp_path / "t.png")))
    for kind in ("legged", "limbless", "plant", "upright"):
        most = [anisotropy(surface, drawn(surface, kind, number)[0].positions).max() for number in range(20)]
        assert np.median(most) > 1.15, kind


@pytest.mark.parametrize("kind", ["legged", "plant", "round", "upright", "wheeled"])
def test_the_ground_stays_a_plane_under_all_that_stands(kind: BodyKind) -> None:
    surface = box_surface((0.3, 0.5, 0.9), 3)
    low = surface.positions[:, Y] == 0
    for number in NUMBERS:
        varied, _ = drawn(surface, kind, number)
        assert np.abs(varied.positions[low, Y]).max() < 1e-12
        assert varied.positions[~low, Y].min() > 0


@pytest.mark.parametrize("kind", ["round", "upright", "wheeled", "dial", "ball"])
def test_what_is_symmetric_stays_symmetric(kind: BodyKind) -> None:
    surface = box_surface((0.5, 0.4, 0.9), 3)
    mirrored = replace(surface, positions=surface.positions * (-1, 1, 1))
    for number in NUMBERS:
        one, other = drawn(surface, kind, number)[0], drawn(mirrored, kind, number)[0]
        np.testing.assert_array_equal(one.positions * (-1, 1, 1), other.positions)


def test_an_animal_is_symmetric_but_for_its_turn() -> None:
    """Without its bend to a side, which is the last map."""
    surface = box_surface((0.5, 0.4, 0.9), 3)
    deformation = draw_deformation(surface, BODIES["legged"], VariantSeed(0, "x/y", 1).draws("shape"))
    assert deformation.record()[-1]["kind"] == "bend"
    straight = replace(deformation, maps=deformation.maps[:-1])
    one, other = straight.moved(surface.positions), straight.moved(surface.positions * (-1, 1, 1))
    np.testing.assert_array_equal(one * (-1, 1, 1), other)


@pytest.mark.parametrize(("kind", "axes"), [("round", (X, Z)), ("wheeled", (Y, Z)), ("dial", (X, Y))])
def test_circles_stay_circles(kind: BodyKind, axes: tuple[int, int]) -> None:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.zeros((48, 3))
    circle[:, axes[0]], circle[:, axes[1]] = np.cos(angle), np.sin(angle)
    surface = box_surface((2.0, 2.0, 2.0), 2)
    centre = np.array([0.0, 1.0, 0.0])
    for number in NUMBERS:
        deformation = drawn(surface, kind, number)[1]
        if kind == "round":  # of any size, at any height
            moved = deformation.moved(0.4 * circle + centre + (0, 0.37, 0))
            assert np.ptp(moved[:, Y]) < 1e-12
        else:
            moved = deformation.moved(0.4 * circle + centre)
        radii = np.linalg.norm((moved - moved.mean(axis=0))[:, axes], axis=1)
        assert np.ptp(radii) < 1e-12 * radii.max() + 1e-12


def test_straight_walls_and_level_tops_of_furniture_stay_so() -> None:
    surface = box_surface((0.5, 0.4, 0.9), 3)
    for number in NUMBERS:
        varied, deformation = drawn(surface, "upright", number)
        faces = face_normals(surface.positions, surface.triangles)
        new = face_normals(varied.positions, varied.triangles)
        for axis in range(3):
            for sign in (1, -1):
                side = sign * faces[:, axis] > 0.99
                corners = varied.positions[varied.triangles[side]].reshape(-1, 3)
                thin = np.linalg.svd(corners - corners.mean(axis=0), compute_uv=False)[2]
                assert thin < 1e-12, deformation.record()
        top = faces[:, Y] > 0.99
        np.testing.assert_allclose(new[top], faces[top], atol=1e-12)


def test_normals_turn_with_the_surface() -> None:
    """Those of a ball are held to the surface's own, by differences; flat faces keep the faces' own."""
    ball = surface_of(trimesh.creation.icosphere(5, 0.4), Material("a"))
    for kind in ("legged", "limbless", "plant", "upright"):
        varied, _ = drawn(ball, kind, 2)
        assert varied.normals is not None
        np.testing.assert_allclose(np.linalg.norm(varied.normals, axis=2), 1, atol=1e-6)
        independent = trimesh.Trimesh(varied.positions, varied.triangles, process=False).vertex_normals
        cosine = np.einsum("fki,fki->fk", varied.normals, independent[varied.triangles])
        assert cosine.min() > np.cos(np.radians(2)), kind
        flat, _ = drawn(box_surface((0.3, 0.5, 0.9), 2), kind, 2)
        assert flat.normals is not None
        own = face_normals(flat.positions, flat.triangles).astype(np.float32)
        np.testing.assert_array_equal(flat.normals, np.repeat(own[:, None], 3, axis=1))


def test_a_surface_without_thickness_is_varied_too() -> None:
    sheet = box_surface((0.5, 0.0, 0.9), 1)
    for kind in BODIES:
        varied, _ = drawn(sheet, kind, 1)
        assert np.isfinite(varied.positions).all()

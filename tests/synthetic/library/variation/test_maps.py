from __future__ import annotations

import math

import numpy as np
import pytest

from synthetic.library.variation.draws import VariantSeed
from synthetic.library.variation.kinds import BODIES, BodyKind
from synthetic.library.variation.maps import Bend, Box, SpaceMap, Stretch, Swell, Taper, Twist, X, Y, Z
from synthetic.library.variation.profile import Profile
from synthetic.library.variation.shape import Deformation, draw_deformation
from synthetic.staging.surface import Material
from tests.synthetic.library.variation.made_models import box_surface, volume

BOX = Box((-0.3, 0.0, -0.8), (0.4, 0.5, 0.6))
FLAT = Profile(0, 1, (1.0,))
PROFILE = Profile(0.0, 0.5, (0.8, 1.3, 0.9, 1.1))
MAPS: dict[str, SpaceMap] = {
    "stretch": Stretch(Profile(0.0, 0.4, (1.2, 0.9)), PROFILE, Profile(-0.8, 0.6, (0.9, 1.1, 1.2))),
    "swell": Swell((X, Z), Y, PROFILE),
    "slope": Swell((Y,), Z, Profile(-0.8, 0.6, (1.1, 0.9, 1.2))),
    "taper": Taper(0.3, 0.5),
    "flare": Taper(-0.2, 0.5),
    "twist": Twist(0.7, 0.5),
    "bend": Bend(Z, X, 0.9, 0.8, 0.4),
    "bow": Bend(Y, Z, -0.6, 0.5, 0.8),
    "straight": Bend(Z, X, 0.0, 0.8, 0.4),
}


def grid(box: Box, count: int) -> np.ndarray:
    axes = [np.linspace(low, high, count) for low, high in zip(box.low, box.high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def differences(single: SpaceMap | Deformation, points: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """[N,3,3] derivatives by central differences."""
    return np.stack(
        [
            (single.moved(points + step * axis) - single.moved(points - step * axis)) / (2 * step)
            for axis in np.eye(3)
        ],
        axis=2,
    )


@pytest.mark.parametrize("name", MAPS)
def test_jacobian_is_the_derivative_and_keeps_orientation(name: str) -> None:
    points = 0.97 * grid(BOX, 7) + 0.0041  # off the places of values, where second derivatives jump
    jacobian = MAPS[name].jacobian(points)
    np.testing.assert_allclose(jacobian, differences(MAPS[name], points), atol=2e-8)
    assert np.linalg.det(jacobian).min() > 0.2


@pytest.mark.parametrize("name", MAPS)
def test_image_holds_what_the_box_becomes(name: str) -> None:
    moved, image = MAPS[name].moved(grid(BOX, 15)), MAPS[name].image(BOX)
    assert (moved >= np.array(image.low) - 1e-12).all()
    assert (moved <= np.array(image.high) + 1e-12).all()


@pytest.mark.parametrize("name", MAPS)
def test_no_two_points_meet(name: str) -> None:
    """The image of a grid keeps its neighbours apart, and cells of it do not turn inside out."""
    count = 11
    moved = MAPS[name].moved(grid(BOX, count)).reshape(count, count, count, 3)
    edges = [np.diff(moved, axis=axis) for axis in range(3)]
    inner = [edges[0][:, :-1, :-1], edges[1][:-1, :, :-1], edges[2][:-1, :-1]]
    assert (np.einsum("...i,...i->...", inner[0], np.cross(inner[1], inner[2])) > 0).all()
    flat = moved.reshape(-1, 3)
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=2) + np.eye(len(flat))
    assert distances.min() > 0.01


def test_profile_integral_and_slope_are_those_of_its_values() -> None:
    places = np.linspace(-0.1, 0.6, 7001)
    values, sums = PROFILE.at(places), PROFILE.integral(places)
    steps = np.diff(places)
    trapezoids = np.concatenate([[0], np.cumsum((values[1:] + values[:-1]) / 2 * steps)])
    np.testing.assert_allclose(sums - sums[0], trapezoids, atol=1e-7)
    assert PROFILE.integral(np.zeros(1))[0] == 0
    np.testing.assert_allclose(PROFILE.slope(places)[1:-1], np.gradient(values, places)[1:-1], atol=0.05)
    assert values.min() >= PROFILE.least == 0.8
    assert 1.3 == PROFILE.most >= values.max()
    np.testing.assert_allclose(PROFILE.at(np.array([0, 0.5 / 3, 1 / 3, 0.5])), PROFILE.values, atol=1e-12)


def test_a_bent_axis_is_an_arc_of_its_length() -> None:
    curvature = 0.9
    bend = Bend(Z, X, curvature, 0.8, 0.4)
    axis = np.column_stack([np.zeros(2001), np.full(2001, 0.2), np.linspace(-0.8, 0.8, 2001)])
    moved = bend.moved(axis)
    centre = np.array([1 / curvature, 0.2, 0.0])
    np.testing.assert_allclose(np.linalg.norm(moved - centre, axis=1), 1 / curvature, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(np.diff(moved, axis=0), axis=1).sum(), 1.6, atol=1e-6)
    end = (1 - math.cos(curvature * 0.8)) / curvature, math.sin(curvature * 0.8) / curvature
    np.testing.assert_allclose(moved[-1, [X, Z]], end, atol=1e-14)


def test_a_twist_turns_the_top_by_its_angle_and_leaves_the_ground() -> None:
    moved = Twist(0.7, 0.5).moved(np.array([[0, 0.5, 1.0], [0.3, 0.0, 1.0]]))
    np.testing.assert_allclose(moved, [[math.sin(0.7), 0.5, math.cos(0.7)], [0.3, 0, 1]], atol=1e-15)


def test_a_taper_keeps_lines_straight_and_the_ground() -> None:
    ends = np.array([[0.4, 0.0, -0.8], [-0.3, 0.5, 0.6]])
    line = ends[0] + np.linspace(0, 1, 9)[:, None] * (ends[1] - ends[0])
    for amount in (0.3, -0.2):
        moved = Taper(amount, 0.5).moved(line)
        along = moved - moved[0]
        assert np.linalg.norm(np.cross(along, along[-1]), axis=1).max() < 1e-15
        np.testing.assert_array_equal(moved[0], ends[0])
        np.testing.assert_allclose(moved[-1], ends[1] / (1 + amount), atol=1e-15)


def test_volumes_are_the_closed_forms() -> None:
    bar = box_surface((0.2, 0.5, 0.4), 5)
    before = volume(bar.positions, bar.triangles)
    assert before == pytest.approx(0.04)
    mean = (0.8 / 2 + 1.3 + 0.9 + 1.1 / 2) / 3
    a = 0.3
    expected = {
        Stretch(Profile(0, 0.1, (1.2,)), PROFILE, Profile(-0.2, 0.2, (0.9,))): 1.2 * mean * 0.9,
        Swell((X,), Y, PROFILE): mean,
        Taper(a, 0.5): (1 - (1 + a) ** -3) / (3 * a),
        Twist(0.4, 0.5): 1.0,
        Bend(Z, X, 0.9, 0.2, 0.1): 1.0,
    }
    for single, ratio in expected.items():
        assert volume(single.moved(bar.positions), bar.triangles) / before == pytest.approx(
            ratio, rel=1e-3
        ), single


def test_maps_that_fold_are_refused() -> None:
    folding = [
        lambda: Bend(Z, X, 2.0, 0.4, 0.5),
        lambda: Bend(Z, X, 3.0, 0.8, 0.1),
        lambda: Taper(-1.0, 0.5),
        lambda: Taper(0.1, 0.0),
        lambda: Twist(2.0, 0.5),
        lambda: Swell((X,), X, PROFILE),
        lambda: Swell((X,), Y, Profile(0, 1, (0.5, -0.1))),
        lambda: Stretch(FLAT, Profile(0, 1, (1.0, 0.0)), FLAT),
    ]
    for make in folding:
        with pytest.raises(ValueError, match="may fold"):
            make()


@pytest.mark.parametrize("kind", BODIES)
def test_no_drawn_chain_folds_anywhere_in_the_box(kind: BodyKind) -> None:
    for number, sides in enumerate(
        [(0.2, 0.5, 0.9), (0.9, 0.2, 0.3), (0.5, 0.5, 0.5), (0.02, 1.0, 0.02)] * 5
    ):
        surface = box_surface(sides, 1, Material("plain"))
        chain = draw_deformation(surface, BODIES[kind], VariantSeed(3, kind, number).draws("shape"))
        box = Box(tuple(surface.positions.min(axis=0)), tuple(surface.positions.max(axis=0)))
        points = grid(box, 9)
        jacobian = chain.jacobian(points)
        assert np.linalg.det(jacobian).min() > 0.1
        inner = 0.97 * points + 0.0123 * np.array(sides)
        np.testing.assert_allclose(chain.jacobian(inner), differences(chain, inner), atol=1e-5)

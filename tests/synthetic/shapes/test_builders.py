"""The procedural builders: closed solids, normals and textures as geometry says."""

import numpy as np
import pytest
from scipy.ndimage import label

from synthetic.shapes import curves, textures
from synthetic.shapes.components import balls
from synthetic.shapes.components.vessels import vessel
from synthetic.shapes.families import soccer_ball
from synthetic.shapes.family import Model
from synthetic.shapes.library import FAMILIES
from synthetic.shapes.material import Material
from synthetic.shapes.normals import corner_normals
from synthetic.shapes.parts import bar, box, lathe, loft, prism, sphere, sweep, torus, tube
from tests.synthetic.family_models import as_trimesh, first_hits

GREY = Material("grey", (0.5, 0.5, 0.5))
SQUARE = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], dtype=float)


def test_parts_have_the_volume_of_their_solid() -> None:
    edge = np.array([(0, 0), (2, 0), (2, 1), (0, 1)], dtype=float)
    chord = 8 * np.sin(np.pi / 8) * np.cos(np.pi / 8)  # area of the unit octagon
    cases = [
        (sphere(GREY, 0.7, 128), 4 / 3 * np.pi * 0.7**3, 2e-3),
        (torus(GREY, 1.0, 0.2, 128, 64), 2 * np.pi**2 * 0.2**2, 5e-3),
        (bar(GREY, (1, 2, 3), (2, 4, 5), 0.5, 8), 0.25 * chord * 3, 1e-9),
        (prism(GREY, edge, 0.5), 1.0, 1e-9),
        (sweep(GREY, [(0, 0, 0), (0, 0, 3)], edge), 6.0, 1e-9),
        (box(GREY, (1, 2, 3), bevel=1e-4), 6.0, 1e-6),
        (loft(GREY, [SQUARE, SQUARE + np.array([0.3, 0.2, 1.5])]), 6.0, 1e-9),
        (loft(GREY, [SQUARE, 0.5 * SQUARE + np.array([0, 0, 3.0])]), 7.0, 1e-9),
    ]
    for part, volume, tolerance in cases:
        assert as_trimesh(part).is_watertight
        assert part.volume() == pytest.approx(volume, rel=tolerance)


def test_box_bevel_cuts_the_volume_that_geometry_says() -> None:
    size, cut = np.array([1.0, 0.8, 0.6]), 0.1
    reason_to_stop = (
        4 * (cut**2 / 2) * (size - 2 * cut).sum() + 8 * (5 / 6) * cut**3
    )  # edges, then corners of cubes less their tips
    assert box(GREY, size, (3, 1, 2), cut).volume() == pytest.approx(size.prod() - reason_to_stop, rel=1e-9)


def test_vessel_is_hollow_and_open_above() -> None:
    cup = vessel(GREY, [(0.5, 0), (0.5, 0.5), (0.5, 1)], 0.05)
    solid = np.pi * 0.5**2
    assert as_trimesh(cup).is_watertight
    assert cup.volume() == pytest.approx(solid - np.pi * 0.45**2 * (1 - 0.075), rel=0.06)
    hit, _, _ = first_hits(
        Model(FAMILIES[0], 0, 0, {}, [cup]), np.array([[0.1, 0.5, 0.1]]), np.array([[0.0, 1.0, 0.0]])
    )
    assert not hit[0]


def test_builders_refuse_what_they_cannot_close() -> None:
    with pytest.raises(ValueError, match="only the ends"):
        lathe(GREY, [(1, 0), (0, 0.5), (1, 1)])
    with pytest.raises(ValueError, match="no point of a ring"):
        lathe(GREY, [(1, 0), (0, 0.5), (1, 1)], ring=True)
    with pytest.raises(ValueError, match="does not fit"):
        vessel(GREY, [(0.04, 0), (0.04, 0.5), (0.5, 1)], 0.05)
    with pytest.raises(ValueError, match="positive"):
        sphere(GREY, 1).scaled(-1, 1, 1)


def test_corner_normals_are_soft_on_a_ball_and_hard_on_a_cube() -> None:
    ball = sphere(GREY, 2.0, 48)
    radial = ball.vertices[ball.faces] / 2.0
    assert np.einsum("fkj,fkj->fk", corner_normals(ball.vertices, ball.faces), radial).min() > 0.998
    cube = prism(GREY, curves.circle(1, 4), 1.4)
    flat = as_trimesh(cube).face_normals[:, None]
    np.testing.assert_allclose(
        corner_normals(cube.vertices, cube.faces), np.broadcast_to(flat, (*cube.faces.shape, 3)), atol=1e-9
    )


def test_texture_stands_upright_for_somebody_in_front() -> None:
    plate = prism(GREY, [(-1, -1), (1, -1), (1, 1), (-1, 1)], 0.1)
    corners, uv = plate.vertices[plate.faces].reshape(-1, 3), plate.uv.reshape(-1, 2)
    np.testing.assert_allclose(uv, np.stack([(1 - corners[:, 0]) / 2, (1 + corners[:, 1]) / 2], axis=1))
    pipe = lathe(GREY, [(1, 0), (1, 2)], 64, v=[0, 1])
    corners, uv = pipe.vertices[pipe.faces].reshape(-1, 3), pipe.uv.reshape(-1, 2)
    front = (corners[:, 2] < -0.5) & (np.hypot(corners[:, 0], corners[:, 2]) > 0.5)
    angle = np.arctan2(
        -corners[front, 0], -corners[front, 2]
    )  # grows towards -X, which is right in the picture
    np.testing.assert_allclose(uv[front, 0], 0.5 + angle / (2 * np.pi), atol=1e-9)
    np.testing.assert_allclose(uv[front, 1], corners[front, 1] / 2, atol=1e-9)
    rows = textures.rows([(0.25, (1, 0, 0)), (1, (0, 0, 1))])
    assert rows[-1, 0].tolist() == [255, 0, 0]
    assert rows[0, 0].tolist() == [0, 0, 255]


def test_draped_texture_stands_upright_on_front_and_outline() -> None:
    ball = sphere(GREY, 1.0, 24).scaled(2, 1, 1).moved(5, 6, 7).draped()
    corners, uv = ball.vertices[ball.faces].reshape(-1, 3), ball.uv.reshape(-1, 2)
    np.testing.assert_allclose(uv, np.stack([(7 - corners[:, 0]) / 4, (corners[:, 1] - 5) / 2], axis=1))


def test_loft_texture_runs_from_the_first_outline_to_the_last() -> None:
    beam = loft(
        GREY, [SQUARE, SQUARE + np.array([0, 0, 1.0]), SQUARE + np.array([0, 0, 4.0])], v=[0.0, 0.3, 1.0]
    )
    heights, rows = beam.vertices[beam.faces][..., 2].ravel(), beam.uv[..., 1].ravel()
    np.testing.assert_allclose(rows, np.interp(heights, [0, 1, 4], [0, 0.3, 1]))
    assert beam.uv[..., 0].min() == 0
    assert beam.uv[..., 0].max() == 1


def test_soccer_panels_are_those_of_a_truncated_icosahedron() -> None:
    panel, gap = soccer_ball.panels()
    rise = np.pi * ((np.arange(balls.ROWS) + 0.5) / balls.ROWS - 0.5)
    area = np.bincount(panel.ravel(), np.repeat(np.cos(rise), balls.COLUMNS), 32)
    area *= 4 * np.pi / area.sum()
    faces = ((slice(0, 12), 5, soccer_ball.PENTAGON), (slice(12, 32), 6, soccer_ball.HEXAGON))
    for group, sides, height in faces:  # solid angle of a right pyramid over a regular polygon with edge 1
        corner = 0.5 / np.sin(np.pi / sides) / height
        expected = 2 * np.pi - 2 * sides * np.arctan(np.tan(np.pi / sides) / np.hypot(1, corner))
        np.testing.assert_allclose(area[group], expected, rtol=0.01)
    assert gap.min() >= 0


def test_ball_seam_halves_the_ball() -> None:
    near = balls.seam_distance() < 0.05
    pieces, _ = label(
        ~np.concatenate([near, near], axis=1)
    )  # twice around, so that nothing is cut at the edge
    front = pieces[balls.ROWS // 2, balls.COLUMNS // 2]
    behind = pieces[balls.ROWS // 2, balls.COLUMNS]
    assert len({0, front, behind}) == 3
    area = np.sqrt(1 - balls.directions()[..., 1] ** 2)
    around_behind = pieces[:, balls.COLUMNS // 2 : 3 * balls.COLUMNS // 2] == behind
    share = (np.roll(area, balls.COLUMNS // 2, axis=1) * around_behind).sum() / area.sum()
    assert share == pytest.approx((1 - (area * near).sum() / area.sum()) / 2, abs=0.01)


def test_tube_with_round_ends_reaches_one_radius_further() -> None:
    rod = tube(GREY, [(0, 0, 0), (0, 1, 0), (0, 2, 0)], 0.1, 16, round_ends=True)
    assert as_trimesh(rod).is_watertight
    assert rod.vertices[:, 1].min() == pytest.approx(-0.1, abs=0.01)
    assert rod.vertices[:, 1].max() == pytest.approx(2.1, abs=0.01)

"""The procedural builders and families: closed outward parts, variety, proportions, poses."""

from functools import cache

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.ndimage import label

from synthetic.shapes import balls, curves, sheet, textures
from synthetic.shapes.draw import Draw
from synthetic.shapes.families import soccer_ball
from synthetic.shapes.family import Model, build_model
from synthetic.shapes.library import FAMILIES
from synthetic.shapes.material import Material
from synthetic.shapes.normals import corner_normals
from synthetic.shapes.parts import Part, bar, box, lathe, loft, prism, sphere, sweep, torus, tube
from synthetic.shapes.vessels import vessel

GREY = Material("grey", (0.5, 0.5, 0.5))
BY_NAME = {family.name: family for family in FAMILIES}
SEEDS = 4
SQUARE = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], dtype=float)

TALL = {
    "acoustic guitar",
    "beacon",
    "candle",
    "church",
    "corn",
    "gas pump",
    "hourglass",
    "king penguin",
    "mailbox",
    "pineapple",
    "table lamp",
    "throne",
    "traffic light",
    "vase",
    "water tower",
    "wine bottle",
}
WIDE = {
    "banana",
    "cowboy hat",
    "dining table",
    "goldfish",
    "hotdog",
    "park bench",
    "snail",
    "sombrero",
    "studio couch",
    "teapot",
}
LONG = {"airliner", "cab", "school bus", "steam locomotive"}

every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@cache
def models(name: str) -> list[Model]:
    return [build_model(BY_NAME[name], 5, index) for index in range(SEEDS)]


def all_vertices(model: Model) -> np.ndarray:
    return np.concatenate([part.vertices for part in model.parts])


def as_trimesh(part: Part) -> trimesh.Trimesh:
    return trimesh.Trimesh(part.vertices, part.faces, process=False)


def made_of(model: Model, material: str) -> np.ndarray:
    """All vertices of the parts of one material."""
    return np.concatenate([part.vertices for part in model.parts if part.material.name.startswith(material)])


def first_hits(model: Model, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, ...]:
    """Which rays hit, the part they hit first, and the cosine between ray and face normal there."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    for part in model.parts:
        scene.add_triangles(
            o3d.core.Tensor(part.vertices.astype(np.float32)), o3d.core.Tensor(part.faces.astype(np.uint32))
        )
    rays = np.concatenate([origins, directions], axis=1).astype(np.float32)
    answer = scene.cast_rays(o3d.core.Tensor(rays))
    cosine = np.einsum("ij,ij->i", answer["primitive_normals"].numpy(), directions)
    return np.isfinite(answer["t_hit"].numpy()), answer["geometry_ids"].numpy(), cosine


# Builders


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
    lost = (
        4 * (cut**2 / 2) * (size - 2 * cut).sum() + 8 * (5 / 6) * cut**3
    )  # edges, then corners of cubes less their tips
    assert box(GREY, size, (3, 1, 2), cut).volume() == pytest.approx(size.prod() - lost, rel=1e-9)


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


# Families


@every_family
def test_family_has_closed_outward_parts(family) -> None:
    for model in models(family.name):
        assert sum(len(part.faces) for part in model.parts) <= 20_000
        for part in model.parts:
            mesh = as_trimesh(part)
            assert np.isfinite(part.vertices).all()
            assert np.isfinite(part.uv).all()
            assert mesh.is_watertight
            assert mesh.is_winding_consistent
            assert mesh.volume > 0


@every_family
def test_family_shows_only_front_faces_from_outside(family) -> None:
    rng = np.random.default_rng(0)
    for model in models(family.name):
        points = all_vertices(model)
        low, high = points.min(axis=0), points.max(axis=0)
        away = rng.standard_normal((1500, 3))
        origins = (low + high) / 2 + 2 * np.linalg.norm(high - low) * away / np.linalg.norm(
            away, axis=1, keepdims=True
        )
        hit, _, cosine = first_hits(model, origins, rng.uniform(low, high, (1500, 3)) - origins)
        assert hit.sum() > 100
        assert (cosine[hit] < 0).mean() > 0.998


@every_family
def test_family_seeds_differ_in_shape_and_colour(family) -> None:
    shapes = [np.ptp(all_vertices(model), axis=0) for model in models(family.name)]
    shapes = [extent / np.linalg.norm(extent) for extent in shapes]
    looks = [
        tuple(value for value in model.parameters.values() if isinstance(value, str))
        for model in models(family.name)
    ]
    assert max(np.abs(a - b).max() for a in shapes for b in shapes) > 0.01
    assert len(set(looks)) == SEEDS
    assert len(models(family.name)[0].parameters) >= 6


@every_family
def test_family_is_plausibly_proportioned(family) -> None:
    for model in models(family.name):
        x, y, z = np.ptp(all_vertices(model), axis=0)
        assert min(x, y, z) / max(x, y, z) > 0.1
        if family.name in TALL:
            assert y > 1.05 * max(x, z)
        if family.name in WIDE:
            assert x > 1.2 * y
        if family.name in LONG:
            assert z > 1.2 * y


@every_family
def test_family_writes_every_choice_down_once(family) -> None:
    class Once(dict):
        def __setitem__(self, key, value) -> None:
            assert key not in self, f"{key} was drawn twice"
            super().__setitem__(key, value)

    for index in range(12):
        draw = Draw(np.random.default_rng(index))
        draw.record = Once()
        family.build(draw)


@every_family
def test_family_has_no_surfaces_that_coincide(family) -> None:
    """Where two materials lie in one plane, the renderer picks either; seen from the front that must stay rare."""
    import open3d as o3d

    rng = np.random.default_rng(1)
    for model in models(family.name)[:2]:
        points = all_vertices(model)
        middle, size = (points.min(axis=0) + points.max(axis=0)) / 2, np.ptp(points, axis=0)
        scene = o3d.t.geometry.RaycastingScene()
        for part in model.parts:
            vertices = ((part.vertices - middle) / np.linalg.norm(size)).astype(np.float32)
            scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(part.faces.astype(np.uint32)))
        yaw, rise = rng.normal(0, 0.4, (2, 800))
        eye = 2 * np.stack([np.sin(yaw) * np.cos(rise), np.sin(rise), -np.cos(yaw) * np.cos(rise)], axis=1)
        aim = rng.uniform(-0.5, 0.5, (800, 3)) * size / np.linalg.norm(size) - eye
        aim /= np.linalg.norm(aim, axis=1, keepdims=True)
        found = scene.list_intersections(
            o3d.core.Tensor(np.concatenate([eye, aim], axis=1).astype(np.float32))
        )
        ray, t, part = (found[key].numpy() for key in ("ray_ids", "t_hit", "geometry_ids"))
        order = np.lexsort([t, ray])
        ray, t, part = ray[order], t[order], part[order]
        material = np.unique([id(p.material) for p in model.parts], return_inverse=True)[1][part]
        first = np.flatnonzero(np.diff(ray, prepend=-1))
        first = first[first + 1 < len(ray)]
        tied = (ray[first] == ray[first + 1]) & (t[first + 1] - t[first] < 1e-5)
        assert (tied & (material[first] != material[first + 1])).mean() < 0.01


@pytest.mark.parametrize("name", ["folding chair", "rocking chair", "park bench", "studio couch", "throne"])
def test_seat_faces_front_with_the_back_behind(name: str) -> None:
    for model in models(name):
        points = all_vertices(model)
        high = points[:, 1] > points[:, 1].min() + 0.9 * np.ptp(points[:, 1])
        assert points[high, 2].min() > 0.5 * (points[:, 2].min() + points[:, 2].max()) - 0.1
        assert points[high, 2].mean() > points[~high, 2].mean() + 0.05


@pytest.mark.parametrize("name", ["coffee mug", "bucket", "vase"])
def test_vessel_opens_upwards(name: str) -> None:
    for model in models(name):
        points = all_vertices(Model(model.family, 0, 0, {}, model.parts[:1]))
        height = np.ptp(points[:, 1])
        shell = Model(model.family, 0, 0, {}, model.parts[:1])
        up = np.array([[0.0, 1.0, 0.0]])
        middle = np.array([[0.0, points[:, 1].min() + 0.5 * height, 0.0]])
        assert not first_hits(shell, middle, up)[0][0]
        assert first_hits(shell, middle, -up)[0][0]


def test_side_features_point_the_same_way_in_every_model() -> None:
    for model in models("coffee mug"):
        assert made_of(model, "handle")[:, 0].min() > 0.2
    for model in models("teapot"):
        spout, handle = model.parts[1].vertices, model.parts[2].vertices
        assert spout[:, 0].max() < 0 < handle[:, 0].min()
    for model in models("mailbox"):
        assert made_of(model, "flag")[:, 0].min() > 0
        assert made_of(model, "door")[:, 2].max() < 0
    for model in models("gas pump"):
        assert made_of(model, "nozzle")[:, 0].min() > 0


@pytest.mark.parametrize(
    ("name", "before", "behind"),
    [
        ("airliner", "cockpit", "tail"),
        ("barn", "door", "roof"),
        ("cab", "headlamp", "tail"),
        ("castle", "portcullis", "stone"),
        ("church", "door", "roof"),
        ("king penguin", "bill", "plumage"),
        ("mosque", "opening", "dome"),
        ("piggy bank", "snout", "china"),
        ("school bus", "headlamp", "roof"),
        ("steam locomotive", "headlamp", "window"),
        ("teddy", "nose", "fur"),
    ],
)
def test_head_comes_before_the_tail(name: str, before: str, behind: str) -> None:
    for model in models(name):
        assert made_of(model, before)[:, 2].mean() < made_of(model, behind)[:, 2].mean() - 0.05


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [("goldfish", "pupil", "fin"), ("snail", "eye", "shell"), ("piggy bank", "snout", "china")],
)
def test_animals_in_profile_look_to_the_left_of_the_picture(name: str, left: str, right: str) -> None:
    for model in models(name):
        assert made_of(model, left)[:, 0].mean() > made_of(model, right)[:, 0].mean() + 0.1


@pytest.mark.parametrize(
    ("name", "upper", "lower"),
    [
        ("acorn", "cup", "nut"),
        ("cheeseburger", "sesame", "patty"),
        ("corn", "kernels", "husk"),
        ("daisy", "petal", "leaf"),
        ("drum", "skin", "shell"),
        ("pineapple", "leaf", "skin"),
        ("strawberry", "leaf", "flesh"),
    ],
)
def test_upper_parts_are_above_lower_ones(name: str, upper: str, lower: str) -> None:
    told = 0
    for model in models(name):
        names = [part.material.name for part in model.parts]
        if any(n.startswith(upper) for n in names) and any(n.startswith(lower) for n in names):
            assert made_of(model, upper)[:, 1].mean() > made_of(model, lower)[:, 1].mean()
            told += 1
    assert told > 0


def test_faces_and_labels_look_to_the_front() -> None:
    def seen_first(model: Model, x: float, y: float, side: float) -> str:
        hit, part, _ = first_hits(model, np.array([[x, y, 9.0 * side]]), np.array([[0.0, 0.0, -side]]))
        return model.parts[part[0]].material.name if hit[0] else ""

    for model in models("traffic light"):
        heights = [made_of(model, name)[:, 1].mean() for name in ("red", "amber", "green")]
        assert heights[0] > heights[1] > heights[2]
        assert [seen_first(model, 0, y, -1) for y in heights] == ["red", "amber", "green"]
        assert "red" not in [seen_first(model, 0, y, 1) for y in heights]
    for model in models("wine bottle"):
        y = made_of(model, "label")[:, 1].mean()
        assert (seen_first(model, 0, y, -1), seen_first(model, 0, y, 1)) == ("label", "glass")
    for model in models("bookcase"):
        middle = np.ptp(all_vertices(model)[:, 1]) / 2
        assert seen_first(model, 0.05, middle, 1) == "back"
        assert made_of(model, "book")[:, 2].mean() < 0
    for model in models("beacon"):
        assert made_of(model, "door")[:, 2].mean() < 0
    for name, part in (
        ("television", "screen"),
        ("washer", "glass"),
        ("wall clock", "face"),
        ("starfish", "skin"),
    ):
        for model in models(name):
            x, y, _ = made_of(model, part).mean(axis=0)
            y += 0.11 * (name == "wall clock")  # beside the axle
            assert seen_first(model, x, y, -1) in {part, "hand", "second", "knobs"}
            assert (seen_first(model, x, y, 1) == part) == (name == "starfish")


def picture(name: str, yaw: float = 0.0, elevation: float = 0.0) -> np.ndarray:
    return sheet.model_picture(models(name)[0], 48, yaw, elevation)


def centre(mask: np.ndarray) -> np.ndarray:
    """Mean (row, column) of the pixels where mask holds."""
    assert mask.any()
    return np.argwhere(mask).mean(axis=0)


def test_sheet_shows_models_upright_with_their_front_and_x_on_the_left() -> None:
    lights = picture("traffic light")
    red = (lights[..., 0] > 0.6) & (lights[..., 1] < 0.3)
    green = (lights[..., 1] > 0.45) & (lights[..., 0] < 0.3)
    assert centre(red)[0] < centre(green)[0] - 5
    mug = picture("coffee mug").min(axis=2) < 0.97
    assert centre(mug)[1] > 24.5  # its handle, at +X, reaches out to the left of the body
    np.testing.assert_allclose(lights[0], 1.0, atol=1e-9)


def test_sheet_camera_goes_where_its_angles_say() -> None:
    side = picture("mailbox", 1.2), picture("mailbox", -1.2)
    flags = [(p[..., 0] > 0.45) & (p[..., 1] < 0.25) & (p[..., 2] < 0.3) for p in side]
    assert flags[0].sum() > 3 * flags[1].sum()  # the flag is at +X, where yaw > 0 stands
    above, below = picture("drum", 0.0, 0.5), picture("drum", 0.0, -0.5)
    assert np.abs(above - below).mean() > 0.05


def test_sheet_is_written_whole_and_bad_input_is_one_line(tmp_path, capsys) -> None:
    out = tmp_path / "sheet.png"
    assert sheet.main([str(out), "--classes", "vase,mug", "--models", "2", "--tile", "24"]) == 0
    image = np.asarray(Image.open(out).convert("RGB"))
    assert image.shape == (42, 3 * 60, 3)
    assert [(image[18:, x : x + 24] < 240).any() for x in (0, 24, 60, 84, 120)] == [True] * 4 + [False]
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    for wrong in (["--tile", "3"], ["--classes", "xyzzy"]):
        assert sheet.main([str(out), *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1

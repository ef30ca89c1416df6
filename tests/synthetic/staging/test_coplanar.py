"""Faces that lie on each other, against pairs compared one with another and areas joined by shapely."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import shapely

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.shapes.family import build_model
from synthetic.shapes.library import FAMILIES
from synthetic.staging.coplanar import LIFT, separate_coplanar
from synthetic.staging.overlaps import NARROWEST
from synthetic.staging.surface import Material, Part, Surface, Texture, face_normals, merge
from tests.synthetic.small_library import environment

PLAIN, OTHER = Material("plain"), Material("other", (1, 0, 0))
WOOD = Material("wood", color_texture=Texture(Path("wood.png")))
LEAF, FERN = (
    Material(name, alpha="mask", color_texture=Texture(Path("leaf.png"))) for name in ("leaf", "fern")
)
MATERIALS = (PLAIN, OTHER, WOOD, LEAF, FERN)
CUBE = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
QUADS = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])


def part(positions: np.ndarray, triangles: np.ndarray, material: Material = PLAIN) -> Part:
    triangles = np.asarray(triangles, np.int64)
    count = np.full(len(triangles), MATERIALS.index(material), np.int32)
    marks = np.random.default_rng(len(triangles)).random((len(triangles), 3, 2)).astype(np.float32)
    return Part(np.asarray(positions, float), triangles, count, (marks,), np.repeat(marks, 2, axis=2), None)


def cut(quads: np.ndarray, diagonal: int = 0) -> np.ndarray:
    quads = np.roll(np.asarray(quads), diagonal, axis=1)
    return quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)


def sheet(x: float, y: float, width: float, height: float, cells: int = 1, diagonal: int = 0) -> tuple:
    """A rectangle in the plane z = 0, of cells × cells quads."""
    i, j = np.mgrid[: cells + 1, : cells + 1].reshape(2, -1)
    corners = np.column_stack([x + width * i / cells, y + height * j / cells, 0.0 * i])
    low = (np.mgrid[:cells, :cells] * [[[cells + 1]], [[1]]]).sum(axis=0).reshape(-1)
    return corners, cut(low[:, None] + [0, cells + 1, cells + 2, 1], diagonal)


BOX = part(CUBE, cut(QUADS))


def separated(*parts: Part) -> tuple[Surface, Counter[str]]:
    notes: Counter[str] = Counter()
    return separate_coplanar(merge(parts, MATERIALS), notes), notes


def overlapping(surface: Surface, apart: float = 1e-6) -> list[tuple[int, int]]:
    """Pairs of triangles in one plane with an area in common, all compared with all."""
    corners = surface.positions[surface.triangles]
    normals, found = face_normals(surface.positions, surface.triangles), []
    for one, other in combinations(range(len(corners)), 2):
        normal, origin = normals[one], corners[one, 0]
        if np.abs((corners[other] - origin) @ normal).max() < apart:
            along = corners[one, 1] - origin
            along /= np.linalg.norm(along)
            axes = np.stack([along, np.cross(normal, along)])
            a, b = (shapely.Polygon((corners[k] - origin) @ axes.T) for k in (one, other))
            common = a.intersection(b)
            if common.area > 2 * NARROWEST * max(common.length, 1e-3):
                found.append((one, other))
    return found


def covered(surface: Surface) -> float:
    """The area of all that is seen of the plane z = 0 and what was lifted from it."""
    flat = np.abs(surface.positions[surface.triangles][..., 2]).max(axis=1) < 1e-2
    outlines = surface.positions[surface.triangles[flat]][..., :2]
    return float(shapely.union_all(shapely.polygons(outlines)).area)


def test_a_surface_without_overlaps_is_given_back_as_it_is() -> None:
    box = merge([BOX, replace(BOX, positions=CUBE + 3)], MATERIALS)
    notes: Counter[str] = Counter()
    assert separate_coplanar(box, notes) is box
    assert not notes


@pytest.mark.parametrize("own", [False, True], ids=["shared vertices", "own vertices"])
@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("flip", [False, True], ids=["same winding", "other winding"])
@pytest.mark.parametrize("material", [PLAIN, OTHER])
def test_of_triangles_with_the_same_corners_the_first_stays(
    own: bool, turn: int, flip: bool, material: Material
) -> None:
    copies = np.roll(cut(QUADS), turn, axis=1)[::-1]
    copies = copies[:, ::-1] if flip else copies
    if own:
        surface, notes = separated(
            BOX, part(CUBE[copies].reshape(-1, 3), np.arange(36).reshape(-1, 3), material)
        )
    else:
        both = part(CUBE, np.concatenate([cut(QUADS), copies]))
        index = MATERIALS.index(material)
        surface, notes = separated(replace(both, material=np.repeat([0, index], 12).astype(np.int32)))
    assert notes == {"doubled faces dropped": 12}
    np.testing.assert_array_equal(surface.positions[surface.triangles], CUBE[cut(QUADS)])
    assert (surface.material == 0).all()


def test_of_doubles_the_textured_one_stays_with_what_belongs_to_it() -> None:
    wood = part(CUBE, cut(QUADS)[:, ::-1], WOOD)
    surface, notes = separated(BOX, wood, BOX)
    assert notes == {"doubled faces dropped": 24}
    assert {surface.materials[m] for m in surface.material} == {WOOD}
    np.testing.assert_array_equal(surface.positions[surface.triangles], CUBE[wood.triangles])
    np.testing.assert_array_equal(surface.uvs[0], wood.uvs[0])
    assert (surface.part == 1).all()


def test_noise_of_single_precision_makes_no_difference() -> None:
    random = np.random.default_rng(0)
    place = np.linalg.qr(random.normal(size=(3, 3)))[0]
    box = replace(BOX, positions=CUBE @ place)
    noisy = replace(
        box, positions=(box.positions + random.normal(size=(8, 3)) * 1e-7).astype(np.float32).astype(float)
    )
    surface, notes = separated(box, noisy)
    assert notes == {"doubled faces dropped": 12}
    assert len(surface) == 12


@pytest.mark.parametrize("material", [PLAIN, OTHER, WOOD])
def test_doubles_with_the_other_diagonal_are_dropped(material: Material) -> None:
    other = part(CUBE, cut(QUADS, 1)[:, ::-1], material)
    surface, notes = separated(BOX, other)
    assert notes == {"doubled faces dropped": 12}
    kept = other if material is WOOD else BOX
    np.testing.assert_array_equal(surface.positions[surface.triangles], CUBE[kept.triangles])


@pytest.mark.parametrize(("cells", "others"), [(1, 4), (4, 1), (4, 4), (6, 3), (5, 3)])
def test_doubles_cut_up_otherwise_are_dropped(cells: int, others: int) -> None:
    one, other = sheet(0, 0, 1, 2, cells), sheet(0, 0, 1, 2, others, 1)
    surface, notes = separated(part(*one), part(*other))
    assert notes == {"doubled faces dropped": 2 * others**2}
    assert covered(surface) == pytest.approx(2)
    both = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1] + len(one[0])])
    surface, notes = separated(part(*both))  # of one object
    assert notes == {"doubled faces dropped": 2 * others**2}
    assert not overlapping(surface)


def test_labels_are_raised_on_both_sides_and_keep_what_belongs_to_them() -> None:
    base, label = part(*sheet(0, 0, 3, 4)), part(*sheet(1, 1, 1, 1, 2), WOOD)
    surface, notes = separated(base, label)
    assert notes == {"faces lying in others raised": 8}
    assert len(surface) == 2 + 16
    corners, lift = surface.positions[surface.triangles], LIFT * 5
    raised = np.abs(corners[..., 2]).min(axis=1) > 0
    assert {surface.materials[m] for m in surface.material[raised]} == {WOOD}
    for side in (-1, 1):
        here = raised & (np.sign(corners[:, 0, 2]) == side)
        np.testing.assert_allclose(corners[here][..., 2], side * lift)
        np.testing.assert_allclose(corners[here][..., :2], label.positions[label.triangles][..., :2])
        np.testing.assert_array_equal(surface.uvs[0][here], label.uvs[0])
        np.testing.assert_array_equal(surface.colors[here], label.colors)
        assert (surface.part[here] == 1).all()
    np.testing.assert_array_equal(corners[~raised], base.positions[base.triangles])


def test_labels_on_labels_lie_in_layers_and_neighbours_share_one() -> None:
    surface, notes = separated(
        part(*sheet(2, 2, 1, 1), OTHER),
        part(*sheet(0, 0, 10, 10)),
        part(*sheet(1, 1, 3, 3), WOOD),
        part(*sheet(6, 6, 2, 2), WOOD),
    )
    assert notes == {"faces lying in others raised": 6}
    height = np.abs(surface.positions[surface.triangles][:, 0, 2])
    layer = np.rint(height / (LIFT * np.sqrt(200)))
    assert [set(layer[surface.part == number]) for number in range(4)] == [{2}, {0}, {1}, {1}]


def test_a_label_lies_above_the_label_that_bears_it_wherever_that_ends() -> None:
    base, above = part(*sheet(0, 0, 10, 10)), part(*sheet(8, 2, 6, 6), WOOD)
    top = part(*sheet(10.5, 3, 3, 3), OTHER)  # beside the base
    aside = part(*sheet(13.5, 3, 3, 3), OTHER)
    surface, _ = separated(base, above, top, aside)
    height = np.abs(surface.positions[surface.triangles][:, 0, 2])
    unit = height[surface.part == 1][0]
    assert [set(np.rint(height[surface.part == k] / unit)) for k in range(4)] == [{0}, {1}, {2}, {0}]


def test_a_sheet_that_overlaps_itself_is_taken_apart() -> None:
    turns = np.arange(14) * np.pi / 4
    rim = np.column_stack([np.cos(turns), np.sin(turns), 0 * turns]) * np.linspace(1, 1.3, 14)[:, None]
    spiral = part(np.concatenate([[[0, 0, 0]], rim]), [[0, k, k + 1] for k in range(1, 14)])
    before = merge([spiral], MATERIALS)
    assert overlapping(before)
    surface, _ = separated(spiral)
    assert not overlapping(surface)
    assert covered(surface) == pytest.approx(covered(before))


@pytest.mark.parametrize("normal", [(1, 1, 0), (1, 0, -1), (1, 1, 1), (0, 0, 1), (-1, 1, 1)])
def test_small_labels_are_found_anywhere_on_a_plane_that_faces_several_axes(normal: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    across = np.cross(normal, random.normal(size=3))
    axes = np.stack([across, np.cross(normal, across), normal])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    parts = []
    for z in random.random(40):
        labels = [
            part(*sheet(x, y, 0.006, 0.006), WOOD) for x, y in random.integers(0, 2, (3, 2)) * 0.9 + 0.05
        ]
        for one in (part(*sheet(0, 0, 1, 1)), *labels[: 1 + int(40 * z) % 3]):
            noise = random.uniform(-2e-7, 2e-7, one.positions.shape)
            parts.append(replace(one, positions=(one.positions + np.array([0, 0, z])) @ axes + noise))
    _, notes = separated(*parts)
    assert notes["faces lying in others raised"] + notes["doubled faces dropped"] == 2 * len(parts) - 80


def test_cut_faces_hide_nothing_and_lie_above_what_shows_through() -> None:
    leaf = part(*sheet(0, 0, 1, 1), LEAF)
    surface, notes = separated(leaf, part(*sheet(0, 0, 1, 1)))
    assert notes == {"faces lying in others raised": 2}
    assert (np.abs(surface.positions[surface.triangles[surface.part == 0]][..., 2]) > 0).all()
    surface, notes = separated(leaf, part(*sheet(0, 0, 1, 1, diagonal=1), FERN))
    assert notes == {"faces lying in others raised": 2}
    assert separated(leaf, leaf)[1] == {"doubled faces dropped": 2}


def test_faces_that_only_touch_or_cross_or_lie_behind_each_other_stay() -> None:
    flat = part(*sheet(0, 0, 1, 1, 3))
    beside = part(*sheet(1, 0.1, 1, 1, 4))
    behind = replace(flat, positions=flat.positions - [0, 0, 1e-4])
    across = replace(flat, positions=flat.positions[:, [0, 2, 1]] + [0, 0.5, -0.5])
    for other in (beside, behind, across):
        assert not separated(flat, other)[1]


def test_small_triangles_in_all_directions_stay() -> None:
    random = np.random.default_rng(0)
    corners = random.random((20_000, 1, 3)) + 0.01 * random.normal(size=(20_000, 3, 3))
    assert not separated(part(corners.reshape(-1, 3), np.arange(60_000).reshape(-1, 3)))[1]


def random_parts(random: np.random.Generator) -> list[Part]:
    """Sheets of one plane: doubled, cut up otherwise, on each other, beside each other, in any winding."""
    parts = []
    for _ in range(random.integers(2, 7)):
        x, y, width, height = random.integers(1, 9, 4) / random.choice([1, 1, 3])
        corners, triangles = sheet(x, y, width, height, random.integers(1, 4), random.integers(2))
        if random.random() < 0.3:
            corners, triangles = corners[triangles].reshape(-1, 3), np.arange(triangles.size).reshape(-1, 3)
        triangles = np.where(random.random(len(triangles))[:, None] < 0.3, triangles[:, ::-1], triangles)
        kind = MATERIALS[random.integers(3)]
        parts.append(part(corners, triangles, kind))
        while random.random() < 0.4:
            again = sheet(x, y, width, height, random.integers(1, 4), random.integers(2))
            parts.append(part(*again, MATERIALS[random.integers(3)]))
    return parts


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_no_overlap_is_left_the_same_is_covered_and_once_is_enough(seed: int) -> None:
    random = np.random.default_rng(seed)
    flat = random_parts(random)
    before = merge(flat, MATERIALS)
    after, notes = separated(*flat)
    assert not overlapping(after)
    assert covered(after) == pytest.approx(covered(before), rel=1e-9)
    again: Counter[str] = Counter()
    assert separate_coplanar(after, again) is after
    assert not again
    assert len(after) == len(before) - notes["doubled faces dropped"] + notes["faces lying in others raised"]

    place, shift = np.linalg.qr(random.normal(size=(3, 3)))[0], random.normal(size=3)
    turned = [
        replace(one, positions=(one.positions @ place * 0.05 + shift * 0.1).astype(np.float32).astype(float))
        for one in flat
    ]
    after, turned_notes = separated(*turned)
    assert not overlapping(after)
    assert turned_notes == notes


def test_shared_meshes_of_two_sheets_are_told_apart_however_they_are_mixed() -> None:
    one, other = sheet(0, 0, 1, 1, 6), sheet(0, 0, 1, 1, 6, 1)
    mixed = np.stack([one[1], other[1]], axis=1).reshape(-1, 3)
    surface, _ = separated(part(one[0], mixed))
    assert not overlapping(surface)
    assert covered(surface) == pytest.approx(1)


@pytest.mark.slow
def test_piles_are_sorted_out_in_bounded_space() -> None:
    surface, notes = separated(*[part(*sheet(0, 0, 1, 1)) for _ in range(10_000)])
    assert notes == {"doubled faces dropped": 19_998}
    assert len(surface) == 2
    turns = np.linspace(0, 1, 60)
    fan = [part(*sheet(turn, turn / 2, 2 - turn, 1)) for turn in turns]
    surface, notes = separated(*fan)
    assert notes["faces above 32 others in one plane dropped"] == 2 * 27
    assert not overlapping(surface)
    random = np.random.default_rng(0)
    heap = np.column_stack([random.random((8_100, 2)), np.zeros(8_100)])
    with pytest.raises(BrokenModelError, match="lie on each other"):
        separated(part(heap, np.arange(8_100).reshape(-1, 3)))


@pytest.mark.slow
def test_large_grids_take_seconds() -> None:
    cells = 150
    grid = part(*sheet(0, 0, 1, 1, cells))
    begin = time.process_time()
    assert not separated(grid)[1]
    assert time.process_time() - begin < 10
    _, notes = separated(grid, part(*sheet(0.2, 0.2, 0.1, 0.1), WOOD))
    assert notes == {"faces lying in others raised": 2}


@pytest.mark.blender
@pytest.mark.slow
def test_cycles_draws_black_what_lies_on_each_other_and_white_what_is_made_separate(tmp_path: Path) -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("Blender as a module, bpy, is not installed")
    script = [sys.executable, "-m", "tests.synthetic.staging.coplanar_render", tmp_path]
    subprocess.run(
        script, env=environment(tmp_path / "scratch"), check=True, capture_output=True, timeout=300
    )
    shares = json.loads((tmp_path / "dark.json").read_text())
    assert len(shares) == 6
    for name, (before, after) in shares.items():
        assert before > 0.04, name
        assert after == 0, name


@pytest.mark.timing
def test_usual_models_take_milliseconds() -> None:
    surfaces = []
    for family in FAMILIES[::8]:
        parts = [
            Part(p.vertices, p.faces.astype(np.int64), np.zeros(len(p.faces), np.int32))
            for p in build_model(family, 0, 0).parts
        ]
        surfaces.append(merge(parts, (PLAIN,)))
    for surface in surfaces:
        separate_coplanar(surface, Counter())
    begin = time.process_time()
    for surface in surfaces:
        separate_coplanar(surface, Counter())
    assert (time.process_time() - begin) / len(surfaces) < 0.02

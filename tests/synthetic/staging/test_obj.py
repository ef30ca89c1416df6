"""OBJ files: numbers, faces, normals, objects, spellings. The numbers also against a second reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.polygons import winding_sides
from synthetic.staging.wavefront import statements
from tests.synthetic.small_library import REPOSITORY
from tests.synthetic.staging.plain_files import LENIENT, TRIANGLE, corners, obj, only, read, read_file

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
EXACT = ["0.1", "1e-3", "-2.5E+02", "+7", ".5", "3.", "0.123456789012345678", "-0.000000119209289551"]


def area(model: object) -> float:
    """The sum of the areas of triangles."""
    places = corners(model)  # type: ignore[arg-type]
    return float(
        np.linalg.norm(np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]), axis=1).sum() / 2
    )


def test_numbers_are_read_to_the_last_bit_of_float64(tmp_path: Path) -> None:
    text = "".join(
        f"v {x} {y} {z}\n" for x, y, z in zip(EXACT, EXACT[1:] + EXACT, EXACT[2:] + EXACT, strict=False)
    )
    model = obj(tmp_path, text + "f 1 2 3\nf 4 5 6\nf 6 7 8\n")
    expected = [[float(word) for word in line.split()[1:]] for line in text.splitlines()]
    np.testing.assert_array_equal(only(model).positions, expected)


@pytest.mark.parametrize("chunk", [64, 2**22])
@pytest.mark.parametrize("form", ["{v}", "{v}/{t}", "{v}//{n}", "{v}/{t}/{n}", "mixed"])
@pytest.mark.parametrize("backwards", [False, True])
def test_every_form_of_corners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, form: str, backwards: bool
) -> None:
    """Against the same triangles written in the simplest form, also where they cross the border of chunks."""
    monkeypatch.setattr(statements, "_CHUNK", chunk)
    rng = np.random.default_rng(5)
    places, uvs, normals = rng.normal(size=(30, 3)), rng.normal(size=(20, 2)), rng.normal(size=(25, 3))
    lines, truth = ["mtllib m.mtl"], []
    known = np.zeros(3, int)
    for face in range(40):
        while (known < np.minimum((face + 1) * 3, (30, 20, 25))).any():  # vertices stand among the faces
            for kind, table in enumerate((places, uvs, normals)):
                if known[kind] < min((face + 1) * 3, len(table)):
                    lines.append(
                        f"{('v', 'vt', 'vn')[kind]} " + " ".join(map(repr, table[known[kind]].tolist()))
                    )
                    known[kind] += 1
        lines.append(f"usemtl {'ab'[face % 2]}")
        chosen = rng.integers(0, known, size=(3 + face % 2, 3))
        offset = known if backwards else -1
        shape = form if form != "mixed" else ["{v}", "{v}/{t}", "{v}//{n}", "{v}/{t}/{n}"][face % 4]
        words = [shape.format(v=v, t=t, n=n) for v, t, n in (chosen - offset).tolist()]
        lines.append("f  " + " \t".join(words) + " ")
        truth.append((chosen, shape))
    model = obj(tmp_path, "\n".join(lines), "newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 1 0\n")
    assert model.faces == 40
    part = only(model)
    fans = [(face, corner) for face, (chosen, _) in enumerate(truth) for corner in range(len(chosen) - 2)]
    assert len(part.triangles) == len(fans)
    for triangle, (face, _) in enumerate(fans):
        chosen, shape = truth[face]
        four = len(chosen) == 4
        got = part.positions[part.triangles[triangle]]
        if not four:
            np.testing.assert_array_equal(got, places[chosen[:, 0]])
        assert {tuple(row) for row in got.tolist()} <= {tuple(row) for row in places[chosen[:, 0]].tolist()}
        assert model.materials[part.material[triangle]].name == "ab"[face % 2]
        if "{n}" in shape and not four:
            assert part.normals is not None
            unit = normals[chosen[:, 2]] / np.linalg.norm(normals[chosen[:, 2]], axis=1, keepdims=True)
            np.testing.assert_allclose(part.normals[triangle], unit, atol=1e-6)


@pytest.mark.slow
def test_real_models_have_the_triangles_that_a_second_reader_finds() -> None:
    """All but for the texture coordinates, which trimesh splits vertices by."""
    paths = sorted((REPOSITORY.parent / "shared/data/meshes").glob("*/*/models/*.obj"))[::80]
    if not paths:
        pytest.skip("the shared models are not at hand")
    for path in paths:
        model = read_file(path, LENIENT, root=path.parent.parent)
        other = trimesh.load(path, process=False, force="mesh", skip_materials=True)
        assert len(corners(model)) == model.faces
        np.testing.assert_allclose(
            np.sort(corners(model), axis=0), np.sort(other.triangles, axis=0), atol=1e-9
        )


def test_concave_polygons_are_cut_inside(tmp_path: Path) -> None:
    """An arrow, an L and a star, each in a plane of its own, and a quad that is concave at each of its corners."""
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    star = [
        (r * np.cos(a), r * np.sin(a)) for r, a in zip([1, 0.4] * 5, np.arange(10) * np.pi / 5, strict=True)
    ]
    shapes = [
        [(0, 0), (2, 0), (2, 1), (1, 1), (1, 3), (0, 3)],
        star,
        [(0, 0), (4, 0), (2, 1), (4, 2), (0, 2)],
    ]
    quad = [(0, 0), (4, 1), (0, 2), (1, 1)]
    shapes += [quad[k:] + quad[:k] for k in range(4)]
    for shape in shapes:
        flat = np.array(shape, float)
        x, y = flat.T
        expected = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
        for order in (flat, flat[::-1]):
            places = np.insert(order, 2, 0.0, axis=1) @ turn
            text = "".join(f"v {a!r} {b!r} {c!r}\n" for a, b, c in places.tolist())
            model = obj(tmp_path, f"{text}f {' '.join(str(1 + k) for k in range(len(shape)))}\n")
            assert len(corners(model)) == len(shape) - 2
            assert area(model) == pytest.approx(expected, rel=1e-9)
            found = np.cross(
                corners(model)[:, 1] - corners(model)[:, 0], corners(model)[:, 2] - corners(model)[:, 0]
            )
            assert (found @ found[0] > -1e-12).all()  # one winding
            whole = np.cross(places, np.roll(places, -1, axis=0)).sum(axis=0)
            assert found.sum(axis=0) @ whole > 0  # that of the polygon


def test_a_corner_written_twice_hides_no_bend(tmp_path: Path) -> None:
    shape = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 1), (1, 3), (0, 3)]
    for first in range(len(shape)):
        order = shape[first:] + shape[:first]
        text = "".join(f"v {x} {y} 0\n" for x, y in order)
        assert area(obj(tmp_path, f"{text}f 1 2 3 4 5 6 7\n")) == pytest.approx(4)


def test_convex_polygons_become_fans_and_quads_are_cut_from_the_first_corner(tmp_path: Path) -> None:
    assert only(obj(tmp_path, SQUARE + "f 1 2 3 4\n")).triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    angles = np.arange(7) * 2 * np.pi / 7
    text = "".join(f"v {np.cos(a)} {np.sin(a)} 1\n" for a in angles)
    fan = [[0, k, k + 1] for k in range(1, 6)]
    assert only(obj(tmp_path, text + "f 1 2 3 4 5 6 7\n")).triangles.tolist() == fan


def test_polygons_that_would_take_for_ever_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    text = "".join(f"v {x:.6f} {y:.6f} 0\n" for x, y in rng.normal(size=(70000, 2)).tolist())
    with pytest.raises(BrokenModelError, match="70000 corners that are too intricate"):
        obj(tmp_path, f"{text}f {' '.join(map(str, range(1, 70001)))}\n")
    circle = "".join(f"v {np.cos(a)} {np.sin(a)} 0\n" for a in np.arange(70000) * 2 * np.pi / 70000)
    assert len(corners(obj(tmp_path, f"{circle}f {' '.join(map(str, range(1, 70001)))}\n"))) == 69998


def test_files_of_other_programs(tmp_path: Path) -> None:
    """Line breaks, blanks, comments, byte order mark, continued lines, fourth coordinates: the same triangle."""
    plain = obj(tmp_path, TRIANGLE + "f 1 2 3\n")
    for text in (
        (TRIANGLE + "f 1 2 3\n").replace("\n", "\r\n"),
        (TRIANGLE + "f 1 2 3\n").replace("\n", "\r"),
        "\ufeff" + TRIANGLE + "f 1 2 3",
        (TRIANGLE + "f 1 2 3\n").replace(" ", "\t "),
        "# a comment\n\n" + TRIANGLE.replace("v ", "  v ") + "\tf 1 2 3 # of the first\n",
        TRIANGLE.replace("v 1 0 0", "v 1 \\\n0 \\\r\n 0") + "f 1 \\\n2 3\n",
        TRIANGLE.replace("v 0 1 0", "v 0 1 0 1.0") + "f 1 2 3\n",
        TRIANGLE + "vp 0.1 0.2\nend\nbevel on\nlod 3\nf 1 2 3\nfo 1 2\nvx 3\n",
        TRIANGLE.replace("v 1 0 0", "v 1 0 0 # one") + "f 1// 2/ 3\n",
    ):
        model = obj(tmp_path, text)
        np.testing.assert_array_equal(corners(model), corners(plain))
        assert not model.notes


def test_what_is_no_surface_is_counted(tmp_path: Path) -> None:
    text = "l 1 2\nl 2 3\np 1\ncurv 0 1 1 2\nsurf 0 1 0 1 1 2\ncall ../evil.obj\ncsh -rm everything\nf 1 2\nf 1 2 3\n"
    assert obj(tmp_path, TRIANGLE + text).notes == {
        "lines ignored": 2,
        "points ignored": 1,
        "free-form curves and surfaces ignored": 2,
        "commands ignored": 2,
        "faces with fewer than 3 corners dropped": 1,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("f 1 2 3\n", "no vertices"),
        (TRIANGLE, "no faces"),
        (TRIANGLE + "f 1 2\nf 1\n", "no faces"),
        (TRIANGLE + "f \nf  # 1 2 3\n", "no faces"),
        (TRIANGLE + "f 1 2 4\n", "none of its 3 vertices"),
        (TRIANGLE + "f 1 2 -4\n", "none of its 3 vertices"),
        (TRIANGLE + "f 0 1 2\n", "count from 1"),
        (TRIANGLE + "f 1 2 3.5\n", "no numbers"),
        (TRIANGLE + "f 1 2 3/1/1/1\n", "no numbers"),
        (TRIANGLE + "f 1 2 99999999999999999999\n", "no numbers"),
        (TRIANGLE + "v nan 0 0\nf 1 2 3\n", "not finite"),
        (TRIANGLE + "v 0 inf 0\nf 1 2 3\n", "not finite"),
        (TRIANGLE + "v 0 1e999 0\nf 1 2 3\n", "not finite"),
        (TRIANGLE + "v 0 1.#IND 0\nf 1 2 3\n", "not finite or no number"),
        (TRIANGLE + "v 0 0,5 0\nf 1 2 3\n", "no number"),
        (TRIANGLE + "v 0 1\nf 1 2 3\n", "fewer than three"),
    ],
)
def test_broken_files_are_refused_in_a_sentence(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BrokenModelError, match=reason) as caught:
        obj(tmp_path, text)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(BrokenModelError, match="UTF-16"):
        read(tmp_path, {"m.obj": (TRIANGLE + "f 1 2 3\n").encode(encoding)})
    with pytest.raises(BrokenModelError, match=r"m\.mtl is UTF-16"):
        read(
            tmp_path,
            {"m.obj": f"mtllib m.mtl\n{TRIANGLE}usemtl m\nf 1 2 3\n", "m.mtl": "newmtl m".encode(encoding)},
        )


def test_normals_of_the_file_are_kept_and_made_unit(tmp_path: Path) -> None:
    model = obj(tmp_path, TRIANGLE + "vn 0 0 9\nvn 3 0 4\nf 1//1 2//2 3//1\n")
    np.testing.assert_allclose(only(model).normals, [[[0, 0, 1], [0.6, 0, 0.8], [0, 0, 1]]], atol=1e-6)


@pytest.mark.parametrize("vector", ["nan nan nan", "-nan(ind) 0 1", "0 0 0", "inf 0 0"])
def test_normals_that_are_none_give_way_to_the_plane(tmp_path: Path, vector: str) -> None:
    text = f"{TRIANGLE}vn {vector}\nvn 1 0 0\n"
    assert only(obj(tmp_path, text + "f 1//1 2//1 3//1\n")).normals is None
    normals = only(obj(tmp_path, text + "f 1//1 2//1 3//1\nf 1//2 2//2 3//2\nf 1//7 2//2 3//2\n")).normals
    assert normals is not None
    np.testing.assert_allclose(normals[:, 0], [[0, 0, 1], [1, 0, 0], [0, 0, 1]])


def test_smoothing_groups_have_the_normals_between_their_faces(tmp_path: Path) -> None:
    """A ridge of two faces at a right angle: smooth in one group, flat in two, off, or without a statement."""
    ridge = "v 0 0 0\nv 0 0 1\nv 1 0 0\nv 0 1 0\n"
    for groups, smooth in (
        (("1", "1"), True),
        (("1", "2"), False),
        (("off", "off"), False),
        (("0", "0"), False),
    ):
        model = obj(tmp_path, f"{ridge}s {groups[0]}\nf 1 2 3\ns {groups[1]}\nf 1 4 2\n")
        if not smooth and groups[0] != "1":
            assert only(model).normals is None
            continue
        normals = only(model).normals
        assert normals is not None
        edge = normals[0, :2]  # at the vertices of both faces, whose angles there are equal
        np.testing.assert_allclose(
            edge, [[0.5**0.5, 0.5**0.5, 0]] * 2 if smooth else [[0, 1, 0]] * 2, atol=1e-6
        )
        np.testing.assert_allclose(normals[0, 2], [0, 1, 0], atol=1e-6)
    assert only(obj(tmp_path, f"{ridge}f 1 2 3\nf 1 4 2\n")).normals is None


def test_smooth_normals_weigh_faces_by_their_angles_however_they_are_cut(tmp_path: Path) -> None:
    """The corner of a cube has the same normal whether its sides are squares or some are cut in two."""
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 0 1 1\ns 1\n"
    normals = only(obj(tmp_path, text + "f 1 4 3 2\nf 2 6 5 1\nf 5 7 4 1\n")).normals
    assert normals is not None
    np.testing.assert_allclose(normals[0, 0], [-(3**-0.5)] * 3, atol=1e-6)


def test_faces_that_are_wound_against_each_other_do_not_cancel_their_normals(tmp_path: Path) -> None:
    """Two balls of which half of the faces are turned over: normals point out or, of those, straight in."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    centres = np.array([[0.0, 0, 0], [5, 0, 0]])
    lines = [f"v {x} {y} {z}" for centre in centres for x, y, z in ball.vertices + centre]
    turned = np.random.default_rng(0).random(2 * len(ball.faces)) < 0.5
    faces = np.concatenate([ball.faces, ball.faces + len(ball.vertices)])
    faces = np.where(turned[:, None], faces[:, ::-1], faces)
    lines += ["s 1", *(f"f {a} {b} {c}" for a, b, c in faces + 1)]
    part = only(obj(tmp_path, "\n".join(lines) + "\n"))
    assert part.normals is not None
    centre = np.repeat(centres, len(ball.faces), axis=0)
    outward = part.positions[part.triangles] - centre[:, None]
    cosine = (part.normals * outward).sum(axis=-1)
    np.testing.assert_allclose(cosine, np.where(turned, -1, 1)[:, None].repeat(3, axis=1), atol=0.01)


def test_what_cannot_be_wound_alike_is_left_as_it_is() -> None:
    """A strip with half a turn in it; three triangles at one edge; nothing."""
    count = 9
    low, high = np.arange(count), np.arange(count) + count
    strip = [[low[i], low[i + 1], high[i]] for i in range(count - 1)]
    strip += [[high[i], low[i + 1], high[i + 1]] for i in range(count - 1)]
    assert (winding_sides(np.array(strip)) == 1).all()
    moebius = [*strip, [low[-1], high[0], high[-1]], [high[-1], high[0], low[0]]]
    assert (winding_sides(np.array(moebius)) == 1).all()
    assert (winding_sides(np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])) == 1).all()
    assert winding_sides(np.array([[0, 1, 2], [0, 1, 3]])).tolist() == [1, -1]
    assert len(winding_sides(np.empty((0, 3), np.int64))) == 0


def test_objects_have_their_names(tmp_path: Path) -> None:
    text = SQUARE + "o left wing\nf 1 2 3\no café\nf 1 3 4\no left wing\nf 2 3 4\n"
    for raw in (text.encode(), text.encode("latin-1")):
        model = read(tmp_path, {"m.obj": raw})
        assert [(part.object, len(part.triangles)) for part in model.parts] == [("left wing", 2), ("café", 1)]
        assert sorted(map(tuple, corners(model).reshape(-1, 9).tolist())) == sorted(
            map(tuple, corners(obj(tmp_path, text.replace("o ", "# "))).reshape(-1, 9).tolist())
        )
    assert only(obj(tmp_path, "o only\n" + TRIANGLE + "f 1 2 3\n")).object == "only"
    many = "".join(f"o {k}\nf 1 2 3\n" for k in range(1000))
    assert len(obj(tmp_path, TRIANGLE + many).parts) == 1


def test_more_faces_than_allowed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenModelError, match="3 faces, more than the 2 allowed"):
        read(tmp_path, {"m.obj": TRIANGLE + "f 1 2 3\n f 1 2 3\nf 1 2 3\n"}, max_faces=2)

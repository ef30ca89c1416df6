"""PLY files of all kinds, against a second reader and by hand."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import plyfile
import pytest

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.ply.elements import read_header, read_rows
from synthetic.staging.surface import ReadModel
from tests.synthetic.staging.plain_files import LENIENT, STRICT, assert_seen_alike, corners, only, png, read

FORMATS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    "uchar": "B",
    "ushort": "H",
    "int": "i",
    "float": "f",
    "double": "d",
    "char": "b",
    "short": "h",
    "uint": "I",
}
SQUARE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
QUAD = [([0, 1, 2, 3],)]
XYZ = ("float x", "float y", "float z")
FACE = ("list uchar int vertex_indices",)

Rows = list[tuple[Any, ...]]


def ply(form: str, *elements: tuple[str, tuple[str, ...], Rows], comments: tuple[str, ...] = ()) -> bytes:
    """A file of elements: name, properties as in the header, rows; lists are lists."""
    head, body = [f"ply\nformat {form} 1.0"], b""
    head += [f"comment {comment}" for comment in comments]
    for name, properties, rows in elements:
        head += [f"element {name} {len(rows)}", *(f"property {item}" for item in properties)]
        for row in rows:
            words = []
            for item, value in zip(properties, row, strict=True):
                kinds = item.split()
                counted = (
                    [(kinds[1], len(value)), *((kinds[2], each) for each in value)]
                    if kinds[0] == "list"
                    else []
                )
                words += counted or [(kinds[0], value)]
            if form == "ascii":
                body += (" ".join(repr(value) for _, value in words) + "\n").encode()
            else:
                order = FORMATS[form]
                body += b"".join(struct.pack(order + TYPES[kind], value) for kind, value in words)
    return "\n".join([*head, "end_header\n"]).encode() + body


def square(
    folder: Path,
    extra: tuple[str, ...] = (),
    values: Rows | None = None,
    form: str = "ascii",
    faces: tuple[tuple[str, ...], Rows] = (FACE, QUAD),
    more: tuple[tuple[str, tuple[str, ...], Rows], ...] = (),
    comments: tuple[str, ...] = (),
    lenient: bool = False,
    **pictures: bytes,
) -> ReadModel:
    """A square whose vertices have more properties."""
    rows = [(*place, *value) for place, value in zip(SQUARE, values or [()] * 4, strict=True)]
    content = ply(form, ("vertex", XYZ + extra, rows), ("face", *faces), *more, comments=comments)
    files = {"m.ply": content, **{f"{name}.png": picture for name, picture in pictures.items()}}
    return read(folder, files, LENIENT if lenient else STRICT)


@pytest.mark.filterwarnings("ignore:loadtxt")  # of plyfile, about lists of no values
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("regular", [True, False])
def test_all_values_are_those_of_a_second_reader(form: str, regular: bool) -> None:
    rng = np.random.default_rng(3)
    vertices = [
        (*rng.normal(size=3).tolist(), int(rng.integers(-9, 9)), int(rng.integers(256))) for _ in range(50)
    ]
    faces: Rows = []
    for row in range(40):
        count = 4 if regular else int(rng.integers(0, 7))
        faces.append(
            (row - 20, rng.integers(0, 50, count).tolist(), rng.normal(size=count % 3).tolist(), row / 7)
        )
    names = ("short before", "list uchar uint vertex_index", "list int double extra", "float after")
    content = ply(
        form,
        ("vertex", ("double x", "float y", "double z", "char c", "uchar u"), vertices),
        ("nothing", (), []),
        ("face", names, faces),
        ("edge", ("int a",), [(5,), (-7,)]),
    )
    truth = plyfile.PlyData.read(BytesIO(content))
    file, order, start = read_header(content, "m.ply")
    read_rows(file, content, order, start, "m.ply")
    for element in (item for item in truth.elements if item.name != "nothing"):
        ours = file.elements[element.name]
        for item in element.properties:
            expected = element.data[item.name]
            if isinstance(item, plyfile.PlyListProperty):
                lengths, values = ours.lists[item.name]
                assert lengths.tolist() == [len(part) for part in expected]
                np.testing.assert_allclose(values, np.concatenate(list(expected)), rtol=1e-7)
            else:
                np.testing.assert_allclose(ours.scalars[item.name], expected, rtol=1e-7)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_formats_and_line_endings(tmp_path: Path, form: str, ending: str) -> None:
    content = ply(form, ("vertex", XYZ, SQUARE), ("face", FACE, QUAD))
    head, _, body = content.partition(b"end_header\n")
    body = body.replace(b"\n", ending.encode()) if form == "ascii" else body
    model = read(
        tmp_path, {"m.ply": head.replace(b"\n", ending.encode()) + b"end_header" + ending.encode() + body}
    )
    np.testing.assert_array_equal(corners(model), np.array(SQUARE, float)[[[0, 1, 2], [0, 2, 3]]])
    assert model.faces == 1
    assert only(model).step == (0 if form == "ascii" else np.spacing(np.float32(1)))


@pytest.mark.parametrize("form", FORMATS)
def test_headers_may_begin_with_a_byte_order_mark_and_comments_may_say_anything(
    tmp_path: Path, form: str
) -> None:
    content = ply(form, ("vertex", XYZ, SQUARE), ("face", FACE, QUAD))
    comments = b"comment the end_header is not here\nobj_info end_header\nelement vertex"
    content = b"\xef\xbb\xbf" + content.replace(b"element vertex", comments, 1)
    model = read(tmp_path, {"m.ply": content})
    np.testing.assert_array_equal(corners(model), np.array(SQUARE, float)[[[0, 1, 2], [0, 2, 3]]])


def test_a_body_that_begins_with_a_line_break_is_read_right(tmp_path: Path) -> None:
    """The first byte of a binary coordinate may be one."""
    first = struct.unpack("<f", b"\n\x00\x80\x3f")[0]
    content = ply("binary_little_endian", ("vertex", XYZ, [(first, 0, 0), *SQUARE[1:]]), ("face", FACE, QUAD))
    assert only(read(tmp_path, {"m.ply": content})).positions[0, 0] == first


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["uchar", "ushort", "float", "double", "int", "unit"])
@pytest.mark.parametrize(
    "names",
    [
        ("red", "green", "blue"),
        ("diffuse_red", "diffuse_green", "diffuse_blue"),
        ("r", "g", "b"),
        ("Red", "Green", "Blue"),
    ],
)
@pytest.mark.parametrize("owner", ["vertex", "face"])
def test_colours_of_every_kind(
    tmp_path: Path, form: str, kind: str, names: tuple[str, ...], owner: str
) -> None:
    """0 to 255 in bytes, floats and integers, 0 to 65535 in shorts, 0 to 1 in floats."""
    scale = {"ushort": 257, "unit": 1 / 255}.get(kind, 1)
    colors = [
        tuple(value * scale for value in row)
        for row in ((255, 0, 0), (0, 255, 51), (0, 0, 255), (51, 102, 0))
    ]
    extra = tuple(f"{'float' if kind == 'unit' else kind} {name}" for name in names)
    linear = [0, ((0.2 + 0.055) / 1.055) ** 2.4, ((0.4 + 0.055) / 1.055) ** 2.4, 1]
    expected = np.array([[1, 0, 0], [0, 1, linear[1]], [0, 0, 1], [linear[1], linear[2], 0]])
    if owner == "vertex":
        model = square(tmp_path, extra, colors, form)
        found = only(model).colors
        assert found is not None
        np.testing.assert_allclose(found[..., :3], expected[[[0, 1, 2], [0, 2, 3]]], rtol=1e-5)
    else:
        faces = [([0, 1, 2], *colors[1]), ([0, 2, 3], *colors[3])]
        found = only(square(tmp_path, form=form, faces=(FACE + extra, faces))).colors
        assert found is not None
        np.testing.assert_allclose(found[..., :3], np.repeat(expected[[1, 3], None], 3, axis=1), rtol=1e-5)
    assert (found[..., 3] == 1).all()


def test_colours_of_faces_give_way_to_those_of_vertices_and_are_counted(tmp_path: Path) -> None:
    paint = ("uchar red", "uchar green", "uchar blue")
    corners = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 0)]
    for faces, notes in (
        ([([0, 1, 2], 0, 0, 0), ([0, 2, 3], 0, 0, 255)], {"face colours beside vertex colours ignored": 2}),
        ([([0, 1, 2], 255, 255, 255), ([0, 2, 3], 255, 255, 255)], {}),
    ):
        model = square(tmp_path, paint, corners, faces=(FACE + paint, faces))
        found = only(model).colors
        assert found is not None
        assert found[0, :, :3].tolist() == np.eye(3).tolist()
        assert model.notes == notes


def test_dark_bytes_are_not_taken_for_units(tmp_path: Path) -> None:
    model = square(tmp_path, ("uchar red", "uchar green", "uchar blue"), [(1, 0, 1)] * 4)
    found = only(model).colors
    assert found is not None
    np.testing.assert_allclose(found[0, 0], [1 / 255 / 12.92, 0, 1 / 255 / 12.92, 1], rtol=1e-5)


def test_alpha(tmp_path: Path) -> None:
    extra = ("uchar red", "uchar green", "uchar blue", "uchar alpha")
    assert square(tmp_path, extra, [(255, 0, 0, 255)] * 4).materials[0].alpha == "opaque"
    assert square(tmp_path, extra, [(255, 0, 0, 0)] * 4).materials[0].alpha == "opaque"
    glass = square(tmp_path, extra, [(255, 0, 0, 51)] * 4)
    assert glass.materials[0].alpha == "blend"
    np.testing.assert_allclose(only(glass).colors, np.tile([1, 0, 0, 0.2], (2, 3, 1)), rtol=1e-6)


def test_colours_of_an_element_of_materials(tmp_path: Path) -> None:
    listed = ("uchar ambient_red", "uchar diffuse_red", "uchar diffuse_green", "uchar diffuse_blue")
    faces = ((*FACE, "int material_index"), [([0, 1, 2], 1), ([0, 2, 3], 0)])
    model = square(tmp_path, faces=faces, more=(("material", listed, [(9, 255, 0, 0), (9, 0, 0, 255)]),))
    np.testing.assert_array_equal(only(model).colors, np.repeat([[[0, 0, 1, 1]], [[1, 0, 0, 1]]], 3, axis=1))


PICTURE = png([(250, 0, 0), (0, 250, 0)], [(0, 0, 250), (250, 250, 0)])
UVS = [(0.1, 0.2), (0.9, 0.2), (0.8, 0.7), (0.1, 1.5)]


@pytest.mark.parametrize("names", [("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("S", "T")])
def test_textures_by_vertex(tmp_path: Path, names: tuple[str, str]) -> None:
    extra = tuple(f"float {name}" for name in names)
    model = square(tmp_path, extra, list(UVS), comments=("made by hand", "TextureFile t.png"), t=PICTURE)
    np.testing.assert_allclose(only(model).uvs[0], np.array(UVS)[[[0, 1, 2], [0, 2, 3]]], rtol=1e-6)
    (material,) = (model.materials[k] for k in set(only(model).material.tolist()))
    assert material.color_texture is not None


@pytest.mark.parametrize("form", FORMATS)
def test_textures_by_corner_are_those_by_vertex(tmp_path: Path, form: str) -> None:
    flat = [value for place in UVS for value in place]
    faces = ((*FACE, "list uchar float texcoord"), [([0, 1, 2, 3], flat)])
    by_corner = square(
        tmp_path, faces=faces, comments=("TextureFile my t.png",), form=form, **{"my t": PICTURE}
    )
    (tmp_path / "other").mkdir(exist_ok=True)
    by_vertex = square(
        tmp_path / "other",
        ("float s", "float t"),
        list(UVS),
        form,
        comments=("TextureFile t.png",),
        t=PICTURE,
    )
    assert_seen_alike(by_corner, by_vertex)


def test_faces_say_which_texture_and_some_have_none(tmp_path: Path) -> None:
    triangle = [0.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    faces = (
        (*FACE, "list uchar float texcoord", "int texnumber"),
        [([0, 1, 2], triangle, 1), ([0, 2, 3], triangle, 0), ([1, 2, 3], [], -1), ([3, 2, 1], triangle, -1)],
    )
    comments = ("TextureFile a.png", "TextureFile b.png")
    model = square(tmp_path, faces=faces, comments=comments, a=PICTURE, b=PICTURE)
    names = [model.materials[k].name for k in only(model).material]
    assert names == ["b.png", "a.png", "", ""]
    assert [model.materials[k].color_texture is None for k in only(model).material] == [
        False,
        False,
        True,
        True,
    ]


def test_promised_textures_fail_or_are_counted(tmp_path: Path) -> None:
    extra = ("float s", "float t")
    with pytest.raises(BrokenModelError, match=r"texture gone\.png is missing"):
        square(tmp_path, extra, list(UVS), comments=("TextureFile gone.png",))
    with pytest.raises(BrokenModelError, match="names a texture but no places"):
        square(tmp_path, comments=("TextureFile t.png",), t=PICTURE)
    for uvs, phrase in (
        (True, "missing textures replaced by the plain colour"),
        (False, "textures without coordinates ignored"),
    ):
        model = square(
            tmp_path,
            extra if uvs else (),
            list(UVS) if uvs else None,
            comments=("TextureFile gone.png",),
            lenient=True,
        )
        assert model.notes == {phrase: 1}
    with pytest.raises(BrokenModelError, match="missing from the model's folder"):
        square(tmp_path, extra, list(UVS), comments=("TextureFile ../../secret.png",))


def test_a_texture_counts_more_than_vertex_colours(tmp_path: Path) -> None:
    extra = ("float s", "float t", "uchar red", "uchar green", "uchar blue")
    values = [(*uv, 9, 99, 9) for uv in UVS]
    model = square(tmp_path, extra, list(values), comments=("TextureFile t.png",), t=PICTURE)
    assert only(model).colors is None
    assert model.notes == {"vertex colours beside a texture ignored": 2}


def test_normals(tmp_path: Path) -> None:
    extra = ("float nx", "float ny", "float nz")
    normals = only(square(tmp_path, extra, [(0, 0, 2), (0, 3, 4), (0, 0, 1), (1, 0, 0)])).normals
    unit = np.array([(0, 0, 1), (0, 0.6, 0.8), (0, 0, 1), (1, 0, 0)])
    np.testing.assert_allclose(normals, unit[[[0, 1, 2], [0, 2, 3]]], atol=1e-6)
    assert only(square(tmp_path, extra, [(0, 0, 0)] * 4)).normals is None
    assert only(square(tmp_path)).normals is None


def test_polygons_and_strips(tmp_path: Path) -> None:
    """An arrow that is concave, and a strip with a break, whose triangles all face one way."""
    arrow = [(0, 0, 0), (4, 1, 0), (0, 2, 0), (1, 1, 0), (9, 9, 9)]
    content = ply("ascii", ("vertex", XYZ, arrow), ("face", FACE, [([0, 1, 2, 3],), ([0, 1],), ([],)]))
    model = read(tmp_path, {"m.ply": content})
    normals = np.cross(*(corners(model)[:, k] - corners(model)[:, 0] for k in (1, 2)))
    assert (normals[:, 2] > 0).all()
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(3)
    assert model.notes == {"faces with fewer than 3 corners dropped": 2}
    grid = [(x, y, 0) for x in range(4) for y in range(2)]
    strips = (
        "tristrips",
        ("list int int vertex_indices",),
        [([1, 0, 3, 2, 5, 4, -1, 5, 4, 7, 6],), ([],), ([0, 1],)],
    )
    for form in FORMATS:
        model = read(tmp_path, {"m.ply": ply(form, ("vertex", XYZ, grid), strips)})
        normals = np.cross(*(corners(model)[:, k] - corners(model)[:, 0] for k in (1, 2)))
        assert normals.tolist() == [[0, 0, 1]] * 6
        assert model.faces == 6


def test_what_else_there_is_is_counted(tmp_path: Path) -> None:
    more = ("edge", ("int vertex1", "int vertex2"), [(0, 1), (1, 2)])
    assert square(tmp_path, more=(more,)).notes == {"elements other than vertices and faces ignored": 2}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b"element vertex 4", b"element vertex 5"), "too short|none of its|no whole|no number|no faces"),
        ((b"element face 1", b"element face 2"), "too short"),
        ((b"element vertex 4", b"element vertex 0"), "no PLY file of a surface: it has 0 vertices"),
        ((b"element face 1", b"element face 0"), "no PLY file of a surface: it has 4 vertices and 0 faces"),
        ((b"element face 1", b"element face -1"), "header with the line"),
        ((b"format ", b"format utf"), "no known format"),
        ((b"property float x", b"property float q"), "without x, y and z"),
        ((b"property float x", b"property half x"), "header with the line"),
        ((b"vertex_indices", b"corners"), "faces without vertex_indices"),
        ((b"element face", b"element vertex"), "twice"),
        ((b"end_header", b"endheader"), "no PLY file"),
        ((b"ply", b"plx"), "no PLY file"),
    ],
)
def test_headers_that_lie_are_refused(
    tmp_path: Path, form: str, change: tuple[bytes, bytes], reason: str
) -> None:
    content = ply(form, ("vertex", XYZ, SQUARE), ("face", FACE, QUAD)).replace(*change, 1)
    with pytest.raises(BrokenModelError, match=reason):
        read(tmp_path, {"m.ply": content})


@pytest.mark.parametrize("form", FORMATS)
def test_corners_and_lists_that_lie_are_refused(tmp_path: Path, form: str) -> None:
    for faces, reason in (([([0, 1, 4],)], "none of its 4"), ([([0, 1, -1],)], "none of its 4")):
        with pytest.raises(BrokenModelError, match=reason):
            square(tmp_path, form=form, faces=(FACE, faces))
    with pytest.raises(BrokenModelError, match="not finite"):
        read(
            tmp_path,
            {"m.ply": ply(form, ("vertex", XYZ, [(0, float("nan"), 0), *SQUARE]), ("face", FACE, QUAD))},
        )
    later = ply(form, ("vertex", XYZ, SQUARE), ("face", FACE, [([0, 1, 2],), ([0, 1, 2, 3],)]))
    later = later[:-17] + b"\x05" + later[-16:] if form != "ascii" else later.replace(b"\n4 0", b"\n5 0")
    with pytest.raises(BrokenModelError, match="too short"):
        read(tmp_path, {"m.ply": later})
    edges = ("edge", ("int a", "list uchar int b"), [(1, [2])])
    many = ply(form, ("vertex", XYZ, SQUARE), ("face", FACE, QUAD), edges).replace(
        b"edge 1", b"edge 999999999999"
    )
    with pytest.raises(BrokenModelError, match="claims 999999999999 rows of the element edge"):
        read(tmp_path, {"m.ply": many})
    content = ply(form, ("vertex", XYZ, SQUARE), ("face", ("list int int vertex_indices",), QUAD))
    huge = (
        content.replace(b"\n4 0 1", b"\n2000000000 0 1")
        if form == "ascii"
        else content[:-20] + b"\x7f" * 4 + content[-16:]
    )
    with pytest.raises(BrokenModelError, match="too short"):
        read(tmp_path, {"m.ply": huge})
    content = ply(form, ("vertex", XYZ, SQUARE), ("face", FACE, QUAD * 2))
    with pytest.raises(BrokenModelError, match="more than the 1 allowed"):
        read(tmp_path, {"m.ply": content}, max_faces=1)

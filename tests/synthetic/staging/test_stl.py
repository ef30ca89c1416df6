"""STL files, binary and text, against a second reader and by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from synthetic.layouts.shapenet import BrokenModelError
from tests.synthetic.staging.plain_files import corners, only, read

TRIANGLES = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 0], [1, 0, 0], [1, 1, 0.5]]])


def binary(
    triangles: np.ndarray = TRIANGLES, codes: tuple[int, ...] = (0, 0), header: bytes = b"", count: int = -1
) -> bytes:
    """A binary file."""
    content = header.ljust(80, b" ") + struct.pack("<I", len(triangles) if count < 0 else count)
    for triangle, code in zip(triangles, codes, strict=True):
        content += struct.pack("<12fH", 0, 0, 0, *triangle.ravel(), code)
    return content


def text(name: str = "", numbers: str = "{:g} {:g} {:g}") -> str:
    """A text file."""
    faces = "".join(
        "  facet normal 0 0 1\n    outer loop\n"
        + "".join(f"      vertex {numbers.format(*place)}\n" for place in triangle)
        + "    endloop\n  endfacet\n"
        for triangle in TRIANGLES.tolist()
    )
    return f"solid {name}\n{faces}endsolid {name}\n"


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
def test_triangles_are_those_of_a_second_reader_and_of_the_mesh(tmp_path: Path, kind: str) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=3.7)
    content = mesh.export(file_type=kind)
    model = read(tmp_path, {"m.stl": content})
    (tmp_path / "again.stl").write_bytes(content if isinstance(content, bytes) else content.encode())
    other = trimesh.load(tmp_path / "again.stl", process=False)
    np.testing.assert_array_equal(corners(model), other.triangles)
    np.testing.assert_allclose(corners(model), mesh.triangles, atol=1e-6)
    part = only(model)
    assert (len(part.positions), model.faces) == (len(mesh.vertices), len(mesh.faces))
    assert part.step == (np.spacing(np.float32(3.7)) if kind == "stl" else 0)
    assert (part.normals, part.colors) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        text(),
        text("a part with a vertex in its name").replace("\n", "\r\n"),
        text().upper(),
        text().replace("  ", "\t"),
        "\ufeff" + text(),
        text(numbers="{:.6e} {:+.3E} {:f}"),
        text().replace("endsolid \n", "endsolid\n\nsolid second\nendsolid second\n"),
        text().removesuffix("endsolid \n"),
        binary(),
        binary(header=b"solid as some programs begin binary files, too"),
        binary(header=b"made by hand") + b"more",
        binary(header=b"solid as some programs begin binary files, too") + b"more",
    ],
)
def test_files_of_other_programs(tmp_path: Path, content: str | bytes) -> None:
    model = read(tmp_path, {"m.stl": content})
    np.testing.assert_allclose(corners(model), TRIANGLES, atol=1e-7)
    assert len(only(model).positions) == 4


def test_only_equal_corners_become_one_vertex(tmp_path: Path) -> None:
    near = TRIANGLES.astype(np.float32)
    near[1, 0, 1] = np.nextafter(np.float32(1), np.float32(2))
    near[1, 1, 1] = -0.0
    assert len(only(read(tmp_path, {"m.stl": binary(near)})).positions) == 5


def test_colours_of_viscam_and_magics(tmp_path: Path) -> None:
    """Five bits a channel: blue lowest in VisCAM, red lowest in Magics, where the highest bit asks for the default."""
    viscam = only(read(tmp_path, {"m.stl": binary(codes=(0x8000 | 31 << 10, 0x8000 | 31))})).colors
    assert viscam is not None
    np.testing.assert_array_equal(viscam[:, 0], [[1, 0, 0, 1], [0, 0, 1, 1]])
    mixed = only(read(tmp_path, {"m.stl": binary(codes=(0x8000 | 31 << 5, 31))})).colors
    assert mixed is not None
    np.testing.assert_allclose(mixed[:, 0], [[0, 1, 0, 1], [0.8, 0.8, 0.8, 1]])
    header = b"COLOR=" + bytes([0, 255, 0, 255]) + b",MATERIAL="
    magics = only(read(tmp_path, {"m.stl": binary(codes=(31, 0x8000), header=header)})).colors
    assert magics is not None
    np.testing.assert_array_equal(magics[:, 0], [[1, 0, 0, 1], [0, 1, 0, 1]])
    half = only(read(tmp_path, {"m.stl": binary(codes=(0x8000 | 15 << 10, 0x8000))})).colors
    assert half is not None
    assert half[0, 0, 0] == pytest.approx(((15 / 31 + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "claims 0 faces in 0 bytes"),
        (b"x" * 83, "claims 0 faces in 83 bytes"),
        (binary(count=3), "claims 3 faces in 184 bytes"),
        (binary(count=3, header=b"solid part"), "claims 3 faces in 184 bytes"),
        (binary(count=2**32 - 1), "claims 4294967295 faces"),
        (binary(np.empty((0, 3, 3)), ()), "no faces"),
        ("solid\nendsolid\n", "no faces"),
        (text().replace("vertex", "vortex", 1), "2 faces but 15 numbers"),
        (text().replace("vertex 0 0 0", "vertex 0 0"), "2 faces but 17 numbers"),
        (text().replace("vertex 0 0 0", "vertex 0 x 0"), "no number"),
        (text().replace("vertex 0 0 0", "vertex 0 nan 0"), "not finite"),
        (binary(np.where(TRIANGLES == 0.5, np.inf, TRIANGLES)), "not finite"),
    ],
)
def test_broken_files_are_refused_in_a_sentence(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(BrokenModelError, match=reason):
        read(tmp_path, {"m.stl": content})


@pytest.mark.parametrize("content", [text(), binary()])
def test_more_faces_than_allowed_are_refused(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(BrokenModelError, match="2 faces, more than the 1 allowed"):
        read(tmp_path, {"m.stl": content}, max_faces=1)

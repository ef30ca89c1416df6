"""Meshes, animations and textures of the game 0 A.D., as an independent writer makes them."""

from __future__ import annotations

import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.library.zeroad.assembly import as_part
from synthetic.library.zeroad.binary import STATE, matrices
from synthetic.library.zeroad.package import open_package
from synthetic.library.zeroad.pmd import read_pmd
from synthetic.library.zeroad.psa import bend, read_psa
from synthetic.library.zeroad.textures import Alpha, write_texture
from synthetic.staging.surface import area_vectors
from tests.synthetic.library.game_files import CORNERS, FACES, STILL, dds, game, pmd, psa

SIDE = math.sqrt(0.5)
ELBOW = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
TURNED = (1.0, 0.0, 0.0, 0.0, 0.0, SIDE, SIDE)  # by 90 degrees about z, x to y, at (1, 0, 0)
ARM = ((0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (3.0, 0.0, 1.0), (2.0, 0.0, 2.0))


def arm(blend: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...] | None = None) -> bytes:
    """An arm along x: what is at the elbow's bone follows it, the root does not; a vertex of half of each."""
    own = blend or (((0,), (1.0,)), ((1,), (1.0,)), ((0, 1), (0.5, 0.5)), ((), ()))
    return pmd(ARM, ((0, 1, 2), (0, 2, 3)), (STILL, ELBOW), own, {"hand": (STILL, 1)})


def test_a_mesh_is_read_as_it_was_written() -> None:
    mesh = read_pmd(
        pmd(bones=(STILL,), blend=(((0,), (1.0,)),) * 4, points={"root": (ELBOW, 255)}, layers=2), "m"
    )
    np.testing.assert_array_equal(mesh.positions, CORNERS)
    np.testing.assert_array_equal(mesh.triangles, FACES)
    np.testing.assert_array_equal(mesh.uvs[0], [(v / 8, 0) for v in range(4)])
    np.testing.assert_array_equal(mesh.uvs[1], [(v / 8, 1 / 8) for v in range(4)])
    np.testing.assert_array_equal(mesh.weights[:, 0], 1)
    np.testing.assert_array_equal(mesh.points["root"].local[:3, 3], (1, 0, 0))
    assert mesh.points["root"].bone is None


def test_quaternions_turn_as_those_of_scipy_do() -> None:
    numbers = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    states = np.zeros(20, STATE)
    states["rotation"], states["translation"] = numbers, 3
    found = matrices(states, "s")
    np.testing.assert_allclose(found[:, :3, :3], Rotation.from_quat(numbers).as_matrix(), atol=1e-6)
    np.testing.assert_array_equal(found[:, :, 3], [(3, 3, 3, 1)] * 20)


def test_bones_at_rest_leave_the_mesh_as_it_is() -> None:
    mesh = read_pmd(pmd(ARM, FACES, (TURNED, ELBOW), (((0, 1), (0.3, 0.7)),) * 4), "m")
    same = bend(mesh, mesh.rest)
    np.testing.assert_allclose(same.positions, mesh.positions, atol=1e-12)
    np.testing.assert_allclose(same.normals, mesh.normals, atol=1e-12)


def test_a_bone_that_turns_by_90_degrees_takes_along_what_follows_it() -> None:
    mesh = read_pmd(arm(), "m")
    bent = bend(mesh, read_psa(psa([(STILL, ELBOW), (STILL, TURNED)]), "a")[1])
    np.testing.assert_allclose(bent.positions[0], (0, 0, 0), atol=1e-6)
    np.testing.assert_allclose(bent.positions[1], (1, 1, 0), atol=1e-6)
    np.testing.assert_allclose(bent.positions[2], ((3 + 1) / 2, (0 + 2) / 2, 1), atol=1e-6)
    np.testing.assert_allclose(bent.positions[3], ARM[3], atol=1e-6)  # has no bone
    np.testing.assert_allclose(bent.normals[0], (0, 1, 0), atol=1e-6)
    np.testing.assert_allclose(bent.normals[1], (-1, 0, 0), atol=1e-6)
    hand = bent.rest[1] @ bent.points["hand"].local
    np.testing.assert_allclose(hand[:3, :3] @ (1, 0, 0), (0, 1, 0), atol=1e-6)


def test_both_sides_of_a_seam_stay_together() -> None:
    """The file gives the two vertices at one place other weights, as some of the game's do."""
    corners = (*ARM[:2], ARM[1], ARM[2])
    file = pmd(
        corners,
        ((0, 1, 3), (0, 3, 2)),
        (STILL, ELBOW),
        (((0,), (1.0,)), ((1,), (1.0,)), ((0,), (1.0,)), ((1,), (1.0,))),
    )
    mesh = read_pmd(file, "m")
    bent = bend(mesh, read_psa(psa([(STILL, TURNED)]), "a")[0])
    np.testing.assert_array_equal(bent.positions[1], bent.positions[2])
    np.testing.assert_allclose(bent.positions[1], (1.5, 0.5, 0), atol=1e-6)
    assert len(as_part(bent, np.eye(4), 0).positions) == len(as_part(mesh, np.eye(4), 0).positions) == 3


def test_an_animation_of_another_skeleton_is_refused() -> None:
    with pytest.raises(BrokenModelError, match="has 3 bones, the mesh 2"):
        bend(read_pmd(arm(), "m"), read_psa(psa([(STILL,) * 3]), "a")[0])


def test_our_frame_is_right_handed_with_the_front_towards_plus_z() -> None:
    """The game's heads are at minus z; what is in front of its triangles stays in front."""
    part = as_part(read_pmd(pmd(), "m"), np.eye(4), 0)
    assert part.positions[:, 2].max() == 2
    outside = area_vectors(part.positions, part.triangles)
    towards = part.positions[part.triangles].mean(axis=1) - part.positions.mean(axis=0)
    assert ((outside * towards).sum(axis=1) > 0).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends within its first letters"),
        (b"PSMD", "ends within its version"),
        (b"PMDX" + pmd()[4:], "begins with PSMD, found b'PMDX'"),
        (pmd(version=3), "expected version 4, found 3"),
        (pmd() + b"\0", "bytes follow"),
        (pmd(layers=0), "UV coordinates, found 0"),
        (pmd(faces=()), "no triangles"),
        (pmd(faces=((0, 1, 4),)), "vertex 4 of 4"),
        (pmd(((math.nan, 0, 0), *CORNERS[1:])), "none"),
        (pmd(((1e9, 0, 0), *CORNERS[1:])), "reaches farther"),
        (pmd(blend=(((1,), (1.0,)),) * 4), "follows bone 1 of 0"),
        (pmd(bones=(STILL,), blend=(((0,), (-1.0,)),) * 4), "below 0"),
        (pmd(bones=((0.0,) * 7,)), "nowhere"),
        (pmd(bones=((1e9, *STILL[1:]),)), "nowhere"),
        (pmd(bones=(STILL,), points={"root": (STILL, 3)}), "hangs on bone 3 of 1"),
        (pmd(points={"x" * 300: (STILL, 255)}), "300 letters"),
    ],
)
def test_a_mesh_that_is_wrong_says_what_is(content: bytes, reason: str) -> None:
    with pytest.raises(BrokenModelError, match=reason) as caught:
        read_pmd(content, "some.pmd")
    assert str(caught.value).startswith("some.pmd: ")


@pytest.mark.parametrize("place", [12, 16, 12 + 8 + 4 * 52, 12 + 8 + 4 * 52 + 4 + 4 * 6])
def test_numbers_of_things_are_held_against_the_file_before_room_is_made(place: int) -> None:
    content = pmd()[:place] + struct.pack("<I", 2**32 - 1) + pmd()[place + 4 :]
    tracemalloc.start()
    try:
        with pytest.raises(BrokenModelError):
            read_pmd(content, "m")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", [12, 24, 28])
def test_an_animation_that_claims_too_much_is_refused(place: int) -> None:
    content = psa([(STILL, ELBOW)])
    with pytest.raises(BrokenModelError):
        read_psa(content[:place] + struct.pack("<I", 2**32 - 1) + content[place + 4 :], "a")


@pytest.mark.parametrize(
    ("read", "content"), [(read_pmd, arm()), (read_psa, psa([(STILL, ELBOW), (STILL, TURNED)]))]
)
def test_damaged_files_raise_the_one_error(read: Callable[[bytes, str], object], content: bytes) -> None:
    for length in range(len(content)):
        with pytest.raises(BrokenModelError):
            read(content[:length], "cut")
    generator = np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(content)
        for place in generator.integers(len(content), size=generator.integers(1, 4)):
            damaged[place] = generator.integers(256)
        try:
            read(bytes(damaged), "damaged")
        except BrokenModelError:
            continue


@pytest.mark.parametrize(
    ("alpha", "stored", "expected"),
    [
        ("opaque", dds((248, 252, 0)), (255, 255, 0)),
        ("opaque", dds((248, 252, 0), 0), (255, 255, 0)),
        ("cut", dds((248, 252, 0), 255), (255, 255, 0)),
        ("cut", dds((248, 252, 0), 200), (255, 255, 0)),
        ("cut", dds((248, 252, 0), 100), (255, 255, 0, 0)),
        ("colored", dds((248, 252, 0), 255), (255, 255, 0)),
        ("colored", dds((248, 252, 0), 0), (100, 50, 0)),
        ("colored", dds((248, 252, 0), 51), (131, 91, 0)),  # a fifth its own: 255 (1/5 + 4/5 100/255)
    ],
)
def test_alpha_is_what_the_material_says(
    tmp_path: Path, alpha: Alpha, stored: bytes, expected: tuple[int, ...]
) -> None:
    package = open_package(game(tmp_path / "public.zip", {"art/actors/a": b"", "t": stored}), tmp_path)
    write_texture(package, "t", alpha, (100, 50, 200), tmp_path / "t.png")
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.size == (4, 4)
        assert picture.getcolors() == [(16, expected)]


def test_pictures_that_are_damaged_raise_the_one_error(tmp_path: Path) -> None:
    whole = dds((8, 8, 8), 9)
    generator = np.random.default_rng(0)
    files = {f"cut{length}": whole[:length] for length in range(0, len(whole), 3)}
    for number in range(200):
        damaged = bytearray(whole)
        damaged[generator.integers(len(whole))] = generator.integers(256)
        files[f"damaged{number}"] = bytes(damaged)
    package = open_package(game(tmp_path / "public.zip", {"art/actors/a": b"", **files}), tmp_path)
    refused = []
    for name in files:
        try:
            write_texture(package, name, "cut", (0, 0, 0), tmp_path / "t.png")
        except BrokenModelError as error:
            refused.append(name)
            reason = str(error)
            if not reason.startswith(f"{name}: "):
                raise
    assert {name for name in files if name.startswith("cut")} <= set(refused)

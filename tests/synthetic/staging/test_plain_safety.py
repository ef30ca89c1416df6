"""What OBJ and PLY files may not do: read elsewhere, allocate without bound."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.files import ModelFiles
from synthetic.staging.surface import ReadModel
from synthetic.staging.treatment import ModelLimits, Treatment
from synthetic.staging.wavefront.reader import read_obj
from tests.synthetic.staging.plain_files import LENIENT, STRICT, TRIANGLE, only, png, read

PICTURE = png([(200, 30, 10)] * 4, [(200, 30, 10)] * 4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of a model in the layout of ShapeNetCore.v2, inside a library with a neighbour."""
    (tmp_path / "library/03797390/mine/models").mkdir(parents=True)
    (tmp_path / "library/03797390/mine/images").mkdir()
    (tmp_path / "library/03797390/other").mkdir()
    (tmp_path / "scratch").mkdir()
    return tmp_path / "library/03797390/mine"


def write(
    model: Path,
    text: str = "usemtl m\nf 1/1 2/1 3/1\n",
    mtl: str = "newmtl m\nKd 1 0 0\n",
    library: str = "mtllib model_normalized.mtl\n",
) -> None:
    (model / "models/model_normalized.obj").write_text(library + TRIANGLE + text)
    (model / "models/model_normalized.mtl").write_text(mtl)


def stage(
    model: Path, treatment: Treatment = STRICT, limits: ModelLimits | None = None
) -> tuple[ReadModel, dict[str, str]]:
    """What is read, and the SHA-256 of the files that were."""
    path = model / "models/model_normalized.obj"
    files = ModelFiles(path, model, model.parents[2] / "scratch", limits or ModelLimits())
    return read_obj(files, treatment), files.sha256


def test_statements_that_are_no_surface_do_nothing(model: Path) -> None:
    write(
        model,
        "# File produced by Open Asset Import Library\r\no thing\ng part\nusemtl m\ns 1\nf 1 2 3\n"
        "usemtl m_0\nl 1 2\np 1\nmtllib /etc/passwd\ncall ../evil.obj\ncsh -rm everything\n"
        "shadow_obj x\n  maplib y\nf 1 2 \\\n3\n# \\\nmtllib /etc/passwd\n",
        "newmtl m\nKd 1 0 0\nnewmtl m_0\n",
    )
    staged, sha256 = stage(model)
    assert staged.faces == 2
    assert only(staged).triangles.tolist() == [[0, 1, 2]] * 2
    assert set(sha256) == {"model_normalized.obj", "models/model_normalized.mtl"}


@pytest.mark.parametrize(
    "place", ["../../other/t.png", "/{outside}/t.png", "link.png", "../../../../t.png", "folder/t.png"]
)
def test_nothing_outside_the_models_folder_is_read(model: Path, place: str) -> None:
    outside = model.parents[2]
    for path in (model.parent / "other/t.png", outside / "t.png"):
        path.write_bytes(PICTURE)
    (model / "models/link.png").symlink_to(outside / "t.png")
    (model / "models/folder").symlink_to(outside)
    write(model, mtl=f"newmtl m\nmap_Kd {place.format(outside=outside)}\n")
    with pytest.raises(BrokenModelError, match=r"texture \w+\.png is missing from the model's folder"):
        stage(model)
    assert stage(model, LENIENT)[0].materials[0].color_texture is None
    write(model, mtl=f"newmtl m\nmap_d {place.format(outside=outside)}\n")
    with pytest.raises(BrokenModelError, match=r"texture \w+\.png is missing from the model's folder"):
        stage(model)


def test_material_file_outside_the_folder_is_not_read(model: Path) -> None:
    (model.parent / "other/secret.mtl").write_text("newmtl m\nKd 0.5 0.5 0.5\n")
    (model / "models/link.mtl").symlink_to(model.parent / "other/secret.mtl")
    for name in ("../../other/secret.mtl", "link.mtl", "link.mtl ../../other/secret.mtl"):
        write(model, library=f"mtllib {name}\n")
        assert stage(model)[0].materials[0].color == (1, 0, 0)  # that of the one beside the OBJ


@pytest.mark.parametrize("where", ["images/t.png", "models/t.png"])
def test_pictures_are_found_where_shapenet_keeps_them(model: Path, where: str) -> None:
    (model / where).write_bytes(PICTURE)
    write(model, mtl="newmtl m\nmap_Kd ../textures/t.png\n")
    assert stage(model)[0].materials[0].color_texture is not None


def test_pictures_that_ask_for_too_much_are_refused(model: Path) -> None:
    (model / "images/t.png").write_bytes(png([0] * 64, [0] * 64))
    write(model, mtl="newmtl m\nmap_Kd ../images/t.png\n")
    with pytest.raises(BrokenModelError, match="64 x 2 pixels"):
        stage(model, limits=ModelLimits(max_texture_side=63))
    content = bytearray(PICTURE)
    content[16:24] = struct.pack(">II", 60000, 60000)
    (model / "images/t.png").write_bytes(content)
    with pytest.raises(BrokenModelError, match=r"t\.png"):
        stage(model)


def test_huge_files_are_refused_unread(model: Path) -> None:
    write(model)
    with (model / "models/model_normalized.mtl").open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(BrokenModelError, match="more than the 16 allowed"):
        stage(model)
    with (model / "models/model_normalized.obj").open("wb") as file:
        file.truncate(2 * 2**40)
    with pytest.raises(BrokenModelError, match="more than the 1024 allowed"):
        stage(model)


def test_sources_are_known_by_their_hashes(model: Path) -> None:
    (model / "images/t.png").write_bytes(PICTURE)
    write(model, mtl="newmtl m\nmap_Kd ../images/t.png\n")
    first = stage(model)[1]
    assert set(first) == {"model_normalized.obj", "models/model_normalized.mtl", "images/t.png"}
    (model / "images/t.png").write_bytes(png([(1, 2, 3)]))
    again = stage(model)[1]
    assert {name for name, digest in again.items() if digest != first[name]} == {"images/t.png"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ply\nformat ascii 1.0\nelement vertex 3\nend_header\n", "no PLY file"),
        ("solid x\n", "no PLY file"),
        (
            "ply\nformat ascii 1.0\nelement vertex 99999999999\nelement face 1\nend_header\n",
            "claims 99999999999",
        ),
        ("ply\nformat ascii 1.0\nelement vertex 3\nelement face 0\nend_header\n0 0 0\n", "0 faces"),
    ],
)
def test_ply_that_promises_what_it_cannot_hold_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BrokenModelError, match=reason):
        read(tmp_path, {"a.ply": text})

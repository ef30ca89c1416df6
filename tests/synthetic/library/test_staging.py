"""Model files from strangers: what reaches Blender, and what is refused, without Blender."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import trimesh
from PIL import Image

from synthetic.library.shapenet import BrokenModelError
from synthetic.library.staging import ModelLimits, StagedModel, Treatment, stage_model

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of a model in the layout of ShapeNetCore.v2, inside a library with a neighbour."""
    (tmp_path / "library/03797390/mine/models").mkdir(parents=True)
    (tmp_path / "library/03797390/mine/images").mkdir()
    (tmp_path / "library/03797390/other").mkdir()
    return tmp_path / "library/03797390/mine"


def write(
    model: Path,
    obj: str = "usemtl m\nf 1/1 2/1 3/1\n",
    mtl: str = "newmtl m\nKd 1 0 0\n",
    library: str = "mtllib model_normalized.mtl\n",
) -> None:
    (model / "models/model_normalized.obj").write_text(library + TRIANGLE + obj)
    (model / "models/model_normalized.mtl").write_text(mtl)


def picture(path: Path, size: tuple[int, int] = (4, 4), kind: str = "PNG") -> None:
    Image.new("RGB", size, (200, 30, 10)).save(path, format=kind)


def stage(model: Path, limits: ModelLimits | None = None, treatment: Treatment | None = None) -> StagedModel:
    return stage_model(
        model / "models/model_normalized.obj",
        model,
        model.parents[2] / "scratch",
        limits or ModelLimits(),
        treatment or Treatment(),
    )


def material(model: Path, **options: Treatment) -> list[str]:
    return (stage(model, **options).path.parent / "model.mtl").read_text().splitlines()


def test_statements_that_are_no_surface_do_not_reach_blender(model: Path) -> None:
    write(
        model,
        "# File produced by Open Asset Import Library\r\no thing\ng part\nusemtl m\ns 1\nf 1 2 3\n"
        "usemtl m_0\nl 1 2\np 1\nmtllib /etc/passwd\ncall ../evil.obj\ncsh -rm everything\n"
        "shadow_obj x\n  maplib y\nf 1 2 \\\n3\n",
    )
    staged = stage(model)
    lines = [line.split() for line in staged.path.read_text().splitlines() if line.strip()]
    assert {line[0] for line in lines} == {"mtllib", "v", "vt", "usemtl", "s", "f"}
    assert [line for line in lines if line[0] == "mtllib"] == [["mtllib", "model.mtl"]]
    assert staged.faces == 2
    assert [line for line in lines if line[0] == "f"] == [["f", "1", "2", "3"]] * 2


def test_continued_line_smuggles_no_statement(model: Path) -> None:
    write(model, "usemtl m\nf 1 2 3\n# \\\nmtllib /etc/passwd\nv 0 0 0 \\\nmtllib /etc/passwd\n")
    text = stage(model).path.read_text()
    assert not [line for line in text.splitlines()[1:] if line.startswith("mtllib")]


@pytest.mark.parametrize(
    "statement",
    [
        "map_Kd ../images/t.png",
        "map_Kd ..\\images\\t.png",
        "map_kd\t../images/T.PNG",
        "map_Kd t.png",
        "map_Kd -s 2 2 1 -o 0.5 0 ../images/t.png",
        "map_Kd ../../somebody/images/t.png",
        "map_Kd C:\\art\\t.png",
        'map_Kd "../images/t.png"',
    ],
)
def test_textures_are_found_whatever_their_spelling(model: Path, statement: str) -> None:
    picture(model / "images/t.png")
    write(model, mtl=f"newmtl m\nKd 1 1 1\n{statement}\n")
    last = material(model)[-1].split()
    assert (last[0], last[-1]) == ("map_Kd", "texture0.png")
    assert last[1:-1] == (["-s", "2", "2", "1", "-o", "0.5", "0", "0"] if "-s" in statement else [])
    assert os.path.samefile(model.parents[2] / "scratch/texture0.png", model / "images/t.png")


def test_texture_names_may_hold_blanks(model: Path) -> None:
    picture(model / "images/my wood.jpg", kind="JPEG")
    write(model, mtl="newmtl m\nmap_Kd ../images/my wood.jpg\n")
    assert material(model)[-1] == "map_Kd texture0.jpg"


@pytest.mark.parametrize(
    "place", ["../../other/t.png", "/{outside}/t.png", "link.png", "../../../../t.png", "folder/t.png"]
)
def test_nothing_outside_the_models_folder_is_read(model: Path, place: str) -> None:
    outside = model.parents[2]
    for path in (model.parent / "other/t.png", outside / "t.png"):
        picture(path)
    (model / "models/link.png").symlink_to(outside / "t.png")
    (model / "models/folder").symlink_to(outside)
    write(model, mtl=f"newmtl m\nmap_Kd {place.format(outside=outside)}\n")
    with pytest.raises(BrokenModelError, match=r"texture \w+\.png is missing from the model's folder"):
        stage(model)
    plain = material(model, treatment=Treatment(missing_textures="color"))
    assert plain == ["newmtl m"]


def test_material_file_outside_the_folder_is_not_read(model: Path) -> None:
    (model.parent / "other/secret.mtl").write_text("newmtl m\nKd 0.5 0.5 0.5\n")
    write(model, library="mtllib ../../other/secret.mtl\n")
    assert material(model) == ["newmtl m", "Kd 1 0 0"]  # the one beside the OBJ instead


def test_misnamed_material_file_is_the_one_beside_the_mesh_and_a_missing_one_is_none(model: Path) -> None:
    write(model, library="mtllib model.mtl\n")
    assert material(model) == ["newmtl m", "Kd 1 0 0"]
    (model / "models/model_normalized.mtl").unlink()
    assert material(model) == [""]


@pytest.mark.parametrize(
    "name", ["gone.png", "bad.png", "cut.png", "pipe.png", "", "a" * 5000, "nul\0.png", ".", ".."]
)
def test_missing_and_unreadable_textures_fail_or_give_way_to_the_plain_color(model: Path, name: str) -> None:
    (model / "models/bad.png").write_text("no picture")
    picture(model / "images/whole.png", (64, 64))
    (model / "models/cut.png").write_bytes((model / "images/whole.png").read_bytes()[:90])
    os.mkfifo(model / "models/pipe.png")
    write(model, mtl=f"newmtl m\nKd 0 1 0\nmap_Kd -s 1 1 1 {name}\n")
    with pytest.raises(BrokenModelError, match="missing"):
        stage(model)
    assert material(model, treatment=Treatment(missing_textures="color")) == ["newmtl m", "Kd 0 1 0"]


def test_formats_that_blender_cannot_read_are_converted(model: Path) -> None:
    picture(model / "images/t.gif", kind="GIF")
    write(model, mtl="newmtl m\nmap_Kd ../images/t.gif\n")
    assert material(model)[-1] == "map_Kd texture0.png"
    assert Image.open(model.parents[2] / "scratch/texture0.png").format == "PNG"


def test_transparency_is_kept_for_removal_or_made_opaque(model: Path) -> None:
    picture(model / "images/t.png")
    write(
        model,
        mtl="newmtl m\nKd 1 0 0\nd 0.5\nTr 0.5\nmap_d ../images/t.png\nmap_bump gone.png\nNs nan\nnonsense\n",
    )
    assert material(model) == ["newmtl m", "Kd 1 0 0", "d 0.5", "Tr 0.5", "map_d texture0.png"]
    assert material(model, treatment=Treatment(transparent="opaque")) == ["newmtl m", "Kd 1 0 0"]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ModelLimits(max_faces=1), "2 faces, more than the 1 allowed"),
        (ModelLimits(max_texture_side=63), "64 x 8 pixels"),
    ],
)
def test_models_that_ask_for_too_much_are_refused(model: Path, limits: ModelLimits, reason: str) -> None:
    picture(model / "images/t.png", (64, 8))
    write(model, "usemtl m\nf 1 2 3\nf 1 2 3\n", "newmtl m\nmap_Kd ../images/t.png\n")
    with pytest.raises(BrokenModelError, match=reason):
        stage(model, limits)


def test_huge_files_are_refused_unread(model: Path) -> None:
    with (model / "models/model_normalized.obj").open("wb") as file:
        file.truncate(2 * 2**40)
    with pytest.raises(BrokenModelError, match="more than the 1024 allowed"):
        stage(model)


def test_picture_of_absurd_size_is_refused_undecoded(model: Path) -> None:
    picture(model / "images/bomb.png")
    content = bytearray((model / "images/bomb.png").read_bytes())
    content[16:24] = struct.pack(">II", 60000, 60000)
    (model / "images/bomb.png").write_bytes(content)
    write(model, mtl="newmtl m\nmap_Kd ../images/bomb.png\n")
    with pytest.raises(BrokenModelError, match="bomb"):
        stage(model)


def test_sources_are_known_by_their_hashes(model: Path) -> None:
    picture(model / "images/t.png")
    write(model, mtl="newmtl m\nmap_Kd ../images/t.png\n")
    first = stage(model).sha256
    assert set(first) == {"model_normalized.obj", "models/model_normalized.mtl", "images/t.png"}
    picture(model / "images/t.png", (5, 5))
    assert {name for name, digest in stage(model).sha256.items() if digest != first[name]} == {"images/t.png"}


def glb(path: Path, change: dict[str, object] | None = None, drop: int = 0) -> StagedModel:
    """Stages a box as GLB, of whose JSON something was changed, or without its last bytes."""
    trimesh.creation.box().export(path)
    content = path.read_bytes()
    length = struct.unpack_from("<I", content, 12)[0]
    scene = {**json.loads(content[20 : 20 + length]), **(change or {})}
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    content = content[:12] + struct.pack("<I", len(text)) + content[16:20] + text + content[20 + length :]
    path.write_bytes(content[: len(content) - drop])
    return stage_model(path, path.parent, path.parent / "scratch", ModelLimits(), Treatment())


def test_glb_is_counted_and_must_be_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    assert glb(path).faces == 12
    for change, reason in (
        ({"images": [{"uri": "../../secret.png"}]}, "refers to another file"),
        ({"buffers": [{"uri": "http:x", "byteLength": 4}]}, "refers to another file"),
        ({"meshes": []}, "no faces"),
        ({"meshes": [{"primitives": [{}]}]}, "contradicts"),
        ({"accessors": []}, "contradicts"),
        ({"meshes": 3}, "contradicts"),
        ({"images": [{"bufferView": 0}]}, "unreadable"),
        ({"accessors": [{"count": 10**12}] * 9}, "claims"),
    ):
        with pytest.raises(BrokenModelError, match=reason):
            glb(path, change)
    path.write_bytes(b"glTF" + b"\xff" * 10)
    with pytest.raises(BrokenModelError, match="no GLB"):
        stage_model(path, tmp_path, tmp_path / "scratch", ModelLimits(), Treatment())


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
    (tmp_path / "a.ply").write_text(text)
    with pytest.raises(BrokenModelError, match=reason):
        stage_model(tmp_path / "a.ply", tmp_path, tmp_path / "scratch", ModelLimits(), Treatment())

"""Textures of OBJ files that lie in a model's folder, as ShapeNet has them, and outside of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.meshing.colors import linear_to_srgb, unit_to_bytes
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import MeshError
from gp3d_core.meshing.rasterizer import render_mesh
from gp3d_core.rendering.cameras import Cameras

MODEL = """mtllib model_normalized.mtl
v 0 0 0
v 1 0 0
v 0 1 0
v 2 0 0
vt 0.25 0.25
usemtl painted
f 1/1 2/1 3/1
usemtl plain
f 2 4 3
"""
MATERIALS = "newmtl painted\nmap_Kd {}\nnewmtl plain\nKd 1 1 1\n"


def model(folder: Path, texture: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "model_normalized.obj").write_text(MODEL)
    (folder / "model_normalized.mtl").write_text(MATERIALS.format(texture))
    file = folder / texture
    file.parent.mkdir(exist_ok=True)
    Image.new("RGB", (4, 4), (9, 80, 70)).save(file)
    return folder / "model_normalized.obj"


@pytest.mark.parametrize(
    ("folder", "texture"),
    [("id/models", "../images/texture0.png"), ("id", "textures/a.png"), ("id/models", "a.png")],
)
def test_a_texture_in_the_model_s_folder_is_read(tmp_path: Path, folder: str, texture: str) -> None:
    mesh = load_mesh(model(tmp_path / folder, texture))
    assert mesh.texture is not None
    assert mesh.uv is not None
    height, width = mesh.texture.shape[:2]
    face = mesh.faces[np.argmin(mesh.vertices[mesh.faces].mean(axis=1)[:, 0])]
    column, row = np.floor((mesh.uv[face[0]] * [1, -1] + [0, 1]) * [width, height]).astype(int)
    assert mesh.texture[row, column].tolist() == [9, 80, 70]


@pytest.mark.parametrize(("folder", "texture"), [("id", "../images/a.png"), ("x/models", "../../other.png")])
def test_a_texture_outside_is_refused_by_name(tmp_path: Path, folder: str, texture: str) -> None:
    with pytest.raises(
        MeshError, match=r"its texture \.\./.* cannot be read \(it is no file in its folder or below\)"
    ):
        load_mesh(model(tmp_path / folder, texture))


@pytest.mark.parametrize("more", [0, 1])
def test_plain_materials_give_their_colours(tmp_path: Path, more: int) -> None:
    """Kd is linear light (Wavefront's format does not say so; Blender and what we write have it so)."""
    lines = [f"v {x} {y} 0" for k in range(2) for x, y in ((k, 0), (k + 1, 0), (k, 1))]
    faces = ["usemtl red\nf 1 2 3", "usemtl none\nf 4 5 6"][: 1 + more]
    (tmp_path / "a.obj").write_text("\n".join(["mtllib a.mtl", *lines, *faces]) + "\n")
    (tmp_path / "a.mtl").write_text("newmtl red\nKd 1 0.2 0.05\nnewmtl none\nKd 1 1 1\n")
    mesh = load_mesh(tmp_path / "a.obj")
    assert mesh.texture is None
    assert mesh.vertex_colors is not None
    expected = unit_to_bytes(linear_to_srgb(np.array([1, 0.2, 0.05])))
    order = np.argsort(mesh.vertices[mesh.faces].mean(axis=1)[:, 0])
    found = mesh.vertex_colors[mesh.faces[order]].astype(int)
    assert found[0].tolist() == [expected.tolist()] * 3
    assert len(found) == 1 + more
    assert not more or found[1].min() == 255
    colored = [f"{line} 0 1 0" for line in lines]  # colours of vertices, which such a material would hide
    (tmp_path / "a.obj").write_text("\n".join(["mtllib a.mtl", *colored, *faces]) + "\n")
    assert load_mesh(tmp_path / "a.obj").vertex_colors.tolist() == [[0, 255, 0]] * 3 * (1 + more)


def test_coordinates_without_a_material_are_no_grey_texture(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    mesh = load_mesh(tmp_path / "a.obj")
    assert mesh.texture is None
    assert mesh.vertex_colors is None


def test_a_texture_is_repeated_where_its_coordinates_go_on(tmp_path: Path) -> None:
    """Two squares, green and blue, shown once and three times as large: the same picture but for its size."""
    lines = ["v -1 -1 0", "v 1 -1 0", "v 1 1 0", "v -1 1 0"]
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:, :4, 1] = texture[:, 4:, 2] = 255
    Image.fromarray(texture).save(tmp_path / "a.png")
    (tmp_path / "a.mtl").write_text("newmtl a\nmap_Kd a.png\n")
    seen = {}
    for times in (1, 3):
        places = [f"vt {u * times - 1} {v * times - 1}" for u, v in ((0, 0), (1, 0), (1, 1), (0, 1))]
        text = "\n".join(["mtllib a.mtl", *lines, *places, "usemtl a", "f 1/1 2/2 3/3 4/4"])
        (tmp_path / "a.obj").write_text(text + "\n")
        mesh = load_mesh(tmp_path / "a.obj")
        zeros, front = torch.zeros(1, 3), torch.tensor([[0.0, np.pi / 2, 0.0]])
        camera = Cameras(front, torch.tensor([60.0]), torch.tensor([2.5]), zeros)
        seen[times] = render_mesh(mesh, camera, 99).rgb[49]
    bars = {k: np.count_nonzero(np.diff(row[..., 1].astype(int)) > 100) for k, row in seen.items()}
    assert bars == {1: 1, 3: 3}

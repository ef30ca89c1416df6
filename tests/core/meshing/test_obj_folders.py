"""Textures of OBJ files that lie in a model's folder, as ShapeNet has them, and outside of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import MeshError

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

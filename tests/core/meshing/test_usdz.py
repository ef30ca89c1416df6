"""USDZ keeps Apple's rules: the zip byte by byte, and the layer by the validators of USD and by Blender's importer."""

from __future__ import annotations

import json
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from gp3d_core.meshing.colors import srgb_to_linear
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh

pytest.importorskip("pxr", reason="usd-core is not installed")

RECIPE = {"license": "CC0-1.0", "seed": 7}


@pytest.fixture(scope="module")
def textured() -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=2)
    vertices = (ball.vertices * [0.5, 0.8, 0.3]).astype(np.float32)
    uv = (ball.vertices[:, :2] * 0.49 + 0.5).astype(np.float32)
    texture = np.random.default_rng(0).integers(0, 256, (33, 47, 3)).astype(np.uint8)
    normals = ball.vertices.astype(np.float32) * 2
    return Mesh(vertices, ball.faces.astype(np.int32), uv=uv, texture=texture, normals=normals)


@pytest.fixture(scope="module")
def colored(textured: Mesh) -> Mesh:
    colors = np.arange(3 * len(textured.vertices)).reshape(-1, 3).astype(np.uint8)
    return Mesh(textured.vertices, textured.faces, vertex_colors=colors)


def entries(path: Path) -> list[tuple[str, int, int, int]]:
    """Name, method of compression, encryption flag and place of the data of every file, read from the local headers."""
    content, found, place = path.read_bytes(), [], 0
    while content[place : place + 4] == b"PK\x03\x04":
        _, flags, method = struct.unpack("<HHH", content[place + 4 : place + 10])
        packed, plain, name, extra = struct.unpack("<IIHH", content[place + 18 : place + 30])
        start = place + 30 + name + extra
        found.append((content[place + 30 : place + 30 + name].decode(), method, flags & 1, start))
        assert packed == plain
        place = start + packed
    assert content[place : place + 4] == b"PK\x01\x02", "nothing lies between files and directory"
    return found


@pytest.mark.parametrize("kind", ["textured", "colored"])
def test_the_zip_is_uncompressed_aligned_and_begins_with_the_layer(
    tmp_path: Path, kind: str, textured: Mesh, colored: Mesh
) -> None:
    path = tmp_path / "coffee mug-0003.usdz"
    save_mesh(textured if kind == "textured" else colored, path, RECIPE)
    found = entries(path)
    names = ["coffee_mug_0003.usdc"] + ["coffee_mug_0003.png"] * (kind == "textured")
    assert [name for name, *_ in found] == names
    for _, method, encrypted, start in found:
        assert (method, encrypted, start % 64) == (0, 0, 0)
    with zipfile.ZipFile(path) as package:
        assert package.testzip() is None
        assert package.namelist() == names
        assert package.read(names[0])[:8] == b"PXR-USDC"
        if kind == "textured":
            picture = Image.open(package.open(names[1]))
            assert picture.format == "PNG"
            assert np.array_equal(np.asarray(picture), textured.texture)


@pytest.mark.parametrize("kind", ["textured", "colored"])
def test_the_layer_passes_the_validators_of_usd(
    tmp_path: Path, kind: str, textured: Mesh, colored: Mesh
) -> None:
    from pxr import Usd, UsdValidation

    save_mesh(textured if kind == "textured" else colored, tmp_path / "mug.usdz", RECIPE)
    registry = UsdValidation.ValidationRegistry()
    names = {entry.name for entry in registry.GetAllValidatorMetadata()}
    assert "usdUtilsValidators:UsdzPackageValidator" in names
    assert "usdGeomValidators:StageMetadataChecker" in names
    context = UsdValidation.ValidationContext(registry.GetOrLoadAllValidators())
    found = context.Validate(Usd.Stage.Open(str(tmp_path / "mug.usdz")))
    assert [error.GetErrorAsString() for error in found] == []


def test_the_validators_would_find_fault(tmp_path: Path, colored: Mesh) -> None:
    """Those used above are no formality: a layer without its metadata and a package with a foreign file fail."""
    from pxr import Sdf, Usd, UsdGeom, UsdValidation

    stage = Usd.Stage.CreateNew(str(tmp_path / "bare.usdc"))
    UsdGeom.Xform.Define(stage, "/root")
    stage.GetRootLayer().Save()
    (tmp_path / "notes.txt").write_text("not allowed")
    with Sdf.ZipFileWriter.CreateNew(str(tmp_path / "bare.usdz")) as archive:
        archive.AddFile(str(tmp_path / "bare.usdc"), "bare.usdc")
        archive.AddFile(str(tmp_path / "notes.txt"), "notes.txt")
    context = UsdValidation.ValidationContext(UsdValidation.ValidationRegistry().GetOrLoadAllValidators())
    found = context.Validate(Usd.Stage.Open(str(tmp_path / "bare.usdz")))
    said = " ".join(error.GetErrorAsString() for error in found)
    assert "upAxis" in said
    assert "notes.txt" in said


@pytest.mark.parametrize("kind", ["textured", "colored"])
def test_the_stage_holds_the_mesh_one_default_prim_and_its_licence(
    tmp_path: Path, kind: str, textured: Mesh, colored: Mesh
) -> None:
    from pxr import Usd, UsdGeom, UsdShade

    mesh = textured if kind == "textured" else colored
    save_mesh(mesh, tmp_path / "mug.usdz", RECIPE | {"meters_per_unit": 0.05})
    stage = Usd.Stage.Open(str(tmp_path / "mug.usdz"))
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y
    assert UsdGeom.GetStageMetersPerUnit(stage) == 0.05
    [root] = stage.GetPseudoRoot().GetChildren()
    assert stage.GetDefaultPrim() == root
    layer = stage.GetRootLayer()
    assert layer.customLayerData["license"] == "CC0-1.0"
    assert json.loads(layer.customLayerData["gp3d"])["seed"] == 7
    assert layer.documentation == "Licence: CC0-1.0. Made by gp3d 0.1.0."
    [part] = [UsdGeom.Mesh(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]
    assert np.array_equal(np.array(part.GetPointsAttr().Get()), mesh.vertices)
    assert np.array_equal(np.array(part.GetFaceVertexIndicesAttr().Get()), mesh.faces.reshape(-1))
    assert part.GetSubdivisionSchemeAttr().Get() == "none"
    material, _ = UsdShade.MaterialBindingAPI(part.GetPrim()).ComputeBoundMaterial()
    surface, *_ = material.ComputeSurfaceSource()
    assert surface.GetIdAttr().Get() == "UsdPreviewSurface"
    assert surface.GetInput("roughness").Get() == pytest.approx(0.9)
    assert surface.GetInput("metallic").Get() == 0
    source = surface.GetInput("diffuseColor").GetConnectedSources()[0][0].source
    shader = UsdShade.Shader(source.GetPrim())
    if kind == "textured":
        assert shader.GetIdAttr().Get() == "UsdUVTexture"
        assert shader.GetInput("file").Get().path == "mug.png"
        normals = np.array(part.GetNormalsAttr().Get())
        assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
        uv = UsdGeom.PrimvarsAPI(part).GetPrimvar("st")
        assert np.array_equal(np.array(uv.Get()), mesh.uv)
    else:
        assert shader.GetIdAttr().Get() == "UsdPrimvarReader_float3"
        assert shader.GetInput("varname").Get() == "displayColor"
        light = np.array(UsdGeom.PrimvarsAPI(part).GetPrimvar("displayColor").Get())
        assert np.allclose(light, srgb_to_linear(colored.vertex_colors / 255), atol=1e-6)


def test_quads_are_quads_where_no_seam_runs_along_their_diagonal(tmp_path: Path) -> None:
    from pxr import Usd, UsdGeom

    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0]], np.float32)
    vertices = np.concatenate([corners, corners[[1, 5]]])  # the second square has a seam along its diagonal
    faces = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [6, 7, 2], [3, 2, 5]], np.int32)
    mesh = Mesh(vertices, faces, quads=np.array([[0, 1], [2, 3]], np.int32))
    save_mesh(mesh, tmp_path / "squares.usdz")
    stage = Usd.Stage.Open(str(tmp_path / "squares.usdz"))
    [part] = [UsdGeom.Mesh(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]
    assert list(part.GetFaceVertexCountsAttr().Get()) == [4, 3, 3, 3]
    assert list(part.GetFaceVertexIndicesAttr().Get()) == [0, 1, 2, 3, 1, 4, 5, 6, 7, 2, 3, 2, 5]


def test_a_name_that_begins_with_a_digit_and_an_unknown_size_are_said_as_usd_wants(
    tmp_path: Path, colored: Mesh
) -> None:
    from pxr import Usd, UsdGeom

    save_mesh(colored, tmp_path / "3 Tässchen (2).usdz")
    stage = Usd.Stage.Open(str(tmp_path / "3 Tässchen (2).usdz"))
    assert stage.GetDefaultPrim().GetName() == "mesh_3_Tasschen_2"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert stage.GetRootLayer().customLayerData["license"] == "unknown"


def test_the_same_mesh_makes_the_same_usdz(tmp_path: Path, textured: Mesh) -> None:
    save_mesh(textured, tmp_path / "mug.usdz", RECIPE)
    before = (tmp_path / "mug.usdz").read_bytes()
    time.sleep(2.1)  # the clock of zip files counts in steps of two seconds
    save_mesh(textured, tmp_path / "mug.usdz", RECIPE)
    assert (tmp_path / "mug.usdz").read_bytes() == before

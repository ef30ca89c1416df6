"""USDZ as Apple's viewers take it: an uncompressed zip, aligned to 64 bytes, of a binary USD layer and its texture.

One default prim, y up, UsdPreviewSurface. Vertices are repeated along seams, as in GLB; `metersPerUnit` is the recipe's
`meters_per_unit`, or 1 where nobody knows how large the object is.
"""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.colors import save_texture, srgb_to_linear
from gp3d_core.meshing.files.description import (
    GENERATOR,
    METALLIC,
    ROUGHNESS,
    asset_name,
    credit,
    license_of,
    unit_normals,
)
from gp3d_core.meshing.files.formats import library_of
from gp3d_core.meshing.mesh import Mesh

_WHEN = 946_728_000  # when all files in the zip were written, so that the same mesh makes the same bytes


def write_usdz(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    """Writes `mesh` to `path`, the recipe in the layer's customLayerData; the file written.

    Raises LibraryError without usd-core, OSError if the file cannot be written whole.
    """
    library_of("usdz")
    from pxr import Tf

    try:
        _pack(mesh, path, recipe)
        with zipfile.ZipFile(path) as package:  # a full disk passes the library by
            damaged = package.testzip()
    except (Tf.ErrorException, zipfile.BadZipFile) as error:
        raise _not_whole(path) from error
    if damaged is not None:
        raise _not_whole(path)
    return [path]


def _not_whole(path: Path) -> OSError:
    return OSError(errno.ENOSPC, "could not be written whole; there may be no space left", str(path))


def _pack(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> None:
    from pxr import Sdf

    name = asset_name(path.stem)
    with TemporaryDirectory(dir=path.parent) as folder:
        layer, picture = Path(folder, f"{name}.usdc"), Path(folder, f"{name}.png")
        if mesh.texture is not None:
            save_texture(mesh.texture, picture)
        _write_layer(mesh, layer, name, recipe)
        with Sdf.ZipFileWriter.CreateNew(str(path)) as archive:
            for file in (layer, *Path(folder).glob("*.png")):  # the layer first: it is what viewers open
                os.utime(file, (_WHEN, _WHEN))
                archive.AddFile(str(file), file.name)


def _write_layer(mesh: Mesh, layer: Path, name: str, recipe: dict[str, Any]) -> None:
    from pxr import Kind, Usd, UsdGeom

    stage = Usd.Stage.CreateNew(str(layer))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, float(recipe.get("meters_per_unit") or 1))
    root = UsdGeom.Xform.Define(stage, f"/{name}").GetPrim()
    stage.SetDefaultPrim(root)
    Usd.ModelAPI(root).SetKind(Kind.Tokens.component)
    stage.GetRootLayer().documentation = credit(recipe)
    stage.GetRootLayer().customLayerData = {
        "license": license_of(recipe),
        "creator": GENERATOR,
        "gp3d": json.dumps(recipe),
    }
    part = _define_mesh(stage, f"/{name}/{name}_mesh", mesh)
    _bind_material(stage, f"/{name}/{name}_material", part, mesh, name)
    stage.GetRootLayer().Save()


def _define_mesh(stage: Any, where: str, mesh: Mesh) -> Any:
    from pxr import Sdf, UsdGeom, Vt

    part = UsdGeom.Mesh.Define(stage, where)
    points = Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(mesh.vertices))
    part.CreatePointsAttr(points)
    part.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(points))
    counts, indices = _polygons(mesh)
    part.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(counts))
    part.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(indices))
    part.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)  # else viewers would round the triangles off
    if mesh.normals is not None:
        part.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(unit_normals(mesh.normals)))
        part.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    variables = UsdGeom.PrimvarsAPI(part)
    if mesh.uv is not None:
        kind = Sdf.ValueTypeNames.TexCoord2fArray
        uv = variables.CreatePrimvar("st", kind, UsdGeom.Tokens.vertex)
        uv.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(mesh.uv)))
    if mesh.vertex_colors is not None and mesh.texture is None:
        colors: NDArray[Any] = srgb_to_linear(mesh.vertex_colors / 255).astype(np.float32)
        kind = Sdf.ValueTypeNames.Color3fArray
        shown = variables.CreatePrimvar("displayColor", kind, UsdGeom.Tokens.vertex)
        shown.Set(Vt.Vec3fArray.FromNumpy(colors))
    return part


def _polygons(mesh: Mesh) -> tuple[NDArray[Any], NDArray[Any]]:
    """Corners int32 [P] of every polygon, and the vertices int32 [sum of P] at them: quads, then the other triangles.

    Quads along whose diagonal a seam runs stay triangles, since a vertex has one place in the texture.
    """
    quads = np.zeros((0, 2), np.int32) if mesh.quads is None else mesh.quads
    first, second = mesh.faces[quads[:, 0]], mesh.faces[quads[:, 1]]
    whole = (first[:, [0, 2]] == second[:, [0, 1]]).all(axis=1)
    single = np.ones(len(mesh.faces), bool)
    single[quads[whole]] = False
    corners = np.concatenate([first[whole], second[whole][:, 2:]], axis=1)
    counts = np.repeat(np.array([4, 3], np.int32), [len(corners), single.sum()])
    return counts, np.concatenate([corners.reshape(-1), mesh.faces[single].reshape(-1)]).astype(np.int32)


def _bind_material(stage: Any, where: str, part: Any, mesh: Mesh, name: str) -> None:
    from pxr import Sdf, UsdShade

    material = UsdShade.Material.Define(stage, where)
    surface = _shader(stage, f"{where}/surface", "UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(ROUGHNESS)
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(METALLIC)
    color = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    if mesh.texture is not None:
        reader = _shader(stage, f"{where}/uv", "UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
        texture = _shader(stage, f"{where}/color", "UsdUVTexture")
        texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(f"{name}.png"))
        texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        for axis in ("wrapS", "wrapT"):
            texture.CreateInput(axis, Sdf.ValueTypeNames.Token).Set("clamp")
        uv = texture.CreateInput("st", Sdf.ValueTypeNames.Float2)
        uv.ConnectToSource(reader.CreateOutput("result", Sdf.ValueTypeNames.Float2))
        color.ConnectToSource(texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
    elif mesh.vertex_colors is not None:
        reader = _shader(stage, f"{where}/color", "UsdPrimvarReader_float3")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("displayColor")
        color.ConnectToSource(reader.CreateOutput("result", Sdf.ValueTypeNames.Float3))
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(part.GetPrim()).Bind(material)


def _shader(stage: Any, where: str, kind: str) -> Any:
    from pxr import UsdShade

    shader = UsdShade.Shader.Define(stage, where)
    shader.CreateIdAttr(kind)
    return shader

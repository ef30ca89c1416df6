"""The command with sizes, pivots, levels, hulls, quads and budgets: its files, read by trimesh, and its recipes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from gp3d_core import ObjectPipeline
from gp3d_core.assets import finishing
from gp3d_core.assets.files import write_parts
from gp3d_core.assets.finishing import Asset
from gp3d_core.assets.quads import QuadError
from gp3d_core.cli.main import main
from gp3d_core.generation.meshes import written_size
from gp3d_core.meshing.cleaning import mesh_report
from gp3d_core.meshing.files.obj import write_obj
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh, MeshError
from tests.support.node_readers import validate
from tests.support.solids import ball, box, has

QUICK = ["--grid", "40", "--faces", "1200", "--texture-size", "64", "--device", "cpu"]
MUG = ["mesh", "--class", "coffee mug", "--seeds", "1", *QUICK]


def command(*words: str) -> int:
    return main([*MUG, *words])


def asset_of(mesh: Mesh, lods: list[Mesh], hull: list[Mesh]) -> Asset:
    return Asset(mesh, lods, hull, {}, [], None)  # type: ignore[arg-type]


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.slow
@pytest.mark.skipif(not has("collision"), reason="coacd is not installed")
def test_an_asset_has_levels_a_hull_a_size_and_a_pivot_and_its_recipe_makes_it_again(tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    asked = [
        "--format",
        "obj,glb,npz",
        "--lods",
        "3",
        "--collision",
        "4",
        "--size",
        "real",
        "--pivot",
        "bottom",
    ]
    assert main(["mesh", "--class", "school bus", "--seeds", "1", *QUICK, *asked, "--out", str(out)]) == 0
    stem = "school_bus-0001"
    recipe = json.loads((out / f"{stem}.recipe.json").read_text())
    mesh = load_mesh(out / f"{stem}.glb")
    low, high = mesh_report(mesh).bounds
    assert max(np.subtract(high, low)) == pytest.approx(10.7, rel=1e-5)  # of a bus, in the table
    assert low[1] == pytest.approx(0, abs=1e-5)
    assert np.add(low, high)[[0, 2]] == pytest.approx([0, 0], abs=1e-5)
    assert recipe["meters_per_unit"] == 1.0
    assert recipe["volume"] == pytest.approx(mesh_report(mesh).volume, rel=1e-4)
    for number, level in enumerate(recipe["lod_levels"], 1):
        for suffix in ("obj", "glb", "npz"):
            coarse = load_mesh(out / f"{stem}_LOD{number}.{suffix}")
            assert len(coarse.faces) == level["faces"] == pytest.approx(1200 / 4**number, rel=0.05)
            assert mesh_report(coarse).watertight
            assert coarse.texture is not None
            assert len(coarse.texture) == level["texture_size"]
            away = level["distance"]["largest"] * np.linalg.norm(np.subtract(high, low))
            assert np.abs(np.subtract(mesh_report(coarse).bounds, (low, high))).max() <= away * 1.001
    parts = recipe["collision_hull"]["parts"]
    assert 2 <= parts <= 4
    names = [f"UCX_school_bus_0001_LOD0_{number:02d}" for number in range(parts)]
    hull = trimesh.load_scene(out / f"{stem}_collision.glb")
    assert sorted(hull.geometry) == names
    assert all(part.is_convex for part in hull.geometry.values())
    assert re.findall(r"^o (.+)$", (out / f"{stem}_collision.obj").read_text(), re.MULTILINE) == names
    assert mesh_report(load_mesh(out / f"{stem}_collision.npz")).components == parts
    everything = trimesh.load_scene(out / f"{stem}_asset.glb")
    assert sorted(everything.graph.nodes_geometry) == sorted(
        [*(f"school_bus_0001_LOD{number}" for number in range(3)), *names]
    )
    assert len(everything.geometry["school_bus_0001_LOD0"].faces) == len(mesh.faces)
    assert main(["mesh", "--recipe", str(out / f"{stem}.recipe.json"), "--out", str(again)]) == 0
    assert bytes_below(again) == bytes_below(out)


@pytest.mark.slow
def test_a_budget_is_met_in_every_format_and_its_recipe_needs_no_search(tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    asked = ["--max-size", "90k", "--lods", "2", "--format", "obj,glb,ply"]
    assert command(*asked, "--out", str(out)) == 0
    obj = sum((out / f"coffee_mug-0001.{suffix}").stat().st_size for suffix in ("obj", "mtl", "png"))
    sizes = [obj, *((out / f"coffee_mug-0001.{suffix}").stat().st_size for suffix in ("glb", "ply"))]
    assert max(sizes) <= 90_000
    assert max(sizes) > 60_000
    recipe = json.loads((out / "coffee_mug-0001.recipe.json").read_text())
    assert recipe["max_size"] is None  # what was found stands there instead
    assert recipe["face_budget"] < 1200
    assert main(["mesh", "--recipe", str(out / "coffee_mug-0001.recipe.json"), "--out", str(again)]) == 0
    assert bytes_below(again) == bytes_below(out)


@pytest.mark.slow
def test_triangles_that_stay_for_want_of_quads_meet_a_budget_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise QuadError("no quads: they leave holes")

    monkeypatch.setattr(finishing, "quad_mesh", fail)
    asked = ["--quads", "500", "--max-size", "30k", "--format", "glb", "--out", str(tmp_path)]
    assert command(*asked) == 0
    assert (tmp_path / "coffee_mug-0001.glb").stat().st_size <= 30_000
    assert "no quads: they leave holes; the triangles stay" in capsys.readouterr().err


@pytest.mark.slow
def test_what_an_earlier_mesh_left_is_named(tmp_path: Path) -> None:
    assert command("--format", "glb,ply", "--lods", "2", "--out", str(tmp_path)) == 0
    with pytest.warns(
        UserWarning, match=r"coffee_mug-0001: of an earlier mesh there are still (.*) and 2 more$"
    ):
        assert command("--format", "obj", "--color", "none", "--out", str(tmp_path)) == 0
    (tmp_path / "coffee_mug-00012.glb").write_bytes(b"")  # another object's
    for path in tmp_path.glob("coffee_mug-0001[._]*"):
        path.unlink()
    assert command("--format", "obj", "--out", str(tmp_path)) == 0


@pytest.mark.slow
def test_a_print_that_is_not_as_large_as_asked_for_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--format", "stl,glb", "--size", "0.5", "--out", str(tmp_path)) == 0
    assert (
        "stl: 100 mm high, for print; as large as the others with a real print height"
        in capsys.readouterr().err
    )
    assert command("--format", "stl", "--size", "0.5", "--print-height", "real", "--out", str(tmp_path)) == 0
    assert "mm high" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_budget_that_no_mesh_meets_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--max-size", "3k", "--out", str(tmp_path / "out")) != 0
    assert re.search(
        r"^gp3d: --max-size 3k: no mesh is so small; the smallest, 100 faces with a texture of 32, takes [\d.]+k$",
        capsys.readouterr().err,
        re.MULTILINE,
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not has("quads"), reason="pyinstantmeshes is not installed")
def test_quads_are_quads_in_an_obj_and_halves_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        "mesh",
        "--class",
        "wine bottle",
        "--seeds",
        "1",
        "--grid",
        "64",
        "--faces",
        "6000",
        "--device",
        "cpu",
    ]
    assert main([*asked, "--quads", "800", "--format", "obj,npz,glb", "--out", str(tmp_path)]) == 0
    recipe = json.loads((tmp_path / "wine_bottle-0001.recipe.json").read_text())
    count = recipe["quad_faces"]
    assert count == pytest.approx(800, rel=0.2)
    assert recipe["quad_distance"]["largest"] < 0.02
    lines = (tmp_path / "wine_bottle-0001.obj").read_text().splitlines()
    corners = [len(line.split()) - 1 for line in lines if line.startswith("f ")]
    assert corners.count(4) >= 0.98 * count  # a seam may cut a few
    assert corners.count(4) * 2 + corners.count(3) == 2 * count
    assert f"{len(corners)} faces" in lines[0]
    bundle = load_mesh(tmp_path / "wine_bottle-0001.npz")
    assert bundle.quads is not None
    assert len(bundle.quads) == count
    for suffix in ("obj", "glb"):
        found = load_mesh(tmp_path / f"wine_bottle-0001.{suffix}")
        assert len(found.faces) == 2 * count
        assert mesh_report(found).watertight
    assert f"{count} quads, at most" in (said := capsys.readouterr().err)
    assert "glb holds them in halves" in said


def test_where_quads_fail_the_triangles_stay_and_the_recipe_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise QuadError("no quads: 3 of 800 look inwards")

    monkeypatch.setattr(finishing, "quad_mesh", fail)
    monkeypatch.setattr("gp3d_core.meshing.files.formats._missing", lambda name: None)
    assert command("--quads", "800", "--out", str(tmp_path)) == 0
    assert "coffee_mug-0001: no quads: 3 of 800 look inwards; the triangles stay" in capsys.readouterr().err
    recipe = json.loads((tmp_path / "coffee_mug-0001.recipe.json").read_text())
    assert recipe["quads"] == 800
    assert recipe["quad_faces"] is None
    assert recipe["quads_failed"] == "no quads: 3 of 800 look inwards"
    assert not re.search(r"^f \S+ \S+ \S+ \S+$", (tmp_path / "coffee_mug-0001.obj").read_text(), re.MULTILINE)


@pytest.mark.parametrize(("option", "package"), [("quads", "pyinstantmeshes"), ("collision", "coacd")])
def test_a_missing_library_is_said_before_anything_is_made(
    option: str,
    package: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "gp3d_core.meshing.files.formats._missing", lambda name: package if name == option else None
    )
    assert command(f"--{option}", "60", "--out", str(tmp_path / "out")) != 0
    assert (
        f"{option} needs {package}, which is not installed: pip install {package}" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_a_size_without_a_class_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gp3d_core.assets.real_sizes.real_sizes", lambda: {})
    assert command("--size", "real", "--out", str(tmp_path / "out")) != 0
    assert "--size real: how large coffee mug is in the world is not known; give its longest side" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_python_makes_what_the_command_does(tmp_path: Path) -> None:
    asked = ["--size", "2.5", "--pivot", "center", "--lods", "2", "--format", "glb"]
    assert command(*asked, "--out", str(tmp_path / "command")) == 0
    mug = ObjectPipeline.from_pretrained(device="cpu").generate("coffee mug", seed=1)
    made = mug.mesh(grid=40, faces=1200, texture_size=64, size=2.5, pivot="center", lods=2)
    assert len(made.asset.lods) == 1
    made.save(tmp_path / "python" / "coffee_mug-0001.glb")
    assert bytes_below(tmp_path / "python") == bytes_below(tmp_path / "command")


def test_sizes_are_not_underrated_whatever_the_name(tmp_path: Path) -> None:
    mesh = replace(ball(0.5, 2), vertex_colors=np.full((162, 3), 99, np.uint8))
    recipe = {"seed": 3, "thumbnail": "a_class_with_a_rather_long_name-0003.thumbnail.png"}
    for suffix in ("obj", "glb", "ply", "npz"):
        written = save_mesh(mesh, tmp_path / f"a_class_with_a_rather_long_name-0003.{suffix}", recipe)
        actual = sum(path.stat().st_size for path in written)
        assert actual <= written_size(mesh, [suffix], {"seed": 3}) <= actual + 1500


def test_parts_of_one_glb_keep_their_own_normals_textures_and_places(tmp_path: Path) -> None:
    textured = ball(0.5, 2)
    uv = np.random.default_rng(0).random((len(textured.vertices), 2)).astype(np.float32)
    normals = (textured.vertices * 2).astype(np.float32)
    red, blue = (np.full((4, 4, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))
    first = Mesh(textured.vertices, textured.faces, uv=uv, texture=red, normals=normals)
    second = Mesh(textured.vertices + np.float32(2), textured.faces, uv=uv, texture=blue, normals=normals)
    names = write_parts(asset_of(first, [second], [box(1, 1, 1)]), tmp_path, "a-1", ["glb"], {"seed": 3})
    assert names == {
        "lods": [{"glb": "a-1_LOD1.glb"}],
        "collision": {"glb": "a-1_collision.glb"},
        "asset": "a-1_asset.glb",
    }
    scene = trimesh.load_scene(tmp_path / "a-1_asset.glb")
    assert sorted(scene.geometry) == ["UCX_a_1_LOD0_00", "a_1_LOD0", "a_1_LOD1"]
    for name, color, place in (("a_1_LOD0", (255, 0, 0), 0), ("a_1_LOD1", (0, 0, 255), 2)):
        part = scene.geometry[name]
        assert np.asarray(part.visual.material.baseColorTexture.convert("RGB"))[0, 0].tolist() == list(color)
        assert part.visual.material.name == name
        assert part.centroid == pytest.approx([place] * 3, abs=0.01)
        assert part.vertex_normals == pytest.approx(normals, abs=1e-5)
    assert len(scene.geometry["UCX_a_1_LOD0_00"].vertices) == 8


@pytest.mark.slow
def test_the_glb_with_everything_is_valid_gltf(tmp_path: Path) -> None:
    body = ball(0.5, 2)
    colors, normals = np.full((162, 3), 99, np.uint8), (body.vertices * 2).astype(np.float32)
    colored = replace(body, vertex_colors=colors, normals=normals)
    names = write_parts(asset_of(colored, [body], [box(1, 1, 1)]), tmp_path, "a", ["glb"], {"seed": 3})
    for name in (names["asset"], names["collision"]["glb"], names["lods"][0]["glb"]):
        issues = validate(tmp_path / name)["issues"]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_formats_for_printing_bring_the_hull_as_a_glb(tmp_path: Path) -> None:
    names = write_parts(asset_of(ball(0.5, 2), [], [box(1, 1, 1)]), tmp_path, "a", ["stl"], {})
    assert names == {"collision": {"glb": "a_collision.glb"}}
    assert list(trimesh.load_scene(tmp_path / "a_collision.glb").geometry) == ["UCX_a_00"]


def square(quads: Any = None, uv: Any = None) -> Mesh:
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], np.float32)
    faces = [[0, 1, 2], [0, 2, 3]] if uv is None else [[0, 1, 2], [4, 5, 3]]
    return Mesh(corners, np.array(faces, np.int32), uv=uv, quads=quads)


def test_a_quad_that_a_seam_cuts_is_written_in_halves(tmp_path: Path) -> None:
    pair = np.array([[0, 1]], np.int32)
    uv = np.arange(12, dtype=np.float32).reshape(6, 2)
    for mesh, corners in ((square(pair), [4]), (square(pair, uv), [3, 3]), (square(), [3, 3])):
        write_obj(mesh, tmp_path / "a.obj", {})
        lines = (tmp_path / "a.obj").read_text().splitlines()
        assert [len(line.split()) - 1 for line in lines if line.startswith("f ")] == corners
        assert len(load_mesh(tmp_path / "a.obj").faces) == 2


@pytest.mark.parametrize(
    ("pairs", "message"), [([[0, 2]], "quads name faces 0 to 2"), ([[1, 0]], "the halves of a quad")]
)
def test_quads_that_are_none_are_refused(pairs: list[list[int]], message: str) -> None:
    with pytest.raises(MeshError, match=message):
        square(np.array(pairs, np.int32))

"""Mesh and field side by side: the rasteriser against rays, the level that agrees, what was seen, recipes."""

import json
import math
import os
import re

import numpy as np
import pytest
import torch
import trimesh

from gp3d_core.cli.main import main
from gp3d_core.config.presets import PRESETS
from gp3d_core.config.schema import RenderConfig
from gp3d_core.hashing import digest
from gp3d_core.meshing import agreement, pipeline
from gp3d_core.meshing.agreement import agreeing_level, compare
from gp3d_core.meshing.extraction import density_grid, extract_mesh
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import affordable_size, project, render_mesh, seen_vertices
from gp3d_core.meshing.self_intersections import crossing_faces
from gp3d_core.meshing.texture.bake import vertex_colors
from gp3d_core.rendering.activation import DensityActivation
from gp3d_core.rendering.cameras import Cameras, mean_camera, sample_cameras, sample_rays, turn_camera
from gp3d_core.rendering.empty_space import skip_empty
from gp3d_core.snapshots.snapshot import load_snapshot
from tests.core.cli.test_cli import snapshot  # noqa: F401  (a fixture)

CAMERA = next(iter(PRESETS.values())).camera
RENDER = RenderConfig(
    coarse_steps=48, fine_steps=48, last_interval=1e-3, background="white", density_scale=30.0
)


def icosphere(radius=0.3) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return Mesh(sphere.vertices.astype(np.float32), sphere.faces.astype(np.int32))


def ball(points):
    """A ball of radius 0.3, with a sharp border, coloured by position."""
    return points / 0.3, 3000 * (0.3 - points.norm(dim=-1, keepdim=True))


ACTIVATION = DensityActivation(scale=30.0)


def test_of_faces_that_all_fill_the_picture_a_smaller_one_is_affordable():
    camera = mean_camera(CAMERA)
    assert affordable_size(icosphere(), camera, 640) == 640
    corner = np.array([[-0.4, -0.4, 0], [0.4, -0.4, 0], [0, 0.4, 0]], np.float32)
    pile = Mesh(corner, np.tile(np.array([[0, 1, 2]], np.int32), (2_000, 1)))
    size = affordable_size(pile, camera, 640)
    box = np.prod(np.ptp(project(corner, camera, size)[0], axis=0) + 1)  # pixels around the triangle
    assert 0.8 < 2_000 * box / 1e7 < 1.3
    assert render_mesh(pile, camera, size).mask.any()


def test_pictures_of_a_sphere_have_the_distances_of_its_rays():
    camera = turn_camera(mean_camera(CAMERA), 0.7)
    view = render_mesh(icosphere(), camera, 65)
    rays_o, rays_d = (part[0].double().numpy() for part in sample_rays(camera, 65))
    middle = np.einsum("rd,rd->r", -rays_o, rays_d)
    offset = 0.3**2 - (rays_o**2).sum(axis=1) + middle**2
    expected = np.where(offset > 0, middle - np.sqrt(np.maximum(offset, 0)), np.inf).reshape(65, 65)
    inner = (offset > 0.1 * 0.3**2).reshape(65, 65)
    assert np.allclose(view.depth[inner], expected[inner], atol=2e-3)
    assert np.mean(view.mask != np.isfinite(expected)) < 0.005


def test_nearer_faces_hide_farther_ones_and_colours_are_interpolated():
    corners = np.array(
        [[-1, -1, 0], [1, -1, 0], [0, 1, 0], [-1, -1, 0.2], [1, -1, 0.2], [0, 1, 0.2]], np.float32
    )
    colors = np.array([[0, 0, 255]] * 3 + [[255, 0, 0], [0, 255, 0], [255, 255, 0]], np.uint8)
    camera = mean_camera(CAMERA)
    for order in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        view = render_mesh(Mesh(corners, np.array(order, np.int32), vertex_colors=colors), camera, 33)
        assert view.rgb[16, 16, 2] == 0
        assert np.allclose(view.rgb[16, 16], [191, 191, 0], atol=2)


def test_only_the_side_towards_the_cameras_is_seen():
    mesh, front = icosphere(), mean_camera(CAMERA)
    seen = seen_vertices(mesh, front)
    depth = mesh.vertices[:, 2]
    assert seen[depth > 0.1].mean() > 0.99
    assert not seen[depth < -0.02].any()
    both = seen_vertices(mesh, Cameras.cat([front, turn_camera(front, math.pi)]))
    assert both[np.abs(depth) > 0.1].mean() > 0.99


def test_a_sharp_ball_and_its_mesh_look_the_same():
    mesh = vertex_colors(extract_mesh(ball, box=CAMERA.box, grid=96, level=0.0).mesh, ball)
    cameras = sample_cameras(CAMERA, 2, torch.Generator().manual_seed(0))
    same = compare(mesh, ball, cameras, CAMERA, RENDER, size=64)
    assert same.iou > 0.97
    assert same.psnr > 24
    smaller = Mesh(mesh.vertices * np.float32(0.8), mesh.faces, vertex_colors=mesh.vertex_colors)
    other = compare(smaller, ball, cameras, CAMERA, RENDER, size=64)
    assert other.iou == pytest.approx(0.64, abs=0.06)
    assert other.psnr < same.psnr - 3


def test_agreeing_level_has_the_fields_silhouette():
    def haze(points):
        return points, 4 - 8 * points.norm(dim=-1, keepdim=True) / 0.3

    survey = ACTIVATION(density_grid(haze, box=CAMERA.box, grid=48)).numpy()
    cameras = sample_cameras(CAMERA, 2, torch.Generator().manual_seed(0))
    level = agreeing_level(haze, survey, ACTIVATION, cameras, CAMERA)
    config = RENDER

    def iou(level):
        mesh = extract_mesh(haze, box=CAMERA.box, grid=64, level=ACTIVATION.inverse(level)).mesh
        return compare(mesh, haze, cameras, CAMERA, config, size=48).iou

    found = iou(level)
    assert found > 0.93
    assert found >= max(iou(level * 8), iou(level / 8)) - 0.01


def test_agreeing_level_gives_up_where_there_is_nothing():
    def nothing(points):
        return points, points[..., :1] * 0 - 50

    survey = np.zeros((8, 8, 8), np.float32)
    assert agreeing_level(nothing, survey, ACTIVATION, mean_camera(CAMERA), CAMERA) is None


def test_crossing_faces_are_counted_and_touching_ones_are_not():
    sphere = icosphere()
    assert len(crossing_faces(sphere.vertices, sphere.faces)) == 0
    vertices = np.array(
        [[0, 0, 0], [2, 0, 0], [0, 2, 0], [0.5, 0.5, -1], [0.5, 0.5, 1], [3, 3, 0.1]], np.float64
    )
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    assert crossing_faces(vertices, faces).tolist() == [[0, 1]]
    assert len(crossing_faces(vertices + np.repeat([[0, 0, 0], [5, 0, 0]], 3, axis=0), faces)) == 0
    both = np.concatenate([sphere.vertices, sphere.vertices + np.float32([0.2, 0.01, 0.003])])
    doubled = np.concatenate([sphere.faces, sphere.faces + len(sphere.vertices)])
    assert len(crossing_faces(both, doubled)) > 20


def _mesh(*arguments: object) -> int:
    return main(["mesh", *map(str, arguments), "--device", "cpu"])


@pytest.mark.slow
def test_a_recipe_makes_the_same_bytes_again(snapshot, tmp_path):  # noqa: F811
    first, again = tmp_path / "first", tmp_path / "again"
    spec = ["--class", "mushroom", "--seeds", "5", "--grid", "24", "--faces", "300", "--texture-size", "64"]
    assert (
        _mesh(
            snapshot,
            *spec,
            "--color",
            "both",
            "--truncation",
            "0.4",
            "--crop-depth",
            "0.9",
            "--format",
            "obj,glb,ply",
            "--out",
            first,
            "--compare",
        )
        == 0
    )
    recipe = first / "mushroom-0005.recipe.json"
    assert _mesh("--recipe", recipe, "--format", "obj,glb,ply", "--out", again) == 0
    for suffix in ("obj", "glb", "ply", "png"):
        name = f"mushroom-0005.{suffix}"
        assert (first / name).read_bytes() == (again / name).read_bytes(), suffix
    facts = json.loads(recipe.read_text())
    assert {"snapshot_sha256", "versions", "psnr", "iou", "self_intersections", "watertight"} <= set(facts)
    assert (first / "mushroom-0005.compare.png").is_file()
    assert not [path for path in first.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_recipe_of_another_snapshot_is_refused(snapshot, tmp_path, capsys):  # noqa: F811
    assert _mesh(snapshot, "--class", "mushroom", "--grid", "16", "--color", "none", "--out", tmp_path) == 0
    recipe = tmp_path / "mushroom-0000.recipe.json"
    other = tmp_path / "other.safetensors"
    other.write_bytes(snapshot.read_bytes() + b" ")
    capsys.readouterr()
    out = tmp_path / "out"
    assert _mesh(other, "--recipe", recipe, "--out", out) == 2
    assert "is not the recipe's snapshot: expected SHA-256" in capsys.readouterr().err
    facts = json.loads(recipe.read_text())
    recipe.write_text(json.dumps(facts | {"snapshot_path": "gone.safetensors"}))
    assert _mesh("--recipe", recipe, "--out", out) == 2
    assert f"is not at {tmp_path / 'gone.safetensors'}" in capsys.readouterr().err
    recipe.write_text('{"format": "gp3d-recipe", "version": 1}')
    assert _mesh("--recipe", recipe, "--out", out) == 2
    assert "class is missing" in capsys.readouterr().err
    recipe.write_text("no json")
    assert _mesh("--recipe", recipe, "--out", out) == 2
    assert "is not a recipe" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_a_moved_recipe_says_which_model_it_looked_for(snapshot, tmp_path, capsys):  # noqa: F811
    made = tmp_path / "made"
    assert _mesh(snapshot, "--class", "mushroom", "--grid", "16", "--color", "none", "--out", made) == 0
    moved = tmp_path / "away" / "with" / "it.json"
    moved.parent.mkdir(parents=True)
    (made / "mushroom-0000.recipe.json").rename(moved)
    capsys.readouterr()
    assert _mesh("--recipe", moved, "--out", tmp_path / "out") == 2
    place = (moved.parent / os.path.relpath(snapshot, made)).resolve()
    assert capsys.readouterr().err == (
        f"gp3d: {moved} was made with the model file {snapshot.name} (SHA-256 {digest(snapshot)[:12]}…, 2 classes), "
        f"which is not at {place}, where the recipe remembers it; say where it is: "
        f"gp3d mesh MODEL_FILE --recipe {moved}\n"
    )
    above = snapshot.parents[2]
    assert _mesh(above, "--recipe", moved, "--out", tmp_path / "out") == 2
    assert f"; did you mean {snapshot.parents[1]}?" in capsys.readouterr().err
    for given in (snapshot, snapshot.parents[1]):  # the remedy, with the file or the folder of its run
        assert _mesh(given, "--recipe", moved, "--out", tmp_path / "out") == 0


@pytest.mark.slow
def test_a_raw_level_is_reported_as_it_was_asked_for(snapshot, tmp_path, capsys):  # noqa: F811
    asked = ("--class", "mushroom", "--grid", "16", "--color", "none", "--out", tmp_path)
    assert _mesh(snapshot, *asked, "--level", "raw:900") == 2
    told = capsys.readouterr().err
    found = re.search(
        r"gp3d: --level raw:900\.0 is the density (\S+) after activation; no surface at level \1: ", told
    )
    assert found is not None, told
    assert _mesh(snapshot, *asked) == 0
    raw = _raw_density(json.loads((tmp_path / "mushroom-0000.recipe.json").read_text())["level"], snapshot)
    capsys.readouterr()
    assert _mesh(snapshot, *asked, "--level", f"raw:{raw}") == 0
    recipe = json.loads((tmp_path / "mushroom-0000.recipe.json").read_text())
    level = recipe["level"]
    assert recipe["raw_level"] == raw
    assert (
        f"faces, level raw:{raw!r}, which is {level:.4g} after activation; matches" in capsys.readouterr().err
    )


def _raw_density(level, path):
    """What activation makes `level` of."""
    return DensityActivation.of(load_snapshot(path).config.render).inverse(level)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "1024", "--max-mem", "1"], "a grid of 1024 needs about"),
        (["--level", "raw:900"], "try --level auto or a level near"),
        (["--level", "raw:x"], "--level: expects auto, a density above 0, or raw:NUMBER"),
        (["--crop-box", "0,0,0,1,1"], "--crop-box: expects six numbers"),
        (["--crop-box", "0,0,0,-1,1,1"], "--crop-box: expects six numbers"),
    ],
)
def test_bad_mesh_options_are_one_line_and_leave_no_file(snapshot, tmp_path, capsys, arguments, message):  # noqa: F811
    out = tmp_path / "out"
    assert _mesh(snapshot, "--class", "mushroom", "--grid", "16", "--out", out, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())
    assert _mesh("--out", out) == 2


@pytest.mark.slow
def test_what_was_never_seen_is_marked_in_the_files(snapshot, tmp_path):  # noqa: F811
    assert (
        _mesh(
            snapshot,
            "--class",
            "mushroom",
            "--grid",
            "24",
            "--color",
            "vertex",
            "--out",
            tmp_path,
            "--format",
            "npz,ply,glb",
        )
        == 0
    )
    mesh = load_mesh(tmp_path / "mushroom-0000.npz")
    assert set(np.unique(mesh.seen)) <= {0, 1}
    assert mesh.seen.any()
    glb = (tmp_path / "mushroom-0000.glb").read_bytes()
    assert b"_SEEN" in glb[:4000]
    assert b"property uchar seen" in (tmp_path / "mushroom-0000.ply").read_bytes()[:1000]


def test_scores_of_all_levels_are_those_of_each_one_by_its_definition():
    """Silhouettes where a ray exceeds the level, depths where it first does, for foggy rays that rise and fall."""
    generator = torch.Generator().manual_seed(0)
    sigma = torch.randn(400, 30, generator=generator).cumsum(dim=1).relu()
    sigma[:50] = 0  # rays that meet nothing
    t = torch.linspace(1.0, 2.0, 30)
    solid = (sigma.amax(dim=1) > 3) ^ (torch.rand(400, generator=generator) < 0.2)
    depth = 1 + torch.rand(400, generator=generator)
    levels = [0.5, float(sigma[100, 3]), 4.0, 7.0, float(sigma.max())]
    expected = []
    for level in levels:
        inside = sigma > level
        hit = inside.any(dim=1)
        both = hit & solid
        if not bool(both.any()):
            expected.append(-math.inf)
            continue
        first = t[inside[both].to(torch.uint8).argmax(dim=1)]
        iou = float(both.sum() / (hit | solid).sum())
        expected.append(iou - 0.25 * float((first - depth[both]).abs().mean()) / 0.55)
    assert expected[-1] == -math.inf
    assert agreement._scores(sigma, t, solid, depth, np.array(levels), 0.55) == expected


def test_what_is_empty_of_a_field_is_found_once_for_level_and_views(snapshot, tmp_path, monkeypatch):  # noqa: F811
    found = []

    def counted(*arguments, **named):
        found.append(skip_empty(*arguments, **named))
        return found[-1]

    monkeypatch.setattr(pipeline, "skip_empty", counted)
    seen = []
    monkeypatch.setattr(pipeline, "compare", lambda *given: seen.append(given[1]) or compare(*given))
    assert _mesh(snapshot, "--class", "mug", "--out", tmp_path, "--grid", 16, "--color", "none") == 0
    assert seen == found
    assert len(found) == 1

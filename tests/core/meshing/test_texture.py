"""Colours baked from analytic fields, looked up again by hand, by trimesh and by Blender."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from gp3d_core.meshing.cleaning import mesh_report
from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.extraction import extract_mesh
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.meshing.texture.bake import atlas_use, bake_texture, fitting_size, vertex_colors
from gp3d_core.meshing.texture.texels import (
    barycentric,
    candidates,
    centres,
    face_batches,
    surface_texels,
)
from gp3d_core.meshing.texture.unwrap import UnwrapError, unwrap

RED, GREEN, BLUE = (230, 20, 20), (20, 200, 20), (20, 20, 220)

IMPORT_INTO_BLENDER = """
import json, os, sys
import bpy

def describe(path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    load = bpy.ops.wm.obj_import if path.endswith(".obj") else bpy.ops.import_scene.gltf
    load(filepath=path)
    (thing,) = (o for o in bpy.data.objects if o.type == "MESH")
    mesh, slots = thing.data, thing.material_slots
    world = [list(thing.matrix_world @ v.co) for v in mesh.vertices]
    node = slots[0].material.node_tree.nodes["Principled BSDF"]
    base = node.inputs["Base Color"]
    image = base.links[0].from_node.image if base.is_linked and base.links[0].from_node.type == "TEX_IMAGE" else None
    uv = mesh.uv_layers.active
    return {
        "world": world,
        "faces": [list(p.vertices) for p in mesh.polygons],
        "uv": [list(uv.data[i].uv) for p in mesh.polygons for i in p.loop_indices] if uv else None,
        "smooth": all(p.use_smooth for p in mesh.polygons),
        "roughness": node.inputs["Roughness"].default_value,
        "metallic": node.inputs["Metallic"].default_value,
        "base": list(base.default_value)[:3],
        "image": [list(image.size), list(image.pixels)] if image else None,
        "colorspace": image.colorspace_settings.name if image else None,
        "srgb": [list(c.color_srgb)[:3] for c in mesh.color_attributes[0].data] if mesh.color_attributes else None,
        "domain": mesh.color_attributes[0].domain if mesh.color_attributes else None,
    }

json.dump([describe(path) for path in sys.argv[2:]], open(sys.argv[1], "w"))
os._exit(0)
"""


def _ball(points):
    """A unit ball coloured by position: its rgb is a known function of the point."""
    return points / 1.3, 1 - points.norm(dim=-1, keepdim=True)


def _egg(points):
    """An egg, longest along y and shortest along x: red in front, green on top, blue elsewhere."""
    x, y, z = points.unbind(-1)
    colors = [torch.tensor(color) / 127.5 - 1 for color in (RED, GREEN, BLUE)]
    rgb = torch.where(
        (y > 0.55)[..., None], colors[1], torch.where((z > 0.3)[..., None], colors[0], colors[2])
    )
    return rgb, (1 - ((x / 0.4) ** 2 + (y / 0.9) ** 2 + (z / 0.7) ** 2).sqrt()).unsqueeze(-1)


def _surface_samples(mesh: Mesh, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random points spread evenly over the surface, and their uv."""
    rng = np.random.default_rng(0)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = rng.choice(len(area), count, p=area / area.sum())
    weights = rng.dirichlet((1, 1, 1), count)
    uv = np.einsum("ck,ckd->cd", weights, mesh.uv[mesh.faces[face]])
    return np.einsum("ck,ckd->cd", weights, corners[face]), uv


@pytest.fixture(scope="module")
def ball() -> Mesh:
    return extract_mesh(_ball, box=1.2, grid=32, level=0.0, faces=1500).mesh


@pytest.fixture(scope="module")
def baked(ball) -> Mesh:
    return bake_texture(ball, _ball, size=512)


@pytest.fixture(scope="module")
def egg() -> Mesh:
    mesh = extract_mesh(_egg, box=1.0, grid=32, level=0.0, faces=1500).mesh
    return bake_texture(mesh, _egg, size=256)


@pytest.fixture(scope="module")
def in_blender(egg, tmp_path_factory) -> dict[str, dict]:
    """What Blender makes of the egg in four kinds of files."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("bpy is not installed")
    folder = tmp_path_factory.mktemp("blender")
    plain = vertex_colors(Mesh(egg.vertices, egg.faces, normals=egg.normals), _egg)
    meshes = {"textured.obj": egg, "textured.glb": egg, "colored.obj": plain, "colored.glb": plain}
    for name, mesh in meshes.items():
        save_mesh(mesh, folder / name)
    answer = folder / "answer.json"
    files = [str(folder / name) for name in meshes]
    subprocess.run(
        [sys.executable, "-c", IMPORT_INTO_BLENDER, str(answer), *files],
        timeout=120,
        check=True,
        capture_output=True,
    )
    return dict(zip(meshes, json.loads(answer.read_text()), strict=True))


def test_vertex_colors_are_the_fields_at_the_vertices(ball):
    colored = vertex_colors(ball, _ball, chunk=100)
    expected = np.round((ball.vertices / 1.3 + 1) * 127.5)
    assert np.abs(colored.vertex_colors - expected).max() <= 1
    assert np.array_equal(colored.faces, ball.faces)


def test_colors_beyond_the_range_are_clamped(ball):
    colored = vertex_colors(ball, lambda p: (5 * p.sign(), p[..., :1]))
    assert np.array_equal(colored.vertex_colors > 127, ball.vertices > 0)
    assert set(np.unique(colored.vertex_colors)) <= {0, 128, 255}


def test_the_texture_gives_the_fields_colors_back_everywhere_on_the_surface(baked):
    points, uv = _surface_samples(baked, 20000)
    error = np.abs(sample_texture(baked.texture, uv) - (points / 1.3 + 1) * 127.5)
    assert error.max() <= 2


def test_baking_changes_neither_surface_nor_normals(ball, baked):
    assert np.array_equal(baked.vertices[baked.faces], ball.vertices[ball.faces])
    assert np.array_equal(baked.normals[baked.faces], ball.normals[ball.faces])
    assert mesh_report(baked) == mesh_report(ball)
    assert baked.uv.min() >= 0
    assert baked.uv.max() <= 1


def _texels_of_lookups(mesh: Mesh, size: int, level: int) -> np.ndarray:
    """Rows and columns [N,2] of all texels that bilinear lookups at the corners of all faces mix in at a mip level."""
    coarse, corners = size >> level, mesh.uv[np.unique(mesh.faces)].astype(np.float64)
    place = np.stack([(1 - corners[:, 1]) * coarse - 0.5, corners[:, 0] * coarse - 0.5], axis=1)
    first = np.floor(place).astype(int)[:, None] + [[0, 0], [0, 1], [1, 0], [1, 1]]
    blocks = np.unique(np.clip(first, 0, coarse - 1).reshape(-1, 2), axis=0)
    inner = np.stack(np.meshgrid(*[np.arange(1 << level)] * 2), axis=-1).reshape(-1, 2)
    return ((blocks << level)[:, None] + inner).reshape(-1, 2)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_no_lookup_at_a_corner_sees_background(level):
    """A field of two colours far from their mean: what is neither red nor green nor between them is background."""

    def field(points):
        red, green = torch.tensor([0.8, -0.9, -0.9]), torch.tensor([-0.9, 0.8, -0.9])
        return torch.where(points[..., :1] > 0, red, green), 1 - points.norm(dim=-1, keepdim=True)

    ball = extract_mesh(field, box=1.2, grid=24, level=0.0, faces=800).mesh
    mesh = bake_texture(ball, field, size=256)
    row, column = _texels_of_lookups(mesh, 256, level).T
    colors = mesh.texture[row, column].astype(int)
    pure = [np.abs(colors - color).max(axis=1) <= 1 for color in ((230, 13, 13), (13, 230, 13))]
    assert (pure[0] | pure[1]).all()
    assert min(part.sum() for part in pure) > 100


def test_texels_beside_charts_have_the_color_of_the_nearest_one(baked):
    texels, _ = surface_texels(baked, 512)
    used = np.zeros((512, 512), bool)
    used.reshape(-1)[texels] = True
    assert 0.3 < used.mean() < 0.95
    rows, columns = np.nonzero(used)
    rng = np.random.default_rng(0)
    outside = np.argwhere(~used)
    for row, column in outside[rng.choice(len(outside), 200, replace=False)]:
        distance = (rows - row) ** 2 + (columns - column) ** 2
        nearest = np.flatnonzero(distance == distance.min())
        colors = baked.texture[rows[nearest], columns[nearest]]
        assert (colors == baked.texture[row, column]).all(axis=1).any()


def test_texels_lie_on_the_faces_that_own_them():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    mesh = Mesh(corners, np.array([[0, 1, 2]], np.int32), uv=corners[:, :2].copy())
    texels, points = surface_texels(mesh, 16)
    rows, columns = np.divmod(texels, 16)
    assert np.allclose(
        points, np.stack([(columns + 0.5) / 16, 1 - (rows + 0.5) / 16, 0 * rows], axis=1), atol=1e-6
    )
    inside = (points[:, :2].sum(axis=1) <= 1).sum()
    assert inside == 16 * 17 / 2
    # texels on the anti-diagonals next to the long edge, less than 1.5 texels away, bleed: sqrt(1/2) and sqrt(2)
    assert len(texels) == inside + 15 + 14


@pytest.mark.parametrize("bleed", [0.0, 1.5, -0.02])
def test_candidates_are_all_texels_that_lie_so_deep_in_a_face(bleed):
    """Against every texel of the picture, looked at one by one; corners lie between texels, on them, and outside."""
    random, size = np.random.default_rng(3), 24
    corners = random.uniform(-6, size + 6, (200, 3, 2))
    corners[::2] = np.round(corners[::2])  # edges go through texels
    corners[::4, 1, 1] = corners[::4, 0, 1]  # and along rows
    corners[1::4, 2] = corners[1::4, 0] + random.normal(0, 0.1, (50, 2))  # slivers
    kept = np.concatenate(list(face_batches(corners, size, bleed)))
    texel = np.arange(size * size)
    place = centres(texel, size)
    must, may = [], []
    for face in kept:
        _, inside = barycentric(place, np.broadcast_to(corners[face], (size * size, 3, 2)))
        reach = max(bleed, 0.0)
        box = ((place >= corners[face].min(0) - reach) & (place <= corners[face].max(0) + reach)).all(axis=1)
        must.append(box & (inside >= -bleed))
        may.append(inside >= -bleed - 1e-5)
    found = np.zeros((len(kept), size * size), int)
    np.add.at(found, candidates(corners[kept], size, bleed), 1)
    assert found.max() == 1
    assert (found >= must).all()
    assert (found <= may).all()
    assert np.sum(must) > 3000


def test_a_mirrored_chart_has_the_same_texels():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    uv = corners[:, :2].copy()
    ways = [Mesh(corners, np.array([order], np.int32), uv=uv) for order in ([0, 1, 2], [0, 2, 1])]
    texels, points = zip(*(surface_texels(mesh, 16) for mesh in ways), strict=True)
    assert np.array_equal(*texels)
    assert np.allclose(*points, atol=1e-6)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_texel_belongs_to_the_face_that_contains_it(order):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 5]], np.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2]], np.int32)[order]
    _, points = surface_texels(Mesh(corners, faces, uv=corners[:, :2].copy()), 16)
    assert len(points) == 256
    beyond = np.maximum(points[:, 0] + points[:, 1] - 1, 0)
    assert np.allclose(points[:, 2], 5 * beyond, atol=1e-5)


def test_the_size_that_fits_grows_with_the_surface_and_its_detail():
    ball = trimesh.creation.icosphere(subdivisions=4)
    ball = Mesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32))  # area 4 π
    edges = {step: 10 / 3 / step * (4 * np.pi / 0.55) ** 0.5 for step in (0.2, 0.1, 0.01, 1e-5, 9.0)}
    found = {step: fitting_size(ball, step) for step in edges}
    assert all(abs(np.log2(found[step] / edges[step])) <= 0.501 for step in (0.2, 0.1, 0.01))
    assert (found[0.1], found[1e-5], found[9.0]) == (128, 4096, 64)
    twice = Mesh(2 * ball.vertices, ball.faces)
    assert fitting_size(twice, 0.1) == 2 * found[0.1]


def test_the_used_share_of_an_atlas_is_what_faces_cover(ball, baked):
    assert atlas_use(ball) is None
    texels, _ = surface_texels(baked, 512)
    assert atlas_use(baked) == pytest.approx(len(texels) / 512**2, abs=0.1)  # those bleed
    assert atlas_use(baked) < len(texels) / 512**2
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    quarter = Mesh(square, np.array([[0, 1, 2], [0, 2, 3]], np.int32), uv=square[:, :2] / 2)
    assert atlas_use(quarter) == pytest.approx(0.25)


def test_slivers_take_their_color_from_a_neighbour():
    sphere = trimesh.creation.icosphere(subdivisions=2)
    (a, b, c), others = sphere.faces[0], sphere.faces[1:]
    middle = len(sphere.vertices)
    vertices = np.vstack([sphere.vertices, sphere.vertices[[a, b]].mean(axis=0)]).astype(np.float32)
    faces = np.vstack([others, [[a, middle, c], [middle, b, c], [a, b, middle]]]).astype(np.int32)
    mesh = Mesh(vertices, faces)
    assert mesh_report(mesh).watertight
    baked = bake_texture(mesh, _ball, size=256)
    sliver = baked.faces[-1]
    expected = (vertices[faces[-1]] / 1.3 + 1) * 127.5
    seen = sample_texture(baked.texture, baked.uv[sliver])
    assert np.abs(seen - expected).max() <= np.ptp(expected, axis=0).max() + 2


def test_an_atlas_out_of_time_falls_back_to_vertex_colors_and_says_why(ball):
    with pytest.warns(
        UserWarning, match=r"no texture: the atlas of \d+ faces was not ready after 0\.01 s; .*vertex colours"
    ):
        mesh = bake_texture(ball, _ball, size=64, seconds=0.01)
    assert mesh.texture is None
    assert np.abs(mesh.vertex_colors - (ball.vertices / 1.3 + 1) * 127.5).max() <= 1


def test_unwrap_reports_what_xatlas_cannot_do():
    with pytest.raises(UnwrapError, match="no atlas for 1 faces"):
        unwrap(np.zeros((0, 3), np.float32), np.zeros((1, 3), np.int32), size=64, seconds=30)


def test_fields_with_nan_colors_and_tiny_sizes_are_refused(ball):
    with pytest.raises(MeshError, match="colour is NaN"):
        vertex_colors(ball, lambda p: (p * float("nan"), p[..., :1]))
    with pytest.raises(ValueError, match="at least 16, found 0"):
        bake_texture(ball, _ball, size=0)


def test_trimesh_sees_a_closed_egg_with_its_colors(egg, tmp_path: Path):
    save_mesh(egg, tmp_path / "egg.obj")
    loaded = trimesh.load_mesh(tmp_path / "egg.obj", process=False)
    texture = np.asarray(loaded.visual.material.image.convert("RGB"))
    seen = sample_texture(texture, np.asarray(loaded.visual.uv)[loaded.faces].mean(axis=1))
    centres = loaded.triangles_center
    _check_colors(seen, front=centres[:, 2], up=centres[:, 1])
    loaded.merge_vertices(merge_tex=True, merge_norm=True)
    assert loaded.is_watertight
    assert loaded.volume > 0
    assert np.allclose(loaded.extents, [0.8, 1.8, 1.4], atol=0.05)


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("name", ["textured.obj", "textured.glb"])
def test_blender_sees_a_textured_egg_upright_with_its_front_at_minus_y(in_blender, name):
    egg = in_blender[name]
    world, faces = np.array(egg["world"]), np.array(egg["faces"])
    assert np.allclose(np.ptp(world, axis=0), [0.8, 1.4, 1.8], atol=0.05)
    (width, height), pixels = egg["image"]
    assert min(width, height) > 0
    assert egg["colorspace"] == "sRGB"
    picture = np.round(np.array(pixels).reshape(height, width, 4)[::-1, :, :3] * 255).astype(np.uint8)
    seen = sample_texture(picture, np.array(egg["uv"]).reshape(-1, 3, 2).mean(axis=1))
    centres = world[faces].mean(axis=1)
    _check_colors(seen, front=-centres[:, 1], up=centres[:, 2])
    corners = world[faces]
    volumes = np.einsum("fd,fd->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert volumes.sum() > 0, "faces still look outwards"
    assert (egg["roughness"], egg["metallic"]) == (pytest.approx(0.9), 0)
    assert egg["smooth"]


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("name", ["colored.obj", "colored.glb"])
def test_blender_sees_the_same_vertex_colors_in_obj_and_glb(in_blender, name):
    egg = in_blender[name]
    world, faces = np.array(egg["world"]), np.array(egg["faces"])
    place = world if egg["domain"] == "POINT" else world[faces].reshape(-1, 3)
    seen = np.round(np.array(egg["srgb"]) * 255)
    _check_colors(seen, front=-place[:, 1], up=place[:, 2])
    assert np.allclose(np.ptp(world, axis=0), [0.8, 1.4, 1.8], atol=0.05)
    assert (egg["roughness"], egg["metallic"]) == (pytest.approx(0.9), 0)


@pytest.mark.blender
@pytest.mark.slow
def test_blender_gives_a_vertex_colored_obj_a_material_that_is_not_grey(in_blender):
    red, green, blue = in_blender["colored.obj"]["base"]
    assert blue > red > green, "the egg is mostly blue, with more red than green"


def _check_colors(seen: np.ndarray, *, front: np.ndarray, up: np.ndarray) -> None:
    """Asserts the egg's three colours where they belong, away from their borders."""
    for color, place in (
        (GREEN, up > 0.65),
        (RED, (front > 0.4) & (up < 0.45)),
        (BLUE, (front < 0.2) & (up < 0.45)),
    ):
        assert place.sum() > 10
        assert np.abs(seen[place].astype(float) - color).max() <= 2

"""One coloured object written in every format looks the same to Open3D and to Blender.

Both read the files in child processes. What each shows at its own vertices or face centres is compared with the colour
that the object's field has there, away from borders between colours.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gp3d_core.meshing.extraction import extract_mesh
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.texture.bake import bake_texture, vertex_colors

pytestmark = pytest.mark.slow

COLORS = np.array(
    [(220, 20, 20), (20, 190, 20), (20, 20, 210), (128, 128, 128)]
)  # front, top, right, elsewhere
BORDER, MARGIN = 0.35, 0.1
TOLERANCE = 3  # of 255
TEXTURED = ("textured.obj", "textured.glb")
COLORED = ("colored.obj", "colored.glb", "colored.ply", "textured.ply")
FOR_BLENDER = ("textured.quantize.glb", "textured.usdz")  # Open3D reads neither
COLORED_FOR_BLENDER = ("colored.quantize.glb", "colored.usdz")

READ_WITH_OPEN3D = """
import json, os, sys
import numpy as np
import open3d

def texture(images):
    full = [image for image in images if image is not None and not image.is_empty()]
    return np.asarray(full[0]).tolist() if full else None

def describe(mesh, images, base):
    return {
        "vertices": np.asarray(mesh.vertices).tolist(),
        "faces": np.asarray(mesh.triangles).tolist(),
        "uv": np.asarray(mesh.triangle_uvs).tolist(),
        "colors": np.asarray(mesh.vertex_colors).tolist(),
        "texture": texture(images),
        "base": base,
    }

def as_model(path):
    model = open3d.io.read_triangle_model(path)
    (part,), (material,) = model.meshes, model.materials
    return describe(part.mesh, [material.albedo_img], list(map(float, material.base_color)))

def as_mesh(path):
    mesh = open3d.io.read_triangle_mesh(path)
    images = mesh.textures
    return describe(mesh, images, None)

answer = {path: {"mesh": as_mesh(path)} for path in sys.argv[2:]}
for path in sys.argv[2:]:
    if not path.endswith(".ply"):
        answer[path]["model"] = as_model(path)
with open(sys.argv[1], "w") as file:
    json.dump(list(answer.values()), file)
os._exit(0)
"""

READ_WITH_BLENDER = """
import json, os, sys
import bpy

def describe(path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    load = {"obj": bpy.ops.wm.obj_import, "glb": bpy.ops.import_scene.gltf, "ply": bpy.ops.wm.ply_import}
    load["usdz"] = bpy.ops.wm.usd_import
    load[path.rpartition(".")[2]](filepath=path)
    (thing,) = (o for o in bpy.data.objects if o.type == "MESH")
    mesh, uv, colors = thing.data, thing.data.uv_layers.active, thing.data.color_attributes
    materials = [slot.material for slot in thing.material_slots]
    base = materials[0].node_tree.nodes["Principled BSDF"].inputs["Base Color"] if materials else None
    node = base.links[0].from_node if materials and base.is_linked else None
    image = node.image if node and node.type == "TEX_IMAGE" else None
    return {
        "vertices": [list(thing.matrix_world @ v.co) for v in mesh.vertices],
        "faces": [list(p.vertices) for p in mesh.polygons],
        "uv": [list(uv.data[i].uv) for p in mesh.polygons for i in p.loop_indices] if uv else None,
        "domain": colors[0].domain if colors else None,
        "light": [list(c.color)[:3] for c in colors[0].data] if colors else None,
        "material": bool(materials),
        "shows": node.type if node else None,
        "base": list(base.default_value)[:3] if materials else None,
        "texture": [list(image.size), list(image.pixels), image.colorspace_settings.name] if image else None,
    }

answer = [describe(path) for path in sys.argv[2:]]
with open(sys.argv[1], "w") as file:
    json.dump(answer, file)
os._exit(0)
"""


def _choice(points: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Which of COLORS points [...,3] have."""
    x, y, z = torch.as_tensor(points).unbind(-1)
    side = torch.where(x > BORDER, 2, 3)
    return torch.where(z > BORDER, 0, torch.where(y > BORDER, 1, side))


def _field(points):
    """A ball, red in front, green on top, blue to the right, grey elsewhere."""
    return torch.as_tensor(COLORS).float()[_choice(points)] / 127.5 - 1, 0.8 - points.norm(
        dim=-1, keepdim=True
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The ball in every format."""
    folder = tmp_path_factory.mktemp("look")
    plain = extract_mesh(_field, box=1.0, grid=24, level=0.0).mesh
    textured, colored = bake_texture(plain, _field, size=256), vertex_colors(plain, _field)
    names = (*TEXTURED, *COLORED, *FOR_BLENDER, *COLORED_FOR_BLENDER)
    for name in names:
        recipe = {"compress": "quantize"} if "quantize" in name else {}
        save_mesh(textured if name.startswith("textured") else colored, folder / name, recipe)
    return {name: folder / name for name in names}


def _answers(program: str, files: dict[str, Path]) -> dict[str, dict]:
    """What `program`, run in a child process, says about each file."""
    answer = next(iter(files.values())).parent / "answer.json"
    command = [sys.executable, "-c", program, str(answer), *map(str, files.values())]
    subprocess.run(command, timeout=120, check=True, capture_output=True)
    return dict(zip(files, json.loads(answer.read_text()), strict=True))


@pytest.fixture(scope="module")
def in_open3d(files) -> dict[str, dict]:
    if importlib.util.find_spec("open3d") is None:
        pytest.skip("open3d is not installed")
    return _answers(READ_WITH_OPEN3D, {name: files[name] for name in (*TEXTURED, *COLORED)})


@pytest.fixture(scope="module")
def in_blender(files) -> dict[str, dict]:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("bpy is not installed")
    return _answers(READ_WITH_BLENDER, files)


def _encoded(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] as sRGB in [0, 255], by the definition of IEC 61966-2-1."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _texels(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """The nearest texels of a picture, first row on top, at uv [N,2] with v up."""
    height, width = texture.shape[:2]
    rows, columns = (1 - uv[:, 1]) * height, uv[:, 0] * width
    return texture[rows.astype(int).clip(0, height - 1), columns.astype(int).clip(0, width - 1), :3]


def _check_look(points: np.ndarray, seen: np.ndarray) -> None:
    """Asserts that `seen` [N,3] in [0, 255] is the field's colour at `points` [N,3], on all four parts."""
    clear = (np.abs(points - BORDER) > MARGIN).all(axis=1)
    choice = _choice(points).numpy()
    assert (np.bincount(choice[clear], minlength=4) > 20).all(), "every colour is looked at"
    assert np.abs(seen - COLORS[choice])[clear].max() <= TOLERANCE


def _centres(obj: dict) -> tuple[np.ndarray, np.ndarray]:
    """Face centres [F,3] and their uv [F,2]."""
    vertices, uv = np.array(obj["vertices"]), np.array(obj["uv"])
    return vertices[np.array(obj["faces"])].mean(axis=1), uv.reshape(-1, 3, 2).mean(axis=1)


@pytest.mark.parametrize("name", TEXTURED)
@pytest.mark.parametrize("reader", ["mesh", "model"])
def test_open3d_shows_the_texture(in_open3d, name, reader):
    obj = in_open3d[name][reader]
    texture = np.array(obj["texture"])
    points, uv = _centres(obj)
    _check_look(
        points, _texels(texture[::-1] if reader == "mesh" else texture, uv)
    )  # meshes: first row below
    assert obj["base"] in (None, [1, 1, 1, 1]), "nothing tints it"
    assert not obj["colors"]


@pytest.mark.parametrize("name", COLORED)
def test_open3d_shows_the_vertex_colors(in_open3d, name):
    obj = in_open3d[name]["mesh"]
    colors = np.array(obj["colors"])
    _check_look(np.array(obj["vertices"]), _encoded(colors) if name.endswith(".glb") else 255 * colors)


def test_open3d_does_not_tint_the_vertex_colors_of_a_glb(in_open3d):
    obj = in_open3d["colored.glb"]["model"]
    assert obj["base"] == [1, 1, 1, 1]
    _check_look(np.array(obj["vertices"]), _encoded(np.array(obj["colors"])))


def _in_gp3d_frame(name: str, obj: dict) -> dict:
    """`thing` turned back from Blender's world, where importers of OBJ and GLB, unlike PLY's, have put z up."""
    x, y, z = np.array(obj["vertices"]).T
    return obj if name.endswith(".ply") else obj | {"vertices": np.stack([x, z, -y], axis=1)}


@pytest.mark.blender
@pytest.mark.parametrize("name", [*TEXTURED, *FOR_BLENDER])
def test_blender_shows_the_texture(in_blender, name):
    obj = _in_gp3d_frame(name, in_blender[name])
    (width, height), pixels, space = obj["texture"]
    points, uv = _centres(obj)
    _check_look(points, 255 * _texels(np.array(pixels).reshape(height, width, 4)[::-1], uv))
    assert (obj["shows"], space) == ("TEX_IMAGE", "sRGB")


@pytest.mark.blender
@pytest.mark.parametrize("name", [*COLORED, *COLORED_FOR_BLENDER])
def test_blender_holds_the_vertex_colors_as_light(in_blender, name):
    obj = _in_gp3d_frame(name, in_blender[name])
    vertices = np.array(obj["vertices"])
    points = vertices if obj["domain"] == "POINT" else vertices[np.array(obj["faces"]).reshape(-1)]
    _check_look(points, _encoded(np.array(obj["light"])))


@pytest.mark.blender
def test_blender_shows_the_vertex_colors_of_a_glb_at_once_those_of_obj_and_ply_by_hand(in_blender):
    shows = {name: (in_blender[name]["material"], in_blender[name]["shows"]) for name in COLORED}
    assert shows["colored.glb"] == (True, "VERTEX_COLOR")
    assert shows["colored.obj"] == (True, None), "one colour, the mean"
    assert shows["colored.ply"] == shows["textured.ply"] == (False, None)
    mean = np.array(in_blender["colored.obj"]["light"]).mean(axis=0)
    assert np.allclose(in_blender["colored.obj"]["base"], mean, atol=1e-3)

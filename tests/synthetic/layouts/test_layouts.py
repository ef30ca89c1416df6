"""Libraries as they come (ShapeNetCore v1 and v2 with their quirks, plain folders), rendered and measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.layouts.shapenet import LibraryError, Placement, load_library
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic import small_library as library

SIDE = 48
# red in front, green on the left of who looks at it, blue on top; a box around them with diagonal about 1
PLACES = {"red": (0, 0, 0.25), "green": (0.25, 0, 0), "blue": (0, 0.25, 0), "grey": (-0.25, -0.25, -0.25)}
COLORS = {
    "red": (0.8, 0.02, 0.02),
    "green": (0.02, 0.5, 0.05),
    "blue": (0.03, 0.05, 0.8),
    "grey": (0.4, 0.4, 0.4),
}
BOXES = {name: library.box(place, 0.12) for name, place in PLACES.items()}
DIAGONAL = float(np.linalg.norm(trimesh.util.concatenate(list(BOXES.values())).extents))


@dataclass(frozen=True)
class Seen:
    """A rendered data set."""

    folder: Path
    views: dict[str, dict[str, Any]]
    classes: dict[str, dict[str, Any]]
    failures: dict[str, str]
    manifest: dict[str, Any]

    def of(self, key: str) -> tuple[dict[str, Any], np.ndarray, dict[str, np.ndarray]]:
        """Record, image and arrays of a model's first view."""
        name, record = next((name, view) for name, view in self.views.items() if view["model"] == key)
        with np.load(self.folder / name.replace(".png", "_geometry.npz"), allow_pickle=False) as arrays:
            return record, np.asarray(Image.open(self.folder / name)).astype(int), dict(arrays)


def render(models: Path, *options: object) -> Seen:
    out = models.parent / f"{models.name}-out"
    run = library.run(
        models.parent / "scratch",
        "synthetic.render",
        models,
        out,
        "--resolution",
        SIDE,
        "--samples",
        4,
        "--workers",
        1,
        *options,
    )
    assert run.returncode == 0, run.stderr
    index = json.loads((out / "dataset.json").read_text())
    return Seen(
        out,
        json.loads((out / "cameras.json").read_text())["views"],
        {entry["wnid"]: entry for entry in index["classes"]},
        {failure["model"]: failure["reason"] for failure in index["failures"]},
        json.loads((out / "manifest.json").read_text())["models"],
    )


def oriented(front: str, scale: float = 1.0) -> dict[str, np.ndarray]:
    """The boxes' vertices in coordinates of files whose front is `front`, up +y."""
    to_file = {
        "-z": [[-1, 0, 0], [0, 1, 0], [0, 0, -1]],
        "+x": [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
        "+z": np.eye(3),
    }[front]
    return {name: mesh.vertices @ np.array(to_file, float).T * scale for name, mesh in BOXES.items()}


def obj(vertices: dict[str, np.ndarray], head: str, material: str = "{}") -> str:
    lines, base = [head], 1
    for name, points in vertices.items():
        lines += ["v {} {} {}".format(*point) for point in points]
        lines += [f"usemtl {material.format(name)}"]
        lines += ["f {}/1 {}/1 {}/1".format(*face + base) for face in BOXES[name].faces]
        base += len(points)
    return "\n".join(lines) + "\n"


def mtl(material: str = "{}", extra: str = "") -> str:
    return "".join(
        f"newmtl {material.format(name)}\nKd {r} {g} {b}\nKs 0 0 0\n{extra}"
        for name, (r, g, b) in COLORS.items()
    )


def assert_upright_and_facing(seen: Seen, key: str, scale: float = 1.0) -> None:
    """Red, green and blue lie where a camera in the world frame has to see them."""
    record, image, _ = seen.of(key)
    for channel, name in enumerate(("red", "green", "blue")):
        surface = (
            np.array(PLACES[name], float) + {0: (0, 0, 0.06), 1: (0.02, 0, 0.06), 2: (0, 0.02, 0.06)}[channel]
        )
        column, row = np.round(library.project(record, (surface - centre()) * scale)).astype(int)[0]
        assert image[row, column].argmax() == channel, (key, name, image[row, column])
        assert image[row, column, channel] > 50 + np.delete(image[row, column], channel).max()


def centre() -> np.ndarray:
    return np.asarray(trimesh.util.concatenate(list(BOXES.values())).bounds.mean(axis=0))[None]


V2_OBJ = "# File produced by Open Asset Import Library\n# (assimp v3.2)\n\nmtllib model_normalized.mtl\n"


@pytest.fixture(scope="module")
def second_version(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Models of ShapeNetCore.v2 by hand, one for every quirk; the taxonomy is left out."""
    root = tmp_path_factory.mktemp("v2") / "v2"
    points = {
        name: (vertices - centre() * [-1, 1, -1]) / DIAGONAL for name, vertices in oriented("-z").items()
    }

    def model(identifier: str, text: str, materials: str, synset: str = "02808440") -> Path:
        folder = root / synset / identifier
        (folder / "models").mkdir(parents=True)
        (folder / "images").mkdir()
        (folder / "models/model_normalized.obj").write_text(text)
        (folder / "models/model_normalized.mtl").write_text(materials)
        return folder

    def textured(identifier: str, statement: str) -> Path:
        text = obj(points, "vt 0.5 0.5\n" + V2_OBJ, "material_{}_24")
        red = "Kd 0.8 0.02 0.02"
        return model(identifier, text, mtl("material_{}_24").replace(red, f"{red}\n{statement}"))

    lines = (
        obj(points, "vt 0.5 0.5\n" + V2_OBJ, "material_{}_24") + "usemtl material_red_24_0\nl 1 20\nl 3 30\n"
    )
    black = "newmtl material_red_24_0\nKd 0 0 0\nKs 0.4 0.4 0.4\nKe 0 0 0\nNs 10\nillum 2\n"
    model("lines", lines, black + mtl("material_{}_24"))
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.49)
    glass = "".join("v {} {} {}\n".format(*vertex) for vertex in ball.vertices)
    glass += "usemtl glass\n" + "".join("f {} {} {}\n".format(*face + 33) for face in ball.faces)
    model("glass", lines + glass, black + mtl("material_{}_24") + "newmtl glass\nKd 1 1 1\nd 0.5\n")
    flat = "".join(f"f {corner}/1 {corner}/1 {corner}/1\nf 1/1 1/1 2/1\n" for corner in range(1, 9))
    model("flat", lines + "usemtl material_grey_24\n" + flat, mtl("material_{}_24"))
    folder = textured("textured", "map_Kd ../images/texture0.jpg")
    Image.new("RGB", (8, 8), (30, 200, 220)).save(folder / "images/texture0.jpg")
    textured("untextured", "map_Kd ../images/texture7.jpg")
    model("missing", "", "", "02843684").joinpath("models/model_normalized.obj").unlink()
    huge = obj(points, V2_OBJ) + "f 1 2 3\n" * 3000
    model("huge", huge, mtl())
    return render(root, "--yaw", -0.25, 0, "--pitch", 1.3, 0, "--max-faces", 2000, "--normals")


@pytest.mark.blender
@pytest.mark.slow
def test_quirks_of_the_second_version_do_not_change_the_picture(second_version: Seen) -> None:
    for identifier in ("lines", "glass", "flat"):
        assert_upright_and_facing(second_version, f"02808440/{identifier}", 1 / DIAGONAL)
    _, plain, geometry = second_version.of("02808440/lines")
    for identifier in ("glass", "flat"):
        _, image, other = second_version.of(f"02808440/{identifier}")
        assert np.abs(image - plain).max() <= 2
        np.testing.assert_array_equal(other["mask"], geometry["mask"])


@pytest.mark.blender
@pytest.mark.slow
def test_textures_beside_the_models_folder_are_seen(second_version: Seen) -> None:
    record, image, _ = second_version.of("02808440/textured")
    point = (np.array([[0, 0, 0.31]]) - centre()) / DIAGONAL
    column, row = np.round(library.project(record, point)).astype(int)[0]
    red, green, blue = image[row, column]
    assert red < 90 < min(green, blue)


@pytest.mark.blender
@pytest.mark.slow
def test_models_that_cannot_be_trusted_fail_with_their_reason(second_version: Seen) -> None:
    reasons = {key.rpartition("/")[2]: why for key, why in second_version.failures.items()}
    assert reasons.pop("untextured") == "its texture texture7.jpg is missing from the model's folder"
    assert reasons.pop("missing") == "model_normalized.obj is missing"
    assert reasons.pop("huge") == "model_normalized.obj has 3048 faces, more than the 2000 allowed"
    assert not reasons
    lines = (second_version.folder / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["model"] for line in lines] == sorted(second_version.failures)


@pytest.mark.blender
@pytest.mark.slow
def test_classes_are_known_without_a_taxonomy(second_version: Seen) -> None:
    assert second_version.classes["n02808440"] == {
        "label": 0,
        "wnid": "n02808440",
        "name": "bathtub",
        "imagenet_index": 435,
        "synset": "02808440",
    }


def assert_normals_are_those_of_the_boxes(seen: Seen, key: str) -> None:
    record, _, arrays = seen.of(key)
    normals, mask = arrays["normals"], arrays["mask"]
    assert normals.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), mask, atol=1e-5)
    np.testing.assert_allclose(np.abs(normals[mask]).max(axis=-1), 1.0, atol=2e-3)  # along an axis
    origin, directions = library.pixel_rays(record, SIDE)
    assert ((normals * directions).sum(-1)[mask] < 0).all()
    points = origin + directions * np.where(mask, arrays["z_depth"], 0)[..., None]
    for axis in range(3):  # on a face turned to one axis, that coordinate is constant over each box
        values = points[mask & (normals[..., axis] > 0.9)][:, axis] * DIAGONAL + centre()[0, axis]
        allowed = np.array([place[axis] + 0.06 for place in PLACES.values()])
        assert len(values) > 5
        assert np.abs(values[:, None] - allowed).min(axis=1).max() < 1e-4


@pytest.mark.blender
@pytest.mark.slow
def test_normals_are_those_of_the_boxes(second_version: Seen, others: tuple[Seen, Seen]) -> None:
    assert_normals_are_those_of_the_boxes(second_version, "02808440/lines")
    assert_normals_are_those_of_the_boxes(others[0], "03797390/mine")  # turned otherwise


@pytest.mark.blender
@pytest.mark.slow
def test_looking_for_normals_leaves_the_next_picture_alone(others: tuple[Seen, Seen]) -> None:
    first, second = (others[0].folder / f"n03797390/mine_00{view}.png" for view in (0, 1))
    assert first.read_bytes() == second.read_bytes()  # from the same place


@pytest.mark.blender
@pytest.mark.slow
def test_manifest_knows_the_sources(second_version: Seen) -> None:
    entry = second_version.manifest["02808440/textured"]
    assert set(entry["sha256"]) == {
        "model_normalized.obj",
        "models/model_normalized.mtl",
        "images/texture0.jpg",
    }
    assert entry["faces"] == 48
    np.testing.assert_allclose(entry["to_world"], np.diag([-1.0, 1, -1, 1]))


@pytest.mark.blender
@pytest.mark.slow
def test_training_reads_the_data_set_back(second_version: Seen) -> None:
    program = (
        "import sys; from gp3d_core.datasets.dataset import Dataset; data = Dataset(sys.argv[1]);"
        "data.check(int(sys.argv[2])); image, depth = data.load(0);"
        "print(len(data), data.num_classes, image.shape, depth.dtype)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(second_version.folder), str(SIDE)],
        check=False,
        capture_output=True,
        text=True,
        cwd=library.REPOSITORY,
        timeout=120,
    )
    assert run.stdout.split() == ["4", "1", f"({SIDE},", f"{SIDE},", "3)", "uint16"], run.stderr


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, Seen]:
    """A library in the layout of ShapeNetCore.v1, and a plain folder of files of any size and place."""
    root = tmp_path_factory.mktemp("others")
    first = root / "v1/03797390/mine"
    (first / "images").mkdir(parents=True)
    (root / "v1/03797390/gone").mkdir()
    Image.new("RGB", (8, 8), (200, 20, 20)).save(first / "images/texture0.jpg")
    (first / "model.mtl").write_text(
        mtl().replace("Kd 0.8 0.02 0.02", "Kd 1 1 1\nmap_Kd ./images/texture0.jpg")
    )
    (first / "model.obj").write_text(obj(oriented("+x"), "# Blender v2.71\nmtllib ./model.mtl\nvt 0.5 0.5"))
    seen = render(root / "v1", "--yaw", -0.25, 0, "--pitch", 1.3, 0, "--views", 2, "--normals")

    plain = root / "plain"
    for folder in ("building blocks", "n03063599"):
        (plain / folder).mkdir(parents=True)
    vertices = oriented("+z", 37.0)
    (plain / "building blocks/a.mtl").write_text(mtl())
    moved = {name: points + np.array([5, 6, 7]) for name, points in vertices.items()}
    (plain / "building blocks/a.obj").write_text(obj(moved, "mtllib a.mtl\nvt 0 0"))
    scene = trimesh.Scene()
    for name, mesh in BOXES.items():
        material = trimesh.visual.material.PBRMaterial(
            baseColorFactor=[*COLORS[name], 1.0], roughnessFactor=1.0
        )
        visual = trimesh.visual.TextureVisuals(material=material)
        part = trimesh.Trimesh(mesh.vertices - PLACES[name], mesh.faces, visual=visual, process=False)
        scene.add_geometry(part, transform=trimesh.transformations.translation_matrix(PLACES[name]))
    (plain / "n03063599/thing").mkdir()
    scene.export(plain / "n03063599/thing/anything.glb")
    painted = []
    for name, mesh in BOXES.items():
        srgb = [*(255 * np.array(COLORS[name]) ** (1 / 2.2)).astype(np.uint8), 255]
        colors = np.tile(srgb, (8, 1))
        painted.append(trimesh.Trimesh(mesh.vertices * 0.01, mesh.faces, vertex_colors=colors, process=False))
    trimesh.util.concatenate(painted).export(plain / "n03063599/b.ply")
    (plain / "n03063599/bad.ply").write_text("ply\n")
    return seen, render(plain, "--yaw", -0.25, 0, "--pitch", 1.3, 0)


@pytest.mark.blender
@pytest.mark.slow
def test_first_version_is_turned_and_scaled(others: tuple[Seen, Seen]) -> None:
    assert_upright_and_facing(others[0], "03797390/mine", 1 / DIAGONAL)
    assert others[0].failures == {"03797390/gone": "model.obj is missing"}


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("key", ["building blocks/a", "n03063599/thing", "n03063599/b"])
def test_plain_files_of_all_formats_are_turned_and_scaled(others: tuple[Seen, Seen], key: str) -> None:
    assert_upright_and_facing(others[1], key, 1 / DIAGONAL)


@pytest.mark.blender
@pytest.mark.slow
def test_matrix_of_the_manifest_takes_files_to_the_world(others: tuple[Seen, Seen]) -> None:
    corner = {
        "building blocks/a": np.array([-0.31, 0.31, 0.31]) * 37 + np.array([5, 6, 7]),
        "n03063599/b": [-0.0031, 0.0031, 0.0031],
    }
    for key, point in corner.items():
        matrix = np.array(others[1].manifest[key]["to_world"])
        np.testing.assert_allclose(
            (matrix @ [*point, 1])[:3] * DIAGONAL, np.array([-0.31, 0.31, 0.31]) - centre()[0], atol=1e-5
        )


@pytest.mark.blender
@pytest.mark.slow
def test_points_stand_where_the_renders_do(
    second_version: Seen, others: tuple[Seen, Seen], tmp_path: Path
) -> None:
    """The way from file to world that points and checks go by is the one in the manifest."""
    compared = 0
    for seen in (second_version, *others):
        for model in load_library(seen.folder.parent / seen.folder.name.removesuffix("-out")):
            if model.key in seen.manifest:
                staged = stage_model(
                    model.path, model.folder, tmp_path / "staged", ModelLimits(), Treatment(), model.placement
                )
                rendered = seen.manifest[model.key]["to_world"]
                np.testing.assert_allclose(staged.to_world, rendered, atol=1e-6)
                compared += 1
    assert compared == 8


@pytest.mark.blender
@pytest.mark.slow
def test_plain_classes_take_their_folders_name(others: tuple[Seen, Seen]) -> None:
    assert set(others[1].classes) == {"building_blocks", "n03063599"}
    assert others[1].classes["building_blocks"]["name"] == "building blocks"
    assert "no PLY" in others[1].failures["n03063599/bad"]


def test_plain_folder_may_say_more_about_its_classes_and_axes(tmp_path: Path) -> None:
    (tmp_path / "cups").mkdir()
    (tmp_path / "cups/one.obj").write_text("v 0 0 0\n")
    facts = {"name": "coffee mug", "imagenet_index": 504, "wnid": "n03063599", "synset": None}
    (tmp_path / "classes.json").write_text(json.dumps({"cups": facts}))
    model = load_library(tmp_path, front="-y", up="+z")[0]
    assert model.object_class.imagenet_index == 504
    np.testing.assert_array_equal(model.placement.rotation() @ [0, -1, 0], [0, 0, 1])
    np.testing.assert_array_equal(model.placement.rotation() @ [0, 0, 1], [0, 1, 0])
    assert np.linalg.det(model.placement.rotation()) == pytest.approx(1.0)
    (tmp_path / "cups/one.obj").rename(tmp_path / "cups/o\nne.obj")
    with pytest.raises(
        LibraryError,
        match=r"none of its meshes is a model.*o\\nne.obj' \(names may hold",
    ):
        load_library(tmp_path)


@pytest.mark.parametrize("axes", [("+z", "-z"), ("front", "+y"), ("+z", "")])
def test_impossible_axes_raise(axes: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="front and up"):
        Placement(*axes)

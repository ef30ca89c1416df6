"""The worker's `picture`: the mesh of the command line, errors in the words of the protocol, nothing left behind."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core import pretrained as box
from gp3d_core.generation.recipes import RecipeError, read_recipe
from gp3d_core.hashing import digest
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.meshing.rasterizer import seen_vertices
from gp3d_core.snapshots.metadata import SnapshotError
from gp3d_core.vq3d.config import RenderConfig
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.scenes.mesh import backdrop, mesh_of, shown_by_inputs
from gp3d_core.vq3d.scenes.reconstruction import open_picture, reconstruct_picture
from gp3d_core.vq3d.scenes.scenefile import Part, Scene, save_scene
from gp3d_core.worker.image_session import ImageSession
from gp3d_core.worker.model_session import problem_of
from gp3d_core.worker.protocol import Problem, read_request
from tests.core.vq3d.test_prior import MICRO
from tests.core.worker.test_server import Client

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tokenizer that was never trained and a picture."""
    folder = tmp_path_factory.mktemp("picturing")
    torch.manual_seed(0)
    config = resolve("tiny32", MICRO)
    save_tokenizer(folder / "tokenizer.safetensors", Tokenizer(config), config, [], 0)
    noise = np.random.default_rng(0).integers(0, 256, (20, 33, 3), np.uint8)
    Image.fromarray(noise).save(folder / "my owl.png")
    return folder


def ask(place, **changes):
    """The options of a request."""
    fields = {"id": "p", "op": "picture", "dir": str(place / "out"), "grid": 12, "color": "vertex"}
    fields |= {"picture": str(place / "my owl.png"), "tokenizer": str(place / "tokenizer.safetensors")}
    return fields | changes


def make(place, **changes):
    """What is published for a request, with its files in place."""
    made = {}

    def publish(move, result):
        move()
        made.update(result)

    request = read_request(json.dumps(ask(place, **changes)).encode())
    ImageSession("cpu").mesh(request.options, lambda *step: None, publish)
    return made


def expected(place):
    snapshot = load_tokenizer(place / "tokenizer.safetensors")
    scene = reconstruct_picture(snapshot, open_picture(place / "my owl.png"), "my owl.png").scene
    return mesh_of(scene, SceneMeshOptions(grid=12, color="vertex"))[0]


def test_a_picture_becomes_the_mesh_of_the_command_line(place, tmp_path):
    made = make(place, dir=str(tmp_path), formats=["npz", "ply"])
    names = {"my owl.npz", "my owl.ply", "my owl.recipe.json", "my owl.view.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    mesh, own = load_mesh(made["files"]["npz"]), expected(place)
    np.testing.assert_array_equal(mesh.vertices, own.vertices)
    np.testing.assert_array_equal(mesh.vertex_colors, own.vertex_colors)
    assert Image.open(made["view"]).size == (512, 256)


def test_the_recipe_names_picture_and_tokenizer_with_their_hashes(place, tmp_path):
    made = make(place, dir=str(tmp_path))
    tokenizer = place / "tokenizer.safetensors"
    recipe, hashed = made["recipe"], digest(tokenizer)
    assert (recipe["tokenizer_name"], recipe["tokenizer"]) == ("tokenizer.safetensors", hashed)
    assert (recipe["picture"], recipe["picture_sha256"]) == ("my owl.png", digest(place / "my owl.png"))
    assert not {"class", "seed", "truncation", "snapshot"} & recipe.keys()
    assert made["tokenizer"] == {"name": tokenizer.name, "path": str(tokenizer), "sha256": hashed[:12]}
    assert load_mesh(made["files"]["npz"]).faces.shape == (made["faces"], 3)
    with pytest.raises(RecipeError, match=r"recipe of the picture my owl\.png.*vq3d reconstruct"):
        read_recipe(Path(made["recipe_path"]))


def test_the_tokenizer_in_the_box_goes_by_that_name(place, tmp_path, monkeypatch):
    monkeypatch.setattr(box, "FOLDER", tmp_path / "none")
    with pytest.raises(Problem, match="brings no VQ3D tokenizer") as caught:
        make(place, dir=str(tmp_path), tokenizer="box")
    assert caught.value.code == "E_NO_WEIGHTS"
    monkeypatch.setattr(box, "FOLDER", tmp_path)
    (tmp_path / "vq3d").symlink_to(place)
    made = make(place, dir=str(tmp_path), tokenizer="box")
    assert (made["tokenizer"]["name"], made["recipe"]["tokenizer_name"]) == ("box", "box")


def test_a_scene_file_is_taken_like_the_picture_it_came_from(place, tmp_path):
    snapshot = load_tokenizer(place / "tokenizer.safetensors")
    picture = open_picture(place / "my owl.png")
    save_scene(reconstruct_picture(snapshot, picture, "my owl.png").scene, tmp_path / "owl.safetensors")
    made = make(place, dir=str(tmp_path / "out"), picture=str(tmp_path / "owl.safetensors"), tokenizer="box")
    mesh, own = load_mesh(made["files"]["npz"]), expected(place)
    np.testing.assert_array_equal(mesh.vertices, own.vertices)
    np.testing.assert_array_equal(mesh.vertex_colors, own.vertex_colors)
    assert (made["tokenizer"]["name"], made["recipe"]["tokenizer"]) == ("scene", digest(snapshot.path))
    with pytest.raises(SnapshotError, match="scene"):
        make(place, dir=str(tmp_path / "out"), picture=str(snapshot.path), tokenizer="box")


def wall_and(objects):
    """A field: a wall from the depth 4 on, and balls (centre, radius) before it, all opaque."""

    def field(points):
        inside = points[..., 2:] < 1 - 4.0
        for centre, radius in objects:
            inside = inside | ((points - torch.tensor(centre)).norm(dim=-1, keepdim=True) < radius)
        return torch.full_like(points, 0.5), inside * 200.0

    return field


def scene_of(monkeypatch, objects, pivot=1.0):
    """A scene with that field; its planes are not asked."""
    config = resolve("tiny32", MICRO)
    tokenizer = Tokenizer(config)
    part = Part(torch.zeros(1), tokenizer.field_decoder, config.decoder, "", "balls")
    scene = Scene((part,), replace(config.camera, near=0.5, far=8.0), RenderConfig(steps=64), 32, pivot)
    monkeypatch.setattr(Scene, "field", lambda self: wall_and(objects))
    return scene


PLAIN = SceneMeshOptions(grid=64, level=Level(100.0), color="none")


@pytest.mark.slow
def test_the_backdrop_is_cut_off_between_it_and_the_subject(monkeypatch):
    scene = scene_of(monkeypatch, [((0.0, 0.0, 0.0), 0.3)])
    mesh, facts = mesh_of(scene, PLAIN)
    depth = 1 - mesh.vertices[:, 2]
    assert facts["components"] == 1
    np.testing.assert_allclose([depth.min(), depth.max()], [0.7, 1.3], atol=0.05)
    whole, told = mesh_of(scene, replace(PLAIN, crop_depth=None))
    assert (1 - whole.vertices[:, 2]).max() == pytest.approx(8.0, rel=0.01)
    assert told["cut"] is None


def test_a_cut_is_where_normalised_inverse_depth_says(monkeypatch):
    scene = scene_of(monkeypatch, [((0.0, 0.0, 0.0), 0.3)])
    mesh, facts = mesh_of(scene, replace(PLAIN, crop_depth=0.0))  # 1 / depth = (1/0.5 + 1/8) / 2
    assert (1 - mesh.vertices[:, 2]).max() == pytest.approx(2 / (2 + 1 / 8), abs=0.02)
    assert facts["cut"] == 0.0


def test_what_views_turn_about_is_never_taken_for_backdrop(monkeypatch):
    balls = [((0.0, 0.0, -1.5), 0.3), ((0.0, -0.3, 0.3), 0.2)]  # the subject is far, another thing near
    near, subject = mesh_of(scene_of(monkeypatch, balls, pivot=0.7), PLAIN)[0], 2.2
    far = mesh_of(scene_of(monkeypatch, balls, pivot=subject), PLAIN)[0]
    assert (1 - near.vertices[:, 2]).max() < subject < (1 - far.vertices[:, 2]).max() < 4.0


def disc(scene, centre, radius):
    """The mask [32,32] of what is seen within a `radius` of the point `centre`, by the rays of the pixels."""
    depth, reach = 1 - centre[2], np.tan(np.radians(scene.camera.fov) / 2)
    line = np.linspace(-1, 1, 32)
    x, y = np.meshgrid(line, -line)
    return torch.from_numpy(
        np.hypot(x * reach * depth - centre[0], y * reach * depth - centre[1]) < radius
    ).float()


def test_under_a_mask_only_its_subject_stays(monkeypatch):
    balls = [((-0.15, 0.12, 0.0), 0.1), ((0.15, 0.12, 0.1), 0.1), ((-0.15, -0.15, 0.0), 0.1)]
    scene = scene_of(monkeypatch, balls)
    for centre, radius in balls:
        mesh, facts = mesh_of(scene, PLAIN, mask=disc(scene, centre, 1.2 * radius))
        assert facts["components"] == 1
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        np.testing.assert_allclose((low + high) / 2, centre, atol=0.03)
        np.testing.assert_allclose((high - low) / 2, [radius] * 3, atol=0.03)
    tight = mesh_of(scene, PLAIN, mask=disc(scene, balls[0][0], 0.05))[0]
    away = np.hypot(*(tight.vertices[:, :2] / (1 - tight.vertices[:, 2:]) - np.array([-0.15, 0.12])).T)
    assert 0.04 < away.max() < 0.07
    everything, told = mesh_of(scene, replace(PLAIN, crop_depth=None), mask=torch.ones(32, 32))
    assert (1 - everything.vertices[:, 2]).max() == pytest.approx(8.0, rel=0.01)
    assert told["cut"] is None


def test_a_mask_cuts_a_far_subject_from_what_is_nearer(monkeypatch):
    balls = [((0.1, 0.0, -1.5), 0.3), ((0.0, -0.3, 0.3), 0.2)]  # the depth cut takes the far one for backdrop
    scene = scene_of(monkeypatch, balls, pivot=0.7)
    mesh, facts = mesh_of(scene, PLAIN, mask=disc(scene, balls[0][0], 0.35))
    depth = 1 - mesh.vertices[:, 2]
    assert facts["components"] == 1
    assert 2.1 < depth.min() < 2.3
    assert 2.5 < depth.max() < 4.0


def test_a_request_may_name_a_mask(place, tmp_path):
    noise = np.zeros((20, 33), np.uint8)
    noise[4:16, 10:24] = 255
    mask = tmp_path / "mask.png"
    Image.fromarray(noise).resize((66, 40), Image.Resampling.NEAREST).save(mask)
    made = make(place, dir=str(tmp_path / "out"), mask=str(mask))
    assert made["recipe"]["mask_sha256"] == digest(mask)
    mesh = load_mesh(made["files"]["npz"])
    assert len(mesh.vertices) != len(expected(place).vertices)
    for content, words in (
        (None, "there is no mask at"),
        (Image.new("L", (33, 33), 255), r"is 33x33, expected 33x20 like its picture"),
        (Image.new("L", (33, 20)), "shows no subject"),
    ):
        mask.unlink(missing_ok=True)
        if content:
            content.save(mask)
        with pytest.raises(Problem, match=words) as caught:
            make(place, dir=str(tmp_path / "out"), mask=str(mask))
        assert caught.value.code == "E_PICTURE"


def test_all_pieces_stay_but_specks(monkeypatch):
    balls = [((-0.15, 0.0, 0.0), 0.12), ((0.15, 0.0, 0.0), 0.08), ((0.0, 0.2, 0.0), 0.011)]
    scene = scene_of(monkeypatch, balls)
    made = {kept: mesh_of(scene, replace(PLAIN, grid=128, components=kept))[1] for kept in ("auto", None, 1)}
    assert {kept: facts["components"] for kept, facts in made.items()} == {"auto": 2, None: 3, 1: 1}
    assert {kept: facts["dropped"] for kept, facts in made.items()} == {"auto": 1, None: 0, 1: 2}
    assert 0 < made["auto"]["dropped_area"] < 0.02


@pytest.mark.slow
def test_a_cloud_that_lets_most_light_through_goes(monkeypatch):
    scene = scene_of(monkeypatch, [((-0.2, 0.0, 0.0), 0.12)])
    ball = scene.field()

    def cloudy(sigma):
        def field(p):
            rgb, density = ball(p)
            inside = (p - torch.tensor([0.2, 0.0, 0.0])).norm(dim=-1, keepdim=True) < 0.15
            return rgb, torch.where(inside, sigma, density)

        return field

    for sigma, pieces in ((0.7, 1), (7.0, 2)):  # over 0.3 units of length: 19 % and 88 % of the light
        monkeypatch.setattr(Scene, "field", lambda self, sigma=sigma: cloudy(sigma))
        assert mesh_of(scene, replace(PLAIN, level=Level(0.5)))[1]["components"] == pieces


def test_a_scene_of_one_depth_has_no_backdrop(monkeypatch):
    scene = scene_of(monkeypatch, [])
    monkeypatch.setattr(Scene, "field", lambda self: lambda p: (p * 0 + 0.5, p[..., 2:] * 0))
    assert backdrop(scene) is None


def test_what_cannot_be_used_has_its_code(place, tmp_path):
    (tmp_path / "letter.png").write_text("Dear sir")
    (tmp_path / "empty").mkdir()
    cases = {
        "E_PICTURE": {"picture": str(tmp_path / "letter.png")},
        "E_NO_WEIGHTS": {"tokenizer": str(tmp_path / "empty")},
        "E_BAD_WEIGHTS": {"tokenizer": str(tmp_path / "letter.png")},
        "E_EMPTY_MESH": {"level": 1e9},
    }
    for code, changes in cases.items():
        with pytest.raises(ValueError, match=r"\w") as caught:
            make(place, dir=str(tmp_path / "out"), **changes)
        assert problem_of(caught.value).code == code
    with pytest.raises(ValueError, match="no picture at"):
        make(place, picture=str(tmp_path / "none.png"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [{"crop_box": None}, {"dir": "here"}, {"picture": ""}, {"grid": 7}, {"keep": "all"}, {"crop_depth": 2}],
)
def test_requests_out_of_range_are_refused(place, changes):
    with pytest.raises(Problem):
        read_request(json.dumps(ask(place, **changes)).encode())


def test_documented_request_is_valid():
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    line = re.search(r"^\{.*\"op\": \"picture\".*\}$", text, re.MULTILINE)[0]
    assert read_request(line.encode()).options["grid"] == 128


def test_a_cancelled_picture_writes_nothing(place, tmp_path):
    def stop(stage, done, total):
        if stage == "write":
            raise InterruptedError

    options = read_request(json.dumps(ask(place, dir=str(tmp_path))).encode()).options
    with pytest.raises(InterruptedError):
        ImageSession("cpu").mesh(options, stop, lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_the_worker_makes_pictures_without_another_model(place, tmp_path):
    client = Client(tmp_path / "none.safetensors")
    try:
        assert client.wait("error")["code"] == "E_NO_WEIGHTS"
        fields = {
            key: value for key, value in ask(place, dir=str(tmp_path)).items() if key not in ("id", "op")
        }
        result = client.ask("picture", **fields)
        assert result["event"] == "result"
        assert result["faces"] == len(expected(place).faces)
        assert list(result["stages"]) == ["planes", "density", "surface", "color", "write"]
        assert client.ask("picture", **fields | {"picture": str(tmp_path)})["code"] == "E_PICTURE"
    finally:
        client.process.kill()


def test_trust_says_what_the_picture_shows_and_what_was_made_up(place):
    made = {}

    def publish(move, result):
        move()
        made.update(result)

    fields = ask(place, op="trust_picture", dir=str(place / "trust"))
    ImageSession("cpu").trust(read_request(json.dumps(fields).encode()).options, lambda *step: None, publish)
    snapshot = load_tokenizer(place / "tokenizer.safetensors")
    scene = reconstruct_picture(snapshot, open_picture(place / "my owl.png"), "my owl.png").scene
    mesh = expected(place)
    with np.load(made["file"], allow_pickle=False) as file:
        assert "disagreement" not in file.files
        vertices, amount = file["vertices"], file["supervision"]
        colors = file["supervision_colors"]
    np.testing.assert_array_equal(np.sort(vertices, axis=0), np.sort(mesh.vertices, axis=0))
    (one,) = scene.inputs
    camera = one.photograph(scene.camera, scene.resolution, scene.pivot).camera
    seen = seen_vertices(Mesh(vertices, mesh.faces), camera, 256)
    assert 0.2 < seen.mean() < 0.9
    assert amount[~seen].mean() < 0.1 < 0.4 < amount[seen].mean()
    assert (colors[amount == 0] == (213, 94, 0)).all()
    assert made["facts"]["never_seen"] == pytest.approx(float((amount == 0).mean()), abs=0.2)
    assert made["file"] == str(place / "trust" / "my owl.trust.npz")
    assert (shown_by_inputs(replace(scene, inputs=()), mesh) == 0).all()

"""`--stage room`: the object on a ground amid walls, exactly where they should be, and cameras that see it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open3d
import pytest
from PIL import Image

from synthetic.options import command_line, settings_of
from synthetic.viewpoints import room_colours
from tests.synthetic import small_library as library

SIDE = 24


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("room")
    library.write_facts(root / "models")
    key = "02876657/blocks"
    library.write_model(root / "models", key, library.SHAPES[key])
    words = ("--stage", "room", "--resolution", SIDE, "--views", 3, "--samples", 2, "--workers", 1)
    run = library.run(root / "scratch", "synthetic.render", root / "models", root / "data", *words)
    assert run.returncode == 0, run.stderr
    return root / "data"


@pytest.mark.blender
@pytest.mark.slow
def test_object_ground_and_walls_are_where_they_should_be(room: Path) -> None:
    views = json.loads((room / "cameras.json").read_text())["views"]
    mesh = library.opaque_mesh(library.SHAPES["02876657/blocks"])
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    lowest, seen = mesh.vertices[:, 1].min(), np.zeros(3, dtype=int)
    assert len(views) == 3
    for name, view in views.items():
        with np.load(room / name.replace(".png", "_geometry.npz"), allow_pickle=False) as file:
            depth, mask = file["z_depth"], file["mask"]
        assert mask.all()
        origin, directions = library.pixel_rays(view, SIDE)
        points = origin + directions * depth[..., None]
        assert origin[1] > lowest
        ground = np.abs(points[..., 1] - lowest) < 1e-4
        wall = np.abs(np.abs(points[..., [0, 2]]).max(axis=-1) - 3.5) < 1e-4
        rest = points[~ground & ~wall]
        assert scene.compute_distance(rest.astype(np.float32)).numpy().max() < 1e-3
        seen += [ground.sum(), wall.sum(), len(rest)]
    assert (seen > 20).all()


@pytest.mark.blender
@pytest.mark.slow
def test_depth_is_coded_over_the_whole_room(room: Path) -> None:
    index = json.loads((room / "dataset.json").read_text())
    assert (index["t_near"], index["t_far"]) == (0.5, 12.0)
    assert index["generator"]["settings"]["stage"] == "room"
    for path in sorted(room.rglob("*_depth.png")):
        code = np.asarray(Image.open(path))
        assert 0 < code.min() < code.max() < 65535


def test_colours_of_a_room_depend_on_the_model_and_the_seed_alone() -> None:
    assert room_colours(0, "a/b") == room_colours(0, "a/b")
    assert len({tuple(room_colours(*key)) for key in ((0, "a/b"), (1, "a/b"), (0, "a/c"))}) == 3


def test_room_has_cameras_above_its_ground_and_none_all_over_a_sphere() -> None:
    parse = command_line("").parse_args
    settings = settings_of(parse(["models", "out", "--stage", "room"]))
    assert settings.cameras.pitch == (np.pi / 2 - 0.3, 0.08)
    assert settings_of(parse(["m", "o", "--stage", "room", "--pitch", "1.2", "0"])).cameras.pitch == (
        1.2,
        0.0,
    )
    with pytest.raises(ValueError, match="do not fit into a room"):
        settings_of(parse(["models", "out", "--stage", "room", "--preset", "sphere"]))

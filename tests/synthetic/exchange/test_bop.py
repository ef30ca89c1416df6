"""BOP's layout, read as its description says, by a reader of its own: x right, y down, z forward, millimetres, pixel
centres at integers; models z up, the middle of their box at the origin.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import plyfile
import pytest
from PIL import Image
from scipy.spatial.distance import pdist

from tests.synthetic.exchange.boxes_data import (
    BOXES,
    CREDIT,
    SIDE,
    corners,
    export,
    inside_outline,
    write_library,
)

MM = 250.0
NUMBERS = dict(enumerate(sorted(BOXES), 1))


@pytest.fixture(scope="module")
def out(data: Path, models: Path) -> Path:
    out = data.parent / "bop"
    assert export(data, "--to", "bop", "--models", models, "--millimetres", MM, out) == 0
    return out


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def mesh(out: Path, number: int) -> Any:
    return plyfile.PlyData.read(out / f"models/obj_{number:06d}.ply")


def vertices(out: Path, number: int) -> np.ndarray:
    vertex = mesh(out, number)["vertex"]
    return np.stack([vertex[axis] for axis in "xyz"], -1).astype(float)


def scene(out: Path, number: int) -> Path:
    parts = (out / part / f"{number:06d}" for part in ("train_pbr", "test"))
    return next(part for part in parts if part.is_dir())


def views(out: Path, number: int) -> list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    folder = scene(out, number)
    cameras, truth, info = (read(folder / f"scene_{name}.json") for name in ("camera", "gt", "gt_info"))
    assert cameras.keys() == truth.keys() == info.keys() == {str(k) for k in range(5)}
    return [(f"{int(k):06d}", cameras[k], truth[k][0], info[k][0]) for k in cameras]


@pytest.mark.parametrize("number", NUMBERS)
def test_models_are_the_boxes_in_millimetres(out: Path, number: int) -> None:
    points, info = vertices(out, number), read(out / "models/models_info.json")[str(number)]
    size = np.ptp(corners(NUMBERS[number]), axis=0)[[0, 2, 1]] * MM  # z up
    np.testing.assert_allclose(np.ptp(points, axis=0), size, rtol=1e-5)
    np.testing.assert_allclose(points.min(axis=0), -size / 2, rtol=1e-5)
    assert info["diameter"] == pytest.approx(pdist(points).max(), rel=1e-5)
    assert [info[f"size_{axis}"] for axis in "xyz"] == pytest.approx(size.tolist())
    assert [info[f"min_{axis}"] for axis in "xyz"] == pytest.approx((-size / 2).tolist())
    vertex = mesh(out, number)["vertex"]
    assert set(zip(vertex["red"], vertex["green"], vertex["blue"], strict=True)) == {
        (231, 39, 39)
    }  # linear 0.8, 0.02
    normals = np.stack([vertex[f"n{axis}"] for axis in "xyz"], -1)
    np.testing.assert_allclose(
        (normals * points / (size / 2)).max(axis=1), 1, atol=1e-4
    )  # each outwards on its face


@pytest.mark.parametrize("number", NUMBERS)
def test_depth_goes_back_to_the_model(out: Path, number: int) -> None:
    half = np.abs(vertices(out, number)).max(axis=0)
    for name, camera, truth, _ in views(out, number):
        depth = np.asarray(Image.open(scene(out, number) / f"depth/{name}.png")) * camera["depth_scale"]
        row, column = np.nonzero(np.asarray(Image.open(scene(out, number) / f"mask/{name}_000000.png")))
        rays = np.linalg.inv(np.reshape(camera["cam_K"], (3, 3))) @ [column, row, np.ones(len(row))]
        turn = np.reshape(truth["cam_R_m2c"], (3, 3))
        points = (rays.T * depth[row, column, None] - truth["cam_t_m2c"]) @ turn
        away = np.abs(np.abs(points) / half - 1).min(axis=1) * half.max()
        assert (np.abs(points) <= half * (1 + 1e-3)).all()
        assert away.max() < camera["depth_scale"] * 4
        assert np.linalg.det(turn) == pytest.approx(1)
        assert truth["obj_id"] == number


@pytest.mark.parametrize("number", NUMBERS)
def test_the_model_projects_onto_its_mask(out: Path, number: int) -> None:
    v, u = np.mgrid[:SIDE, :SIDE]
    for name, camera, truth, info in views(out, number):
        turn = np.reshape(truth["cam_R_m2c"], (3, 3))
        image = (vertices(out, number) @ turn.T + truth["cam_t_m2c"]) @ np.reshape(camera["cam_K"], (3, 3)).T
        within, beyond = inside_outline(
            image[:, :2] / image[:, 2:], np.stack([u, v], -1).reshape(-1, 2), 1e-3
        )
        mask = np.asarray(Image.open(scene(out, number) / f"mask/{name}_000000.png"))
        assert (mask.reshape(-1)[within] == 255).all()
        assert (mask.reshape(-1)[beyond] == 0).all()
        visible = np.asarray(Image.open(scene(out, number) / f"mask_visib/{name}_000000.png"))
        np.testing.assert_array_equal(mask, visible)
        rows, columns = np.nonzero(mask)
        x, y, width, height = info["bbox_obj"]
        assert (x, y, x + width - 1, y + height - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
        assert info["px_count_all"] == info["px_count_valid"] == len(rows)


def test_world_and_model_poses_agree(out: Path) -> None:
    """A model stands in the world where it stood: its middle is that of the box, in the z-up world."""
    for number, key in NUMBERS.items():
        middle = corners(key).mean(axis=0)[[0, 2, 1]] * [1, -1, 1] * MM
        for _, camera, truth, _ in views(out, number):
            turn = np.reshape(camera["cam_R_w2c"], (3, 3))
            np.testing.assert_allclose(turn @ middle + camera["cam_t_w2c"], truth["cam_t_m2c"], atol=1e-4)


def test_tables_agree_with_scenes(out: Path) -> None:
    objects, targets = read(out / "objects.json"), read(out / "test_targets_bop19.json")
    assert {int(number): entry["model"] for number, entry in objects.items()} == NUMBERS
    assert all(entry["licence"] == CREDIT.as_json() for entry in objects.values())
    tested = {number for number in NUMBERS if objects[str(number)]["folder"].startswith("test/")}
    assert [NUMBERS[number] for number in tested] == ["04379243/slab.2"]
    assert {(row["scene_id"], row["obj_id"]) for row in targets} == {(number, number) for number in tested}
    camera = read(out / "camera.json")
    assert (camera["width"], camera["height"], camera["cx"]) == (SIDE, SIDE, (SIDE - 1) / 2)
    assert not list(out.rglob(".*"))


def test_models_that_changed_are_left_out_and_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = write_library(tmp_path / "models")
    obj = library / "03797390/wide/models/model_normalized.obj"
    obj.write_text(obj.read_text() + "\n")
    assert export(data, "--to", "bop", "--models", library, tmp_path / "out") == 0
    assert "2 objects, 10 views" in capsys.readouterr().err
    failures = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert [failure["model"] for failure in failures] == ["03797390/wide"]
    assert export(tmp_path / "out", "--to", "gp3d", tmp_path / "back") == 2
    assert "models were left out" in capsys.readouterr().err


def test_without_a_library_there_are_poses_and_no_meshes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(data, "--to", "bop", tmp_path / "out") == 0
    assert "no meshes" in capsys.readouterr().err
    assert not (tmp_path / "out/models").exists()
    assert len(list((tmp_path / "out").glob("*/*/rgb/*.png"))) == 15

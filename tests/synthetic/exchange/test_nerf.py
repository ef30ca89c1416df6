"""Scenes with transforms.json, read as nerfstudio's page on data conventions says, by a reader of its own.

That page: camera x right, y up, z backward; world z up; the ray of a pixel goes through its centre, which lies half a
pixel from the corner at which cx and cy are counted from; 16-bit depth in thousandths of a unit, along the axis.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.synthetic.exchange.boxes_data import (
    BOXES,
    CREDIT,
    SIDE,
    corners,
    distance_to_box,
    export,
    files_in,
    inside_outline,
)

FOLDERS = {
    "02876657/high": "n02876657/high",
    "03797390/wide": "n03797390/wide",
    "04379243/slab.2": "n04379243/slab.2",
}


@pytest.fixture(scope="module")
def out(data: Path) -> Path:
    out = data.parent / "nerf"
    assert export(data, "--to", "nerf", out) == 0
    return out


def scene(out: Path, key: str) -> tuple[Path, dict[str, Any]]:
    folder = next(path for path in (out / "scenes").glob("*/*") if path.name == key.partition("/")[2])
    return folder, json.loads((folder / "transforms.json").read_text())


def original(transforms: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """Points [...,3] in the frame before `applied_transform`."""
    applied = np.array(transforms["applied_transform"])
    return (points - applied[:, 3]) @ applied[:, :3]


@pytest.mark.parametrize("key", BOXES)
def test_depth_goes_back_to_the_true_surface(out: Path, key: str) -> None:
    folder, transforms = scene(out, key)
    for frame in transforms["frames"]:
        depth = np.asarray(Image.open(folder / frame["depth_file_path"])).astype(float) / 1000
        row, column = np.nonzero(
            np.asarray(Image.open(folder / frame["depth_file_path"].replace("depth", "masks")))
        )
        assert (depth[row, column] > 0).all()
        x, y = column + 0.5, row + 0.5
        ray = np.stack(
            [
                (x - transforms["cx"]) / transforms["fl_x"],
                -(y - transforms["cy"]) / transforms["fl_y"],
                -np.ones(len(x)),
            ],
            -1,
        )
        pose = np.array(frame["transform_matrix"])
        points = pose[:3, 3] + ray * depth[row, column, None] @ pose[:3, :3].T
        # half a step of depth along a ray that is at most 1.12 as long as its depth
        assert distance_to_box(original(transforms, points), key).max() < 0.0005 * 1.12 + 1e-6


@pytest.mark.parametrize("key", BOXES)
def test_corners_project_onto_the_outline(out: Path, key: str) -> None:
    """What lies within the projected box is in the mask, what lies beyond is not: to 1e-3 of a pixel."""
    folder, transforms = scene(out, key)
    applied = np.array(transforms["applied_transform"])
    world = corners(key) @ applied[:, :3].T + applied[:, 3]
    v, u = np.mgrid[:SIDE, :SIDE]
    for frame in transforms["frames"]:
        pose = np.array(frame["transform_matrix"])
        local = (world - pose[:3, 3]) @ pose[:3, :3]
        x = transforms["cx"] + transforms["fl_x"] * local[:, 0] / -local[:, 2]
        y = transforms["cy"] - transforms["fl_y"] * local[:, 1] / -local[:, 2]
        within, beyond = inside_outline(
            np.stack([x, y], -1), np.stack([u + 0.5, v + 0.5], -1).reshape(-1, 2), 1e-3
        )
        mask = np.asarray(Image.open(folder / frame["depth_file_path"].replace("depth", "masks"))).reshape(-1)
        assert (mask[within] == 255).all()
        assert (mask[beyond] == 0).all()
        assert within.sum() > 60


def test_the_world_is_z_up_and_right_handed(out: Path) -> None:
    """The top of the high box is above, its front is where -y is, as in Blender."""
    _, transforms = scene(out, "02876657/high")
    turn = np.array(transforms["applied_transform"])[:, :3]
    np.testing.assert_array_equal(turn @ [0, 1, 0], [0, 0, 1])
    np.testing.assert_array_equal(turn @ [0, 0, 1], [0, -1, 0])
    assert np.linalg.det(turn) == pytest.approx(1)


def test_splits_name_every_frame_once(out: Path) -> None:
    _, transforms = scene(out, "03797390/wide")
    names = [frame["file_path"] for frame in transforms["frames"]]
    assert sorted(transforms["train_filenames"] + transforms["test_filenames"]) == sorted(names)
    assert transforms["val_filenames"] == transforms["test_filenames"] == names[::8]


def test_the_form_of_the_blender_scenes_says_the_same(out: Path) -> None:
    """Focal length from the angle between the picture's edges, principal point in its middle, names without ending."""
    folder, transforms = scene(out, "03797390/wide")
    assert transforms["cx"] == transforms["cy"] == SIDE / 2
    for split in ("train", "val", "test"):
        plain = json.loads((folder / f"transforms_{split}.json").read_text())
        assert 0.5 * SIDE / np.tan(plain["camera_angle_x"] / 2) == pytest.approx(transforms["fl_x"])
        poses = {frame["file_path"]: frame["transform_matrix"] for frame in transforms["frames"]}
        for frame in plain["frames"]:
            assert (folder / f"{frame['file_path']}.png").is_file()
            assert poses[f"{frame['file_path'][2:]}.png"] == frame["transform_matrix"]


def test_frames_name_masks_only_if_asked_to(data: Path, out: Path, tmp_path: Path) -> None:
    assert "mask_path" not in scene(out, "03797390/wide")[1]["frames"][0]
    assert export(data, "--to", "nerf", "--masks", tmp_path / "out") == 0
    folder, transforms = scene(tmp_path / "out", "03797390/wide")
    assert all((folder / frame["mask_path"]).is_file() for frame in transforms["frames"])


def test_pictures_and_terms_travel(data: Path, out: Path) -> None:
    before, after = files_in(data), files_in(out)
    for key, folder in FOLDERS.items():
        assert after[f"scenes/{folder}/images/003.png"] == before[f"{folder}_003.png"], key
    terms = json.loads(after["licences.json"])
    assert terms == {"license": "CC0 1.0", "licences": [{**CREDIT.as_json(), "models": 3}]}
    assert b"CC0 1.0" in after["README.md"]
    listed = {entry["model"]: entry for entry in json.loads(after["scenes.json"])}
    assert listed.keys() == BOXES.keys()
    assert all(entry["licence"] == CREDIT.as_json() for entry in listed.values())
    assert [key for key, entry in listed.items() if entry["split"] == "test"] == ["04379243/slab.2"]

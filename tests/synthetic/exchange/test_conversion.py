"""Scenes that somebody else made, as a data set: true cameras and depth, and what does not fit is counted."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthetic.viewpoints import Viewpoint
from tests.synthetic.exchange.boxes_data import BOXES, SIDE, VIEWPOINTS, corners, export, inside_outline

KEY = "03797390/wide"
SHIFT, SIZE = (
    np.array([3.0, -5.0, 1.0]),
    7.0,
)  # where the foreign scene has our origin, and how long our unit is there
TO_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
LENS = {"fl_x": 70.0, "fl_y": 60.0, "cx": 33.25, "cy": 21.5, "w": 72, "h": 45}


def foreign_pose(viewpoint: Viewpoint) -> np.ndarray:
    """Camera to a z-up world of another unit and origin."""
    pose = viewpoint.cam2world()
    pose[:3, :3], pose[:3, 3] = TO_Z_UP @ pose[:3, :3], SIZE * TO_Z_UP @ pose[:3, 3] + SHIFT
    return pose


def depth_and_color(viewpoint: Viewpoint) -> tuple[np.ndarray, np.ndarray]:
    """z-depth of a box (0 beside it) and RGBA, by a pinhole with pixel centres at halves, of no symmetry."""
    low, high = BOXES[KEY]
    v, u = np.mgrid[: LENS["h"], : LENS["w"]] + 0.5
    local = np.stack(
        [(u - LENS["cx"]) / LENS["fl_x"], -(v - LENS["cy"]) / LENS["fl_y"], -np.ones(u.shape)], -1
    )
    pose = viewpoint.cam2world()
    near, far = ((np.array(corner) - pose[:3, 3]) / (local @ pose[:3, :3].T) for corner in (low, high))
    first, last = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
    hit = first <= last
    color = np.where(hit[..., None], (200, 30, 10, 255), (0, 0, 0, 0)).astype(np.uint8)
    return np.where(hit, first, 0) * SIZE, color


def write_scene(
    folder: Path, viewpoints: list[Viewpoint], change: Callable[[int, np.ndarray], object] | None = None
) -> Path:
    (folder / "pics").mkdir(parents=True)
    frames = []
    for number, viewpoint in enumerate(viewpoints):
        depth, color = depth_and_color(viewpoint)
        Image.fromarray(color).save(folder / f"pics/{number}.png")
        Image.fromarray(np.round(depth * 1000).astype(np.uint16)).save(folder / f"pics/{number}d.png")
        pose = foreign_pose(viewpoint)
        if change:
            change(number, pose)
        frames.append(
            {
                "file_path": f"./pics/{number}.png",
                "depth_file_path": f"pics/{number}d.png",
                "transform_matrix": pose.tolist(),
            }
        )
    (folder / "transforms.json").write_text(
        json.dumps({"camera_model": "OPENCV", **LENS, "k1": 0.0, "frames": frames})
    )
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_cameras_windows_and_depth_are_true(tmp_path: Path) -> None:
    """Pictures of no symmetry, in another unit, elsewhere: the box's corners fall onto the outline in every view."""
    scene = write_scene(tmp_path / "scene", VIEWPOINTS)
    out = tmp_path / "out"
    assert export(scene, "--to", "gp3d", "--class-name", "Coffee Mug", "--resolution", 60, out) == 0
    index, cameras = read(out / "dataset.json"), read(out / "cameras.json")["views"]
    assert index["classes"] == [
        {"label": 0, "wnid": "n03063599", "name": "coffee mug", "imagenet_index": 504, "synset": "03797390"}
    ]
    assert len(index["labels"]) == len(VIEWPOINTS)
    v, u = np.mgrid[:60, :60]
    for viewpoint, (name, _) in zip(VIEWPOINTS, index["labels"], strict=True):
        record = cameras[name]
        assert (record["yaw"], record["pitch"], record["radius"]) == pytest.approx(
            (viewpoint.yaw, viewpoint.pitch, 2.0), abs=1e-6
        )
        np.testing.assert_allclose(record["cam2world"], viewpoint.cam2world(), atol=1e-6)
        assert dict(index["camera_angles"])[name] == [record["yaw"], record["pitch"], 0.0]
        matrix, pose = np.array(record["intrinsics"]), np.array(record["cam2world"])
        image = ((corners(KEY) - pose[:3, 3]) @ pose[:3, :3] * [1, -1, -1]) @ matrix.T
        code = np.asarray(Image.open(out / name.replace(".png", "_depth.png"))).astype(float)
        # the depth is that of the nearest pixel: up to 0.71 of its sides away, 1.1 of ours
        within, beyond = inside_outline(image[:, :2] / image[:, 2:], np.stack([u, v], -1).reshape(-1, 2), 1.2)
        assert (code.reshape(-1)[within] < 65535).all()
        assert (code.reshape(-1)[beyond] == 65535).all()
        picture = np.asarray(Image.open(out / name))
        middle = code < 65535
        assert np.abs(picture[middle].mean(axis=0) - (200, 30, 10)).max() < 25
        assert (picture[0, 0] == 255).all()
        distance = index["t_near"] + code / 65536 * (index["t_far"] - index["t_near"])
        rays = np.stack(
            [(u - matrix[0, 2]) / matrix[0, 0], -(v - matrix[1, 2]) / matrix[1, 1], -np.ones(u.shape)], -1
        )
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        points = pose[:3, 3] + (rays * distance[..., None])[middle] @ pose[:3, :3].T
        low, high = (np.array(corner) for corner in BOXES[KEY])
        assert (points > low - 0.03).all()
        assert (points < high + 0.03).all()


def test_scenes_that_were_exported_without_their_origin(data: Path, tmp_path: Path) -> None:
    """Read as anybody's: all cameras are those of the data set, pictures and depth nearly so."""
    assert export(data, "--to", "nerf", tmp_path / "nerf") == 0
    out = tmp_path / "out"
    scenes = tmp_path / "nerf/scenes"
    assert export(scenes, "--to", "gp3d", "--class-name", "box", out) == 0
    index, found = read(out / "dataset.json"), read(out / "cameras.json")["views"]
    original = read(data / "cameras.json")["views"]
    assert index["resolution"] == SIDE
    assert len(found) == len(original)
    for name, record in original.items():
        other = f"box/{name.replace('/', '-')}"
        for key in ("yaw", "pitch", "fov", "radius"):
            assert found[other][key] == pytest.approx(record[key], abs=1e-6)
        np.testing.assert_allclose(found[other]["intrinsics"], record["intrinsics"], atol=1e-6)
        there, here = np.asarray(Image.open(data / name)), np.asarray(Image.open(out / other))
        assert np.abs(there.astype(int) - here).max() <= 1
        with np.load(data / name.replace(".png", "_geometry.npz")) as geometry:
            true = geometry["ray_distance"]
            mask = np.isfinite(true)
        code = np.asarray(Image.open(out / other.replace(".png", "_depth.png"))).astype(float)
        np.testing.assert_array_equal(code < 65535, mask)
        distance = index["t_near"] + code / 65536 * (index["t_far"] - index["t_near"])
        assert np.abs(distance - true)[mask].max() < 0.0005 * 1.12 + 1e-4


def test_the_form_of_the_blender_scenes_is_read(tmp_path: Path) -> None:
    """Angle between the edges, names without ending, splits in files of their own, RGBA, no depth."""
    scene = tmp_path / "lego"
    (scene / "train").mkdir(parents=True)
    for split, chosen in (("train", VIEWPOINTS[:3]), ("test", VIEWPOINTS[3:])):
        frames = []
        for number, viewpoint in enumerate(chosen):
            Image.new("RGBA", (32, 32), (9, 9, 9, 0)).save(scene / f"train/{split}{number}.png")
            pose = foreign_pose(viewpoint).tolist()
            frames.append({"file_path": f"./train/{split}{number}", "transform_matrix": pose})
        (scene / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
    out = tmp_path / "out"
    assert export(scene, "--to", "gp3d", "--class-name", "brick", "--license", "CC0-1.0", out) == 0
    index, cameras = read(out / "dataset.json"), read(out / "cameras.json")["views"]
    assert len(index["labels"]) == 5
    assert index["license"] == "CC0-1.0"
    assert "t_near" not in index
    assert not list(out.rglob("*_depth.png"))
    assert (np.asarray(Image.open(out / index["labels"][0][0])) == 255).all()
    for record in cameras.values():
        edge = math.atan(math.tan(math.radians(record["fov"] / 2)) * 32 / 31)
        assert 2 * edge == pytest.approx(0.7)


def test_frames_that_do_not_fit_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(number: int, pose: np.ndarray) -> None:
        if number == 5:  # rolled
            angle = math.radians(10)
            roll = np.array(
                [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
            )
            pose[:3, :3] = pose[:3, :3] @ roll
        if number == 6:  # far away
            pose[:3, 3] = SHIFT + 1.5 * (pose[:3, 3] - SHIFT)

    viewpoints = [Viewpoint(yaw=0.5 * k, pitch=1.3) for k in range(7)]
    scene = write_scene(tmp_path / "scene", viewpoints, change)
    assert export(scene, "--to", "gp3d", "--class-name", "box", tmp_path / "out") == 0
    error = capsys.readouterr().err
    assert "5 views of 1 objects" in error
    assert "1 nearer or farther than the others" in error
    assert "1 that look past the common centre or are rolled" in error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["frames"][0].update(file_path="../../secret.png"), "leads out of its folder"),
        (lambda t: t["frames"][0].update(depth_file_path="/etc/passwd"), "leads out of its folder"),
        (lambda t: t["frames"][0].update(file_path="pics/none.png"), "is missing"),
        (lambda t: t["frames"][0].update(file_path=7), "expected a file_path"),
        (lambda t: t.update(frames={}), "expected an object with frames"),
        (lambda t: t.update(k1=0.1), "is distorted (k1)"),
        (lambda t: t.update(camera_model="OPENCV_FISHEYE"), "only pinholes fit"),
        (lambda t: t.update(cx=-3), "does not look at it"),
        (lambda t: t.update(w=10**12), "does not look at it"),
        (lambda t: t.pop("fl_x"), "has neither"),
        (lambda t: t.update(w=71), "expected 71 × 45"),
        (lambda t: t["frames"][1]["transform_matrix"][0].__setitem__(0, 1e999), "finite numbers"),
        (lambda t: t["frames"][1]["transform_matrix"][0].__setitem__(0, 5), "turns by no rotation"),
        (lambda t: t.update(frames=t["frames"][:1]), "no frame fits"),
        (
            lambda t: [f.update(transform_matrix=t["frames"][0]["transform_matrix"]) for f in t["frames"]],
            "in one direction",
        ),
    ],
)
def test_scenes_that_contradict_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict], object], words: str
) -> None:
    scene = write_scene(tmp_path / "scene", VIEWPOINTS)
    content = read(scene / "transforms.json")
    change(content)
    (scene / "transforms.json").write_text(json.dumps(content))
    assert export(scene, "--to", "gp3d", "--class-name", "box", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("error: ")
    assert error.strip().count("\n") == 0
    assert not (tmp_path / "out/dataset.json").exists()


def test_a_class_has_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_scene(tmp_path / "scene", VIEWPOINTS)
    for options, words in (
        ((), "--class-name"),
        (("--class-name", "../x"), "no name of a folder"),
        (("--class-name", "crane"), "say which"),
    ):
        assert export(scene, "--to", "gp3d", *options, tmp_path / "out") == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    shutil.rmtree(scene / "pics")
    assert export(scene, "--to", "gp3d", "--class-name", "box", tmp_path / "out") == 2

"""One scene a model in the layout of transforms.json, as nerfstudio, instant-ngp and the readers of NeRF's own data do.

    OUT/scenes/<wnid>/<model>/transforms.json        cameras of all views, their depth, which are for testing
                              transforms_{train,val,test}.json   the same in the form of the Blender-made data of NeRF
                              images/000.png         the picture as it is, on white
                              depth/000.png          16-bit z-depth, thousandths of a world unit; 0 where nothing is
                              masks/000.png          255 where the model is
                              original/000_…         the data set's own files of the view

nerfstudio takes 1/1000 for its `depth_unit_scale_factor` where nothing else is said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from synthetic.exchange.conventions import Z_UP, depth_png, mask_png, nerf_intrinsics, nerf_pose
from synthetic.exchange.folder import ExportFolder
from synthetic.exchange.layout import Scene, original_name
from synthetic.exchange.source import BESIDE, DataSet, View

DEPTH_STEPS = 1000.0  # a world unit
_EVERY = 8  # of the views of a scene, one is for testing


def scene_folder(scene: Scene) -> str:
    """Where a scene lies."""
    return f"scenes/{scene.name}"


def number_of(view: View) -> str:
    """The name of a view within its scene."""
    return view.stem.removeprefix(f"{view.scene}_").rpartition("/")[2]


def picture_name(view: View) -> str:
    """Path of a view's picture within its scene."""
    return f"images/{number_of(view)}{PurePosixPath(view.name).suffix}"


def kept_files(dataset: DataSet, scene: Scene) -> Iterator[tuple[str, str]]:
    """Files of a scene that are copied as they are: their path in the data set, and in the export."""
    folder = scene_folder(scene)
    for view in scene.views:
        yield view.name, f"{folder}/{picture_name(view)}"
        for ending in BESIDE:
            yield f"{view.stem}{ending}", original_name(folder, number_of(view), ending)


def camera_files(dataset: DataSet, scene: Scene, masks: bool) -> Iterator[tuple[str, bytes]]:
    """The JSON files of a scene: path in the export, content. With `masks` its frames name their masks."""
    folder, side = scene_folder(scene), dataset.resolution
    inner = [nerf_intrinsics(camera.intrinsics) for camera in scene.cameras]
    keys = ("fl_x", "fl_y", "cx", "cy")
    frames: list[dict[str, Any]] = []
    for view, camera, values in zip(scene.views, scene.cameras, inner, strict=True):
        frame: dict[str, Any] = {"file_path": picture_name(view)}
        frame["depth_file_path"] = f"depth/{number_of(view)}.png"
        if masks:
            frame["mask_path"] = f"masks/{number_of(view)}.png"
        if len(set(inner)) > 1:
            frame |= dict(zip(keys, values, strict=True))
        frames.append(frame | {"transform_matrix": nerf_pose(camera.cam2world).tolist()})
    names = [frame["file_path"] for frame in frames]
    test = names[::_EVERY]
    train = [name for name in names if name not in set(test)] or test
    shared = dict(zip(keys, inner[0], strict=True)) if len(set(inner)) == 1 else {}
    head = {
        "camera_model": "OPENCV",
        **shared,
        "w": side,
        "h": side,
        "k1": 0.0,
        "k2": 0.0,
        "p1": 0.0,
        "p2": 0.0,
    }
    head["applied_transform"] = np.column_stack([Z_UP, np.zeros(3)]).tolist()
    head["orientation_override"] = (
        "none"  # the world is upright as it is: nerfstudio would turn it to the mean camera
    )
    chosen = {"train": train, "val": test, "test": test}
    head |= {f"{split}_filenames": part for split, part in chosen.items()}
    yield f"{folder}/transforms.json", _text({**head, "frames": frames})
    if shared and inner[0][2:] == (side / 2, side / 2) and all(name.endswith(".png") for name in names):
        angle = 2 * math.atan(side / 2 / inner[0][0])  # edge to edge
        poses = {frame["file_path"]: frame["transform_matrix"] for frame in frames}
        for split, part in chosen.items():
            listed = [
                {"file_path": f"./{name.removesuffix('.png')}", "transform_matrix": poses[name]}
                for name in part
            ]
            yield f"{folder}/transforms_{split}.json", _text({"camera_angle_x": angle, "frames": listed})


def write_scene(dataset: DataSet, scene: Scene, folder: ExportFolder) -> None:
    """Writes the pictures of a scene, depth, masks and what is kept. Raises ExchangeError, StoppedError, OSError."""
    place = scene_folder(scene)
    for view, camera in zip(scene.views, scene.cameras, strict=True):
        number = number_of(view)
        depth_name, mask_name = f"{place}/depth/{number}.png", f"{place}/masks/{number}.png"
        if not (folder.has(depth_name) and folder.has(mask_name)):
            z_depth, mask = dataset.shape_of(view, camera)
            folder.write(depth_name, partial(depth_png, z_depth, DEPTH_STEPS))
            folder.write(mask_name, partial(mask_png, mask))
    for source, target in kept_files(dataset, scene):
        if source in dataset.files.sizes:
            folder.write(target, partial(dataset.checked, source))


def _text(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()

"""One scene a model in the layout of BOP (scene-wise), as bop_toolkit describes it.

    OUT/camera.json, test_targets_bop19.json, dataset_info.json, objects.json (which obj_id is which model)
        models/obj_000001.ply, models_info.json                     with the meshes at hand
        train_pbr/000001/ or test/000001/   scene_camera.json, scene_gt.json, scene_gt_info.json
                         rgb/000000.png, depth/000000.png, mask/000000_000000.png, mask_visib/000000_000000.png
                         original/000000_…  the data set's own files of the view

Scene and object of a model have the same number, from 1 in the order of models. A model that is for testing, as the
manifest has it, stands in test/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from synthetic.exchange.conventions import bop_pose, depth_png, mask_png
from synthetic.exchange.files import ExchangeError
from synthetic.exchange.folder import ExportFolder
from synthetic.exchange.layout import Scene, original_name, scenes_of
from synthetic.exchange.source import BESIDE, DataSet, Floats, Mask

DEPTH_STEPS = 10_000.0  # of depth maps, a world unit: 16 bits reach 6.5 units
_GROUND_TRUTH = "000000"  # number of the only object of a picture


@dataclass(frozen=True)
class BopScene:
    """A scene with its number; `centre` [3] is the middle of the box around its model, z-up world, in world units."""

    scene: Scene
    number: int
    centre: Floats

    @property
    def folder(self) -> str:
        """Where it lies."""
        return f"{'test' if self.scene.split == 'test' else 'train_pbr'}/{self.number:06d}"


def numbered(dataset: DataSet) -> list[tuple[int, Scene]]:
    """All scenes of a data set with their numbers, in order of their models. Raises ExchangeError as `scenes_of`."""
    return list(enumerate(sorted(scenes_of(dataset), key=lambda scene: scene.model), 1))


def kept_files(dataset: DataSet, scene: BopScene) -> Iterator[tuple[str, str]]:
    """Files of a scene that are copied as they are: their path in the data set, and in the export."""
    for number, view in enumerate(scene.scene.views):
        suffix = PurePosixPath(view.name).suffix
        if suffix not in (".png", ".jpg"):
            raise ExchangeError(f"{dataset.files.path}: {view.name}: BOP has pictures in .png and .jpg only")
        yield view.name, f"{scene.folder}/rgb/{number:06d}{suffix}"
        for ending in BESIDE:
            yield f"{view.stem}{ending}", original_name(scene.folder, f"{number:06d}", ending)


def camera_files(dataset: DataSet, scene: BopScene, millimetres: float) -> Iterator[tuple[str, bytes]]:
    """scene_camera.json and scene_gt.json: path in the export, content."""
    cameras, truth = {}, {}
    for number, camera in enumerate(scene.scene.cameras):
        turn, shift = bop_pose(camera.cam2world, millimetres)
        cameras[str(number)] = {
            "cam_K": camera.intrinsics.ravel().tolist(),
            "depth_scale": millimetres / DEPTH_STEPS,
            "cam_R_w2c": turn.ravel().tolist(),
            "cam_t_w2c": shift.tolist(),
        }
        at = turn @ scene.centre * millimetres + shift
        truth[str(number)] = [
            {"cam_R_m2c": turn.ravel().tolist(), "cam_t_m2c": at.tolist(), "obj_id": scene.number}
        ]
    yield f"{scene.folder}/scene_camera.json", _lines(cameras)
    yield f"{scene.folder}/scene_gt.json", _lines(truth)


def write_scene(dataset: DataSet, scene: BopScene, folder: ExportFolder) -> None:
    """Writes the pictures of a scene, depth, masks, what is known of them, and what is kept.

    Raises ExchangeError, StoppedError, OSError.
    """
    info: dict[str, object] = {}
    info_name = f"{scene.folder}/scene_gt_info.json"
    views = () if folder.has(info_name) else zip(scene.scene.views, scene.scene.cameras, strict=True)
    for number, (view, camera) in enumerate(views):
        z_depth, mask = dataset.shape_of(view, camera)
        info[str(number)] = [_info(mask, z_depth)]
        folder.write(f"{scene.folder}/depth/{number:06d}.png", partial(depth_png, z_depth, DEPTH_STEPS))
        for kind in ("mask", "mask_visib"):  # nothing stands before the only object
            name = f"{scene.folder}/{kind}/{number:06d}_{_GROUND_TRUTH}.png"
            folder.write(name, partial(mask_png, mask))
    for source, target in kept_files(dataset, scene):
        if source in dataset.files.sizes:
            folder.write(target, partial(dataset.checked, source))
    folder.write(info_name, partial(_lines, info))


def write_tables(
    dataset: DataSet, scenes: Sequence[BopScene], folder: ExportFolder, millimetres: float
) -> None:
    """Writes the files that are about all scenes."""
    matrix = scenes[0].scene.cameras[0].intrinsics
    camera = {
        "cx": matrix[0, 2],
        "cy": matrix[1, 2],
        "depth_scale": millimetres / DEPTH_STEPS,
        "fx": matrix[0, 0],
        "fy": matrix[1, 1],
        "height": dataset.resolution,
        "width": dataset.resolution,
    }
    targets = [
        {"im_id": number, "inst_count": 1, "obj_id": scene.number, "scene_id": scene.number}
        for scene in scenes
        if scene.scene.split == "test"
        for number in range(len(scene.scene.views))
    ]
    objects = {
        str(scene.number): {
            "model": scene.scene.model,
            "class": _class_of(dataset, scene),
            "folder": scene.folder,
            "centre": (scene.centre * millimetres).tolist(),
            **dataset.credit_of(scene.scene.model),
        }
        for scene in scenes
    }
    folder.write("camera.json", partial(_lines, camera))
    folder.write("test_targets_bop19.json", lambda: (json.dumps(targets, indent=1) + "\n").encode())
    folder.write("objects.json", partial(_lines, objects))
    folder.write("dataset_info.json", partial(_lines, {"millimetres": millimetres, "models": len(scenes)}))


def _class_of(dataset: DataSet, scene: BopScene) -> str | None:
    label = scene.scene.views[0].label
    return None if label is None else str(dataset.classes[label]["name"])


def _info(mask: Mask, z_depth: Floats) -> dict[str, Any]:
    """What BOP tells of an object in a picture: boxes (x, y, width, height) and numbers of pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [-1, -1, -1, -1]  # as bop_toolkit says that nothing is seen
    if len(rows):
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    count = int(mask.sum())
    kept = mask & (np.round(z_depth * DEPTH_STEPS) <= np.iinfo(np.uint16).max)
    return {
        "bbox_obj": [int(number) for number in box],
        "bbox_visib": [int(number) for number in box],
        "px_count_all": count,
        "px_count_valid": int(kept.sum()),
        "px_count_visib": count,
        "visib_fract": 1.0 if count else 0.0,
    }


def _lines(content: Mapping[str, object]) -> bytes:
    """JSON with one entry a line, as BOP's files are written."""
    rows = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    return ("{\n" + ",\n".join(rows) + "\n}\n").encode()

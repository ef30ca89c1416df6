"""Frames of a transforms.json that somebody else wrote: pictures, depth, cameras, as nerfstudio reads them."""

from __future__ import annotations

import math
import posixpath
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthetic.exchange.files import ExchangeError, Files, is_safe, parsed
from synthetic.exchange.source import Floats, is_number, matrix_of

NAME = "transforms.json"
_SPLITS = ("transforms_train.json", "transforms_val.json", "transforms_test.json")
_PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_BENT = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")  # coefficients of lenses that are no pinholes
_NO_BEND = 1e-6
_MOST_PIXELS = 1 << 14  # a side


@dataclass(frozen=True)
class Pinhole:
    """Focal lengths and principal point in pixels from the corner of the first one, and the size of the picture."""

    fl_x: float
    fl_y: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """A picture and its camera: `pose` [4,4] to the z-up world (OpenGL axes).

    Of its lens either the pinhole is known, or the `angle` in radians between left and right edge of the picture.
    """

    picture: str
    depth: str | None
    pose: Floats
    pinhole: Pinhole | None
    angle: float | None


def scenes_in(files: Files) -> dict[str, list[Frame]]:
    """The frames of every scene by its folder ("" for the top one). Raises ExchangeError where there is none."""
    folders: dict[str, list[str]] = {}
    for name in sorted(files.sizes):
        folder, _, file = name.rpartition("/")
        if file == NAME:
            folders[folder] = [name]
        elif file in _SPLITS and f"{folder}/{NAME}".lstrip("/") not in files.sizes:
            folders.setdefault(folder, []).append(name)
    if not folders:
        raise ExchangeError(f"{files.path}: has neither export.json nor a {NAME}; see docs/exchange.md")
    return {folder: _frames(files, folder, names) for folder, names in sorted(folders.items())}


def _frames(files: Files, folder: str, names: list[str]) -> list[Frame]:
    frames: dict[str, Frame] = {}
    for name in names:
        where = f"{files.path}/{name}"
        content = parsed(files.read(name), where)
        listed = content.get("frames") if isinstance(content, dict) else None
        if not isinstance(listed, list) or not all(isinstance(frame, dict) for frame in listed):
            raise ExchangeError(f"{where}: expected an object with frames")
        for frame in listed:
            made = _frame(files, folder, {**content, **frame}, where)
            frames[made.picture] = made
    return [frames[name] for name in sorted(frames)]


def _frame(files: Files, folder: str, facts: Mapping[str, Any], where: str) -> Frame:
    picture = _file(files, folder, facts.get("file_path"), where)
    where = f"{where}: {picture}"
    model = facts.get("camera_model", "PINHOLE")
    if model not in _PINHOLES:
        raise ExchangeError(f"{where} was taken through a lens of the kind {model!r}; only pinholes fit")
    bends = [key for key in _BENT if abs((_numbers(facts, key) or [0.0])[0]) > _NO_BEND]
    if bends or "distortion_params" in facts:
        raise ExchangeError(
            f"{where} is distorted ({', '.join(bends) or 'distortion_params'}); undistort it first"
        )
    depth = facts.get("depth_file_path")
    depth_file = None if depth is None else _file(files, folder, depth, where)
    numbers = _numbers({"fl_y": facts.get("fl_x"), **facts}, "fl_x", "fl_y", "cx", "cy", "w", "h")
    angle = _numbers(facts, "camera_angle_x")
    if numbers:
        fl_x, fl_y, cx, cy, width, height = numbers
        pinhole = Pinhole(fl_x, fl_y, cx, cy, int(width), int(height))
        if not (
            _looks(pinhole.fl_x, pinhole.cx, pinhole.width)
            and _looks(pinhole.fl_y, pinhole.cy, pinhole.height)
        ):
            raise ExchangeError(f"{where} has a pinhole that does not look at it")
        return Frame(picture, depth_file, _pose(facts, where), pinhole, None)
    if not angle or not 0 < angle[0] < math.pi:
        raise ExchangeError(f"{where} has neither fl_x, cx, cy, w, h nor camera_angle_x")
    return Frame(picture, depth_file, _pose(facts, where), None, angle[0])


def _numbers(facts: Mapping[str, Any], *keys: str) -> list[float] | None:
    """The finite numbers under `keys`, None where one of them is none."""
    values = [facts.get(key) for key in keys]
    return [float(value) for value in values if value is not None] if all(map(is_number, values)) else None


def _looks(focal: float, centre: float, side: int) -> bool:
    """Whether a pinhole stands before its picture, along one of its sides."""
    return focal > 0 and 0 < centre < side <= _MOST_PIXELS


def _pose(facts: Mapping[str, Any], where: str) -> Floats:
    rows = facts.get("transform_matrix")
    if isinstance(rows, list) and len(rows) == 3:
        rows = [*rows, [0.0, 0.0, 0.0, 1.0]]
    pose = matrix_of(rows, 4, f"{where}: transform_matrix")
    turn = pose[:3, :3]
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0:
        raise ExchangeError(f"{where}: transform_matrix turns by no rotation")
    return pose


def _file(files: Files, folder: str, name: object, where: str) -> str:
    """The path in `files` of what a frame names. Raises ExchangeError where nothing is there."""
    if not isinstance(name, str) or not name:
        raise ExchangeError(f"{where}: expected a file_path in every frame")
    path = posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))
    if not is_safe(path) or not f"{path}/".startswith(f"{folder}/" if folder else ""):
        raise ExchangeError(f"{where}: {name!r} leads out of its folder")
    for found in (path, f"{path}.png"):
        if found in files.sizes:
            return found
    raise ExchangeError(f"{where}: {name} is missing")


def centre_of(frames: list[Frame]) -> Floats:
    """[3] the point nearest to the optical axes of all frames. Raises ExchangeError where the axes do not meet."""
    ahead = np.array([-frame.pose[:3, 2] for frame in frames])
    across = np.eye(3) - ahead[:, :, None] * ahead[:, None, :]
    if np.linalg.cond(across.sum(axis=0)) > 1e6:
        raise ExchangeError(
            f"{frames[0].picture}: the views look in one direction; where they meet is not known"
        )
    origins = np.array([frame.pose[:3, 3] for frame in frames])
    return np.asarray(np.linalg.solve(across.sum(axis=0), (across @ origins[:, :, None]).sum(axis=0)[:, 0]))


def in_words(reasons: Counter[str]) -> str:
    """Why frames were left out, with numbers."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))

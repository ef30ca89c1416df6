"""Scenes with exact truth, by ray casting: a ball and a ball or cube on a checkered ground before a wall.

They are what tests and first runs learn from: colour, ray distance and any number of true views. Frames, cameras and
units are those of `rendering.views`; a scene's class is the hue of its first ball.
Letters: R pixels a side, P = R² rays.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

from gp3d_core.atomic import write_json
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import FORMAT, HEADER, VERSION, DatasetError
from gp3d_core.vq3d.rendering.views import orbit, pixel_rays

HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
T_NEAR, T_FAR = 0.3, 10.0  # between which ray distances are coded
_LIGHT = np.array([0.4, 0.8, 0.45])
_AMBIENT = 0.45
_SQUARES = 2.5  # of the ground's pattern to a scene unit
_YAW, _PITCH = 20.0, 6.0  # degrees that further views are turned by at most

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ToyScene:
    """One scene: the `floor` is at y = −floor, the `wall` at z = −wall; colours are rgb in [0, 1].

    The second object stands on the ground like the first and is a ball, or a cube turned by `turn` radians.
    """

    floor: float
    wall: float
    ball: Array  # centre x, z and radius
    obj: Array  # centre x, z and radius, or half a side
    turn: float | None
    colours: Array  # [5,3]: ball, object, two of the ground, wall
    label: int

    @property
    def pivot(self) -> float:
        """Depth of the first ball's centre, about which views turn."""
        return 1.0 - float(self.ball[1])


def draw_scene(rng: np.random.Generator) -> ToyScene:
    """A random scene."""
    label = int(rng.integers(len(HUES)))
    floor, side = rng.uniform(0.22, 0.34), rng.choice([-1.0, 1.0])
    hues = [label / len(HUES) + rng.uniform(-0.04, 0.04), *rng.random(3)]
    values = (1.0, rng.uniform(0.6, 1.0), rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.95))
    strength = (0.85, 0.6, 0.25, 0.3)
    ball, obj, ground, wall = (
        np.array(colorsys.hsv_to_rgb(h % 1.0, s, v)) for h, s, v in zip(hues, strength, values, strict=True)
    )
    return ToyScene(
        floor=floor,
        wall=rng.uniform(1.0, 3.0),
        ball=np.array([side * rng.uniform(0.0, 0.2), rng.uniform(-0.15, 0.15), rng.uniform(0.14, 0.2)]),
        obj=np.array([-side * rng.uniform(0.25, 0.45), rng.uniform(-0.7, -0.2), rng.uniform(0.1, 0.2)]),
        turn=float(rng.uniform(0, math.pi / 2)) if rng.random() < 0.5 else None,
        colours=np.stack([ball, obj, ground, ground * 0.55, wall]),
        label=label,
    )


def cast(
    scene: ToyScene, pose: torch.Tensor, fov: float, resolution: int
) -> tuple[npt.NDArray[np.uint8], Array]:
    """The picture uint8 [R,R,3] and the true ray distance [R,R] of `scene` from the camera `pose` [4,4]."""
    origins, directions = pixel_rays(pose[None].double(), fov, resolution)
    origin, rays = origins[0, 0].numpy(), directions[0].numpy()
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    hits = [_ball(scene, scene.ball, origin, rays), _second(scene, origin, rays)]
    hits += [_plane(origin, rays, 1, -scene.floor), _plane(origin, rays, 2, -scene.wall)]
    distances = np.stack([distance for distance, _ in hits])
    first = distances.argmin(axis=0)
    distance = distances.min(axis=0)
    points = origin + distance[:, None] * rays
    normals = np.stack([normal for _, normal in hits])[first, np.arange(len(rays))]
    odd = (np.floor(points[:, 0] * _SQUARES) + np.floor(points[:, 2] * _SQUARES)) % 2
    which = np.where(first == 2, 2 + odd, np.where(first == 3, 4, first)).astype(int)
    light = _AMBIENT + (1 - _AMBIENT) * np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    colour = scene.colours[which] * light[:, None]
    picture = np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)
    return picture.reshape(resolution, resolution, 3), distance.reshape(resolution, resolution)


def _ball(scene: ToyScene, ball: Array, origin: Array, rays: Array) -> tuple[Array, Array]:
    """Distance [P], inf where missed, and normal [P,3] of a ball on the ground."""
    x, z, radius = ball
    centre = np.array([x, radius - scene.floor, z])
    along = rays @ (centre - origin)
    under = along**2 - (centre - origin) @ (centre - origin) + radius**2
    distance = along - np.sqrt(np.maximum(under, 0))
    distance = np.where((under > 0) & (distance > 0), distance, np.inf)
    surface = origin + np.where(np.isfinite(distance), distance, 0)[:, None] * rays
    return distance, (surface - centre) / radius


def _second(scene: ToyScene, origin: Array, rays: Array) -> tuple[Array, Array]:
    """The second object: a ball, or a cube by the slabs of its own frame."""
    if scene.turn is None:
        return _ball(scene, scene.obj, origin, rays)
    x, z, half = scene.obj
    cos, sin = math.cos(scene.turn), math.sin(scene.turn)
    to_world = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    start, ways = (origin - np.array([x, half - scene.floor, z])) @ to_world, rays @ to_world
    ways = np.where(np.abs(ways) < 1e-12, 1e-12, ways)
    one, other = (-half - start) / ways, (half - start) / ways
    enter, leave = np.minimum(one, other), np.maximum(one, other)
    near, far = enter.max(axis=1), leave.min(axis=1)
    distance = np.where((near < far) & (near > 0), near, np.inf)
    axis = enter.argmax(axis=1)
    normal = np.zeros_like(rays)
    normal[np.arange(len(rays)), axis] = -np.sign(ways[np.arange(len(rays)), axis])
    return distance, normal @ to_world.T


def _plane(origin: Array, rays: Array, axis: int, place: float) -> tuple[Array, Array]:
    """A plane across an axis, seen from its positive side."""
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (place - origin[axis]) / rays[:, axis]
    distance = np.where((rays[:, axis] < 0) & (distance > 0), distance, np.inf)
    return distance, np.broadcast_to(np.eye(3)[axis], rays.shape)


def write_toys(
    folder: Path, count: int, resolution: int, *, views: int = 1, seed: int = 0, fov: float = 45.0
) -> None:
    """Writes `count` scenes as a data set (docs/dataset.md) with the cameras of all views.

    View 0 of each is the input camera's, the others are turned about the first ball. Raises DatasetError if the folder
    is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder} exists already; choose a new or empty folder")
    labels, cameras = [], {}
    for k in tqdm(range(count), desc="toy scenes", unit="scene", leave=False, disable=None):
        rng = np.random.default_rng([seed, k])
        scene = draw_scene(rng)
        for view in range(views):
            turn = np.zeros(2) if view == 0 else rng.uniform(-1, 1, 2) * (_YAW, _PITCH)
            yaw, pitch, pivot = (torch.tensor([x], dtype=torch.float64) for x in (*turn, scene.pivot))
            pose = orbit(yaw, pitch, pivot)[0]
            name = f"{HUES[scene.label]}/{k:05d}_{view:03d}"
            _write_view(folder / name, *cast(scene, pose, fov, resolution))
            labels.append([f"{name}.png", scene.label])
            cameras[f"{name}.png"] = {"model": f"toy/{k:05d}", "fov": fov, "cam2world": pose.tolist()}
    classes = [{"label": k, "name": f"{hue} ball"} for k, hue in enumerate(HUES)]
    write_json(folder / "cameras.json", {"convention": "gp3d-1", "views": cameras})
    index = {"format": FORMAT, "version": VERSION, "resolution": resolution, "classes": classes}
    index |= {"labels": sorted(labels), "t_near": T_NEAR, "t_far": T_FAR, "license": "CC0-1.0"}
    write_json(folder / HEADER, index | {"generator": {"program": "gp3d toy scenes", "seed": seed}})


def _write_view(stem: Path, picture: npt.NDArray[np.uint8], distance: Array) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    # the wall may lie beyond T_FAR, and is no background
    code = depth_codes.encode((distance - T_NEAR) / (T_FAR - T_NEAR), most=depth_codes.BACKGROUND - 1)
    Image.fromarray(picture).save(stem.with_name(f"{stem.name}.png"))
    Image.fromarray(code).save(stem.with_name(f"{stem.name}_depth.png"))

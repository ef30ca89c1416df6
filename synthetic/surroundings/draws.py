"""What is drawn by chance: the light, ground and background of a view, functions of (seed, model, view) alone."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthetic.staging.sampling import linear_of_srgb, srgb_bytes
from synthetic.staging.surface import StagedModel
from synthetic.surroundings.ground import with_ground
from synthetic.surroundings.pictures import square
from synthetic.surroundings.settings import (
    AroundRecord,
    Color,
    LightKind,
    SurroundingFiles,
    Surroundings,
    SurroundingsError,
    color_bytes,
    sha256,
)
from synthetic.surroundings.worlds import World, read_world, write_world
from synthetic.viewpoints import Viewpoint, intrinsics, pick_shares, room_colours

_MOST_PLACES = 8  # a side of a pixel at which a map is looked up


@dataclass(frozen=True)
class Light:
    """The light of a view; of an environment map its file, by how much it is turned, and its factor."""

    kind: LightKind = "paper"
    world: Path | None = None
    rotation: float = 0.0
    strength: float = 1.0


@dataclass(frozen=True)
class ViewSurroundings:
    """What is around a model in one view: the light, pixels [R,R,3] behind it (None: white), and what records say."""

    light: Light = Light()
    background: npt.NDArray[np.uint8] | None = None
    record: AroundRecord = field(default_factory=AroundRecord)


def ground_color(ground: str, seed: int, model: str) -> Color:
    """Linear RGB of the ground of a model."""
    if ground == "random":
        return room_colours(seed, model)[0]
    red, green, blue = linear_of_srgb(np.array(color_bytes(ground)) / 255).tolist()
    return red, green, blue


class SurroundingDraws:
    """Draws what is around the views of a data set."""

    def __init__(
        self, asked: Surroundings, files: SurroundingFiles, seed: int, workspace: Path, most_side: int
    ) -> None:
        """Maps are made ready for Blender in `workspace`, one at a time."""
        self._asked, self._files, self._seed = asked, files, seed
        self._folder, self._most_side = workspace, most_side
        self._digests = dict(line.rsplit(" ", 1) for line in asked.worlds)
        self._world: tuple[str, World, Path] | None = None

    def stand(self, staged: StagedModel, model: str) -> StagedModel:
        """A model on its ground, where it is to have one."""
        if self._asked.ground == "none":
            return staged
        return replace(
            staged, surface=with_ground(staged.surface, ground_color(self._asked.ground, self._seed, model))
        )

    def of_view(self, model: str, view: int, viewpoint: Viewpoint, resolution: int) -> ViewSurroundings:
        """What is around a model in a view. Raises SurroundingsError where a file is not what it was."""
        record: AroundRecord = {}
        light, world = Light(self._asked.light), None
        if self._asked.light == "hdri":
            light, world = self._draw_world(model, view, record)
        if self._asked.ground != "none":
            record["ground"] = {"color": list(ground_color(self._asked.ground, self._seed, model))}
        background = self._draw_background(model, view, viewpoint, resolution, light, world, record)
        return ViewSurroundings(light, background, record)

    def _draw_world(self, model: str, view: int, record: AroundRecord) -> tuple[Light, World]:
        each = f" {view}" if self._asked.light_each == "view" else ""
        which, turn = pick_shares(f"{self._seed} {model}{each} light")
        name = list(self._digests)[int(which * len(self._digests))]
        rotation = 2 * np.pi * (turn - 0.5)
        if self._world is None or self._world[0] != name:
            if self._world:
                self._world[2].unlink(missing_ok=True)
            path = self._folder / f"world-{self._digests[name][:16]}.exr"
            world = read_world(self._files.worlds[name], self._most_side)
            write_world(world, path)
            self._world = name, world, path
        _, world, path = self._world
        record["light"] = {
            "world": name,
            "sha256": self._digests[name],
            "rotation": rotation,
            "strength": world.strength,
        }
        return Light("hdri", path, rotation, world.strength), world

    def _draw_background(
        self,
        model: str,
        view: int,
        viewpoint: Viewpoint,
        resolution: int,
        light: Light,
        world: World | None,
        record: AroundRecord,
    ) -> npt.NDArray[np.uint8] | None:
        asked, shape = self._asked.background, (resolution, resolution, 3)
        if asked == "white":
            return None
        if asked == "hdri" and world is not None:
            record["background"] = {"world": record["light"]["world"]}
            return _seen(world, light, viewpoint, resolution)
        if asked == "pictures":
            which, _ = pick_shares(f"{self._seed} {model} {view} background")
            name = list(self._files.pictures)[int(which * len(self._files.pictures))]
            pixels, box = _cut(
                self._files.pictures[name], pick_shares(f"{self._seed} {model} {view} crop"), resolution
            )
            record["background"] = {"picture": name, "sha256": sha256(self._files.pictures[name]), "box": box}
            return pixels
        color = (
            color_bytes(asked)
            if asked != "random"
            else _random_color(f"{self._seed} {model} {view} background")
        )
        record["background"] = {"color": list(color)}
        return np.full(shape, color, np.uint8)


def _cut(path: Path, place: tuple[float, float], resolution: int) -> tuple[npt.NDArray[np.uint8], list[int]]:
    try:
        return square(path, place, resolution)
    except (OSError, ValueError) as error:
        raise SurroundingsError(f"{path}: cannot be read any more ({error})") from None


def _random_color(words: str) -> tuple[int, int, int]:
    """sRGB bytes of any hue, none so strong or dark that it hides an object."""
    hue, shade = pick_shares(words)
    red, green, blue = (
        round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.5 * shade, 0.5 + 0.5 * shade)
    )
    return red, green, blue


def _seen(world: World, light: Light, viewpoint: Viewpoint, resolution: int) -> npt.NDArray[np.uint8]:
    """[R,R,3] sRGB bytes of a map behind everything, as its light is: the mean over each pixel, cut at white."""
    matrix, pose = intrinsics(viewpoint.fov, resolution), viewpoint.cam2world()
    texels = world.pixels.shape[1] / (2 * np.pi) / matrix[0, 0]  # along a pixel in the middle
    count = int(np.clip(np.ceil(texels), 1, _MOST_PLACES))
    steps = (np.arange(count) + 0.5) / count - 0.5
    total = np.zeros((resolution, resolution, 3))
    row, column = np.indices((resolution, resolution))
    for down in steps:
        for right in steps:
            x = (column + right - matrix[0, 2]) / matrix[0, 0]
            y = -(row + down - matrix[1, 2]) / matrix[1, 1]
            local = np.stack([x, y, -np.ones_like(x)], axis=-1)
            total += world.radiance(local @ pose[:3, :3].T, light.rotation)
    return srgb_bytes(total * (light.strength / count**2))

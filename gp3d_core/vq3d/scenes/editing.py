"""Operations on whole scenes: remove, move, insert, interpolate (VQ3D's demonstrations).

What comes of them is no longer what a picture shows: they drop the pictures that scenes were made of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gp3d_core.datasets.decoding import Limits, PictureError, decode_mask
from gp3d_core.preparation.framing import frame, resize
from gp3d_core.vq3d.scenes.composition import (
    Box,
    Fade,
    Keep,
    Region,
    RegionError,
    Remove,
    is_in_frame,
    lift,
    place_about,
    surface_points,
)
from gp3d_core.vq3d.scenes.scenefile import Part, Scene
from gp3d_core.vq3d.scenes.segmentation import hole_of, outstanding_in, subject_depth

Blend = Literal["planes", "field"]
WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Choice:
    """Selection in a scene: a box in space, or else a mask's file (white), or else what stands out in a rectangle.

    `tolerance` is how far the object may reach from its visible surface, as a share of the range of inverse depth.
    """

    mask: Path | None = None
    box: tuple[float, ...] | None = None
    rectangle: tuple[float, ...] = WHOLE
    tolerance: float = 0.1


@dataclass(frozen=True)
class Motion:
    """Where an object goes: turned by `yaw` degrees and scaled about its middle, then moved by `shift`, scene units."""

    scale: float = 1.0
    yaw: float = 0.0
    shift: tuple[float, ...] = (0.0, 0.0, 0.0)


def choose_region(scene: Scene, choice: Choice) -> Region:
    """The region of `scene` that is meant. Raises RegionError for an empty one, and for a mask that cannot be read."""
    if choice.box is not None:
        low, high = choice.box[:3], choice.box[3:]
        if len(choice.box) != 6 or not all(a < b for a, b in zip(low, high, strict=True)):
            raise RegionError(
                f"expected two corners, the first three numbers below the others, found {choice.box}"
            )
        return Box(low, high)
    inverse = scene.view().disparity[0]
    if choice.mask is None:
        mask = outstanding_in(inverse, choice.rectangle)
    else:
        mask = read_mask(choice.mask, len(inverse)).to(inverse)
    camera = scene.camera
    reach = choice.tolerance * (1 / camera.near - 1 / camera.far)
    try:
        return lift(mask, inverse, camera.fov, reach)
    except RegionError as error:
        raise RegionError(f"{choice.mask or 'the rectangle'}: {error}") from error


def read_mask(path: Path, size: int, picture_size: tuple[int, int] | None = None) -> Tensor:
    """The mask [size,size] from 0 to 1 of a picture, cut as photographs are: its brightness, or its alpha channel.

    Raises RegionError for a picture that cannot be used, for none, and for one without the proportions of
    `picture_size`, which it is about.
    """
    if not path.is_file():
        raise RegionError(f"there is no mask at {path}")
    try:
        picture = decode_mask(path.read_bytes(), Limits())
    except PictureError as error:
        raise RegionError(f"{path} {error}") from error
    width, height = picture_size or picture.size
    if abs(picture.width * height - picture.height * width) > max(width, height, *picture.size) / 2:
        raise RegionError(
            f"mask {path} is {picture.width}x{picture.height}, expected {width}x{height} like its picture, "
            "or its proportions"
        )
    where = frame(picture.width, picture.height, size, "crop")
    grey: Image.Image = resize(picture, size, size, where.source)
    return torch.from_numpy(np.asarray(grey, dtype=np.float32) / 255)


def share_of(scene: Scene, region: Region) -> float:
    """How much of the picture, 0 to 1, shows what is in the region."""
    if not isinstance(region, Box):
        return float(region.mask.mean())
    reach = math.tan(math.radians(scene.camera.fov) / 2)
    return float(region(surface_points(scene.view().disparity[0], reach).flatten(0, 1)[None]).mean())


def remove(scene: Scene, region: Region) -> Scene:
    """The scene without what is in the region, or under the lifted mask: there all goes that is before what is around.

    What shows instead is what the scene has behind it. Nothing is made up.
    """
    hole = region if isinstance(region, Box) else hole_of(region)
    return replace(scene, parts=tuple(part.after(Remove(hole)) for part in scene.parts), inputs=())


def insert(scene: Scene, other: Scene, region: Region, motion: Motion) -> Scene:
    """`scene` with what is in the `region` of `other`, placed by `motion`; either hides what is behind it."""
    place = place_about(
        region.centre.to(other.parts[0].planes), scale=motion.scale, yaw=motion.yaw, shift=motion.shift
    )
    guests = tuple(part.after(Keep(region), place) for part in other.parts)
    return replace(scene, parts=(*scene.parts, *guests), inputs=())


def share_beyond(scene: Scene, other: Scene, region: Region, motion: Motion) -> float:
    """How much of what is seen in the `region` of `other`, 0 to 1, `motion` takes out of the picture of `scene`."""
    reach = math.tan(math.radians(other.camera.fov) / 2)
    surface = surface_points(other.view().disparity[0], reach).flatten(0, 1)
    seen = region(surface[None])[0, :, 0]
    place = place_about(region.centre.to(surface), scale=motion.scale, yaw=motion.yaw, shift=motion.shift)
    inside = is_in_frame(place.moved(surface), math.tan(math.radians(scene.camera.fov) / 2))
    return float((seen * ~inside).sum() / seen.sum().clamp(min=1e-9))


def move(scene: Scene, region: Region, motion: Motion) -> Scene:
    """The scene with what is in the region elsewhere."""
    return insert(remove(scene, region), scene, region, motion)


def blend(scene: Scene, other: Scene, share: float, kind: Blend = "planes") -> Scene:
    """Between `scene` (share 0) and `other` (share 1), seen as the first is.

    planes: their tri-planes are mixed, which two scenes of one tokenizer that nothing was cut from allow. field: both
    are there with a share of their density. The quantised codes promise no meaningful way between two scenes.
    Raises RegionError for planes that cannot be mixed.
    """
    if kind == "planes":
        parts: tuple[Part, ...] = (_mixed_part(scene, other, share),)
    else:
        faded = [(part, 1 - share) for part in scene.parts] + [(part, share) for part in other.parts]
        parts = tuple(part.after(Fade(left)) for part, left in faded)
    pivot = 1 / ((1 - share) / scene.pivot + share / other.pivot)
    return replace(scene, parts=parts, pivot=pivot, inputs=())


def _mixed_part(scene: Scene, other: Scene, share: float) -> Part:
    ends = (*scene.parts, *other.parts)
    if len(ends) != 2 or any(part.steps for part in ends):
        raise RegionError("planes mix only between scenes that nothing was cut from; use `kind` field")
    if ends[0].tokenizer != ends[1].tokenizer:
        raise RegionError(
            f"the scenes are of two tokenizers, {ends[0].tokenizer[:12]} and {ends[1].tokenizer[:12]}; use `kind` field"
        )
    source = f"{ends[0].source} to {ends[1].source}"
    planes = ends[0].planes * (1 - share) + ends[1].planes * share
    return replace(ends[0], planes=planes, codes=None, source=source)


def along(scene: Scene, other: Scene, count: int, kind: Blend = "planes") -> Sequence[Scene]:
    """`count` scenes from one to the other, both ends included."""
    return [blend(scene, other, k / max(count - 1, 1), kind) for k in range(count)]


def set_pivot(scene: Scene) -> Scene:
    """The scene with the pivot that its own input view asks for."""
    return replace(scene, pivot=subject_depth(scene.view().disparity[0]))

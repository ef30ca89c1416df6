"""The pictures that a scene was made of, at their own resolution, and the cameras that took them.

Models look at few pixels. What they do not see, the surface of a scene still shows where the input camera sees it:
`mesh` lays these pictures over the model's colours.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gp3d_core.datasets.decoding import Limits, decode
from gp3d_core.meshing.texture.projection import Photograph
from gp3d_core.preparation.framing import Fit, Frame, frame, place
from gp3d_core.rendering.cameras import Cameras
from gp3d_core.vq3d.config import CameraConfig
from gp3d_core.vq3d.rendering.views import RADIUS

_MOST = 2048  # pixels a side: no texture that is chosen without being asked for holds more
_LEAST = 2
MOST_ELEVATION = 80.0  # degrees, as far as a yaw is one


@dataclass(frozen=True, eq=False)
class InputView:
    """A picture uint8 [S,S,3], cut as the model saw it, and how far its camera is turned about the pivot, degrees.

    `elevation` is how far the scene's camera looks down: about what vertical this one is turned (`views.orbit`).
    """

    rgb: NDArray[Any]
    yaw: float = 0.0
    elevation: float = 0.0

    @classmethod
    def of_picture(cls, picture: Image.Image, resolution: int, fit: Fit, yaw: float = 0.0) -> InputView:
        """The view of the RGB `picture` that a model of `resolution` sees `fit`, at most 2048 pixels a side."""
        width, height = picture.size
        if fit == "crop":
            where = frame(width, height, min(max(width, _LEAST), max(height, _LEAST), _MOST), fit)
        else:  # bars as wide as those that the model saw, in pixels of its own
            seen = frame(width, height, resolution, fit)
            times = max(1, min(math.ceil(1 / seen.scale), _MOST // resolution))
            left, top, right, bottom = (times * edge for edge in seen.target)
            where = Frame(seen.source, (left, top, right, bottom), times * resolution)
        return cls(np.asarray(place(picture, where)), yaw)

    @classmethod
    def of_bytes(cls, content: Tensor, yaw: float, elevation: float) -> InputView:
        """The view in what `to_bytes` gave. Raises PictureError for no picture, ValueError for one not square."""
        rgb = np.asarray(decode(content.cpu().numpy().tobytes(), Limits()))
        if not _LEAST <= rgb.shape[0] == rgb.shape[1]:
            raise ValueError(f"an input picture of {rgb.shape[1]}x{rgb.shape[0]}, expected a square")
        return cls(rgb, yaw, elevation)

    def angles(self) -> dict[str, float]:
        """Its angles as files have them: no elevation where it is 0."""
        return {"yaw": self.yaw} | ({"elevation": self.elevation} if self.elevation else {})

    def to_bytes(self) -> Tensor:
        """The picture as a PNG file, uint8 [bytes]."""
        file = io.BytesIO()
        Image.fromarray(self.rgb).save(file, "PNG")
        return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)

    def photograph(self, camera: CameraConfig, resolution: int, pivot: float) -> Photograph:
        """The view as a photograph of the world, of a scene with that camera and pivot, of `resolution` pixels a side.

        The camera's field of view lies between centres of the outer ones of these; their outer edges are the picture's.
        """
        yaw, lean = math.radians(self.yaw), math.radians(self.elevation)
        sin, cos = math.sin(lean), math.cos(lean)
        half = math.tan(math.radians(camera.fov) / 2) * resolution / (resolution - 1)
        middle = RADIUS - pivot  # of the turn, on the z axis
        # the world, turned about the x axis until its vertical is the y axis
        x, y, z = -pivot * cos * math.sin(yaw), (middle + pivot) * sin, cos * (middle + pivot * math.cos(yaw))
        radius = math.hypot(x, y, z)
        numbers = (
            [[math.atan2(-x, z), math.acos(y / radius), 0.0]],
            [2 * math.degrees(math.atan(half))],
            [radius],
            [[0.0, math.pi / 2 - lean, middle]],
        )
        cameras = Cameras(*(torch.tensor(one, dtype=torch.float64) for one in numbers))
        upright = np.array([[1.0, 0.0, 0.0], [0.0, cos, sin], [0.0, -sin, cos]])
        return Photograph(self.rgb, cameras, 1 / resolution, upright)

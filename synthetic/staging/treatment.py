"""What a run allows of a model file, and what it does with the parts that a picture cannot show as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ModelLimits:
    """The most faces, megabytes and pixels along a texture that a model may have; more makes it a broken model."""

    max_faces: int = 3_000_000
    max_megabytes: int = 1024
    max_texture_side: int = 8192

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if min(self.max_faces, self.max_megabytes, self.max_texture_side) < 1:
            raise ValueError("the limits on faces, megabytes and texture sides must be at least 1")


@dataclass(frozen=True)
class Treatment:
    """What becomes of glass, of cut-outs, and of colours that the file promises and that cannot be had.

    `transparent`: parts that let light through are removed or drawn opaque. `cutouts`: parts whose texture's alpha
    says where they are, such as leaves, are cut out or drawn solid. `missing_textures`: a colour that is missing makes
    the model a broken one, or is replaced by the plain colour and named in the notes.
    """

    transparent: Literal["remove", "opaque"] = "remove"
    missing_textures: Literal["fail", "color"] = "fail"
    cutouts: Literal["cut", "solid"] = "cut"

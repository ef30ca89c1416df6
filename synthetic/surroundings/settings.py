"""What may be around a model, as it is asked for: the same for all views of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from PIL import ImageColor

from synthetic.atomic import opened

Color = tuple[float, float, float]
LightKind = Literal["paper", "flat", "hdri"]
SKY = 0.5  # radiance of the uniform sky of "paper"
SUN = 1.6  # irradiance of its sun: a white face turned to it returns sky + sun/pi, just about 1
MEAN_RADIANCE = SKY + SUN / (
    4 * np.pi
)  # over all directions: what a white ball returns in the mean of its surface


class SurroundingsError(ValueError):
    """Surroundings that cannot be had; the message says what was found and what to do."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is around the models of a data set.

    `light`: "paper" is a uniform sky with a sun, "flat" the sky alone, "hdri" one of `worlds`, named with their
    SHA-256, which is drawn for each model, or each view (`light_each`). `ground` is "none", "random" or a colour
    "#rrggbb" (sRGB). `background` is "white", "random", a colour, "hdri" (the world that gives the light) or
    "pictures", a folder of which `pictures` is the SHA-256. Raises ValueError where these contradict each other.
    """

    light: LightKind = "paper"
    worlds: tuple[str, ...] = ()
    light_each: Literal["model", "view"] = "model"
    ground: str = "none"
    background: str = "white"
    pictures: str = ""

    def __post_init__(self) -> None:
        """Checks that all belongs together."""
        if (self.light == "hdri") != bool(self.worlds):
            raise ValueError("light of environment maps needs maps, and other light has none")
        if self.background == "hdri" and self.light != "hdri":
            raise ValueError(
                "--background hdri shows the map that gives the light; ask for --light hdri, too"
            )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Surroundings:
        """What `dataclasses.asdict` and JSON made of it; what is missing is as it was before it could be chosen."""
        return cls(**{**content, "worlds": tuple(content.get("worlds", ()))})


class AroundRecord(TypedDict, total=False):
    """What a view says of what is around its model: each only where it is not as usual."""

    light: dict[str, Any]  # of an environment map
    ground: dict[str, Any]
    background: dict[str, Any]


@dataclass(frozen=True)
class SurroundingFiles:
    """Where the files of surroundings lie, by the name that records give them."""

    worlds: Mapping[str, Path] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)

    def as_json(self) -> dict[str, dict[str, str]]:
        """Names and paths for another process."""
        return {
            kind: {name: str(path) for name, path in files.items()}
            for kind, files in (("worlds", self.worlds), ("pictures", self.pictures))
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Mapping[str, str]]) -> SurroundingFiles:
        """What another process wrote with `as_json`."""
        return cls(
            *({name: Path(path) for name, path in content[kind].items()} for kind in ("worlds", "pictures"))
        )


def sha256(path: Path) -> str:
    """The hash of a file."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def color_code(text: str) -> str | None:
    """A colour by name or number (white, #c8b090) as "#rrggbb"; None where the text is none."""
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        return None
    return f"#{red:02x}{green:02x}{blue:02x}"


def color_bytes(code: str) -> tuple[int, int, int]:
    """The sRGB bytes of "#rrggbb"."""
    red, green, blue = bytes.fromhex(code[1:])
    return red, green, blue

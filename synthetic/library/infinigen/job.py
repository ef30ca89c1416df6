"""What is asked of a child that makes one object, and what it leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.staging.surface import Material, Surface, Texture

SURFACE, FAILURE = "surface.npz", "failure.txt"
_ARRAYS = ("positions", "triangles", "material", "part", "normals")


@dataclass(frozen=True)
class FactoryJob:
    """An object to be made: which factory, of which seed, into which folder, how fine, and where its front is.

    `facing` is one of Blender's axes, such as "+x"; `texture` is the side of its texture in texels; `threads` 0 takes
    all cores.
    """

    factory: str
    seed: int
    folder: Path
    max_faces: int
    texture: int
    facing: str
    threads: int

    @property
    def front(self) -> npt.NDArray[np.float64]:
        """The axis [3] of Blender's world that the object's front looks along."""
        axis = np.zeros(3)
        axis["xyz".index(self.facing[1])] = -1.0 if self.facing[0] == "-" else 1.0
        return axis

    def as_json(self) -> dict[str, Any]:
        """The job as the child reads it with `from_json`."""
        return {**asdict(self), "folder": str(self.folder)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FactoryJob:
        """The job that the parent wrote with `as_json`."""
        return cls(**{**content, "folder": Path(content["folder"])})

    def write(self, surface: Surface) -> None:
        """Writes a surface with one layer of coordinates, whose textures are files in the folder."""
        materials = [
            {
                **asdict(replace(material, color_texture=None)),
                "color_texture": material.color_texture.path.name if material.color_texture else None,
            }
            for material in surface.materials
        ]
        arrays = {name: getattr(surface, name) for name in _ARRAYS}
        np.savez(self.folder / SURFACE, uv=surface.uvs[0], materials=json.dumps(materials), **arrays)

    def read(self) -> Surface:
        """The surface that the child wrote. Raises OSError, ValueError or KeyError."""
        with np.load(self.folder / SURFACE, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            uv, materials = file["uv"], json.loads(str(file["materials"]))
        return Surface(uvs=(uv,), materials=tuple(self._material(content) for content in materials), **arrays)

    def _material(self, content: Mapping[str, Any]) -> Material:
        name = content["color_texture"]
        texture = Texture(self.folder / Path(name).name, wrap=("clamp", "clamp")) if name else None
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
        }
        return Material(**{**plain, "color_texture": texture})

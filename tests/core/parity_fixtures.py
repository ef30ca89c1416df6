"""Recorded tensors of an independent run of the method: `<case>.safetensors` and `<case>.json` in one folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gp3d_core.cameras import Cameras
from gp3d_core.patches import Patches


@dataclass(frozen=True)
class Case:
    """One recorded case: its tensors by key, and what its json says."""

    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]

    def __getitem__(self, key: str) -> torch.Tensor:
        return self.tensors[key]

    def __contains__(self, key: str) -> bool:
        return key in self.tensors

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """Tensors whose key starts with `prefix`, by the rest of their key."""
        return {key[len(prefix) :]: value for key, value in self.tensors.items() if key.startswith(prefix)}

    def cameras(self, prefix: str = "cam.", dtype: torch.dtype = torch.float32) -> Cameras:
        """The cameras stored below `prefix`."""
        fields = ("angles", "fov", "radius", "look_at")
        return Cameras(*(self[prefix + field] for field in fields)).to(dtype=dtype)

    def patches(self, prefix: str = "patch.", dtype: torch.dtype = torch.float32) -> Patches:
        """The patches stored below `prefix`."""
        return Patches(self[prefix + "scales"], self[prefix + "offsets"]).to(dtype=dtype)


def load_case(folder: Path, name: str) -> Case:
    """A case of a folder; the test is skipped, saying so, when the folder lacks it."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{folder} holds no {name}")
    return Case(load_file(path), json.loads(path.with_suffix(".json").read_text()))

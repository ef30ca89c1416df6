"""Recorded tensors of an independent run of the method: `<case>.safetensors` and `<case>.json` in one folder.

A folder may hold some tensors in parts, stored as NAME@PART (reduce_fixtures.py writes them):

    @left, @right             a matrix as a product of two thinner ones
    @rows, @index             a table of which rows are missing: row i is rows[index[i]], and NaN for index -1
    @shape, @sample, @signs   the sketch of a tensor that tests only compare with (sketches.py)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gp3d_core.rendering.cameras import Cameras
from gp3d_core.rendering.patches import Patches
from tests.support.sketches import Sketch

OWN = Path(__file__).resolve().parents[2] / "fixtures/3dgp"

Close = Callable[..., None]


@dataclass(frozen=True)
class Case:
    """One recorded case: its tensors by key, and what its json says."""

    tensors: dict[str, Any]  # Tensor, or Sketch where a test does nothing but compare
    meta: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.tensors[key]

    def under(self, prefix: str) -> dict[str, Any]:
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
    """A case of a folder. The test fails if the project's own folder lacks it, and is skipped if another does."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        (pytest.fail if folder == OWN else pytest.skip)(f"{folder} holds no {name}")
    return Case(assemble(load_file(path)), json.loads(path.with_suffix(".json").read_text()))


def assemble(stored: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tensors and sketches by name, of tensors as stored."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in stored.items():
        name, _, part = key.partition("@")
        parts.setdefault(name, {})[part] = tensor
    return {name: join(found) for name, found in parts.items()}


def join(parts: Mapping[str, Tensor]) -> Tensor | Sketch:
    """The tensor that is stored as `parts`."""
    if "left" in parts:
        return (parts["left"].double() @ parts["right"].double()).float()
    if "rows" in parts:
        index = parts["index"].long()
        return torch.where((index < 0)[:, None], torch.nan, parts["rows"][index])
    if "signs" in parts:
        return Sketch(tuple(parts["shape"].tolist()), parts["sample"], parts["signs"])
    return parts[""]

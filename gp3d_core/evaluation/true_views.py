"""Rendered truth as evaluation needs it: views of models by class, with camera and depth, read when they are asked for.

The data set is one of `python -m synthetic.render` (docs/dataset.md). Depth is that of `_depth.png`, a 65536th of the
range between near and far exact; what lies at the far plane counts as background.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import Archive, DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.metrics.depthviews import DepthView, view_of_distance
from gp3d_core.rendering.cameras import PARAMETERS, Cameras, spherical_to_cartesian


@dataclass(frozen=True, eq=False)
class TruthViews:
    """A rendered data set: of image k the model "<synset>/<id>" in models[k] and the camera cameras[k].

    `held_out` are the models of the manifest's test split. Of views every `stride`-th pixel is taken.
    """

    dataset: Dataset
    models: list[str]
    cameras: Cameras
    held_out: frozenset[str]
    stride: int = 1

    @property
    def size(self) -> int:
        """Pixels along an edge of a view."""
        return self.dataset.resolution // self.stride

    @cached_property
    def directions(self) -> Tensor:
        """Unit vectors [N,3] from the origin to the cameras."""
        yaw, pitch, _ = self.cameras.angles.unbind(dim=1)
        return spherical_to_cartesian(yaw, pitch, torch.ones_like(yaw))

    def of_class(self, record: Mapping[str, Any]) -> list[int]:
        """Images of the data set's class with the record's WordNet id, or else its name; none if there is no such."""
        for field in ("wnid", "name"):
            labels = [
                own["label"] for own in self.dataset.classes if own.get(field, own) == record.get(field)
            ]
            if labels:
                return np.flatnonzero(self.dataset.labels == labels[0]).tolist()
        return []

    def view(self, index: int) -> DepthView:
        """Depth of image `index`."""
        _, codes = self.dataset.load(index)
        near, far = self._range
        unit = depth_codes.to_unit(torch.from_numpy(codes.astype(np.float32)))
        distance = depth_codes.to_distance(unit, near, far)
        distance[torch.from_numpy(codes == depth_codes.BACKGROUND)] = torch.inf
        return view_of_distance(thinned(distance, self.stride), self.cameras[index])

    def image(self, index: int) -> NDArray[Any]:
        """Image `index`, uint8 [h,h,3]."""
        return thinned(self.dataset.load_image(index), self.stride)

    def near_views(self, index: int, among: Sequence[int], degrees: float) -> list[int]:
        """Those of the images `among` seen from within `degrees` of where image `index` is; the nearest if none is."""
        cosine = self.directions[list(among)] @ self.directions[index]
        near = [k for k, c in zip(among, cosine.tolist(), strict=True) if c >= np.cos(np.radians(degrees))]
        return near or [among[int(cosine.argmax())]]

    @property
    def _range(self) -> tuple[float, float]:
        near, far = self.dataset.t_near, self.dataset.t_far
        if near is None or far is None:
            raise DatasetError(f"{self.dataset.path}/dataset.json has no t_near and t_far: depth has no unit")
        return near, far


def thinned(pixels: Any, stride: int) -> Any:
    """Every `stride`-th row and column of `pixels` [H,W,…], an array or a tensor: the middles of their cells."""
    middle = slice(stride // 2, None, stride)
    return pixels[middle, middle]


def read_views(path: Path, pixels: int | None = None) -> TruthViews:
    """The views of the data set at `path`, thinned to `pixels` an edge, or as near above that as their number divides.

    Raises DatasetError if it has no classes, cameras or manifest.
    """
    dataset = Dataset(path)
    if not dataset.classes:
        raise DatasetError(
            f"{path} has no classes; expected a data set written by python -m synthetic.render"
        )
    archive = Archive(path)
    views = _read(archive, "cameras.json", "views")
    manifest = _read(archive, "manifest.json", "models")
    try:
        models = [str(views[name]["model"]) for name in dataset.names]
        flat = torch.tensor([_flat(views[name]) for name in dataset.names])
        test = frozenset(name for name, facts in manifest.items() if facts["split"] == "test")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"{path}/cameras.json or manifest.json lacks {error}; render the data set again"
        ) from error
    stride = max(1, dataset.resolution // (pixels or dataset.resolution))
    while dataset.resolution % stride:
        stride -= 1
    return TruthViews(dataset, models, Cameras.from_flat(flat), test, stride)


def is_rendered(path: Path) -> bool:
    """Whether the data set at `path` says which model and camera every image has."""
    return "cameras.json" in Archive(path).sizes


def _read(archive: Archive, name: str, key: str) -> dict[str, Any]:
    if name not in archive.sizes:
        raise DatasetError(
            f"{archive.path} has no {name}; expected a data set written by python -m synthetic.render"
        )
    try:
        content: dict[str, Any] = json.loads(archive.read(name))[key]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{archive.path}/{name} is damaged ({error!r}); render the data set again"
        ) from error
    return content


def _flat(view: Mapping[str, Any]) -> list[float]:
    look_at = dict(zip(("look_at_yaw", "look_at_pitch", "look_at_radius"), view["look_at"], strict=True))
    return [float((dict(view) | look_at)[name]) for name in PARAMETERS]

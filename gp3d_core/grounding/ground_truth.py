"""What is known of the very shapes: rendered views with exact cameras and depth, and points inside and outside.

`synthetic` writes both (docs/dataset.md): the views of the data set, and `points/<synset>/<model>.npz` beside them.
Letters: M models, V views of a model, K all views, R pixels a side, N stored points of a model, B batch, n drawn.
"""

from __future__ import annotations

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import Archive, DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.grounding.point_files import read_points
from gp3d_core.grounding.surfaces import Surfaces
from gp3d_core.hashing import DAMAGE
from gp3d_core.licences.parts import NONE, Licences
from gp3d_core.rendering.cameras import PARAMETERS, Cameras, sample_rays

_KEPT_FOR_MEASURING = 0.125  # share of the uniform points that training never sees


@dataclass(frozen=True, eq=False)
class RayTruth:
    """What rays of rendered views saw: rays_o, rays_d [B,n,3]; rgb [B,n,3] in [-1,1]; hit [B,n,1] 0 or 1, and the
    distance to what was hit, depth [B,n,1] (world units, meaningless where nothing was).
    """

    rays_o: Tensor
    rays_d: Tensor
    rgb: Tensor
    depth: Tensor
    hit: Tensor

    def __getitem__(self, rows: slice) -> RayTruth:
        """What the rays of the views `rows` saw."""
        return RayTruth(
            self.rays_o[rows], self.rays_d[rows], self.rgb[rows], self.depth[rows], self.hit[rows]
        )


@dataclass(eq=False)
class Truth:
    """Models with everything known about them, in memory on one device.

    names [M] "<synset>/<id>"; labels [M] int64; classes their records; views [M,V] indices into images uint8
    [K,R,R,3], depth int32 [K,R,R] (codes) and cameras [K]; positions float16 [M,N,3] (world units; the first half
    near the surface, the second uniform in the box) and occupied bool [M,N]; licences who made the models;
    surface: points on the surfaces with their colours, if they were asked for.
    """

    names: list[str]
    labels: Tensor
    classes: list[ClassRecord]
    views: Tensor
    images: Tensor
    depth: Tensor
    cameras: Cameras
    positions: Tensor
    occupied: Tensor
    t_near: float
    t_far: float
    fingerprint: str
    licences: Licences = NONE
    surface: Surfaces | None = None

    def __len__(self) -> int:
        """Number of models M."""
        return len(self.names)

    def to(self, device: torch.device) -> Truth:
        """The same on `device`."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("labels", "views", "images", "depth", "cameras", "positions", "occupied")
        }
        return replace(self, **moved, surface=None if self.surface is None else self.surface.to(device))

    def held_out(self, count: int) -> Tensor:
        """Indices of the models whose last view is never trained on: the first `count` of every class, by name."""
        classes = range(max(len(self.classes), 1))
        return torch.cat([torch.nonzero(self.labels == k)[:count, 0] for k in classes])

    def is_held_out(self, models: Tensor, count: int) -> Tensor:
        """Whether each of the `models` [B] is among `held_out(count)`, without waiting for the device."""
        return self._earlier[models] < count

    @cached_property
    def _earlier(self) -> Tensor:
        """How many models of its class come before each model, [M]."""
        order = F.one_hot(self.labels, max(len(self.classes), 1)).cumsum(dim=0)
        return order.gather(1, self.labels[:, None])[:, 0] - 1

    def sample_points(self, models: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points [B,count,3] of `models` [B], half near the surface; whether each lies inside, [B,count,1] 0 or 1."""
        total = self.positions.shape[1]
        near = total // 2
        index = torch.rand(len(models), count, generator=generator, device=generator.device).to(models.device)
        index[:, : count // 2] *= near
        index[:, count // 2 :] = near + index[:, count // 2 :] * int(
            (total - near) * (1 - _KEPT_FOR_MEASURING)
        )
        rows = index.long()
        return self._at(models, rows)

    def measuring_points(self, models: Tensor) -> tuple[Tensor, Tensor]:
        """The uniform points of `models` [B] that training never sees, as `sample_points` gives them."""
        total = self.positions.shape[1]
        near = total // 2
        first = near + int((total - near) * (1 - _KEPT_FOR_MEASURING))
        rows = torch.arange(first, total, device=models.device).expand(len(models), -1)
        return self._at(models, rows)

    def _at(self, models: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        points = self.positions[models[:, None], rows].float()
        return points, self.occupied[models[:, None], rows].float()[..., None]

    def sample_rays(self, views: Tensor, count: int, generator: torch.Generator) -> RayTruth:
        """`count` pixels of each of the `views` [B], drawn with replacement, half of them on the object."""
        codes = self.depth[views].flatten(1)
        on_object = (codes < depth_codes.BACKGROUND).float()
        share = on_object.mean(dim=1, keepdim=True).clamp(1e-6, 1.0)
        chance = on_object * (0.5 / share) + (1 - on_object) * (0.5 / (1 - share).clamp(min=1e-6))
        pixels = torch.multinomial(chance.to(generator.device), count, replacement=True, generator=generator)
        return self._see(views, pixels.to(views.device))

    def whole_view(self, views: Tensor) -> RayTruth:
        """All pixels of the `views` [B], top row first."""
        pixels = torch.arange(self.depth[0].numel(), device=views.device).expand(len(views), -1)
        return self._see(views, pixels)

    def _see(self, views: Tensor, pixels: Tensor) -> RayTruth:
        rays_o, rays_d = sample_rays(self.cameras[views], self.images.shape[1])
        of_rays = pixels[..., None].expand(-1, -1, 3)
        codes = self.depth[views].flatten(1).gather(1, pixels)[..., None]
        rgb = self.images[views].flatten(1, 2).gather(1, of_rays).float() / 127.5 - 1
        depth = depth_codes.to_distance(depth_codes.to_unit(codes.float()), self.t_near, self.t_far)
        return RayTruth(
            rays_o.gather(1, of_rays),
            rays_d.gather(1, of_rays),
            rgb,
            depth,
            (codes < depth_codes.BACKGROUND).float(),
        )


def load_truth(
    path: Path, resolution: int, *, albedo: bool = False, surface: bool = False, workers: int = 2
) -> Truth:
    """Reads the data set at `path` with cameras and points; models lacking any of them are an error.

    `albedo` takes the pictures' base colour without light instead of the pictures; with `surface` there must be points
    on surfaces. Models seen from fewer sides than the others have their views repeated. Raises DatasetError.
    """
    dataset = Dataset(path)
    dataset.check_resolution(resolution)
    if dataset.t_near is None or dataset.t_far is None:
        raise DatasetError(
            f"{path}/dataset.json has no t_near and t_far: grounding needs depth in world units"
        )
    archive = Archive(path)
    cameras = _read_cameras(archive, dataset.names)
    names = sorted({model for model, _ in cameras})
    number = {name: k for k, name in enumerate(names)}
    views: list[list[int]] = [[] for _ in names]
    for k, (model, _) in enumerate(cameras):
        views[number[model]].append(k)
    most = max(map(len, views))
    labels = torch.tensor([int(dataset.labels[of_model[0]]) for of_model in views])
    with ThreadPoolExecutor(workers) as pool:
        points = read_points(archive, names, pool, surface=surface)
        images, codes = _read_views(dataset, archive, pool, albedo=albedo)
    digest = hashlib.sha256(dataset.fingerprint.encode())
    digest.update(points.occupied.numpy().tobytes())
    return Truth(
        names=names,
        labels=labels,
        classes=dataset.classes,
        views=torch.tensor([(of_model * most)[:most] for of_model in views]),
        images=torch.from_numpy(images),
        depth=torch.from_numpy(codes),
        cameras=Cameras.from_flat(torch.tensor([camera for _, camera in cameras])),
        positions=points.positions,
        occupied=points.occupied,
        t_near=dataset.t_near,
        t_far=dataset.t_far,
        fingerprint=digest.hexdigest(),
        licences=dataset.licences,
        surface=points.surface,
    )


def _read_views(
    dataset: Dataset, archive: Archive, pool: ThreadPoolExecutor, *, albedo: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Images [K,R,R,3], or their albedo on white, and depth codes [K,R,R] of all views."""

    def load(k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        image, code = dataset.load(k)
        if albedo:
            hit = (code < depth_codes.BACKGROUND)[..., None]
            image = np.where(hit, _read_albedo(archive, dataset.names[k], dataset.resolution), np.uint8(255))
        return image, code

    size = dataset.resolution
    images = np.empty((len(dataset), size, size, 3), np.uint8)
    codes = np.empty(images.shape[:3], np.int32)
    loaded = pool.map(load, range(len(dataset)))
    for k, (image, depth) in enumerate(
        tqdm(loaded, total=len(dataset), desc="reading views", unit="img", leave=False, disable=None)
    ):
        images[k], codes[k] = image, depth
    return images, codes


def _read_albedo(archive: Archive, view: str, resolution: int) -> NDArray[np.uint8]:
    """Base colour [R,R,3] of the picture `view`. Raises DatasetError if it was not rendered with its albedo."""
    name = f"{view.removesuffix('.png')}_geometry.npz"
    advice = (
        "render with the option `albedo` of python -m synthetic.render, or set `grounding.colour`=picture"
    )
    if name not in archive.sizes:
        raise DatasetError(f"{archive.path}: no {name}; {advice}")
    try:
        with np.load(io.BytesIO(archive.read(name)), allow_pickle=False) as file:
            if "albedo" not in file:
                raise DatasetError(f"{archive.path}: {name} has no albedo; {advice}")
            albedo: NDArray[np.uint8] = file["albedo"]
    except DAMAGE as error:
        raise DatasetError(f"{archive.path}: {name} is damaged ({error}); render the view again") from error
    if albedo.shape != (resolution, resolution, 3) or albedo.dtype != np.uint8:
        raise DatasetError(
            f"{archive.path}: {name} has an albedo of {albedo.shape} {albedo.dtype}, expected "
            f"({resolution}, {resolution}, 3) uint8"
        )
    return albedo


def _read_cameras(archive: Archive, names: list[str]) -> list[tuple[str, list[float]]]:
    """Model and camera 8-vector of every image, from cameras.json."""
    where = f"{archive.path}/cameras.json"
    if "cameras.json" not in archive.sizes:
        raise DatasetError(f"{where} is missing: grounding needs data written by python -m synthetic.render")
    try:
        views = json.loads(archive.read("cameras.json"))["views"]
        return [(str(views[name]["model"]), _camera(views[name])) for name in names]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{where} is damaged ({error!r}); run python -m synthetic.render again") from error


def _camera(view: dict[str, Any]) -> list[float]:
    look_at = dict(zip(("look_at_yaw", "look_at_pitch", "look_at_radius"), view["look_at"], strict=True))
    return [float((view | look_at)[name]) for name in PARAMETERS]

"""Other true views of a picture's scene, in data sets whose cameras are known: to measure against, and to learn from.

Letters: B batch, M pairs, R pixels a side.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gp3d_core.datasets.archive import Archive, DatasetError
from gp3d_core.datasets.dataset import Batch, Dataset
from gp3d_core.rng import generator_for
from gp3d_core.vq3d.rendering.views import input_pose

_READERS = 4


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of true views of one scene: image numbers `source` and `other` [M], and the other's pose [M,4,4].

    Poses are in the frame of the source, whose camera is the input camera, in scene units.
    """

    source: list[int]
    other: list[int]
    poses: Tensor


def true_pairs(dataset: Dataset, *, unit: float, limit: float = 25.0) -> Pairs:
    """All ordered pairs of views of one model in `dataset` whose optical axes differ by at most `limit` degrees.

    `unit` is `depth.unit`, the camera's distance from the origin in the data's units. Raises DatasetError for a data
    set without cameras.
    """
    archive = Archive(dataset.path)
    if "cameras.json" not in archive.sizes:
        raise DatasetError(f"{dataset.path}/cameras.json is missing: true views need cameras")
    try:
        views = json.loads(archive.read("cameras.json"))["views"]
        poses = torch.tensor([views[name]["cam2world"] for name in dataset.names], dtype=torch.float64)
        models = [str(views[name]["model"]) for name in dataset.names]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{dataset.path}/cameras.json is damaged ({error!r})") from error
    of_model: dict[str, list[int]] = {}
    for k, model in enumerate(models):
        of_model.setdefault(model, []).append(k)
    start = input_pose()[0].double()
    pairs = []
    for members in of_model.values():
        for i, j in ((i, j) for i in members for j in members if i != j):
            moved = torch.linalg.inv(poses[i]) @ poses[j]
            moved[:3, 3] /= unit
            if moved[2, 2] >= torch.cos(torch.deg2rad(torch.tensor(limit))):
                pairs.append((i, j, (start @ moved).float()))
    if not pairs:
        return Pairs([], [], torch.zeros(0, 4, 4))
    return Pairs(
        [i for i, _, _ in pairs], [j for _, j, _ in pairs], torch.stack([pose for *_, pose in pairs])
    )


@dataclass(frozen=True, eq=False)
class OtherViews:
    """Draws for every picture of a batch another view of the same model; a picture that has none is its own."""

    dataset: Dataset
    pairs: Pairs
    _of_picture: dict[int, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        """Sort the pairs by picture."""
        of_picture = defaultdict(list)
        for pair, source in enumerate(self.pairs.source):
            of_picture[source].append(pair)
        object.__setattr__(self, "_of_picture", dict(of_picture))

    def beside(self, batch: Batch, draws: Tensor) -> tuple[Batch, Tensor]:
        """The other pictures, on the CPU, and their poses [B,4,4]; flipped where those of `batch` are.

        `draws` [B] in [0, 1) choose among the views that there are.
        Poses are in the frame of the picture of `batch`, whose camera is the input camera.
        """
        if batch.indices is None or batch.mirrored is None:
            raise ValueError("expected a batch that was read from a data set, found one without indices")
        others, poses = [], []
        for index, draw in zip(batch.indices.tolist(), draws.tolist(), strict=True):
            known = self._of_picture.get(index, [])
            pair = known[int(draw * len(known))] if known else None
            others.append(index if pair is None else self.pairs.other[pair])
            poses.append(input_pose()[0] if pair is None else self.pairs.poses[pair])
        with ThreadPoolExecutor(_READERS) as pool:
            other = self.dataset.batch(np.array(others), batch.mirrored, pool)
        return other, mirror_poses(torch.stack(poses), torch.from_numpy(batch.mirrored))


def beside_batches(
    batches: Iterator[Batch],
    others: OtherViews,
    *,
    nimg: int,
    batch: int,
    part: slice,
    seed: int,
    pinned: bool,
) -> Iterator[tuple[Batch, Batch, Tensor]]:
    """Every batch of `batches` from `nimg` images seen on, the other views beside it and their poses, loaded ahead.

    The batches are this process's `part` of those of `batch` images. Which views depends on `seed` and the images
    seen alone. `pinned` for a GPU, see `Batch.pinned`.
    """

    def load(position: int) -> tuple[Batch, Batch, Tensor]:
        ours = next(batches)
        draws = torch.rand(batch, generator=generator_for(seed, position, "other view"))
        other, poses = others.beside(ours, draws[part])
        return (ours, other.pinned(), poses.pin_memory()) if pinned else (ours, other, poses)

    with ThreadPoolExecutor(1) as ahead:
        pending = ahead.submit(load, nimg)
        while True:
            ready = pending.result()
            nimg += batch
            pending = ahead.submit(load, nimg)
            yield ready


def mirror_poses(poses: Tensor, mirrored: Tensor) -> Tensor:
    """`poses` [B,4,4], those reflected in the plane x = 0 whose scenes are `mirrored` [B] (bool)."""
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=poses.dtype))
    return torch.where(mirrored[:, None, None], flip @ poses @ flip, poses)

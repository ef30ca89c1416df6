"""Data sets on disk: images with depth, labels and features, and the endless shuffled order they are seen in.

Layout (docs/dataset.md): a folder or a zip of square 8-bit RGB images, each with `<stem>_depth.png` beside it, and one
`dataset.json`. The official 3DGP layout, which lacks our header, reads as well.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gp3d_core.config.presets import presets_of
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import (
    HEADER,
    SUFFIXES,
    Archive,
    DatasetError,
    Header,
    depth_name,
    image_names,
    maps_command,
    mask_name,
    read_header,
)
from gp3d_core.datasets.feature_table import open_features
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.datasets.images import Pixels, width_of

_MOST_CLASSES = 65536  # of a data set without class records, whose largest label decides how many there are


@dataclass(frozen=True)
class Batch:
    """B training examples.

    images [B,3,R,R] and depth [B,1,R,R] in [-1, 1] (larger depth = farther), labels [B] int64, features [B,D] or None.
    Of what a data set loaded, indices [B] are the images' numbers there, and mirrored [B] tells which are flipped.
    """

    images: Tensor
    depth: Tensor
    labels: Tensor
    features: Tensor | None
    indices: NDArray[Any] | None = None
    mirrored: NDArray[Any] | None = None

    def to(self, device: torch.device) -> Batch:
        """The same examples on `device`."""
        features = None if self.features is None else self.features.to(device, non_blocking=True)
        images, depth, labels = (
            x.to(device, non_blocking=True) for x in (self.images, self.depth, self.labels)
        )
        return replace(self, images=images, depth=depth, labels=labels, features=features)

    def pinned(self) -> Batch:
        """The same examples in memory that a GPU can fetch by itself, so that `to` need not wait."""
        features = None if self.features is None else self.features.pin_memory()
        images, depth, labels = (x.pin_memory() for x in (self.images, self.depth, self.labels))
        return replace(self, images=images, depth=depth, labels=labels, features=features)


class Dataset:
    """A data set whose header has been read.

    names: paths of the N images, sorted. labels: int64 [N]. classes: their records. resolution: pixels a side.
    angles: float32 [N,2], yaw and pitch of each image's camera, or None; radius (world units) and fov (degrees) of the
    cameras that rendered all images, or None. t_near, t_far: ray distances between which depth is coded, or None.
    license: in words, "" for none; licences: who made what is shown. With `needs_depth` False images may lack their
    depth map, which `load` then refuses. Without `reads_depth` nobody looks at depth maps: they may be missing, and
    `batch` holds zeros instead.

    Raises DatasetError when header or features are of another format, or contradict the files.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        features: str | Path | None = None,
        needs_depth: bool = True,
        reads_depth: bool = True,
    ) -> None:
        self.path = Path(path)
        self.archive = Archive(self.path)
        header = read_header(self.archive)
        self.names = image_names(self.archive)
        if not self.names:
            raise DatasetError(f"{self.path} has no images ({', '.join(SUFFIXES)})")
        self._flat = [name for name in self.names if depth_name(name) not in self.archive.sizes]
        self._reads_depth = reads_depth
        if needs_depth and reads_depth and self._flat:
            raise self._lacks_depth(self._flat[0])
        self.classes, self.labels = self._match_labels(header)
        self.angles = self._match_angles(header.angles)
        self.radius, self.fov = header.radius, header.fov
        self.t_near, self.t_far = header.t_near, header.t_far
        self.license, self.licences = header.license, header.licences_of(self.path.resolve().name)
        self.resolution = header.resolution or width_of(self.archive, self.names[0])
        self._pixels = Pixels(self.archive, self.resolution)
        self._features = None if features is None else open_features(Path(features), self.names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for a data set without labels."""
        return len(self.classes)

    @property
    def feature_dim(self) -> int:
        """Width of the distillation features; 0 when there are none."""
        return 0 if self._features is None else int(self._features.table.shape[1])

    @property
    def fingerprint(self) -> str:
        """Hash of names, sizes, labels and of the features' shape, size and rows: is this the data a run began with?"""
        digest = hashlib.sha256()
        for name, label in zip(self.names, self.labels, strict=True):
            digest.update(f"{name}\0{self.archive.sizes[name]}\0{label}\n".encode())
        if self._features is not None:
            digest.update(self._features.identity)
        return digest.hexdigest()

    @property
    def without_depth(self) -> list[str]:
        """Paths of the images that have no depth map, sorted."""
        return list(self._flat)

    @property
    def without_mask(self) -> list[str]:
        """Paths of the images that have no subject mask, sorted."""
        return [name for name in self.names if mask_name(name) not in self.archive.sizes]

    def load(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Image uint8 [R,R,3] and depth uint16 [R,R] of example `index`; raises DatasetError when unfit."""
        return self.load_image(index), self.load_depth(index)

    def _example(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Image and depth as training sees them."""
        if self._reads_depth:
            return self.load(index)
        return self.load_image(index), np.full((self.resolution,) * 2, depth_codes.STEPS // 2, np.uint16)

    def load_image(self, index: int) -> NDArray[Any]:
        """Image uint8 [R,R,3] of example `index`; raises DatasetError when unfit."""
        return self._pixels.image(self.names[index])

    def load_depth(self, index: int) -> NDArray[Any]:
        """Depth uint16 [R,R] of example `index`, larger = farther; raises DatasetError when unfit or missing."""
        name = self.names[index]
        if depth_name(name) not in self.archive.sizes:
            raise self._lacks_depth(name)
        return self._pixels.depth(name)

    def load_mask(self, index: int) -> NDArray[Any]:
        """Subject mask uint8 [R,R] of example `index`, 255 = subject; raises DatasetError when unfit or missing."""
        name = self.names[index]
        if mask_name(name) not in self.archive.sizes:
            raise DatasetError(
                f"{self.path}: {name} has no mask; `{maps_command('mask', self.path)}` makes them"
            )
        return self._pixels.mask(name)

    def check_resolution(self, resolution: int) -> None:
        """Raises DatasetError, naming presets that fit, unless the images have `resolution` pixels a side."""
        if self.resolution == resolution:
            return
        names = presets_of(self.resolution)
        fitting = f"a `preset` of that size ({', '.join(names)}), or " if names else ""
        raise DatasetError(
            f"{self.path} has {self.resolution} px images, the configuration expects {resolution}: "
            f"use {fitting}`training.resolution`={self.resolution}"
        )

    def check(self, resolution: int, *, rank: int = 0, size: int = 1, workers: int = 4) -> None:
        """Decodes images and depth maps once; raises DatasetError for the first that cannot be trained on.

        Of `size` processes that share the work, number `rank` decodes its share only; number 0 shows progress.
        """
        if not 0 <= rank < size:
            raise ValueError(f"expected a rank from 0 to {size - 1}, found {rank}")
        self.check_resolution(resolution)
        share = range(rank, len(self), size)
        with ThreadPoolExecutor(workers) as pool:
            for _ in tqdm(
                pool.map(self._example, share),
                total=len(share),
                desc="checking data",
                unit="img",
                leave=False,
                disable=True if rank else None,
            ):
                pass

    def batch(self, indices: NDArray[Any], mirrored: NDArray[Any], pool: ThreadPoolExecutor) -> Batch:
        """Loads the examples `indices`, flipped left to right where `mirrored`."""
        loaded = list(pool.map(self._example, indices.tolist()))
        flip = [slice(None, None, -1 if m else 1) for m in mirrored.tolist()]
        images = np.stack([image[:, f] for (image, _), f in zip(loaded, flip, strict=True)])
        depth = np.stack([depth[:, f] for (_, depth), f in zip(loaded, flip, strict=True)])
        features = None
        if self._features is not None:
            features = torch.from_numpy(self._features.of(indices, mirrored))
        return Batch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1,
            depth=depth_codes.to_normalised(torch.from_numpy(depth.astype(np.float32)))[:, None],
            labels=torch.from_numpy(self.labels[indices]),
            features=features,
            indices=indices,
            mirrored=mirrored,
        )

    def subset(self, count: int) -> Dataset:
        """The same data set cut down to `count` images: from every class in turn, the first of each class first."""
        if not 0 < count <= len(self):
            raise DatasetError(f"{self.path} has {len(self)} images, asked for is a part of {count}")
        order = np.argsort(self.labels, kind="stable")
        grouped = self.labels[order]
        turn = np.empty(len(self), dtype=np.int64)  # of an image within its class
        turn[order] = np.arange(len(self)) - np.searchsorted(grouped, grouped)
        kept = np.sort(np.lexsort((self.labels, turn))[:count])
        part = copy.copy(self)
        part.names, part.labels = [self.names[i] for i in kept], self.labels[kept]
        if self.angles is not None:
            part.angles = self.angles[kept]
        if self._features is not None:
            part._features = self._features.part(kept)
        return part

    def _match_labels(self, header: Header) -> tuple[list[ClassRecord], NDArray[Any]]:
        """Class records and one label per image; no records for a data set without labels."""
        if header.labels is None:
            return [], np.zeros(len(self.names), dtype=np.int64)
        labels = self._of_each_image(header.labels, "label")
        count = _MOST_CLASSES if header.classes is None else len(header.classes)
        for name, label in zip(self.names, labels, strict=True):
            if not 0 <= label < count:
                raise DatasetError(
                    f"{self.path}/{HEADER}: label {label} of {name} is out of range, expected 0 to {count - 1}"
                )
        classes = header.classes or [{"label": k, "name": f"class {k}"} for k in range(max(labels) + 1)]
        return classes, np.array(labels, dtype=np.int64)

    def _match_angles(self, angles: Mapping[str, tuple[float, float]] | None) -> NDArray[Any] | None:
        if angles is None:
            return None
        return np.array(self._of_each_image(angles, "camera angles"), dtype=np.float32)

    def _of_each_image(self, facts: Mapping[str, Any], what: str) -> list[Any]:
        """What the header says of each image, in the order of `names`."""
        for name in self.names:
            if name not in facts:
                raise DatasetError(f"{self.path}/{HEADER} has no {what} for {name}")
        return [facts[name] for name in self.names]

    def _lacks_depth(self, name: str) -> DatasetError:
        command = maps_command("depth", self.path)
        return DatasetError(
            f"{self.path}: {name} has no depth map, expected {depth_name(name)} beside it "
            f"({len(self._flat)} of {len(self.names)} images lack theirs); `{command}` makes them"
        )


def shuffled(position: int, count: int, size: int, seed: int) -> NDArray[Any]:
    """Items at positions [position, position + count) of the endless order over `size` items.

    Each pass is a fresh permutation that repeats nothing; the order depends on `seed` and the position alone, so that
    any process can continue it from the number of images seen.
    """
    if size < 1:
        raise ValueError(f"expected at least one item to shuffle, found {size}")
    taken: list[NDArray[Any]] = []
    while count > 0:
        epoch, start = divmod(position, size)
        order = _permutation(size, seed, epoch)[start : start + count]
        taken.append(order)
        position, count = position + len(order), count - len(order)
    return np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)


@lru_cache(maxsize=2)
def _permutation(size: int, seed: int, epoch: int) -> NDArray[Any]:
    return np.random.default_rng([seed, epoch]).permutation(size)


def batches(
    dataset: Dataset,
    *,
    nimg: int,
    batch: int,
    part: slice,
    seed: int,
    mirror: bool,
    workers: int = 4,
    pinned: bool = False,
) -> Iterator[Batch]:
    """Yields this process's `part` of every global batch from `nimg` images seen on, one batch ahead of its use.

    With `mirror` a pass covers each image twice, once flipped. `pinned` for a GPU, see `Batch.pinned`.
    """
    size = len(dataset) * (2 if mirror else 1)
    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(1) as ahead:

        def load(position: int) -> Batch:
            items = shuffled(position, batch, size, seed)[part]
            loaded = dataset.batch(items % len(dataset), items >= len(dataset), pool)
            return loaded.pinned() if pinned else loaded

        pending = ahead.submit(load, nimg)
        while True:
            ready = pending.result()
            nimg += batch
            pending = ahead.submit(load, nimg)
            yield ready

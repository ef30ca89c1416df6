"""Data sets on disk: images with depth, labels and features, and the endless shuffled order they are seen in.

Layout (docs/dataset.md): a folder or a zip of square 8-bit RGB images, each with `<stem>_depth.png` beside it, and one
`dataset.json`. The official 3DGP layout, which lacks our header, reads as well.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import reprlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gp3d_core.archive import HEADER, Archive, DatasetError, Header, read_header

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # none of those for which Pillow starts another program
_DEPTH_MODES = ("I;16", "I;16B", "I", "L", "RGB", "RGBA")
_MOST_CLASSES = 65536  # of a data set without class records, whose largest label decides how many there are


@dataclass(frozen=True)
class Batch:
    """B training examples.

    images [B,3,R,R] and depth [B,1,R,R] in [-1, 1] (larger depth = farther), labels [B] int64, features [B,D] or None.
    """

    images: Tensor
    depth: Tensor
    labels: Tensor
    features: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same examples on `device`."""
        features = None if self.features is None else self.features.to(device, non_blocking=True)
        images, depth, labels = (
            x.to(device, non_blocking=True) for x in (self.images, self.depth, self.labels)
        )
        return Batch(images, depth, labels, features)


@dataclass(frozen=True)
class _Features:
    """Distillation features: the mapped file as `table` [N,D], and the row of each image in `rows`."""

    table: np.ndarray
    rows: np.ndarray

    def of(self, indices: np.ndarray) -> np.ndarray:
        """Features [B,D] of the images `indices`, read from the file."""
        return np.asarray(self.table[self.rows[indices]], dtype=np.float32)


class Dataset:
    """A data set whose header has been read.

    names: paths of the N images, sorted. labels: int64 [N]. classes: their records. resolution: pixels a side.
    angles: float32 [N,2], yaw and pitch of each image's camera, or None. t_near, t_far: ray distances between which
    depth is coded, or None.

    Raises DatasetError when header or features are of another format, or contradict the files.
    """

    def __init__(self, path: str | Path, *, features: str | Path | None = None) -> None:
        self.path = Path(path)
        self._archive = Archive(self.path)
        header = read_header(self._archive)
        self.names = sorted(
            name
            for name in self._archive.sizes
            if PurePosixPath(name).suffix.lower() in _SUFFIXES and not _is_depth(name)
        )
        if not self.names:
            raise DatasetError(f"{self.path} has no images ({', '.join(_SUFFIXES)})")
        for name in self.names:
            if _depth_name(name) not in self._archive.sizes:
                raise DatasetError(
                    f"{self.path}: {name} has no depth map, expected {_depth_name(name)} beside it"
                )
        self.classes, self.labels = self._match_labels(header)
        self.angles = self._match_angles(header.angles)
        self.t_near, self.t_far = header.t_near, header.t_far
        self.resolution = header.resolution or self._open(self.names[0], self._read(self.names[0])).width
        self._features = None if features is None else _open_features(Path(features), self.names)

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
            digest.update(f"{name}\0{self._archive.sizes[name]}\0{label}\n".encode())
        if self._features is not None:
            table, rows = self._features.table, self._features.rows
            digest.update(f"features\0{table.shape}\0{table.nbytes}\n".encode())
            digest.update(rows.astype("<i8").tobytes())
        return digest.hexdigest()

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 [R,R,3] and depth uint16 [R,R] of example `index`; raises DatasetError when unfit."""
        name = self.names[index]
        return self._load_image(name), self._load_depth(_depth_name(name))

    def check(self, resolution: int, *, rank: int = 0, size: int = 1, workers: int = 4) -> None:
        """Decodes images and depth maps once; raises DatasetError for the first that cannot be trained on.

        Of `size` processes that share the work, number `rank` decodes its share only; number 0 shows progress.
        """
        if not 0 <= rank < size:
            raise ValueError(f"expected a rank from 0 to {size - 1}, found {rank}")
        if self.resolution != resolution:
            raise DatasetError(
                f"{self.path} has {self.resolution} px images, the configuration expects {resolution}: "
                f"use --set training.resolution={self.resolution} or a data set of that size"
            )
        share = range(rank, len(self), size)
        with ThreadPoolExecutor(workers) as pool:
            for _ in tqdm(
                pool.map(self.load, share),
                total=len(share),
                desc="checking data",
                unit="img",
                leave=False,
                disable=True if rank else None,
            ):
                pass

    def batch(self, indices: np.ndarray, mirrored: np.ndarray, pool: ThreadPoolExecutor) -> Batch:
        """Loads the examples `indices`, flipped left to right where `mirrored`; features are not recomputed."""
        loaded = list(pool.map(self.load, indices.tolist()))
        flip = [slice(None, None, -1 if m else 1) for m in mirrored.tolist()]
        images = np.stack([image[:, f] for (image, _), f in zip(loaded, flip, strict=True)])
        depth = np.stack([depth[:, f] for (_, depth), f in zip(loaded, flip, strict=True)])
        features = None if self._features is None else torch.from_numpy(self._features.of(indices))
        return Batch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1,
            depth=torch.from_numpy(depth.astype(np.float32))[:, None] / 32768 - 1,
            labels=torch.from_numpy(self.labels[indices]),
            features=features,
        )

    def few(self, count: int) -> Dataset:
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
            part._features = replace(self._features, rows=self._features.rows[kept])
        return part

    def _match_labels(self, header: Header) -> tuple[list[dict[str, Any]], np.ndarray]:
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

    def _match_angles(self, angles: Mapping[str, tuple[float, float]] | None) -> np.ndarray | None:
        if angles is None:
            return None
        return np.array(self._of_each_image(angles, "camera angles"), dtype=np.float32)

    def _of_each_image(self, facts: Mapping[str, Any], what: str) -> list[Any]:
        """What the header says of each image, in the order of `names`."""
        for name in self.names:
            if name not in facts:
                raise DatasetError(f"{self.path}/{HEADER} has no {what} for {name}")
        return [facts[name] for name in self.names]

    def _read(self, name: str) -> bytes:
        return self._archive.read(name)

    @contextmanager
    def _decoding(self, name: str) -> Iterator[None]:
        """Turns what Pillow raises for a damaged file into a DatasetError."""
        try:
            yield
        except (
            OSError,
            SyntaxError,
            ValueError,
            EOFError,
            IndexError,
            struct.error,
            zlib.error,
            Image.DecompressionBombError,
        ) as error:
            raise DatasetError(
                f"{self.path}: {name} cannot be read ({error}); render or copy it again"
            ) from error

    def _open(self, name: str, content: bytes) -> Image.Image:
        """The image, of which only the header has been read."""
        with self._decoding(name):
            return Image.open(io.BytesIO(content), formats=_FORMATS)

    def _load_image(self, name: str) -> np.ndarray:
        content = self._read(name)
        image = self._open(name, content)
        if image.mode != "RGB":
            raise DatasetError(f"{self.path}: {name} is {image.mode}, expected 8-bit RGB; convert it first")
        if _png_bits(content) == 16:  # Pillow would drop the lower half without a word
            raise DatasetError(f"{self.path}: {name} is 16-bit RGB, expected 8-bit RGB; convert it first")
        return self._decode(name, image)

    def _load_depth(self, name: str) -> np.ndarray:
        image = self._open(name, self._read(name))
        if image.mode not in _DEPTH_MODES:
            raise DatasetError(f"{self.path}: {name} is {image.mode}, expected a 16-bit or 8-bit depth map")
        depth = self._decode(name, image)
        depth = depth[..., 0] if depth.ndim == 3 else depth
        return depth.astype(np.uint16) * (256 if depth.dtype == np.uint8 else 1)

    def _decode(self, name: str, image: Image.Image) -> np.ndarray:
        """Pixels [R,R,...] of an image that has the data set's size."""
        if image.size != (self.resolution, self.resolution):
            raise DatasetError(
                f"{self.path}: {name} is {image.width}x{image.height} px, "
                f"expected {self.resolution}x{self.resolution} like the rest"
            )
        with self._decoding(name):
            image.load()
            return np.asarray(image)


def _is_depth(name: str) -> bool:
    return PurePosixPath(name).stem.endswith("_depth")


def _depth_name(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}_depth.png"))


def _png_bits(content: bytes) -> int | None:
    """Bits per channel that the header of a PNG file announces; None for another format."""
    return content[24] if content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR" else None


def _open_features(path: Path, names: list[str]) -> _Features:
    """Mapped features from `path`, and the row of each of `names`, from its `<stem>_desc.json`; docs/dataset.md."""
    description = path.with_name(f"{path.stem}_desc.json")
    try:
        facts = json.loads(description.read_text(encoding="utf-8"))
        shape, row_of = _features_layout(facts)
        expected, found = 4 * shape[0] * shape[1], path.stat().st_size
        if found != expected:
            raise ValueError(f"expected {expected} bytes for shape {list(shape)}, found {found}")
        table = np.memmap(path, dtype="<f4", mode="r", shape=shape)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"features {path} with {description.name} cannot be read ({error})") from error
    missing = [name for name in names if name not in row_of]
    if missing:
        raise DatasetError(
            f"features {path} have no row for {len(missing)} images, the first is {missing[0]}"
        )
    for name in names:
        if type(row_of[name]) is not int or not 0 <= row_of[name] < shape[0]:
            raise DatasetError(
                f"features {path}: expected a row from 0 to {shape[0] - 1} for {name}, "
                f"found {reprlib.repr(row_of[name])}"
            )
    return _Features(table, np.array([row_of[name] for name in names], dtype=np.int64))


def _features_layout(facts: object) -> tuple[tuple[int, int], dict[str, Any]]:
    """Shape (N, D) and the rows by path, from the description of features. Raises ValueError for anything else."""
    if not isinstance(facts, dict) or not isinstance(facts.get("filepath_to_idx"), dict):
        raise ValueError(
            f'expected {{"shape": [N, D], "filepath_to_idx": {{path: row}}}}, found {reprlib.repr(facts)}'
        )
    shape = facts.get("shape")
    if not isinstance(shape, list) or len(shape) != 2 or any(type(n) is not int or n < 1 for n in shape):
        raise ValueError(f"expected the shape [N, D] in whole numbers, found {reprlib.repr(shape)}")
    return (shape[0], shape[1]), facts["filepath_to_idx"]


def shuffled(position: int, count: int, size: int, seed: int) -> np.ndarray:
    """Items at positions [position, position + count) of the endless order over `size` items.

    Each pass is a fresh permutation that repeats nothing; the order depends on `seed` and the position alone, so that
    any process can continue it from the number of images seen.
    """
    if size < 1:
        raise ValueError(f"expected at least one item to shuffle, found {size}")
    taken: list[np.ndarray] = []
    while count > 0:
        epoch, start = divmod(position, size)
        order = _permutation(size, seed, epoch)[start : start + count]
        taken.append(order)
        position, count = position + len(order), count - len(order)
    return np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)


@lru_cache(maxsize=2)
def _permutation(size: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(size)


def batches(
    dataset: Dataset, *, nimg: int, batch: int, part: slice, seed: int, mirror: bool, workers: int = 4
) -> Iterator[Batch]:
    """Yields this process's `part` of every global batch from `nimg` images seen on, one batch ahead of its use.

    With `mirror` a pass covers each image twice, once flipped.
    """
    size = len(dataset) * (2 if mirror else 1)
    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(1) as ahead:

        def load(position: int) -> Batch:
            items = shuffled(position, batch, size, seed)[part]
            return dataset.batch(items % len(dataset), items >= len(dataset), pool)

        pending = ahead.submit(load, nimg)
        while True:
            ready = pending.result()
            nimg += batch
            pending = ahead.submit(load, nimg)
            yield ready

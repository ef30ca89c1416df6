"""Data sets on disk: images with depth, labels and features, and the endless shuffled order they are seen in.

Layout (docs/dataset.md): a folder or a zip of square 8-bit RGB images, each with `<stem>_depth.png` beside it, and one
`dataset.json`. The official 3DGP layout, which lacks our header, reads as well.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gp3d_core.errors import GP3DError

FORMAT = "gp3d-dataset"
VERSION = 1
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_DEPTH_MODES = ("I;16", "I;16B", "I", "L", "RGB", "RGBA")


class DatasetError(GP3DError):
    """A data set that cannot be trained on; the message names the file, what was expected and what was found."""


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


class _Files:
    """Read-only view of a folder or a zip as {relative posix path: bytes}."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DatasetError(
                f"no data set at {path}: expected a folder or a .zip with images and dataset.json"
            )
        self.path = path
        self.zip: zipfile.ZipFile | None = None
        if path.is_dir():
            self.names = {
                p.relative_to(path).as_posix(): p.stat().st_size for p in path.rglob("*") if p.is_file()
            }
            self.prefix = ""
            return
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DatasetError(f"{path} is neither a folder nor a readable zip ({error})") from error
        names = {i.filename: i.file_size for i in self.zip.infolist() if not i.is_dir()}
        # An archive of a folder carries the folder's name in front of every entry.
        tops = {name.split("/", 1)[0] for name in names}
        self.prefix = f"{tops.pop()}/" if len(tops) == 1 and "dataset.json" not in names else ""
        self.names = {name.removeprefix(self.prefix): size for name, size in names.items()}

    def read(self, name: str) -> bytes:
        if self.zip is not None:
            return self.zip.read(self.prefix + name)
        return (self.path / name).read_bytes()


class Dataset:
    """A data set whose header has been read: `classes`, `labels`, `names`, `resolution`.

    Raises DatasetError when the header is missing, of another format, or contradicts the files.
    """

    def __init__(self, path: str | Path, *, features: str | Path | None = None) -> None:
        self.path = Path(path)
        self._files = _Files(self.path)
        header = self._read_header()
        self.names = sorted(
            name
            for name in self._files.names
            if PurePosixPath(name).suffix.lower() in _SUFFIXES and not _is_depth(name)
        )
        if not self.names:
            raise DatasetError(f"{self.path} has no images ({', '.join(_SUFFIXES)})")
        self._depth_of = {name: _depth_name(name) for name in self.names}
        for name, depth in self._depth_of.items():
            if depth not in self._files.names:
                raise DatasetError(f"{self.path}: {name} has no depth map, expected {depth} beside it")
        self.classes, self.labels = self._read_labels(header)
        self.resolution = int(header.get("resolution") or self._open(self.names[0]).size[0])
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
        return 0 if self._features is None else int(self._features[0].shape[1])

    @property
    def fingerprint(self) -> str:
        """Hash of the names, sizes and labels, which tells whether a run goes on with the data it began with."""
        digest = hashlib.sha256()
        for name, label in zip(self.names, self.labels, strict=True):
            digest.update(f"{name}\0{self._files.names[name]}\0{label}\n".encode())
        return digest.hexdigest()

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 [R,R,3] and depth uint16 [R,R] of example `index`; raises DatasetError when unfit."""
        name = self.names[index]
        return self._load_image(name), self._load_depth(self._depth_of[name])

    def check(self, resolution: int) -> None:
        """Decodes every image and depth map once; raises DatasetError for the first that cannot be trained on."""
        if self.resolution != resolution:
            raise DatasetError(
                f"{self.path} has {self.resolution} px images, the configuration expects {resolution}: "
                f"use --set training.resolution={self.resolution} or a data set of that size"
            )
        with ThreadPoolExecutor(4) as pool:
            for _ in tqdm(
                pool.map(self.load, range(len(self))),
                total=len(self),
                desc="checking data",
                unit="img",
                leave=False,
                disable=None,
            ):
                pass

    def batch(self, indices: np.ndarray, mirrored: np.ndarray, pool: ThreadPoolExecutor) -> Batch:
        """Loads the examples `indices`, flipped left to right where `mirrored`; features are not recomputed."""
        loaded = list(pool.map(self.load, indices.tolist()))
        flip = [slice(None, None, -1 if m else 1) for m in mirrored.tolist()]
        images = np.stack([image[:, f] for (image, _), f in zip(loaded, flip, strict=True)])
        depth = np.stack([depth[:, f] for (_, depth), f in zip(loaded, flip, strict=True)])
        features = None
        if self._features is not None:
            table, rows = self._features
            features = torch.from_numpy(np.asarray(table[rows[indices]], dtype=np.float32))
        return Batch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1,
            depth=torch.from_numpy(depth.astype(np.float32))[:, None] / 32768 - 1,
            labels=torch.from_numpy(self.labels[indices]),
            features=features,
        )

    def few(self, count: int) -> Dataset:
        """The same data set cut down to `count` images, taken from every class in turn."""
        if not 0 < count <= len(self):
            raise DatasetError(f"{self.path} has {len(self)} images, asked for is a part of {count}")
        turn = np.array([np.sum(self.labels[:i] == label) for i, label in enumerate(self.labels)])
        kept = np.sort(np.lexsort((self.labels, turn))[:count])
        part = copy.copy(self)
        part.names, part.labels = [self.names[i] for i in kept], self.labels[kept]
        if self._features is not None:
            part._features = (self._features[0], self._features[1][kept])
        return part

    def _read_header(self) -> dict[str, Any]:
        if "dataset.json" not in self._files.names:
            return {}
        try:
            header = json.loads(self._files.read("dataset.json"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DatasetError(f"{self.path}/dataset.json is not valid JSON ({error})") from error
        if not isinstance(header, dict):
            raise DatasetError(f"{self.path}/dataset.json: expected an object, found {type(header).__name__}")
        if header.get("format", FORMAT) != FORMAT or header.get("version", VERSION) != VERSION:
            raise DatasetError(
                f"{self.path}/dataset.json: expected {FORMAT} version {VERSION}, found "
                f"{header.get('format')} version {header.get('version')}; use a matching gp3d version"
            )
        return header

    def _read_labels(self, header: dict[str, Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """Class records and one label per image."""
        rows = header.get("labels")
        if not rows:
            return [], np.zeros(len(self.names), dtype=np.int64)
        try:
            label_of = {str(name): int(label) for name, label in rows}
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"{self.path}/dataset.json: labels expects [path, integer] rows ({error})"
            ) from error
        for name in self.names:
            if name not in label_of:
                raise DatasetError(f"{self.path}/dataset.json has no label for {name}")
        labels = np.array([label_of[name] for name in self.names], dtype=np.int64)
        classes = header.get("classes") or [
            {"label": k, "name": f"class {k}"} for k in range(int(labels.max()) + 1)
        ]
        if labels.min() < 0 or labels.max() >= len(classes):
            worst = self.names[int(np.argmax((labels < 0) | (labels >= len(classes))))]
            raise DatasetError(
                f"{self.path}/dataset.json: label {label_of[worst]} of {worst} is out of range, "
                f"expected 0 to {len(classes) - 1}"
            )
        return classes, labels

    def _open(self, name: str) -> Image.Image:
        try:
            image = Image.open(io.BytesIO(self._files.read(name)))
            image.load()
        except (OSError, SyntaxError, ValueError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
            raise DatasetError(
                f"{self.path}: {name} cannot be read ({error}); render or copy it again"
            ) from error
        return image

    def _load_image(self, name: str) -> np.ndarray:
        image = self._open(name)
        if image.mode != "RGB":
            raise DatasetError(f"{self.path}: {name} is {image.mode}, expected 8-bit RGB; convert it first")
        return self._sized(np.asarray(image), name)

    def _load_depth(self, name: str) -> np.ndarray:
        image = self._open(name)
        if image.mode not in _DEPTH_MODES:
            raise DatasetError(f"{self.path}: {name} is {image.mode}, expected a 16-bit or 8-bit depth map")
        depth = np.asarray(image)
        depth = depth[..., 0] if depth.ndim == 3 else depth
        return self._sized(
            (depth.astype(np.uint16) * 256) if depth.dtype == np.uint8 else depth.astype(np.uint16), name
        )

    def _sized(self, array: np.ndarray, name: str) -> np.ndarray:
        if array.shape[:2] != (self.resolution, self.resolution):
            raise DatasetError(
                f"{self.path}: {name} is {array.shape[1]}x{array.shape[0]} px, "
                f"expected {self.resolution}x{self.resolution} like the rest"
            )
        return array


def _is_depth(name: str) -> bool:
    return PurePosixPath(name).stem.endswith("_depth")


def _depth_name(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}_depth.png"))


def _open_features(path: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Memory-mapped features [N,D] and the row of each image, from `path` and its `<stem>_desc.json`."""
    description = path.with_name(f"{path.stem}_desc.json")
    try:
        facts = json.loads(description.read_text())
        shape, rows = tuple(int(n) for n in facts["shape"]), facts["filepath_to_idx"]
        table = np.memmap(path, dtype=np.float32, mode="r", shape=shape)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"features {path} with {description.name} cannot be read ({error})") from error
    missing = [name for name in names if not 0 <= rows.get(name, -1) < shape[0]]
    if missing:
        raise DatasetError(
            f"features {path} have no row for {len(missing)} images, the first is {missing[0]}"
        )
    return table, np.array([rows[name] for name in names], dtype=np.int64)


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

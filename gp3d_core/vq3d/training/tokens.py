"""The codes of a whole data set, computed once: what a code prior is trained on.

Kept in a file of format gp3d-vq3d-tokens that names the tokenizer and the data by their hashes. n pictures, N codes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.snapshots.metadata import SnapshotError, read_header
from gp3d_core.snapshots.snapshot import load_tensors, save_tensors
from gp3d_core.vq3d.models.tokenizer import Tokenizer

FORMAT = "gp3d-vq3d-tokens"
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Tokens:
    """Codes uint16 [n,2,N] of the n pictures of a data set and of their mirror images, and their labels int64 [n]."""

    codes: Tensor
    labels: Tensor

    def batch(self, items: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Codes int64 [B,N] and labels [B] of `items`; from n on they are mirror images."""
        index = torch.from_numpy(items % len(self.codes))
        mirrored = torch.from_numpy((items >= len(self.codes)).astype(np.int64))
        return self.codes[index, mirrored].long(), self.labels[index]


def check_tokens(path: Path, tokenizer: str) -> None:
    """Raises SnapshotError when the file at `path` holds the codes of another tokenizer than that with this hash."""
    if path.exists() and (found := str(read_header(path, FORMAT).get("tokenizer"))) != tokenizer:
        raise SnapshotError(
            f"{path} holds codes of tokenizer {found[:12]}, asked for is {tokenizer[:12]}; choose another run folder"
        )


def check_size(dataset: Dataset, resolution: int) -> None:
    """Raises DatasetError unless the pictures of `dataset` have the `resolution` that the tokenizer takes."""
    if dataset.resolution != resolution:
        raise DatasetError(
            f"{dataset.path} has {dataset.resolution} px images, the tokenizer takes {resolution} px; "
            f"pack them anew with `resolution` {resolution}"
        )


def tokens_of(tokenizer: Tokenizer, dataset: Dataset, path: Path, digest: str) -> Tokens:
    """The codes of `dataset`, from the file at `path` if it holds them, else computed and written there.

    `digest` is the hash of the tokenizer's file.
    """
    facts = {"tokenizer": digest, "data": dataset.fingerprint}
    if not (path.exists() and read_header(path, FORMAT) == facts):
        save_tensors(path, FORMAT, {"codes": _encode(tokenizer, dataset)}, facts)
    return Tokens(load_tensors(path)["codes"], torch.from_numpy(dataset.labels))


@torch.no_grad()
def _encode(tokenizer: Tokenizer, dataset: Dataset) -> Tensor:
    device = next(tokenizer.parameters()).device
    codes = torch.empty(len(dataset), 2, tokenizer.config.tokens, dtype=torch.uint16)
    starts = range(0, len(dataset), _BATCH)
    with ThreadPoolExecutor(4) as pool:
        for start in tqdm(starts, desc="codes", unit="batch", leave=False, disable=None):
            items = np.arange(start, min(start + _BATCH, len(dataset)))
            for side in (0, 1):
                images = read_images(dataset, items, bool(side), pool).to(device)
                codes[start : start + _BATCH, side] = tokenizer.encode(images).codes.cpu().to(torch.uint16)
    return codes


def read_images(dataset: Dataset, items: NDArray[Any], mirrored: bool, pool: ThreadPoolExecutor) -> Tensor:
    """Images [B,3,R,R] in [-1, 1] of `items`, perhaps flipped left to right; their depth is not needed."""
    images = np.stack(list(pool.map(dataset.load_image, items.tolist())))
    images = images[:, :, ::-1].copy() if mirrored else images
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1

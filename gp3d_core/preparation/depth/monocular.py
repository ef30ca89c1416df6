"""Depth from one file of weights, without a library and without a network: TCMonoDepth small, for photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.networks.foreign_weights import hash_of
from gp3d_core.networks.tcmonodepth import STRIDE, fold_norms, load_tcmonodepth
from gp3d_core.preparation.depth.files import packed_fit
from gp3d_core.preparation.depth.kinds import Kind
from gp3d_core.preparation.depth.making import stretch, to_unit
from gp3d_core.preparation.depth.models import ModelDepth, ModelError
from gp3d_core.preparation.framing import Box, frame, resize
from gp3d_core.preparation.pack_folder import PackedFolder

LICENSE = "MIT (Yu Li 2021)"

_SHORTER = 256  # pixels of the shorter side, for which the network was made
_LONGER = 4096  # most pixels of the longer side: what bounds the memory that a strip takes
# pixels that go through the network together on a CPU; what more cost stands in docs/data.md
_CACHED = 4 * 256 * 256
_RING = 32  # the border of a picture is this part of its shorter side
_NEAR_COLOR = 10  # levels of 255 by which a channel may differ from the border's usual colour
_PLAIN = 0.9  # share of the border with that colour, from which on it is called plain
_FILES = (".safetensors", ".pt", ".pth", ".tar", ".t7", ".bin", ".ckpt")  # endings of weights


def open_model(
    model: str, dataset: Dataset | None, *, kind: Kind | None, ratio: float, device: torch.device
) -> ModelDepth | MonocularDepth:
    """Depth from `model`: a file of TCMonoDepth's weights, a folder of a transformers model, or its id.

    dataset: whose pictures it is for; None for single ones. kind, ratio, device: as for ModelDepth. Raises
    ModelError, or WeightsError for a file of other weights.
    """
    path = Path(model)
    if path.is_file():
        targets = None if dataset is None else letterboxed(dataset.path, dataset.resolution)
        return MonocularDepth(path, kind=kind, ratio=ratio, device=device, targets=targets)
    if path.exists() and not path.is_dir():
        raise ModelError(f"{model} is neither a file nor a folder; give a model's file, folder or id")
    if path.suffix in _FILES and not path.is_dir():
        raise ModelError(f"there is no file {model}; give a model's file, folder or id")
    return ModelDepth(model, kind=kind, ratio=ratio, device=device)


class Estimator:
    """Relative inverse depth of pictures of any size and aspect, from a `network` as TCMonoDepth is one."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network.to(device)
        self._device = device

    def disparity(self, images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Float32 [H,W] ≥ 0, larger is nearer, of each of the `images` uint8 [H,W,3]; scale and shift are free.

        Pictures are seen at the size of `working_size`; those of one size go through the network together, on a CPU
        as many as its caches hold: what is given in longer rows takes longer.
        """
        sizes = [working_size(*image.shape[:2]) for image in images]
        found: dict[int, NDArray[Any]] = {}
        for size in dict.fromkeys(sizes):
            rows = [row for row, other in enumerate(sizes) if other == size]
            most = len(rows) if self._device.type != "cpu" else max(1, _CACHED // (size[0] * size[1]))
            for start in range(0, len(rows), most):
                some = rows[start : start + most]
                seen = np.stack([_resized(images[row], size) for row in some])
                # Left as read, with colours innermost in memory, which the convolutions of CPUs prefer.
                pictures = torch.from_numpy(seen).to(self._device).permute(0, 3, 1, 2)
                with torch.inference_mode():
                    maps = self._network(pictures.float())
                found |= {row: _enlarged(maps[k : k + 1], images[row]) for k, row in enumerate(some)}
        return [found[row] for row in range(len(images))]


def working_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which a picture is seen: its aspect, the shorter side 256, both multiples of 32.

    The longer side is rounded, by at most 6 % of the aspect, and ends at 4096, where strips become narrower instead.
    """
    scale = min(_SHORTER / min(height, width), _LONGER / max(height, width))
    rounded = (max(1, round(side * scale / STRIDE)) * STRIDE for side in (height, width))
    return next(rounded), next(rounded)


class MonocularDepth:
    """Depth from the weights in the file `path`. A DepthSource.

    kind, ratio, device: as for ModelDepth. targets: of letterboxed pictures, where they lie in the square, by name;
    only that part is looked at, and around it is far. plain: names of pictures, among those seen, with a plain
    background, about which the network is wrong.
    """

    expected: Kind = "disparity"
    license = LICENSE

    def __init__(
        self,
        path: Path,
        *,
        kind: Kind | None,
        ratio: float,
        device: torch.device,
        targets: Mapping[str, Box] | None = None,
    ) -> None:
        network = load_tcmonodepth(path)
        revision = hash_of(network)
        fold_norms(network)
        self._estimator = Estimator(network, device)
        self._ratio, self._targets = ratio, targets or {}
        self._kind: Kind = kind or self.expected
        self.plain: list[str] = []
        self.record: dict[str, Any] = {
            "model": "TCMonoDepth small",
            "revision": revision,
            "kind": self._kind,
            **({"ratio": ratio} if self._kind == "disparity" else {}),
            "license": self.license,
        }

    def maps(self, names: Sequence[str], images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """u [R,R] of each image; see DepthSource."""
        boxes = [
            self._targets.get(name, (0, 0, *image.shape[1::-1]))
            for name, image in zip(names, images, strict=True)
        ]
        inner = [
            image[top:bottom, left:right]
            for image, (left, top, right, bottom) in zip(images, boxes, strict=True)
        ]
        self.plain += [name for name, part in zip(names, inner, strict=True) if plain_share(part) >= _PLAIN]
        maps = []
        for name, image, box, values in zip(
            names, images, boxes, self._estimator.disparity(inner), strict=True
        ):
            u = np.ones(image.shape[:2])
            left, top, right, bottom = box
            u[top:bottom, left:right] = to_unit(stretch(values, name), self._kind, self._ratio)
            maps.append(u)
        return maps


def plain_share(image: NDArray[Any]) -> float:
    """Share of the border of `image` uint8 [H,W,3] that has the border's usual colour, its median."""
    wide = max(1, min(image.shape[:2]) // _RING)
    inside = np.zeros(image.shape[:2], dtype=bool)
    inside[wide:-wide, wide:-wide] = True
    border = image[~inside].astype(np.int16)
    return float((np.abs(border - np.median(border, axis=0)) <= _NEAR_COLOR).all(axis=1).mean())


def letterboxed(folder: Path, resolution: int) -> dict[str, Box]:
    """Where in its square each picture lies that `gp3d data pack` letterboxed into `folder`, by name; else nothing."""
    if packed_fit(folder) != "letterbox":
        return {}
    return {
        name: frame(row["width"], row["height"], resolution, "letterbox").target
        for name, row in PackedFolder(folder).origins().items()
    }


def _resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """`image` uint8 [H,W,3] in `size`, height and width."""
    if image.shape[:2] == size:
        return image
    return np.asarray(resize(Image.fromarray(np.ascontiguousarray(image)), size[1], size[0]))


def _enlarged(values: Tensor, image: NDArray[Any]) -> NDArray[Any]:
    """`values` [1,1,h,w] at the size of `image`, pixel centres on pixel centres."""
    size = image.shape[:2]
    scaled = functional.interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
    return scaled[0, 0].cpu().numpy()

"""What sees images on behalf of a score: the Inception network of FID, or a named stand-in for machines without it.

Inception is torch-fidelity's port of the TensorFlow graph of 2015-12-05, the network that FID is defined by. It takes
8-bit images of any size and resizes them itself, bilinearly to 299 px as TensorFlow 1 did, without antialiasing.
Numbers of another network carry its name ("squeezenet-fid2k"), so that nobody takes them for FID.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.errors import GP3DError
from gp3d_core.networks.foreign_weights import read_weights
from gp3d_core.networks.squeezenet import SqueezeNet, load_squeezenet
from gp3d_core.ops.image_parts import image_parts

INCEPTION, SQUEEZENET = "inception", "torchvision:squeezenet1_0"
NETWORKS = (INCEPTION, SQUEEZENET)
SQUEEZENET_SIZE = 224  # pixels that torchvision's weights are meant for
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in [0, 1]
_PACKAGE = "torch_fidelity"
_ELSEWHERE = f"or choose `features` {SQUEEZENET} `weights` FILE, whose numbers carry that name"


class FeaturesError(GP3DError):
    """A feature network that cannot be had; the message says what is missing and how to get it."""


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network ready to look at images.

    `prefix` begins the names of its scores. `facts` say which network, weights and resizing it is; `weights` is the
    hash of its weights.
    """

    prefix: str
    facts: dict[str, Any]
    weights: str
    look: Callable[[Tensor], tuple[Tensor, Tensor]]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,D] and class scores before softmax [B,C], float32, of images uint8 [B,3,H,W]."""
        features, scores = zip(*(self.look(part) for part in image_parts(images)), strict=True)
        return torch.cat(features).float(), torch.cat(scores).float()


def check_network(name: str) -> None:
    """Raises FeaturesError when no network is called `name`."""
    if name not in NETWORKS:
        raise FeaturesError(f"`features` {name}: expected one of {', '.join(NETWORKS)}")


def open_network(name: str, weights: Path | None, device: torch.device) -> FeatureNetwork:
    """The network called `name` (one of NETWORKS) with the file `weights`, None for the usual place.

    Raises FeaturesError or WeightsError for a network that cannot be had.
    """
    check_network(name)
    if name == INCEPTION:
        return _inception(weights or _usual_inception_weights(), device)
    if weights is None:
        raise FeaturesError(f"`features` {SQUEEZENET} needs `weights` FILE (.safetensors or .pth)")
    network = load_squeezenet(weights).to(device)
    facts = {
        "network": "torchvision:squeezenet1_0, 512 features, not comparable with FID",
        "resize": f"bilinear with antialiasing to {SQUEEZENET_SIZE} px",
    }
    return _named("squeezenet-", facts, weights, lambda images: _through_squeezenet(network, images))


def _named(
    prefix: str, facts: dict[str, Any], path: Path, look: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> FeatureNetwork:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FeatureNetwork(prefix, facts | {"weights_sha256": digest}, digest, look)


def _through_squeezenet(network: SqueezeNet, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean feature maps [B,512] and scores [B,1000]."""
    size = (SQUEEZENET_SIZE, SQUEEZENET_SIZE)
    rgb = F.interpolate(images.float() / 255, size, mode="bilinear", antialias=True).clamp(0, 1)
    mean, std = (rgb.new_tensor(numbers)[:, None, None] for numbers in (_MEAN, _STD))
    maps = network.features((rgb - mean) / std)
    return maps.mean(dim=(2, 3)), network.classifier(maps).mean(dim=(2, 3))


def _inception(weights: Path, device: torch.device) -> FeatureNetwork:
    network = build_inception(read_weights(weights), weights).to(device)
    facts = {
        "network": "Inception 2015-12-05 (torch-fidelity), 2048 features",
        "resize": "bilinear to 299 px as in TensorFlow 1, without antialiasing",
    }
    return _named("", facts, weights, network)


def build_inception(tensors: dict[str, Tensor], path: Path) -> nn.Module:
    """torch-fidelity's network with `tensors`, which were read from `path`: uint8 images to (features, scores).

    Raises FeaturesError when the package is missing or the tensors are another network's.
    """
    module = _inception_module()
    copied = io.BytesIO()  # its constructor would unpickle a file as it comes; what it gets is our own copy
    torch.save(tensors, copied)
    copied.seek(0)
    try:
        return module.FeatureExtractorInceptionV3(
            "gp3d", ["2048", "logits_unbiased"], feature_extractor_weights_path=copied
        )
    except RuntimeError as error:
        raise FeaturesError(
            f"{path}: expected weights of torch-fidelity's Inception ({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _usual_inception_weights() -> Path:
    """Where torch keeps what torch-fidelity downloads; fetched there, with its checksum, if it is missing."""
    url = _inception_module().URL_INCEPTION_V3
    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[1])
    except (OSError, RuntimeError) as error:  # no network; another content than expected
        raise FeaturesError(
            f"FID's Inception weights are not at {path} and cannot be fetched ({_first_line(error)}); put "
            f"{path.name} of torch-fidelity's release v0.2.0 there, or name it with `weights` FILE, {_ELSEWHERE}"
        ) from error
    return path


def _inception_module() -> ModuleType:
    """torch-fidelity's module of this one network.

    The package's own front door also loads torchvision, which this network does not use and which many builds of
    torch have no partner for; so the package is stood in for by an empty one with the same folder meanwhile.
    """
    name = f"{_PACKAGE}.feature_extractor_inceptionv3"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None:
        raise FeaturesError(
            f"FID's Inception comes with torch-fidelity, which is not installed: pip install --no-deps "
            f"torch-fidelity, {_ELSEWHERE}"
        )
    stand_in = ModuleType(_PACKAGE)
    stand_in.__path__ = list(spec.submodule_search_locations or [])
    before = sys.modules.get(_PACKAGE)
    sys.modules[_PACKAGE] = stand_in
    try:
        return importlib.import_module(name)
    finally:
        if before is None:
            del sys.modules[_PACKAGE]
        else:
            sys.modules[_PACKAGE] = before

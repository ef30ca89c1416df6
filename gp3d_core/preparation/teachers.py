"""Pretrained networks whose features the discriminator learns to predict, by name: `<library>:<network>`.

torchvision:squeezenet1_0   our own SqueezeNet; weights from a file only. Any other torchvision classifier: its input to
                            the last linear layer, torchvision's own preprocessing.
timm:resnet50               any timm model: its pooled features and evaluation preprocessing (the release's teacher).
clip:ID or clip:FOLDER      a CLIP of transformers: the projected image embedding, its own preprocessing.

Weights come from the library's hub or cache, or from a file without code (`gp3d_core.networks.foreign_weights`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gp3d_core.errors import GP3DError
from gp3d_core.networks.foreign_weights import fill, hash_of, read_weights
from gp3d_core.networks.squeezenet import SqueezeNet, load_squeezenet
from gp3d_core.ops.image_parts import image_parts

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)  # of ImageNet's pixels
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


class TeacherError(GP3DError):
    """A teacher that cannot be had; the message says what to do."""


@dataclass(frozen=True)
class Teacher:
    """A network that turns pictures into features.

    prepare: an RGB picture to its input [3,H,W]. embed: inputs [B,3,H,W] to features [B,dim]. facts: name,
    preprocessing and weights in words, equal for teachers that give equal features.
    """

    dim: int
    prepare: Callable[[Image.Image], Tensor]
    embed: Callable[[Tensor], Tensor]
    facts: dict[str, str]
    device: torch.device

    @torch.inference_mode()
    def encode(self, images: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Features float32 [B,dim] of pictures uint8 [H,W,3]."""
        inputs = torch.stack([self.prepare(Image.fromarray(image)) for image in images])
        parts = [self.embed(part) for part in image_parts(inputs.to(self.device))]
        return torch.cat(parts).float().cpu().numpy()


def open_teacher(name: str, weights: Path | None, device: torch.device) -> Teacher:
    """The teacher `name`, with weights from a file or, without one, from the library's hub or cache.

    Raises TeacherError for an unknown name, a library that is missing, or weights that cannot be had; WeightsError
    for a file that does not fit.
    """
    library, _, network = name.partition(":")
    if name == "torchvision:squeezenet1_0":
        teacher = _squeezenet(weights, device)
    elif library == "torchvision" and network:
        teacher = _torchvision(network, weights, device)
    elif library == "timm" and network:
        teacher = _timm(network, weights, device)
    elif library == "clip" and network:
        teacher = _clip(network, weights, device)
    else:
        raise TeacherError(
            f"unknown teacher '{name}': expected timm:NETWORK, torchvision:NETWORK, clip:MODEL, or a file of "
            "features (.npy, .safetensors)"
        )
    teacher.facts["name"] = name
    return teacher


def centred(image: Image.Image, shorter: int, crop: int) -> Tensor:
    """`image` with its shorter side `shorter` pixels (bilinear, antialiased), the middle `crop`² of it, normalised.

    Returns [3,crop,crop]; ImageNet's mean and standard deviation.
    """
    scale = shorter / min(image.size)
    width, height = (max(shorter, int(n * scale)) for n in image.size)
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized.crop((left, top, left + crop, top + crop)), dtype=np.float32) / 255
    return torch.from_numpy((pixels - _MEAN) / _STD).permute(2, 0, 1)


def _squeezenet(weights: Path | None, device: torch.device) -> Teacher:
    if weights is None:
        raise TeacherError(
            "torchvision:squeezenet1_0 needs `weights` FILE (a safetensors or .pth state dict)"
        )
    network = load_squeezenet(weights).to(device)
    facts = {
        "preprocessing": "shorter side to 256 px, bilinear; middle 224 px; ImageNet mean and deviation",
        "features": "last fire module, averaged over the picture",
        "weights": _hash(weights),
    }
    return Teacher(SqueezeNet.dim, lambda image: centred(image, 256, 224), network.embed, facts, device)


def _torchvision(name: str, weights: Path | None, device: torch.device) -> Teacher:
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # RuntimeError: of another build than torch
        raise TeacherError(_broken("torchvision", error)) from error
    try:
        offered = models.get_model_weights(name).DEFAULT
    except ValueError as error:
        raise TeacherError(f"torchvision knows no network '{name}'") from error
    network = _fetched(
        f"torchvision:{name}", lambda: models.get_model(name, weights=None if weights else offered)
    )
    if weights is not None:
        fill(network, read_weights(weights), weights, f"torchvision's {name}")
    dim = _drop_last_linear(network, name)
    prepare = offered.transforms()
    facts = {
        "preprocessing": f"torchvision's for {offered}: {' '.join(repr(prepare).split())}",
        "features": "input to the last linear layer",
        "weights": _hash(weights) if weights else str(offered),
    }
    return Teacher(dim, prepare, network.to(device).eval(), facts, device)


def _drop_last_linear(network: nn.Module, name: str) -> int:
    """Replaces the last linear layer by nothing; returns how wide its input was."""
    linear = [(path, part) for path, part in network.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise TeacherError(f"torchvision:{name} does not end in a linear layer; take another teacher")
    path, last = linear[-1]
    parent, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return last.in_features


def _timm(name: str, weights: Path | None, device: torch.device) -> Teacher:
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise TeacherError(_broken("timm", error)) from error
    if not timm.is_model(name):
        raise TeacherError(f"timm knows no network '{name}'")
    network = _fetched(
        f"timm:{name}", lambda: timm.create_model(name, pretrained=weights is None, num_classes=0)
    )
    if weights is not None:
        own = network.state_dict()
        tensors = {key: value for key, value in read_weights(weights).items() if key in own or not _head(key)}
        fill(network, tensors, weights, f"timm's {name}")
    settings = timm.data.resolve_model_data_config(network)
    facts = {
        "preprocessing": f"timm's: {settings}",
        "features": "pooled, without a classifier",
        "weights": _hash(weights) if weights else f"{network.pretrained_cfg.get('tag')}, {hash_of(network)}",
    }
    prepare = timm.data.create_transform(**settings, is_training=False)
    return Teacher(network.num_features, prepare, network.to(device).eval(), facts, device)


def _head(key: str) -> bool:
    """Whether a tensor belongs to the classifier, which timm leaves out."""
    return key.split(".")[0] in ("fc", "head", "classifier")


def _clip(model: str, weights: Path | None, device: torch.device) -> Teacher:
    if weights is not None:
        raise TeacherError("clip: takes its weights from MODEL, a hub id or a folder; leave out `weights`")
    try:
        from huggingface_hub.utils import logging as hub_logging
        from transformers import AutoImageProcessor, CLIPVisionModelWithProjection
        from transformers.utils import logging
    except ImportError as error:
        raise TeacherError(f"clip: needs transformers ({error}); pip install -e '.[data]'") from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    options = {"local_files_only": Path(model).is_dir(), "trust_remote_code": False}

    def load() -> tuple[Any, Any, Any]:
        network, loading = CLIPVisionModelWithProjection.from_pretrained(
            model, use_safetensors=True, output_loading_info=True, **options
        )
        return network, AutoImageProcessor.from_pretrained(model, backend="pil", **options), loading

    network, processor, loading = _fetched(f"clip:{model}", load)
    if loading["missing_keys"]:
        raise TeacherError(
            f"clip:{model}: weights are missing, {sorted(loading['missing_keys'])[0]} among them"
        )
    network.to(device).eval()
    facts = {
        "preprocessing": f"transformers': {processor.to_json_string()}",
        "features": "projected image embedding, not normalised",
        "weights": hash_of(network),
    }
    return Teacher(
        network.config.projection_dim,
        lambda image: processor(images=image, return_tensors="pt")["pixel_values"][0],
        lambda inputs: network(pixel_values=inputs).image_embeds,
        facts,
        device,
    )


def _fetched(name: str, load: Callable[[], Any]) -> Any:
    """What `load` returns; TeacherError where hub and cache have not got it."""
    try:
        return load()
    except Exception as error:  # each library raises another kind
        reason = str(error).strip().partition("\n")[0][:160]
        raise TeacherError(
            f"{name}: neither cache nor hub has it ({reason}); download it elsewhere and name the file or folder"
        ) from error


def _broken(library: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:120]
    return (
        f"{library} cannot be imported ({reason}); install it with a torchvision of the same build as "
        f"torch {torch.__version__}, or use torchvision:squeezenet1_0 `weights` FILE, which needs nothing else"
    )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

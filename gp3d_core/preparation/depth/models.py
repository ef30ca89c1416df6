"""Depth from networks that `transformers` knows, from its hub or from a folder."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.errors import GP3DError
from gp3d_core.preparation.depth.kinds import Kind
from gp3d_core.preparation.depth.making import stretch, to_unit

MODEL = "depth-anything/Depth-Anything-V2-Small-hf"


class ModelError(GP3DError):
    """A depth model that cannot be had, read or used; the message says what to do."""


class ModelDepth:
    """Depth from a network: a model id, or the folder of one that was downloaded before. A DepthSource.

    kind: what the network predicts; None takes it from the model's family. ratio: t_far / t_near, for disparity.
    license: in the words of the model's card, None where it has none. expected: the family's kind, None if unknown.

    Raises ModelError when the model cannot be had, when weights are missing, or when nothing tells its kind.
    """

    def __init__(self, model: str, *, kind: Kind | None, ratio: float, device: torch.device) -> None:
        self._network, self._processor = _load(model)
        self._network.to(device).eval()
        self._device, self._ratio = device, ratio
        self.expected = kind_of_family(self._network.config)
        self.license = _license(model)
        if kind is None and self.expected is None:
            family = self._network.config.model_type
            raise ModelError(
                f"{model}: whether {family} predicts depth or disparity is not known; give `kind`"
            )
        self._kind: Kind = kind or self.expected or "depth"
        self.record: dict[str, Any] = {
            "model": Path(model).resolve().name if Path(model).is_dir() else model,
            "revision": _revision(model, self._network),
            "kind": self._kind,
            **({"ratio": ratio} if self._kind == "disparity" else {}),
            "license": self.license or "unknown",
        }

    def maps(self, names: Sequence[str], images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """u [R,R] of each image; see DepthSource."""
        sizes = [image.shape[:2] for image in images]
        inputs = self._processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")
        try:
            with torch.inference_mode():
                outputs = self._network(**inputs.to(self._device))
        except torch.cuda.OutOfMemoryError as error:
            raise ModelError(
                f"{len(images)} images at a time do not fit on the GPU; give a smaller `batch`"
            ) from error
        finish = self._processor.post_process_depth_estimation
        needed = {"source_sizes": sizes} if "source_sizes" in inspect.signature(finish).parameters else {}
        predictions = (
            row["predicted_depth"].float().cpu().numpy()
            for row in finish(outputs, target_sizes=sizes, **needed)
        )
        return [
            to_unit(stretch(values, name), self._kind, self._ratio)
            for name, values in zip(names, predictions, strict=True)
        ]


def kind_of_family(config: Any) -> Kind | None:
    """What the networks of a transformers `config` predict; None where the family does not tell."""
    if config.model_type in ("glpn", "zoedepth", "depth_pro", "prompt_depth_anything"):  # in metres
        return "depth"
    if config.model_type == "depth_anything":
        return "depth" if config.depth_estimation_type == "metric" else "disparity"
    if config.model_type == "dpt":  # MiDaS's; but those on DINOv2 were trained on metres
        backbone = getattr(config, "backbone_config", None)
        return "depth" if getattr(backbone, "model_type", "") == "dinov2" else "disparity"
    return None


def _load(model: str) -> tuple[Any, Any]:
    """Network and image processor of `model`, safetensors only and no code from the hub."""
    try:
        from huggingface_hub.utils import logging as hub_logging
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        from transformers.utils import logging
    except ImportError as error:
        raise ModelError(f"depth models need transformers ({error}); pip install -e '.[data]'") from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    local = Path(model).is_dir()
    options = {"local_files_only": local, "trust_remote_code": False}
    try:
        network, loading = AutoModelForDepthEstimation.from_pretrained(
            model, use_safetensors=True, output_loading_info=True, **options
        )
        processor = AutoImageProcessor.from_pretrained(model, backend="pil", **options)
    except Exception as error:  # the library raises a dozen kinds
        reason = str(error).strip().partition("\n")[0][:160]
        if local:
            raise ModelError(f"{model}: no depth model that transformers can read ({reason})") from error
        raise ModelError(
            f"{model} is no folder, not in the cache, and the hub did not deliver it ({reason}); "
            "download it on another machine and give its folder"
        ) from error
    if loading["missing_keys"] or loading.get("mismatched_keys"):
        odd = sorted(map(str, [*loading["missing_keys"], *loading.get("mismatched_keys", ())]))
        raise ModelError(f"{model}: weights are missing or of another shape: {odd[0]} ({len(odd)} such)")
    if not hasattr(processor, "post_process_depth_estimation"):
        raise ModelError(f"{model}: its image processor gives no depth; take another model")
    return network, processor


def _revision(model: str, network: Any) -> str:
    """What identifies the weights: the hub's commit, or the hash of a folder's files."""
    if not Path(model).is_dir():
        return str(network.config._commit_hash)
    digest = hashlib.sha256()
    for file in sorted(Path(model).glob("*.safetensors")):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def _license(model: str) -> str | None:
    """The licence in the model's card, None without a card that names one."""
    from huggingface_hub import ModelCard
    from huggingface_hub.errors import EntryNotFoundError

    card = Path(model) / "README.md" if Path(model).is_dir() else model
    if isinstance(card, Path) and not card.is_file():
        return None
    try:
        stated = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict().get("license")
    except (OSError, ValueError, EntryNotFoundError):
        return None
    return stated if isinstance(stated, str) else None

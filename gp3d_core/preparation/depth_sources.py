"""The two sources of depth: a network that `transformers` knows, and files that some other program wrote."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.errors import GP3DError
from gp3d_core.preparation.dataset_card import read_card
from gp3d_core.preparation.depth import Kind, stretch, to_unit
from gp3d_core.preparation.framing import Fit, frame, resize

MODEL = "depth-anything/Depth-Anything-V2-Small-hf"

_PNG_MODES = ("I;16", "I;16B", "I", "L", "RGB", "RGBA")
_ENDINGS = ("_depth.png", ".png", "_depth.npy", ".npy")  # after the image's stem


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


class FolderDepth:
    """Depth from existing files in `folder`, at the paths of the images `names`. A DepthSource.

    `a/b.jpg` has its map in `a/b_depth.png`, `a/b.png`, `a/b_depth.npy` or `a/b.npy`. PNG: 16-bit as it is (LeReS),
    8-bit times 256, of several channels the first; never stretched. npy: any numbers [H,W], stretched over the range.
    Maps of another size are cut and scaled like the pictures (`preparation.framing`); `fit` says how those were framed,
    None that it is not known, and then maps must be square. Outside a letterbox it is far.

    Raises DatasetError, before anything is written, for an image without a map or with several.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], *, kind: Kind, ratio: float, fit: Fit | None
    ) -> None:
        if not folder.is_dir():
            raise DatasetError(f"depth maps: there is no folder {folder}")
        found = {name: _find(folder, name) for name in names}
        self._files = {name: file for name, file in found.items() if file is not None}
        if missing := [name for name in names if name not in self._files]:
            raise DatasetError(
                f"{folder} has no map for {len(missing)} of {len(names)} images, the first is {missing[0]}; "
                f"expected its path with one of the endings {', '.join(_ENDINGS)}"
            )
        self._kind, self._ratio, self._fit = kind, ratio, fit
        self.record: dict[str, Any] = {
            "files": folder.resolve().name,
            "kind": kind,
            **({"ratio": ratio} if kind == "disparity" else {}),
            "license": "that of the files",
        }

    def maps(self, names: Sequence[str], images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """u [R,R] of each image; see DepthSource."""
        return [
            self._map(self._files[name], image.shape[0]) for name, image in zip(names, images, strict=True)
        ]

    def _map(self, file: Path, resolution: int) -> NDArray[Any]:
        values = _read(file)
        height, width = values.shape
        if height != width and self._fit is None:
            raise DatasetError(
                f"depth map {file} is {width}x{height}, expected a square like the image; cut it as the image was cut"
            )
        where = frame(width, height, resolution, self._fit or "crop")
        left, top, right, bottom = where.target
        if (width, height) != (resolution, resolution):
            picture = Image.fromarray(values.astype(np.float32))
            values = np.asarray(resize(picture, right - left, bottom - top, where.source), dtype=np.float64)
        values = stretch(values, str(file)) if file.suffix == ".npy" else values.clip(0, 1)
        u = np.ones((resolution, resolution))
        u[top:bottom, left:right] = to_unit(values, self._kind, self._ratio)
        return u


def packed_fit(folder: Path) -> Fit | None:
    """How `gp3d data pack` framed the pictures of the data set `folder`; None when its card does not say."""
    packed = [step for step in read_card(folder)["steps"] if step.get("step") == "pack"]
    fit = packed[0].get("settings", {}).get("fit") if packed else None
    return fit if fit in ("crop", "letterbox") else None


def _find(folder: Path, name: str) -> Path | None:
    stem = PurePosixPath(name).with_suffix("")
    found = [file for ending in _ENDINGS if (file := folder / f"{stem}{ending}").is_file()]
    if len(found) > 1:
        raise DatasetError(f"{folder}: {name} has two maps, {found[0].name} and {found[1].name}; remove one")
    return found[0] if found else None


def _read(file: Path) -> NDArray[Any]:
    """Numbers float64 [H,W] of an npy file, or the codes of a PNG over 65536."""
    try:
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False).squeeze()
            if values.ndim != 2 or values.dtype.kind not in "fiu":
                raise ValueError(f"expected numbers [H, W], found {values.dtype} {list(values.shape)}")
            return values.astype(np.float64)
        image = Image.open(file, formats=("PNG",))
        if image.mode not in _PNG_MODES:
            raise ValueError(f"expected a 16-bit or 8-bit map, found {image.mode}")
        codes = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DatasetError(f"depth map {file} cannot be read ({error})") from error
    codes = codes[..., 0] if codes.ndim == 3 else codes
    values = codes.astype(np.float64)
    return values / 256 if codes.dtype == np.uint8 else depth_codes.to_unit(values)


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

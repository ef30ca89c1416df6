"""Weights that other projects trained: read as plain tensors, so that no file can run code.

The only place that opens PyTorch's own format; there `weights_only` admits nothing but tensors and plain containers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from gp3d_core.errors import GP3DError


class WeightsError(GP3DError):
    """A file of weights that is missing, damaged, or of another network; the message says what was expected."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors file or from one that torch saved (.pth, .pt, .t7, ...).

    A checkpoint that keeps its weights under one of its keys, beside optimiser and counters, gives those weights.
    Raises WeightsError for anything else.
    """
    if not path.is_file():
        raise WeightsError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            tensors, own = load_file(path), _own_format(path)
            if own:
                raise WeightsError(
                    f"{path}: expected weights of a network that others trained, found a file of GP3D itself ({own})"
                )
            return tensors
        content = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # damaged files make the two libraries raise a dozen kinds
        reason = _reason(error)
        raise WeightsError(
            f"{path}: expected a safetensors file, or tensors that torch saved ({reason})"
        ) from error
    candidates = [content, *content.values()] if isinstance(content, dict) else []
    for candidate in candidates:
        if isinstance(candidate, dict) and (tensors := _tensors(candidate)):
            return tensors
    raise WeightsError(f"{path}: expected tensors by name, found {type(content).__name__}")


def _own_format(path: Path) -> str:
    """The format that a .safetensors file of GP3D names in its header; nothing of any other file."""
    with safe_open(path, "pt") as file:
        named = str((file.metadata() or {}).get("format", ""))
    return named if named.startswith("gp3d") else ""


def _reason(error: Exception) -> str:
    """What the two libraries say of a file, where it is meant for people: torch's reader of other bytes says "101"."""
    said = " ".join(str(error).split()).split(". ")[0][:160]
    if isinstance(error, RuntimeError | SafetensorError):
        return said
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it holds something else"  # nor are people told how torch would open it nevertheless


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path, what: str) -> None:
    """Copies `tensors` into `module`; raises WeightsError unless names and shapes are exactly its own.

    `what` names the network in the message, `path` is where the tensors are from.
    """
    own = module.state_dict()
    if odd := sorted(set(own) ^ set(tensors)):
        side = "lacks" if odd[0] in own else "has the unknown"
        raise WeightsError(f"{path}: expected weights of {what}, but it {side} {odd[0]} ({len(odd)} such)")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise WeightsError(
                f"{path}: expected weights of {what}, whose {name} is {list(own[name].shape)}, "
                f"found {list(tensor.shape)}"
            )
    module.load_state_dict(tensors)


def hash_of(network: nn.Module) -> str:
    """Hash of all tensors of a network on the CPU."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\n".encode())
        digest.update(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            if tensor.dim()
            else repr(tensor.item()).encode()
        )
    return f"sha256:{digest.hexdigest()}"


def _tensors(content: dict[Any, Any]) -> dict[str, Tensor]:
    """`content` if it is nothing but tensors by name, else nothing."""
    plain = all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    return dict(content) if plain else {}

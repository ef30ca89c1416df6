"""Weights on disk: snapshots to generate with, checkpoints to go on training from.

Both are safetensors files whose header carries JSON (docs/snapshot.md); nothing in them can run code, and both appear
whole or not at all. This is the only file that knows their layouts.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gp3d_core.archive import class_records
from gp3d_core.atomic import replacing
from gp3d_core.config import RunConfig, from_dict, to_dict
from gp3d_core.errors import GP3DError
from gp3d_core.limits import check_config
from gp3d_core.networks.generator import Generator

SNAPSHOT = "gp3d-snapshot"
CHECKPOINT = "gp3d-checkpoint"
VERSION = 1


class SnapshotError(GP3DError):
    """A snapshot or checkpoint that cannot be used; the message says what was expected and what was found."""


@dataclass(frozen=True)
class Snapshot:
    """A generator ready to use: evaluation mode, no gradients, with what it was trained on."""

    generator: Generator
    config: RunConfig
    classes: list[dict[str, Any]]
    nimg: int
    path: Path


def save_snapshot(
    path: Path, generator: nn.Module, config: RunConfig, classes: list[dict[str, Any]], nimg: int
) -> None:
    """Writes the weights of `generator` with the configuration and the class records."""
    facts = {"config": to_dict(config), "classes": classes, "nimg": nimg}
    _save(path, SNAPSHOT, dict(generator.state_dict()), facts)


def load_snapshot(path: str | Path, device: torch.device | str = "cpu") -> Snapshot:
    """Reads a snapshot.

    Raises SnapshotError for a file that is missing, truncated, of another format or version, and for facts that are
    wrong or do not fit together.
    """
    path = Path(path)
    tensors, facts = _load(path, SNAPSHOT)
    try:
        config = from_dict(facts["config"])
        check_config(config)
        classes, nimg = class_records(facts["classes"]), _parse_nimg(facts["nimg"])
    except (KeyError, ValueError) as error:
        raise SnapshotError(
            f"{path} was written by another version of gp3d ({error}); use that version"
        ) from error
    generator = Generator(config, num_classes=len(classes))
    _fill(generator, tensors, path)
    return Snapshot(generator.to(device).eval().requires_grad_(False), config, classes, nimg, path)


def save_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    facts: Mapping[str, Any],
) -> None:
    """Writes everything a run needs to go on: weights, optimiser moments, and `facts` (JSON values)."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in moments.items()}
    _save(path, CHECKPOINT, tensors, dict(facts))


def load_checkpoint(
    path: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Restores what `save_checkpoint` wrote into `modules` and `optimizers`; returns the facts."""
    tensors, facts = _load(path, CHECKPOINT)
    for name, module in modules.items():
        _fill(module, _below(tensors, name), path)
    for name, optimizer in optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, name).items():
            index, moment = key.split(".", 1)
            state.setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return facts


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }


def _save(path: Path, kind: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    header = {"format": kind, "version": str(VERSION), "facts": json.dumps(facts)}
    packed = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(packed, temporary, metadata=header)
        except SafetensorError as error:  # how the library reports a full disk
            raise SnapshotError(
                f"{path} cannot be written ({error}); what was there before is untouched"
            ) from error


def _load(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise SnapshotError(f"no {kind.removeprefix('gp3d-')} at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SnapshotError(
            f"{path} is truncated or not a safetensors file ({error}); copy or train it again"
        ) from error
    found = (header.get("format"), header.get("version"))
    if found != (kind, str(VERSION)):
        raise SnapshotError(
            f"{path}: expected {kind} version {VERSION}, found {found[0] or 'no format'} version {found[1]}"
        )
    try:
        return tensors, dict(json.loads(header["facts"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SnapshotError(f"{path}: the header is damaged ({error}); copy or train it again") from error


def _parse_nimg(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"nimg: expected a whole number of at least 0, found {reprlib.repr(value)}")
    return value


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copies `tensors` into `module`, which must have exactly those names and shapes."""
    own = module.state_dict()
    if odd := sorted(set(own) ^ set(tensors)):
        side = "lacks" if odd[0] in own else "has the unknown"
        raise SnapshotError(
            f"{path} is of another architecture: it {side} {odd[0]} ({len(odd)} such tensors)"
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise SnapshotError(
                f"{path} is of another architecture: {name} is {list(tensor.shape)}, expected {list(own[name].shape)}"
            )
    module.load_state_dict(dict(tensors))

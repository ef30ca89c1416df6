"""Weights on disk: snapshots to generate with, checkpoints to go on training from.

Both are safetensors files whose header carries JSON (docs/snapshot.md); nothing in them can run code, and both appear
whole or not at all. Only this file and `metadata`, which reads what they say of themselves, know their layouts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gp3d_core.atomic import replacing
from gp3d_core.baselines.generators import make_generator
from gp3d_core.config.schema import RunConfig, to_dict
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.hashing import DAMAGE, digest
from gp3d_core.licences.parts import NONE, Licences
from gp3d_core.networks.generator import BaseGenerator
from gp3d_core.snapshots.metadata import (
    CHECKPOINT,
    SNAPSHOT,
    VERSION,
    SnapshotError,
    SnapshotFacts,
    licence_facts,
    read_header,
    read_snapshot_facts,
)
from gp3d_core.snapshots.shapes_only import shapes_only

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Snapshot:
    """A generator ready to use: evaluation mode, no gradients, with what it was trained on."""

    generator: BaseGenerator
    config: RunConfig
    classes: list[ClassRecord]
    nimg: int
    path: Path
    digest: str  # SHA-256 of the file when it was read
    license: str = ""  # in words; "" where nobody states one
    licences: Licences = NONE  # of what it has learnt from

    def __repr__(self) -> str:
        """Which model, without its layers and settings."""
        return f"Snapshot({self.path}, {len(self.classes)} classes, {self.nimg} images seen)"


def save_snapshot(
    path: Path,
    generator: nn.Module,
    config: RunConfig,
    classes: list[ClassRecord],
    nimg: int,
    license: str = "",
    licences: Licences = NONE,
) -> None:
    """Writes the weights of `generator` with the configuration, the class records and, if there is one, the licence.

    `licences` are those of what it has learnt from; of very many authors the header names a part and counts the rest.
    """
    facts = {"config": to_dict(config), "classes": classes, "nimg": nimg, **licence_facts(licences)}
    if config.system != RunConfig.system:  # files of 3DGP are older than the word
        facts["system"] = config.system
    if license:
        facts["license"] = license
    save_tensors(path, SNAPSHOT, dict(generator.state_dict()), facts)


def load_snapshot(path: str | Path, device: torch.device | str = "cpu") -> Snapshot:
    """Reads a snapshot.

    Raises SnapshotError for a file that is missing, truncated, of another format or version, and for facts that are
    wrong or do not fit together.
    """
    path = Path(path)
    facts = read_snapshot_facts(path)
    generator = _with_weights(facts, path)
    generator.to(device).eval().requires_grad_(False)
    return Snapshot(
        generator, facts.config, facts.classes, facts.nimg, path, digest(path), facts.license, facts.licences
    )


def _with_weights(facts: SnapshotFacts, path: Path) -> BaseGenerator:
    """The generator that the `facts` describe, made of the tensors of the file itself.

    So a configuration that asks for more than the file holds is an error before any memory is taken for it.
    """
    tensors = load_tensors(path)
    generator = described(
        "generator", lambda: make_generator(facts.config, num_classes=len(facts.classes)), tensors, path
    )
    # copies: what the library reads stays a view of the file, and a file that is overwritten would end the process
    whole = {
        name: value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
        for name, value in tensors.items()
    }
    generator.load_state_dict(whole, assign=True)
    return generator


def described(kind: str, make: Callable[[], Module], tensors: Mapping[str, Tensor], path: Path) -> Module:
    """The module of a `kind` that `make` makes, on "meta": nothing is made that is larger than the file.

    Raises SnapshotError for sizes that no module can have, and unless the file's `tensors` fit.
    """
    try:
        with shapes_only():
            module = make()
    except DAMAGE as error:  # sizes that no tensor can have, or that do not fit together
        reason = str(error).partition("\n")[0]  # below it torch says where it is in C++
        raise SnapshotError(f"{path} describes no {kind} ({reason}); copy or train it again") from error
    _check_tensors(module, tensors, path)
    return module


def load_weights(generator: BaseGenerator, path: Path) -> None:
    """Copies the weights of the snapshot at `path`, whole or half precision, into a generator of any precision.

    Raises SnapshotError if it is of another architecture.
    """
    fill_module(generator, load_tensors(path), path)


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
    save_tensors(path, CHECKPOINT, tensors, dict(facts))


def load_checkpoint(
    path: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Restores what `save_checkpoint` wrote into `modules` and `optimizers`; returns the facts."""
    facts, tensors = read_header(path, CHECKPOINT), load_tensors(path)
    for name, module in modules.items():
        fill_module(module, _below(tensors, name), path)
    for name, optimizer in optimizers.items():
        state: dict[int, dict[str, Tensor | int]] = {}
        for key, value in _below(tensors, name).items():
            index, moment = key.split(".", 1)
            # Optimisers that count steps in a Python number save it as a whole number here. Left a tensor, their bias
            # corrections would be computed in float32 instead of float64: a resumed run would not be the same.
            counted = value.ndim == 0 and not value.is_floating_point()
            state.setdefault(int(index), {})[moment] = int(value) if counted else value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return facts


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }


def save_tensors(path: Path, kind: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes `tensors` with `facts` (JSON values) as a file of the given kind, whole or not at all.

    Raises SnapshotError for numbers that are not finite.
    """
    if name := _first_not_finite(tensors):
        raise SnapshotError(
            f"{path} was not written: {name} is not finite; what was there before is untouched"
        )
    write_tensors(path, tensors, {"format": kind, "version": str(VERSION), "facts": json.dumps(facts)})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: dict[str, str] | None = None) -> None:
    """Writes `tensors` as a safetensors file, whole or not at all, with the rights that files usually get.

    Raises SnapshotError where the disk is full.
    """
    packed = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        temporary.touch()
        allowed = temporary.stat().st_mode  # the library would keep others from reading it
        try:
            save_file(packed, temporary, metadata=header)
            temporary.chmod(allowed)
        except SafetensorError as error:  # how the library reports a full disk
            raise SnapshotError(
                f"{path} cannot be written ({error}); make room there; what was there before is untouched"
            ) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of the file at `path`, whose header has been read; SnapshotError for numbers that are not finite."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if name := _first_not_finite(tensors):
        raise SnapshotError(
            f"{path} cannot be used: {name} is not finite; copy it again, or take another one"
        )
    return tensors


def _first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity; None without one."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or math.isfinite(tensor.detach().sum(dtype=torch.float32).item()):
            continue
        if not torch.isfinite(tensor).all():  # one sum is quick, but one that overflows proves nothing
            return name
    return None


def fill_module(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copies `tensors` into `module`, which must have exactly those names and shapes."""
    _check_tensors(module, tensors, path)
    module.load_state_dict(dict(tensors))


def _check_tensors(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises SnapshotError unless `tensors` have exactly the names and shapes of `module`, which may be on "meta"."""
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

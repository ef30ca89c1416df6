"""Tokenizers on disk: safetensors with facts as JSON in the header, format gp3d-vq3d, version 1. No pickles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gp3d_core.config.schema import to_dict
from gp3d_core.datasets.imagenet import ClassRecord, class_records
from gp3d_core.hashing import digest
from gp3d_core.licences.parts import NONE, Licences
from gp3d_core.snapshots.metadata import SnapshotError, licence_facts, licences_in
from gp3d_core.snapshots.snapshot import described, fill_module, load_tensors, save_tensors
from gp3d_core.vq3d.config import Vq3dConfig, parse_config
from gp3d_core.vq3d.files.metadata import TOKENIZER_FORMAT, tokenizer_header
from gp3d_core.vq3d.models.tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenizerSnapshot:
    """A tokenizer ready to use: evaluation mode, no gradients, with what it was trained on.

    classes: records as in dataset.json ("label", "name", ...), [] without labels. digest: SHA-256 of the file.
    licences: of what it has learnt from, none in files of older versions.
    """

    tokenizer: Tokenizer
    config: Vq3dConfig
    classes: list[ClassRecord]
    nimg: int
    path: Path
    digest: str
    licences: Licences = NONE


def save_tokenizer(
    path: Path,
    tokenizer: nn.Module,
    config: Vq3dConfig,
    classes: list[ClassRecord],
    nimg: int,
    licences: Licences = NONE,
) -> None:
    """Writes the weights of `tokenizer`, whole or not at all; `licences` are those of what it has learnt from."""
    facts = {"config": to_dict(config), "classes": classes, "nimg": nimg, **licence_facts(licences)}
    save_tensors(path, TOKENIZER_FORMAT, dict(tokenizer.state_dict()), facts)


def load_tokenizer(path: str | Path, device: torch.device | str = "cpu") -> TokenizerSnapshot:
    """Reads a tokenizer. Raises SnapshotError for a file that is missing, damaged, or of another format or version."""
    path = Path(path)
    facts = tokenizer_header(path)
    try:
        config, classes, nimg, licences = (
            parse_config(facts["config"]),
            class_records(facts["classes"]),
            int(facts["nimg"]),
            licences_in(facts),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SnapshotError(
            f"{path} was written by another version of gp3d ({error}); use that version"
        ) from error
    tensors = load_tensors(path)
    described("tokenizer", lambda: Tokenizer(config), tensors, path)
    tokenizer = Tokenizer(config)
    fill_module(tokenizer, tensors, path)
    tokenizer.to(device).eval().requires_grad_(False)
    return TokenizerSnapshot(tokenizer, config, classes, nimg, path, digest(path), licences)

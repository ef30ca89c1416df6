"""Tokenizers and code priors made ready to travel: half the bytes.

A code prior is made of the codes of one tokenizer file. Ship the tokenizer first, and train the prior on that.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from gp3d_core.snapshots.metadata import SnapshotError, kind_of
from gp3d_core.vq3d.files.metadata import PRIOR_FORMAT
from gp3d_core.vq3d.files.prior_file import load_prior, save_prior
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer


def ship(file: Path, out: Path) -> None:
    """Writes the tokenizer or code prior `file` in half precision to `out`, whose suffix is .safetensors.

    Raises SnapshotError for other files, another suffix, and weights that half precision cannot hold.
    """
    if out.suffix != ".safetensors":
        raise SnapshotError(f"{out}: expected the name of a .safetensors file")
    if not file.is_file():
        raise SnapshotError(f"no tokenizer or prior at {file}")
    if out.exists() and out.samefile(file):
        raise SnapshotError(
            f"{out} is the model itself, which half precision would replace; give another name"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    if kind_of(file) == PRIOR_FORMAT:
        prior = load_prior(file)
        _halve(prior.prior, file)
        digest, licences = prior.tokenizer.digest, prior.licences
        save_prior(out, prior.prior, prior.config, prior.classes, prior.nimg, digest, licences)
    else:
        tokenizer = load_tokenizer(file)
        _halve(tokenizer.tokenizer, file)
        made, licences = tokenizer.tokenizer, tokenizer.licences
        save_tokenizer(out, made, tokenizer.config, tokenizer.classes, tokenizer.nimg, licences)


def _halve(module: nn.Module, file: Path) -> None:
    for name, tensor in module.half().state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise SnapshotError(f"{file}: {name} holds numbers that half precision cannot; keep it whole")

"""Code priors on disk: safetensors with facts as JSON in the header, format gp3d-vq3d-prior, version 1.

A code prior goes with the codes of one tokenizer and of no other. It holds that tokenizer's hash; its run folder has a
copy, tokenizer.safetensors.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gp3d_core.atomic import replacing
from gp3d_core.config.schema import to_dict
from gp3d_core.datasets.imagenet import ClassRecord, class_records
from gp3d_core.licences.parts import NONE, Licences
from gp3d_core.rng import generator_for
from gp3d_core.signals import Progress, no_progress
from gp3d_core.snapshots.metadata import SnapshotError, licence_facts, licences_in, read_header
from gp3d_core.snapshots.snapshot import described, fill_module, load_tensors, save_tensors
from gp3d_core.vq3d.config import SamplingError, Vq3dConfig, parse_config
from gp3d_core.vq3d.files.metadata import PRIOR_FORMAT, find_prior, find_tokenizer, label_of
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot, load_tokenizer
from gp3d_core.vq3d.models.prior import Prior, Sampling

TOKENIZER = "tokenizer.safetensors"  # the copy in a prior's run folder


@dataclass(frozen=True)
class PriorSnapshot:
    """A code prior ready to use, the tokenizer of its codes, and the records of the classes that it knows."""

    prior: Prior
    tokenizer: TokenizerSnapshot
    config: Vq3dConfig
    classes: list[ClassRecord]
    nimg: int
    path: Path
    licences: Licences = NONE

    def label_of(self, class_name: str | None, report: Callable[[str], object] | None = None) -> int:
        """The label of the class that `class_name` means; of "any" for None.

        `report` hears which class was taken for a word that is not its name: "mug → coffee mug". Raises
        UnknownClassError for a class that the code prior does not know, SamplingError if it knows none.
        """
        return label_of(class_name, self.classes, self.path, report)

    def name_of(self, class_name: str | None, report: Callable[[str], object] | None = None) -> str:
        """The name of the class that `class_name` means; "any" for None. Hears and raises as `label_of`."""
        label = self.label_of(class_name, report)
        return str(self.classes[label]["name"]) if label < len(self.classes) else "any"

    def sample(
        self,
        class_name: str | None,
        seeds: Sequence[int],
        sampling: Sampling,
        progress: Progress = no_progress,
    ) -> Tensor:
        """Codes [B,N] of the class `class_name`, one row for each of the B `seeds`; a seed gives the same row anywhere.

        `progress` hears of the stage codes. Raises as `label_of`, and SamplingError for what the
        code prior never learnt: to do without a class, or guidance.
        """
        device, label = self.prior.head.weight.device, self.label_of(class_name)
        self._check_class(label, sampling)
        labels = torch.full((len(seeds),), label, device=device)
        draws = torch.stack(
            [torch.rand(self.prior.length, generator=generator_for("codes", seed)) for seed in seeds]
        )
        return self.prior.sample(labels, draws.to(device), sampling, progress)

    def _check_class(self, label: int, sampling: Sampling) -> None:
        """Without dropped classes the row of "any" was never trained; without a class nothing is guided."""
        guided, anything = sampling.guidance != 1.0, label == len(self.classes)
        if guided and anything:
            raise SamplingError(
                "guidance other than 1 goes towards a class; name one with `class_name`, or leave `guidance` out"
            )
        if self.classes and self.config.prior.class_dropout == 0 and (guided or anything):
            remedy = (
                "leave `guidance` out"
                if guided
                else f"name one with `class_name`, e.g. {self.classes[0]['name']}"
            )
            raise SamplingError(
                f"{self.path} never learnt to do without a class (prior.class_dropout=0); {remedy}"
            )


def build_prior(config: Vq3dConfig, classes: int) -> Prior:
    """A fresh prior over the codes of a tokenizer of that configuration; 0 `classes` for data without labels."""
    return Prior(config.prior, config.grid, config.codebook.size, classes)


def save_prior(
    path: Path,
    prior: Prior,
    config: Vq3dConfig,
    classes: list[ClassRecord],
    nimg: int,
    tokenizer: str,
    licences: Licences = NONE,
) -> None:
    """Writes the weights, whole or not at all; `tokenizer` is the hash of the tokenizer's file.

    `licences` are those of what it and its tokenizer have learnt from.
    """
    facts = {"config": to_dict(config), "classes": classes, "nimg": nimg, "tokenizer": tokenizer}
    facts |= licence_facts(licences)
    save_tensors(path, PRIOR_FORMAT, dict(prior.state_dict()), facts)


def load_prior(
    path: Path, tokenizer: Path | None = None, device: torch.device | str = "cpu"
) -> PriorSnapshot:
    """Reads the code prior at `path`, see `find_prior`, and its tokenizer: `tokenizer`, or the copy.

    Raises SnapshotError for a file that is missing, damaged, of another version, or for another tokenizer.
    """
    file = find_prior(path)
    facts = read_header(file, PRIOR_FORMAT)
    try:
        config, classes = parse_config(facts["config"]), class_records(facts["classes"])
        nimg, named, licences = int(facts["nimg"]), str(facts["tokenizer"]), licences_in(facts)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SnapshotError(
            f"{file} was written by another version of gp3d ({error}); use that version"
        ) from error
    source = _tokenizer_of(file) if tokenizer is None else tokenizer
    source = find_tokenizer(source)
    snapshot = load_tokenizer(source, device)
    if (found := snapshot.digest) != named:
        raise SnapshotError(
            f"{file} predicts the codes of tokenizer {named[:12]}, {source} is {found[:12]}; "
            "name the one that it was trained on"
        )
    tensors = load_tensors(file)
    described("prior", lambda: build_prior(config, len(classes)), tensors, file)
    prior = build_prior(config, len(classes))
    fill_module(prior, tensors, file)
    prior.to(device).eval().requires_grad_(False)
    return PriorSnapshot(prior, snapshot, config, classes, nimg, file, licences)


def _tokenizer_of(file: Path) -> Path:
    """The tokenizer's copy in the run folder that `file` lies in, or beside `file`."""
    places = [file.parent / TOKENIZER, file.parent.parent / TOKENIZER]
    for place in places:
        if place.is_file():
            return place
    raise SnapshotError(
        f"no {TOKENIZER} beside {file} or in its run folder; name the tokenizer with `tokenizer`"
    )


def keep_tokenizer(source: Path, run: Path) -> None:
    """Copies the tokenizer file `source` into the prior's run folder, whole or not at all, if it is not there yet."""
    if not (run / TOKENIZER).is_file():
        with replacing(run / TOKENIZER) as temporary:
            shutil.copyfile(source, temporary)

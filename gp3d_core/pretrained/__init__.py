"""The pretrained model: GP3D brings one of its own, for all that is made without naming a snapshot.

`model.safetensors` beside this file is an ordinary snapshot in half precision (docs/snapshot.md, docs/model-card.md).
"""

from __future__ import annotations

from pathlib import Path

from gp3d_core.errors import GP3DError

NAME = "box"  # what recipes and the worker call it: it is another file on every machine
LICENSE = "Apache-2.0"  # of the model, and so of what it makes (docs/model-card.md)
ORIGIN = "GP3D's own procedural shapes, and nobody else's models"  # what it learnt from
FOLDER = Path(__file__).resolve().parent  # the model, and in vq3d/ a tokenizer and a prior (docs/vq3d.md)


class PretrainedError(GP3DError):
    """The pretrained model is not there; the message says what to do."""


def pretrained_path() -> Path:
    """Where the model lies. Raises PretrainedError if it is not there."""
    if not has_pretrained():
        raise PretrainedError(
            f"the pretrained model is not at {_model()}: install gp3d again, or name a snapshot or run folder"
        )
    return _model()


def _model() -> Path:
    return FOLDER / "model.safetensors"


def vq3d_tokenizer() -> Path:
    """Where the tokenizer of VQ3D lies. Raises PretrainedError if it is not there."""
    return _vq3d_file("tokenizer")


def vq3d_prior() -> Path:
    """Where the prior over its codes lies. Raises PretrainedError if it is not there."""
    return _vq3d_file("prior")


def _vq3d_file(name: str) -> Path:
    file = FOLDER / "vq3d" / f"{name}.safetensors"
    if not file.is_file():
        raise PretrainedError(
            f"the pretrained {name} is not at {file}: install gp3d again, or name a file or run folder"
        )
    return file


def has_pretrained() -> bool:
    """Whether the model is there."""
    return _model().is_file()


def name_of(snapshot: Path) -> str:
    """What the snapshot at this path is called on every machine: "box", or the name of its file."""
    return NAME if snapshot.resolve() == _model() else snapshot.name

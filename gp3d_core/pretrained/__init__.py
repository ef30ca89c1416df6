"""The pretrained models: GP3D brings some of its own, for all that is made without naming a snapshot.

`MODELS` lists them; those whose file lies beside this one are there. Each is an ordinary snapshot in half precision
(docs/snapshot.md, docs/model-card.md), and its name stands for its path wherever a model is named.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from gp3d_core.errors import GP3DError
from gp3d_core.hashing import digest

NAME = "box"  # the main one; recipes and the worker call it so: its path differs from machine to machine
LICENSE = "Apache-2.0"  # of the model, and so of what it makes (docs/model-card.md)
ORIGIN = "GP3D's own procedural shapes, and nobody else's models"  # what it learnt from
FOLDER = Path(__file__).resolve().parent  # the models, and in vq3d/ a tokenizer and a prior (docs/vq3d.md)


class PretrainedError(GP3DError):
    """A pretrained model that is not there; the message says what to do."""


@dataclass(frozen=True)
class Shipped:
    """A model that may come along: its `name`, and its `file` in FOLDER.

    One that is `only_named` is never used for a class unless the model is named: an older one, which recipes need. Of
    one that is `own`, a file that says nothing of licences is Apache-2.0 and made from procedural shapes alone.
    """

    name: str
    file: str
    only_named: bool = False
    own: bool = False

    @property
    def path(self) -> Path:
        """Where its file lies, if it is there."""
        return FOLDER / self.file


# In the order in which they are asked for a class. The main file keeps its name when its content changes: scripts name
# its path. The one before it stays as `box-1`, for recipes, which find it by its hash.
MODELS = (
    Shipped(NAME, "model.safetensors", own=True),
    Shipped("zoo", "zoo.safetensors"),
    Shipped("box-1", "box-1.safetensors", only_named=True, own=True),
)


@dataclass(frozen=True)
class Release:
    """A file that GP3D has brought: its SHA-256, its name then and `now`, its number of classes, the first version."""

    sha256: str
    name: str
    now: str
    classes: int
    version: str


# What the recipes of earlier versions may need. A file that another replaces gets its line here.
RELEASES = (
    Release("87ab32c58256bb6fb706c60b81e4a38088dd4debcfdfd3810d236606090cc56d", NAME, "box-1", 48, "0.1.0"),
)


def shipped_models(*, also_named: bool = False) -> list[Shipped]:
    """The models that are there and are asked for classes, in that order; `also_named`: all that are there."""
    return [one for one in MODELS if one.path.is_file() and (also_named or not one.only_named)]


def has_pretrained(name: str = NAME) -> bool:
    """Whether the model of that name is there."""
    return any(one.name == name and one.path.is_file() for one in MODELS)


def pretrained_path(name: str = NAME) -> Path:
    """Where the model of that name lies. Raises PretrainedError if it is not there, or if there is none such."""
    shipped = next((one for one in MODELS if one.name == name), None)
    if shipped is None:
        raise PretrainedError(f"no pretrained model is called {name}; {_listing()}")
    if not shipped.path.is_file():
        which = "" if name == NAME else f" {name}"
        raise PretrainedError(
            f"the pretrained model{which} is not at {shipped.path}: install gp3d again, or name a snapshot or run "
            "folder"
        )
    return shipped.path


def is_name(text: str) -> bool:
    """Whether `text` is the name of a pretrained model, which need not be there."""
    return any(one.name == text for one in MODELS)


def nearest_name(text: str) -> str:
    """The name of the pretrained model that `text` may be a slip for; "" if none is near."""
    names = [one.name for one in shipped_models(also_named=True)]
    return next(iter(difflib.get_close_matches(text.lower(), names, 1)), "")


def shipped_with(sha256: str) -> Path | None:
    """The model that comes along and has this SHA-256, whole or its beginning; None if there is none."""
    return next(
        (
            one.path
            for one in shipped_models(also_named=True)
            if sha256 and digest(one.path).startswith(sha256)
        ),
        None,
    )


def release_of(sha256: str) -> Release | None:
    """What is known of the file with this SHA-256, if GP3D has brought it."""
    return next((one for one in RELEASES if one.sha256 == sha256), None)


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


def name_of(snapshot: Path) -> str:
    """What the snapshot at this path is called on every machine: "box", "zoo", …, or the name of its file."""
    shipped = _at(snapshot)
    return snapshot.name if shipped is None else shipped.name


def is_own(file: Path) -> bool:
    """Whether the file comes along and, where it says nothing itself, was made from ORIGIN, under LICENSE."""
    shipped = _at(file)
    return file.resolve().is_relative_to(FOLDER) if shipped is None else shipped.own


def _at(path: Path) -> Shipped | None:
    found = path.resolve()
    return next((one for one in MODELS if one.path == found), None)


def _listing() -> str:
    names = ", ".join(one.name for one in shipped_models(also_named=True))
    return f"those that are here: {names}" if names else "none is here: install gp3d again"

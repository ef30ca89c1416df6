"""A family of objects: one ImageNet class and the function that builds its models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthetic.shapes.draw import Draw
from synthetic.shapes.parts import Part

LIBRARY_VERSION = 2  # part of every model id: raise it when any family builds something else than before

SHAPENET_NAMES = {
    "02691156": "airplane",
    "02828884": "bench",
    "02871439": "bookshelf",
    "02876657": "bottle",
    "02924116": "bus",
    "02933112": "cabinet",
    "02958343": "car",
    "03001627": "chair",
    "03046257": "clock",
    "03467517": "guitar",
    "03593526": "jar",
    "03636649": "lamp",
    "03642806": "laptop",
    "03710193": "mailbox",
    "03797390": "mug",
    "03991062": "flowerpot",
    "04256520": "sofa",
    "04379243": "table",
    "04460130": "tower",
    "04468005": "train",
    "04554684": "washer",
}


@dataclass(frozen=True)
class Family:
    """One ImageNet class with its builder.

    `build` draws the parameters of one model and returns its parts, in any unit: +Y up, front towards -Z.
    """

    name: str  # first WordNet lemma
    imagenet_index: int
    wnid: str
    synset: str | None  # ShapeNetCore synset offset, where the class falls under one
    build: Callable[[Draw], list[Part]]

    @property
    def folder(self) -> str:
        """Folder of the class in a ShapeNet layout: the ShapeNet synset, else the class's own WordNet offset."""
        return self.synset or self.wnid[1:]


@dataclass(frozen=True)
class Model:
    """One built object with the choices that made it."""

    family: Family
    seed: int
    index: int
    parameters: dict[str, float | int | str | bool]
    parts: list[Part]


def model_id(family: Family, seed: int, index: int) -> str:
    """The model's name: 32 hexadecimal digits that depend on class, seed, index and library version only."""
    key = f"{family.wnid}/{seed}/{index}/{LIBRARY_VERSION}"
    return hashlib.blake2s(key.encode(), digest_size=16).hexdigest()


def build_model(family: Family, seed: int, index: int) -> Model:
    """The model number `index` (from 0) of a family; it does not depend on how many others are made."""
    draw = Draw(np.random.default_rng([seed, int(family.wnid[1:]), index]))
    parts = family.build(draw)
    return Model(family, seed, index, draw.record, parts)

"""Writes synthetic/layouts/imagenet.tsv: the classes of ImageNet-1k, and the category of ShapeNetCore that each is in.

    .venv/bin/python tools/synthetic_classes.py

It is made from gp3d_core/datasets/imagenet.tsv and the hypernyms of words.tsv.gz, because packages never import one
another. A class is in the nearest category above it in WordNet; a few stand below none and are given here.
"""

from __future__ import annotations

from pathlib import Path

from gp3d_core.datasets.word_table import WordTable
from synthetic.layouts.taxonomy import SHAPENET_CATEGORIES

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "synthetic/layouts/imagenet.tsv"
_HEAD = """\
# The 1000 classes of ImageNet-1k: index, WordNet id, names, and the ShapeNetCore category that the class is in, if any.
# Made by tools/synthetic_classes.py. Names: WordNet 3.0, (c) 2006 Princeton University, free for any purpose under the
# WordNet licence (this notice must stay); index and order: the timm project, Apache-2.0.
"""
# As people and ShapeNetCore's own folders file them, where WordNet does not.
_ALSO = {
    "n02870880": "02871439",  # bookcase: bookshelf
    "n03201208": "04379243",  # dining table: table
    "n04310018": "04468005",  # steam locomotive: train
    "n04562935": "04460130",  # water tower: tower
}


def category(words: WordTable, wnid: str) -> str:
    """The nearest category above a WordNet id, "" for none."""
    if wnid in _ALSO:
        return _ALSO[wnid]
    names = {number: name[1:] for name, number in words.number.items()}
    steps = {names[kind]: far for kind, far in words.above(words.number[wnid]).items()}
    return min(
        steps.keys() & SHAPENET_CATEGORIES.keys(), key=lambda synset: (steps[synset], synset), default=""
    )


def table() -> str:
    """The text of imagenet.tsv."""
    words = WordTable()
    lines = (ROOT / "gp3d_core/datasets/imagenet.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")][1:]
    body = [f"{index}\t{wnid}\t{names}\t{category(words, wnid)}\n" for index, wnid, names, _ in rows]
    return _HEAD + "".join(body)


if __name__ == "__main__":
    TARGET.write_text(table(), encoding="utf-8")

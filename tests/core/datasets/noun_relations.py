"""Writes nouns.tsv, what English nouns have to do with ImageNet's classes as WordNet's own program tells it.

    python tests/core/datasets/noun_relations.py wn DICT

`wn` is WordNet 3.0's command (package wordnet of Debian), DICT the folder of its files. A noun and a class are related
when one is a hypernym of the other in some sense, or both are the same. The nouns are the 2500 most frequent ones of
WordNet's tagged texts, and all others that are a slip away from a class's name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from gp3d_core.datasets.imagenet import imagenet_classes

_MOST = 2500


def senses(program: str, noun: str) -> list[set[str]]:
    """For each sense of `noun` the ids of its synset and of all above it, the synset's own first in a list of one."""
    found = subprocess.run(
        [program, noun, "-hypen", "-o"], capture_output=True, text=True, check=False
    ).stdout
    blocks = re.split(r"^Sense \d+$", found, flags=re.MULTILINE)[1:]
    return [{"n" + offset for offset in re.findall(r"\{(\d{8})\}", block)} | {own(block)} for block in blocks]


def own(block: str) -> str:
    """The id of a sense itself."""
    return "=n" + re.findall(r"\{(\d{8})\}", block)[0]


def frequent_nouns(folder: Path) -> list[str]:
    """Nouns of one word in lower case, the most frequent of WordNet's tagged texts first."""
    counts: dict[str, int] = {}
    for line in (folder / "cntlist.rev").read_text().splitlines():
        key, _, count = line.split()
        lemma, _, kind = key.partition("%")
        if kind.startswith("1:") and re.fullmatch("[a-z]{3,}", lemma):
            counts[lemma] = counts.get(lemma, 0) + int(count)
    return sorted(counts, key=lambda lemma: (-counts[lemma], lemma))


def slips(word: str) -> set[str]:
    """All words one letter away."""
    halves = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    letters = "abcdefghijklmnopqrstuvwxyz"
    shorter = {left + right[1:] for left, right in halves if right}
    other = {left + letter + right[1:] for left, right in halves if right for letter in letters}
    return shorter | other | {left + letter + right for left, right in halves for letter in letters}


def main(program: str, folder: Path) -> None:
    """Writes the file beside this one."""
    os.environ["WNSEARCHDIR"] = str(folder)
    nouns = frequent_nouns(folder)
    names = {name.lower() for entry in imagenet_classes() for name in entry.names}
    everything = {
        line.split()[0] for line in (folder / "index.noun").read_text().splitlines() if line[0] != " "
    }
    near = {noun for name in names for noun in slips(name) & everything if len(noun) > 4 and "_" not in noun}
    chosen = sorted({*nouns[:_MOST], *near})
    above = {}
    for entry in imagenet_classes():
        blocks = [block for name in entry.names for block in senses(program, name.replace(" ", "_"))]
        above[entry.index] = next(block for block in blocks if f"={entry.wnid}" in block)
    rows = []
    for noun in chosen:
        blocks = senses(program, noun)
        own_ids = {text[1:] for block in blocks for text in block if text[0] == "="}
        over = {text for block in blocks for text in block}
        related = [c.index for c in imagenet_classes() if own_ids & above[c.index] or c.wnid in over]
        rows.append(f"{noun}\t{','.join(map(str, related))}\n")
    head = "# Nouns and the indices of the ImageNet classes that WordNet 3.0 relates to them; see noun_relations.py.\n"
    Path(__file__).with_name("nouns.tsv").write_text(head + "".join(rows))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

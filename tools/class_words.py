"""Makes the table of words by which classes are found, gp3d_core/datasets/words.tsv.gz, out of WordNet 3.0.

    .venv/bin/python tools/class_words.py FOLDER

FOLDER holds WordNet's data.noun, index.noun, noun.exc and the indices of the other word classes: on Debian and Ubuntu
/usr/share/wordnet of the package wordnet-base, else `dict` of WordNet-3.0.tar.gz. The same input gives the same bytes.
tools/build_addon.py --classes brings it to the add-on. docs/classes.md says what the table holds.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from gp3d_core.datasets.class_names import plain
from gp3d_core.datasets.imagenet import imagenet_classes
from synthetic.layouts.taxonomy import SHAPENET_CATEGORIES

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "gp3d_core/datasets/words.tsv.gz"
EVERYDAY = ROOT / "tools/everyday_words.tsv"
NOTICE = (
    "# Nouns of WordNet 3.0, (c) 2006 Princeton University, free for any purpose under the WordNet licence (this "
    "notice must stay), and the kinds of things they name. Made by tools/class_words.py; see docs/classes.md.\n"
)
# Kinds so wide that their own names say nothing: who types "object" or "organism" means no class.
TOO_WIDE = frozenset(
    {
        "n00001740",  # entity
        "n00001930",  # physical entity
        "n00002137",  # abstraction
        "n00002452",  # thing
        "n00002684",  # object
        "n00003553",  # whole
        "n00004258",  # living thing
        "n00004475",  # organism
        "n00007347",  # causal agent
        "n00019613",  # substance, stuff
        "n00020090",  # substance, matter
        "n00020827",  # matter
        "n00021939",  # artifact
        "n00022903",  # article
        "n00024720",  # state
        "n00031264",  # group
        "n00033020",  # communication
        "n00019128",  # natural object
        "n00027167",  # location
        "n00023100",  # psychological feature
        "n00024264",  # attribute
        "n00031921",  # relation
        "n13809207",  # part
        "n15046900",  # solid
        "n03575240",  # instrumentality
    }
)
# Kinds of which two classes need not be alike: the only thing that "sword" and "gas pump" share.
TOO_GENERAL = TOO_WIDE | {
    "n03183080",  # device
    "n03294048",  # equipment
    "n03563967",  # implement
    "n03699975",  # machine
    "n03738472",  # mechanism
    "n03076708",  # commodity
    "n03093574",  # consumer goods
    "n03122748",  # covering
    "n04341686",  # structure
}
PERSON = "n00007846"  # 10,000 nouns name people by what they do, and no model makes them
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class WordNet:
    """The nouns of a WordNet folder: synsets by id ("n02084071"), and the synsets of each lemma, usual ones first."""

    def __init__(self, folder: Path) -> None:
        self.parents: dict[str, tuple[str, ...]] = {}
        self.written: dict[str, set[str]] = {}  # lemma in lower case: as synsets spell it
        for row in _rows(folder / "data.noun"):
            fields = row.split("|", 1)[0].split()
            count = int(fields[3], 16)
            for word in fields[4 : 4 + 2 * count : 2]:
                self.written.setdefault(word.lower(), set()).add(word)
            pointers = fields[5 + 2 * count :]
            above = zip(pointers[::4], pointers[1::4], pointers[2::4], strict=False)
            self.parents["n" + fields[0]] = tuple(f"n{to}" for sign, to, pos in above if sign in ("@", "@i"))
        self.senses: dict[str, tuple[str, ...]] = {}
        for row in _rows(folder / "index.noun"):
            lemma, _, count_text, *rest = row.split()
            self.senses[lemma] = tuple("n" + offset for offset in rest[-int(count_text) :])
        self._above: dict[str, frozenset[str]] = {}
        self.plurals = [row.split()[:2] for row in _rows(folder / "noun.exc")]
        self.others = {
            row.split()[0] for part in ("verb", "adj", "adv") for row in _rows(folder / f"index.{part}")
        }

    def above(self, synset: str) -> frozenset[str]:
        """The synset and all its hypernyms."""
        if synset not in self._above:
            above = (self.above(parent) for parent in self.parents[synset])
            self._above[synset] = frozenset({synset}).union(*above)
        return self._above[synset]

    def nearest(self, synset: str, among: frozenset[str]) -> tuple[str, ...]:
        """The synset itself if it is `among` those, else the first ones above it on every way up."""
        if synset in among:
            return (synset,)
        found = (kind for parent in self.parents[synset] for kind in self.nearest(parent, among))
        return tuple(dict.fromkeys(found))


def _rows(path: Path) -> Iterator[str]:
    """Lines of a WordNet file without the licence at its head, which is indented."""
    with path.open(encoding="latin-1") as lines:
        yield from (line.rstrip("\n") for line in lines if not line.startswith("  "))


def table(folder: Path) -> str:
    """The table as text: the notice, the kinds, the words, irregular plurals and everyday words."""
    net, classes = WordNet(folder), imagenet_classes()
    wanted = [entry.wnid for entry in classes] + [f"n{synset}" for synset in SHAPENET_CATEGORIES]
    kinds = sorted(frozenset().union(*(net.above(wnid) for wnid in wanted)))
    number = {kind: place for place, kind in enumerate(kinds)}
    leaves = {entry.wnid for entry in classes}
    rows = [NOTICE, "[kinds]\n"]
    for kind in kinds:
        mark = "*" if kind in leaves else "!" if kind in TOO_GENERAL else ""
        rows.append(f"{kind}\t{mark}\t{','.join(str(number[parent]) for parent in net.parents[kind])}\n")
    words = _words(net, number)
    known = set(words) | {plain(name) for entry in classes for name in entry.names}
    for word in _mistakable(net, known):
        words.setdefault(word, "")
    rows += ["[words]\n", *(f"{word}\t{senses}\n" for word, senses in sorted(words.items()))]
    plurals = [(plural, single) for plural, single in net.plurals if words.get(single) and plural.isascii()]
    rows += ["[plurals]\n", *(f"{plural}\t{single}\n" for plural, single in sorted(plurals))]
    rows += ["[everyday]\n", *(f"{word}\t{ids}\n" for word, ids in sorted(everyday().items()))]
    return "".join(rows)


def _words(net: WordNet, number: Mapping[str, int]) -> dict[str, str]:
    """For every noun its senses, separated by spaces: numbers of kinds, with + where the word is a kind of that kind.

    A first sense that is near no kind is "-"; later ones are left out.
    Left out: names of persons, places, genera and the like, which begin with capitals, unless they name a kind, and
    compounds of which the last word says as much.
    """
    kinds = frozenset(number)
    found: dict[str, str] = {}
    for lemma, senses in net.senses.items():
        word = plain(lemma)
        if not word.isascii():
            continue
        if lemma not in net.written[lemma] and not kinds & set(senses):
            continue
        parts = found.get(word, "").split() + [
            _sense(net, sense, number) for sense in senses
        ]  # "go-kart", "go kart"
        kept = [part for place, part in enumerate(parts) if part != "-" or not place]
        found[word] = " ".join(dict.fromkeys(kept)) if kept != ["-"] else ""
    return {word: senses for word, senses in found.items() if not _is_said_by_head(word, found)}


def _sense(net: WordNet, sense: str, number: Mapping[str, int]) -> str:
    """A sense as the table has it; "-" if it is near nothing."""
    if sense in number:
        return "-" if sense in TOO_WIDE else str(number[sense])
    above = [kind for kind in net.nearest(sense, frozenset(number)) if kind not in TOO_GENERAL]
    if PERSON in net.above(sense) or not above:
        return "-"
    return ",".join(f"{number[kind]}+" for kind in above)


def _is_said_by_head(word: str, words: Mapping[str, str]) -> bool:
    """Whether the last word of a compound stands for the same kinds or more: "rag doll" is a doll."""
    *first, head = word.split(" ")
    if not first or head not in words:
        return False
    senses = words[word].split()
    if any(not sense.endswith(("+", "-")) for sense in senses):
        return False  # the name of a kind
    return {sense.replace("+", "") for sense in senses} <= {s.replace("+", "") for s in words[head].split()}


def _mistakable(net: WordNet, known: Collection[str]) -> set[str]:
    """Words of any sort so like a known one that they could be taken for its misspelling, though they exist."""
    targets = {word.replace(" ", "") for word in known if len(word) >= 4}
    targets |= {f"{word}s" for word in targets}
    others = {word for word in map(plain, net.others | set(net.senses)) if " " not in word and word.isascii()}
    long_targets = targets & {word for word in targets if len(word) >= 9}
    near_long = {one for word in long_targets for one in edits(word, replace=False)}
    found = set()
    for word in others - set(known):
        if len(word) < 5:
            continue
        if targets & edits(word) or (len(word) >= 8 and near_long & edits(word, replace=False)):
            found.add(word)
    return found


def edits(word: str, replace: bool = True) -> set[str]:
    """All words one deletion, transposition, replacement or insertion away; without `replace` deletions only."""
    halves = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    found = {left + right[1:] for left, right in halves if right}
    if replace:
        found |= {left + right[1] + right[0] + right[2:] for left, right in halves if len(right) > 1}
        found |= {left + letter + right[1:] for left, right in halves if right for letter in _LETTERS}
        found |= {left + letter + right for left, right in halves for letter in _LETTERS}
    return found


def everyday(path: Path = EVERYDAY) -> dict[str, str]:
    """WordNet ids for each everyday word: separated by commas for classes that are meant alike, by ; the next best.

    Or "=" and the word that it stands for. Raises ValueError for a row that names no class, or a word twice.
    """
    wnids: dict[str, list[str]] = {}
    for entry in imagenet_classes():
        wnids.setdefault(entry.name, []).append(entry.wnid)
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        word, _, answer = line.partition("\t")
        if answer.startswith("="):
            found[word] = answer
            continue
        levels = [level.split(", ") for level in answer.split("; ")]
        unknown = [name for level in levels for name in level if name not in wnids]
        if unknown or word in found or word in (name for level in levels for name in level):
            raise ValueError(f"{path.name}: {line!r} names no class, or a word once more {unknown}")
        found[word] = ";".join(",".join(wnid for name in level for wnid in wnids[name]) for level in levels)
    return found


def write(text: str) -> None:
    """Writes the table, compressed; the same text gives the same bytes."""
    with TABLE.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(text.encode("ascii"))


def main() -> int:
    """Entry point; exit code 2 and one line if the folder holds no WordNet."""
    parser = argparse.ArgumentParser(description="Make the table of words by which classes are found.")
    parser.add_argument("folder", type=Path, help="of WordNet 3.0, e.g. share/wordnet of wordnet-base")
    options = parser.parse_args()
    try:
        write(table(options.folder))
    except (OSError, ValueError) as error:
        print(f"class_words: {error}", file=sys.stderr)
        return 2
    print(f"{TABLE} ({TABLE.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")

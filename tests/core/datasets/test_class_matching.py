"""What typed words mean, for the pretrained model's 48 classes and for all of ImageNet's 1000."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

import gp3d_core
from gp3d_core.datasets.class_matching import ClassMatcher
from gp3d_core.datasets.class_names import Candidate, ClassNames
from gp3d_core.datasets.imagenet import (
    AmbiguousClassError,
    UnknownClassError,
    choose_class,
    choose_classes,
    classes_by_kind,
    imagenet_classes,
)
from gp3d_core.datasets.misspellings import slips, within
from gp3d_core.datasets.word_table import word_table
from gp3d_core.generation.objects import object_specs

EVERYDAY = Path(__file__).parents[3] / "tools/everyday_words.tsv"

# The model that comes along, by index; the tests need no file of it.
BOX = (
    *(
        1,
        113,
        145,
        402,
        417,
        425,
        427,
        430,
        437,
        463,
        468,
        470,
        492,
        504,
        515,
        532,
        541,
        571,
        620,
        637,
        719,
        738,
    ),
    *(
        779,
        805,
        808,
        831,
        846,
        849,
        850,
        851,
        852,
        857,
        883,
        897,
        907,
        920,
        928,
        932,
        933,
        934,
        945,
        947,
        948,
        949,
    ),
    *(950, 953, 954, 988),
)
RECORDS = [
    {"label": label, "name": imagenet_classes()[index].name, "imagenet_index": index}
    for label, index in enumerate(BOX)
]
EVERYTHING = [{"label": c.index, "name": c.name, "imagenet_index": c.index} for c in imagenet_classes()]

LINES = Path(__file__).with_name("typed_words.txt").read_text(encoding="utf-8").splitlines()
CASES = [tuple(cell.strip() for cell in line.split("|")) for line in LINES if not line.startswith("#")]


def candidates(indices: Iterable[int]) -> ClassNames:
    return ClassNames(Candidate(c.names, c.wnid, c.index) for c in (imagenet_classes()[i] for i in indices))


MATCHERS = {
    "pretrained": ClassMatcher(candidates(BOX), candidates(range(1000))),
    "imagenet": ClassMatcher(candidates(range(1000)), candidates(range(1000))),
}


@pytest.mark.parametrize("model", ["pretrained", "imagenet"])
def test_typed_words_mean_the_right_classes(model: str) -> None:
    matcher, column = MATCHERS[model], 1 if model == "pretrained" else 2
    wrong = []
    for case in CASES:
        match, expected = matcher.match(case[0]), case[column]
        names = [matcher.candidates[place].names[0] for place in match.found]
        if expected.startswith("~"):
            right = match.state == "none" and (expected == "~ " + names[0] if names else expected == "~")
        elif ";" in expected:
            wanted = expected.split("; ")
            right = match.state == "several" and all(names.count(n) >= wanted.count(n) for n in wanted)
        else:
            right = match.state in ("named", "taken") and names == [expected]
        wrong += [] if right else [f"{case[0]}: expected {expected}, found {match.state} {names[:5]}"]
    assert not wrong, "\n".join(wrong)
    assert len(CASES) >= 120


def test_a_class_that_is_taken_is_said_in_a_line() -> None:
    assert choose_class("mug", RECORDS).note == "mug → coffee mug"
    assert choose_class(" red  coffee mug ", RECORDS).note == "red coffee mug → coffee mug"
    for name in ("coffee mug", "Coffee-Mug", "504", "n03063599", "taxi"):
        assert choose_class(name, RECORDS).note == "", name


def test_what_a_model_lacks_is_said_with_the_nearest_in_kind() -> None:
    with pytest.raises(UnknownClassError) as caught:
        choose_class("dog", RECORDS)
    nearest = "'king penguin' (145), 'goldfish' (1) or 'snail' (113)"
    assert str(caught.value) == f"this model knows no 'dog'; nearest in kind: {nearest}"
    with pytest.raises(UnknownClassError) as caught:
        choose_class("golden retriever", RECORDS)
    assert str(caught.value).startswith("this model does not know 'golden retriever' (ImageNet 207); nearest")
    with pytest.raises(
        UnknownClassError, match=r"knows no 'sword'; it knows 48 classes, listed by gp3d classes$"
    ):
        choose_class("sword", RECORDS)


def test_what_several_classes_fit_lists_them() -> None:
    with pytest.raises(AmbiguousClassError) as caught:
        choose_class("hat", RECORDS)
    assert str(caught.value) == "'hat' may be 'cowboy hat' (515) or 'sombrero' (808); name one"
    with pytest.raises(
        AmbiguousClassError, match=r"'dog' may be one of 118 classes: .* and 106 more; name one"
    ):
        choose_class("dog")
    with pytest.raises(AmbiguousClassError, match=r"134 = n02012849, large .*; 517 = n03126707, lifts"):
        choose_class("crane")


def test_what_a_model_knows_is_listed_by_kind() -> None:
    kinds = {label: [str(record["name"]) for record in some] for label, some in classes_by_kind(RECORDS)}
    assert kinds["animals"] == ["goldfish", "snail", "king penguin"]
    assert kinds["furniture"] == ["dining table", "studio couch", "table lamp", "throne"]
    assert sorted(name for names in kinds.values() for name in names) == sorted(
        str(r["name"]) for r in RECORDS
    )
    every = {label: len(some) for label, some in classes_by_kind(EVERYTHING)}
    assert every["animals"] == 398
    assert sum(every.values()) == 1000
    assert every["others"] < 60


@pytest.mark.parametrize(
    ("queries", "labels"),
    [
        (["coffee mug,teapot"], [504, 849]),
        (["coffee mug , teapot,"], [504, 849]),
        (["mug,kettle", "504"], [504, 849]),
        (["pot, flowerpot"], [738]),  # as ImageNet's lists write a class
        (["cab, hack, taxi, taxicab", "1"], [468, 1]),
    ],
)
def test_commas_separate_classes(queries: list[str], labels: list[int]) -> None:
    assert [choice.entry.label for choice in choose_classes(queries, EVERYTHING)] == labels


def test_objects_are_asked_for_by_words_and_what_was_taken_is_reported() -> None:
    model = SimpleNamespace(path=Path("m.safetensors"), classes=RECORDS)
    heard: list[str] = []
    specs = object_specs(model, ["kettle, mug", "Teapot"], [3, 4], heard.append)
    assert [(spec.record["name"], spec.seed) for spec in specs] == [
        ("coffee mug", 3), ("coffee mug", 4), ("teapot", 3), ("teapot", 4),
    ]  # fmt: skip
    assert heard == ["kettle → teapot", "mug → coffee mug"]
    assert len(object_specs(model, None, [0])) == len(RECORDS)


def test_names_with_commas_are_one_class() -> None:
    known = [{"label": 0, "name": "cup, blue"}, {"label": 1, "name": "cup"}, {"label": 2, "name": "blue"}]
    chosen = [choice.entry.label for choice in choose_classes(["blue,cup, blue,cup"], known)]
    assert chosen == [2, 0, 1]
    assert choose_class("pot, flowerpot").entry.index == 738
    with pytest.raises(UnknownClassError, match="'mug, teapot' names several things; one class is expected"):
        choose_class("mug, teapot", RECORDS)
    with pytest.raises(UnknownClassError, match="unknown class ','"):
        choose_classes([","], known)


def test_classes_outside_imagenet_count_by_their_wordnet_id_or_name() -> None:
    known = [
        {"label": 0, "name": "canine", "imagenet_index": None, "wnid": "n02083346"},
        {"label": 1, "name": "class 1"},
        {"label": 2, "name": "blue gizmotron"},
        {"label": 3, "name": "spaceship"},
    ]
    said = {"dog": 0, "poodle": 0, "class 1": 1, "gizmotron": 2, "craft": 3, "golden retriever": 0}
    assert {word: choose_class(word, known).entry.label for word in said} == said
    with pytest.raises(UnknownClassError, match=r"does not know 'goldfish' \(ImageNet 1\)"):
        choose_class("1", known)  # is the index of ImageNet, not the end of "class 1"


@pytest.mark.parametrize("text", ["mgu", "vsae", "lmap", "pto", "bran", "brans"])
def test_short_words_are_never_corrected(text: str) -> None:
    with pytest.raises(UnknownClassError):
        choose_class(text, RECORDS)


@pytest.mark.parametrize(
    "text", ["phone", "tree", "bread", "chess", "pretzels", "candid", "bandana", "barrow", "vast"]
)
def test_words_that_exist_are_never_taken_for_misspellings(text: str) -> None:
    matcher = MATCHERS["pretrained"]
    names = {matcher.candidates[place].names[0] for place in matcher.match(text).found}
    assert not {"throne", "dining table", "chest", "candle", "banana", "barrel", "vase"} & names


def test_phrases_of_words_that_exist_are_not_misspelt() -> None:
    matcher = MATCHERS["imagenet"]
    assert [matcher.candidates[place].names[0] for place in matcher.match("sports car").found] == [
        "sports car"
    ]
    found = {matcher.candidates[place].names[0] for place in matcher.match("sports can").found}
    assert "sports car" not in found


def test_two_near_words_are_offered_not_taken() -> None:
    with pytest.raises(AmbiguousClassError, match=r"did you mean 'goldfinch' \(11\) or 'goldfish' \(1\)\?"):
        choose_class("goldfisch")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("banan", "'banana' (954)"),
        ("chaire", "'throne' (857)"),
        ("coffe", "'coffee mug' (504)"),  # not the chest, which is called a coffer, too
        ("tee pot", "'teapot' (849)"),  # words that exist: it may be a pot
        ("school buss", "'school bus' (779)"),
    ],
)
def test_misspellings_near_many_words_hint_at_the_class_among_them(text: str, meant: str) -> None:
    match = MATCHERS["pretrained"].match(text)
    assert (match.state, match.place) == ("several", None)
    assert match.note == f"unknown class '{text}': did you mean {meant}?"


@pytest.mark.parametrize(
    "text", ["mug teapot", "mug and teapot", "Coffee mug and a teapot", "red mug and tea pot", "teapot & mug"]
)
def test_of_several_classes_in_a_text_none_is_dropped(text: str) -> None:
    match = MATCHERS["pretrained"].match(text)
    names = {MATCHERS["pretrained"].candidates[place].names[0] for place in match.found}
    assert (match.state, match.place, names) == ("several", None, {"coffee mug", "teapot"})
    assert match.note.startswith(f"'{text}' names several things: '")
    assert match.note.endswith("; expected one, or commas between them")


@pytest.mark.parametrize("text", ["tree", "clock", "castle", "crown", "qqzzxx", "all", "1000", "-1", ""])
def test_what_is_near_nothing_is_answered_in_a_short_line(text: str) -> None:
    match = MATCHERS["pretrained"].match(text)
    assert (match.state, match.found) == ("none", ())
    assert match.note.endswith(" knows 48 classes, listed by gp3d classes")
    assert len(match.note) <= 200


def test_numbers_beyond_the_list_are_told_its_range() -> None:
    for text in ("1000", "-1"):
        with pytest.raises(
            UnknownClassError, match=f"unknown class '{text}': an ImageNet index is 0 to 999;"
        ):
            choose_class(text, RECORDS)


def test_slips_are_ranked_by_how_likely_they_are() -> None:
    ranked = slips("coffe")
    assert sum(map(len, ranked)) == len(set().union(*ranked) - {"coffe"})
    ranks = {word: rank for rank, texts in enumerate(ranked) for word in texts}
    assert [ranks[word] for word in ("ocffe", "coffee", "cofe", "coffer", "caffe", "toffe", "coff")] == [
        0, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert all(within("coffe", word, 1) for texts in ranked for word in texts)


def related_nouns() -> dict[str, set[int]]:
    """Nouns, and the indices of the classes that WordNet's own program relates to them (noun_relations.py)."""
    lines = Path(__file__).with_name("nouns.tsv").read_text(encoding="ascii").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return {noun: {int(index) for index in indices.split(",") if index} for noun, indices in rows}


def everyday_words() -> set[str]:
    lines = EVERYDAY.read_text(encoding="utf-8").splitlines()
    return {line.partition("\t")[0] for line in lines if not line.startswith("#")}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["pretrained", "imagenet"])
def test_nouns_mean_classes_of_their_kind_or_none(model: str) -> None:
    """What WordNet does not relate is neither taken nor offered, but for the words that a person has reviewed."""
    matcher, nouns, reviewed = MATCHERS[model], related_nouns(), everyday_words()
    assert len(nouns) > 4000
    meant_something, strange = 0, []
    for noun, related in nouns.items():
        match = matcher.match(noun)
        if match.state in ("none", "named") or noun in reviewed:
            continue
        meant_something += 1
        found = {matcher.candidates[place].index for place in match.found}
        strange += [] if found <= related else [f"{noun}: {found - related} ({match.note})"]
    assert not strange, strange
    assert meant_something > (30 if model == "pretrained" else 300)


def test_the_table_holds_the_reviewed_words_as_they_are() -> None:
    """Without WordNet at hand: the words of the table that do not come from it."""
    table, wnids = word_table(), {c.wnid: c.name for c in imagenet_classes()}
    for line in EVERYDAY.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            word, _, answer = line.partition("\t")
            levels = [list(dict.fromkeys(wnids[wnid] for wnid in level)) for level in table.everyday(word)]
            said = "; ".join(", ".join(level) for level in levels) or f"={table.stands_for(word)}"
            assert said == answer, word


def test_kinds_are_near_as_the_classes_they_share() -> None:
    table = word_table()
    dog, penguin, mushroom = (table.number[wnid] for wnid in ("n02084071", "n02056570", "n07734744"))
    assert table.size(dog) == 118
    assert table.distance(dog, penguin) == (337, 11)  # vertebrates, five and six steps up
    assert table.distance(dog, mushroom) is None
    assert table.distance(dog, dog) == (118, 0)


def test_table_is_small_names_its_licence_and_is_read_quickly() -> None:
    path = Path(gp3d_core.__path__[0], "datasets/words.tsv.gz")
    assert path.stat().st_size < 300_000
    assert "WordNet licence" in gzip.decompress(path.read_bytes())[:300].decode()


def test_names_are_found_without_torch_and_without_the_table() -> None:
    program = """
import sys
from gp3d_core.datasets import imagenet, word_table
known = [{"label": 0, "name": "coffee mug", "imagenet_index": 504}]
imagenet.choose_class("Coffee Mug", known)
assert not word_table.word_table.cache_info().currsize
imagenet.choose_class("mug", known)
assert word_table.word_table.cache_info().currsize
assert not {"torch", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

"""Finding ImageNet classes by what people type."""

import time
from pathlib import Path

import pytest

import gp3d_core
from gp3d_core.datasets.imagenet import (
    AmbiguousClassError,
    UnknownClassError,
    choose_classes,
    find_class,
    imagenet_classes,
)

KNOWN = [
    {"label": 0, "name": "coffee mug", "imagenet_index": 504, "wnid": "n03063599", "synset": "03797390"},
    {"label": 1, "name": "table lamp", "imagenet_index": 846, "wnid": "n04380533", "synset": "03636649"},
    {"label": 2, "name": "construction crane", "imagenet_index": 517, "wnid": "n03126707", "synset": None},
]
SHARED = {"crane": (134, 517), "cardigan": (264, 474), "maillot": (638, 639)}


def test_there_are_1000_classes_in_order():
    classes = imagenet_classes()
    assert [entry.index for entry in classes] == list(range(1000))
    assert len({entry.wnid for entry in classes}) == 1000
    assert all(entry.wnid[0] == "n" and len(entry.wnid) == 9 and entry.definition for entry in classes)
    assert (classes[0].name, classes[504].name, classes[999].name) == ("tench", "coffee mug", "toilet tissue")


def test_the_list_is_small_and_names_its_licence():
    path = Path(gp3d_core.__path__[0], "datasets/imagenet.tsv")
    assert path.stat().st_size < 150_000
    assert "WordNet licence" in path.read_text(encoding="utf-8")[:400]


@pytest.mark.slow
def test_every_class_is_found_by_index_wnid_and_usual_name():
    for entry in imagenet_classes():
        assert find_class(str(entry.index)) is entry
        assert find_class(entry.wnid) is entry
        if entry.name not in SHARED and entry.name.lower() not in SHARED:
            assert find_class(entry.name.upper().replace(" ", "_")) is entry


@pytest.mark.slow
def test_every_synonym_finds_its_class_or_says_that_it_is_shared():
    for entry in imagenet_classes():
        for name in entry.names:
            owners = [c for c in imagenet_classes() if name.lower() in (other.lower() for other in c.names)]
            usual = [c for c in owners if c.name.lower() == name.lower()]
            if len(usual or owners) == 1:
                assert find_class(name) is (usual or owners)[0]
            else:
                with pytest.raises(AmbiguousClassError, match=f"{entry.index} = {entry.wnid}"):
                    find_class(name)


@pytest.mark.parametrize("query", ["coffee mug", "Coffee_Mug", " COFFEE-MUG ", "504", 504, "n03063599"])
def test_spelling_does_not_matter(query):
    assert find_class(query).index == 504


def test_apostrophes_do_not_matter():
    assert find_class("jack o lantern") is find_class("jack-o'-lantern")


@pytest.mark.parametrize(("name", "indices"), SHARED.items())
def test_shared_names_are_told_apart(name, indices):
    with pytest.raises(
        AmbiguousClassError, match=f"'{name}' names 2 classes: {indices[0]} = n.*; {indices[1]} = n"
    ):
        find_class(name)


def test_the_usual_name_wins_over_a_synonym():
    assert find_class("missile").index == 657
    assert find_class("polecat").index == 358
    with pytest.raises(AmbiguousClassError):
        find_class("horn")


def test_known_classes_decide_what_is_shared_and_give_the_label():
    assert find_class("crane", KNOWN).index == 517
    assert find_class("construction crane", KNOWN).label == 2
    assert find_class("846", KNOWN).label == 1
    assert find_class("coffee mug").label is None


def test_a_class_the_model_lacks_is_said_to_exist():
    with pytest.raises(
        UnknownClassError,
        match=r"does not know 'tench' \(ImageNet 0\); it knows \d+ classes, listed by gp3d classes",
    ):
        find_class("Tinca tinca", KNOWN)


def test_long_lists_are_shortened():
    known = [{"label": c.index, "name": c.name, "imagenet_index": c.index} for c in imagenet_classes()[:100]]
    with pytest.raises(UnknownClassError, match="knows 100 classes, listed by") as caught:
        find_class("coffee mug", known)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("query", ["", "  ", "1000", "-1", "5.0", "n99999999", "qqzzxx"])
def test_nonsense_is_unknown_in_one_line(query):
    with pytest.raises(UnknownClassError) as caught:
        find_class(query)
    assert "\n" not in str(caught.value)


def test_broken_records_are_refused():
    with pytest.raises(UnknownClassError, match="a class record needs label and name"):
        find_class("coffee mug", [{"label": 0, "imagenet_index": 504}])


def test_classes_outside_imagenet_are_found_by_name_and_wordnet_id():
    known = [
        {"label": 0, "name": "canine", "imagenet_index": None, "wnid": "n02083346"},
        {"label": 1, "name": "class 1"},
    ]
    assert [find_class(query, known).label for query in ("Canine", "n02083346", "class 1")] == [0, 0, 1]
    with pytest.raises(UnknownClassError, match="unknown class '-1'"):
        find_class("-1", known)


def test_no_text_takes_long_to_be_understood():
    began = time.process_time()
    with pytest.raises(UnknownClassError, match="found a text of 100000 characters"):
        find_class("m" * 100_000)
    (mug,) = choose_classes(["mug," * 3000], KNOWN)
    assert mug.entry.index == 504
    assert time.process_time() - began < 5

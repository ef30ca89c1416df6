"""Finding a class by what a person types, and the list of classes that the add-on carries."""

from __future__ import annotations

import pytest

from gp3d_core.datasets.imagenet import imagenet_classes
from tests.addon.conftest import load_tool
from tests.core.datasets.test_class_matching import BOX


@pytest.fixture(scope="module")
def finder(parts):
    return parts("class_search")


def test_class_list_is_that_of_the_core(finder):
    ours = [(entry.index, entry.wnid, entry.names) for entry in finder.imagenet_classes()]
    assert ours == [(entry.index, entry.wnid, entry.names) for entry in imagenet_classes()]
    assert "WordNet" in load_tool("build_addon").class_list().splitlines()[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [("coffee mug", "coffee mug"), ("Coffee_Mug ", "coffee mug"), ("504", "coffee mug"), ("n03063599", "coffee mug"),
     ("tabby cat", "tabby"), ("tabby (tabby cat)", "tabby"), ("St Bernard", "Saint Bernard")],
)  # fmt: skip
def test_find_names_one_class(finder, text, name):
    assert finder.find(text, finder.imagenet_classes()).name == name


def test_find_refuses_what_names_nothing(finder):
    for text in ("", "  ", "qqzzxx", "1000", "-1", "dog"):
        assert finder.find(text, finder.imagenet_classes()) is None, text


def test_search_puts_recent_then_better_matches_first(finder):
    classes = finder.imagenet_classes()
    found = [match.entry.name for match in finder.search("mug", classes)]
    assert found[0] == "coffee mug"
    recent = finder.search("", classes, ["n04398044", "n03063599"])
    assert [match.entry.name for match in recent[:2]] == ["teapot", "coffee mug"]
    assert finder.search("tea", classes)[0].entry.name == "teapot"
    assert len(finder.search("", classes)) == finder.MOST_SHOWN
    assert finder.search("qqqq", classes) == []


def test_search_tells_by_which_synonym_it_found(finder):
    (match, *_) = finder.search("tabby cat", finder.imagenet_classes())
    assert (match.entry.name, match.synonym) == ("tabby", "tabby cat")
    assert finder.find(match.text, finder.imagenet_classes()) == match.entry


def test_offered_first_is_what_the_pretrained_model_knows(finder):
    record = {"name": "teapot", "imagenet_index": 849, "wnid": "n04398044", "badge": "fair"}
    offered = finder.with_first(finder.known_classes([record]))
    assert (offered[0].name, offered[0].badge, len(offered)) == ("teapot", "fair", 1000)
    first = finder.search("t", offered)[0].entry  # though others begin with it and are shorter
    assert first.name == "teapot"
    assert finder.search("", offered, ["n03063599"])[1].entry.name == "teapot"
    assert finder.find("849", offered).badge == "fair"


def test_pretrained_classes_are_those_of_the_snapshot(finder):
    from gp3d_core.pretrained import name_of, shipped_models
    from gp3d_core.snapshots.catalogue import catalogue

    owned = catalogue().known if shipped_models() else []
    known = [(entry.name, entry.badge, entry.model) for entry in finder.offered_classes()[: len(owned)]]
    assert known == [
        (record["name"], record.get("badge") or "", name_of(facts.path)) for facts, record in owned
    ]
    assert [one.name for one in finder.pretrained_terms()] == [one.name for one in shipped_models()]


def test_classes_know_their_model_and_models_their_terms(finder):
    records = [
        {"name": "mug", "imagenet_index": 504, "wnid": "n03063599", "model": "box"},
        {"name": "horse", "imagenet_index": None, "wnid": "n02374451", "badge": "good", "model": "zoo"},
    ]
    assert [(entry.query, entry.model) for entry in finder.known_classes(records)] == [
        ("n03063599", "box"),
        ("n02374451", "zoo"),
    ]
    listed = [{"name": "zoo", "license": "CC-BY-SA-4.0", "credits": "by Ada", "classes": 3}, "nothing"]
    assert finder.model_terms(listed) == (finder.ModelTerms("zoo", "CC-BY-SA-4.0", "by Ada"),)
    assert finder.model_terms(None) == ()
    assert finder.classes_of_model("") == finder.pretrained_classes()
    assert finder.classes_of_model("/models/run") == ()


@pytest.mark.slow
def test_every_shown_text_names_its_class_again(finder):
    classes = finder.imagenet_classes()
    for entry in classes:
        assert finder.find(entry.query, classes) == entry
        assert finder.find(finder.label(entry, classes), classes) == entry
    assert finder.label(classes[134], classes) == "crane (134)"
    assert finder.find("crane", classes) is None
    assert "134 = n02012849; 517 = n03126707" in finder.choose("crane", classes).note


def test_known_classes_keep_names_of_the_model_and_synonyms(finder):
    records = [
        {"label": 0, "name": "mug", "imagenet_index": 504, "wnid": "n03063599"},
        {"label": 1, "name": "gadget", "imagenet_index": None, "wnid": None},
    ]
    mug, gadget = finder.known_classes(records)
    assert mug.names == ("mug", "coffee mug")
    assert (gadget.index, gadget.query) == (-1, "gadget")


def test_words_are_understood_by_the_cores_rules(finder):
    """The rules, their table and their words are the core's, byte for byte but for where the import comes from."""
    for path, content in load_tool("build_addon").copies().items():
        assert path.read_bytes() == content, f"{path.name}: type tools/build_addon.py --classes"


def test_words_that_fit_one_class_are_taken_and_said(finder):
    everything = finder.imagenet_classes()
    known = tuple(everything[index] for index in sorted(BOX))
    assert finder.choose("mug", known) == (finder.find("504", known), "mug → coffee mug", ())
    assert finder.choose("Coffee_Mug", known).note == ""
    assert finder.choose("dog", known).note.startswith(
        "this model knows no 'dog'; nearest in kind: 'king penguin'"
    )
    hats = finder.choose("hat", known)
    assert hats[:2] == (None, "'hat' may be 'cowboy hat' (515) or 'sombrero' (808); name one")
    assert [entry.name for entry in hats.instead] == ["cowboy hat", "sombrero"]
    assert [entry.name for entry in finder.choose("zebra", known).instead] == [
        "king penguin",
        "goldfish",
        "snail",
    ]

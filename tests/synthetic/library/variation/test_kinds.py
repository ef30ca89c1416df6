from __future__ import annotations

import re
from pathlib import Path

import pytest

from synthetic.layouts.imagenet import imagenet_classes
from synthetic.layouts.shapenet import ObjectClass
from synthetic.library.variation import kinds
from synthetic.library.variation.kinds import BODIES, Kind, kind_of

NAMED = {
    "zebra": Kind("legged", "fixed"),
    "ice bear": Kind("legged", "fixed"),
    "brown bear": Kind("legged", "natural"),
    "sorrel": Kind("legged", "natural"),
    "great white shark": Kind("limbless", "fixed"),
    "goldfish": Kind("limbless", "fixed"),
    "Granny Smith": Kind("plant", "fixed"),
    "dining table": Kind("upright", "free"),
    "bookcase": Kind("upright", "free"),
    "coffee mug": Kind("round", "free"),
    "vase": Kind("round", "planted"),
    "school bus": Kind("wheeled", "fixed"),
    "sports car": Kind("wheeled", "free"),
    "wall clock": Kind("dial", "free"),
    "triumphal arch": Kind("upright", "natural"),
    "pot": Kind("round", "planted"),
    "soccer ball": Kind("ball", "fixed"),
    "traffic light": Kind("upright", "fixed"),
}

# Limbless animals outside the ranges, which no library had so far.
SOFT = {"jellyfish", "flatworm", "nematode", "slug", "sea slug", "sea cucumber"}


def test_kinds_of_well_known_classes() -> None:
    found = {one.name: kind_of(one) for one in imagenet_classes().values() if one.name in NAMED}
    assert found == NAMED


def test_the_names_in_the_table_are_those_of_the_indices() -> None:
    names = [one.name for one in imagenet_classes().values()]
    text = " ".join(Path(kinds.__file__).read_text(encoding="utf-8").split())
    wrong, seen = [], 0
    for block in re.findall(r'_indices\( ?"+ ?(.*?) ?"+ ?\)', text):
        for entry in block.split(", "):
            match = re.fullmatch(r"(\d+)(?:-(\d+))? (.*)", entry)
            assert match, entry
            expected = names[int(match[1])] + (f" to {names[int(match[2])]}" if match[2] else "")
            seen += 1
            wrong += [f"{entry}: expected {expected}"] if match[3] != expected else []
    assert not wrong
    assert seen > 150


def test_every_class_has_a_kind_and_every_kind_a_class() -> None:
    found = {kind_of(one) for one in imagenet_classes().values()}
    assert {kind.body for kind in found} == set(BODIES)
    assert {kind.palette for kind in found} == {"fixed", "natural", "planted", "free"}


@pytest.mark.parametrize(
    ("synset", "expected"),
    [
        ("02083346", Kind("legged", "natural")),
        ("03001627", Kind("upright", "free")),
        ("02958343", Kind("wheeled", "free")),
        ("02439033", Kind("legged", "natural")),  # giraffe
        ("02041246", Kind("legged", "fixed")),  # gull
        ("02065726", Kind("limbless", "fixed")),  # humpback whale
        ("02626762", Kind("limbless", "fixed")),  # tuna
        ("12582231", Kind("plant", "natural")),  # palm tree
        ("04373894", Kind("upright", "free")),  # sword
        ("00007846", Kind("upright", "fixed")),  # person
    ],
)
def test_classes_that_imagenet_has_not(synset: str, expected: Kind) -> None:
    assert kind_of(ObjectClass(f"n{synset}", "thing", None, None)) == expected
    assert kind_of(ObjectClass(f"n{synset}", "thing", None, synset)) == expected


def test_ranges_of_offsets_agree_with_the_animals_of_imagenet() -> None:
    """WordNet gave both their offsets: what the table says of fish, snakes and whales has to be the same."""
    living, wrong = ("legged", "limbless"), []
    for one in imagenet_classes().values():
        assert one.imagenet_index is not None
        by_offset, by_index = kind_of(ObjectClass(one.wnid, one.name, None, None)).body, kind_of(one).body
        if one.imagenet_index > 397:
            wrong += [one.name] if by_offset in living else []
        elif by_offset not in living or (by_index in living and by_index != by_offset):
            wrong.append(one.name)
    assert set(wrong) <= SOFT

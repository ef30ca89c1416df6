"""The classes of ImageNet as the renderer's package knows them."""

from __future__ import annotations

from synthetic.layouts.imagenet import imagenet_classes, imagenet_names
from synthetic.shapes.library import FAMILIES
from tools.synthetic_classes import TARGET, table


def test_the_table_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == table(), "type tools/synthetic_classes.py"


def test_classes_are_those_of_the_procedural_library() -> None:
    """One WordNet id means the same everywhere, or two libraries could not be used together."""
    classes = imagenet_classes()
    assert [made.imagenet_index for made in classes.values()] == list(range(1000))
    for family in FAMILIES:
        made = classes[family.wnid]
        assert (made.name, made.imagenet_index, made.synset) == (
            family.name,
            family.imagenet_index,
            family.synset,
        )


def test_names_that_two_classes_share_are_known_as_such() -> None:
    names = imagenet_names()
    assert [made.imagenet_index for made in names["crane"]] == [134, 517]
    assert [made.wnid for made in names["dishwashing machine"]] == ["n03207941"]
    assert "furniture" not in names

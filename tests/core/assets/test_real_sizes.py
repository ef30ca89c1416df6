"""The table of sizes against standards, and its honesty."""

from __future__ import annotations

import math

import pytest

from gp3d_core.assets.real_sizes import UnknownSizeError, real_size, real_sizes
from gp3d_core.datasets.imagenet import imagenet_classes
from gp3d_core.pretrained import shipped_models
from gp3d_core.snapshots.metadata import read_snapshot_facts


def by_index(index: int) -> float:
    metres = real_sizes()[imagenet_classes()[index].wnid].metres
    assert metres is not None
    return metres


def test_every_class_stands_there_once_and_unknown_ones_say_so() -> None:
    table = real_sizes()
    assert list(table)[:1000] == [one.wnid for one in imagenet_classes()]
    for size in table.values():
        assert (size.metres is None) == (size.kind == "unknown")
        assert size.metres is None or (5e-4 < size.metres < 500 and size.source)
    assert sum(size.metres is not None for size in table.values()) > 900


def test_balls_are_as_their_rules_have_them() -> None:
    """Circumferences or diameters, in metres, that the rules of the games allow."""
    rules = {
        805: (0.68 / math.pi, 0.70 / math.pi),
        430: (0.75 / math.pi, 0.77 / math.pi),
        890: (0.65 / math.pi, 0.67 / math.pi),
        429: (9 * 0.0254 / math.pi, 9.25 * 0.0254 / math.pi),
        852: (0.0654, 0.0686),
        722: (0.0395, 0.0405),
        574: (0.0426, 0.044),
        746: (0.0762, 0.0762),
        768: (0.28, 0.30),
    }
    for index, (least, most) in rules.items():
        assert least - 5e-4 <= by_index(index) <= most + 5e-4, index
        assert real_sizes()[imagenet_classes()[index].wnid].kind == "rule"


def test_things_are_in_the_right_order() -> None:
    order = [
        852,
        805,
        145,
        620,
        846,
        857,
        468,
        779,
        425,
    ]  # tennis ball … king penguin … cab, school bus, barn
    sizes = [by_index(index) for index in (852, 805, 846, 145, 857, 468, 779, 425)]
    assert sizes == sorted(sizes)
    assert all(by_index(index) for index in order)
    assert by_index(386) > by_index(292) > by_index(281) > by_index(310)  # elephant, tiger, cat, ant


def test_the_models_that_come_along_know_no_class_that_the_table_does_not() -> None:
    known = [record for one in shipped_models() for record in read_snapshot_facts(one.path).classes]
    stated = [real_sizes()[record["wnid"]] for record in known]
    assert sum(size.metres is not None for size in stated) > 0.9 * len(stated)


def test_an_unknown_size_is_one_clear_line() -> None:
    with pytest.raises(
        UnknownSizeError, match="`size` real: how large palace is in the world is not known; give its"
    ):
        real_size({"name": "palace", "wnid": imagenet_classes()[698].wnid})
    with pytest.raises(UnknownSizeError, match="gadget"):
        real_size({"name": "gadget"})

"""The search for what fits, on sizes that are known."""

from __future__ import annotations

import pytest

from gp3d_core.assets.budget import BudgetError, Plan, fit, in_words

ASKED = Plan(30_000, 512)


def made(plan: Plan) -> int:
    """Bytes of files as they are: so many a face, a texel, and a rest."""
    return 40 * plan.faces + 2 * plan.texture_size**2 + 3000


@pytest.mark.parametrize("budget", [20_000, 60_000, 150_000, 400_000, 900_000, 1_600_000])
def test_what_is_found_fits_and_wastes_little(budget: int) -> None:
    tries: list[Plan] = []

    def measure(plan: Plan) -> int:
        tries.append(plan)
        return made(plan)

    found = fit(ASKED, budget, measure)
    assert 0.75 * budget < made(found) <= budget
    assert found in tries
    assert len(tries) <= 10
    assert len(set(tries)) == len(tries)


def test_what_fits_already_stays() -> None:
    assert fit(ASKED, 10**7, made) == ASKED


def test_a_size_that_no_mesh_meets_is_said_with_the_smallest_one() -> None:
    with pytest.raises(
        BudgetError, match=r"`max_size` 5k: no mesh is so small; the smallest, 100 faces .* 9.05k"
    ):
        fit(ASKED, 5000, made)


def test_sizes_that_do_not_shrink_evenly_are_found_as_well() -> None:
    """Meshes that tear when they get too small keep their faces."""
    found = fit(ASKED, 300_000, lambda plan: 40 * max(plan.faces, 6000) + 2 * plan.texture_size**2)
    assert 40 * max(found.faces, 6000) + 2 * found.texture_size**2 <= 300_000


def test_a_texture_is_never_larger_than_asked_for() -> None:
    assert Plan(50, 16).at(0.0) == Plan(50, 16)
    assert Plan(30_000, 512).at(1.0) == Plan(30_000, 512)


def test_bytes_in_words() -> None:
    assert [in_words(size) for size in (999, 500_000, 2_400_000, 999_999, 123_456)] == [
        "999",
        "500k",
        "2.4M",
        "1M",
        "123k",
    ]

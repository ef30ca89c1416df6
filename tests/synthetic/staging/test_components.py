"""Components of graphs against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthetic.staging.surface import components


@pytest.mark.parametrize("count", [1, 2, 7, 60, 3000])
@pytest.mark.parametrize("edges", [0, 0.4, 0.9, 3.0])
def test_components_are_numbered_as_by_scipy(count: int, edges: float) -> None:
    for seed in range(20):
        first, second = np.random.default_rng(seed).integers(count, size=(2, int(edges * count)))
        graph = coo_array((np.ones(len(first), np.bool_), (first, second)), (count, count))
        assert np.array_equal(
            components(count, first, second), connected_components(graph, directed=False)[1]
        )


def test_a_long_strip_in_any_order_is_one_component() -> None:
    place = np.random.default_rng(0).permutation(50_000)
    assert not components(50_001, np.append(place[:-1], 50_000), np.append(place[1:], 0)).any()


def test_nothing_joined_is_as_many_components() -> None:
    none = np.empty(0, np.int64)
    assert components(3, none, none).tolist() == [0, 1, 2]
    assert components(0, none, none).tolist() == []

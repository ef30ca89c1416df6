"""What the project's recorded tensors were reduced to says as much as the tensors themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.core.parity.parity_fixtures import assemble
from tests.core.parity.reduce_fixtures import basis, sketched, thin, touched
from tests.support.sketches import PROJECTIONS, Sketch, root_mean_square


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def restored(name: str, parts: object) -> Tensor | Sketch:
    return assemble({f"{name}@{part}": value for part, value in parts})[name]


def test_sketch_accepts_its_tensor_within_tolerance() -> None:
    x = drawn(3, 24, 16, 16)
    sketch = restored("x", sketched(x))
    sketch.assert_close(x)
    sketch.assert_close(x.float(), share=1e-6)
    sketch.assert_close(x + 9e-5, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("element", [0, 1, 5000, 18431])
def test_sketch_notices_one_wrong_element(element: int) -> None:
    x = drawn(3, 24, 16, 16)
    wrong = x.clone()
    wrong.view(-1)[element] += 1.0
    with pytest.raises(AssertionError):
        Sketch.of(x).assert_close(wrong, share=1e-3)


@pytest.mark.parametrize("change", ["shape", "channels", "scale", "small"])
def test_sketch_notices_a_wrong_tensor(change: str) -> None:
    x = drawn(3, 24, 16, 16)
    wrong = {
        "shape": x.transpose(0, 1),
        "channels": x.roll(1, dims=1),
        "scale": x * 1.002,
        "small": x + 0.002 * drawn(*x.shape, seed=1),
    }[change]
    with pytest.raises(AssertionError):
        Sketch.of(x).assert_close(wrong, share=1e-3)


def test_projections_estimate_the_root_mean_square() -> None:
    for seed in range(20):
        x = torch.zeros(1000, dtype=torch.float64)
        x[: 10 + 50 * seed] = drawn(10 + 50 * seed, seed=seed)
        estimate = root_mean_square(Sketch.of(x).projections)
        assert len(Sketch.of(x).projections) == PROJECTIONS
        assert estimate == pytest.approx(root_mean_square(x), rel=0.5)  # four standard deviations


def test_thin_factors_act_as_the_matrix_did_both_ways() -> None:
    matrix, x, g = drawn(60, 80).float(), drawn(9, 80, seed=1), drawn(11, 60, seed=2)
    repeated = torch.cat([x, 2 * x[:3]])
    factors = dict(thin(matrix, basis([repeated[:5], repeated[5:]]), basis([g])))
    assert factors["left"].shape == (60, 20)
    assert factors["right"].shape == (20, 80)
    found = restored("w", factors.items()).double()
    torch.testing.assert_close(found @ x.T, matrix.double() @ x.T, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(g @ found, g @ matrix.double(), rtol=1e-5, atol=1e-4)
    assert (found - matrix).abs().max() > 0.1  # it is another matrix


def test_untouched_rows_of_a_table_are_not_a_number() -> None:
    table = drawn(1001, 4)
    found = restored("t", touched(table, torch.tensor([[0.25, 0.0], [1.0, 0.2504]])))
    rows = [0, 250, 1000]
    assert torch.equal(found[rows], table[rows])
    assert found.isnan().all(dim=1).sum() == 1001 - len(rows)

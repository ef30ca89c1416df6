"""The release's depth and depth edges of lifted pictures against recorded ones, and in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gp3d_core.lifting import released
from gp3d_core.lifting.layers import layer
from gp3d_core.lifting.partial_convolution import PartialConv
from gp3d_core.lifting.photograph import USUAL_FOV
from gp3d_core.lifting.relief import at_depth_one
from tests.core.parity.parity_fixtures import Case

NEAR_THE_STEP = 1e-6


@pytest.fixture
def case(recorded: Callable[[str], Case]) -> Case:
    found = recorded("photo_layers")
    assert found.meta["config"]["depth_threshold"] == released.STEP
    assert found.meta["config"]["filter_size"][:-1] == list(released.WINDOWS)
    return found


def numbers(case: Case, name: str) -> NDArray[np.float32]:
    return case[name].numpy()


def test_depth_and_its_steps_are_the_recorded_ones(case: Case) -> None:
    depth = released.depth_of(numbers(case, "disparity"))
    np.testing.assert_allclose(depth, numbers(case, "depth"), rtol=1e-4, atol=1e-4)
    steps = released.discontinuities(numbers(case, "depth"))
    np.testing.assert_array_equal(steps, numbers(case, "discontinuity").astype(bool))


def test_one_round_and_all_are_the_recorded_ones(case: Case) -> None:
    depth = numbers(case, "depth")
    once = released.median_round(depth.copy(), case.meta["config"]["filter_size"][0])
    np.testing.assert_allclose(once, numbers(case, "filtered_once"), rtol=0, atol=1e-6)
    np.testing.assert_allclose(released.filtered(depth), numbers(case, "filtered"), rtol=0, atol=1e-6)


def test_links_are_the_recorded_ones(case: Case) -> None:
    depth = numbers(case, "filtered")
    links = released.links(depth)
    for axis, found, name in ((1, links.right, "link_right"), (0, links.down, "link_down")):
        doubtful = np.abs(np.abs(np.diff(1 / depth, axis=axis)) - released.STEP) < NEAR_THE_STEP
        assert not ((found != numbers(case, name).astype(bool)) & ~doubtful).any()


def test_pixels_lie_where_recorded_ones_do(case: Case) -> None:
    depth = numbers(case, "filtered").astype(np.float64)
    height, width = depth.shape
    # the release's axis goes through a whole pixel where a side has an odd number of them
    columns = (np.arange(width) + 0.5 + width / 2 - width // 2) / width
    rows = (np.arange(height) + 0.5 + height / 2 - height // 2) / height
    places = np.stack(np.meshgrid(columns, rows), axis=-1)
    plane = at_depth_one(places, (width, height), USUAL_FOV) * depth[..., None]
    found = np.stack([plane[..., 0], -plane[..., 1], depth], axis=-1)
    np.testing.assert_allclose(found, numbers(case, "vertices"), rtol=1e-4, atol=1e-4)


def test_partial_convolution_and_its_gradients_are_the_recorded_ones(case: Case) -> None:
    facts, weight = case.meta["partial"], case["partial.weight"]
    layer = PartialConv(weight.shape[1], weight.shape[0], facts["kernel"], facts["stride"], facts["padding"])
    layer.load_state_dict({"weight": weight, "bias": case["partial.bias"]})
    x = case["partial.input"].clone().requires_grad_()
    found, mask = layer(x, case["partial.mask"])
    torch.testing.assert_close(found, case["partial.output"], rtol=1e-4, atol=1e-4)
    assert torch.equal(mask, case["partial.new_mask"])
    (found * case["partial.cotangent"]).sum().backward()
    for gradient, name in ((x.grad, "input"), (layer.weight.grad, "weight"), (layer.bias.grad, "bias")):
        expected = case[f"partial.grad:{name}"]
        assert (gradient - expected).abs().max() <= 1e-3 * expected.abs().max(), name


def test_partial_convolution_of_a_constant_is_one_wherever_anything_is_known() -> None:
    layer = PartialConv(2, 1, 3, padding=1, bias=False)
    torch.nn.init.constant_(layer.weight, 1 / 18)
    mask = torch.zeros(1, 2, 9, 9)
    mask[..., 2:5, 3] = 1.0
    found, known = layer(torch.full_like(mask, 0.7), mask)
    assert known[0, 0].nonzero().tolist() == [[r, c] for r in range(1, 6) for c in range(2, 5)]
    torch.testing.assert_close(found, 0.7 * known)


def test_released_edges_tear_a_step_and_no_slope() -> None:
    """Depth of disparity 3 and 1.5: the step of 1.5 is cut all along, while a slope of 0.02 a cell is not."""
    q = np.full((40, 60), 0.5)
    q[:, 30:] = 1.0
    q[0, 0] = 0.0  # so that the disparity is as large as it is
    seen = layer(q, np.zeros((40, 60, 3)), border=0.0, edges="released").seen
    assert not seen.links.right[2:, 29].any()
    assert seen.links.right[2:, :28].all()
    assert seen.links.right[2:, 31:].all()
    np.testing.assert_allclose(seen.q[5:, 40:], 1.0, atol=1e-6)
    np.testing.assert_allclose(seen.q[5:, 5:28], 0.5, atol=1e-6)
    slope = np.tile(np.linspace(0, 1, 160), (40, 1))  # 3 / 159 a cell
    assert layer(slope, np.zeros((40, 160, 3)), border=0.0, edges="released").seen.links.right.all()

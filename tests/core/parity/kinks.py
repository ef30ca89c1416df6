"""Comparing gradients of networks with leaky ReLUs, whose slope jumps where a unit's input is 0.

Between two machines an input within rounding of 0 may have either sign, and then one unit's slope differs by a factor
of five: no tolerance on the gradients covers that. A test decorated with `either_side_of_kinks` may pass with such
units, and only such units, on the other side.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from gp3d_core.baselines import point_layers
from gp3d_core.networks import layers
from gp3d_core.ops import resampling

ROUNDING = 5e-6  # of the layer's root mean square
MOST_UNITS = 5


class _Sides:
    """Stands in for `activate`, where layers of maps and of points call it, and `resampling.leaky`: notes units at a
    kink, and flips those it is told to.
    """

    def __init__(self, flipped: frozenset[tuple[int, int]]) -> None:
        self.flipped = flipped
        self.at_kink: set[tuple[int, int]] = set()
        self.calls = 0

    def __call__(self, x: Tensor, activation: layers.Activation) -> Tensor:
        if activation != "lrelu":
            return ACTIVATE(x, activation)
        call, self.calls = self.calls, self.calls + 1
        close = x.detach().abs().flatten() < ROUNDING * x.detach().square().mean().sqrt()
        self.at_kink |= {(call, int(unit)) for unit in close.nonzero()}
        other_side = torch.zeros(x.numel(), dtype=torch.bool, device=x.device)
        for unit in (unit for where, unit in self.flipped if where == call):
            other_side[unit] = True
        # Mirrored in both axes, the activation under test itself has its two slopes exchanged.
        return torch.where(other_side.view_as(x), -ACTIVATE(-x, activation), ACTIVATE(x, activation))


ACTIVATE = layers.activate


def either_side_of_kinks(test: Callable[..., None]) -> Callable[..., None]:
    """`test`, repeated on failure with units at a kink on their other side, in every combination of a few."""

    @functools.wraps(test)
    def wrapped(*instance: Any, **fixtures: Any) -> None:
        def attempt(flipped: tuple[tuple[int, int], ...]) -> tuple[AssertionError | None, _Sides]:
            for module in fixtures.values():
                if isinstance(module, nn.Module):
                    module.zero_grad(set_to_none=True)
            sides = _Sides(frozenset(flipped))
            finished = functools.partial(sides, activation="lrelu")
            with (
                mock.patch.object(layers, "activate", sides),
                mock.patch.object(point_layers, "activate", sides),
                mock.patch.object(resampling, "leaky", finished),
            ):
                try:
                    test(*instance, **fixtures)
                except AssertionError as error:
                    return error, sides
            return None, sides

        failure, first = attempt(())
        units = sorted(first.at_kink)
        if failure is not None and len(units) <= MOST_UNITS:
            choices = (itertools.combinations(units, count) for count in range(1, len(units) + 1))
            if any(attempt(flipped)[0] is None for flipped in itertools.chain(*choices)):
                return
        if failure is not None:
            raise failure

    return wrapped

"""Random streams depend on their key alone, and on all of it."""

from __future__ import annotations

import itertools

import torch

from gp3d_core.rng import generator_for


def numbers(*key: int | str) -> tuple[float, ...]:
    return tuple(torch.rand(3, generator=generator_for(*key)).tolist())


def test_a_stream_is_the_same_whatever_ran_before() -> None:
    first = numbers(7, "latents", 4000, 0)
    torch.manual_seed(3)
    numbers(8)
    assert numbers(7, "latents", 4000, 0) == first


def test_streams_of_all_keys_differ() -> None:
    parts = (range(4), ("latents", "labels", "noise", ""), range(0, 96, 8), range(3))
    keys = [*itertools.product(*parts), (1, 11), (11, 1), (111,), ("1-11",), (), (-1,), (0,)]
    assert len({numbers(*key) for key in keys}) == len(keys)


def test_streams_are_those_of_earlier_versions() -> None:
    """A run that goes on with a newer version meets the random numbers that it would have met."""
    assert generator_for(7, "latents", 4000, 0).initial_seed() == 2870428913513311233
    assert generator_for(0).initial_seed() == 2033344993903900207

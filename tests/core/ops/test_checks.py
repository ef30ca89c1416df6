"""Shapes that fit give their letters, others one line; over random patterns and sizes."""

from __future__ import annotations

import random

import pytest
import torch

from gp3d_core.ops.checks import check_shape


def drawn(seed: int) -> tuple[dict[str, int], list[str], list[int]]:
    """Sizes of letters, a pattern of them and of numbers, and the shape that fits it."""
    dice = random.Random(seed)
    sizes = {letter: dice.randrange(5) for letter in "BNFTh"}
    pattern = [dice.choice([*sizes, str(dice.randrange(5))]) for _ in range(dice.randrange(6))]
    return sizes, pattern, [int(part) if part.isdigit() else sizes[part] for part in pattern]


def test_a_shape_that_fits_gives_the_sizes_of_its_letters() -> None:
    for sizes, pattern, shape in map(drawn, range(200)):
        expected = {letter: sizes[letter] for letter in pattern if not letter.isdigit()}
        assert check_shape("x", torch.empty(shape), " ".join(pattern)) == expected
        known = dict(list(sizes.items())[:2])
        before = dict(known)
        assert check_shape("x", torch.empty(shape), " ".join(pattern), known) == known | expected
        assert known == before


def test_a_shape_that_differs_in_one_place_is_refused_with_both_shapes() -> None:
    for seed in range(200):
        sizes, pattern, shape = drawn(seed)
        match seed % 3:
            case 0 if shape:
                shape[seed % len(shape)] += 1
            case 1 if shape:
                shape.pop()
            case _:
                shape.append(1)
        with pytest.raises(ValueError, match="must have shape") as caught:
            check_shape("planes", torch.empty(shape), " ".join(pattern), sizes)
        assert str(caught.value).startswith("planes must have shape [")
        assert str(caught.value).endswith(f"got {shape}")


def test_letters_must_agree_within_a_pattern_and_with_what_is_known() -> None:
    with pytest.raises(ValueError, match=r"\[B=2, B=2\], got \[2, 3\]"):
        check_shape("x", torch.empty(2, 3), "B B")
    with pytest.raises(ValueError, match=r"\[B=4, 3\], got \[2, 3\]"):
        check_shape("x", torch.empty(2, 3), "B 3", {"B": 4})
    with pytest.raises(TypeError, match=r"x must be a torch\.Tensor, got list"):
        check_shape("x", [1.0], "N")

"""JSON that every reader takes."""

from __future__ import annotations

import json
import math

import pytest

from gp3d_core.strict_json import check_characters, of_text, to_text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"a": NaN}', "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[1e999]", "1e999, which is too large a number, is not JSON"),
        ("9" * 400, "a number of 400 digits"),
        ("9" * 100_000, "a number of 100000 digits"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting property name"),
    ],
)
def test_what_is_no_json_is_refused(text: str, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        of_text(text)


def test_what_is_json_is_read() -> None:
    assert of_text(r'["\ud83d\ude00", "\\ud800", 1e300, 5]') == ["😀", r"\ud800", 1e300, 5]


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"\uDC00": 1}', r'["a", {"b": ["\udcff"]}]'])
def test_halves_of_characters_are_found(text: str) -> None:
    with pytest.raises(ValueError, match="half of a pair of surrogates"):
        check_characters(of_text(text))
    check_characters(of_text(r'"\ud83d\ude00"'))


def test_numbers_that_json_cannot_hold_are_null() -> None:
    text = to_text({"a": [math.nan, (1, math.inf)], "b": 0.5})
    assert json.loads(text) == {"a": [None, [1, None]], "b": 0.5}

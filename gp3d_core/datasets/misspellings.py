"""What a word may be a slip of the pen for. Standard library alone; blender_addon has a copy of this module."""

from __future__ import annotations

from itertools import pairwise

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_VOWELS = "aeiouy"


def slips(word: str) -> tuple[set[str], ...]:
    """All texts that `word` is one slip away from, by how likely the slip is, the likeliest first.

    Two neighbours swapped; a letter once in place of twice, or the other way; a letter left out, or a vowel in place
    of another; any other letter exchanged, or one too many. A text stands in the first set that it fits.
    """
    halves = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    swapped = {left + right[1] + right[0] + right[2:] for left, right in halves if len(right) > 1}
    fewer = {left + right[1:] for left, right in halves if right}
    more = {left + letter + right for left, right in halves for letter in _LETTERS}
    doubled = {text for text in fewer if _pairs(text) < _pairs(word)}
    doubled |= {text for text in more if _pairs(text) > _pairs(word)}
    vowels = {
        left + vowel + right[1:] for left, right in halves if right[:1] in {*_VOWELS} for vowel in _VOWELS
    }
    exchanged = {left + letter + right[1:] for left, right in halves if right for letter in _LETTERS}
    ranked: list[set[str]] = []
    for texts in (swapped, doubled, more | vowels, fewer | exchanged):
        ranked.append(texts.difference({word}, *ranked))
    return tuple(ranked)


def within(one: str, other: str, most: int) -> bool:
    """Whether `other` is at most `most` letters away: left out, added, exchanged, or swapped with the next."""
    if abs(len(one) - len(other)) > most:
        return False
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        now = [i, *[0] * len(other)]
        for j, wanted in enumerate(other, 1):
            now[j] = min(row[j] + 1, now[j - 1] + 1, row[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                now[j] = min(now[j], before[j - 2] + 1)
        before, row = row, now
    return row[-1] <= most


def _pairs(word: str) -> int:
    """How many letters stand beside one of their kind."""
    return sum(one == other for one, other in pairwise(word))

"""Damage to files, drawn by seed: bytes that changed, went or came twice, and JSON values in the place of others."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

_NUMBERS = (
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x01\x00\x00\x00",
)
_VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**63, 10**18, 10**400, 0.5, -0.0, 1e308, 1e999, float("nan"), float("-inf")),
    *("", "x", "auto", "\0", "\ud800", "../../etc/passwd", "/dev/zero", "é" * 300, "9" * 5000),
    *(None, True, False, [], {}, [[]], [0] * 100, {"a": {"b": []}}),
)


def damaged(dice: random.Random, content: bytes, most: int = 6) -> bytes:
    """`content` after one to `most` accidents; most of them near its beginning, where formats say what follows."""
    broken = bytearray(content)
    for _ in range(dice.randint(1, most)):
        end = len(broken) if dice.random() < 0.5 else min(len(broken), 400)
        place = dice.randrange(end) if end else 0
        length = dice.choice((1, 2, 4, 8, 40, 400))
        accident = dice.randrange(7)
        if accident == 0:
            del broken[place:]
        elif accident == 1:
            del broken[place : place + length]
        elif accident == 2:
            broken[place:place] = dice.randbytes(length)
        elif accident == 3:
            broken[place : place + 4] = dice.choice(_NUMBERS)
        elif accident == 4:
            other = dice.randrange(len(broken)) if broken else 0
            broken[place : place + length] = broken[other : other + length]
        elif place < len(broken):
            broken[place] = dice.randrange(256) if accident == 5 else broken[place] ^ (1 << dice.randrange(8))
    return bytes(broken)


def damaged_json(dice: random.Random, value: Any, most: int = 3) -> Any:
    """A copy of a JSON value in which one to `most` values, at any depth, are others, missing or new."""
    changed = json.loads(json.dumps(value))
    for _ in range(dice.randint(1, most)):
        place = changed
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = dice.choice(keys)
            below = place[key]
            if isinstance(below, dict | list) and below and dice.random() < 0.8:
                place = below
                continue
            if dice.random() < 0.15:
                del place[key]
            elif dice.random() < 0.1 and isinstance(place, dict):
                place[dice.choice(("new", "", "\ud800", "__class__"))] = copy.deepcopy(dice.choice(_VALUES))
            else:
                place[key] = copy.deepcopy(dice.choice(_VALUES))
            break
    return changed


def json_text(value: Any) -> bytes:
    """The value as Python writes it, NaN and halves of characters too."""
    return json.dumps(value).encode("ascii")

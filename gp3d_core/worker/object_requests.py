"""Objects as requests of `gp3d serve` say them: one of a class and a seed, one of parents, or what to combine.

`check_object` doubts them, `object_of` makes of them what `generation` makes objects of (docs/serve.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.generation.combinations import STRENGTH, blend, combined, mix, variation
from gp3d_core.generation.objects import MOST_PARENTS, SHARE_ERROR, ObjectSpec

MOST_SEED = 10**18 - 1
Named = Callable[[str | None], tuple[ClassRecord, int]]  # record and label of the class that a text means


def check_object(value: Any) -> Mapping[str, Any]:
    """`value` itself, an object as a request says it. Raises ValueError with what was expected for anything else."""
    kinds = {"blend": {"blend", "at"}, "mix": {"mix"}, "vary": {"vary", "number", "strength"}}
    if isinstance(value, dict):
        for kind, fields in kinds.items():
            if kind in value and set(value) <= fields:
                return _check_operation(kind, value)
    return _check_plain(value)


def _check_operation(kind: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = [value["vary"]] if kind == "vary" else value[kind]
    if not isinstance(inner, list) or len(inner) != (1 if kind == "vary" else 2):
        raise ValueError(f"two objects to {kind}")
    for one in inner:
        _check_plain(one)
    for name in ("at", "strength"):
        if name in value and not _is_share(value[name]):
            raise ValueError(f"a number from 0 to 1 as {name}")
    if "number" in value and not _is_whole(value["number"], 10**9):
        raise ValueError("a whole number of at least 0 as number")
    return value


def _check_plain(value: Any) -> Mapping[str, Any]:
    """An object with class and seed, or with parents."""
    if not isinstance(value, dict):
        raise ValueError('an object, such as {"class": "coffee mug", "seed": 3}')
    if "parents" not in value:
        _check_parent(value, ())
        return value
    parents = value["parents"]
    if set(value) - {"parents", "late_from"} or not _is_whole(value.get("late_from", 1), 10**6):
        raise ValueError("an object of parents and late_from, a whole number")
    if not isinstance(parents, list) or not 1 <= len(parents) <= MOST_PARENTS:
        raise ValueError(f"1 to {MOST_PARENTS} parents")
    for one in parents:
        _check_parent(one, ("early", "late"))
    if any(abs(sum(one[name] for one in parents) - 1) > SHARE_ERROR for name in ("early", "late")):
        raise ValueError("parents whose early shares add up to 1, and their late ones")
    return value


def _check_parent(value: Any, shares: tuple[str, ...]) -> None:
    if not isinstance(value, dict) or set(value) - {"class", "seed", *shares}:
        raise ValueError(
            f"an object with class, seed{''.join(f', {name}' for name in shares)} and nothing else"
        )
    if not _is_whole(value.get("seed"), MOST_SEED):
        raise ValueError("a seed, a whole number of at least 0")
    if not all(_is_share(value.get(name)) for name in shares):
        raise ValueError("shares from 0 to 1")
    named = value.get("class")
    short = isinstance(named, str) and 1 <= len(named) <= 200
    if not (named is None or short or _is_whole(named, 10**9)):
        raise ValueError("a class name, index or WordNet id, or null")


def _is_whole(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def queries_of(value: Mapping[str, Any]) -> Iterator[str | None]:
    """The classes that a checked object names."""
    for one in _plain_of(value):
        for each in one.get("parents", [one]):
            yield None if each.get("class") is None else str(each["class"])


def _plain_of(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [value["vary"]] if "vary" in value else value.get("blend") or value.get("mix") or [value]


def object_of(value: Mapping[str, Any], named: Named) -> ObjectSpec:
    """The object that a checked `value` says. Raises RequestError as `blend`, `mix` and `variation` do."""
    parts = [_spec_of(one, named) for one in _plain_of(value)]
    if "blend" in value:
        return blend(parts[0], parts[1], value.get("at", 0.5))
    if "mix" in value:
        return mix(parts[0], parts[1])
    if "vary" in value:
        return variation(parts[0], value.get("number", 1), value.get("strength", STRENGTH))
    return parts[0]


def _spec_of(value: Mapping[str, Any], named: Named) -> ObjectSpec:
    if "parents" not in value:
        return ObjectSpec(*named(_query(value)), value["seed"])
    parts = [
        (ObjectSpec(*named(_query(one)), one["seed"]), float(one["early"]), float(one["late"]))
        for one in value["parents"]
    ]
    spec = combined(parts)
    return replace(spec, late_from=value.get("late_from")) if spec.parents else spec


def _query(value: Mapping[str, Any]) -> str | None:
    return None if value.get("class") is None else str(value["class"])


def said(spec: ObjectSpec) -> dict[str, Any]:
    """The object as a request says it, shortest: classes by their WordNet id, or their name where they have none."""
    if not spec.parents:
        return {"class": _short(spec.record), "seed": spec.seed}
    parents = [
        {"class": _short(one.record), "seed": one.seed, "early": one.early, "late": one.late}
        for one in spec.parents
    ]
    return {"parents": parents, "late_from": spec.late_from}


def _short(record: ClassRecord) -> str | None:
    return record.get("wnid") or (record["name"] if "label" in record else None)

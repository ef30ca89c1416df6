"""Settings from a command line: KEY=VALUE over a configuration."""

from __future__ import annotations

import difflib
import typing
from dataclasses import fields, is_dataclass, replace
from typing import Any

from gp3d_core.config.schema import Config, ConfigError, RunConfig, checked, flatten, nearest, unread

_NAMED = 3  # keys that advice names at most


def override(config: Config, assignment: str) -> Config:
    """Returns `config` with one value replaced, e.g. "training.batch=32" or "loss.blur.kimg=50".

    Raises ConfigError for a key that does not exist or a value of the wrong type.
    """
    key, separator, text = assignment.partition("=")
    if not separator:
        raise ConfigError(f"expected KEY=VALUE, found {assignment!r}; for example training.batch=32")
    if isinstance(config, RunConfig) and (name := unread(config, key)) is not None:
        raise ConfigError(f"{key}: {config.system}, which `preset` {config.preset} trains, has no {name}")
    if key == "preset":
        raise ConfigError("preset is a name, not a value to set; use `preset`")
    try:
        changed: Config = _override(config, key.split("."), text, key)
    except _UnknownKeyError:
        raise ConfigError(f"no configuration key {key!r}; {_nearest_key(key, config)}") from None
    return changed


class _UnknownKeyError(KeyError):
    """A dotted key that names nothing."""


def _nearest_key(key: str, config: Any) -> str:
    """Advice for a key that does not exist, in whole dotted keys: those with its last word, else the nearest."""
    keys = list(flatten(config))
    same = [known for known in keys if known.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    same.sort(key=lambda known: (known.count("."), -difflib.SequenceMatcher(None, key, known).ratio()))
    if same:
        return f"did you mean {' or '.join(map(repr, same[:_NAMED]))}?"
    groups = {known.rsplit(".", depth)[0] for known in keys for depth in (1, 2) if known.count(".") > depth}
    close = difflib.get_close_matches(key, [*keys, *groups], n=1, cutoff=0.7)
    return nearest(key, close or [f.name for f in fields(config)])


def _override(node: Any, path: list[str], text: str, key: str) -> Any:
    names = [f.name for f in fields(node)]
    if path[0] not in names:
        raise _UnknownKeyError(key)
    value = getattr(node, path[0])
    if is_dataclass(value) != (len(path) > 1):
        inside = (
            ", ".join(f"{key}.{f.name}" for f in fields(value)) if is_dataclass(value) else "nothing below it"
        )
        raise ConfigError(f"configuration key {key!r} has {inside}")
    if len(path) > 1:
        return replace(node, **{path[0]: _override(value, path[1:], text, key)})
    return replace(node, **{path[0]: _parse(text, typing.get_type_hints(type(node))[path[0]], key)})


def _parse(text: str, hint: Any, key: str) -> Any:
    """Converts the text of a command line to the type of a field."""
    if typing.get_origin(hint) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if hint is bool:
        truth = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in truth:
            raise ConfigError(f"{key} expects true or false, found {text!r}")
        return truth[text.lower()]
    if hint in (int, float):
        try:
            return checked(hint(text), hint, key)
        except ValueError:
            raise ConfigError(
                f"{key} expects {'a whole number' if hint is int else 'a number'}, found {text!r}"
            ) from None
    return checked(text, hint, key)

"""Which models of a library may be used: those whose licence is among the ones asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from synthetic.layouts.licences import UNKNOWN, LicenceFilter
from synthetic.layouts.shapenet import LibraryError, Model

_NAMED = 3  # models that a line names at most
_LINES = 10  # about faults


def licence_of(model: Model) -> str:
    """The SPDX licence of a model, "unknown" where its library states none."""
    return model.credit.licence if model.credit else UNKNOWN


def permitted(models: Sequence[Model], allowed: LicenceFilter | None) -> tuple[list[Model], list[str]]:
    """The models whose licence is `allowed` (None: all), and lines for people: what is left out, and what is faulty.

    Raises LibraryError where none is allowed.
    """
    lines = [*_faults(models)]
    if allowed is None:
        return list(models), lines
    chosen = [model for model in models if allowed.allows(licence_of(model))]
    others = Counter(map(licence_of, models)) - Counter(map(licence_of, chosen))
    found = ", ".join(f"{licence} ({count})" for licence, count in sorted(others.items()))
    if not chosen:
        raise LibraryError(f"no model has a licence that --licences allows; there are {found}")
    if others:
        lines.append(f"--licences leaves {len(models) - len(chosen)} of {len(models)} models out: {found}")
    return chosen, lines


def _faults(models: Sequence[Model]) -> list[str]:
    """A line for every fault of licences.jsonl, with how many models have it and the first of them."""
    having: dict[str, list[str]] = {}
    for model in models:
        if model.credit and model.credit.fault:
            having.setdefault(model.credit.fault, []).append(f"{model.key} ({model.credit.licence})")
    lines = []
    for fault, keys in having.items():
        more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
        lines.append(f"licences.jsonl: {', '.join(keys[:_NAMED])}{more}: {fault}")
    if len(lines) <= _LINES:
        return lines
    return [*lines[:_LINES], f"licences.jsonl: {len(lines) - _LINES} more kinds of faults"]

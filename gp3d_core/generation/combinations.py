"""Objects made of others: blends, mixes and variations. All are weighted sums of style codes; quick, without torch.

An object's style codes are early or late: coarse layers say most about its shape, later ones most about its colours. A
blend takes the same shares of both, a mix the early codes of one object and the late ones of another, a variation an
object's own early codes and late ones on the way to another of its class. Sums of sums are sums: what is combined can
be combined again, and a recipe names the parents with their shares. Truncation is the same for all parents.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gp3d_core.generation.objects import (
    MOST_PARENTS,
    ObjectSpec,
    Parent,
    RequestError,
    object_specs,
)

if TYPE_CHECKING:
    from gp3d_core.datasets.imagenet import ClassRecord
    from gp3d_core.snapshots.catalogue import Catalogue
    from gp3d_core.snapshots.metadata import SnapshotFacts

STEPS = 5  # of a blend, its ends among them
MOST_STEPS = 64
STRENGTH = 0.5  # of a variation: how far its late codes are on their way to those of another object
_OTHER_SEEDS = 10**9
_DIGITS = 9  # of a share


def blend(first: ObjectSpec, second: ObjectSpec, at: float) -> ObjectSpec:
    """The object at `at` of the way from `first`, 0, to `second`, 1; at the ends these themselves."""
    _check_share("at", at)
    return combined([(first, 1 - at, 1 - at), (second, at, at)])


def blends(first: ObjectSpec, second: ObjectSpec, steps: int = STEPS) -> list[ObjectSpec]:
    """The objects on the way from `first` to `second` in even `steps`, both ends among them."""
    if not 2 <= steps <= MOST_STEPS:
        raise RequestError(f"`steps`: expected 2 to {MOST_STEPS}, found {steps}")
    return [blend(first, second, number / (steps - 1)) for number in range(steps)]


def mix(shape: ObjectSpec, colors: ObjectSpec) -> ObjectSpec:
    """An object with the early style codes of `shape` and the late ones of `colors`."""
    return combined([(shape, 1.0, 0.0), (colors, 0.0, 1.0)])


def variation(spec: ObjectSpec, number: int, strength: float = STRENGTH) -> ObjectSpec:
    """Variation `number` of an object: late codes `strength` (0 to 1) of the way to another object of its class.

    Which other one depends on the object and the number alone; number 0 is the object itself.
    """
    _check_share("strength", strength)
    if number == 0:
        return spec
    text = f"{spec.stem}/{number}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % _OTHER_SEEDS
    other = ObjectSpec(spec.record, spec.label, seed)
    return combined([(spec, 1.0, 1 - strength), (other, 0.0, strength)])


def combined(parts: Sequence[tuple[ObjectSpec, float, float]]) -> ObjectSpec:
    """The weighted sum of objects, each with its share of early and of late codes.

    Raises RequestError for more parents than a recipe may name, or for parts that call other codes late.
    """
    starts = {spec.late_from for spec, _, _ in parts if spec.late_from is not None}
    if len(starts) > 1:
        raise RequestError(
            "objects of different versions of GP3D call other style codes late; make one of them again"
        )
    shares: dict[tuple[int, int], Parent] = {}
    for spec, early, late in parts:
        for one in spec.parents or (Parent(spec.record, spec.label, spec.seed),):
            before = shares.get((one.label, one.seed), Parent(one.record, one.label, one.seed, 0.0, 0.0))
            sums = (before.early + early * one.early, before.late + late * one.late)
            shares[one.label, one.seed] = Parent(
                one.record, one.label, one.seed, *(round(s, _DIGITS) for s in sums)
            )
    parents = tuple(one for one in shares.values() if one.early or one.late)
    if len(parents) > MOST_PARENTS:
        raise RequestError(
            f"expected at most {MOST_PARENTS} objects to combine one from, found {len(parents)}"
        )
    main = max(parents, key=lambda one: one.early)
    if len(parents) == 1:
        return ObjectSpec(main.record, main.label, main.seed)
    return ObjectSpec(main.record, main.label, main.seed, parents, next(iter(starts), None))


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise RequestError(f"`{name}`: expected a number from 0 to 1, found {value!r}")


# Command lines


@dataclass(frozen=True)
class Combining:
    """What a command line makes of every object it names: blends with another, a mix with its colours, variations.

    `blend_with` and `colors_of` are objects as texts, SEED or CLASS:SEED; `at` is one place of the way instead of
    `steps`.
    """

    blend_with: str | None = None
    steps: int | None = None
    at: float | None = None
    colors_of: str | None = None
    variations: int | None = None
    strength: float | None = None

    @property
    def other(self) -> str | None:
        """The other object, as a text."""
        return self.blend_with if self.blend_with is not None else self.colors_of

    def of(self, spec: ObjectSpec, other: ObjectSpec | None) -> list[ObjectSpec]:
        """The objects that are made of `spec`, and of the other one where there is one."""
        if other is not None and self.colors_of is not None:
            return [mix(spec, other)]
        if other is not None and self.at is not None:
            return [blend(spec, other, self.at)]
        if other is not None:
            return blends(spec, other, STEPS if self.steps is None else self.steps)
        strength = STRENGTH if self.strength is None else self.strength
        return [variation(spec, number, strength) for number in range(1 + (self.variations or 0))]


def specs_combined(
    models: Catalogue,
    classes: Sequence[str] | None,
    seeds: Sequence[int],
    how: Combining,
    report: Callable[[str], object] | None = None,
) -> list[tuple[SnapshotFacts, list[ObjectSpec]]]:
    """What is made of all classes × seeds, by the model that makes it: the first that knows all classes of an object.

    Raises RequestError where no model does, UnknownClassError, or as the functions above.
    """
    named, seed = (None, None) if how.other is None else _parsed(how.other)
    made: dict[int, tuple[SnapshotFacts, list[ObjectSpec]]] = {}
    for found in object_specs(models, classes, seeds, report):
        label = found.label if named is None else _label(models, named, report)
        model, records = together(models, [found.label, label])
        own = records[found.label]
        spec = ObjectSpec(own, _label_of(own), found.seed)
        other = None if seed is None else ObjectSpec(records[label], _label_of(records[label]), seed)
        made.setdefault(models.models.index(model), (model, []))[1].extend(how.of(spec, other))
    return [made[number] for number in sorted(made)]


def together(models: Catalogue, labels: Sequence[int]) -> tuple[SnapshotFacts, dict[int, ClassRecord]]:
    """The first model that knows all classes with these labels of the catalogue, and their records there, unrated.

    Raises RequestError if none does.
    """
    from gp3d_core.datasets.imagenet import unrated  # not before it is needed: help is instant

    for model in models.models:
        if len(records := models.records_in(model, labels)) == len(set(labels)):
            return model, {label: unrated(record) for label, record in records.items()}
    names = " and ".join(dict.fromkeys(str(models.known[label][1]["name"]) for label in labels))
    raise RequestError(f"no model knows {names} together; objects are combined within one model")


def _label_of(record: ClassRecord) -> int:
    return int(record.get("label", 0))


def _parsed(text: str) -> tuple[str | None, int]:
    """Class, None for that of the first object, and seed of SEED or CLASS:SEED. Raises RequestError."""
    named, _, seed = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,18}", seed):
        raise RequestError(f"expected SEED or CLASS:SEED of the other object, found {text!r}")
    return named.strip() or None, int(seed)


def _label(models: Catalogue, named: str, report: Callable[[str], object] | None) -> int:
    """The label in the catalogue of the class that a text means. Raises UnknownClassError."""
    from gp3d_core.datasets.imagenet import choose_class  # not before it is needed: help is instant

    if not models.classes:
        raise RequestError(f"{models.path} was trained without classes; give the other object as SEED")
    chosen = choose_class(named, models.classes)
    if chosen.note and report is not None:
        report(chosen.note)
    return chosen.entry.label or 0

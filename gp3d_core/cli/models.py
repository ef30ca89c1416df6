"""The commands `gp3d classes`, `gp3d card` and `gp3d ship`, and which model a command uses that names none."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gp3d_core.cli.arguments import (
    UsageError,
    add_page,
    any_path,
    new_path,
    report,
    show_page,
)
from gp3d_core.pretrained import is_name, name_of, nearest_name, shipped_models

if TYPE_CHECKING:
    from gp3d_core.generation.objects import ObjectSpec
    from gp3d_core.snapshots.catalogue import Catalogue
    from gp3d_core.snapshots.metadata import SnapshotFacts


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the model that a command works with, as `chosen_models` reads it."""
    parser.add_argument(
        "snapshot",
        type=any_path,
        nargs="?",
        help="snapshot file, run folder (its newest), or the name of a pretrained model; default: those of them that "
        "have the class",
    )


def add_classes(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d classes`."""
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="one JSON list, with all that was measured")
    parser.set_defaults(command=_classes)


def add_ship(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d ship`."""
    parser.add_argument("snapshot", type=any_path, help="snapshot file, or a run folder (its newest)")
    parser.add_argument("out", type=new_path, help="the .safetensors file to write")
    parser.add_argument(
        "--measures",
        type=any_path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="metrics.jsonl of gp3d evaluate; a later one overrules",
    )
    parser.add_argument(
        "--license", metavar="TEXT", help="of the model and what it makes, in words: files of meshes name it"
    )
    parser.set_defaults(command=_ship)


def add_card(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d card`."""
    parser.add_argument(
        "snapshot",
        type=any_path,
        nargs="?",
        help="snapshot, VQ3D tokenizer or prior, run folder (its newest), or the name of a pretrained model; default: "
        "the main one",
    )
    add_page(parser)
    parser.set_defaults(command=_card)


def chosen_models(named: Path | None) -> Catalogue:
    """What the headers of models say of them, without torch: of the one that is named, as `find_snapshot` finds it.

    None are the pretrained models, which are announced on stderr; so is a model that has hardly been trained.
    """
    from gp3d_core.snapshots.catalogue import catalogue
    from gp3d_core.snapshots.metadata import BARELY, share_trained

    _check_name(named)
    models = catalogue(named)
    if named is None:
        names = " and ".join(name_of(facts.path) for facts in models.models)
        which = f"models {names}" if len(models.models) > 1 else "model"
        report(f"using the pretrained {which}: {len(models.classes)} classes; see gp3d classes")
    for facts in models.models:
        share = share_trained(facts.config, facts.nimg)
        if share < BARELY:
            seen = f"{facts.nimg:,} of {facts.config.training.schedule.images:,} images"
            report(f"{facts.path.name} is barely trained: {seen}, {share:.1%} of what was planned")
    return models


def _check_name(named: Path | None) -> None:
    """Raises UsageError for a word that is neither a path nor the name of a model: it may be a class."""
    if named is None or named.name != str(named) or named.suffix or named.exists() or is_name(named.name):
        return
    near = nearest_name(named.name)
    meant = f"the model {near} or " if near else ""
    raise UsageError(f"no snapshot at {named}; did you mean {meant}--class {shlex.quote(str(named))}?")


def report_duties(chosen: Sequence[tuple[SnapshotFacts, Sequence[ObjectSpec]]]) -> None:
    """Says on stderr of pretrained models that owe somebody credit which classes are theirs, a line each."""
    from gp3d_core.snapshots.catalogue import duty

    for model, specs in chosen:
        names = list(dict.fromkeys(str(spec.record["name"]) for spec in specs))
        if name_of(model.path) != model.path.name and (line := duty(model, names)):
            report(line)


def _classes(options: argparse.Namespace) -> int:
    from gp3d_core.datasets.imagenet import classes_by_kind, describe_class
    from gp3d_core.pretrained.report_cards import card_of, report_cards
    from gp3d_core.snapshots.catalogue import catalogue, duty

    models = catalogue(options.snapshot)
    owners = [(name_of(facts.path), record) for facts, record in models.known]
    if options.json:
        entries = [
            describe_class(record)
            | {"measures": record.get("measures"), "geometry": card_of(facts.path, record), "model": owner}
            for (owner, record), (facts, _) in zip(owners, models.known, strict=True)
        ]
        print(json.dumps(entries, indent=1))
        return 0
    if not owners:
        print(f"{models.path} was trained without classes", file=sys.stderr)
    for kind, some in classes_by_kind(models.classes):
        for record in some:
            owner = owners[record["label"]][0] if len(models.models) > 1 else ""
            print(_row(describe_class(record), kind, owner))
    for facts in models.models:
        if folder := report_cards(facts.path):
            report(f"report cards of the model {name_of(facts.path)}: {folder / 'index.html'}")
    if options.snapshot is None:
        _report_others()
        for facts in models.models:
            if line := duty(facts, [f"{len(facts.classes)} classes"]):
                report(line)
    return 0


def _row(entry: dict[str, Any], kind: str, owner: str) -> str:
    """The line of a class, with the name of its model where there are several."""
    index = "" if entry["imagenet_index"] is None else entry["imagenet_index"]
    start = f"{index:>4}  {entry['wnid'] or '':9}  {entry['badge'] or '–':5}"
    return (
        f"{start}  {entry['name']:24}  {kind:16}  {owner}"
        if owner
        else f"{start}  {entry['name']:24}  {kind}"
    )


def _report_others() -> None:
    """Says on stderr which pretrained models are asked only where they are named."""
    for one in shipped_models(also_named=True):
        if one.only_named:
            report(f"also there, for who names it: {one.name} (gp3d classes {one.name})")


def _card(options: argparse.Namespace) -> int:
    from gp3d_core.snapshots.card import page_of
    from gp3d_core.snapshots.run_folder import find_snapshot

    return show_page(page_of(find_snapshot(options.snapshot)), options.out)


def _ship(options: argparse.Namespace) -> int:
    from collections import Counter

    from gp3d_core.snapshots.export import ship
    from gp3d_core.snapshots.metadata import read_snapshot_facts
    from gp3d_core.snapshots.run_folder import find_snapshot

    classes = ship(find_snapshot(options.snapshot), options.out, options.measures, options.license)
    badges = Counter(record.get("badge", "not measured") for record in classes)
    found = ", ".join(f"{count} {badge}" for badge, count in badges.items()) or "no classes"
    print(f"{options.out.stat().st_size / 1e6:.1f} MB; {found}", file=sys.stderr)
    if learnt := read_snapshot_facts(options.out).licences:
        print(f"learnt from models under {learnt.in_words()}; gp3d card says what it owes", file=sys.stderr)
    print(options.out)
    return 0

"""The commands `gp3d classes`, `gp3d card` and `gp3d ship`, and which model a command uses that names none."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gp3d_core.cli.arguments import UsageError, add_page, new_path, report, show_page

if TYPE_CHECKING:
    from gp3d_core.snapshots.metadata import SnapshotFacts


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the model that a command works with, as `model_facts` reads it."""
    parser.add_argument(
        "snapshot",
        type=Path,
        nargs="?",
        help="snapshot file, or a run folder (its newest); default: the pretrained model",
    )


def add_classes(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d classes`."""
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="one JSON list, with all that was measured")
    parser.set_defaults(command=_classes)


def add_ship(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d ship`."""
    parser.add_argument("snapshot", type=Path, help="snapshot file, or a run folder (its newest)")
    parser.add_argument("out", type=new_path, help="the .safetensors file to write")
    parser.add_argument(
        "--measures",
        type=Path,
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
        type=Path,
        nargs="?",
        help="snapshot, VQ3D tokenizer or prior, or a run folder (its newest); default: the pretrained model",
    )
    add_page(parser)
    parser.set_defaults(command=_card)


def model_facts(named: Path | None) -> SnapshotFacts:
    """What the header of a model says of it, without torch: of a snapshot file, or the newest of a run folder.

    None is the pretrained model, which is announced on stderr; so is a model that has hardly been trained.
    """
    from gp3d_core.snapshots.metadata import BARELY, read_snapshot_facts, share_trained
    from gp3d_core.snapshots.run_folder import find_snapshot

    if named is not None and named.name == str(named) and not named.suffix and not named.exists():
        raise UsageError(f"no snapshot at {named}; did you mean --class {shlex.quote(str(named))}?")
    facts = read_snapshot_facts(find_snapshot(named))
    if named is None:
        print(f"using the pretrained model: {len(facts.classes)} classes; see gp3d classes", file=sys.stderr)
    share = share_trained(facts.config, facts.nimg)
    if share < BARELY:
        seen = f"{facts.nimg:,} of {facts.config.training.schedule.images:,} images"
        report(f"{facts.path.name} is barely trained: {seen}, {share:.1%} of what was planned")
    return facts


def _classes(options: argparse.Namespace) -> int:
    from gp3d_core.datasets.imagenet import classes_by_kind, describe_class
    from gp3d_core.snapshots.metadata import read_snapshot_facts
    from gp3d_core.snapshots.run_folder import find_snapshot

    path = find_snapshot(options.snapshot)
    records = read_snapshot_facts(path).classes
    entries = [describe_class(record) | {"measures": record.get("measures")} for record in records]
    if options.json:
        print(json.dumps(entries, indent=1))
        return 0
    if not entries:
        print(f"{path} was trained without classes", file=sys.stderr)
    for kind, some in classes_by_kind(records):
        for entry in map(describe_class, some):
            index = "" if entry["imagenet_index"] is None else entry["imagenet_index"]
            start = f"{index:>4}  {entry['wnid'] or '':9}  {entry['badge'] or '–':5}"
            print(f"{start}  {entry['name']:24}  {kind}")
    return 0


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

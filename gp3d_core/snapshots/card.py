"""The card of a model: what it is, what it has learnt from, and what it owes to whom. Read from its header alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gp3d_core.datasets.imagenet import class_records
from gp3d_core.licences.page import escaped, licence_lines
from gp3d_core.licences.parts import UNKNOWN, clean
from gp3d_core.pretrained import LICENSE, ORIGIN, is_own, name_of
from gp3d_core.snapshots.metadata import SNAPSHOT, SnapshotError, kind_of, licences_in, read_header

_TITLES = {
    SNAPSHOT: "A model of {system}",
    "gp3d-vq3d": "A VQ3D tokenizer",
    "gp3d-vq3d-prior": "A code prior of VQ3D",
}
_NOT_SAID = (
    "The file does not say it: it was written by an older version. Ask whoever trained it, or train it again."
)


def page_of(path: Path) -> str:
    """The card of the snapshot, tokenizer or code prior at `path` as Markdown.

    Raises SnapshotError for another file, and for one that is damaged or of another version.
    """
    if not path.is_file():
        raise SnapshotError(f"no model at {path}")
    kind = kind_of(path)
    if kind not in _TITLES:
        raise SnapshotError(
            f"{path}: expected a snapshot, a VQ3D tokenizer or a code prior, found {kind or 'none'}"
        )
    facts = read_header(path, kind)
    try:
        licences, classes, nimg = licences_in(facts), class_records(facts["classes"]), int(facts["nimg"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SnapshotError(
            f"{path} was written by another version of gp3d ({error}); use that version"
        ) from error
    own = not licences and is_own(path)
    names = ", ".join(escaped(clean(str(record["name"]), 200)) for record in classes)
    lines = [
        f"# {escaped(clean(name_of(path), 200))}",
        "",
        f"{_TITLES[kind].format(system=_system(facts))} for GP3D, after {nimg:,} images.",
        "",
        f"Licence of the model: {_license(facts, own)}",
        "",
        f"Classes ({len(classes)}): {names or 'none'}",
        "",
        "## What it learnt from, and what is owed to whom",
        "",
    ]
    if licences:
        lines += licence_lines(licences)
    else:
        lines.append(f"It was made from {ORIGIN}." if own else _NOT_SAID)
    return "\n".join(lines) + "\n"


def _system(facts: dict[str, Any]) -> str:
    """The system that a snapshot is of, as its file calls it."""
    return escaped(clean(str(facts.get("system", "3DGP")), 200))


def _license(facts: dict[str, Any], own: bool) -> str:
    stated = facts.get("license", LICENSE if own else "")
    return escaped(clean(str(stated), 1000)) or f"{UNKNOWN}: nobody has stated one"

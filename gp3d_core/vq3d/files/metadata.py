"""Which file of VQ3D is meant, and what a code prior says of its classes: quick, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gp3d_core.datasets.imagenet import ClassRecord, choose_class, class_records
from gp3d_core.errors import GP3DError
from gp3d_core.pretrained import NAME, vq3d_prior, vq3d_tokenizer
from gp3d_core.snapshots.metadata import SnapshotError, read_header
from gp3d_core.snapshots.run_folder import find_snapshot
from gp3d_core.vq3d.config import SamplingError

TOKENIZER_FORMAT = "gp3d-vq3d"
PRIOR_FORMAT = "gp3d-vq3d-prior"
SCENE_FORMAT = "gp3d-vq3d-scene"


def find_tokenizer(path: Path) -> Path:
    """The file that is meant: the newest of a run folder, the pretrained one for "box", else `path` itself.

    Raises RunError for a folder without snapshots, PretrainedError if nothing came along.
    """
    return vq3d_tokenizer() if path == Path(NAME) else find_snapshot(path)


def find_prior(path: Path) -> Path:
    """The file that is meant, as for tokenizers: see `find_tokenizer`."""
    return vq3d_prior() if path == Path(NAME) else find_snapshot(path)


def check_tokenizer(path: Path) -> Path:
    """The file that is meant, as `find_tokenizer`. Raises SnapshotError, too, for one that holds no tokenizer."""
    file = find_tokenizer(path)
    tokenizer_header(file)
    return file


def tokenizer_header(path: Path) -> dict[str, Any]:
    """The facts of the tokenizer at `path`. Raises SnapshotError, as `read_header`."""
    if not path.exists():
        raise SnapshotError(f"no tokenizer at {path}; gp3d vq3d train makes one")
    return read_header(path, TOKENIZER_FORMAT)


def check_scene_file(path: Path) -> None:
    """Raises SnapshotError for a file that is missing, damaged, of another format or of another version."""
    read_header(path, SCENE_FORMAT)


def prior_classes(path: Path) -> list[ClassRecord]:
    """Records of the classes that the code prior of a file or run folder knows; [] if it was trained without.

    Raises SnapshotError for a file that is missing, damaged, of another format or of another version.
    """
    file = find_prior(path)
    try:
        return class_records(read_header(file, PRIOR_FORMAT)["classes"])
    except (KeyError, ValueError) as error:
        if isinstance(error, GP3DError):
            raise
        raise SnapshotError(
            f"{file} was written by another version of gp3d ({error}); use that version"
        ) from error


def label_of(
    class_name: str | None,
    classes: list[ClassRecord],
    path: Path,
    report: Callable[[str], object] | None = None,
) -> int:
    """The label that `class_name` means among the `classes` of the code prior at `path`; that of "any" for None.

    `report` hears which class was taken for a word that is not its name: "mug → coffee mug". Raises UnknownClassError
    for a class that the code prior does not know, SamplingError if it knows none.
    """
    if class_name is None:
        return len(classes)
    if not classes:
        raise SamplingError(f"{path} was trained without classes; leave `class_name` out")
    chosen = choose_class(class_name, classes)
    if chosen.note and report is not None:
        report(chosen.note)
    return len(classes) if chosen.entry.label is None else chosen.entry.label

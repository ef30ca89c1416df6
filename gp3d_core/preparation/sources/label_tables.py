"""Tables of labels beside pictures: which picture is of which class, for folders that do not say.

Known forms: Tiny ImageNet's `val_annotations.txt` (name, WordNet id and box, between tabs), the challenge's
`LOC_val_solution.csv` (ImageId, PredictionString), and any CSV or TSV whose first two columns are a picture's name and
its class. A list of bare numbers is refused: there are several orders of the classes.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from gp3d_core.preparation.sources.trees import SourceError

ANNOTATIONS = "val_annotations.txt"
_MOST_BYTES = 256 * 2**20
_HEADS = {"file", "filename", "file_name", "image", "imageid", "image_id", "name", "path", "picture"}
_WNID = re.compile(r"n\d{8}")


class LabelTable:
    """Classes by picture: of its path in the source, else of its name, else of its name without ending."""

    def __init__(self, labels: dict[str, str], where: str) -> None:
        """`labels` by what the table calls the pictures; `where` names it in messages."""
        self._labels = labels
        self.where = where

    def __len__(self) -> int:
        return len(self._labels)

    def label_of(self, name: str) -> str | None:
        """The class of the picture at the path `name`, None where the table has none."""
        path = PurePosixPath(name)
        return next((self._labels[key] for key in (name, path.name, path.stem) if key in self._labels), None)

    def merged(self, other: LabelTable) -> LabelTable:
        """Both; what both have is said by `other`."""
        return LabelTable({**self._labels, **other._labels}, other.where)


def read_table(path: Path) -> LabelTable:
    """The table in a file that a user names. Raises SourceError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path}: the table of labels cannot be read ({error.strerror})") from None
    if len(content) > _MOST_BYTES:
        raise SourceError(f"{path}: has more than {_MOST_BYTES >> 20} MiB, too much for a table of labels")
    return parse_table(content, str(path))


def parse_table(content: bytes, where: str, folders: Sequence[str] = ("",)) -> LabelTable:
    """The table in a file's content; names in it are relative to any of `folders` of the source. Raises SourceError."""
    labels: dict[str, str] = {}
    for number, (name, label) in enumerate(_rows(content, where), 1):
        if number == 1 and name.lower() in _HEADS:
            continue
        for folder in folders:
            key = (PurePosixPath(folder) / name.replace("\\", "/")).as_posix()
            if labels.setdefault(key, label) != label:
                raise SourceError(f"{where}: {name} has two labels, {labels[key]!r} and {label!r}")
    if not labels:
        raise SourceError(f"{where}: has no rows of a picture's name and its class")
    return LabelTable(labels, where)


def _rows(content: bytes, where: str) -> Iterator[tuple[str, str]]:
    try:
        text = content.decode("utf-8-sig")
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), 1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) < 2 or not cells[0] or not cells[1]:
                bare = " (numbers alone say nothing, as classes have several orders)" * cells[0].isdigit()
                raise SourceError(
                    f"{where}: row {number} is {','.join(cells)[:40]!r}, "
                    f"expected a picture's name and its class{bare}"
                )
            first = cells[1].split()[0]  # a solution names the class, then boxes
            yield cells[0], first if _WNID.fullmatch(first) else cells[1]
    except (ValueError, csv.Error) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{where}: cannot be read as a table of labels ({error})") from None

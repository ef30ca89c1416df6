"""A source of pictures, whatever it is: listed once, read by many processes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gp3d_core.datasets.decoding import PictureError
from gp3d_core.preparation.sources.folders import Layout
from gp3d_core.preparation.sources.label_tables import read_table
from gp3d_core.preparation.sources.layouts import Listing, list_pictures
from gp3d_core.preparation.sources.tables import TableReader, is_table, list_tables
from gp3d_core.preparation.sources.trees import (
    FolderReader,
    Reader,
    SourceError,
    ZipReader,
    list_folder,
    list_zip,
)


@dataclass(frozen=True)
class Source:
    """Where pictures come from and how they are found there.

    path: folder, zip, or table. layout: "auto", "ids", "classes" or "flat". labels: a table with the classes of
    pictures whose folders say none (label_tables). follow_links: also links that lead out of the folder. split,
    image_column, label_column: which part and which columns of a Hugging Face data set.
    """

    path: Path
    layout: Layout = "auto"
    labels: Path | None = None
    follow_links: bool = False
    split: str | None = None
    image_column: str | None = None
    label_column: str | None = None

    def list(self) -> Listing:
        """All pictures. SourceError where there are none."""
        if not self.path.exists():
            raise SourceError(
                f"no source at {self.path}: expected a folder, a zip, or a Hugging Face data set"
            )
        if is_table(self.path):
            if self.labels is not None:
                raise SourceError(f"`labels` is for folders and zips, {self.path} is a table itself")
            return list_tables(
                self.path, split=self.split, image_column=self.image_column, label_column=self.label_column
            )
        for name, value in (("`split`", self.split), ("`image_column`", self.image_column)):
            if value is not None:
                raise SourceError(f"{name} is for tables (Arrow, Parquet), {self.path} is none")
        folder = self.path.is_dir()
        files = list_folder(self.path, follow_links=self.follow_links) if folder else list_zip(self.path)
        reader = self.open()

        def metadata(name: str) -> bytes:
            try:
                return reader.read(name)
            except PictureError as error:
                raise SourceError(f"{self.path}/{name} {error}") from error

        return list_pictures(
            files,
            metadata,
            str(self.path),
            layout=self.layout,
            label_column=self.label_column,
            table=None if self.labels is None else read_table(self.labels),
        )

    def open(self) -> Reader:
        """A reader of its own; each process needs one."""
        if is_table(self.path):
            return TableReader(self.path, self.split, self.image_column)
        return FolderReader(self.path) if self.path.is_dir() else ZipReader(self.path)


def listing_hash(listing: Listing) -> str:
    """Hash of keys and classes: is it still the source that was begun with?"""
    digest = hashlib.sha256()
    for entry in listing.entries:
        digest.update(f"{entry.key}\0{entry.label}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()

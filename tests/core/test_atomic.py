"""Files appear whole or not at all, and a disk that is full is reported with the name of the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gp3d_core.atomic import (
    PlaceError,
    check_writable,
    forget_leftovers_of,
    is_leftover,
    naming,
    replacing,
    transaction,
    write_text,
)
from gp3d_core.hashing import FileKindError
from tests.support.full_disk import files_end_at


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files of this process cannot grow beyond 4096 bytes, as on a disk that is full."""
    with files_end_at(4096):
        yield


@pytest.mark.usefixtures("small_files")
def test_a_write_that_fails_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError) as error:  # noqa: PT011  (the number is checked below)
        write_text(path, "x" * 10_000)
    assert error.value.errno == errno.EFBIG
    assert error.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_with_a_name_of_their_own_keep_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "a.txt"):
        Path(tmp_path, "none").read_text()
    assert error.value.filename.endswith("none")


def test_a_name_that_is_a_folder_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_text(tmp_path / "a.txt", "new")
    assert (error.value.filename, error.value.filename2) == (str(tmp_path / "a.txt"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_missing_is_told_by_the_file_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "none/a.txt"
    with pytest.raises(FileNotFoundError) as error:
        write_text(path, "new")
    assert error.value.filename == str(path)


def test_files_aside_are_told_by_the_place_where_they_belong(tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    with pytest.raises(FileNotFoundError) as error, naming(aside, tmp_path):
        (aside / "below/a.txt").write_text("new")
    assert error.value.filename == str(tmp_path / "below/a.txt")
    with pytest.raises(FileNotFoundError) as error, naming(aside, tmp_path):
        Path("/none/a.txt").read_text()
    assert error.value.filename == "/none/a.txt"
    with pytest.raises(OSError, match="full") as full, naming(aside, tmp_path):
        raise OSError(errno.ENOSPC, "full")
    assert full.value.filename == str(tmp_path)


@pytest.mark.parametrize("place", ["file.txt", "file.txt/below"])
def test_folders_that_cannot_be_are_told_before_anything_is_made(tmp_path: Path, place: str) -> None:
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(PlaceError, match="expected a folder, found a file"):
        check_writable(tmp_path / place)
    check_writable(tmp_path / "new/and/below")
    with pytest.raises(PlaceError, match=r"/proc/x: nothing can be written in /proc \("):
        check_writable(Path("/proc/x"))
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_file_takes_no_name_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "a.json"
    os.mkfifo(pipe)
    with pytest.raises(FileKindError, match=r"a\.json is a pipe, a socket or a device"):
        write_text(pipe, "{}")
    with transaction(tmp_path) as files:
        (files.path / "a.json").write_text("{}")
        (files.path / "b.json").write_text("{}")
        with pytest.raises(FileKindError, match="pipe"):
            files.publish()
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["n" * 251 + ".txt", "ü" * 127, "n" * 255])
def test_names_may_be_as_long_as_the_file_system_has_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with replacing(path) as temporary:
        temporary.write_text("killed")
        kept = temporary.rename(temporary.with_name(temporary.name.replace(str(os.getpid()), "999999999")))
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert is_leftover(kept)
    forget_leftovers_of(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("below", [".", "a/b"])
def test_a_link_to_nothing_is_no_place_to_write(tmp_path: Path, below: str) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(PlaceError, match=r"link is a link to nowhere, where nothing is; remove the link"):
        check_writable(tmp_path / "link" / below)

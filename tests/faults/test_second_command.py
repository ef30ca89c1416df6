"""A second command on a folder in use ends in one line, touches nothing, and the first ends as if it had been alone."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.faults.exports import reporting, showing
from tests.faults.works import WORKS
from tests.support.two_processes import content, run_alone, stopped_at

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """OpenMP's threads do not survive a fork."""
    torch.set_num_threads(1)


WORKERS = {**WORKS, "report card": reporting}


@pytest.mark.parametrize(
    "name", [name for name in WORKERS if name != "gan"]
)  # as long as the others together
def test_a_second_command_is_refused_and_harms_nothing(name: str, tmp_path: Path) -> None:
    place = tmp_path / "place"  # the same for both: some files hold names
    place.mkdir()
    work = WORKERS[name](place)
    log, second = tmp_path / "log", tmp_path / "second"
    before = tmp_path / "before"
    shutil.copytree(place, before)
    assert run_alone(partial(work.main, work.words), log) == 0, log.read_text()
    alone = {file: data for file, (data, _) in content(work.folder, work.left_out).items()}
    assert alone
    shutil.rmtree(place)
    shutil.copytree(before, place)
    with stopped_at(work.pause, partial(work.main, work.words), log) as go_on:
        held = content(place)
        for words in work.others:
            assert run_alone(partial(work.main, words), second) == 2
            said = second.read_text().splitlines()
            assert len(said) == 1
            assert "another process" in said[0]
            assert content(place) == held
        assert go_on() == 0, log.read_text()
    assert {file: data for file, (data, _) in content(work.folder, work.left_out).items()} == alone


def test_two_commands_that_make_the_same_page_both_make_it_whole(tmp_path: Path) -> None:
    work, log, second = showing(tmp_path), tmp_path / "log", tmp_path / "second"
    page = tmp_path / "page.html"
    assert run_alone(partial(work.main, work.words), log) == 0, log.read_text()
    alone = page.read_bytes()
    page.unlink()
    with stopped_at(work.pause, partial(work.main, work.words), log) as go_on:
        assert run_alone(partial(work.main, work.words), second) == 0, second.read_text()
        assert page.read_bytes() == alone
        assert go_on() == 0, log.read_text()
    assert page.read_bytes() == alone
    assert not list(tmp_path.glob(".*"))

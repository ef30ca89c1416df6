"""A second command on a folder in use ends in one line, touches nothing, and the first ends as if it had been alone."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.faults.works import WORKS
from tests.support.two_processes import content, run_alone, stopped_at

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """OpenMP's threads do not survive a fork."""
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", [name for name in WORKS if name != "gan"])  # as long as the others together
def test_a_second_command_is_refused_and_harms_nothing(name: str, tmp_path: Path) -> None:
    place = tmp_path / "place"  # the same for both: some files hold names
    place.mkdir()
    work = WORKS[name](place)
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

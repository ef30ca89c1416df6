"""Pipes, sockets and devices named like files are refused at once by all that `synthetic` reads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic import check, points, render
from synthetic.library import __main__ as library
from synthetic.shapes import __main__ as shapes
from synthetic.surroundings.pictures import check_picture
from synthetic.surroundings.worlds import read_world
from tests.support.limits import limited_seconds
from tests.support.two_processes import run_alone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("library") / "models"
    words = [str(out), "--classes", "barrel", "--per-class", "1"]
    assert run_alone(partial(shapes.main, words), out.parent / "log") == 0
    return out


def _is_refused(main: Callable[[list[str]], int], words: list[str], log: Path) -> str:
    """The one line with which a command refuses, before long."""

    def limited() -> int:
        with limited_seconds(10):
            return main(words)

    assert run_alone(partial(limited), log) == 2, log.read_text()
    lines = log.read_text().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("name", ["taxonomy.json", "classes.json", "licences.jsonl"])
@pytest.mark.parametrize("command", ["render", "points"])
def test_a_library_with_a_pipe(models: Path, tmp_path: Path, name: str, command: str) -> None:
    shutil.copytree(models, tmp_path / "models")
    (tmp_path / "models" / name).unlink()
    os.mkfifo(tmp_path / "models" / name)
    main = {"render": render.main, "points": points.main}[command]
    assert name in _is_refused(main, [str(tmp_path / "models"), str(tmp_path / "out")], tmp_path / "log")


@pytest.mark.parametrize("name", ["dataset.json", "failures.jsonl"])
def test_a_data_set_with_a_pipe(models: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "set"
    out.mkdir()
    os.mkfifo(out / name)
    said = _is_refused(render.main, [str(models), str(out), "--views", "1"], tmp_path / "log")
    assert name in said
    if name == "dataset.json":
        assert name in _is_refused(points.main, [str(models), str(out)], tmp_path / "log")
        _is_refused(check.main, [str(out), "--models", str(models)], tmp_path / "log")


@pytest.mark.parametrize("name", ["points.json", "models.jsonl"])
def test_points_with_a_pipe(models: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "set/points").mkdir(parents=True)
    os.mkfifo(tmp_path / "set/points" / name)
    assert name in _is_refused(points.main, [str(models), str(tmp_path / "set")], tmp_path / "log")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["0ad"], "0ad-data_1.deb"),
        (["sh3f"], "sweethome3d-furniture_1.deb"),
        (["sh3f"], "furniture.sh3f"),
        (["folder", "--table"], "table.tsv"),
        (["vary", "--per-class", "2"], "models"),
    ],
)
def test_sources_of_libraries_that_are_pipes(tmp_path: Path, words: list[str], name: str) -> None:
    os.mkfifo(tmp_path / name)
    place = [str(tmp_path), str(tmp_path / "out")] if words[-1] == "--table" else []
    words = [words[0], *(place or [str(tmp_path / name), str(tmp_path / "out")]), *words[1:]]
    _is_refused(library.main, [*words, str(tmp_path / name)] if place else words, tmp_path / "log")


def test_libraries_with_a_pipe_in_the_place_of_their_facts(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / "library.json")
    words = ["vary", str(models), str(out), "--per-class", "2"]
    _is_refused(library.main, words, tmp_path / "log")


@pytest.mark.parametrize("device", ["pipe", "/dev/zero"])
def test_surroundings(tmp_path: Path, device: str) -> None:
    path = tmp_path / "world.hdr"
    if device == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(device)
    with limited_seconds(5), pytest.raises(ValueError, match=r"world\.hdr: cannot be read"):
        read_world(path, 64)
    with limited_seconds(5), pytest.raises(ValueError, match=r"world\.hdr: cannot be read"):
        check_picture(path, 64)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "good.png")
    check_picture(tmp_path / "good.png", 64)

"""Index files with values that nobody expects: a status and at most one line of error, never a traceback."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthetic.exchange.files import ExchangeError, Files
from tests.synthetic.exchange.boxes_data import VIEWPOINTS, export
from tests.synthetic.exchange.test_conversion import write_scene

WEIRD = (
    None,
    True,
    -1,
    0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "../x",
    [],
    {},
    [[]],
    [{}],
    10**400,
    "\0",
    "é" * 300,
)
CASES = (
    ("data", "dataset.json", "nerf"),
    ("data", "cameras.json", "nerf"),
    ("data", "dataset.json", "webdataset"),
    ("data", "manifest.json", "bop"),
    ("nerf", "export.json", "gp3d"),
    ("nerf", "dataset/dataset.json", "gp3d"),
    ("bop", "objects.json", "gp3d"),
    ("webdataset", "dataset/dataset.json", "gp3d"),
    ("scene", "transforms.json", "gp3d"),
)


def places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in a JSON text, some of long lists."""
    keys = (
        content
        if isinstance(content, dict)
        else range(min(len(content), 4))
        if isinstance(content, list)
        else ()
    )
    for key in keys:
        yield (*above, key)
        yield from places(content[key], (*above, key))


def garble(path: Path, random_source: random.Random) -> None:
    """Puts something else in the place of a value."""
    content = json.loads(path.read_text())
    *above, key = random_source.choice(list(places(content)))
    holder = content
    for step in above:
        holder = holder[step]
    holder[key] = random_source.choice(WEIRD)
    path.write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.parametrize(("source", "name", "to"), CASES)
def test_garbled_indexes_never_end_in_a_traceback(
    data: Path,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    name: str,
    to: str,
) -> None:
    if source == "scene":
        write_scene(tmp_path / "scene", VIEWPOINTS)
    elif source != "data":
        assert export(data, "--to", source, tmp_path / source) == 0
    options = {"bop": ("--models", models), "gp3d": ("--class-name", "box"), "nerf": (), "webdataset": ()}[to]
    for seed in range(5):
        work, out = tmp_path / f"in{seed}", tmp_path / f"out{seed}"
        shutil.copytree(data if source == "data" else tmp_path / source, work)
        garble(work / name, random.Random(f"{source} {name} {seed}"))
        capsys.readouterr()
        status = export(work, "--to", to, *options, out)
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert (status, len(errors)) in ((0, 0), (2, 1))


def test_a_pipe_named_like_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "transforms.json")
    with pytest.raises(ExchangeError, match=r"transforms\.json is no regular file"):
        Files(tmp_path)

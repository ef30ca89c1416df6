"""Which models are rendered when several libraries are given, and how many of each class."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import trimesh

from synthetic.layouts.shapenet import LibraryError, load_library
from synthetic.render import choose_models
from synthetic.workers.run import Shard


def test_the_first_models_of_each_class_are_those_of_all_libraries(tmp_path: Path) -> None:
    for root, names in (("one", ("mugs/b", "mugs/d", "chairs/a")), ("two", ("mugs/a", "mugs/c"))):
        for name in names:
            path = tmp_path / root / f"{name}.stl"
            path.parent.mkdir(parents=True, exist_ok=True)
            trimesh.creation.box().export(path)
    roots = [tmp_path / "one", tmp_path / "two"]
    asked = {"models": roots, "split": "all", "limit": None, "shard": Shard(1, 1)}
    for most, expected in (
        (2, ["chairs/a", "mugs/a", "mugs/b"]),
        (None, ["chairs/a", "mugs/a", "mugs/b", "mugs/c", "mugs/d"]),
    ):
        chosen, count = choose_models(Namespace(**asked, per_class=most), load_library(*roots))
        assert [model.key for model in chosen] == expected
        assert count == len(expected)
    shutil.copytree(tmp_path / "one", tmp_path / "three")
    with pytest.raises(LibraryError, match=r"three/chairs/a.stl.: has class and id of chairs/a; rename one"):
        load_library(*roots, tmp_path / "three")

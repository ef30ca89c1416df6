"""Models are staged again as they were rendered, or the reason why not is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthetic.checks.models import Rendered, UncheckedModelError, staged_truth
from synthetic.layouts.shapenet import LibraryError, Model, load_library
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic import small_library as library

KEY = "04379243/pane"
NEW = {"transparent": "remove", "missing_textures": "fail", "cutouts": "cut"}


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Model]:
    root = tmp_path / "models"
    library.write_facts(root)
    path = library.write_model(root, KEY, library.SHAPES[KEY], "wood.png")
    Image.new("RGB", (8, 8), (120, 80, 40)).save(path.parent / "wood.png")
    return {model.key: model for model in load_library(root)}


def rendered(
    folder: Path, models: dict[str, Model], treatment: dict[str, str] | None = None, **changes: Any
) -> Rendered:
    """What a data set of the models would say, with changes of the model's entry in the manifest."""
    model = models[KEY]
    with_defaults = Treatment(**(treatment or {}))  # type: ignore[arg-type]
    staged = stage_model(
        model.path, model.folder, folder / "then", ModelLimits(), with_defaults, model.placement
    )
    source = {"sha256": staged.sha256, "faces": staged.faces, "to_world": staged.to_world.tolist()}
    settings = {"samples": 16, "stage": "none", "treatment": treatment or {}}
    index = {"generator": {"settings": settings}}
    out = folder / "out"
    out.mkdir()
    for name, content in {
        "dataset.json": index,
        "cameras.json": {"views": {}},
        "manifest.json": {"models": {KEY: {**source, **changes}}},
    }.items():
        (out / name).write_text(json.dumps(content))
    return Rendered.read(out)


def test_treatment_is_that_of_the_data_set(tmp_path: Path, models: dict[str, Model]) -> None:
    with staged_truth(rendered(tmp_path, models, NEW), KEY, models) as truth:
        assert len(truth.surface) == 12
        assert not truth.moved
    opaque = rendered(tmp_path / "opaque", models, {**NEW, "transparent": "opaque"})
    with staged_truth(opaque, KEY, models) as truth:
        assert len(truth.surface) == 24


def test_data_sets_of_older_versions_have_the_usual_treatment(
    tmp_path: Path, models: dict[str, Model]
) -> None:
    """Their manifests need not name all files that are read today, but those that they name must be the same."""
    older = rendered(tmp_path, models, {"transparent": "remove", "missing_textures": "fail"})
    assert older.treatment == Treatment()
    del older.sources[KEY]["sha256"]["models/wood.png"]
    with staged_truth(older, KEY, models) as truth:
        assert len(truth.surface) == 12
    older.sources[KEY]["sha256"].clear()
    with pytest.raises(UncheckedModelError, match="other files"), staged_truth(older, KEY, models):
        pass


@pytest.mark.parametrize("name", ["model_normalized.obj", "models/model_normalized.mtl", "models/wood.png"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_every_file_counts(tmp_path: Path, models: dict[str, Model], name: str, how: str) -> None:
    now = rendered(tmp_path, models, NEW)
    files = now.sources[KEY]["sha256"]
    assert name in files
    if how == "changed":
        files[name] = "0" * 64
    else:
        del files[name]
    words = f"changed since it was rendered .{name}"
    with pytest.raises(UncheckedModelError, match=words), staged_truth(now, KEY, models):
        pass


def test_model_stands_where_the_manifest_has_it(tmp_path: Path, models: dict[str, Model]) -> None:
    """So `--front`, `--up` and `--normalise` of the run need not be said again."""
    turn = np.array([[0, 0, 2.0, 0.1], [0, 2, 0, 0.2], [-2, 0, 0, 0.3], [0, 0, 0, 1]])
    plain = rendered(tmp_path, models, NEW)
    with staged_truth(plain, KEY, models) as truth:
        before = truth.surface.positions
    file = before * [-1, 1, -1]
    moved = rendered(tmp_path / "moved", models, NEW, to_world=turn.tolist())
    with staged_truth(moved, KEY, models) as truth:
        assert truth.moved
        np.testing.assert_allclose(truth.surface.positions, file @ turn[:3, :3].T + turn[:3, 3], atol=1e-9)


def test_what_cannot_be_staged_is_said(tmp_path: Path, models: dict[str, Model]) -> None:
    now = rendered(tmp_path, models, NEW)
    with pytest.raises(UncheckedModelError, match="not in this library"), staged_truth(now, "a/b", models):
        pass
    models[KEY].path.write_text("v 0 0 0\n")
    with pytest.raises(UncheckedModelError, match="no faces"), staged_truth(now, KEY, models):
        pass
    with pytest.raises(LibraryError, match="is no dataset"):
        Rendered.read(tmp_path)

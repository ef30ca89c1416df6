"""What is said of views that show nothing and of barely trained models; how views of sheets are named."""

import dataclasses

import pytest
import torch

from gp3d_core.generation import meshes, sampling
from gp3d_core.generation.objects import object_specs
from gp3d_core.meshing.level import Level
from tests.support.micro import micro_snapshot


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """An untrained micro model with some density in the middle."""
    return micro_snapshot(tmp_path_factory.mktemp("snapshot"))


@pytest.mark.parametrize(
    ("nimg", "why"), [(24, ""), (0, ": the model has hardly been trained, and more training is what helps")]
)
def test_a_sheet_of_nothing_is_said_to_be_one(snapshot, tmp_path, capsys, monkeypatch, nimg, why):
    opened = dataclasses.replace(sampling.open_snapshot(snapshot, "cpu"), nimg=nimg)
    specs = object_specs(opened, ["mushroom"], [0, 1])
    seen, out = sampling.view, tmp_path / "s.png"

    def white(*arguments):
        output = seen(*arguments)
        return dataclasses.replace(output, rgb=torch.ones_like(output.rgb))

    monkeypatch.setattr(sampling, "view", white)
    sampling.write_sheet(opened, specs, out, truncation=0.7)
    assert capsys.readouterr().err.splitlines()[-1] == f"2 of 2 objects show nothing{why}"
    monkeypatch.setattr(sampling, "view", seen)
    sampling.write_sheet(opened, specs, out, truncation=0.7)
    assert "show nothing" not in capsys.readouterr().err


def test_views_of_a_sheet_are_named_in_degrees(snapshot, tmp_path, monkeypatch):
    names = []
    drawn = sampling.sheet
    monkeypatch.setattr(
        sampling,
        "sheet",
        lambda rows, tile: (names.extend(name for name, _ in rows), drawn(rows, tile=tile))[1],
    )
    opened = sampling.open_snapshot(snapshot, "cpu")
    specs = object_specs(opened, ["mushroom"], [4])
    sampling.write_sheet(opened, specs, tmp_path / "s.png", truncation=0.7, views=3)
    assert names == [f"mushroom, seed 4, yaw {yaw}°" for yaw in ("-29", "+0", "+29")]


def test_a_barely_trained_model_is_not_advised_a_finer_grid():
    recipe = {"faces": 4, "dropped": 0, "dropped_area": 0.0, "level": 0.5, "psnr": None, "iou": 0.0}
    assert "finer grid" in meshes._summary(recipe, Level(), False)
    assert "finer grid" not in meshes._summary(recipe, Level(), True)
    assert "poorly: the model has hardly been trained" in meshes._summary(recipe, Level(), True)


def test_what_went_of_a_mesh_is_said():
    recipe = {"faces": 4, "dropped": 2, "dropped_area": 0.0123, "level": 0.5, "psnr": None, "iou": 0.96}
    assert "4 faces, without 2 pieces (1.2% of the surface), level 0.5;" in meshes._summary(
        recipe, Level(), False
    )
    whole = recipe | {"dropped": 0}
    assert "4 faces, level 0.5;" in meshes._summary(whole, Level(), False)

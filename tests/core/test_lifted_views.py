"""`benchmarks/lifted_views.py`: pictures of a rendered data set, lifted with its exact depth."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import lifted_views
from benchmarks.lifted_views import ANGLES, main, seen_from
from gp3d_core.evaluation.true_views import read_views
from gp3d_core.metrics.features import FeatureNetwork
from tests.support.truth_dataset import write_truth


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_truth(tmp_path_factory.mktemp("views") / "data", models=2, views=2, resolution=48)


def test_the_first_view_is_the_picture_and_others_move_away_from_it(data):
    rows = seen_from(read_views(data), [0, 1, 4, 5])
    assert [row.angle for row in rows] == [None, *ANGLES]
    apart = [np.abs(row.pictures.astype(float) - rows[0].pictures).mean() for row in rows[1:]]
    assert apart[0] < 1
    assert apart == sorted(apart)
    assert rows[0].holes == 0
    assert rows[1].holes < 0.01


def test_every_other_picture_is_seen_from_the_left(data):
    rows = seen_from(read_views(data), [0, 0])
    for row in rows[2:]:
        assert (row.pictures[0] != row.pictures[1]).any()
    straight = rows[1].pictures
    assert np.array_equal(straight[0], straight[1])


def test_the_table_has_a_row_for_each_angle(data, tmp_path, monkeypatch, capsys):
    def look(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = images.float().mean(dim=(2, 3))
        return rows, rows

    monkeypatch.setattr(
        lifted_views, "open_network", lambda *_: FeatureNetwork("", {"network": "mean"}, "", look)
    )
    assert main([str(data), str(tmp_path / "out"), "--pictures", "8"]) == 0
    found = json.loads((tmp_path / "out" / "lifted.json").read_text())
    assert [row["angle"] for row in found["rows"]] == [None, *ANGLES]
    assert found["pictures"] == found["others"] == 4
    assert found["rows"][1]["frechet"] == pytest.approx(found["rows"][0]["frechet"], rel=0.05)
    assert len(capsys.readouterr().out.splitlines()) == 2 + 1 + len(ANGLES)
    assert (tmp_path / "out" / "lifted.png").stat().st_size > 0


def test_weights_of_nothing_are_one_line(data, tmp_path, capsys):
    other = tmp_path / "other.txt"
    other.write_text("nothing")
    assert main([str(data), str(tmp_path / "out"), "--weights", str(other)]) != 0
    assert capsys.readouterr().err.startswith("lifted_views: ")

"""What FPD and NFS are read against: shapes and depth that are wrong in a known way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import trimesh

from benchmarks.table7 import toy_weights
from benchmarks.tables import scales
from gp3d_core.metrics.nfs import non_flatness_score
from tests.support.micro import micro_data


def test_shapes_that_are_wrong_in_a_known_way_are_as_many_as_the_real_ones() -> None:
    classes = [torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(k)) for k in range(6)]
    found = dict(scales.wrong_shapes(dict(zip("abcdef", classes, strict=True))))
    assert {tuple(clouds.shape) for clouds in found.values()} == {(12, 5, 3)}
    assert torch.equal(found["other real models"], torch.cat(classes))
    assert torch.equal(found["one of each class"][10:], classes[5][:1].expand(2, -1, -1))
    assert torch.equal(found["3 of 6 classes"], torch.cat([classes[i] for i in (0, 1, 2, 0, 1, 2)]))
    assert torch.equal(found["one d for all"], classes[3][0].expand(12, -1, -1))
    assert not torch.equal(found["points off by 0.1"], found["points off by 0.05"])


def test_flatness_of_true_depth_and_of_holes_and_walls_is_known() -> None:
    depth = torch.ones(4, 4096, dtype=torch.float64)
    depth[:, :2048] = 0.5
    score = {title: non_flatness_score(maps, 0.0, 1.0) for title, maps in scales.wrong_depths(depth)}
    assert score["true depth"] == pytest.approx(2.0)
    assert score["100% of an object are holes"] == pytest.approx(2.0)
    assert score["25% of an object are holes"] == pytest.approx(
        2.0**0.5 * (8 / 3) ** 0.375 * 8**0.125, rel=0.01
    )
    walls = [score[f"background off by {share} of the range"] for share in ("1%", "5%", "10%", "20%")]
    assert walls == sorted(walls)
    assert walls[-1] > 5


def test_both_tables_are_made_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("box", "ball"):
        for size in range(1, 5):
            shape = (
                trimesh.creation.box((1, size, 2)) if name == "box" else trimesh.creation.icosphere(1, size)
            )
            path = tmp_path / "models" / name / f"{size}.ply"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape.export(path)
    data = micro_data(tmp_path / "data").path
    weights = toy_weights(tmp_path / "weights")[1]
    asked = [str(tmp_path / "models"), str(data), "--pointnet", str(weights), "--shapes", "4", "--maps", "4"]
    assert scales.main(asked) == 0
    said = capsys.readouterr().out
    assert said.count("| other real models |") == said.count("| true depth |") == 1
    assert scales.main([str(tmp_path / "weights"), *asked[1:]]) == 2
    assert capsys.readouterr().err.startswith("scales: ")

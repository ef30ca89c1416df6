"""The paper's Table 7 at toy size, end to end: data, rows, budgets, scores, files, resume, and wrong commands."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import table7
from benchmarks.table7 import EPIGRAF, Result, TableError, check_budgets, read_paper, rows_of, shown_scores
from gp3d_core.config.presets import resolve
from gp3d_core.metrics.score import Score


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """OUT of a toy table with one blurred row, and the paper's figures made up."""
    root = tmp_path_factory.mktemp("table")
    (root / "paper.csv").write_text("row,FID\nepigraf,1.5\n3dgp,2.5\n", encoding="utf-8")
    assert table7.main(command(root)) == 0
    return root


def command(root: Path, *more: str) -> list[str]:
    return [str(root / "out"), "--toy", "--sigmas", "10", "--paper", str(root / "paper.csv"), *more]


def lines_of(table: Path) -> list[dict[str, str]]:
    with (table / "out" / "table7.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.blender
def test_every_row_has_its_scores_and_stands_beside_the_paper(table) -> None:
    lines = lines_of(table)
    assert [line["row"] for line in lines] == ["EpiGRAF", "3DGP", "3DGP, depth blurred, sigma 10 px"]
    assert [line["paper: FID"] for line in lines] == ["1.5", "2.5", "–"]
    for line in lines:
        assert float(line["fpd"]) > float(line["floor of fpd"]) > 0
        assert 1 <= float(line["nfs"]) <= 64
        assert float(line["squeezenet-kid"]) != 0
        assert "kid" not in line, "what SqueezeNet sees is called so"
    assert len({line["squeezenet-kid"] for line in lines}) == 3
    text = (table / "out" / "table7.md").read_text(encoding="utf-8")
    assert "0.008 kimg a row" in text
    assert all(f"| {line['row']} | 8 |" in text for line in lines)


@pytest.mark.slow
@pytest.mark.blender
def test_rows_differ_in_depth_alone(table) -> None:
    found = [
        json.loads((table / "out" / row.key / "run" / "config.json").read_text()) for row in rows_of([10.0])
    ]
    assert [config["discriminator"].pop("depth") for config in found] == [False, True, True]
    assert [config["loss"].pop("real_depth_blur") for config in found] == [0.0, 0.0, 10.0]
    assert found[1] == found[2]
    assert {config["training"]["kimg"] for config in found} == {0.008}
    seen = [config["training"] | config["generator"] | config["camera"] for config in found]
    assert seen[0] == seen[1]


@pytest.mark.slow
@pytest.mark.blender
def test_the_picture_has_a_line_for_the_data_and_each_row(table) -> None:
    with Image.open(table / "out" / "table7.png") as picture:
        assert picture.width > 12 * 64
        assert picture.height > 4 * 64


@pytest.mark.slow
@pytest.mark.blender
def test_the_same_command_goes_on_and_computes_nothing_twice(table, monkeypatch, capsys) -> None:
    before = lines_of(table)
    dates = {path: path.stat().st_mtime_ns for path in (table / "out").rglob("snapshot-*.safetensors")}

    def never(*_, **__):
        raise AssertionError("it was measured before")

    monkeypatch.setattr("gp3d_core.evaluation.run.measure_flatness", never)
    monkeypatch.setattr("gp3d_core.evaluation.run.measure_shapes", never)
    data = ["--models", str(table / "out" / "models"), "--dataset", str(table / "out" / "dataset")]
    assert table7.main(command(table, *data)) == 0
    assert lines_of(table) == before
    assert {path: path.stat().st_mtime_ns for path in dates} == dates
    assert str(table / "out" / "table7.md") in capsys.readouterr().out


def test_the_baseline_is_the_preset_epigraf() -> None:
    assert replace(resolve("shapenet-64", EPIGRAF), preset="epigraf-64") == resolve("epigraf-64")


def result(images: int, **values: float) -> Result:
    scores = {
        name.replace("_", "-"): Score(metric=name, value=value, n=1, facts={})
        for name, value in values.items()
    }
    return Result(rows_of([])[0], Path("s"), images, scores)


def test_columns_are_the_scores_that_are_shown_in_their_order() -> None:
    assert shown_scores([result(1, nfs=2, squeezenet_fid2k=3, coverage=1, mmd=4)]) == [
        "squeezenet-fid2k",
        "mmd",
        "nfs",
    ]


def test_unequal_budgets_are_no_table() -> None:
    check_budgets([result(8), result(8)])
    with pytest.raises(TableError, match="epigraf 8, epigraf 12"):
        check_budgets([result(8), result(12)])


def test_wrong_commands_are_one_line_before_any_work(tmp_path, capsys) -> None:
    (tmp_path / "paper.csv").write_text("row,FID\neg3d,1\n")
    (tmp_path / "none.csv").write_text("FID\n1\n")
    out = str(tmp_path / "out")
    for words, message in (
        ([out, "--preset", "shapenet-65"], "no preset 'shapenet-65'"),
        ([out, "--weights", str(tmp_path / "w.pth")], "no weights at"),
        ([out, "--paper", str(tmp_path / "paper.csv")], "no row 'eg3d'; expected epigraf, 3dgp"),
        ([out, "--set", "loss.real_depth=1"], "no configuration key 'loss.real_depth'"),
        ([out, "--sigmas", "0"], "--sigmas"),
    ):
        assert table7.main(words) == 2
        [line] = capsys.readouterr().err.strip().splitlines()
        assert message in line
    with pytest.raises(TableError, match="column row"):
        read_paper(tmp_path / "none.csv", rows_of([]))
    assert not (tmp_path / "out").exists()

"""The paper's tables by one command: rows, rounds, orders, and a whole table at toy size that is made twice."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.table7 import toy_weights
from benchmarks.tables import __main__ as tables
from benchmarks.tables import lifting
from benchmarks.tables.lifting import seen_from_beside
from benchmarks.tables.measures import Outcome, halves_apart, named
from benchmarks.tables.page import mean_curve, table_lines
from benchmarks.tables.paper import PAPER
from benchmarks.tables.rows import PAIRS, TABLES, TableError, rows_of
from benchmarks.tables.runs import TableRun, last_round, rounds, train
from benchmarks.tables.signs import comparisons, signs_table
from gp3d_core.config.presets import PRESETS
from gp3d_core.config.schema import ConfigError
from gp3d_core.evaluation.images import FRECHET
from gp3d_core.lifting.distances import Distances
from gp3d_core.lifting.photograph import Photograph
from gp3d_core.lifting.relief import lift
from gp3d_core.metrics.score import Score
from tests.support.balls import write_balls
from tests.support.micro_pictures import PICTURES, RESIDUAL

BATCH = 4
ROUNDS = (0.008, 0.016)


@pytest.mark.parametrize("table", TABLES)
def test_every_row_of_the_paper_is_there_with_its_presets(table: int) -> None:
    keys = [row.key for row in TABLES[table]]
    assert len(set(keys)) == len(keys)
    assert set(PAPER[table]) <= set(keys)
    assert set(keys) - set(PAPER[table]) <= {"stylegan2-kd"}, "what the lifted row needs"
    assert {key for pair in PAIRS[table] for key in pair} <= set(keys)
    for row in TABLES[table]:
        assert (row.kind == "quoted") == bool(row.reason)
        assert bool(row.presets) == (row.kind == "trained")
        for size, preset in row.presets.items():
            assert PRESETS[preset].training.resolution == size
            assert row.config(size, []).preset == preset


def test_tables_share_the_runs_of_rows_with_one_key() -> None:
    for one, other in itertools.combinations([row for rows in TABLES.values() for row in rows], 2):
        if one.key == other.key:
            assert (one.presets, one.settings, one.teacher) == (other.presets, other.settings, other.teacher)


def test_figures_are_those_of_the_paper() -> None:
    assert PAPER[1]["3dgp"] == {
        "fid, dogs": 8.74,
        "nfs, dogs": 34.35,
        "fid, elephants": 5.79,
        "nfs, elephants": 32.8,
        "fid, horses": 4.86,
        "nfs, horses": 30.4,
    }
    assert PAPER[2]["3dgp"] == {"fid": 19.71, "is": 124.8, "nfs": 18.49}
    assert PAPER[2]["lifted"] == {"fid": 116.9, "is": 9.47}
    assert PAPER[4]["projected"] == {"fid, ImageNet": 160.5, "fid, dogs": 4.10}
    assert PAPER[7]["eg3d-known"] == {"fid": 17.22, "fpd": 2770.5}


def test_a_setting_goes_to_the_rows_that_read_it_and_a_slip_to_none() -> None:
    eg3d, plain = rows_of(7, ["eg3d-known", "stylegan2"])
    settings = ["stylegan2.path_weight=0", "render.coarse_steps=6", "training.batch=16"]
    assert plain.config(64, settings).stylegan2.path_weight == 0
    assert eg3d.config(64, settings).render.coarse_steps == 6
    assert plain.config(64, settings).training.batch == eg3d.config(64, settings).training.batch == 16
    with pytest.raises(ConfigError, match="stile"):
        plain.config(64, ["stile.weight=0"])
    with pytest.raises(TableError, match=r"presets for pictures of 64 and 256 px, not 32"):
        eg3d.config(32, [])
    with pytest.raises(TableError, match="no row 'gan'"):
        rows_of(1, ["gan"])


def test_rounds_double_until_the_last() -> None:
    assert rounds(1, 6) == [1000, 2000, 4000, 6000]
    assert rounds(1, 8, 8) == [1000, 8000]
    assert rounds(0.008, 0.016) == [8, 16]
    assert rounds(3, 2) == [2000]


def outcome(key: str, seed: int, **scores: float) -> Outcome:
    (row,) = (r for r in TABLES[1] if r.key == key)
    return Outcome(row, seed, 1000, scores, {1000: 4.0 + seed, 2000: 2.0 + seed})


def test_orders_are_claimed_of_two_seeds_that_agree_alone() -> None:
    def verdict(*values: tuple[float, float], score: str = "nfs") -> str:
        found = [outcome("eg3d-wide", k, **{score: a}) for k, (a, _) in enumerate(values)]
        found += [outcome("eg3d", k, **{score: b}) for k, (_, b) in enumerate(values)]
        (one,) = (c for c in comparisons([("eg3d-wide", "eg3d")], found, PAPER[1]) if c.score == score)
        return one.verdict

    assert verdict((9, 5), (8, 7)) == "as in the paper"
    assert verdict((5, 9), (7, 8)) == "the other way round"
    assert verdict((5, 9), (8, 7)) == "seeds disagree"
    assert verdict((9, 5)) == "as in the paper, of one seed: no claim"
    assert verdict() == "not measured"
    found = comparisons([("3dgp", "eg3d")], [outcome("3dgp", 0, fid=1), outcome("eg3d", 0, fid=2)], PAPER[1])
    assert next(c for c in found if c.score == "fid").verdict == "the paper's own data sets disagree"
    assert "| nfs | 3DGP | EG3D | first > first > first > | – | not measured |" in signs_table(
        found, TABLES[1]
    )


def test_digits_of_the_paper_have_columns_of_their_own() -> None:
    lines = table_lines(TABLES[2], [], PAPER[2])
    head, rows = lines[0], {line[0]: line for line in lines[1:]}
    assert rows["BigGAN"][1] == "*quoted*"
    assert rows["EG3D"][1] == "not measured"
    assert [name for name in head if name.startswith("paper: ")] == ["paper: fid", "paper: is", "paper: nfs"]
    eg3d = [outcome("eg3d", 0, fid=7.5, nfs=3.0), outcome("eg3d", 1, fid=8.5)]
    lines = table_lines(TABLES[1], eg3d, PAPER[1])
    told = dict(zip(lines[0], next(line for line in lines if line[0] == "EG3D"), strict=True))
    assert (told["how"], told["fid"], told["nfs"], told["paper: fid, dogs"]) == (
        "trained",
        "7.5 / 8.5",
        "3",
        "16.2",
    )
    assert mean_curve(eg3d) == {1000: 4.5, 2000: 2.5}


def test_scores_are_called_as_in_the_paper() -> None:
    scores = [
        Score(metric=name, value=1.0, n=1, facts={})
        for name in ("squeezenet-fid2k", "squeezenet-is", "1-nna")
    ]
    assert set(named(scores)) == {"fid", "is", "1-nna"}


def tilted(size: int = 16) -> tuple[np.ndarray, list]:
    """Pictures of a plane that is nearer at the left, and their reliefs."""
    rgb = np.tile(np.linspace(0, 255, size, dtype=np.uint8)[None, :, None], (size, 1, 3))
    t = np.tile(np.linspace(1, 1.5, size)[None], (size, 1))
    pictures = np.stack([rgb] * 6)
    return pictures, [lift(Photograph(p, 50.0, "known"), Distances(t, False, 0.0)) for p in pictures]


def test_lifted_pictures_seen_from_where_they_were_taken_are_the_pictures() -> None:
    pictures, reliefs = tilted()
    own, beside, front, far = seen_from_beside(pictures, reliefs, (0.0, 30.0), seed=1)
    assert np.array_equal(own.pictures, pictures)
    assert np.abs(front.pictures.astype(int) - pictures).mean() < 1
    assert np.abs(far.pictures.astype(int) - pictures).mean() > 3
    distinct = {picture.tobytes() for picture in beside.pictures}
    assert len(distinct) == len(pictures), "every picture has a camera of its own"
    again = seen_from_beside(pictures, reliefs, (), seed=1)[1]
    assert np.array_equal(again.pictures, beside.pictures)
    assert not np.array_equal(seen_from_beside(pictures, reliefs, (), seed=2)[1].pictures, beside.pictures)


def command(root: Path, table: int, *more: str) -> list[str]:
    settings = [s for s in (*PICTURES[1:], *RESIDUAL) if "kimg" not in s]  # the size is that of the data
    words = [str(table), str(root / "data"), str(root / "out"), "--size", "64", "--device", "cpu"]
    words += ["--first", str(ROUNDS[0]), "--kimg", str(ROUNDS[1]), "--samples", "12"]
    words += ["--weights", str(root / "toy-squeezenet.safetensors")]
    return [*words, *(word for s in settings for word in ("--set", s)), *more]


@contextmanager
def few_pictures() -> Iterator[None]:
    """A block in which fid2k is of 8 pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FRECHET, "fid2k", 8)
        yield


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """A folder of data and weights, and OUT of Table 4 with one row of two seeds."""
    root = tmp_path_factory.mktemp("tables")
    write_balls(root / "data", models=4, views=2)
    toy_weights(root)
    with few_pictures():
        assert tables.main(command(root, 4, "--rows", "stylegan3,stylegan2", "--budget", "9")) == 0
    return root


@pytest.mark.slow
def test_a_table_has_every_row_at_equal_images(toy: Path) -> None:
    with (toy / "out" / "table4.csv").open(newline="", encoding="utf-8") as file:
        quoted, plain = csv.DictReader(file)
    assert quoted["how"] == "*quoted*"
    assert quoted["fid"] == "–"
    assert plain["images seen"] == "16"
    assert len(plain["fid"].split(" / ")) == 2
    assert plain["paper: fid, dogs"] == "9.79"
    text = (toy / "out" / "table4.md").read_text(encoding="utf-8")
    assert "compare orders, not digits" in text
    for name in ("table4.png", "table4-curves.png"):
        with Image.open(toy / "out" / name) as picture:
            assert min(picture.size) > 64
    config = json.loads((toy / "out" / "runs" / "stylegan2-1" / "config.json").read_text())
    assert config["training"]["seed"] == 1


@pytest.mark.slow
def test_the_same_command_goes_on_and_measures_nothing_twice(toy: Path, monkeypatch, capsys) -> None:
    def never(*_, **__):
        raise AssertionError("it was measured before")

    files = list((toy / "out" / "runs").rglob("*.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in files}
    monkeypatch.setattr("gp3d_core.evaluation.images.ImageScores.measure", never)
    monkeypatch.setattr("benchmarks.tables.runs.start_training", never)
    with few_pictures():
        assert tables.main(command(toy, 4, "--rows", "stylegan3,stylegan2", "--budget", "0")) == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert "table4.md" in capsys.readouterr().out


def test_rounds_are_ended_by_all_before_anybody_goes_on(tmp_path: Path, monkeypatch) -> None:
    seen: dict[str, int] = {}
    order = []

    def images(self) -> int:
        return seen.get(self.name, 0)

    def advance(run: TableRun, until: int, inputs, minutes: float) -> int:
        order.append((run.name, until))
        seen[run.name] = until
        return 130 if len(order) == stop else 0

    monkeypatch.setattr(TableRun, "images_seen", images)
    monkeypatch.setattr("benchmarks.tables.runs._advance", advance)
    rows = rows_of(7, ["stylegan2", "eg3d-known"])
    runs = [TableRun(row, 0, row.config(64, []), tmp_path / row.key) for row in rows]
    stop = 0
    assert train(runs, [1, 2], None, 0.0) == 0
    assert order == [], "no time, no training"
    stop = 3
    assert train(runs, [1, 2], None, 9.0) == 130
    assert [until for _, until in order] == [1, 1, 2]
    stop = 0
    assert train(runs, [1, 2], None, 9.0) == 0
    assert len(order) == 4
    assert last_round(runs, [1, 2]) is None, "there are no snapshots"


def test_what_a_row_lacks_is_said_in_a_line(toy: Path, capsys) -> None:
    for words, told in (
        (["--rows", "stylegan2-kd"], "distils features"),
        (["--rows", "gan"], "no row 'gan'"),
        (["--rows", "stylegan2", "--models", str(toy)], "fpd needs both"),
    ):
        assert tables.main([*command(toy, 4, "--budget", "1"), *words]) == 2
        said = capsys.readouterr().err
        assert told in said
        assert not {"`features`", "`rows`"} & set(said.split())  # what is typed has dashes


def test_two_halves_of_one_kind_are_near_and_of_two_kinds_far() -> None:
    one = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    assert 0 < halves_apart(one) < 0.1
    assert halves_apart(one) == halves_apart(one.clone())
    assert halves_apart(100 * one) == pytest.approx(10_000 * halves_apart(one), rel=1e-3)


def test_views_of_the_release_lose_their_rim() -> None:
    """Three per cent of each side, of the left one five, and what is left fills the picture."""
    places = np.stack(np.meshgrid(np.arange(200.0), np.arange(100.0)), axis=-1)
    picture = np.concatenate([places, 0 * places[..., :1]], axis=2).astype(np.uint8)
    seen = lifting.cropped(picture[None])[0].astype(float)
    assert seen.shape == picture.shape
    across, down = 0.92 * (np.arange(200) + 0.5) + 10 - 0.5, 0.94 * (np.arange(100) + 0.5) + 3 - 0.5
    assert np.abs(seen[..., 0] - across).max() <= 1
    assert np.abs(seen[..., 1] - down[:, None]).max() <= 1


def test_lifting_needs_a_snapshot(tmp_path: Path, capsys) -> None:
    write_balls(tmp_path / "data")
    words = [str(tmp_path / "none"), str(tmp_path / "data"), str(tmp_path / "out"), "--depth-model", "x.pth"]
    assert lifting.main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1

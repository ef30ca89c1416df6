"""`gp3d data select`: the Gaussian against scipy, planted outliers, and the data set that is left."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from gp3d_core.cli.main import main
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.selection import SelectionError, how_many, log_likelihood, select
from gp3d_core.preparation.subset import write_subset
from tests.support.tiny_dataset import write_dataset


@pytest.mark.parametrize(
    ("count", "dim", "regularisation"), [(50, 3, 0.0), (400, 20, 1e-5), (10, 30, 1e-2), (7, 1, 0.0)]
)
def test_likelihood_is_scipys(count: int, dim: int, regularisation: float) -> None:
    draw = np.random.default_rng(count)
    features = draw.normal(size=(count, dim)) @ draw.normal(size=(dim, dim)) + 5
    covariance = np.atleast_2d(np.cov(features.T, bias=True)) + regularisation * np.eye(dim)
    expected = multivariate_normal(features.mean(0), covariance).logpdf(features)
    np.testing.assert_allclose(log_likelihood(features, regularisation), expected, rtol=1e-8)


def test_order_does_not_depend_on_the_features_coordinates() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(200, 6))
    moved = features @ (draw.normal(size=(6, 6)) + 3 * np.eye(6)) - 17
    order, other = (np.argsort(log_likelihood(x, 0.0)) for x in (features, moved))
    np.testing.assert_array_equal(order, other)


def test_planted_outliers_are_dropped_though_they_are_not_far() -> None:
    """Inliers lie near a plane; outliers at ordinary distances from the mean, but off the plane."""
    draw = np.random.default_rng(1)
    features = draw.normal(size=(300, 8)) * np.array([5, 5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    planted = draw.choice(300, 20, replace=False)
    features[planted] = draw.normal(size=(20, 8)) * 1.5
    labels = np.zeros(300, dtype=np.int64)
    found = select(features, labels, 280 / 300, per_class=False, regularisation=0.0)
    assert set(range(300)) - set(found.kept.tolist()) == set(planted.tolist())


def test_each_class_is_measured_by_itself() -> None:
    draw = np.random.default_rng(2)
    labels = np.repeat([0, 1, 4], [300, 30, 5])
    features = draw.normal(size=(335, 4)) + 20 * labels[:, None]
    features[0] += 9
    features[300] -= 9
    found = select(features, labels, 0.9, per_class=True, regularisation=1e-5)
    kept = set(found.kept.tolist())
    assert [sum(labels[i] == k for i in kept) for k in (0, 1, 4)] == [270, 27, 4]
    assert not kept & {0, 300}
    assert [len(group) for group in found.groups] == [300, 30, 5]
    assert all((np.diff(found.likelihood[group]) <= 0).all() for group in found.groups)


def test_few_images_are_noticed_and_the_mean_variance_finds_more_of_their_outliers() -> None:
    """With no more images than numbers the plain Gaussian thinks all equally likely; noise decides."""
    draw = np.random.default_rng(0)
    spread = np.arange(1, 513) ** -0.7  # as of a real network: few directions matter
    features = draw.normal(size=(200, 512)) * spread
    features[:20, :20] += 4 * draw.normal(size=20) * spread[:20]
    labels = np.zeros(200, dtype=np.int64)
    plain = select(features, labels, 180, per_class=False, regularisation=1e-9)
    better = select(features, labels, 180, per_class=False, regularisation=plain.variance)
    assert (plain.thin, plain.dim) == (1, 512)
    assert np.ptp(plain.likelihood) < 1e-5 * abs(plain.likelihood[0])
    found = [20 - np.count_nonzero(selection.kept < 20) for selection in (plain, better)]
    assert found[1] >= 2 * found[0] > 0


def test_shares_and_numbers() -> None:
    cases = [(1300, 1 / 3), (3, 0.001), (10, 1.0), (50, 40), (50, 400)]
    assert [how_many(*case) for case in cases] == [433, 1, 10, 40, 50]


def test_equally_likely_images_are_kept_in_their_order() -> None:
    features = np.repeat([[0.0], [1.0]], 10, axis=0)
    found = select(features, np.zeros(20, dtype=np.int64), 5, per_class=False, regularisation=0.0)
    assert found.kept.tolist() == [0, 1, 2, 3, 4]


def test_a_singular_gaussian_and_broken_features_are_refused() -> None:
    labels = np.zeros(4, dtype=np.int64)
    with pytest.raises(SelectionError, match="4 features of 6 numbers"):
        select(np.zeros((4, 6)), labels, 0.5, per_class=False, regularisation=0.0)
    with pytest.raises(SelectionError, match="finite"):
        select(np.full((4, 2), np.nan), labels, 0.5, per_class=False, regularisation=1.0)


@pytest.fixture
def balls(tmp_path: Path) -> Path:
    """Twelve balls with features of two numbers beside them; of each class the last one is odd."""
    folder = write_dataset(tmp_path / "balls", images=12)
    names = Dataset(folder).names
    facts = json.loads((folder / "dataset.json").read_text())
    facts["camera_angles"] = [[name, [0.1, 1.5, 0.0]] for name in names]
    (folder / "dataset.json").write_text(json.dumps(facts))
    views = {name: {"yaw": i} for i, name in enumerate(names)}
    (folder / "cameras.json").write_text(json.dumps({"convention": "gp3d-1", "views": views}))
    (folder / Path(names[0]).with_suffix("").with_name("ball00_000_geometry.npz")).write_bytes(b"geometry")
    draw = np.random.default_rng(0)
    features = np.concatenate([draw.normal(size=(6, 2)), draw.normal(size=(6, 2)) + 50])
    features[5] += 30
    features[11] -= 30
    np.save(tmp_path / "mine.npy", features)
    assert main(["data", "features", str(folder), "--teacher", str(tmp_path / "mine.npy")]) == 0
    return folder


def test_the_command_keeps_a_data_set_that_trains(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "few"
    before = Dataset(balls)
    assert main(["data", "select", str(balls), str(out), "--keep", "0.833", "--per-class"]) == 0
    after = Dataset(out, features=tmp_path / "balls_mine.f32")
    assert after.names == [before.names[i] for i in (0, 1, 2, 3, 4, 6, 7, 8, 9, 10)]
    assert after.classes == before.classes
    assert after.angles is not None
    assert (after.t_near, after.t_far) == (before.t_near, before.t_far)
    for i, name in enumerate(after.names):
        assert after.labels[i] == before.labels[before.names.index(name)]
        assert (out / name).stat().st_ino == (balls / name).stat().st_ino
        np.testing.assert_array_equal(after.load(i)[1], before.load(before.names.index(name))[1])
    assert set(json.loads((out / "cameras.json").read_text())["views"]) == set(after.names)
    header = json.loads((out / "dataset.json").read_text())
    assert (
        [name for name, _ in header["labels"]] == [name for name, _ in header["camera_angles"]] == after.names
    )
    assert len(list(out.rglob("*_geometry.npz"))) == 1
    assert "mine.f32" in (out / "README.md").read_text()
    assert not list(out.rglob(".*"))
    assert (tmp_path / "few_selection.png").stat().st_size > 1000
    assert "10 of 12 images kept" in capsys.readouterr().err
    assert main(["data", "select", str(balls), str(out), "--keep", "0.5"]) == 2
    assert "there already" in capsys.readouterr().err


def test_features_that_are_all_the_same_get_no_advice(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "same.npy", np.ones((12, 20)))
    (tmp_path / "balls_mine.f32").unlink()
    assert main(["data", "features", str(balls), "--teacher", str(tmp_path / "same.npy")]) == 0
    assert main(["data", "select", str(balls), str(tmp_path / "v1.5"), "--keep", "4", "--per-class"]) == 0
    assert "--regularisation" not in capsys.readouterr().err
    assert (tmp_path / "v1.5_selection.png").exists()


def test_lists_zips_and_copies_hold_the_same_images(balls: Path, tmp_path: Path) -> None:
    keep = ["--keep", "4", "--per-class"]
    for name in ("list.txt", "a.zip", "b.zip"):
        assert main(["data", "select", str(balls), str(tmp_path / name), *keep]) == 0
    names = (tmp_path / "list.txt").read_text().split()
    assert len(names) == 8
    assert Dataset(tmp_path / "a.zip").names == names
    with zipfile.ZipFile(tmp_path / "a.zip") as a, zipfile.ZipFile(tmp_path / "b.zip") as b:
        plain = [name for name in a.namelist() if name not in ("card.json", "README.md")]
        assert all(a.read(name) == b.read(name) for name in plain)
    shutil.copy(tmp_path / "balls_mine.f32", tmp_path / "a_mine.f32")
    shutil.copy(tmp_path / "balls_mine_desc.json", tmp_path / "a_mine_desc.json")
    assert main(["data", "select", str(tmp_path / "a.zip"), str(tmp_path / "copied"), "--keep", "2"]) == 0
    copied = Dataset(tmp_path / "copied")
    assert len(copied) == 2
    assert (tmp_path / "copied" / copied.names[0]).read_bytes() == (balls / copied.names[0]).read_bytes()


def test_an_interrupted_call_leaves_no_data_set_and_goes_on(
    balls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, out, link = Dataset(balls).names[:5], tmp_path / "few", os.link
    made: list[str] = []

    def impatient(source: Path, target: Path) -> None:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(target.name)
        link(source, target)

    monkeypatch.setattr(os, "link", impatient)
    with pytest.raises(KeyboardInterrupt):
        write_subset(balls, names, out, "selection", {"keep": 5}, files="link")
    assert not out.exists()
    monkeypatch.setattr(os, "link", lambda source, target: (made.append(target.name), link(source, target)))
    write_subset(balls, names, out, "selection", {"keep": 5}, files="link")
    assert len(made) == len(set(made))
    assert Dataset(out).names == names


def test_leftovers_of_another_selection_do_not_stay(balls: Path, tmp_path: Path) -> None:
    names, out = Dataset(balls).names, tmp_path / "few"
    leftover = tmp_path / ".few.partial"
    leftover.mkdir()
    (leftover / ".subset.json").write_text("{}")
    (leftover / "stranger.png").write_bytes(b"")
    write_subset(balls, names[:2], out, "selection", {}, files="copy")
    assert Dataset(out).names == names[:2]


def test_wrong_requests_are_one_line(balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "few")
    bare = tmp_path / "bare"
    shutil.copytree(balls, bare)
    (bare / "dataset.json").unlink()
    for arguments, said in (
        (["data", "select", str(balls), out, "--keep", "2.5"], "a share up to 1 or a whole number"),
        (["data", "select", str(balls), out, "--keep", "0"], "--keep"),
        (["data", "select", str(bare), out, "--keep", "0.5", "--per-class"], "has no classes"),
        (["data", "select", str(bare), out, "--keep", "0.5"], "expected one file of features"),
        (["data", "select", str(balls), str(balls), "--keep", "0.5"], "there already"),
    ):
        assert main(arguments) == 2
        assert said in (error := capsys.readouterr().err), error
        assert error.count("\n") == 1
    (balls / "cameras.json").write_text("{")
    assert main(["data", "select", str(balls), out, "--keep", "0.5"]) == 2
    assert "cameras.json is not valid JSON" in capsys.readouterr().err
    assert not Path(out).exists()


def test_entries_that_point_outside_are_not_copied(balls: Path, tmp_path: Path) -> None:
    archive, name = tmp_path / "evil.zip", "/nowhere/evil.png"
    image = (balls / Dataset(balls).names[0]).read_bytes()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("dataset.json", json.dumps({"labels": [[name, 0]]}))
        target.writestr(name, image)
    with pytest.raises(DatasetError, match=r"evil\.png points outside"):
        write_subset(archive, [name], tmp_path / "few", "selection", {}, files="copy")
    assert not Path(name).exists()

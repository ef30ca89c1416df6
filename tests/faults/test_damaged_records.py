"""What commands keep of their own beside models and pictures may be damaged: one line each, or begun anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from gp3d_core.cli.main import main
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.errors import GP3DError
from gp3d_core.evaluation.report.folder import EvaluationFolder
from gp3d_core.metrics.score import Score
from gp3d_core.preparation.checking import _without
from gp3d_core.preparation.pack_folder import ORIGINS, PackedFolder
from gp3d_core.snapshots.export import ShippingError, read_measures
from gp3d_core.snapshots.export import ship as ship_snapshot
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.vq3d.evaluation.run import pictures_of
from synthetic.checks.models import Rendered
from synthetic.dataset import DatasetError
from synthetic.layouts.shapenet import LibraryError
from synthetic.points_folder import check_frames, check_treatment
from tests.faults.works import selecting
from tests.support.micro import micro_config, micro_snapshot
from tests.support.tiny_dataset import write_dataset

DAMAGE = {
    "nested without end": b'{"a":' * 100_000,
    "a list nested without end": b"[" * 100_000,
    "too many digits": b"9" * 5000,
    "no text": b"\xff\xfe\x00\xd8",
    "a number": b"5",
    "a list": b"[[1]]",
    "empty": b"",
}


@pytest.fixture(params=DAMAGE.values(), ids=DAMAGE.keys())
def damage(request: pytest.FixtureRequest) -> bytes:
    return request.param


def test_records_of_runs(tmp_path: Path, damage: bytes) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(micro_config(), "data")
    for name in ("status.json", "data.json", "stats.jsonl"):
        (folder.path / name).write_bytes(damage)
    assert folder.training_seconds() == 0
    assert folder.data_fingerprint() is None
    folder.forget_stats_after(0)
    folder.checkpoint_path(8).touch()  # it has begun
    with pytest.raises(GP3DError, match="the data changed"):
        folder.claim(micro_config(), "data")
    (folder.path / "init.json").write_bytes(damage)
    (folder.path / "data.json").unlink()
    with pytest.raises(GP3DError, match=r"init.json cannot be read"):
        folder.claim(micro_config(), "data")
    (folder.path / "config.json").write_bytes(damage)
    assert folder.micro_batch() is None
    with pytest.raises(GP3DError, match=r"config.json cannot be read"):
        folder.claim(micro_config(), "data")


def test_records_of_evaluations(tmp_path: Path, damage: bytes) -> None:
    folder = EvaluationFolder(tmp_path / "out")
    folder.claim({"seed": 0})
    folder.keep("nfs", {}, [Score(metric="nfs", value=1.0, n=1, facts={})])
    (part,) = (path for path in folder.path.rglob("*.json") if path.name == "nfs.json")
    part.write_bytes(damage)
    assert not folder.has("nfs", {})
    with pytest.raises(GP3DError, match=r"nfs.json is damaged"):
        folder.scores()
    (folder.path / "evaluation.json").write_bytes(damage)
    del folder  # and its lock
    with pytest.raises(GP3DError, match=r"evaluation.json cannot be read"):
        EvaluationFolder(tmp_path / "out").claim({"seed": 0})


def test_measures_of_a_snapshot(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(damage or b"1")
    with pytest.raises(ShippingError, match=r"metrics.jsonl, line 1"):
        read_measures([tmp_path / "metrics.jsonl"], tmp_path / "none")
    (tmp_path / "evaluation.json").write_bytes(damage)
    with pytest.raises(ShippingError, match=r"evaluation.json cannot be read"):
        read_measures([tmp_path / "metrics.jsonl"], tmp_path / "none")


def test_records_of_packing(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / ORIGINS).write_bytes(damage + b'\n{"image": "a.png"}\n')
    assert list(PackedFolder(tmp_path).origins()) == ["a.png"]


def test_records_of_renders(tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "set")
    for name in ("manifest.json", "cameras.json", "dataset.json"):
        (tmp_path / "set" / name).write_bytes(damage)
        if name == "cameras.json":
            with pytest.raises(GP3DError, match="is damaged"):
                pictures_of(Dataset(tmp_path / "set"), 3)
    with pytest.raises(LibraryError, match="is no dataset"):
        Rendered.read(tmp_path / "set")
    with pytest.raises(DatasetError, match="is not readable as the index"):
        check_treatment(tmp_path / "set", None)
    with pytest.raises(DatasetError, match="is not readable as a manifest"):
        check_frames(tmp_path / "set", [])


def test_a_snapshot_is_not_replaced_by_its_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = micro_snapshot(tmp_path)
    whole, link = snapshot.read_bytes(), tmp_path / "link.safetensors"
    link.symlink_to(snapshot)
    for out in (snapshot, link):
        with pytest.raises(ShippingError, match="is the snapshot itself"):
            ship_snapshot(snapshot, out)
        assert main(["ship", str(snapshot), str(out)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert snapshot.read_bytes() == whole


def test_a_picture_that_goes_while_data_are_checked_is_named_as_others_are(tmp_path: Path) -> None:
    error = FileNotFoundError(2, "No such file or directory", str(tmp_path / "a/b.png"))
    assert _without(error, tmp_path) == "a/b.png: No such file or directory"


@pytest.mark.parametrize("damage", ["{", "[" * 100_000, "7"])
def test_a_selection_whose_mark_is_damaged_is_begun_anew(damage: str, tmp_path: Path) -> None:
    work = selecting(tmp_path)
    begun = tmp_path / ".part.partial"
    begun.mkdir()
    (begun / ".subset.json").write_text(damage)
    (begun / "of_before.png").write_text("")
    assert main(work.words) == 0
    assert len(Dataset(tmp_path / "part").labels) == 5
    assert not list(tmp_path.rglob("of_before.png"))

"""What is not finite, or huge beyond reason, is neither saved nor read: trainings recover from it or end in one line.

`make faults MINUTES=10` goes on with other seeds.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gp3d_core.snapshots.metadata import SNAPSHOT, SnapshotError
from gp3d_core.snapshots.snapshot import load_snapshot, save_tensors
from gp3d_core.training.monitor import RunMonitor
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer
from tests.faults.trainings import poison_all
from tests.support.micro import micro_snapshot
from tests.support.tasks import Small


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(RunMonitor, "picture", lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("gan", 1), ("ground", 3), ("tokenizer", 2), ("prior", 9)])
def test_a_training_recovers_or_ends_in_one_line(kind: str, count: int, tmp_path: Path) -> None:
    outcome = poison_all(Small(kind, tmp_path / "input").write(), tmp_path, first=27, count=count)
    assert outcome.tried == count
    assert not outcome.faults


def spoilt(path: Path, name: str, value: float) -> Path:
    """A copy of a file beside it in which the tensor `name` holds `value` once."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
    tensors[name].view(-1)[-1] = value
    save_file(tensors, path.with_name("spoilt.safetensors"), metadata=header)
    return path.with_name("spoilt.safetensors")


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_snapshot_from_elsewhere_that_is_not_finite_is_refused_by_the_tensors_name(
    tmp_path: Path, value: float
) -> None:
    whole = micro_snapshot(tmp_path)
    names = list(load_file(whole))
    for name in (names[0], names[-1]):
        with pytest.raises(SnapshotError, match=rf"cannot be used: {name} is not finite") as error:
            load_snapshot(spoilt(whole, name, value))
        assert "\n" not in str(error.value)
    tokenizer = Small("prior", tmp_path / "vq3d").write().folder / "tokenizer.safetensors"
    name = next(name for name, tensor in load_file(tokenizer).items() if tensor.is_floating_point())
    with pytest.raises(SnapshotError, match=f"{name} is not finite"):
        load_tokenizer(spoilt(tokenizer, name, value))


def test_sums_that_overflow_are_no_fault_of_finite_numbers(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    save_tensors(path, SNAPSHOT, {"large": torch.full((3,), 3e38), "half": torch.full((9,), 6e4).half()}, {})
    assert path.exists()


def test_nothing_that_is_not_finite_is_written_over_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    save_tensors(path, SNAPSHOT, {"a": torch.ones(2)}, {})
    before = path.read_bytes()
    with pytest.raises(SnapshotError, match="a is not finite"):
        save_tensors(path, SNAPSHOT, {"b": torch.ones(2), "a": torch.tensor([1.0, math.nan])}, {})
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(path.name, before)]

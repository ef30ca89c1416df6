"""Files of weights that are none are answered in words for people."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gp3d_core.networks.foreign_weights import WeightsError, read_weights
from tests.support.micro import micro_snapshot


def test_tensors_that_torch_saved_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth")["a"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"", "it holds something else"),
        (b"hello world\n" * 10, "it holds something else"),  # torch says 101
        (b"eeee", "it holds something else"),
        (b"\x80\x02e.", "it holds something else"),
        (b"\x80\x02]q\x00(X", "it holds something else"),
        (b"PK\x03\x04" + b"1" * 99, "central directory"),
    ],
)
def test_junk_is_answered_in_words(tmp_path: Path, content: bytes, answer: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=answer) as error:
        read_weights(path)
    assert str(error.value).startswith(f"{path}: expected a safetensors file, or tensors that torch saved (")
    assert len(str(error.value)) < len(str(path)) + 250


def test_a_snapshot_is_not_taken_for_the_weights_of_a_network_that_others_trained(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"others trained, found a file of GP3D itself \(gp3d-snapshot\)$"):
        read_weights(micro_snapshot(tmp_path))
